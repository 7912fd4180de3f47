//! `holdfast-panel`: drives the front panel.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use holdfast_panel::config::{DEFAULT_PATH, Loaded, PATH_VARIABLE};
use holdfast_panel::guardian::Guardian;
use holdfast_panel::wiring::Roots;
use holdfast_panel::{clock, guardian, wiring};
use tracing::{error, warn};

/// Buttons in, lights out: drives Holdfast's front panel (org.holdfast.Panel1).
#[derive(Debug, Parser)]
#[command(name = "holdfast-panel", version)]
struct Arguments {
    /// What the panel is wired to.
    #[arg(long, env = PATH_VARIABLE, default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Show what is configured, and do nothing else.
    #[arg(long)]
    check: bool,
    /// Leave all lights showing a fault, and do nothing else. For `ExecStopPost=`: when the panel has died nobody drives them.
    #[arg(long, conflicts_with = "check")]
    fault: bool,
    /// The same, once standard input ends: what a panel that systemd does not look after leaves behind for the case that it dies.
    #[arg(long, hide = true, conflicts_with_all = ["check", "fault"])]
    guard: bool,
    /// Where the kernel shows its LEDs.
    #[arg(long, default_value = "/sys/class/leds", hide = true)]
    leds: PathBuf,
    /// Where the kernel has its input devices.
    #[arg(long, default_value = "/dev/input", hide = true)]
    input: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Loaded { config, warnings } = match Loaded::load(&arguments.config) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(78); // EX_CONFIG of sysexits.h: systemd shows it as "config".
        }
    };
    if let Some(warnings) = warnings.filter(|_| !arguments.guard) {
        eprintln!("{warnings}");
    }
    if arguments.check {
        println!("{config}");
        return ExitCode::SUCCESS;
    }
    let _log = holdfast_log::begin("info,zbus=warn");
    holdfast_log::end_on_panic(|_| {});
    let roots = Roots { leds: arguments.leds, input: arguments.input };
    if arguments.guard && !guardian::bereaved() {
        return ExitCode::SUCCESS;
    }
    if arguments.fault || arguments.guard {
        wiring::leave_in_fault(&config, &roots);
        return ExitCode::SUCCESS;
    }
    let guardian =
        Guardian::start(&[("--config", &arguments.config), ("--leds", &roots.leds), ("--input", &roots.input)]);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => {
            error!("no runtime: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(wiring::run(config.clone(), &roots, watchdog()));
    // A device that hangs must not keep the process from ending.
    runtime.shutdown_background();
    // Ended in good order or not, nobody drives the lights from here on.
    wiring::leave_in_fault(&config, &roots);
    if let Some(guardian) = guardian {
        guardian.dismiss();
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tells systemd that the panel is ready, and feeds its watchdog as long as it turns.
fn watchdog() -> impl FnMut() {
    let every_ns = sd_notify::watchdog_enabled().map(|bites| u64::try_from(bites.as_nanos()).unwrap_or(u64::MAX) / 3);
    let mut fed_ns = None;
    move || {
        let now_ns = clock::mono_ns();
        let is_first = fed_ns.is_none();
        let is_due = every_ns.is_some_and(|every_ns| fed_ns.is_none_or(|fed_ns| now_ns >= fed_ns + every_ns));
        if is_first || is_due {
            fed_ns = Some(now_ns);
            let states: &[sd_notify::NotifyState] = if is_first {
                &[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Watchdog]
            } else {
                &[sd_notify::NotifyState::Watchdog]
            };
            if let Err(error) = sd_notify::notify(states) {
                warn!("systemd is not told: {error}");
            }
        }
    }
}
