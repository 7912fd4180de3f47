//! `holdfast-updater`: keeps the box up to date, and never touches a take.

mod beside;
mod brake;
mod bus;
mod channel;
mod config;
mod downloads;
mod engine;
mod files;
mod fleet;
mod freeze;
mod gate;
mod leave;
mod power;
mod preflight;
mod reboot;
mod services;
mod settle;
mod stick;
mod sticks;
mod store;
mod surroundings;
mod target;
mod throttle;
mod valve;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use crate::bus::{Shown, Updater};
use crate::config::Config;
use crate::engine::{Engine, Parts};
use crate::stick::StickArgs;
use crate::store::Store;
use crate::surroundings::Roots;
use crate::valve::Valve;

/// Updates the box through RAUC (org.holdfast.Updater1). Recording comes first.
#[derive(Debug, Parser)]
#[command(name = "holdfast-updater", version)]
struct Arguments {
    /// How it goes about it.
    #[arg(long, env = config::PATH_VARIABLE, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Check the configuration, and do nothing else.
    #[arg(long)]
    check: bool,
    /// Where the kernel tells one boot from another.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id", hide = true)]
    boot_id: PathBuf,
    #[command(flatten)]
    roots: Roots,
    /// Where the box's own name is.
    #[arg(long, default_value = "/etc/machine-id", hide = true)]
    machine_id: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look for a bundle on a stick, hand it to the updater, and stay until the stick is no longer needed. For
    /// holdfast-stick@.service.
    Stick(StickArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(78); // EX_CONFIG of sysexits.h: systemd shows it as "config".
        }
    };
    if arguments.check {
        println!("{config:#?}");
        return ExitCode::SUCCESS;
    }
    let _log = holdfast_log::begin("info,zbus=warn");
    holdfast_log::end_on_panic(|_| {});
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => {
            error!("no runtime: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(config, &arguments));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config, arguments: &Arguments) -> anyhow::Result<()> {
    use zbus::connection::Builder;
    let builder = match config.bus.as_str() {
        "system" => Builder::system(),
        "session" => Builder::session(),
        address => Builder::address(address),
    };
    let remedy = || format!("no connection to the bus ({}); is it running, and is update.bus right?", config.bus);
    let connection = builder.with_context(remedy)?.build().await.with_context(remedy)?;
    if let Some(Command::Stick(stick)) = &arguments.command {
        let (mut term, closed) = (signal(SignalKind::terminate())?, connection.closed());
        return tokio::select! {
            result = stick::run(&config, &connection, stick) => result,
            () = closed => anyhow::bail!("the bus is gone"),
            _ = term.recv() => Ok(()),
        };
    }
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("{} can't be made; is update.state_dir right?", config.state_dir.display()))?;
    let (store, record) = Store::open(&config.state_dir)?;
    // When full, the caller is told that the updater is busy.
    let (ask_sender, mut asks) = mpsc::channel(16);
    // Full: the same; and tasks that wait for the end of a stick wait.
    let (stick_sender, sticks) = mpsc::channel(16);
    let (shown_sender, shown) = watch::channel(Shown::written(&record));
    let (looks_sender, looks) = watch::channel(None);
    let window = config.policy.window.map(|window| window.to_string()).unwrap_or_default();
    let updater = Updater { shown: shown.clone(), asks: ask_sender, looks, sticks: stick_sender.clone(), window };
    bus::serve(&connection, updater).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let valve = Arc::new(Valve::default());
    let work = async {
        let install_beside = config.install_beside;
        let (rauc, status) = settle::settle(&connection, install_beside, &valve, &mut asks, &shown_sender).await?;
        let (sticks, machine_id) = ((stick_sender, sticks), arguments.machine_id.clone());
        let parts = Parts {
            connection: connection.clone(),
            config,
            roots: arguments.roots.clone(),
            store,
            asks,
            shown: shown_sender,
            rauc,
            sticks,
            machine_id,
            valve: Arc::clone(&valve),
        };
        let engine = Engine::start(parts, record, &status, &arguments.boot_id).await?;
        looks_sender.send_replace(Some(engine.look()));
        engine.run(watchdog()).await
    };
    let result = tokio::select! {
        result = work => result,
        result = bus::tell(connection.clone(), shown) => Ok(result?),
        () = connection.closed() => anyhow::bail!("the bus is gone"),
        _ = term.recv() => Ok(()),
        _ = int.recv() => Ok(()),
    };
    valve.close(engine::FREEZE_PATIENCE);
    result
}

/// Tells systemd that the updater is ready, and feeds its watchdog as long as the engine turns.
fn watchdog() -> impl FnMut() {
    let every = sd_notify::watchdog_enabled().map(|bites| bites / 3);
    let mut fed: Option<std::time::Instant> = None;
    move || {
        let is_due = every.is_some_and(|every: Duration| fed.is_none_or(|fed| fed.elapsed() >= every));
        if fed.is_none() || is_due {
            let states: &[sd_notify::NotifyState] = match fed {
                None => &[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Watchdog],
                Some(_) => &[sd_notify::NotifyState::Watchdog],
            };
            fed = Some(std::time::Instant::now());
            if let Err(error) = sd_notify::notify(states) {
                warn!("systemd is not told: {error}");
            }
        }
    }
}
