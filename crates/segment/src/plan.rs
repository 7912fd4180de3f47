//! Turns the frames of a chunk into samples: order, ticks, durations. Refuses what cannot be written, before anything
//! of it is.

use crate::error::{Error, Result};
use crate::reader::Sample;
use crate::types::{Frame, Track, ns_to_ticks};
use std::path::Path;

/// A chunk must stay below 2 GiB: offsets in it are 31 bits.
const MAX_MEDIA_BYTES: u64 = 1 << 30;
/// More frames than that are no chunk but a mistake.
const MAX_FRAMES: usize = 1 << 20;

/// A chunk ready to be written.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Time of tick 0.
    pub base_ns: u64,
    /// Track after track; offsets are not filled in.
    pub samples: Vec<Sample>,
    /// The bytes of the samples, in the same order.
    pub data: Vec<&'a [u8]>,
    pub media_bytes: u64,
    pub frames_per_track: Vec<u32>,
    /// Per track, where this chunk leaves the decode time.
    pub last_dts_ns: Vec<Option<u64>>,
}

/// `base_ns` is `None` for the first chunk of a file: its smallest decode time becomes the base.
pub(crate) fn plan<'a, D: AsRef<[u8]>>(
    path: &Path,
    tracks: &[Track],
    last_dts_ns: &[Option<u64>],
    base_ns: Option<u64>,
    frames: &'a [Frame<D>],
) -> Result<Plan<'a>> {
    let bad = |frame: usize, what: String| Error::BadFrame {
        path: path.to_owned(),
        frame,
        track: frames.get(frame).map_or(0, |frame| frame.track),
        what,
    };
    if frames.is_empty() || frames.len() > MAX_FRAMES {
        return Err(bad(0, format!("{} frames in a chunk; 1 to {MAX_FRAMES} can be written", frames.len())));
    }
    if let Some(at) = frames.iter().position(|frame| frame.track >= tracks.len()) {
        return Err(bad(at, format!("there are only {} tracks", tracks.len())));
    }
    let first_video = frames.iter().position(|frame| tracks[frame.track].codec.is_video());
    if let (None, Some(at)) = (base_ns, first_video)
        && !frames[at].sync
    {
        return Err(bad(at, "a file must begin with a keyframe".into()));
    }
    let smallest = frames.iter().map(|frame| frame.dts_ns).min().unwrap_or(0);
    let mut plan = Plan {
        base_ns: base_ns.unwrap_or(smallest),
        samples: Vec::with_capacity(frames.len()),
        data: Vec::with_capacity(frames.len()),
        media_bytes: 0,
        frames_per_track: vec![0; tracks.len()],
        last_dts_ns: last_dts_ns.to_vec(),
    };
    for (index, track) in tracks.iter().enumerate() {
        let mut of_track = frames.iter().enumerate().filter(|(_, frame)| frame.track == index).peekable();
        while let Some((at, frame)) = of_track.next() {
            let next = of_track.peek().map(|(_, next)| next.dts_ns);
            plan.add(frame, next, track.timescale).map_err(|what| bad(at, what))?;
        }
    }
    Ok(plan)
}

impl<'a> Plan<'a> {
    fn add<D: AsRef<[u8]>>(
        &mut self,
        frame: &'a Frame<D>,
        next_dts_ns: Option<u64>,
        timescale: u32,
    ) -> std::result::Result<(), String> {
        let last = &mut self.last_dts_ns[frame.track];
        if let Some(last) = last.filter(|last| *last > frame.dts_ns) {
            return Err(format!("decode time {} ns is before the frame before it, {last} ns", frame.dts_ns));
        }
        *last = Some(frame.dts_ns);
        // Each time is converted from the file's start, so that rounding never adds up.
        let base_ns = i128::from(self.base_ns);
        let ticks = |ns: u64| ns_to_ticks(i128::from(ns) - base_ns, timescale);
        let (dts, pts) = (ticks(frame.dts_ns), ticks(frame.pts_ns));
        let end = ticks(next_dts_ns.unwrap_or(frame.dts_ns.saturating_add(frame.duration_ns)));
        if dts < 0 {
            return Err(format!("decode time {} ns is before the file's start, {base_ns} ns", frame.dts_ns));
        }
        if i32::try_from(pts - dts).is_err() {
            return Err(format!(
                "decode time {} ns and display time {} ns are too far apart",
                frame.dts_ns, frame.pts_ns
            ));
        }
        // A decode time below its predecessor is refused when that frame's turn comes.
        let duration = u32::try_from((end - dts).max(0));
        let duration = duration.map_err(|_| format!("it would last {} ticks, more than 32 bits", end - dts))?;
        let data = frame.data.as_ref();
        self.media_bytes += data.len() as u64;
        let size = u32::try_from(data.len()).ok().filter(|_| self.media_bytes <= MAX_MEDIA_BYTES);
        let size = size.ok_or_else(|| format!("the chunk has more than {MAX_MEDIA_BYTES} bytes"))?;
        let out_of_range = |_| format!("decode time {} ns is out of range", frame.dts_ns);
        let (dts, pts) = (u64::try_from(dts).map_err(out_of_range)?, i64::try_from(pts).map_err(out_of_range)?);
        self.samples.push(Sample { track: frame.track, offset: 0, size, dts, pts, duration, sync: frame.sync });
        self.data.push(data);
        self.frames_per_track[frame.track] += 1;
        Ok(())
    }
}
