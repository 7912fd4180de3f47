//! Movie fragments: times, sizes and flags of the samples of one chunk (ISO/IEC 14496-12 §8.8.4 – §8.8.12).

use crate::boxes::{Cursor, HEADER_BYTES, put_box, put_full_box, put_u32, put_u64};
use crate::error::Parsed;
use crate::moov::track_id;
use crate::reader::Sample;

// tfhd flags, §8.8.7
const TFHD_BASE_DATA_OFFSET: u32 = 0x01;
const TFHD_DESCRIPTION: u32 = 0x02;
const TFHD_DURATION: u32 = 0x08;
const TFHD_SIZE: u32 = 0x10;
const TFHD_FLAGS: u32 = 0x20;
const TFHD_BASE_IS_MOOF: u32 = 0x02_0000;
// trun flags, §8.8.8
const TRUN_DATA_OFFSET: u32 = 0x001;
const TRUN_FIRST_FLAGS: u32 = 0x004;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_CTS: u32 = 0x800;
// sample flags, §8.8.3.1
const SAMPLE_SYNC: u32 = 0x0200_0000; // depends on no other
const SAMPLE_DELTA: u32 = 0x0101_0000; // depends on others, is no sync sample
const SAMPLE_IS_NON_SYNC: u32 = 0x0001_0000;

/// Appends the `moof` for these samples, track after track; their data follows in the same order in an `mdat` right
/// behind it. `Sample::offset` is not looked at.
///
/// Offsets are relative to the `moof`, so a chunk can be moved as a whole. The whole chunk must be below 2 GiB, and
/// `pts - dts` of every sample fit 32 bits.
pub(crate) fn put_moof(out: &mut Vec<u8>, sequence: u64, samples: &[Sample]) {
    let runs = || samples.chunk_by(|a, b| a.track == b.track);
    let moof_start = out.len();
    let mut offset_places = Vec::new();
    put_box(out, *b"moof", |out| {
        // §8.8.5: 32 bits that players do not look at; the seal has the full number.
        put_full_box(out, *b"mfhd", 0, 0, |out| put_u32(out, u32::try_from(sequence & 0xffff_ffff).unwrap_or(0)));
        for run in runs() {
            put_box(out, *b"traf", |out| offset_places.push(put_traf(out, run)));
        }
    });
    let mut data = out.len() - moof_start + 8;
    for (place, run) in offset_places.into_iter().zip(runs()) {
        let offset = i32::try_from(data).expect("the writer keeps chunks below 2 GiB");
        out[place..place + 4].copy_from_slice(&offset.to_be_bytes());
        data += run.iter().map(|sample| sample.size as usize).sum::<usize>();
    }
}

/// Writes the samples of one track; returns where the data offset is to be written.
fn put_traf(out: &mut Vec<u8>, samples: &[Sample]) -> usize {
    let all_sync = samples.iter().all(|sample| sample.sync);
    let cts = samples.iter().any(|sample| cts_offset(sample) != 0);
    put_full_box(out, *b"tfhd", 0, TFHD_BASE_IS_MOOF | if all_sync { TFHD_FLAGS } else { 0 }, |out| {
        put_u32(out, track_id(samples[0].track));
        if all_sync {
            put_u32(out, SAMPLE_SYNC);
        }
    });
    put_full_box(out, *b"tfdt", 1, 0, |out| put_u64(out, samples[0].dts));
    let flags = TRUN_DATA_OFFSET
        | TRUN_DURATION
        | TRUN_SIZE
        | if all_sync { 0 } else { TRUN_FLAGS }
        | if cts { TRUN_CTS } else { 0 };
    let mut place = 0;
    put_full_box(out, *b"trun", 1, flags, |out| {
        put_u32(out, u32::try_from(samples.len()).expect("a chunk below 2 GiB has fewer samples"));
        place = out.len();
        put_u32(out, 0);
        for sample in samples {
            put_u32(out, sample.duration);
            put_u32(out, sample.size);
            if !all_sync {
                put_u32(out, if sample.sync { SAMPLE_SYNC } else { SAMPLE_DELTA });
            }
            if cts {
                out.extend(cts_offset(sample).to_be_bytes());
            }
        }
    });
    place
}

/// pts − dts. The writer has checked that it fits.
fn cts_offset(sample: &Sample) -> i32 {
    i32::try_from(i128::from(sample.pts) - i128::from(sample.dts)).expect("checked by the writer")
}

