//! Buttons and lights on lines of a GPIO chip: the kernel's character device, on any board.
//!
//! Edges come as events with the kernel's time; nothing is polled. A line that is in use says by whom, and a chip or
//! line that is not there says what is.

mod find;
mod outputs;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, EventClock, Offset, Value, Values};
use gpiocdev::request::Config;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use self::find::Found;
use self::outputs::Outputs;
use super::wired::{self, Told};
use super::{Device, DeviceError, Io};
use crate::clock;
use crate::model::{Button, Frame, Light, Part};

/// Who holds our lines, as `gpioinfo` shows it.
const CONSUMER: &str = "holdfast-panel";
/// Edges that the kernel keeps until they are read. More are lost, which is seen by their numbers.
const KERNEL_KEEPS: u32 = 128;
/// Edges read at once.
const READ_AT_ONCE: usize = 16;

/// What is wired to one chip.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpioConfig {
    /// The chip: its label (`pinctrl-rk3588`), name (`gpiochip0`) or path. Labels stay when numbers change.
    pub chip: String,
    /// Lines with buttons.
    pub buttons: Vec<GpioButton>,
    /// Lines with lights.
    pub lights: Vec<GpioLight>,
    /// A line with a buzzer.
    pub buzzer: Option<GpioOutput>,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioButton {
    /// Which one.
    pub button: Button,
    /// Its line: name, or offset in the chip.
    pub line: String,
    /// Pressed is low: wired to ground, as most are.
    pub active_low: bool,
    /// What holds the line while nobody presses.
    pub bias: Bias,
    /// The kernel leaves out what is shorter: in hardware where that can, else in software. It is told so much later,
    /// and the panel debounces by itself: only for wires that are worse than a button.
    pub debounce: Option<Duration>,
}

/// A resistor in the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bias {
    /// As the board has set it.
    #[default]
    AsIs,
    /// None: there is one outside.
    Disabled,
    /// To the supply: for buttons to ground.
    PullUp,
    /// To ground.
    PullDown,
}

/// A light that is on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioLight {
    /// Which one.
    pub light: Light,
    /// Only this part of its colour.
    pub part: Option<Part>,
    /// Where it is wired to.
    pub output: GpioOutput,
}

/// A line that is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioOutput {
    /// Its line: name, or offset in the chip.
    pub line: String,
    /// On is low.
    pub active_low: bool,
}

/// The device.
#[derive(Debug)]
pub struct Gpio {
    config: GpioConfig,
}

/// The lines, held.
struct Lines<'a> {
    /// Chip, for messages.
    chip: String,
    inputs: Option<AsyncFd<Request>>,
    buttons: BTreeMap<Offset, &'a Button>,
    outputs: Outputs<'a>,
}

impl Gpio {
    /// What is wired to one chip. Nothing is opened yet.
    #[must_use]
    pub fn new(config: GpioConfig) -> Self {
        Self { config }
    }

    fn open(&self) -> Result<Lines<'_>, DeviceError> {
        let chip = find::chip(&self.config.chip)?;
        let (buttons, inputs) = self.inputs(&chip)?;
        let outputs = Outputs::open(&self.config, &chip, &buttons)?;
        #[allow(
            deprecated,
            reason = "its replacement is unsafe, for types that may lie about their descriptor; Request never does"
        )]
        let inputs = inputs.map(|request| AsyncFd::with_interest(request, Interest::READABLE)).transpose();
        let inputs = inputs.map_err(|error| {
            DeviceError::new(format!("{}: can't wait for edges: {error}", chip.named), "It is tried again")
        })?;
        Ok(Lines { inputs, chip: chip.named, buttons, outputs })
    }

    fn inputs(&self, chip: &Found) -> Result<(BTreeMap<Offset, &Button>, Option<Request>), DeviceError> {
        let mut lines = BTreeMap::new();
        let mut config = request_on(chip.path());
        for wired in &self.config.buttons {
            let offset = chip.line(&wired.line)?;
            if let Some(other) = lines.insert(offset, &wired.button) {
                return Err(chip.twice(&wired.line, &format!("buttons {other} and {}", wired.button)));
            }
            config.with_line(offset).as_input().with_edge_detection(EdgeDetection::BothEdges);
            config.with_event_clock(EventClock::Monotonic).with_bias(wired.bias.of_kernel());
            if wired.active_low {
                config.as_active_low();
            } else {
                config.as_active_high();
            }
            config.with_debounce_period(wired.debounce.unwrap_or_default());
        }
        Ok((lines, hold(chip, config)?))
    }

    async fn run(&self, mut io: Io) -> Result<Infallible, DeviceError> {
        let lines = self.open()?;
        let mut told = Told::new(io.edges.clone());
        lines.show(&io.frames.borrow_and_update())?;
        io.works.send_replace(true);
        // Two loops: lights must not wait while an edge does.
        let ended = tokio::select! {
            ended = lines.watch(&mut told) => ended,
            ended = lines.follow(io.frames) => ended,
        };
        told.let_go().await;
        ended
    }
}

