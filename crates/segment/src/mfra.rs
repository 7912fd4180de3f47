//! The index at the end of a file: where decoding can start (ISO/IEC 14496-12 §8.8.9 – §8.8.11).

use crate::boxes::{put_box, put_full_box, put_u32, put_u64};
use crate::moov::track_id;

/// One random access point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Presentation time in ticks of the track.
    pub time: u64,
    pub moof_offset: u64,
    /// Number of the `traf` in its `moof`, from 1.
    pub traf: u32,
    /// Number of the sample in its (only) `trun`, from 1.
    pub sample: u32,
}

/// Bytes of `mfro`, which ends every closed file.
pub(crate) const MFRO_BYTES: u64 = 16;

/// Appends `mfra` with one `tfra`, and `mfro` as its last box.
pub(crate) fn put_mfra(out: &mut Vec<u8>, track: usize, entries: &[Entry]) {
    let start = out.len();
    put_box(out, *b"mfra", |out| {
        put_full_box(out, *b"tfra", 1, 0, |out| {
            put_u32(out, track_id(track));
            put_u32(out, 0b11_00_11); // bytes minus one of traf, trun and sample numbers: 4, 1, 4
            put_u32(out, u32::try_from(entries.len()).expect("fewer chunks than 2³²"));
            for entry in entries {
                put_u64(out, entry.time);
                put_u64(out, entry.moof_offset);
                put_u32(out, entry.traf);
                out.push(1);
                put_u32(out, entry.sample);
            }
        });
        put_full_box(out, *b"mfro", 0, 0, |out| put_u32(out, 0));
    });
    let size = u32::try_from(out.len() - start).expect("an index is far below 4 GiB");
    let place = out.len() - 4;
    out[place..].copy_from_slice(&size.to_be_bytes());
}

/// Length of the `mfra` that these last bytes of a file end.
pub(crate) fn parse_mfro(tail: &[u8]) -> Option<u64> {
    let tail: &[u8; 16] = tail.last_chunk()?;
    let mfro = tail[..4] == [0, 0, 0, 16] && &tail[4..8] == b"mfro";
    mfro.then(|| u64::from(u32::from_be_bytes([tail[12], tail[13], tail[14], tail[15]])))
}
