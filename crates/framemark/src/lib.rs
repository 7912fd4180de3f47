//! Frame numbers burnt into pictures, for people and machines to read back.
//!
//! A test source that numbers its pictures turns "no frame was lost or doubled" from a claim into a count: [`stamp`]
//! writes the number into the luma plane before the encoder, [`read`] finds it again in what a player decodes from disk.
//!
//! # What is drawn
//! In the top left corner, on a grid of square blocks:
//!
//! ```text
//!  block row 0   # . | 24 bits of the number ……………… | . #      # white, . black
//!  block row 1   . # | 8 bits of the number, 16 check bits | # .
//!  rows 2 and 3  0000001234 LABEL                             for people
//! ```
//!
//! The outer cells are guards: they tell the reader which levels black and white have become, so that a change of
//! brightness, contrast or range on the way does not matter. A block is a multiple of 8 pixels wide, so that its edges fall
//! on the edges of the transform blocks of H.264 and H.265: a coarse quantiser then keeps its mean, and the mean of a
//! block's centre is all that is read. Chroma is never touched: a 4:2:0 picture loses nothing by it.
//!
//! # What is absent
//! No allocation, no dependency, no `std`, and no input that makes it panic: sizes that do not fit are refused.

#![no_std]
#![forbid(unsafe_code)]

mod font;

/// Cells per block row: two guards, 24 bits, two guards.
const COLUMNS: usize = 28;
/// Bits carried by one block row.
const BITS_PER_ROW: usize = 24;
/// Block rows of the bar code.
const CODE_ROWS: usize = 2;
/// Block rows of everything: the bar code and a line of text, two blocks high.
const TOTAL_ROWS: usize = 4;
/// Smallest and largest block, in pixels. Larger blocks would only hide more of the picture.
const BLOCK_MIN_PX: usize = 8;
const BLOCK_MAX_PX: usize = 32;

/// Narrowest picture that can be numbered, in pixels.
pub const MIN_WIDTH_PX: usize = COLUMNS * BLOCK_MIN_PX;
/// Lowest picture that can be numbered, in pixels.
pub const MIN_HEIGHT_PX: usize = TOTAL_ROWS * BLOCK_MIN_PX;

/// Black and white of video range: no full-range conversion clips them.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// Least difference between the white and the black guards for a picture to be taken as numbered.
const MIN_CONTRAST: u32 = 48;

/// Burns `number` and, for people, its digits and `label` into a luma plane of 8 bits per pixel.
///
/// `stride` is the number of bytes from one line to the next. The label is shortened to the picture's width; characters the
/// built-in font lacks appear as `?`.
///
/// Returns whether the picture was numbered. A picture smaller than [`MIN_WIDTH_PX`] × [`MIN_HEIGHT_PX`], or a plane too
/// short for the sizes given, is left as it is: a source need not know what size it was asked for.
pub fn stamp(luma: &mut [u8], stride: usize, width: usize, height: usize, number: u32, label: &str) -> bool {
    let Some(block_px) = block_px(luma.len(), stride, width, height) else {
        return false;
    };
    let mut plane = Canvas { luma, stride, width };
    for row in 0..CODE_ROWS {
        for column in 0..COLUMNS {
            let level = if cell(number, row, column) { WHITE } else { BLACK };
            plane.fill(column * block_px, row * block_px, block_px, block_px, level);
        }
    }
    let text_top = CODE_ROWS * block_px;
    plane.fill(0, text_top, width, 2 * block_px, BLACK);
    draw_text(&mut plane, text_top, block_px, number, label);
    true
}

/// Reads the number back from a decoded luma plane, or `None` when the picture carries none that can be trusted.
///
/// The guards must be where they belong with enough contrast, every bit must be clearly black or white, and the check bits
/// must match: a picture that was never numbered practically never reads as a number.
#[must_use]
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<u32> {
    let block_px = block_px(luma.len(), stride, width, height)?;
    let mean = |row: usize, column: usize| centre_mean(luma, stride, block_px, row, column);

    let (mut white, mut black) = (0, 0);
    for (row, column, is_white) in guards() {
        *(if is_white { &mut white } else { &mut black }) += mean(row, column);
    }
    let (white, black) = (white / 4, black / 4);
    let contrast = white.checked_sub(black).filter(|contrast| *contrast >= MIN_CONTRAST)?;
    let middle = black + contrast / 2;
    // A mean this near to the middle is a guess, and a guess is worse than no answer.
    let doubt = contrast / 8;
    let decide = |mean: u32| (mean.abs_diff(middle) > doubt).then_some(mean > middle);

    for (row, column, is_white) in guards() {
        if decide(mean(row, column))? != is_white {
            return None;
        }
    }
    let mut bits: u64 = 0;
    for row in 0..CODE_ROWS {
        for column in 2..2 + BITS_PER_ROW {
            bits = bits << 1 | u64::from(decide(mean(row, column))?);
        }
    }
    let number = u32::try_from(bits >> 16).ok()?;
    (payload(number) == bits).then_some(number)
}

