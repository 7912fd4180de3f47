//! Where the pictures come from: an encoder that never stops, or a file.

mod encode;
mod file;

use std::sync::Arc;

use gstreamer::glib;

use crate::args::Args;
use crate::hub::{Hub, Payload};

/// Runs from [`Producer::start`] to the end of the process and publishes to the hub.
pub enum Producer {
    /// Test pictures and a tone, encoded live.
    Encode(encode::Encode),
    /// Footage from a file.
    File(file::File),
}

impl Producer {
    pub fn start(args: &Args, hub: &Arc<Hub>) -> anyhow::Result<Self> {
        Ok(match &args.file {
            Some(path) => Self::File(file::File::start(path, hub)?),
            None => Self::Encode(encode::Encode::start(args, hub)?),
        })
    }

    /// What the tracks hold, video first.
    pub fn tracks(&self) -> &[Payload] {
        match self {
            Self::Encode(encode) => encode.tracks(),
            Self::File(file) => file.tracks(),
        }
    }

    /// Asks the encoder for a keyframe; a file has none to give.
    pub fn force_keyframe(&self) {
        if let Self::Encode(encode) = self {
            encode.force_keyframe();
        }
    }

    /// Switches between the full and half picture size; a file has but one.
    pub fn switch_size(&self) {
        if let Self::Encode(encode) = self {
            encode.switch_size();
        }
    }

    /// Ends the program when the producer fails.
    pub fn quit_on_error(&self, main_loop: &glib::MainLoop) {
        if let Self::Encode(encode) = self {
            encode.quit_on_error(main_loop);
        }
    }

    /// Ends it, and tells whether it had failed.
    pub fn stop(&self) -> anyhow::Result<()> {
        match self {
            Self::Encode(encode) => encode.stop(),
            Self::File(_) => Ok(()),
        }
    }
}
