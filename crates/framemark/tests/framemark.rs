//! What a stamp must survive, and what must never read as one.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tests")]

use holdfast_framemark::{MIN_HEIGHT_PX, MIN_WIDTH_PX, read, stamp};
use proptest::prelude::*;

/// Sizes cameras, previews and tests have; strides with and without padding.
const SIZES: [(usize, usize, usize); 7] = [
    (224, 224, 32),
    (320, 320, 240),
    (384, 352, 288),
    (640, 640, 360),
    (1280, 1280, 720),
    (1984, 1920, 1080),
    (3840, 3840, 2160),
];

/// Numbers with few, many and alternating bits.
const NUMBERS: [u32; 8] = [0, 1, 29, 1_799, 0x5555_5555, 0xaaaa_aaaa, u32::MAX - 1, u32::MAX];

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A busy picture: gradients and texture, so that the stamp does not stand on flat ground.
fn picture(stride: usize, height: usize) -> Vec<u8> {
    let mut rng = Rng(0x9e37_79b9);
    (0..stride * height).map(|i| ((i % stride / 3 + i / stride) as u8).wrapping_add(rng.next() as u8 & 31)).collect()
}

fn stamped(stride: usize, width: usize, height: usize, number: u32) -> Vec<u8> {
    let mut luma = picture(stride, height);
    assert!(stamp(&mut luma, stride, width, height, number, "cam0"));
    luma
}

fn survives(name: &str, damage: impl Fn(&mut Vec<u8>, usize, usize)) {
    survives_at(&SIZES, name, damage);
}

fn survives_at(sizes: &[(usize, usize, usize)], name: &str, damage: impl Fn(&mut Vec<u8>, usize, usize)) {
    for &(stride, width, height) in sizes {
        for number in NUMBERS {
            let mut luma = stamped(stride, width, height, number);
            damage(&mut luma, stride, height);
            assert_eq!(
                read(&luma, stride, width, height),
                Some(number),
                "{name} at {width}x{height}, number {number:#x}"
            );
        }
    }
}

#[test]
fn reads_back_what_was_stamped() {
    survives("nothing", |_, _, _| {});
}

#[test]
fn survives_noise() {
    survives("noise", |luma, _, _| {
        let mut rng = Rng(7);
        for pixel in luma {
            *pixel = (i32::from(*pixel) + (rng.next() % 121) as i32 - 60).clamp(0, 255) as u8;
        }
    });
}

#[test]
fn survives_blur() {
    // Small blocks suffer most; the large sizes would only cost time.
    survives_at(&SIZES[..4], "blur", |luma, stride, height| {
        for _ in 0..2 {
            let old = luma.clone();
            for y in 1..height - 1 {
                for x in 1..stride - 1 {
                    let sum: u32 = (y - 1..=y + 1)
                        .flat_map(|v| (x - 1..=x + 1).map(move |u| (u, v)))
                        .map(|(u, v)| u32::from(old[v * stride + u]))
                        .sum();
                    luma[y * stride + x] = (sum / 9) as u8;
                }
            }
        }
    });
}

#[test]
fn survives_a_change_of_levels() {
    survives("full range", |luma, _, _| {
        for pixel in luma {
            *pixel = ((i32::from(*pixel) - 16) * 255 / 219).clamp(0, 255) as u8;
        }
    });
    survives("low contrast", |luma, _, _| {
        for pixel in luma {
            *pixel = *pixel / 3 + 120;
        }
    });
}

/// A quantiser so coarse that of each 4 × 4 or 8 × 8 block only its mean is left, in steps of 24: worse than the coarsest
/// one of H.264.
#[test]
fn survives_a_quantiser_that_keeps_only_means() {
    for side in [4, 8] {
        survives("means", |luma, stride, height| {
            for top in (0..height - height % side).step_by(side) {
                for left in (0..stride - stride % side).step_by(side) {
                    let at = |i: usize| (top + i / side) * stride + left + i % side;
                    let mean = (0..side * side).map(|i| u32::from(luma[at(i)])).sum::<u32>() / (side * side) as u32;
                    for i in 0..side * side {
                        luma[at(i)] = (mean / 24 * 24) as u8;
                    }
                }
            }
        });
    }
}

#[test]
fn small_pictures_are_left_as_they_are() {
    for (width, height) in
        [(0, 0), (1, 1), (16, 16), (MIN_WIDTH_PX - 1, 240), (320, MIN_HEIGHT_PX - 1), (320, 0), (0, 240)]
    {
        let mut luma = vec![77; width * height];
        assert!(!stamp(&mut luma, width, width, height, 5, "small"));
        assert!(luma.iter().all(|pixel| *pixel == 77), "{width}x{height}");
        assert_eq!(read(&luma, width, width, height), None);
    }
    let mut luma = vec![77; MIN_WIDTH_PX * MIN_HEIGHT_PX];
    assert!(stamp(&mut luma, MIN_WIDTH_PX, MIN_WIDTH_PX, MIN_HEIGHT_PX, 5, "smallest"));
}