/// The size of a block for a picture of this size, or `None` where nothing fits.
///
/// Depends on the sizes alone, so that writer and reader agree without telling each other.
fn block_px(len: usize, stride: usize, width: usize, height: usize) -> Option<usize> {
    let needed = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
    if stride < width || len < needed {
        return None;
    }
    let fits = (width / COLUMNS).min(height / TOTAL_ROWS);
    let whole_transforms = fits - fits % BLOCK_MIN_PX;
    (whole_transforms >= BLOCK_MIN_PX).then(|| whole_transforms.min(BLOCK_MAX_PX))
}

/// Whether the cell is white.
fn cell(number: u32, row: usize, column: usize) -> bool {
    if (2..2 + BITS_PER_ROW).contains(&column) {
        let from_top = row * BITS_PER_ROW + (column - 2);
        payload(number) >> (CODE_ROWS * BITS_PER_ROW - 1 - from_top) & 1 == 1
    } else {
        guard_is_white(row, column)
    }
}

/// Guards are a checkerboard, mirrored at the right: columns 0, 1 and 26, 27.
fn guard_is_white(row: usize, column: usize) -> bool {
    let from_edge = column.min(COLUMNS - 1 - column);
    (row + from_edge).is_multiple_of(2)
}

/// The eight guard cells: row, column, whether white. Four of each.
fn guards() -> impl Iterator<Item = (usize, usize, bool)> {
    (0..CODE_ROWS).flat_map(|row| {
        [0, 1, COLUMNS - 2, COLUMNS - 1].into_iter().map(move |column| (row, column, guard_is_white(row, column)))
    })
}

/// The 48 bits of the bar code: the number, then its check bits.
fn payload(number: u32) -> u64 {
    u64::from(number) << 16 | u64::from(check_bits(number))
}

/// CRC-16/XMODEM over the big-endian number, from a start value that makes number 0 an unlikely picture too.
fn check_bits(number: u32) -> u16 {
    let mut crc: u16 = 0x1d0f;
    for byte in number.to_be_bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
    }
    crc
}

/// Mean of the inner half of a block, away from what its neighbours smear over its edges.
fn centre_mean(luma: &[u8], stride: usize, block_px: usize, row: usize, column: usize) -> u32 {
    let (inset, side) = (block_px / 4, block_px / 2);
    let (left, top) = (column * block_px + inset, row * block_px + inset);
    let (mut sum, mut count) = (0u32, 0u32);
    for y in top..top + side {
        let start = y * stride + left;
        for pixel in luma.get(start..start + side).unwrap_or_default() {
            sum += u32::from(*pixel);
            count += 1;
        }
    }
    sum.checked_div(count).unwrap_or(0)
}

/// A plane that is drawn on; what would fall outside is not drawn.
struct Canvas<'a> {
    luma: &'a mut [u8],
    stride: usize,
    width: usize,
}

impl Canvas<'_> {
    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, level: u8) {
        let right = (left + width).min(self.width);
        for y in top..top + height {
            if let Some(line) = self.luma.get_mut(y * self.stride + left..y * self.stride + right) {
                line.fill(level);
            }
        }
    }
}

/// One line of text: ten digits, a space, the label.
fn draw_text(plane: &mut Canvas<'_>, top: usize, block_px: usize, number: u32, label: &str) {
    let scale = block_px / 4;
    let advance = (font::WIDTH + 1) * scale;
    let mut digits = [b'0'; 10];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    let text = digits.into_iter().map(char::from).chain([' ']).chain(label.chars());
    for (position, character) in text.enumerate() {
        let left = position * advance + scale;
        if left + font::WIDTH * scale > plane.width {
            break;
        }
        for (y, row) in font::glyph(character).into_iter().enumerate() {
            for x in 0..font::WIDTH {
                if row >> (font::WIDTH - 1 - x) & 1 == 1 {
                    plane.fill(left + x * scale, top + scale / 2 + y * scale, scale, scale, WHITE);
                }
            }
        }
    }
}
