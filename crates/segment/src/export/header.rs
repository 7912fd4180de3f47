//! Builds what stands before the footage: `ftyp | moov | mdat` header (ISO/IEC 14496-12 §4.3, §8).

use crate::boxes::{put_box, put_full_box, put_u16, put_u32, put_u64};
use crate::export::tables::{Chunk, Table};
use crate::types::{Media, ns_to_ticks};

/// The chapter list counts in one byte.
pub(super) const MAX_CHAPTERS: usize = 255;

/// Ticks per second of the movie: edits are placed in these.
const MOVIE_TIMESCALE: u32 = 90_000;
/// Seconds from 1904, where the format's dates begin, to 1970.
const EPOCH_1904_S: i128 = 2_082_844_800;
const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

pub(super) struct Movie<'a> {
    pub tables: &'a [Table],
    /// Where on the timeline the movie begins and ends.
    pub zero_ns: i128,
    pub end_ns: i128,
    pub start_wall_ns: i64,
    pub chapters: &'a [(u64, String)],
    pub payload_bytes: u64,
}

/// All bytes before the payload.
pub(super) fn build(movie: &Movie<'_>) -> Vec<u8> {
    let large_mdat = movie.payload_bytes + 8 > u64::from(u32::MAX);
    let mdat_header_bytes = if large_mdat { 16 } else { 8 };
    let ftyp = ftyp();
    // Where the payload begins depends on the length of the index, which depends only on how wide its offsets are.
    let probe = moov(movie, 0, false);
    let small = (ftyp.len() + probe.len()) as u64 + mdat_header_bytes + movie.payload_bytes <= u64::from(u32::MAX);
    let length = if small { probe.len() } else { moov(movie, 0, true).len() };
    let payload = (ftyp.len() + length) as u64 + mdat_header_bytes;

    let mut head = ftyp;
    head.extend(moov(movie, payload, !small));
    if large_mdat {
        put_u32(&mut head, 1);
        head.extend(b"mdat");
        put_u64(&mut head, movie.payload_bytes + 16);
    } else {
        put_u32(&mut head, u32::try_from(movie.payload_bytes + 8).unwrap_or(u32::MAX));
        head.extend(b"mdat");
    }
    head
}

fn ftyp() -> Vec<u8> {
    let mut out = Vec::new();
    put_box(&mut out, *b"ftyp", |out| {
        out.extend(b"isom");
        put_u32(out, 0x200);
        for brand in [b"isom", b"iso4", b"mp41", b"mp42"] {
            out.extend(brand);
        }
    });
    out
}

fn moov(movie: &Movie<'_>, payload: u64, wide: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let created = u64::try_from(i128::from(movie.start_wall_ns) / 1_000_000_000 + EPOCH_1904_S).unwrap_or(0);
    put_box(&mut out, *b"moov", |out| {
        let duration = movie_ticks(movie.end_ns - movie.zero_ns);
        put_versioned(out, *b"mvhd", 0, &[created, duration], |out, put, _| {
            put(out, created);
            put(out, created);
            put_u32(out, MOVIE_TIMESCALE);
            put(out, duration);
            put_u32(out, 0x1_0000); // rate 1.0
            put_u16(out, 0x0100); // volume 1.0
            out.extend([0; 10]);
            UNITY.into_iter().for_each(|value| put_u32(out, value));
            out.extend([0; 24]);
            put_u32(out, track_id(movie.tables.len()));
        });
        for (index, table) in movie.tables.iter().enumerate() {
            put_box(out, *b"trak", |out| put_trak(out, movie, index, table, created, payload, wide));
        }
        if !movie.chapters.is_empty() {
            put_box(out, *b"udta", |out| put_chapters(out, movie.chapters));
        }
    });
    out
}

/// A full box that takes 32-bit numbers if all of `values` fit, else 64-bit ones (version 1).
fn put_versioned(
    out: &mut Vec<u8>,
    kind: [u8; 4],
    flags: u32,
    values: &[u64],
    content: impl FnOnce(&mut Vec<u8>, fn(&mut Vec<u8>, u64), u8),
) {
    let wide = values.iter().any(|value| u32::try_from(*value).is_err());
    let version = u8::from(wide);
    put_full_box(out, kind, version, flags, |out| {
        let put: fn(&mut Vec<u8>, u64) = if wide { put_u64 } else { put_low };
        content(out, put, version);
    });
}

/// Only for numbers that were seen to fit.
fn put_low(out: &mut Vec<u8>, value: u64) {
    put_u32(out, u32::try_from(value).unwrap_or(u32::MAX));
}

fn movie_ticks(ns: i128) -> u64 {
    u64::try_from(ns_to_ticks(ns, MOVIE_TIMESCALE)).unwrap_or(0)
}

