//! Writes the head of a file: `ftyp`, then a `moov` without samples (ISO/IEC 14496-12 §4.3, §8.2 – §8.8).

use crate::boxes::{FourCc, put_box, put_full_box, put_u16, put_u32, put_u64};
use crate::sample_entry;
use crate::types::{Media, Track};

/// Ticks per second of `mvhd`; nothing in a fragmented file is measured in it but an empty duration.
const MOVIE_TIMESCALE: u32 = 1000;

/// §6.2.2; the unity matrix says: show the picture as it is.
const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// File type (§4.3). `iso5` brought default-base-is-moof, `iso6` tfdt.
pub(crate) fn put_ftyp(out: &mut Vec<u8>) {
    put_box(out, *b"ftyp", |out| {
        out.extend(b"iso6");
        put_u32(out, 0);
        for brand in [b"iso6", b"iso5", b"isom", b"mp41"] {
            out.extend(brand);
        }
    });
}

/// The movie box (§8.2.1) with the tracks and, in `mvex` (§8.8.1), the promise of fragments.
pub(crate) fn put_moov(out: &mut Vec<u8>, tracks: &[Track]) {
    put_box(out, *b"moov", |out| {
        put_full_box(out, *b"mvhd", 0, 0, |out| {
            put_u32(out, 0); // creation and modification: the identity knows better
            put_u32(out, 0);
            put_u32(out, MOVIE_TIMESCALE);
            put_u32(out, 0); // duration: the fragments tell
            put_u32(out, 0x1_0000); // rate 1.0
            put_u16(out, 0x0100); // volume 1.0
            out.extend([0; 10]);
            UNITY.iter().for_each(|value| put_u32(out, *value));
            out.extend([0; 24]);
            put_u32(out, track_id(tracks.len()));
        });
        for (index, track) in tracks.iter().enumerate() {
            put_box(out, *b"trak", |out| put_trak(out, index, track));
        }
        put_box(out, *b"mvex", |out| {
            for index in 0..tracks.len() {
                put_full_box(out, *b"trex", 0, 0, |out| {
                    put_u32(out, track_id(index));
                    put_u32(out, 1); // sample description
                    out.extend([0; 12]); // no defaults: every fragment says all
                });
            }
        });
    });
}

/// Track ids count from 1 (§8.3.2); the number of tracks is limited by the writer.
pub(crate) fn track_id(index: usize) -> u32 {
    u32::try_from(index + 1).expect("the writer takes a handful of tracks")
}

fn put_trak(out: &mut Vec<u8>, index: usize, track: &Track) {
    let (width, height) = match track.media {
        Media::Video { width, height } => (width, height),
        Media::Audio { .. } => (0, 0),
    };
    put_full_box(out, *b"tkhd", 0, 3, |out| {
        put_u32(out, 0);
        put_u32(out, 0);
        put_u32(out, track_id(index));
        put_u32(out, 0);
        put_u32(out, 0); // duration
        out.extend([0; 8]);
        put_u16(out, 0);
        put_u16(out, 0);
        put_u16(out, if track.codec.is_video() { 0 } else { 0x0100 }); // volume
        put_u16(out, 0);
        UNITY.iter().for_each(|value| put_u32(out, *value));
        put_u32(out, u32::from(width) << 16);
        put_u32(out, u32::from(height) << 16);
    });
    put_box(out, *b"mdia", |out| {
        put_full_box(out, *b"mdhd", 0, 0, |out| {
            put_u32(out, 0);
            put_u32(out, 0);
            put_u32(out, track.timescale);
            put_u32(out, 0);
            put_u16(out, 0x55c4); // language "und"
            put_u16(out, 0);
        });
        let (handler, name): (FourCc, &[u8]) =
            if track.codec.is_video() { (*b"vide", b"video\0") } else { (*b"soun", b"audio\0") };
        put_full_box(out, *b"hdlr", 0, 0, |out| {
            put_u32(out, 0);
            out.extend(handler);
            out.extend([0; 12]);
            out.extend(name);
        });
        put_box(out, *b"minf", |out| put_minf(out, track));
    });
}

fn put_minf(out: &mut Vec<u8>, track: &Track) {
    if track.codec.is_video() {
        put_full_box(out, *b"vmhd", 0, 1, |out| put_u64(out, 0));
    } else {
        put_full_box(out, *b"smhd", 0, 0, |out| put_u32(out, 0));
    }
    put_box(out, *b"dinf", |out| {
        put_full_box(out, *b"dref", 0, 0, |out| {
            put_u32(out, 1);
            put_full_box(out, *b"url ", 0, 1, |_| ()); // the media is in this file
        });
    });
    put_box(out, *b"stbl", |out| {
        put_full_box(out, *b"stsd", 0, 0, |out| {
            put_u32(out, 1);
            sample_entry::put(out, track);
        });
        // No samples here: they are in the fragments.
        put_full_box(out, *b"stts", 0, 0, |out| put_u32(out, 0));
        put_full_box(out, *b"stsc", 0, 0, |out| put_u32(out, 0));
        put_full_box(out, *b"stsz", 0, 0, |out| put_u64(out, 0));
        put_full_box(out, *b"stco", 0, 0, |out| put_u32(out, 0));
    });
}
