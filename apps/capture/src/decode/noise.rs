//! What a decoder says beside its pictures. FFmpeg's decoders conceal damage: they give a picture all the same, unmarked, and
//! only their log tells.

use std::sync::{Mutex, Once, PoisonError};

use gstreamer as gst;

/// FFmpeg's log in GStreamer's.
const LIBAV: &str = "libav";

static HEARD: Mutex<(u64, String)> = Mutex::new((0, String::new()));
static LISTENING: Once = Once::new();

/// Forgets what was heard. One file at a time.
pub fn begin() {
    LISTENING.call_once(|| {
        // Before a decoder is made: it asks for the threshold once.
        gst::log::set_threshold_for_name(LIBAV, gst::DebugLevel::Error);
        if std::env::var_os("GST_DEBUG").is_none() {
            gst::log::remove_default_log_function();
        }
        gst::log::add_log_function(|category, level, _, _, _, _, message| {
            if level == gst::DebugLevel::Error && category.name() == LIBAV {
                let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
                heard.0 += 1;
                if heard.1.is_empty()
                    && let Some(text) = message.get()
                {
                    text.trim().clone_into(&mut heard.1);
                }
            }
        });
    });
    *HEARD.lock().unwrap_or_else(PoisonError::into_inner) = (0, String::new());
}

/// How many errors were heard, and the first.
pub fn end() -> (u64, String) {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
