//! The header of a Raspberry Pi, through its registers: lights that dim by PWM without a device tree.
//!
//! On every other board, and on this one where nothing dims, [`gpio`](super::gpio) does the same by the kernel's own
//! interface.

mod drive;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, select_all};
use rppal::gpio::{Event, Gpio, InputPin, Trigger};
use tokio::sync::{mpsc, oneshot, watch};

use self::drive::Drive;
use super::gpio::Bias;
use super::wired::{self, Told};
use super::{Device, DeviceError, Io};
use crate::clock;
use crate::model::{Button, Frame, Light, Part};

/// Edges between the threads that wait for interrupts and the panel.
const EDGES_KEPT: usize = 64;

/// What is wired to the header. Pins are Broadcom's numbers (`GPIO17`), not places on the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaspberryConfig {
    /// Pins with buttons.
    pub buttons: Vec<PinButton>,
    /// Pins with lights.
    pub lights: Vec<PinLight>,
    /// A pin with a buzzer.
    pub buzzer: Option<PinOutput>,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinButton {
    /// Which one.
    pub button: Button,
    /// Where it is wired to.
    pub pin: u8,
    /// Pressed is low: wired to ground, as most are.
    pub active_low: bool,
    /// What holds the pin while nobody presses.
    pub bias: Bias,
    /// The kernel leaves out what is shorter, and tells an edge so much later: for wires that are worse than a
    /// button.
    pub debounce: Option<Duration>,
}

/// A light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinLight {
    /// Which one.
    pub light: Light,
    /// Only this part of its colour.
    pub part: Option<Part>,
    /// Where it is wired to.
    pub output: PinOutput,
    /// It dims: by the PWM of the chip where the pin is set to it (`dtoverlay=pwm`: 12, 13, 18, 19), else by a
    /// thread, which costs some 3 % of a core while a light is neither on nor off.
    pub dims: bool,
}

/// A pin that is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinOutput {
    /// Its number.
    pub pin: u8,
    /// On is low.
    pub active_low: bool,
}

/// The device.
#[derive(Debug)]
pub struct Raspberry {
    config: RaspberryConfig,
}

/// The pins, held. Dropped: inputs again, as they were.
struct Pins<'a> {
    buttons: Vec<(InputPin, &'a PinButton)>,
    edges: mpsc::Receiver<(usize, bool, u64)>,
    /// There were more edges than could be kept.
    more: Arc<AtomicBool>,
    /// Each is told when the thread of its button ends.
    ended: Vec<oneshot::Receiver<Infallible>>,
    outputs: Outputs<'a>,
}

struct Outputs<'a> {
    lights: Vec<(Drive, &'a PinLight)>,
    buzzer: Option<Drive>,
}

impl Raspberry {
    /// What is wired to the header. Nothing is opened yet.
    #[must_use]
    pub fn new(config: RaspberryConfig) -> Self {
        Self { config }
    }

    fn open(&self) -> Result<Pins<'_>, DeviceError> {
        let gpio = open()?;
        // Full: the edge is left out, `more` says so, and the pins are looked at when the others are told.
        let (tell, edges) = mpsc::channel(EDGES_KEPT);
        let more = Arc::new(AtomicBool::new(false));
        let (mut buttons, mut ended) = (vec![], vec![]);
        for (number, wired) in self.config.buttons.iter().enumerate() {
            let pin = gpio.get(wired.pin).map_err(|error| refused(wired.pin, &error))?;
            let mut pin = match wired.bias {
                Bias::PullUp => pin.into_input_pullup(),
                Bias::PullDown => pin.into_input_pulldown(),
                Bias::AsIs | Bias::Disabled => pin.into_input(),
            };
            let (alive, gone) = oneshot::channel::<Infallible>();
            let (tell, more, active_low) = (tell.clone(), Arc::clone(&more), wired.active_low);
            let on_edge = move |event: Event| {
                let _lives_as_long_as_the_thread = &alive;
                let pressed = (event.trigger == Trigger::RisingEdge) != active_low;
                let at_ns = u64::try_from(event.timestamp.as_nanos()).unwrap_or(u64::MAX);
                // Never blocks: rppal's thread must end when it is asked to.
                if tell.try_send((number, pressed, at_ns)).is_err() {
                    more.store(true, Ordering::Release);
                }
            };
            // The thread would keep to itself that somebody else has the line; the first two say it.
            let interrupts = pin
                .set_interrupt(Trigger::Both, wired.debounce)
                .and_then(|()| pin.clear_interrupt())
                .and_then(|()| pin.set_async_interrupt(Trigger::Both, wired.debounce, on_edge));
            interrupts.map_err(|error| refused(wired.pin, &error))?;
            buttons.push((pin, wired));
            ended.push(gone);
        }
        Ok(Pins { buttons, edges, more, ended, outputs: self.outputs(&gpio)? })
    }

    fn outputs(&self, gpio: &Gpio) -> Result<Outputs<'_>, DeviceError> {
        let drive = |output: &PinOutput, dims| {
            Drive::open(gpio, output.pin, output.active_low, dims).map_err(|error| refused(output.pin, &error))
        };
        let lights = self.config.lights.iter().map(|wired| Ok((drive(&wired.output, wired.dims)?, wired)));
        let buzzer = self.config.buzzer.iter().map(|output| drive(output, false)).next().transpose()?;
        Ok(Outputs { lights: lights.collect::<Result<_, DeviceError>>()?, buzzer })
    }

    async fn run(&self, mut io: Io) -> Result<Infallible, DeviceError> {
        let Pins { buttons, mut edges, more, ended, mut outputs } = self.open()?;
        let mut told = Told::new(io.edges.clone());
        outputs.show(&io.frames.borrow_and_update())?;
        io.works.send_replace(true);
        let ended = tokio::select! {
            () = watch(&buttons, &mut edges, &more, &mut told) => None,
            number = any_ended(ended) => number.and_then(|number| buttons.get(number)),
            ended = follow(&mut outputs, io.frames) => return ended,
        };
        told.let_go().await;
        let pin = ended.map_or_else(|| "a pin".to_owned(), |(_, wired)| format!("GPIO{}", wired.pin));
        Err(DeviceError::new(format!("no more interrupts from {pin}"), "It is tried again; see dmesg"))
    }
}