/// Reads a chunk: a `moof` box and an `mdat` box right behind it that ends at `end`.
///
/// `data` holds the `moof` and the header of the `mdat` and begins at `offset` in the file.
pub(crate) fn parse_chunk(data: &[u8], offset: u64, end: u64, tracks: usize) -> Parsed<Vec<Sample>> {
    let mut cursor = Cursor::new(data, offset);
    let Some((kind, mut moof)) = cursor.next_box()? else {
        return cursor.bad("no moof");
    };
    if &kind != b"moof" {
        return cursor.bad("a moof box was expected");
    }
    let mut mdat = cursor;
    let mdat_bytes = u64::from(mdat.u32("mdat")?);
    if &mdat.array::<4>("mdat")? != b"mdat" || cursor.offset() + mdat_bytes != end {
        return cursor.bad("an mdat box to the end of the chunk was expected");
    }
    let mut place = Place { moof: offset, next: cursor.offset() + HEADER_BYTES, end, tracks };
    let mut samples = Vec::new();
    while let Some((kind, content)) = moof.next_box()? {
        if &kind == b"traf" {
            parse_traf(content, &mut place, &mut samples)?;
        }
    }
    Ok(samples)
}

/// Where in the file things are while a `moof` is read.
struct Place {
    moof: u64,
    /// Where the data of a run without an offset of its own begins.
    next: u64,
    end: u64,
    tracks: usize,
}

#[derive(Default)]
struct Defaults {
    duration: Option<u32>,
    size: Option<u32>,
    flags: Option<u32>,
}

fn parse_traf(mut traf: Cursor<'_>, place: &mut Place, samples: &mut Vec<Sample>) -> Parsed<()> {
    let mut tfhd = traf.child(*b"tfhd")?;
    let (_, flags) = tfhd.version_flags("tfhd")?;
    let id = tfhd.u32("track id")?;
    let track = match usize::try_from(id) {
        Ok(id) if (1..=place.tracks).contains(&id) => id - 1,
        _ => return tfhd.bad(format!("track id {id} is not in the header")),
    };
    if flags & TFHD_BASE_DATA_OFFSET != 0 || flags & TFHD_BASE_IS_MOOF == 0 {
        return tfhd.bad("data offsets are not relative to the moof");
    }
    if flags & TFHD_DESCRIPTION != 0 {
        tfhd.u32("sample description")?;
    }
    let mut optional = |flag, what| (flags & flag != 0).then(|| tfhd.u32(what)).transpose();
    let defaults = Defaults {
        duration: optional(TFHD_DURATION, "default duration")?,
        size: optional(TFHD_SIZE, "default size")?,
        flags: optional(TFHD_FLAGS, "default flags")?,
    };
    let mut tfdt = traf.child(*b"tfdt")?;
    let (version, _) = tfdt.version_flags("tfdt")?;
    let mut dts = if version == 0 { u64::from(tfdt.u32("tfdt")?) } else { tfdt.u64("tfdt")? };
    while let Some((kind, trun)) = traf.next_box()? {
        if &kind == b"trun" {
            dts = parse_trun(trun, place, &defaults, track, dts, samples)?;
        }
    }
    Ok(())
}