#[test]
fn only_the_corner_and_the_line_of_text_are_drawn_and_padding_never() {
    let (stride, width, height) = (384, 352, 288);
    let (before, after) = (picture(stride, height), stamped(stride, width, height, 42));
    for (i, (old, new)) in before.iter().zip(&after).enumerate() {
        let (x, y) = (i % stride, i / stride);
        if x >= width || y >= 4 * 8 {
            assert_eq!(old, new, "pixel {x},{y}");
        }
    }
}

#[test]
fn a_last_line_without_padding_is_enough() {
    let (stride, width, height) = (384, 320, 240);
    let mut luma = vec![0; stride * (height - 1) + width];
    assert!(stamp(&mut luma, stride, width, height, 9, ""));
    assert_eq!(read(&luma, stride, width, height), Some(9));
}

#[test]
fn a_flipped_bit_is_refused() {
    let (width, height, block) = (320, 240, 8);
    for row in 0..2 {
        for column in 0..28 {
            let mut luma = stamped(width, width, height, 0x1234_5678);
            for y in row * block..(row + 1) * block {
                for pixel in &mut luma[y * width + column * block..y * width + (column + 1) * block] {
                    *pixel = 251 - *pixel;
                }
            }
            assert_eq!(read(&luma, width, width, height), None, "row {row}, column {column}");
        }
    }
}

#[test]
fn labels_of_every_kind_and_length() {
    for label in ["", "cam-0_left.A:1/2@x", "ÄÖ→🎥", &"long ".repeat(200)] {
        let mut luma = vec![90; 640 * 360];
        assert!(stamp(&mut luma, 640, 640, 360, 3, label));
        assert_eq!(read(&luma, 640, 640, 360), Some(3));
    }
}

/// The hardest strangers: pictures drawn on the stamp's own grid in full contrast, with only the number left to chance.
#[test]
fn strangers_on_the_same_grid_practically_never_read() {
    let mut rng = Rng(0xfeed);
    let mut luma = vec![0u8; 224 * 32];
    let tries = 200_000;
    let read_as_number = (0..tries)
        .filter(|_| {
            let bits = [rng.next(), rng.next()];
            for (row, bits) in bits.into_iter().enumerate() {
                for column in 0..28 {
                    let level = if bits >> column & 1 == 1 { 235 } else { 16 };
                    for y in row * 8..row * 8 + 8 {
                        luma[y * 224 + column * 8..][..8].fill(level);
                    }
                }
            }
            read(&luma, 224, 224, 32).is_some()
        })
        .count();
    // 2^-8 for the guards times 2^-16 for the check bits: 0.01 expected.
    assert!(read_as_number <= 1, "{read_as_number} of {tries}");
}

proptest! {
    #[test]
    fn every_number_reads_back(number: u32, size in 0..5usize) {
        let (stride, width, height) = SIZES[size];
        prop_assert_eq!(read(&stamped(stride, width, height, number), stride, width, height), Some(number));
    }

    #[test]
    fn random_pictures_never_read(seed: u64, coarse in 1..64usize) {
        let mut rng = Rng(seed | 1);
        let (width, height) = (320, 240);
        let cells: Vec<u8> = (0..width * height).map(|_| rng.next() as u8).collect();
        let luma: Vec<u8> =
            (0..width * height).map(|i| cells[i / width / coarse * width + i % width / coarse]).collect();
        prop_assert_eq!(read(&luma, width, width, height), None);
    }

    /// No sizes and no bytes make either of them panic or draw outside.
    #[test]
    fn nothing_panics(
        luma in proptest::collection::vec(any::<u8>(), 0..20_000),
        stride in prop_oneof![0..400usize, Just(usize::MAX), any::<usize>()],
        width in prop_oneof![0..400usize, Just(usize::MAX), any::<usize>()],
        height in prop_oneof![0..400usize, Just(usize::MAX), any::<usize>()],
        label in ".{0,40}",
    ) {
        prop_assert!(read(&luma, stride, width, height).is_none());
        let mut drawn = luma.clone();
        if stamp(&mut drawn, stride, width, height, 1, &label) {
            prop_assert_eq!(read(&drawn, stride, width, height), Some(1));
        } else {
            prop_assert_eq!(drawn, luma);
        }
    }
}