/// Which thread has ended; none of nothing ever does.
async fn any_ended(ended: Vec<oneshot::Receiver<Infallible>>) -> Option<usize> {
    if ended.is_empty() {
        return std::future::pending().await;
    }
    Some(select_all(ended).await.1)
}

/// Tells edges as they come, until no thread is left that could.
async fn watch(
    buttons: &[(InputPin, &PinButton)],
    edges: &mut mpsc::Receiver<(usize, bool, u64)>,
    more: &AtomicBool,
    told: &mut Told,
) {
    tell_present(buttons, told).await;
    loop {
        let Some((number, pressed, at_ns)) = edges.recv().await else { return std::future::pending().await };
        if let Some((_, wired)) = buttons.get(number) {
            told.tell(&wired.button, pressed, at_ns).await;
        }
        if edges.is_empty() && more.swap(false, Ordering::AcqRel) {
            tracing::warn!("more edges than could be read; looking how the buttons are");
            tell_present(buttons, told).await;
        }
    }
}

async fn tell_present(buttons: &[(InputPin, &PinButton)], told: &mut Told) {
    for (pin, wired) in buttons {
        told.tell(&wired.button, pin.is_high() != wired.active_low, clock::mono_ns()).await;
    }
}

async fn follow(outputs: &mut Outputs<'_>, mut frames: watch::Receiver<Frame>) -> Result<Infallible, DeviceError> {
    loop {
        wired::changed(&mut frames).await;
        outputs.show(&frames.borrow_and_update())?;
    }
}

impl Outputs<'_> {
    fn show(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        for (drive, wired) in &mut self.lights {
            let shade = frame.shade(&wired.light);
            // What can't dim is on from the same part of a colour on as elsewhere.
            let on = if wired::is_on(shade, wired.part) { u8::MAX } else { 0 };
            drive.set(if wired.dims { wired::level(shade, wired.part) } else { on })?;
        }
        let sound = if frame.buzzer { u8::MAX } else { 0 };
        self.buzzer.iter_mut().try_for_each(|buzzer| buzzer.set(sound))
    }
}

fn open() -> Result<Gpio, DeviceError> {
    Gpio::new().map_err(|error| match error {
        rppal::gpio::Error::UnknownModel => DeviceError::new(
            format!("this is no Raspberry Pi: {error}"),
            "Use kind = \"gpio\" with the chip and lines of this board; gpiodetect and gpioinfo list them",
        ),
        rppal::gpio::Error::PermissionDenied(_) => DeviceError::new(
            format!("can't reach the header of the Raspberry Pi: {error}"),
            "Let the panel into the group gpio: its udev rules (60-holdfast-panel.rules) give it /dev/gpiomem",
        ),
        error => DeviceError::new(
            format!("can't reach the header of the Raspberry Pi: {error}"),
            "See that the kernel has /dev/gpiomem, or use kind = \"gpio\"",
        ),
    })
}

fn refused(pin: u8, error: &rppal::gpio::Error) -> DeviceError {
    DeviceError::new(
        format!("can't use GPIO{pin}: {error}"),
        "Pins are Broadcom's numbers, and each can be one thing; gpioinfo shows what else holds it",
    )
}

impl Device for Raspberry {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        self.run(io).boxed()
    }

    /// Writes the fault once: all of it dark. The pins keep it, since nothing else drives them.
    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        let gpio = open()?;
        let mut outputs = self.outputs(&gpio)?;
        for (drive, wired) in &mut outputs.lights {
            drive.leave(wired::is_on(wired::fault(&wired.light), wired.part))?;
        }
        outputs.buzzer.iter_mut().try_for_each(|buzzer| buzzer.leave(false))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::RECORD;

    use super::*;

    #[tokio::test]
    async fn elsewhere_it_says_what_to_use() {
        if rppal::system::DeviceInfo::new().is_ok() {
            holdfast_aloud::skip("a Raspberry Pi that is none: this is one");
            return;
        }
        let button = Button(RECORD.to_owned());
        let wired = PinButton { button, pin: 17, active_low: true, bias: Bias::PullUp, debounce: None };
        let device = Raspberry::new(RaspberryConfig { buttons: vec![wired], ..RaspberryConfig::default() });
        let frames = watch::Sender::new(Frame::default());
        let (edges, _) = mpsc::channel(1);
        let works = watch::Sender::new(false);
        let io = Io { frames: frames.subscribe(), edges, works: works.clone() };
        let error = device.run_once(io).await.unwrap_err().to_string();
        assert!(error.starts_with("this is no Raspberry Pi: Unknown Raspberry Pi model"), "{error}");
        assert!(error.contains("kind = \"gpio\""), "{error}");
        assert!(!*works.borrow());
        assert!(device.leave_in_fault().unwrap_err().to_string().contains("no Raspberry Pi"));
    }

    /// A thread that ends is noticed whichever it is; a panel without buttons waits for none.
    #[tokio::test]
    async fn threads_that_end_are_noticed() {
        let (_alive, first) = oneshot::channel();
        let (ends, second) = oneshot::channel::<Infallible>();
        drop(ends);
        assert_eq!(any_ended(vec![first, second]).await, Some(1));
        assert!(any_ended(vec![]).now_or_never().is_none());
    }
}
