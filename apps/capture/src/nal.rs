//! Whether a coded picture is one at all: a look at its NAL units, no decoding. Pure.

use holdfast_segment::Codec;

const LENGTH_BYTES: usize = 4;

/// False for what no decoder could make a picture of: lengths that do not fit, units of impossible kinds, no slice at all, or
/// none that decoding could start at where `sync` says that it can. For length-prefixed H.264 and H.265; all else is taken on
/// trust.
#[must_use]
pub fn is_intact(codec: &Codec, data: &[u8], sync: bool) -> bool {
    let kind: fn(u8) -> Kind = match codec {
        Codec::H264 { .. } => h264,
        Codec::H265 { .. } => h265,
        _ => return true,
    };
    let (mut rest, mut slices, mut starts) = (data, false, false);
    while !rest.is_empty() {
        let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() else { return false };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((unit, behind)) = behind.split_at_checked(length) else { return false };
        match unit.first().map(|first| kind(*first)) {
            None | Some(Kind::Impossible) => return false,
            Some(Kind::Start) => (slices, starts) = (true, true),
            Some(Kind::Slice) => slices = true,
            Some(Kind::Other) => {}
        }
        rest = behind;
    }
    slices && (starts || !sync)
}

enum Kind {
    /// A slice at which decoding can start.
    Start,
    Slice,
    Other,
    Impossible,
}

fn h264(first: u8) -> Kind {
    match first {
        0x80.. => Kind::Impossible,
        _ => match first & 0x1f {
            0 => Kind::Impossible,
            5 => Kind::Start,
            1..=4 => Kind::Slice,
            _ => Kind::Other,
        },
    }
}

fn h265(first: u8) -> Kind {
    match first {
        0x80.. => Kind::Impossible,
        _ => match first >> 1 {
            16..=23 => Kind::Start,
            0..=15 => Kind::Slice,
            _ => Kind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::is_intact;
    use holdfast_segment::Codec;

    fn unit(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        length.iter().chain(bytes).copied().collect()
    }

    #[test]
    fn pictures_are_told_from_noise() {
        let h264 = Codec::H264 { avcc: Vec::new() };
        let keyframe = [unit(&[0x67, 1]), unit(&[0x68, 1]), unit(&[0x65, 0x88, 0x84])].concat();
        let delta = unit(&[0x41, 0x9a, 0x00]);
        assert!(is_intact(&h264, &keyframe, true) && is_intact(&h264, &delta, false));
        assert!(!is_intact(&h264, &delta, true), "decoding cannot start there");
        assert!(!is_intact(&h264, &unit(&[0x67, 1]), false), "no slice");
        assert!(!is_intact(&h264, &[], false));
        assert!(!is_intact(&h264, &keyframe[..keyframe.len() - 1], true), "cut off");
        assert!(!is_intact(&h264, &[keyframe.as_slice(), &[0, 0]].concat(), true), "more than there should be");
        assert!(!is_intact(&h264, &unit(&[0xc1, 0x9a]), false), "the forbidden bit");
        let noise: Vec<u8> = keyframe.iter().map(|byte| byte ^ 0xa5).collect();
        assert!(!is_intact(&h264, &noise, true));

        let h265 = Codec::H265 { hvcc: Vec::new() };
        assert!(is_intact(&h265, &unit(&[19 << 1, 1, 0xaf]), true));
        assert!(is_intact(&h265, &unit(&[1 << 1, 1, 0xd0]), false));
        assert!(!is_intact(&h265, &unit(&[1 << 1, 1, 0xd0]), true));
    }
}
