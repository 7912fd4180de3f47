//! Sample entries: how a track says what it is coded in (ISO/IEC 14496-12 §8.5.2 and §12).

use crate::boxes::{Cursor, FourCc, printable, put_box, put_full_box, put_u16, put_u32};
use crate::error::Parsed;
use crate::types::{Codec, Media, Track};

/// Longest configuration record taken: parameter sets are a few hundred bytes.
const MAX_CONFIG_BYTES: usize = 64 * 1024;

/// Says why a track can't be written.
pub(crate) fn check(track: &Track) -> Result<(), String> {
    let config = track.codec.config();
    if config.len() > MAX_CONFIG_BYTES {
        return Err(format!("{} bytes of codec configuration, at most {MAX_CONFIG_BYTES}", config.len()));
    }
    let least = match track.codec {
        Codec::H264 { .. } => 7,
        Codec::H265 { .. } => 23,
        Codec::Aac { .. } => 2,
        Codec::Opus { .. } => 11,
        Codec::Pcma | Codec::Pcmu => 0,
    };
    if config.len() < least {
        let name = track.codec.name();
        return Err(format!("{name} needs a configuration record of at least {least} bytes, got {}", config.len()));
    }
    match track.media {
        Media::Video { width, height } if !track.codec.is_video() || width == 0 || height == 0 => {
            Err(format!("{} with pictures of {width}×{height}", track.codec.name()))
        }
        Media::Audio { channels, sample_rate } if track.codec.is_video() || channels == 0 || sample_rate == 0 => {
            Err(format!("{} with {channels} audio channels at {sample_rate} Hz", track.codec.name()))
        }
        _ if track.timescale == 0 => Err("timescale 0".into()),
        _ => Ok(()),
    }
}

/// Writes the sample entry box.
pub(crate) fn put(out: &mut Vec<u8>, track: &Track) {
    let kind: FourCc = match track.codec {
        Codec::H264 { .. } => *b"avc1",
        Codec::H265 { .. } => *b"hvc1",
        Codec::Aac { .. } => *b"mp4a",
        Codec::Pcma => *b"alaw",
        Codec::Pcmu => *b"ulaw",
        Codec::Opus { .. } => *b"Opus",
    };
    put_box(out, kind, |out| {
        out.extend([0; 6]);
        put_u16(out, 1); // data_reference_index: this file
        match track.media {
            Media::Video { width, height } => put_visual(out, width, height),
            Media::Audio { channels, sample_rate } => put_audio(out, channels, sample_rate),
        }
        match &track.codec {
            Codec::H264 { avcc } => put_box(out, *b"avcC", |out| out.extend(avcc)),
            Codec::H265 { hvcc } => put_box(out, *b"hvcC", |out| out.extend(hvcc)),
            Codec::Opus { dops } => put_box(out, *b"dOps", |out| out.extend(dops)),
            Codec::Aac { asc } => put_esds(out, asc),
            Codec::Pcma | Codec::Pcmu => (),
        }
    });
}

/// VisualSampleEntry, §12.1.3.
fn put_visual(out: &mut Vec<u8>, width: u16, height: u16) {
    out.extend([0; 16]);
    put_u16(out, width);
    put_u16(out, height);
    put_u32(out, 72 << 16); // 72 dpi
    put_u32(out, 72 << 16);
    put_u32(out, 0);
    put_u16(out, 1); // pictures per sample
    out.extend([0; 32]); // no compressor name
    put_u16(out, 24); // depth
    put_u16(out, 0xffff);
}

/// AudioSampleEntry, §12.2.3.
fn put_audio(out: &mut Vec<u8>, channels: u16, sample_rate: u32) {
    out.extend([0; 8]);
    put_u16(out, channels);
    put_u16(out, 16);
    put_u32(out, 0);
    // 16.16 fixed point: rates beyond 65 535 Hz do not fit and stand in the codec's own configuration.
    put_u32(out, u16::try_from(sample_rate).map_or(0, |rate| u32::from(rate) << 16));
}

/// ESDBox: descriptors of ISO/IEC 14496-1 §7.2.6 around the AudioSpecificConfig.
fn put_esds(out: &mut Vec<u8>, asc: &[u8]) {
    put_full_box(out, *b"esds", 0, 0, |out| {
        put_descriptor(out, 0x03, |out| {
            put_u16(out, 0); // ES_ID, 0 inside a file
            out.push(0);
            put_descriptor(out, 0x04, |out| {
                out.push(0x40); // MPEG-4 audio
                out.push(0x05 << 2 | 1); // audio stream
                out.extend([0; 3]); // buffer size: not known
                put_u32(out, 0); // bit rates: not known
                put_u32(out, 0);
                put_descriptor(out, 0x05, |out| out.extend(asc));
            });
            put_descriptor(out, 0x06, |out| out.push(2)); // SLConfig, predefined for MP4
        });
    });
}

/// A descriptor with its length in four bytes of seven bits.
fn put_descriptor(out: &mut Vec<u8>, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend([0; 4]);
    content(out);
    let length = out.len() - start - 4;
    for (at, shift) in [21, 14, 7, 0].into_iter().enumerate() {
        let more = if at < 3 { 0x80 } else { 0 };
        out[start + at] = u8::try_from(length >> shift & 0x7f).expect("seven bits") | more;
    }
}

