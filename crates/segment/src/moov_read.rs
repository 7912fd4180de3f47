//! Reads the tracks back out of a `moov`.

use crate::boxes::Cursor;
use crate::error::{Bad, Parsed};
use crate::sample_entry;
use crate::types::Track;

/// More tracks than that are no recording of ours.
pub(crate) const MAX_TRACKS: usize = 16;

/// The tracks in the content of a `moov` box. Their ids must be 1, 2, 3, … as they are written here.
pub(crate) fn parse_moov(mut moov: Cursor<'_>) -> Parsed<Vec<Track>> {
    let mut tracks = Vec::new();
    let start = moov.offset();
    while let Some((kind, content)) = moov.next_box()? {
        if &kind == b"trak" {
            if tracks.len() == MAX_TRACKS {
                return content.bad(format!("more than {MAX_TRACKS} tracks"));
            }
            tracks.push(parse_trak(content, tracks.len())?);
        }
    }
    if tracks.is_empty() {
        return Err(Bad::new(start, "no tracks"));
    }
    Ok(tracks)
}

fn parse_trak(trak: Cursor<'_>, index: usize) -> Parsed<Track> {
    let mut tkhd = trak.child(*b"tkhd")?;
    let (version, _) = tkhd.version_flags("tkhd")?;
    tkhd.take(if version == 1 { 16 } else { 8 }, "tkhd")?;
    let id = tkhd.u32("track id")?;
    if usize::try_from(id) != Ok(index + 1) {
        return tkhd.bad(format!("track id {id} where {} was expected", index + 1));
    }
    let mdia = trak.child(*b"mdia")?;
    let mut mdhd = mdia.child(*b"mdhd")?;
    let (version, _) = mdhd.version_flags("mdhd")?;
    mdhd.take(if version == 1 { 16 } else { 8 }, "mdhd")?;
    let timescale = mdhd.u32("timescale")?;
    let stsd = mdia.child(*b"minf")?.child(*b"stbl")?.child(*b"stsd")?;
    sample_entry::parse_stsd(stsd, timescale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moov::put_moov;
    use crate::types::{Codec, Media};

    #[test]
    fn tracks_read_back() {
        let tracks = vec![
            Track {
                codec: Codec::H264 { avcc: vec![1; 30] },
                media: Media::Video { width: 640, height: 360 },
                timescale: 90_000,
            },
            Track {
                codec: Codec::Aac { asc: vec![0x12, 0x10] },
                media: Media::Audio { channels: 2, sample_rate: 44_100 },
                timescale: 44_100,
            },
        ];
        let mut out = Vec::new();
        put_moov(&mut out, &tracks);
        assert_eq!(parse_moov(Cursor::new(&out, 0).child(*b"moov").unwrap()).unwrap(), tracks);
    }
}
