//! U-Boot's environment, read to see whether it is whole: RAUC's boot order lies in it, and its tools tell nothing of a copy that
//! is damaged as long as the other is not.
//!
//! The format is that of mainline U-Boot (`include/env_internal.h`, `tools/env/fw_env.c`): a CRC-32 of the data in the byte order
//! of the processor, with two copies a byte of flags, then the data. Of two copies that are whole, the one whose flags were
//! counted up last is the present one; what writes, writes the other one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// Where U-Boot's tools, and so RAUC, look for it.
pub const FW_ENV_CONFIG: &str = "/etc/fw_env.config";

/// What precedes the data: the checksum, and with two copies the flags.
const CHECKSUM_BYTES: usize = 4;
/// More than any environment; a config that says more is wrong, and is not to take our memory.
const MAX_BYTES: u64 = 16 << 20;
/// Of zlib, as U-Boot has it.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// One line of `fw_env.config`: where a copy lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Block device or file.
    pub device: PathBuf,
    /// In bytes; a negative one counts from the end.
    pub offset: i64,
    /// Of the copy with its checksum, in bytes.
    pub size: u64,
}

/// How the copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// All are whole.
    Whole {
        /// Copies: 1 or 2. With one alone a power cut while it is written loses it.
        copies: usize,
        /// Which is the present one, from 0.
        present: usize,
    },
    /// One of two is damaged: as after a power cut while it was written.
    Damaged {
        /// Which, from 0.
        copy: usize,
    },
    /// None is whole: U-Boot boots with what it was built with, and forgets which slot is good.
    Lost,
}

/// Why it can't be judged.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The configuration makes no sense.
    #[error("{path}: {what}")]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It can't be read.
    #[error("{path}: {source}")]
    Read {
        /// What can't be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the copies that a `fw_env.config` names. `None`: there is none, so no U-Boot; or it lies in raw flash (MTD, UBI), whose
/// bad blocks only U-Boot's own tools know to skip.
///
/// # Errors
/// The configuration makes no sense, or a copy can't be read.
pub fn read_environment(config: &Path) -> Result<Option<Environment>, EnvironmentError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| EnvironmentError::Read { path, source }
    };
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(config)(error)),
    };
    let places = places(&text).map_err(|what| EnvironmentError::Config { path: config.to_owned(), what })?;
    let mut copies = vec![];
    for place in places {
        let kind = std::fs::metadata(&place.device).map_err(read(&place.device))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Ok(None);
        }
        copies.push(place.read().map_err(read(&place.device))?);
    }
    Ok(Some(judge(&copies)))
}

/// Reads `fw_env.config`: device, offset, size, and more that only matters to raw flash. Numbers are as its tools read them: the
/// offset as in C, the size in hexadecimal.
///
/// # Errors
/// What is wrong, with its line.
pub fn places(text: &str) -> Result<Vec<Place>, String> {
    let mut places = vec![];
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        let wrong = |what: &str| format!("line {number}, \"{line}\": {what}");
        let (Some(offset), Some(size)) = (words.next(), words.next()) else {
            return Err(wrong("a device, an offset and a size are wanted"));
        };
        let offset = offset_of(offset).ok_or_else(|| wrong("the offset is no number"))?;
        let digits = size.strip_prefix("0x").or(size.strip_prefix("0X")).unwrap_or(size);
        let size = u64::from_str_radix(digits, 16).map_err(|_| wrong("the size is no hexadecimal number"))?;
        if !(16..=MAX_BYTES).contains(&size) {
            return Err(wrong("no environment has that size"));
        }
        places.push(Place { device: device.into(), offset, size });
    }
    match places.as_slice() {
        [] => Err("it names no environment".to_owned()),
        [one, other] if one.size != other.size => Err("the two copies must be of one size".to_owned()),
        [_] | [_, _] => Ok(places),
        _ => Err("it names more than two copies".to_owned()),
    }
}

/// As `strtoll` with base 0 has it.
fn offset_of(word: &str) -> Option<i64> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    // A second sign is no number.
    let number = number.ok().filter(|number| *number >= 0)?;
    Some(if negative { -number } else { number })
}

impl Place {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.device)?;
        let from = match u64::try_from(self.offset) {
            Ok(offset) => SeekFrom::Start(offset),
            Err(_) => SeekFrom::End(self.offset),
        };
        file.seek(from)?;
        let mut bytes = vec![];
        file.take(self.size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != self.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the environment lies beyond its end"));
        }
        Ok(bytes)
    }
}

