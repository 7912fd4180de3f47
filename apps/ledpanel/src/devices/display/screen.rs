//! The displays themselves, on whatever carries I²C.

use std::fmt::Debug;

use embedded_graphics::Drawable as _;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_8X13;
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::Point;
use embedded_graphics::text::{Baseline, Text};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use i2c_character_display::{CharacterDisplayError, CharacterDisplayPCF8574T, LcdDisplayType};
use linux_embedded_hal::{Delay, I2cdev};

use super::ssd1306::Ssd1306;
use super::text::Lines;
use super::{DisplayConfig, DisplayKind};
use crate::devices::DeviceError;

/// Something that two lines can be written to. Blocks; errors are what the bus says.
pub trait Screen {
    fn show(&mut self, lines: &Lines) -> Result<(), String>;
}

/// Opens the bus and starts the display.
pub fn open(config: &DisplayConfig) -> Result<Box<dyn Screen>, DeviceError> {
    let bus = I2cdev::new(&config.bus).map_err(|error| {
        let remedy = format!(
            "Is there such a bus (ls -l /dev/i2c-*; on a Raspberry Pi: dtparam=i2c_arm=on), and is the panel in the group that \
             may use {}?",
            config.bus.display()
        );
        DeviceError::new(format!("{config}: the bus can't be opened: {error}"), remedy)
    })?;
    start(bus, Delay, config.kind, config.address()).map_err(|error| mute(config, &error))
}

/// Writes two lines.
pub fn show(config: &DisplayConfig, screen: &mut Box<dyn Screen>, lines: &Lines) -> Result<(), DeviceError> {
    screen.show(lines).map_err(|error| mute(config, &error))
}

fn mute(config: &DisplayConfig, error: &str) -> DeviceError {
    let bus = config.bus.display().to_string();
    let number = bus.trim_start_matches("/dev/i2c-");
    let remedy = format!("Is it wired and powered, and is that its address? i2cdetect -y {number} shows who answers");
    DeviceError::new(format!("{config} does not answer: {error}"), remedy)
}

fn start<I: I2c + 'static, D: DelayNs + 'static>(
    bus: I,
    delay: D,
    kind: DisplayKind,
    address: u8,
) -> Result<Box<dyn Screen>, String>
where
    I::Error: Debug,
{
    Ok(match kind {
        DisplayKind::Lcd16x2 => Box::new(Lcd::start(bus, delay, LcdDisplayType::Lcd16x2, address)?),
        DisplayKind::Lcd20x4 => Box::new(Lcd::start(bus, delay, LcdDisplayType::Lcd20x4, address)?),
        DisplayKind::Oled128x32 => Box::new(Oled::start(bus, 32, address)?),
        DisplayKind::Oled128x64 => Box::new(Oled::start(bus, 64, address)?),
    })
}

/// HD44780 behind a PCF8574.
struct Lcd<I: I2c, D: DelayNs>(CharacterDisplayPCF8574T<I, D>);

impl<I: I2c, D: DelayNs> Lcd<I, D>
where
    I::Error: Debug,
{
    fn start(bus: I, delay: D, kind: LcdDisplayType, address: u8) -> Result<Self, String> {
        let mut lcd = CharacterDisplayPCF8574T::new_with_address(bus, address, kind, delay);
        lcd.init().map_err(|error| said(&error))?;
        lcd.backlight(true).map_err(|error| said(&error))?;
        Ok(Self(lcd))
    }
}

impl<I: I2c, D: DelayNs> Screen for Lcd<I, D>
where
    I::Error: Debug,
{
    fn show(&mut self, lines: &Lines) -> Result<(), String> {
        for (row, line) in (0..).zip(lines) {
            let placed = self.0.set_cursor(0, row).map_err(|error| said(&error))?;
            placed.print(line).map_err(|error| said(&error))?;
        }
        Ok(())
    }
}

/// The crate's own words leave out what the bus said.
fn said<I: I2c>(error: &CharacterDisplayError<I>) -> String
where
    I::Error: Debug,
{
    match error {
        CharacterDisplayError::I2cError(error) => format!("{error:?}"),
        other => other.to_string(),
    }
}

/// SSD1306.
struct Oled<I> {
    display: Ssd1306<I>,
    height: u8,
}

impl<I: I2c> Oled<I>
where
    I::Error: Debug,
{
    fn start(bus: I, height: u8, address: u8) -> Result<Self, String> {
        let display = Ssd1306::start(bus, address, height).map_err(|error| format!("{error:?}"))?;
        Ok(Self { display, height })
    }
}