impl Lines<'_> {
    fn gone(&self, error: &gpiocdev::Error) -> DeviceError {
        DeviceError::new(
            format!("{}: {error}", self.chip),
            "If the chip is an expander or an adapter, look at its cable; it is tried again",
        )
    }

    /// Tells edges as they come.
    async fn watch(&self, told: &mut Told) -> Result<Infallible, DeviceError> {
        let Some(inputs) = &self.inputs else { return std::future::pending().await };
        let request = inputs.get_ref();
        self.tell_present(request, told).await?;
        // Not `Request::read_edge_event`: gpiocdev 0.8 reads up to eight edges there and gives the first.
        let mut events = request.new_edge_event_buffer(READ_AT_ONCE);
        let mut numbered = 0;
        loop {
            let mut ready = inputs.readable().await.map_err(|error| self.gone(&error.into()))?;
            let mut lost = 0;
            while events.has_event().map_err(|error| self.gone(&error))? {
                let event = events.read_event().map_err(|error| self.gone(&error))?;
                // The kernel counts edges from one, those too that nobody read in time.
                lost += event.seqno.wrapping_sub(numbered).wrapping_sub(1);
                numbered = event.seqno;
                if let Some(button) = self.buttons.get(&event.offset) {
                    told.tell(button, event.kind == EdgeKind::Rising, event.timestamp_ns).await;
                }
            }
            ready.clear_ready();
            if lost > 0 {
                tracing::warn!(chip = self.chip, lost, "more edges than could be read; looking how the buttons are");
                self.tell_present(request, told).await?;
            }
        }
    }

    /// Tells how the buttons are now.
    async fn tell_present(&self, request: &Request, told: &mut Told) -> Result<(), DeviceError> {
        let offsets: Vec<Offset> = self.buttons.keys().copied().collect();
        let mut values = Values::from_offsets(&offsets);
        request.values(&mut values).map_err(|error| self.gone(&error))?;
        let at_ns = clock::mono_ns();
        for (offset, button) in &self.buttons {
            told.tell(button, values.get(*offset) == Some(Value::Active), at_ns).await;
        }
        Ok(())
    }

    async fn follow(&self, mut frames: watch::Receiver<Frame>) -> Result<Infallible, DeviceError> {
        loop {
            wired::changed(&mut frames).await;
            self.show(&frames.borrow_and_update())?;
        }
    }

    fn show(&self, frame: &Frame) -> Result<(), DeviceError> {
        self.outputs.show(frame).map_err(|error| self.gone(&error))
    }
}

/// Takes lines from the kernel, or says who has them.
fn hold(chip: &Found, lines: Config) -> Result<Option<Request>, DeviceError> {
    if lines.num_lines() == 0 {
        return Ok(None);
    }
    let offsets = lines.lines().to_vec();
    let mut builder = Request::from_config(lines);
    builder.with_consumer(CONSUMER).with_kernel_event_buffer_size(KERNEL_KEEPS);
    builder.request().map(Some).map_err(|error| chip.refused(&offsets, &error))
}

fn request_on(chip: &Path) -> Config {
    let mut config = Config::default();
    config.on_chip(chip);
    config
}

impl Bias {
    fn of_kernel(self) -> Option<gpiocdev::line::Bias> {
        match self {
            Self::AsIs => None,
            Self::Disabled => Some(gpiocdev::line::Bias::Disabled),
            Self::PullUp => Some(gpiocdev::line::Bias::PullUp),
            Self::PullDown => Some(gpiocdev::line::Bias::PullDown),
        }
    }
}

impl Device for Gpio {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        self.run(io).boxed()
    }

    /// Writes the fault once: all of it dark, and lets go of the lines.
    ///
    /// What the hardware then does is its own: a line that nobody holds goes back to what its driver does with it.
    /// The controllers of common boards (Rockchip, Tegra, Broadcom) keep the last level until something sets another;
    /// expanders do, too. `gpio-sim` goes back to its pull. Nothing blinks; a light that shall blink its fault
    /// belongs to `leds-gpio` in the device tree and to `kind = "leds"` here.
    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        let chip = find::chip(&self.config.chip)?;
        let outputs = Outputs::open(&self.config, &chip, &BTreeMap::new())?;
        outputs
            .show_fault()
            .map_err(|error| DeviceError::new(format!("{}: {error}", chip.named), "Look at the chip's cable"))
    }
}