/// Whether the copies, as they were read, are whole.
#[must_use]
pub fn judge(copies: &[Vec<u8>]) -> Environment {
    let header = CHECKSUM_BYTES + usize::from(copies.len() > 1);
    let is_whole = |copy: &Vec<u8>| {
        let (Some(checksum), Some(data)) = (copy.first_chunk(), copy.get(header..)) else { return false };
        u32::from_ne_bytes(*checksum) == CRC.checksum(data)
    };
    match copies.iter().map(is_whole).collect::<Vec<_>>().as_slice() {
        [true] => Environment::Whole { copies: 1, present: 0 },
        [true, true] => Environment::Whole { copies: 2, present: present(copies) },
        [false, true] => Environment::Damaged { copy: 0 },
        [true, false] => Environment::Damaged { copy: 1 },
        _ => Environment::Lost,
    }
}

/// Flags are counted up, and begin anew behind 255.
fn present(copies: &[Vec<u8>]) -> usize {
    let flags = |copy: usize| copies.get(copy).and_then(|bytes| bytes.get(CHECKSUM_BYTES)).copied().unwrap_or_default();
    match (flags(0), flags(1)) {
        (255, 0) => 1,
        (0, 255) => 0,
        (one, other) => usize::from(other > one),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CHECKSUM_BYTES, CRC, Environment, judge, places};

    fn copy(flags: Option<u8>, data: &[u8]) -> Vec<u8> {
        [CRC.checksum(data).to_ne_bytes().as_slice(), flags.as_slice(), data].concat()
    }

    #[test]
    fn a_config_is_read_as_the_tools_read_it() {
        let text =
            "# comment\n\n/dev/mmcblk0 0x3f0000 0x8000\n  /dev/mmcblk0\t-65536 8000 0x200 1 # more\n#/dev/x 0 1\n";
        let read = places(text).unwrap();
        assert_eq!(
            read.iter().map(|place| (place.offset, place.size)).collect::<Vec<_>>(),
            [(0x3f_0000, 0x8000), (-65536, 0x8000)]
        );
        assert_eq!(places("/a 010 4000").unwrap()[0].offset, 8);
        for (bad, part) in [
            ("", "names no environment"),
            ("/a 0x0", "line 1"),
            ("\n/a zero 4000", "line 2"),
            ("/a 0 4g", "hexadecimal"),
            ("/a 0 0", "no environment has that size"),
            ("/a 0 ffffffff", "no environment has that size"),
            ("/a --1 4000", "no number"),
            ("/a 0 4000\n/a 4000 2000", "one size"),
            ("/a 0 4000\n/b 0 4000\n/c 0 4000", "more than two"),
        ] {
            assert!(places(bad).unwrap_err().contains(part), "{bad}: {:?}", places(bad));
        }
    }

    #[test]
    fn the_one_that_was_counted_up_last_is_the_present_one() {
        for (one, other, present) in [(1, 2, 1), (2, 1, 0), (255, 0, 1), (0, 255, 0), (7, 7, 0), (254, 255, 1)] {
            let copies = [copy(Some(one), b"a=1\0\0"), copy(Some(other), b"a=2\0\0")];
            assert_eq!(judge(&copies), Environment::Whole { copies: 2, present }, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(text in any::<String>(), copies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4)) {
            let _ = places(&text);
            let _ = judge(&copies);
        }

        /// CRC-32 sees every single changed byte, and the flags are not part of it.
        #[test]
        fn one_changed_byte_is_seen(
            data in prop::collection::vec(any::<u8>(), 1..512),
            at in any::<prop::sample::Index>(),
            with in 1..=255_u8,
            which in 0..2_usize,
        ) {
            let whole = [copy(Some(1), &data), copy(Some(2), &data)];
            prop_assert_eq!(judge(&whole), Environment::Whole { copies: 2, present: 1 });
            let mut damaged = whole.to_vec();
            let at = at.index(damaged[which].len());
            damaged[which][at] ^= with;
            let seen = judge(&damaged);
            if at == CHECKSUM_BYTES {
                let is_whole = matches!(seen, Environment::Whole { copies: 2, .. });
                prop_assert!(is_whole);
            } else {
                prop_assert_eq!(seen, Environment::Damaged { copy: which });
                damaged[1 - which][0] ^= 1;
                prop_assert_eq!(judge(&damaged), Environment::Lost);
            }
            let single = copy(None, &data);
            prop_assert_eq!(judge(std::slice::from_ref(&single)), Environment::Whole { copies: 1, present: 0 });
            prop_assert_eq!(judge(&[single[1..].to_vec()]), Environment::Lost);
        }
    }
}
