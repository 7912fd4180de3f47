//! From GStreamer's caps to tracks of a segment file.

use gstreamer as gst;
use holdfast_segment::{Codec, Media, Track};

/// Ticks per second of video tracks, as MPEG uses them.
const VIDEO_TIMESCALE: u32 = 90_000;
/// Opus always counts in 48 kHz.
const OPUS_RATE: u32 = 48_000;

/// Caps that cannot become a track.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapsError {
    /// A codec we don't record.
    #[error("{0} cannot be recorded; video must be H.264 or H.265, sound AAC, G.711 (PCMA, PCMU) or Opus")]
    Codec(String),
    /// A codec we record, without what a decoder needs.
    #[error("{codec} without {missing} cannot be recorded")]
    Incomplete {
        /// Which.
        codec: String,
        /// What is missing.
        missing: &'static str,
    },
}

/// The track for these caps.
///
/// # Errors
/// See [`CapsError`].
pub fn track(caps: &gst::CapsRef) -> Result<Track, CapsError> {
    let structure = caps.structure(0).ok_or_else(|| CapsError::Codec("nothing".into()))?;
    let name = structure.name().as_str();
    let missing = |missing| CapsError::Incomplete { codec: name.to_owned(), missing };
    let number = |field: &'static str| {
        structure.get::<i32>(field).ok().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| missing(field))
    };
    let short = |field: &'static str| number(field).and_then(|value| u16::try_from(value).map_err(|_| missing(field)));
    let config = || -> Result<Vec<u8>, CapsError> {
        let buffer = structure.get::<gst::Buffer>("codec_data").map_err(|_| missing("codec_data"))?;
        let map = buffer.map_readable().map_err(|_| missing("codec_data"))?;
        Ok(map.as_slice().to_vec())
    };
    let video = |codec| {
        Ok(Track {
            codec,
            media: Media::Video { width: short("width")?, height: short("height")? },
            timescale: VIDEO_TIMESCALE,
        })
    };
    let audio = |codec, sample_rate| {
        Ok(Track { codec, media: Media::Audio { channels: short("channels")?, sample_rate }, timescale: sample_rate })
    };
    match name {
        "video/x-h264" => video(Codec::H264 { avcc: config()? }),
        "video/x-h265" => video(Codec::H265 { hvcc: config()? }),
        "audio/mpeg" if structure.get::<i32>("mpegversion") == Ok(4) => {
            audio(Codec::Aac { asc: config()? }, number("rate")?)
        }
        "audio/x-alaw" => audio(Codec::Pcma, number("rate")?),
        "audio/x-mulaw" => audio(Codec::Pcmu, number("rate")?),
        "audio/x-opus" => {
            let dops = opus_config(structure, short("channels").unwrap_or(2));
            let channels = short("channels").unwrap_or(2);
            let media = Media::Audio { channels, sample_rate: OPUS_RATE };
            Ok(Track { codec: Codec::Opus { dops }, media, timescale: OPUS_RATE })
        }
        other => Err(CapsError::Codec(other.to_owned())),
    }
}

/// The `dOps` box's content, from the `OpusHead` that encoders put into their caps. Cameras send none; then nothing is
/// skipped at the beginning, which is what a stream that is joined in the middle needs anyway.
fn opus_config(structure: &gst::StructureRef, channels: u16) -> Vec<u8> {
    let head = structure
        .get::<gst::Array>("streamheader")
        .ok()
        .and_then(|headers| headers.first().and_then(|first| first.get::<gst::Buffer>().ok()))
        .and_then(|buffer| buffer.map_readable().ok().map(|map| map.as_slice().to_vec()));
    let fixed = head.as_deref().and_then(|head| head.strip_prefix(b"OpusHead")).filter(|fields| fields.len() >= 11);
    match fixed {
        Some(fields) => {
            // The same fields, but big endian, and with version 0 instead of 1.
            let mut dops = vec![0, fields[1], fields[3], fields[2], fields[7], fields[6], fields[5], fields[4]];
            dops.extend([fields[9], fields[8]]);
            dops.extend(&fields[10..]);
            dops
        }
        None => {
            let channels = u8::try_from(channels.clamp(1, 2)).unwrap_or(2);
            let [r0, r1, r2, r3] = OPUS_RATE.to_be_bytes();
            vec![0, channels, 0, 0, r0, r1, r2, r3, 0, 0, 0]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CapsError, track};
    use gstreamer as gst;
    use holdfast_segment::{Codec, Media};

    fn parse(caps: &str) -> gst::Caps {
        gst::init().unwrap();
        caps.parse().unwrap()
    }

    #[test]
    fn reads_video() {
        let caps = parse("video/x-h264,stream-format=avc,width=1280,height=720,codec_data=(buffer)0142001f");
        let track = track(&caps).unwrap();
        assert_eq!(track.codec, Codec::H264 { avcc: vec![1, 0x42, 0, 0x1f] });
        assert_eq!(track.media, Media::Video { width: 1280, height: 720 });
        assert_eq!(track.timescale, 90_000);
    }

    #[test]
    fn reads_sound() {
        let aac = track(&parse("audio/mpeg,mpegversion=4,rate=48000,channels=2,codec_data=(buffer)1190")).unwrap();
        assert_eq!((aac.codec, aac.timescale), (Codec::Aac { asc: vec![0x11, 0x90] }, 48_000));
        let pcma = track(&parse("audio/x-alaw,rate=8000,channels=1")).unwrap();
        assert_eq!((pcma.codec, pcma.timescale), (Codec::Pcma, 8000));
        let head = "4f707573486561640102380180bb0000000000"; // version 1, 2 channels, pre-skip 312, 48 kHz
        let opus = format!("audio/x-opus,rate=48000,channels=2,streamheader=(buffer)<{head}>");
        let dops = vec![0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0];
        assert_eq!(track(&parse(&opus)).unwrap().codec, Codec::Opus { dops });
    }

    #[test]
    fn refuses_what_a_file_cannot_hold() {
        let jpeg = track(&parse("image/jpeg,width=1,height=1")).unwrap_err();
        assert!(matches!(&jpeg, CapsError::Codec(name) if name == "image/jpeg"), "{jpeg}");
        let bare = track(&parse("video/x-h264,width=1280,height=720")).unwrap_err();
        assert!(bare.to_string().contains("codec_data"), "{bare}");
        assert!(track(&parse("video/x-h264,width=128000,height=720,codec_data=(buffer)01")).is_err());
    }
}
