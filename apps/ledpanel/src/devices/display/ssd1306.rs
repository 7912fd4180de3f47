//! SSD1306: 128 dots across, 32 or 64 down. As much of its data sheet as two lines of text need.
//!
//! Why not the crate of that name: it builds with a procedural macro that is given up (RUSTSEC-2024-0370).

use std::convert::Infallible;
use std::iter::once;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_hal::i2c::I2c;

const WIDTH: usize = 128;

/// A byte before commands, and one before dots.
const COMMANDS: u8 = 0x00;
const DOTS: u8 = 0x40;

/// The display and what it is to show. Drawing changes nothing until [`flush`](Self::flush).
pub struct Ssd1306<I> {
    bus: I,
    address: u8,
    height: u8,
    /// Eight rows to a byte, the topmost in bit 0; `WIDTH` bytes to such a page.
    dots: Vec<u8>,
}

impl<I: I2c> Ssd1306<I> {
    /// Switches it on. It shows what it had in its memory until the first flush.
    pub fn start(bus: I, address: u8, height: u8) -> Result<Self, I::Error> {
        let pages = usize::from(height / 8);
        let mut display = Self { bus, address, height, dots: vec![0; WIDTH * pages] };
        // How its rows are wired to its outputs: alternating in the high ones only.
        let wiring = if height > 32 { 0x12 } else { 0x02 };
        let start: [&[u8]; 13] = [
            &[0xae],                   // off
            &[0xd5, 0x80],             // clock
            &[0xa8, height - 1],       // rows
            &[0xd3, 0, 0x40],          // from the first row on
            &[0x8d, 0x14],             // makes its own voltage
            &[0x20, 0],                // written from left to right, page by page
            &[0xa1, 0xc8],             // the connector is at the top
            &[0xda, wiring],           // rows to outputs
            &[0x81, 0xcf],             // contrast
            &[0xd9, 0xf1, 0xdb, 0x40], // precharge and level that go with its own voltage
            &[0x2e],                   // no scrolling
            &[0xa4, 0xa6],             // shows its memory, not inverted
            &[0xaf],                   // on
        ];
        display.command(&start.concat())?;
        Ok(display)
    }

    /// All dots off.
    pub fn clear(&mut self) {
        self.dots.fill(0);
    }

    /// Sends all dots, in pieces that every adapter takes.
    pub fn flush(&mut self) -> Result<(), I::Error> {
        let last_page = self.height / 8 - 1;
        self.command(&[0x21, 0, 127, 0x22, 0, last_page])?;
        for piece in self.dots.chunks(31) {
            let bytes = once(DOTS).chain(piece.iter().copied()).collect::<Vec<_>>();
            self.bus.write(self.address, &bytes)?;
        }
        Ok(())
    }

    fn command(&mut self, commands: &[u8]) -> Result<(), I::Error> {
        let bytes = once(COMMANDS).chain(commands.iter().copied()).collect::<Vec<_>>();
        self.bus.write(self.address, &bytes)
    }
}

impl<I> OriginDimensions for Ssd1306<I> {
    fn size(&self) -> Size {
        Size::new(128, self.height.into())
    }
}

impl<I> DrawTarget for Ssd1306<I> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<P: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: P) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y)) else { continue };
            if x >= WIDTH {
                continue;
            }
            if let Some(byte) = self.dots.get_mut(y / 8 * WIDTH + x) {
                let bit = 1 << (y % 8);
                *byte = if colour.is_on() { *byte | bit } else { *byte & !bit };
            }
        }
        Ok(())
    }
}
