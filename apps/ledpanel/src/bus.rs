//! `org.holdfast.Panel1`. `dbus/org.holdfast.Panel1.xml` is the contract; a test holds this code against it.
//!
//! Reading answers from what the engine has shown last; commands go to it by a bounded mailbox.
#![allow(
    missing_docs,
    reason = "documented in the interface XML; the macro makes items that can't carry documentation"
)]

use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_dbus::options::{Dict, Options, invalid};
use holdfast_dbus::panel::{ButtonInfo, DeviceInfo, LightInfo, PANEL_BUS_NAME, PANEL_PATH};
use holdfast_dbus::{Error, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use crate::model::Button;

/// The longest a button is held by a program.
const LONGEST_HOLD_MS: u32 = 10_000;
/// As long as a finger taps.
const TAP_MS: u32 = 100;

/// What a client wants of the panel.
#[derive(Debug)]
pub enum Ask {
    /// Show which box this is for so long; zero ends it.
    Identify(Duration),
    /// All lights.
    LampTest,
    /// Percent.
    Brightness(u8),
    /// Press a button, as its device would.
    Press {
        /// Which.
        button: Button,
        /// How long.
        hold: Duration,
        /// Told when it is up again.
        done: oneshot::Sender<()>,
    },
}

/// What is shown on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// All lights.
    pub lights: Vec<LightInfo>,
    /// All buttons.
    pub buttons: Vec<ButtonInfo>,
    /// All devices.
    pub devices: Vec<DeviceInfo>,
    /// 1 to 100.
    pub brightness: u8,
    /// The recorder answers.
    pub recorder_present: bool,
}

/// A gesture that was understood: which button, what.
pub type Pressed = (Button, &'static str);

/// The object on the bus.
#[derive(Debug)]
pub struct Panel {
    /// What it shows.
    pub shown: watch::Receiver<Shown>,
    /// Full (16): the caller is told that the panel is busy.
    pub asks: mpsc::Sender<Ask>,
    /// Buttons may be pressed by programs.
    pub allow_press: bool,
}

impl Panel {
    fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.asks
            .try_send(ask)
            .map_err(|_| Error::new(ErrorCode::Busy, "too many commands wait; try again in a moment"))
    }
}

#[interface(name = "org.holdfast.Panel1")]
impl Panel {
    async fn identify(&self, seconds: u32, options: Dict) -> Result<(), Error> {
        Options::new("Identify", options).end()?;
        if seconds > 3600 {
            return Err(invalid(format!("seconds = {seconds}; 1 to 3600 are allowed, and 0 ends it"))
                .with("seconds", i64::from(seconds)));
        }
        self.ask(Ask::Identify(Duration::from_secs(seconds.into())))
    }

    async fn lamp_test(&self, options: Dict) -> Result<(), Error> {
        Options::new("LampTest", options).end()?;
        self.ask(Ask::LampTest)
    }

    async fn set_brightness(&self, percent: u32, options: Dict) -> Result<(), Error> {
        Options::new("SetBrightness", options).end()?;
        match u8::try_from(percent) {
            Ok(percent @ 1..=100) => self.ask(Ask::Brightness(percent)),
            _ => Err(invalid(format!("percent = {percent}; 1 to 100 are allowed")).with("percent", i64::from(percent))),
        }
    }

    async fn press_button(&self, button: String, options: Dict) -> Result<(), Error> {
        let mut options = Options::new("PressButton", options);
        let hold_ms = options.number("hold_ms", LONGEST_HOLD_MS)?.unwrap_or(TAP_MS);
        options.end()?;
        if !self.allow_press {
            let text = "buttons are pressed by fingers only; to allow programs to, set allow_press_button = true in [panel] of panel.toml";
            return Err(Error::new(ErrorCode::NotPermitted, text));
        }
        let known: Vec<String> = self.shown.borrow().buttons.iter().map(|button| button.name.clone()).collect();
        if !known.contains(&button) {
            let text = format!("there is no button {button:?}; there are: {}", known.join(", "));
            return Err(invalid(text).with("button", button));
        }
        let (done, up) = oneshot::channel();
        self.ask(Ask::Press { button: Button(button), hold: Duration::from_millis(hold_ms.into()), done })?;
        up.await.map_err(|_| Error::new(ErrorCode::Internal, "the panel ends"))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn lights(&self) -> Vec<LightInfo> {
        self.shown.borrow().lights.clone()
    }

    #[zbus(property)]
    fn buttons(&self) -> Vec<ButtonInfo> {
        self.shown.borrow().buttons.clone()
    }

    #[zbus(property)]
    fn devices(&self) -> Vec<DeviceInfo> {
        self.shown.borrow().devices.clone()
    }

    #[zbus(property)]
    fn brightness(&self) -> u32 {
        self.shown.borrow().brightness.into()
    }

    #[zbus(property)]
    fn recorder_present(&self) -> bool {
        self.shown.borrow().recorder_present
    }

    #[zbus(signal)]
    async fn button_pressed(emitter: &SignalEmitter<'_>, button: &str, gesture: &str) -> zbus::Result<()>;
}

/// Offers the panel, then takes its name.
///
/// # Errors
/// Someone else has the name, or the bus policy denies it.
pub async fn serve(connection: &Connection, panel: Panel) -> anyhow::Result<()> {
    connection.object_server().at(PANEL_PATH, panel).await?;
    let reply = connection
        .request_name_with_flags(PANEL_BUS_NAME, RequestNameFlags::DoNotQueue.into())
        .await
        .with_context(|| format!("cannot take the name {PANEL_BUS_NAME}; does the bus policy deny it?"))?;
    if !matches!(reply, RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) {
        bail!("another panel has the name {PANEL_BUS_NAME}");
    }
    Ok(())
}

/// Tells what changes, until the engine has ended. A bus that is stuck holds up this task alone.
///
/// # Errors
/// The bus is gone.
pub async fn tell(
    connection: &Connection,
    mut shown: watch::Receiver<Shown>,
    pressed: &mut mpsc::Receiver<Pressed>,
) -> zbus::Result<()> {
    let object = connection.object_server().interface::<_, Panel>(PANEL_PATH).await?;
    let emitter = object.signal_emitter();
    let mut told = shown.borrow_and_update().clone();
    loop {
        tokio::select! {
            changed = shown.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = shown.borrow_and_update().clone();
                let panel = object.get().await;
                if now.lights != told.lights {
                    panel.lights_changed(emitter).await?;
                }
                if now.buttons != told.buttons {
                    panel.buttons_changed(emitter).await?;
                }
                if now.devices != told.devices {
                    panel.devices_changed(emitter).await?;
                }
                if now.brightness != told.brightness {
                    panel.brightness_changed(emitter).await?;
                }
                if now.recorder_present != told.recorder_present {
                    panel.recorder_present_changed(emitter).await?;
                }
                told = now;
            }
            Some((button, gesture)) = pressed.recv() => {
                Panel::button_pressed(emitter, &button.0, gesture).await?;
            }
            () = connection.closed() => return Err(zbus::Error::InputOutput(std::sync::Arc::new(std::io::ErrorKind::ConnectionAborted.into()))),
        }
    }
}
