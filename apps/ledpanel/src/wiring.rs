//! Start-up as a story, and the only place that makes devices of what `panel.toml` says.

mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::bus::{self, Shown};
use crate::buttons::{Buttons, Layout, Timing, Wanted};
use crate::config::{self, Config, ShortWhileRecording};
use crate::devices::supervise;
use crate::engine::{Engine, Known, Settings, Wires};
use crate::model::{Button, Frame, Light};
use crate::orders::{self, Action, Deeds, Orders, Plan};
use crate::patterns::Look;
use crate::recorder;

/// How long a device may take to be left in fault.
const FAREWELL: Duration = Duration::from_secs(2);
/// Before the bus is tried again.
const RETRY: Duration = Duration::from_millis(500);
const MS_NS: u64 = 1_000_000;

/// Where the kernel shows its LEDs and its input devices. Tests have directories of their own.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys/class/leds`
    pub leds: PathBuf,
    /// `/dev/input`
    pub input: PathBuf,
}

/// Runs the panel until it is told to end. `turned` is called as long as it gets on: for a watchdog.
///
/// # Errors
/// Only at the beginning; what is missing later is waited for.
pub async fn run(config: Config, roots: &Roots, turned: impl FnMut()) -> anyhow::Result<()> {
    let quit = Arc::new(Notify::new());
    // When full, the device waits: see `devices::Io`.
    let (edge_sender, edges) = mpsc::channel(64);
    // When full, the device is not tried again before the engine has heard.
    let (gone_sender, gone) = mpsc::channel(16);
    let (frames, frame) = watch::channel(Frame::default());
    let panel = supervise::Panel { frames: frame, edges: edge_sender, gone: gone_sender };
    let mut known = Vec::new();
    for wired in &config.devices {
        let (state, shown) = watch::channel(supervise::State::default());
        let device = match made::device(wired, &config.panel, roots, &quit) {
            Ok(device) => device,
            Err(error) => {
                warn!(device = wired.name, "can't be used: {error}");
                state.send_modify(|state| state.error = error.to_string());
                known.push(Known { name: wired.name.clone(), kind: wired.wiring.kind(), state: shown });
                continue;
            }
        };
        let buttons = wired.wiring.buttons().into_iter().cloned().collect();
        let supervised = supervise::Supervised { name: wired.name.clone(), device, buttons, state };
        tokio::spawn(supervise::run(supervised, panel.clone()));
        known.push(Known { name: wired.name.clone(), kind: wired.wiring.kind(), state: shown });
    }

    let (snapshot_sender, snapshots) = watch::channel(None);
    // When full, what is asked for counts as not reached, and is asked again.
    let (calls, call_receiver) = mpsc::channel(16);
    // When full, the recorder is not looked at before the engine has heard.
    let (answer_sender, answers) = mpsc::channel(16);
    let (report_sender, reports) = watch::channel(Vec::new());
    let link = recorder::Link {
        bus: bus_of(&config.panel.bus),
        snapshots: snapshot_sender,
        calls: call_receiver,
        answers: answer_sender,
        reports,
    };
    tokio::spawn(recorder::run(link));

    // When full, the caller is told that the panel is busy.
    let (ask_sender, asks) = mpsc::channel(16);
    let (shown_sender, shown) = watch::channel(Shown::default());
    // When full, the newest are not told.
    let (pressed_sender, pressed) = mpsc::channel(16);
    let offered =
        Offered { bus: bus_of(&config.panel.bus), shown, asks: ask_sender, allow: config.panel.allow_press_button };
    tokio::spawn(offer(offered, pressed));

    let wires = Wires {
        edges,
        gone,
        snapshots,
        calls,
        answers,
        asks,
        shown: shown_sender,
        pressed: pressed_sender,
        frames,
        reports: report_sender,
    };
    let hold_ns = u64::from(config.panel.hold_ms) * MS_NS;
    let settle_ns = (u64::from(config.panel.debounce_ms) + 10) * MS_NS;
    let settings = Settings { night: config.panel.night, minute: minute_of_the_day, hold_ns, settle_ns };
    let orders = Orders::new(settings_of(&config), seed().context("the kernel gives no random numbers")?);
    let engine = Engine::new(wires, settings, known, Buttons::new(layout_of(&config)), orders, look_of(&config));
    info!(devices = config.devices.len(), "the panel runs");
    tokio::select! {
        () = engine.run(turned) => anyhow::bail!("the panel's engine has ended"),
        () = quit.notified() => Ok(()),
        () = ended() => Ok(()),
    }
}

