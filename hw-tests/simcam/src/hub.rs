//! From one producer to the media of all mounts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;

/// What is inside a track, as far as its RTP payload needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    H264,
    H265,
    Jpeg,
    Aac,
    Pcma,
    Pcmu,
    Opus,
}

/// The media that are being watched. Frames go to all of them; a slow one loses its oldest, the others nothing.
#[derive(Debug, Default)]
pub struct Hub {
    subscribers: Mutex<Vec<Subscriber>>,
    muted: AtomicBool,
}

#[derive(Debug)]
struct Subscriber {
    id: usize,
    /// One per track, video first.
    sources: Vec<AppSrc>,
    /// Its video begins with a keyframe, and none has come by yet.
    waiting: AtomicBool,
}

impl Hub {
    /// Adds a media under an id of the caller's choice; its video may have to begin with a keyframe.
    pub fn subscribe(&self, id: usize, sources: Vec<AppSrc>, from_keyframe: bool) {
        self.lock().push(Subscriber { id, sources, waiting: AtomicBool::new(from_keyframe) });
    }

    /// Forgets a media.
    pub fn unsubscribe(&self, id: usize) {
        self.lock().retain(|subscriber| subscriber.id != id);
    }

    /// While muted nothing is sent, though connections stay open: a camera whose encoder hangs.
    pub fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    /// Hands an access unit, captured at `mono` on the monotonic clock, to everyone who watches.
    pub fn publish(&self, track: usize, caps: &gst::CapsRef, buffer: &gst::BufferRef, mono: gst::ClockTime) {
        if self.muted.load(Ordering::Relaxed) {
            return;
        }
        let caps = caps.to_owned();
        for subscriber in self.lock().iter() {
            let Some(source) = subscriber.sources.get(track) else {
                continue;
            };
            // Its times count from when it began to play; what was captured before is not for it.
            let (gst::State::Playing, Some(base)) = (source.current_state(), source.base_time()) else {
                continue;
            };
            let Some(pts) = mono.checked_sub(base) else { continue };
            if track == 0 && subscriber.waiting.load(Ordering::Relaxed) {
                if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                    continue;
                }
                subscriber.waiting.store(false, Ordering::Relaxed);
            }
            // The copy shares the memory.
            let mut buffer = buffer.to_owned();
            let writable = buffer.make_mut();
            writable.set_pts(pts);
            writable.set_dts(None);
            let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).build();
            // Refused only while the media is being torn down.
            let _ = source.push_sample(&sample);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