fn track_id(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

fn put_trak(out: &mut Vec<u8>, movie: &Movie<'_>, index: usize, table: &Table, created: u64, payload: u64, wide: bool) {
    let lead = movie_ticks(table.start_ns() - movie.zero_ns);
    let shown = movie_ticks(table.end_ns() - table.start_ns());
    let (width, height) = match table.first.as_ref().map(|track| track.media) {
        Some(Media::Video { width, height }) => (width, height),
        _ => (0, 0),
    };
    let duration = lead + shown;
    // In the movie, in its presentation.
    put_versioned(out, *b"tkhd", 3, &[created, duration], |out, put, _| {
        put(out, created);
        put(out, created);
        put_u32(out, track_id(index));
        put_u32(out, 0);
        put(out, duration);
        out.extend([0; 8]);
        put_u16(out, 0);
        put_u16(out, 0);
        put_u16(out, if table.is_video { 0 } else { 0x0100 });
        put_u16(out, 0);
        UNITY.into_iter().for_each(|value| put_u32(out, value));
        put_u32(out, u32::from(width) << 16);
        put_u32(out, u32::from(height) << 16);
    });
    put_edits(out, table, lead, shown);
    put_box(out, *b"mdia", |out| {
        let length = table.media_duration();
        put_versioned(out, *b"mdhd", 0, &[created, length], |out, put, _| {
            put(out, created);
            put(out, created);
            put_u32(out, table.timescale);
            put(out, length);
            put_u16(out, 0x55c4); // language "und"
            put_u16(out, 0);
        });
        let (handler, name): ([u8; 4], &[u8]) =
            if table.is_video { (*b"vide", b"video\0") } else { (*b"soun", b"audio\0") };
        put_full_box(out, *b"hdlr", 0, 0, |out| {
            put_u32(out, 0);
            out.extend(handler);
            out.extend([0; 12]);
            out.extend(name);
        });
        put_box(out, *b"minf", |out| {
            if table.is_video {
                put_full_box(out, *b"vmhd", 0, 1, |out| put_u64(out, 0));
            } else {
                put_full_box(out, *b"smhd", 0, 0, |out| put_u32(out, 0));
            }
            put_box(out, *b"dinf", |out| {
                put_full_box(out, *b"dref", 0, 0, |out| {
                    put_u32(out, 1);
                    put_full_box(out, *b"url ", 0, 1, |_| ());
                });
            });
            put_box(out, *b"stbl", |out| put_tables(out, table, payload, wide));
        });
    });
}

/// Edit list (§8.6.6): how late the track begins, and at which of its own times.
fn put_edits(out: &mut Vec<u8>, table: &Table, lead: u64, shown: u64) {
    let begin = table.min_pts - table.first_dts + i128::from(table.lift());
    let begin = u64::try_from(begin).unwrap_or(0);
    if lead == 0 && begin == 0 {
        return;
    }
    put_box(out, *b"edts", |out| {
        put_versioned(out, *b"elst", 0, &[lead, shown, begin.saturating_mul(2)], |out, put, version| {
            put_u32(out, if lead > 0 { 2 } else { 1 });
            if lead > 0 {
                put(out, lead);
                // Media time -1: nothing is shown.
                out.extend(if version == 1 { [0xff; 8].as_slice() } else { [0xff; 4].as_slice() });
                put_u32(out, 0x1_0000);
            }
            put(out, shown);
            put(out, begin);
            put_u32(out, 0x1_0000);
        });
    });
}

fn put_tables(out: &mut Vec<u8>, table: &Table, payload: u64, wide: bool) {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    put_full_box(out, *b"stsd", 0, 0, |out| {
        put_u32(out, count(table.descriptions.len()));
        table.descriptions.iter().for_each(|entry| out.extend(entry));
    });
    put_full_box(out, *b"stts", 0, 0, |out| {
        put_u32(out, count(table.deltas.0.len()));
        for (samples, delta) in &table.deltas.0 {
            put_u32(out, *samples);
            put_u32(out, *delta);
        }
    });
    if table.offsets.0.iter().any(|(_, offset)| *offset != 0) {
        let lift = table.lift();
        put_full_box(out, *b"ctts", 0, 0, |out| {
            put_u32(out, count(table.offsets.0.len()));
            for (samples, offset) in &table.offsets.0 {
                put_u32(out, *samples);
                put_u32(out, u32::try_from(offset + lift).unwrap_or(u32::MAX));
            }
        });
    }
    // A table of sync samples says that the others are none: a track of sync samples only has no table.
    if table.syncs.len() < table.sizes.len() {
        put_full_box(out, *b"stss", 0, 0, |out| {
            put_u32(out, count(table.syncs.len()));
            table.syncs.iter().for_each(|number| put_u32(out, *number));
        });
    }
    put_full_box(out, *b"stsz", 0, 0, |out| {
        let same = table.sizes.first().copied().filter(|first| table.sizes.iter().all(|size| size == first));
        put_u32(out, same.unwrap_or(0));
        put_u32(out, count(table.sizes.len()));
        if same.unwrap_or(0) == 0 {
            table.sizes.iter().for_each(|size| put_u32(out, *size));
        }
    });
    put_full_box(out, *b"stsc", 0, 0, |out| put_chunk_runs(out, &table.chunks));
    if wide {
        put_full_box(out, *b"co64", 0, 0, |out| {
            put_u32(out, count(table.chunks.len()));
            table.chunks.iter().for_each(|chunk| put_u64(out, payload + chunk.place));
        });
    } else {
        put_full_box(out, *b"stco", 0, 0, |out| {
            put_u32(out, count(table.chunks.len()));
            table.chunks.iter().for_each(|chunk| put_low(out, payload + chunk.place));
        });
    }
}

/// Sample-to-chunk (§8.7.4): an entry wherever the number of samples or the description changes.
fn put_chunk_runs(out: &mut Vec<u8>, chunks: &[Chunk]) {
    let start = out.len();
    put_u32(out, 0);
    let mut entries: u32 = 0;
    let mut last = None;
    for (index, chunk) in chunks.iter().enumerate() {
        let run = (chunk.samples, chunk.description);
        if last != Some(run) {
            last = Some(run);
            entries += 1;
            put_u32(out, u32::try_from(index + 1).unwrap_or(u32::MAX));
            put_u32(out, chunk.samples);
            put_u32(out, chunk.description);
        }
    }
    out[start..start + 4].copy_from_slice(&entries.to_be_bytes());
}

/// The chapter list that players know from Nero: times in 100 ns, texts of up to 255 bytes.
fn put_chapters(out: &mut Vec<u8>, chapters: &[(u64, String)]) {
    put_full_box(out, *b"chpl", 1, 0, |out| {
        put_u32(out, 0);
        out.push(u8::try_from(chapters.len()).unwrap_or(u8::MAX));
        for (at_ns, text) in chapters {
            put_u64(out, at_ns / 100);
            let mut length = text.len().min(255);
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            out.push(u8::try_from(length).unwrap_or(0));
            out.extend(&text.as_bytes()[..length]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tables::Row;
    use crate::types::{Codec, Track};

    fn table(places: &[u64]) -> Table {
        let mut table = Table::new(true, 90_000);
        let media = Media::Video { width: 320, height: 180 };
        let description = table.describe(&Track { codec: Codec::H264 { avcc: vec![0; 7] }, media, timescale: 90_000 });
        for (n, place) in places.iter().enumerate() {
            let dts = n as i128 * 3000;
            table.push(Row { dts, pts: dts, duration: 3000, size: 10, sync: true, place: *place, description });
            table.end_chunk();
        }
        table.finish();
        table
    }

    fn head(places: &[u64], payload_bytes: u64) -> Vec<u8> {
        let tables = [table(places)];
        build(&Movie {
            tables: &tables,
            zero_ns: 0,
            end_ns: tables[0].end_ns(),
            start_wall_ns: 0,
            chapters: &[],
            payload_bytes,
        })
    }

    fn find(head: &[u8], kind: &[u8; 4]) -> Option<usize> {
        head.windows(4).position(|word| word == kind)
    }

    #[test]
    fn offsets_are_as_wide_as_the_file_needs() {
        const FIVE_GIB: u64 = 5 << 30;
        let places = [0, FIVE_GIB - 10];
        let large = head(&places, FIVE_GIB);
        let at = find(&large, b"co64").unwrap() + 12;
        for (n, place) in places.iter().enumerate() {
            let offset = u64::from_be_bytes(*large[at + 8 * n..].first_chunk().unwrap());
            assert_eq!(offset, large.len() as u64 + place);
        }
        assert!(find(&large, b"stco").is_none());
        assert_eq!(large[large.len() - 16..large.len() - 8], *b"\0\0\0\x01mdat");
        assert_eq!(large[large.len() - 8..], (FIVE_GIB + 16).to_be_bytes());

        let small = head(&[0, 10], 20);
        let at = find(&small, b"stco").unwrap() + 12;
        let offset = u32::from_be_bytes(*small[at..].first_chunk().unwrap());
        assert_eq!(offset as usize, small.len());
        assert_eq!(small[small.len() - 8..], *b"\0\0\0\x1cmdat");

        // Just short of 4 GiB of payload: it fits into a 32-bit mdat, but its end lies beyond 32-bit offsets.
        let edge = u64::from(u32::MAX) - 8;
        assert!(find(&head(&[0, edge - 10], edge), b"co64").is_some());
    }
}