/// Leaves all devices showing a fault, each for a short time at most. For whoever finds the panel dead.
pub fn leave_in_fault(config: &Config, roots: &Roots) {
    let quit = Arc::new(Notify::new());
    // Never full: each device says one word.
    let (tell, told) = std::sync::mpsc::sync_channel(config.devices.len().max(1));
    let mut left = 0;
    for wired in &config.devices {
        let device = match made::device(wired, &config.panel, roots, &quit) {
            Ok(device) => device,
            Err(error) => {
                warn!(device = wired.name, "can't be used: {error}");
                continue;
            }
        };
        let (name, tell) = (wired.name.clone(), tell.clone());
        // One that hangs must not keep the others from it.
        std::thread::spawn(move || {
            let result = device.leave_in_fault();
            let _ = tell.send((name, result));
        });
        left += 1;
    }
    for _ in 0..left {
        match told.recv_timeout(FAREWELL) {
            Ok((name, Ok(()))) => info!(device = name, "left in fault"),
            Ok((name, Err(error))) => warn!(device = name, "not left in fault: {error}"),
            Err(_) => return warn!("a device hangs"),
        }
    }
}

fn bus_of(bus: &config::Bus) -> recorder::Bus {
    match bus {
        config::Bus::System => recorder::Bus::System,
        config::Bus::Session => recorder::Bus::Session,
        config::Bus::Address(address) => recorder::Bus::Address(address.clone()),
    }
}

/// What the panel offers on the bus.
struct Offered {
    bus: recorder::Bus,
    shown: watch::Receiver<Shown>,
    asks: mpsc::Sender<bus::Ask>,
    allow: bool,
}

/// Offers it for ever, also when the bus was gone: buttons and lights work meanwhile.
async fn offer(offered: Offered, mut pressed: mpsc::Receiver<bus::Pressed>) {
    let mut told = String::new();
    loop {
        let error = match offer_once(&offered, &mut pressed).await {
            Ok(()) => return,
            Err(error) => format!("{error:#}"),
        };
        if error != told {
            warn!("org.holdfast.Panel1 is not offered, tried again: {error}");
            told = error;
        }
        sleep(RETRY).await;
    }
}

async fn offer_once(offered: &Offered, pressed: &mut mpsc::Receiver<bus::Pressed>) -> anyhow::Result<()> {
    let connection = offered.bus.connect().await?;
    let panel = bus::Panel { shown: offered.shown.clone(), asks: offered.asks.clone(), allow_press: offered.allow };
    bus::serve(&connection, panel).await?;
    Ok(bus::tell(&connection, offered.shown.clone(), pressed).await?)
}

fn seed() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

fn minute_of_the_day() -> u16 {
    let now = jiff::Zoned::now();
    u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs())
}

fn layout_of(config: &Config) -> Layout {
    let panel = &config.panel;
    let timing = Timing {
        debounce_ns: u64::from(panel.debounce_ms) * MS_NS,
        double_ns: u64::from(panel.double_ms) * MS_NS,
        hold_ns: u64::from(panel.hold_ms) * MS_NS,
        ..Timing::default()
    };
    let wanted = |button: &config::ButtonConfig| Wanted { timing, double: button.double != config::Action::Nothing };
    Layout {
        buttons: config.buttons.iter().map(|button| (Button(button.name.clone()), wanted(button))).collect(),
        chords: config.chords.iter().map(|chord| chord.buttons.clone().map(Button)).collect(),
    }
}

fn settings_of(config: &Config) -> orders::Settings {
    let in_recording = |action: config::Action| match (action, config.panel.short_while_recording) {
        (config::Action::Start, ShortWhileRecording::Mark) => Action::Mark,
        (config::Action::Start, ShortWhileRecording::Nothing) => Action::Nothing,
        (action, _) => action_of(action),
    };
    let plan = |button: &config::ButtonConfig| Plan {
        idle: Deeds {
            short: action_of(button.short),
            double: action_of(button.double),
            long: match button.long {
                // There is nothing to stop.
                config::Action::Stop => Action::Nothing,
                other => action_of(other),
            },
        },
        recording: Deeds {
            short: in_recording(button.short),
            double: in_recording(button.double),
            long: action_of(button.long),
        },
    };
    let chord = config.chords.first().map_or(Action::Identify, |chord| action_of(chord.action));
    let buttons: BTreeMap<Button, Plan> =
        config.buttons.iter().map(|button| (Button(button.name.clone()), plan(button))).collect();
    orders::Settings { buttons, chord, mark: config.panel.mark_text.clone(), ..orders::Settings::default() }
}

fn action_of(action: config::Action) -> Action {
    match action {
        config::Action::Nothing => Action::Nothing,
        config::Action::Start => Action::Start,
        config::Action::Mark => Action::Mark,
        config::Action::Stop => Action::Stop,
        config::Action::Identify => Action::Identify,
        config::Action::LampTest => Action::LampTest,
    }
}

fn look_of(config: &Config) -> Look {
    let lights: BTreeSet<Light> = config.devices.iter().flat_map(|device| device.wiring.lights()).cloned().collect();
    Look {
        lights,
        brightness: config.panel.brightness,
        night: None,
        buzzer: config.panel.buzzer,
        text: config.devices.iter().any(|device| device.wiring.shows_text()),
    }
}

/// Returns when somebody wants the panel to end.
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        warn!("no signals are heard");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    // What is on its way to the devices still gets there.
    let _ = timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
}