fn parse_trun(
    mut trun: Cursor<'_>,
    place: &mut Place,
    defaults: &Defaults,
    track: usize,
    mut dts: u64,
    samples: &mut Vec<Sample>,
) -> Parsed<u64> {
    let (version, flags) = trun.version_flags("trun")?;
    let count = trun.u32("sample count")?;
    if flags & TRUN_DATA_OFFSET != 0 {
        let offset = i64::from(i32::from_be_bytes(trun.array("data offset")?));
        match place.moof.checked_add_signed(offset) {
            Some(offset) => place.next = offset,
            None => return trun.bad("data offset before the file"),
        }
    }
    let mut first_flags = (flags & TRUN_FIRST_FLAGS != 0).then(|| trun.u32("first sample flags")).transpose()?;
    if flags & (TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_CTS) == 0 && count > 0 {
        // Such samples would take no bytes here: a lying count could ask for any amount of memory.
        return trun.bad("samples without fields of their own");
    }
    for _ in 0..count {
        let mut field = |flag, default: Option<u32>, what: &str| match (flags & flag != 0, default) {
            (true, _) => trun.u32(what),
            (false, Some(value)) => Ok(value),
            (false, None) => trun.bad(format!("{what} is given nowhere")),
        };
        let duration = field(TRUN_DURATION, defaults.duration, "sample duration")?;
        let size = field(TRUN_SIZE, defaults.size, "sample size")?;
        let sample_flags = field(TRUN_FLAGS, defaults.flags.or(first_flags), "sample flags")?;
        let sample_flags = first_flags.take().unwrap_or(sample_flags);
        let cts = field(TRUN_CTS, Some(0), "composition offset")?.to_be_bytes();
        let cts = if version == 0 { i64::from(u32::from_be_bytes(cts)) } else { i64::from(i32::from_be_bytes(cts)) };
        let end = place.next.saturating_add(u64::from(size));
        let (Some(pts), Some(next_dts)) =
            (i64::try_from(dts).ok().and_then(|dts| dts.checked_add(cts)), dts.checked_add(u64::from(duration)))
        else {
            return trun.bad("a time out of range");
        };
        if end > place.end || place.next < place.moof {
            return trun.bad(format!("sample at {} with {size} bytes lies outside of its chunk", place.next));
        }
        let sync = sample_flags & SAMPLE_IS_NON_SYNC == 0;
        samples.push(Sample { track, offset: place.next, size, dts, pts, duration, sync });
        (place.next, dts) = (end, next_dts);
    }
    Ok(dts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(track: usize, dts: u64, duration: u32, size: u32, cts: i64, sync: bool) -> Sample {
        Sample { track, offset: 0, size, dts, pts: i64::try_from(dts).unwrap() + cts, duration, sync }
    }

    fn chunk(samples: &[Sample]) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        put_moof(&mut out, 1, samples);
        let data: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
        put_u32(&mut out, u32::try_from(data).unwrap() + 8);
        out.extend(b"mdat");
        let end = 1000 + out.len() as u64 + data;
        (out, end)
    }

    #[test]
    fn chunks_read_back() {
        let mut samples = [
            sample(0, 1 << 40, 3000, 10, 3000, true),
            sample(0, (1 << 40) + 3000, 3001, 20, -10, false),
            sample(1, 7, 1024, 5, 0, true),
            sample(1, 1031, 1023, 6, 0, true),
        ];
        let (bytes, end) = chunk(&samples);
        for (sample, offset) in samples.iter_mut().zip([0, 10, 30, 35]) {
            sample.offset = end - 41 + offset;
        }
        assert_eq!(parse_chunk(&bytes, 1000, end, 2).unwrap(), samples);
        assert!(parse_chunk(&bytes, 1000, end, 1).unwrap_err().what.contains("track id 2"));
        assert!(parse_chunk(&bytes, 1000, end + 1, 2).is_err());
        for length in 0..bytes.len() {
            assert!(parse_chunk(&bytes[..length], 1000, end, 2).is_err());
        }
    }

    #[test]
    fn version_0_times_and_defaults_read_too() {
        let mut out = Vec::new();
        put_box(&mut out, *b"moof", |out| {
            put_box(out, *b"traf", |out| {
                put_full_box(out, *b"tfhd", 0, TFHD_BASE_IS_MOOF | TFHD_DURATION | TFHD_FLAGS, |out| {
                    put_u32(out, 1);
                    put_u32(out, 512);
                    put_u32(out, SAMPLE_DELTA);
                });
                put_full_box(out, *b"tfdt", 0, 0, |out| put_u32(out, 99));
                put_full_box(out, *b"trun", 0, TRUN_FIRST_FLAGS | TRUN_SIZE | TRUN_CTS, |out| {
                    put_u32(out, 2);
                    put_u32(out, SAMPLE_SYNC);
                    for word in [3, 0xffff_ffff, 4, 1] {
                        put_u32(out, word);
                    }
                });
            });
        });
        put_u32(&mut out, 15);
        out.extend(b"mdat");
        let samples = parse_chunk(&out, 0, out.len() as u64 + 7, 1).unwrap();
        assert_eq!((samples[0].dts, samples[0].pts, samples[0].sync), (99, 99 + 0xffff_ffff, true));
        assert_eq!((samples[1].dts, samples[1].pts, samples[1].sync), (611, 612, false));
        assert_eq!(samples[1].offset, out.len() as u64 + 3);
    }

    #[test]
    fn a_lying_sample_count_asks_for_no_memory() {
        let mut out = Vec::new();
        put_box(&mut out, *b"moof", |out| {
            put_box(out, *b"traf", |out| {
                put_full_box(out, *b"tfhd", 0, TFHD_BASE_IS_MOOF | TFHD_DURATION | TFHD_SIZE | TFHD_FLAGS, |out| {
                    out.extend([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0]);
                });
                put_full_box(out, *b"tfdt", 0, 0, |out| put_u32(out, 0));
                put_full_box(out, *b"trun", 0, 0, |out| put_u32(out, u32::MAX));
            });
        });
        out.extend([0, 0, 0, 8, b'm', b'd', b'a', b't']);
        assert!(parse_chunk(&out, 0, out.len() as u64, 1).unwrap_err().what.contains("without fields"));
    }
}
