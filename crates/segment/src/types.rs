//! Tracks, frames, and the ids that tie files together.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a track is coded, with the decoder configuration as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// H.264, length-prefixed access units, parameter sets out of band (`avc1`, ISO/IEC 14496-15 §5.4).
    H264 {
        /// Content of the `avcC` box (AVCDecoderConfigurationRecord).
        avcc: Vec<u8>,
    },
    /// H.265, length-prefixed access units, parameter sets out of band (`hvc1`, ISO/IEC 14496-15 §8.4).
    H265 {
        /// Content of the `hvcC` box (HEVCDecoderConfigurationRecord).
        hvcc: Vec<u8>,
    },
    /// AAC without ADTS headers (`mp4a`, ISO/IEC 14496-14 §5.6).
    Aac {
        /// AudioSpecificConfig, the DecoderSpecificInfo of the `esds` box.
        asc: Vec<u8>,
    },
    /// G.711 A-law, one byte per sample and channel (`alaw`).
    Pcma,
    /// G.711 µ-law, one byte per sample and channel (`ulaw`).
    Pcmu,
    /// Opus packets (`Opus`, "Encapsulation of Opus in ISO Base Media File Format").
    Opus {
        /// Content of the `dOps` box.
        dops: Vec<u8>,
    },
}

impl Codec {
    /// Short name for people and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::H264 { .. } => "H.264",
            Self::H265 { .. } => "H.265",
            Self::Aac { .. } => "AAC",
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
            Self::Opus { .. } => "Opus",
        }
    }

    /// True for codecs whose frames are pictures.
    #[must_use]
    pub fn is_video(&self) -> bool {
        matches!(self, Self::H264 { .. } | Self::H265 { .. })
    }

    /// The configuration record; empty for codecs without one.
    #[must_use]
    pub fn config(&self) -> &[u8] {
        match self {
            Self::H264 { avcc: config }
            | Self::H265 { hvcc: config }
            | Self::Aac { asc: config }
            | Self::Opus { dops: config } => config,
            Self::Pcma | Self::Pcmu => &[],
        }
    }
}

/// What a track shows or sounds like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Media {
    /// Pictures.
    Video {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
    },
    /// Sound.
    Audio {
        /// Number of channels.
        channels: u16,
        /// Samples per second and channel.
        sample_rate: u32,
    },
}

/// One track of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Codec and its configuration.
    pub codec: Codec,
    /// Picture size, or channels and rate.
    pub media: Media,
    /// Ticks per second of the times in the file: 90 000 for video, the sample rate for audio (48 000 for Opus).
    pub timescale: u32,
}

/// One access unit (video) or packet (audio) to be written.
///
/// Times are `CLOCK_MONOTONIC` nanoseconds. Within a track `dts_ns` must never decrease, over the whole life of a
/// file. `pts_ns` may be before or after `dts_ns`. `duration_ns` matters only for the last frame of a track in a
/// chunk; everywhere else the distance to the next `dts_ns` is what is written.
#[derive(Clone, Debug)]
pub struct Frame<D> {
    /// Index into the tracks given to `Writer::create`.
    pub track: usize,
    /// Decode time.
    pub dts_ns: u64,
    /// Presentation time.
    pub pts_ns: u64,
    /// How long it lasts, if nothing better is known.
    pub duration_ns: u64,
    /// Decoding can start here (IDR or other random access point; true for audio).
    pub sync: bool,
    /// The coded bytes.
    pub data: D,
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = String;

            /// Reads hexadecimal digits; dashes are skipped, so that UUIDs read too.
            fn from_str(text: &str) -> Result<Self, String> {
                let mut out = [0_u8; $len];
                let mut digits = text.bytes().filter(|byte| *byte != b'-');
                for byte in &mut out {
                    let mut digit = || digits.next().and_then(hex_digit);
                    *byte = digit().zip(digit()).map(|(high, low)| high << 4 | low).ok_or_else(|| {
                        format!("{:?} is not {} hexadecimal digits", text, 2 * $len)
                    })?;
                }
                match digits.next() {
                    None => Ok(Self(out)),
                    Some(_) => Err(format!("{:?} is longer than {} hexadecimal digits", text, 2 * $len)),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                if out.is_human_readable() { out.collect_str(self) } else { self.0.as_slice().serialize(out) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                if input.is_human_readable() {
                    String::deserialize(input)?.parse().map_err(D::Error::custom)
                } else {
                    let bytes = Vec::<u8>::deserialize(input)?;
                    Ok(Self(bytes.try_into().map_err(|_| D::Error::custom("wrong length"))?))
                }
            }
        }
    };
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

hex_bytes! {
    /// Random id of one segment file. Every seal carries it: that is what keeps old bytes out.
    FileId, 16
}

hex_bytes! {
    /// The kernel's boot id: monotonic times of different boots cannot be compared.
    BootId, 16
}

hex_bytes! {
    /// A BLAKE3 digest. Of a closed file: the digest of its ledger, which chains back over every byte of footage.
    Digest, 32
}

impl FileId {
    /// A fresh one, from the kernel's random generator.
    ///
    /// # Errors
    /// The kernel has no randomness (it does, from early boot on).
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        // Requests of up to 256 bytes are never cut short, says getrandom(2).
        if filled == bytes.len() { Ok(Self(bytes)) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl BootId {
    /// The id of this boot.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> std::io::Result<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        text.trim().parse().map_err(std::io::Error::other)
    }
}

const NS_PER_S: i128 = 1_000_000_000;

/// Converts a distance in nanoseconds to ticks, rounded to the nearest.
///
/// Always convert distances from the file's start, never sum up converted durations: so rounding cannot drift.
#[must_use]
pub fn ns_to_ticks(ns: i128, timescale: u32) -> i128 {
    (ns * i128::from(timescale) + NS_PER_S / 2).div_euclid(NS_PER_S)
}

/// Converts ticks to nanoseconds, rounded to the nearest.
#[must_use]
pub fn ticks_to_ns(ticks: i128, timescale: u32) -> i128 {
    let timescale = i128::from(timescale.max(1));
    (ticks * NS_PER_S + timescale / 2).div_euclid(timescale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let id = FileId::random().unwrap();
        assert_eq!(id.to_string().parse::<FileId>().unwrap(), id);
        assert_eq!("295aa16c-1f64-4987-a4f8-84f201720465".parse::<BootId>().unwrap().0[..2], [0x29, 0x5a]);
        assert!("29".parse::<BootId>().is_err());
        assert!("295aa16c1f644987a4f884f20172046500".parse::<BootId>().is_err());
        assert!("zz5aa16c1f644987a4f884f201720465".parse::<BootId>().is_err());
        assert_ne!(BootId::current().unwrap(), BootId::default());
    }

    #[test]
    fn ticks_round_to_nearest_both_ways() {
        assert_eq!(ns_to_ticks(1_000_000_000, 90_000), 90_000);
        assert_eq!(ns_to_ticks(33_333_333, 90_000), 3000);
        assert_eq!(ns_to_ticks(-33_333_333, 90_000), -3000);
        for ticks in [0_i128, 1, 44_099, 1 << 40] {
            assert_eq!(ns_to_ticks(ticks_to_ns(ticks, 44_100), 44_100), ticks);
        }
    }
}
