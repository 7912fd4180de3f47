//! Encoders that fail on purpose, to be named in a configuration that wants to see what happens then. `auto` never takes one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use super::{Row, X264};

/// So many pictures are as they should be: enough for a probe to believe in the encoder, and for a recording to begin.
pub const GOOD_PICTURES: u32 = 60;

/// What a leaking encoder keeps of each picture, and in all: enough to be noticed, and not enough to harm the box.
const LEAK_BYTES: usize = 1 << 20;
const MOST_LEAKED: usize = 512;

/// What an encoder does wrong after [`GOOD_PICTURES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It takes pictures and gives none.
    Hang,
    /// It takes one picture and does not come back, as mpp does in `put_frame`.
    Block,
    /// It posts an error.
    Error,
    /// What it gives is damaged.
    Garbage,
    /// What it gives looks as it should, and its pictures are damaged: only a decoder can tell.
    Smear,
    /// It is given the same picture again and again.
    Freeze,
    /// It takes its time: ten pictures a second and no more.
    Slow,
    /// It never gives back the memory that it has used for a picture.
    Leak,
}

/// One row for each [`Fault`]; else they are x264enc.
pub const FAULTY: &[Row] = &[
    Row { element: "sim-hang", fault: Some(Fault::Hang), ..X264 },
    Row { element: "sim-block", fault: Some(Fault::Block), ..X264 },
    Row { element: "sim-error", fault: Some(Fault::Error), ..X264 },
    Row { element: "sim-garbage", fault: Some(Fault::Garbage), ..X264 },
    Row { element: "sim-smear", fault: Some(Fault::Smear), ..X264 },
    Row { element: "sim-freeze", fault: Some(Fault::Freeze), ..X264 },
    Row { element: "sim-slow", fault: Some(Fault::Slow), ..X264 },
    Row { element: "sim-leak", fault: Some(Fault::Leak), ..X264 },
];

impl Fault {
    /// Sees to it that `encoder` fails in time.
    pub(super) fn arrange(self, encoder: &gst::Element) {
        if self == Self::Freeze {
            return freeze(encoder);
        }
        let Some(pad) = encoder.static_pad("src") else { return };
        let (seen, encoder) = (AtomicU32::new(0), encoder.downgrade());
        let leaked = Mutex::new(Vec::new());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if seen.fetch_add(1, Ordering::Relaxed) < GOOD_PICTURES {
                return gst::PadProbeReturn::Ok;
            }
            match self {
                Self::Hang => gst::PadProbeReturn::Drop,
                Self::Block => {
                    std::thread::sleep(Duration::from_secs(3600));
                    gst::PadProbeReturn::Drop
                }
                Self::Slow => {
                    std::thread::sleep(Duration::from_millis(100));
                    gst::PadProbeReturn::Ok
                }
                Self::Leak => {
                    let mut leaked = leaked.lock().unwrap_or_else(PoisonError::into_inner);
                    if leaked.len() < MOST_LEAKED {
                        // Not zeros: those would take no memory.
                        leaked.push(vec![0xa5_u8; LEAK_BYTES]);
                    }
                    gst::PadProbeReturn::Ok
                }
                Self::Error => {
                    if let Some(encoder) = encoder.upgrade() {
                        gst::element_error!(encoder, gst::StreamError::Encode, ("it fails on purpose"));
                    }
                    gst::PadProbeReturn::Drop
                }
                Self::Garbage => {
                    if let Some(buffer) = info.buffer_mut()
                        && let Ok(mut bytes) = buffer.make_mut().map_writable()
                    {
                        // The lengths of the NAL units too.
                        bytes.iter_mut().for_each(|byte| *byte ^= 0xa5);
                    }
                    gst::PadProbeReturn::Ok
                }
                Self::Smear => {
                    if let Some(buffer) = info.buffer_mut()
                        && let Ok(mut bytes) = buffer.make_mut().map_writable()
                    {
                        // The end of the last slice, behind all headers and lengths. All ones: no start code comes of it.
                        let from = bytes.len() - bytes.len() / 4;
                        bytes[from..].fill(0xff);
                    }
                    gst::PadProbeReturn::Ok
                }
                // See above.
                Self::Freeze => gst::PadProbeReturn::Ok,
            }
        });
    }
}

/// Puts the last good picture in the place of each that comes after it. Their times stay.
fn freeze(encoder: &gst::Element) {
    let Some(pad) = encoder.static_pad("sink") else { return };
    let seen = AtomicU32::new(0);
    let last = Mutex::new(None::<gst::Buffer>);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.fetch_add(1, Ordering::Relaxed) < GOOD_PICTURES {
            true => *last = Some(buffer.clone()),
            false => {
                if let Some(mut again) = last.clone() {
                    let times = again.make_mut();
                    times.set_pts(buffer.pts());
                    times.set_dts(buffer.dts());
                    times.set_duration(buffer.duration());
                    *buffer = again;
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
}
