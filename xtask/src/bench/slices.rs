//! Coded pictures, by the digests of their slices: what a camera sent, and what stands in files.

use std::path::Path;

use anyhow::{Context, bail};
use holdfast_segment::Reader;

/// Digest of one coded picture (its slices, without parameter sets, delimiters and SEI) or audio packet.
pub type Digest = [u8; 32];

/// The pictures of an H.264 elementary stream with start codes.
pub fn of_annex_b(stream: &[u8]) -> Vec<Digest> {
    let mut pictures = Vec::new();
    let mut open: Option<blake3::Hasher> = None;
    for nal in nals_of_annex_b(stream) {
        if !is_slice(nal) {
            continue;
        }
        // first_mb_in_slice is the first thing in a slice's header; 0 is coded as a single set bit.
        if nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
            && let Some(done) = open.take()
        {
            pictures.push(done.finalize().into());
        }
        add(open.get_or_insert_default(), nal);
    }
    pictures.extend(open.map(|last| Digest::from(last.finalize())));
    pictures
}

/// The packets of an AAC stream with ADTS headers.
pub fn of_adts(mut stream: &[u8]) -> anyhow::Result<Vec<Digest>> {
    let mut packets = Vec::new();
    while stream.len() >= 7 {
        if stream[0] != 0xff || stream[1] & 0xf0 != 0xf0 {
            bail!("no ADTS header after {} packets", packets.len());
        }
        let header = if stream[1] & 1 == 1 { 7 } else { 9 };
        let length = usize::from(stream[3] & 3) << 11 | usize::from(stream[4]) << 3 | usize::from(stream[5] >> 5);
        // The last one may have been cut off.
        let Some(packet) = stream.get(header..length) else {
            break;
        };
        packets.push(blake3::hash(packet).into());
        stream = &stream[length..];
    }
    Ok(packets)
}

/// Pictures and audio packets of segment files, in order.
#[derive(Debug, Default)]
pub struct Files {
    pub files: usize,
    pub pictures: Vec<Digest>,
    pub packets: Vec<Digest>,
}

impl Files {
    /// All files of an input's directory.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(directory).with_context(|| format!("{} can't be read", directory.display()))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let mut all = Self { files: paths.len(), ..Self::default() };
        let mut data = Vec::new();
        for path in paths {
            let reader = Reader::open(&path)?;
            for chunk in reader.chunks() {
                for sample in chunk?.samples {
                    reader.read_sample(&sample, &mut data)?;
                    if reader.tracks()[sample.track].codec.is_video() {
                        let picture = of_length_prefixed(&data);
                        all.pictures
                            .push(picture.with_context(|| format!("{}, byte {}", path.display(), sample.offset))?);
                    } else {
                        all.packets.push(blake3::hash(&data).into());
                    }
                }
            }
        }
        Ok(all)
    }
}

fn of_length_prefixed(mut sample: &[u8]) -> anyhow::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    while let Some((length, rest)) = sample.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        let Some((nal, rest)) = rest.split_at_checked(length) else { bail!("a NAL unit reaches beyond its sample") };
        if is_slice(nal) {
            add(&mut hasher, nal);
        }
        sample = rest;
    }
    Ok(hasher.finalize().into())
}

fn is_slice(nal: &[u8]) -> bool {
    nal.first().is_some_and(|byte| matches!(byte & 0x1f, 1 | 5))
}

fn add(hasher: &mut blake3::Hasher, nal: &[u8]) {
    // Zeros behind a NAL unit belong to the byte stream, not to it.
    let length = nal.len() - nal.iter().rev().take_while(|byte| **byte == 0).count();
    hasher.update(&(length as u64).to_le_bytes()).update(&nal[..length]);
}

fn nals_of_annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = stream.windows(3).enumerate().filter(|(_, window)| *window == [0, 0, 1]).map(|(at, _)| at);
    let mut next = starts.next();
    std::iter::from_fn(move || {
        let begin = next? + 3;
        next = starts.next();
        Some(&stream[begin..next.unwrap_or(stream.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::{of_adts, of_annex_b, of_length_prefixed};

    #[test]
    fn a_picture_is_the_same_in_both_forms() {
        // Parameter sets, a picture of two slices, a delimiter, a picture of one.
        let stream = [
            &[0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65, 0x88, 7, 0, 0, 1, 0x65, 0x40, 8][..],
            &[0, 0, 0, 1, 0x09, 0x10, 0, 0, 0, 1, 0x41, 0x9a, 9],
        ];
        let pictures = of_annex_b(&stream.concat());
        let first = of_length_prefixed(&[0, 0, 0, 3, 0x65, 0x88, 7, 0, 0, 0, 3, 0x65, 0x40, 8]).unwrap();
        let second = of_length_prefixed(&[0, 0, 0, 1, 0x06, 0, 0, 0, 3, 0x41, 0x9a, 9]).unwrap();
        assert_eq!(pictures, [first, second]);
        assert_ne!(first, second);
        assert!(of_length_prefixed(&[0, 0, 0, 9, 1]).is_err());
    }

    #[test]
    fn packets_are_taken_out_of_their_adts_headers() {
        let packet = |data: &[u8]| {
            let length = 7 + u8::try_from(data.len()).unwrap();
            [&[0xff, 0xf1, 0x4c, 0x80, length >> 3, length << 5 | 0x1f, 0xfc], data].concat()
        };
        let stream = [packet(b"abc"), packet(b"defg"), packet(b"cut off")[..9].to_vec()].concat();
        let digests = [b"abc".as_slice(), b"defg"].map(|data| <[u8; 32]>::from(blake3::hash(data)));
        assert_eq!(of_adts(&stream).unwrap(), digests);
        assert!(of_adts(b"no header").is_err());
    }
}