impl<I: I2c> Screen for Oled<I>
where
    I::Error: Debug,
{
    fn show(&mut self, lines: &Lines) -> Result<(), String> {
        self.display.clear();
        let style = MonoTextStyle::new(&FONT_8X13, BinaryColor::On);
        // Each line in the middle of its half.
        let half = i32::from(self.height) / 2;
        for (row, line) in (0..).zip(lines) {
            let at = Point::new(0, row * half + half / 2);
            let drawn = Text::with_baseline(line, at, style, Baseline::Middle).draw(&mut self.display);
            drawn.map_err(|error| format!("{error:?}"))?;
        }
        self.display.flush().map_err(|error| format!("{error:?}"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::rc::Rc;

    use embedded_hal::i2c::{ErrorType, Operation};

    use super::*;
    use crate::devices::display::text;

    struct NoDelay;

    impl DelayNs for NoDelay {
        fn delay_ns(&mut self, _: u32) {}
    }

    /// What went over a bus, to whom.
    type Written = Vec<(u8, Vec<u8>)>;

    /// A bus that writes down what goes over it, to whom.
    #[derive(Clone, Default)]
    struct Bus(Rc<RefCell<Written>>);

    impl ErrorType for Bus {
        type Error = Infallible;
    }

    impl I2c for Bus {
        fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Infallible> {
            for operation in operations {
                match operation {
                    Operation::Write(bytes) => self.0.borrow_mut().push((address, bytes.to_vec())),
                    Operation::Read(bytes) => bytes.fill(0),
                }
            }
            Ok(())
        }
    }

    fn lines(first: &str, second: &str, kind: DisplayKind) -> Lines {
        text::lines(&[first.to_owned(), second.to_owned()], kind.columns())
    }

    /// What an HD44780 has in its memory after what went over the bus: as its data sheet says, with the wiring of the
    /// common expander (P0 register select, P2 enable, P3 backlight, P4 to P7 data).
    fn lcd_memory(written: &[(u8, Vec<u8>)], columns: usize) -> Lines {
        let (mut memory, mut at, mut half, mut enabled) = ([b'#'; 128], 0_usize, None, 0);
        let mut four_bits = false;
        for byte in written.iter().flat_map(|(_, bytes)| bytes) {
            let was_enabled = std::mem::replace(&mut enabled, byte & 4);
            // It reads at the falling edge.
            if was_enabled == 0 || enabled != 0 {
                continue;
            }
            let nibble = byte >> 4;
            let value = match (four_bits, half.take()) {
                (false, _) => nibble << 4,
                (true, None) => {
                    half = Some(nibble);
                    continue;
                }
                (true, Some(upper)) => upper << 4 | nibble,
            };
            match (byte & 1, value) {
                (1, character) => {
                    memory[at] = character;
                    at = (at + 1) % 128;
                }
                (_, 0x80..) => at = usize::from(value & 0x7f),
                (_, 0x20..0x40) => four_bits = value & 0x10 == 0,
                (_, 1) => (memory, at) = ([b' '; 128], 0),
                (_, 2 | 3) => at = 0,
                _ => {}
            }
        }
        [0, 0x40].map(|start| String::from_utf8(memory[start..start + columns].to_vec()).unwrap())
    }

    #[test]
    fn no_real_bus_is_tested() {
        holdfast_aloud::skip(
            "no display on a real I2C bus: the kernel's i2c-stub knows no plain writes, so models of the chips it is",
        );
    }

    #[test]
    fn a_character_display_holds_the_two_lines() {
        for kind in [DisplayKind::Lcd16x2, DisplayKind::Lcd20x4] {
            let bus = Bus::default();
            let mut screen = start(bus.clone(), NoDelay, kind, 0x3f).unwrap();
            for text in [lines("REC 00:12:34", "2 h 10 left", kind), lines("READY", "", kind)] {
                screen.show(&text).unwrap();
                let written = bus.0.borrow();
                assert_eq!(lcd_memory(&written, kind.columns()), text);
                assert!(written.iter().all(|(address, _)| *address == 0x3f));
                assert!(written.last().unwrap().1.iter().all(|byte| byte & 8 != 0), "lit from behind");
            }
        }
    }

    /// What an SSD1306 shows after what went over the bus, row by row: as its data sheet says, with the addressing that
    /// we choose.
    fn oled_rows(written: &[(u8, Vec<u8>)], height: usize) -> Vec<String> {
        let mut memory = vec![0; 128 * height / 8];
        let mut at = 0;
        for (_, bytes) in written {
            match bytes.as_slice() {
                [0x00, 0x21, 0, 127, 0x22, 0, last] if usize::from(*last) == height / 8 - 1 => at = 0,
                [0x40, dots @ ..] => {
                    memory[at..at + dots.len()].copy_from_slice(dots);
                    at += dots.len();
                }
                // Starting: ends with on.
                other => assert_eq!((other[0], other.last()), (0x00, Some(&0xaf))),
            }
        }
        assert_eq!(at, memory.len(), "all of it is written");
        let dot = |x: usize, y: usize| if memory[y / 8 * 128 + x] >> (y % 8) & 1 == 1 { '#' } else { ' ' };
        (0..height).map(|y| (0..128).map(|x| dot(x, y)).collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_dot_display_shows_a_line_in_each_half() {
        for (kind, height) in [(DisplayKind::Oled128x32, 32), (DisplayKind::Oled128x64, 64)] {
            let bus = Bus::default();
            let mut screen = start(bus.clone(), NoDelay, kind, 0x3c).unwrap();
            screen.show(&lines("THE ONE BEFORE", "IS GONE", kind)).unwrap();
            screen.show(&lines("L", "", kind)).unwrap();
            let rows = oled_rows(&bus.0.borrow(), height);
            let letter = rows.iter().filter(|row| !row.is_empty()).map(String::as_str).collect::<Vec<_>>();
            let stem = [" #"; 8];
            assert_eq!(letter, [&stem[..], &[" ######"]].concat());
            let first = rows.iter().position(|row| !row.is_empty()).unwrap();
            assert!(first > 0 && first + 9 < height / 2, "{first}");

            screen.show(&lines("", "sixteen letters!", kind)).unwrap();
            let rows = oled_rows(&bus.0.borrow(), height);
            assert!(rows[..height / 2].iter().all(String::is_empty), "{rows:#?}");
            let widest = rows.iter().map(String::len).max().unwrap();
            assert!((121..=128).contains(&widest), "the sixteenth letter is on it: {widest}");
            assert!(bus.0.borrow().iter().all(|(address, bytes)| *address == 0x3c && bytes.len() <= 32));
        }
    }
}
