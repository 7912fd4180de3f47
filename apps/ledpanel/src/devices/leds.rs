//! Lights that the kernel drives: its LED class. What the device tree calls an LED is one here, PWM and multicolour
//! ones too.
//!
//! Of all that a panel can be wired to, this tells a death best: the kernel goes on blinking when nobody is left.

mod led;

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use self::led::Led;
use super::wired;
use super::{Device, DeviceError, Io};
use crate::model::{Colour, Frame, Light, Part, Shade};

/// Where the kernel shows them.
pub const ROOT: &str = "/sys/class/leds";

/// LEDs by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedsConfig {
    /// [`ROOT`]; a directory like it for tests.
    pub root: PathBuf,
    /// Which light is which LED.
    pub lights: Vec<LedLight>,
}

impl Default for LedsConfig {
    fn default() -> Self {
        Self { root: PathBuf::from(ROOT), lights: Vec::new() }
    }
}

/// A light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedLight {
    /// Which one.
    pub light: Light,
    /// The LED: a directory in the root, `red:indicator`.
    pub led: String,
    /// Only this part of its colour: for a coloured light of several LEDs. A multicolour LED is one, and needs none.
    pub part: Option<Part>,
}

/// The device.
#[derive(Debug)]
pub struct Leds {
    config: LedsConfig,
}

impl Leds {
    /// Which light is which LED. Nothing is opened yet.
    #[must_use]
    pub fn new(config: LedsConfig) -> Self {
        Self { config }
    }

    fn open(&self) -> Result<Vec<(&LedLight, Led)>, DeviceError> {
        let root: &Path = &self.config.root;
        self.config.lights.iter().map(|wired| Ok((wired, Led::open(root, &wired.led)?))).collect()
    }

    async fn run(&self, mut io: Io) -> Result<Infallible, DeviceError> {
        let mut leds = self.open()?;
        for (_, led) in &mut leds {
            led.take_over()?;
        }
        show(&mut leds, &io.frames.borrow_and_update())?;
        io.works.send_replace(true);
        loop {
            wired::changed(&mut io.frames).await;
            // Writing here blocks for microseconds: the kernel puts off what is slow (LEDs behind I²C).
            show(&mut leds, &io.frames.borrow_and_update())?;
        }
    }

    /// Whether a light blinks in a fault, where the kernel blinks. Where there is no status light, the others must
    /// do.
    fn blinks(&self, light: &Light) -> bool {
        *light == Light::Status || !self.config.lights.iter().any(|wired| wired.light == Light::Status)
    }
}

fn show(leds: &mut [(&LedLight, Led)], frame: &Frame) -> Result<(), DeviceError> {
    leds.iter_mut().try_for_each(|(wired, led)| led.show(frame.shade(&wired.light), wired.part))
}

impl Device for Leds {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        self.run(io).boxed()
    }

    /// Lets the kernel blink the status; where it cannot (no trigger `timer`), the status is on and recordings are
    /// off.
    ///
    /// As many LEDs as can be are set, whatever is wrong with one of them.
    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        let mut failed = None;
        for wired in &self.config.lights {
            let lit = wired::level(Shade { colour: Colour::Red, level: u8::MAX }, wired.part) > 0;
            let blink = lit && self.blinks(&wired.light);
            let left = Led::open(&self.config.root, &wired.led)
                .and_then(|mut led| led.leave(wired::fault(&wired.light), wired.part, blink));
            if let Err(error) = left {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