/// Reads the content of `stsd`: exactly one sample entry of a codec known here.
pub(crate) fn parse_stsd(mut stsd: Cursor<'_>, timescale: u32) -> Parsed<Track> {
    stsd.version_flags("stsd")?;
    stsd.u32("stsd")?;
    let Some((kind, mut entry)) = stsd.next_box()? else {
        return stsd.bad("no sample entry");
    };
    entry.take(8, "sample entry")?;
    let (codec, media) = match &kind {
        b"avc1" | b"avc3" => {
            let media = visual(&mut entry)?;
            (Codec::H264 { avcc: entry.child(*b"avcC")?.rest().to_vec() }, media)
        }
        b"hvc1" | b"hev1" => {
            let media = visual(&mut entry)?;
            (Codec::H265 { hvcc: entry.child(*b"hvcC")?.rest().to_vec() }, media)
        }
        b"mp4a" => {
            let media = audio(&mut entry, timescale)?;
            (Codec::Aac { asc: parse_esds(entry.child(*b"esds")?)? }, media)
        }
        b"Opus" => {
            let media = audio(&mut entry, timescale)?;
            (Codec::Opus { dops: entry.child(*b"dOps")?.rest().to_vec() }, media)
        }
        b"alaw" => (Codec::Pcma, audio(&mut entry, timescale)?),
        b"ulaw" => (Codec::Pcmu, audio(&mut entry, timescale)?),
        _ => return entry.bad(format!("unknown sample entry {}", printable(kind))),
    };
    let track = Track { codec, media, timescale };
    match check(&track) {
        Ok(()) => Ok(track),
        Err(what) => entry.bad(what),
    }
}

fn visual(entry: &mut Cursor<'_>) -> Parsed<Media> {
    entry.take(16, "visual sample entry")?;
    let (width, height) = (entry.u16("width")?, entry.u16("height")?);
    entry.take(50, "visual sample entry")?;
    Ok(Media::Video { width, height })
}

fn audio(entry: &mut Cursor<'_>, timescale: u32) -> Parsed<Media> {
    entry.take(8, "audio sample entry")?;
    let channels = entry.u16("channels")?;
    entry.take(6, "audio sample entry")?;
    let sample_rate = match entry.u32("sample rate")? >> 16 {
        0 => timescale,
        rate => rate,
    };
    Ok(Media::Audio { channels, sample_rate })
}

fn parse_esds(mut esds: Cursor<'_>) -> Parsed<Vec<u8>> {
    esds.version_flags("esds")?;
    let mut es = descriptor(&mut esds, 0x03)?;
    es.take(3, "ES descriptor")?;
    let mut config = descriptor(&mut es, 0x04)?;
    config.take(13, "decoder configuration")?;
    Ok(descriptor(&mut config, 0x05)?.rest().to_vec())
}

fn descriptor<'a>(from: &mut Cursor<'a>, tag: u8) -> Parsed<Cursor<'a>> {
    let found = from.u8("descriptor tag")?;
    if found != tag {
        return from.bad(format!("descriptor {tag:#04x} expected, found {found:#04x}"));
    }
    let mut length = 0_usize;
    for _ in 0..4 {
        let byte = from.u8("descriptor length")?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let offset = from.offset();
    Ok(Cursor::new(from.take(length, "descriptor")?, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(codec: Codec, media: Media, timescale: u32) -> Track {
        Track { codec, media, timescale }
    }

    #[test]
    fn every_codec_reads_back() {
        let video = Media::Video { width: 1920, height: 1080 };
        let audio = |channels, sample_rate| Media::Audio { channels, sample_rate };
        for track in [
            track(Codec::H264 { avcc: (0..40).collect() }, video, 90_000),
            track(Codec::H265 { hvcc: (0..200).collect() }, video, 90_000),
            track(Codec::Aac { asc: vec![0x11, 0x90] }, audio(2, 48_000), 48_000),
            track(Codec::Aac { asc: vec![7; 300] }, audio(2, 96_000), 96_000),
            track(Codec::Opus { dops: vec![0; 11] }, audio(2, 48_000), 48_000),
            track(Codec::Pcma, audio(1, 8000), 8000),
            track(Codec::Pcmu, audio(1, 8000), 8000),
        ] {
            let mut out = vec![0, 0, 0, 0, 0, 0, 0, 1];
            put(&mut out, &track);
            assert_eq!(parse_stsd(Cursor::new(&out, 0), track.timescale).unwrap(), track);
            for length in 0..out.len() {
                assert!(parse_stsd(Cursor::new(&out[..length], 0), track.timescale).is_err());
            }
        }
    }

    #[test]
    fn tracks_that_make_no_sense_are_refused() {
        let video = Media::Video { width: 64, height: 64 };
        assert!(check(&track(Codec::H264 { avcc: vec![] }, video, 90_000)).is_err());
        assert!(check(&track(Codec::H264 { avcc: vec![0; 7] }, video, 0)).is_err());
        assert!(check(&track(Codec::Pcma, video, 8000)).is_err());
        assert!(check(&track(Codec::Pcma, Media::Audio { channels: 0, sample_rate: 8000 }, 8000)).is_err());
        assert!(check(&track(Codec::H265 { hvcc: vec![0; 70_000] }, video, 90_000)).is_err());
    }
}
