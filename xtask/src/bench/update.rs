//! An update beside a recording: a real recorder records, and a real RAUC writes a slot on the same disk; first driven by the real
//! updater, which throttles it, then by nobody.
//!
//! What is compared is how long the recording's syncs take: each of them, as the recorder tells it on the bus with every chunk. The
//! disk is a loop device that writes as fast as a box's eMMC does, where this machine's kernel can slow one down.

mod download;
mod sync;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::updater::{InstallOptions, UpdaterProxy};
use holdfast_dbus::{StartOptions, StopOptions};
use holdfast_rauc_rig::{Plan, Rig as Rauc, Wrap};
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedValue;

use self::sync::Syncs;
use super::device::Device;
use super::{Common, Figures, percentile, rounded, skipped};
use crate::interrupt::Interrupt;
use crate::process::Guarded;
use crate::rig::{Directory, Rig, Settings, quoted};
use crate::terminal::{self, Table};
use crate::workspace::{Built, Programs};

/// What the eMMC of a small box writes, bytes per second.
const DISK_RATE: u64 = 40 << 20;
/// How long an installation may take, however throttled.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Lets what was written before reach the disk.
const REST: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);
const INPUTS: [&str; 2] = ["cam0", "cam1"];

/// How much of it.
struct Length {
    image_bytes: u64,
    alone: Duration,
    downloads: bool,
}

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    if let Some(why) = Device::impossible() {
        return Ok(skipped("update", why));
    }
    let length = if common.quick {
        Length { image_bytes: 12 << 20, alone: Duration::from_secs(6), downloads: false }
    } else {
        Length { image_bytes: 256 << 20, alone: Duration::from_secs(60), downloads: true }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let Some(found) = runtime.block_on(measure(&length, built.get()?, interrupt))? else {
        return Ok(skipped("update", "there can be no RAUC on this machine"));
    };
    let mut figures = report(found, &length);
    if length.downloads {
        terminal::step("update: a download that is cut twenty times");
        figures.insert("redownloaded_pct".to_owned(), rounded(download::redownloaded_percent()?, 2));
    }
    Ok(figures)
}

/// A recording, and what it noticed.
struct Recorded {
    /// Milliseconds of each sync.
    sync_ms: Vec<f64>,
    /// How long the installation took; 0 without one.
    seconds: f64,
    lost_frames: u64,
}

struct Found {
    slowed: bool,
    alone: Recorded,
    throttled: Recorded,
    unthrottled: Recorded,
    rss_mb: f64,
    slowest: String,
}

fn report(mut found: Found, length: &Length) -> Figures {
    let mut table = Table::new(["recorded", "syncs", "p50", "p99", "slowest", "installed in", "frames lost"]);
    let mut row = |name: &str, recorded: &mut Recorded| {
        let spread = [50, 99, 100].map(|percent| percentile(&mut recorded.sync_ms, percent));
        let cells = spread.map(|ms| format!("{ms:.1} ms"));
        let seconds = if recorded.seconds > 0.0 { format!("{:.1} s", recorded.seconds) } else { String::new() };
        table.row(
            [name.to_owned(), recorded.sync_ms.len().to_string()]
                .into_iter()
                .chain(cells)
                .chain([seconds, recorded.lost_frames.to_string()]),
        );
        spread
    };
    let alone = row("alone", &mut found.alone);
    let throttled = row("beside an installation", &mut found.throttled);
    let unthrottled = row("beside one without throttle", &mut found.unthrottled);
    table.print();
    if !found.slowed {
        terminal::note("this machine can slow no disk down: a fast one shows little of what a throttle is for");
    }
    eprintln!("  seen of the throttle: {}", found.slowest);
    let mut figures = Figures::new();
    figures.insert("frames_lost".to_owned(), found.throttled.lost_frames.into());
    figures.insert("unthrottled_frames_lost".to_owned(), found.unthrottled.lost_frames.into());
    figures.insert("sync_p99_ms".to_owned(), rounded(alone[1], 2));
    figures.insert("sync_p99_ratio".to_owned(), rounded(throttled[1] / alone[1], 2));
    figures.insert("unthrottled_sync_p99_ratio".to_owned(), rounded(unthrottled[1] / alone[1], 2));
    figures.insert("install_s".to_owned(), rounded(found.throttled.seconds, 1));
    figures.insert("unthrottled_install_s".to_owned(), rounded(found.unthrottled.seconds, 1));
    figures.insert("image_mib".to_owned(), (length.image_bytes >> 20).into());
    figures.insert("disk_mib_per_s".to_owned(), if found.slowed { (DISK_RATE >> 20).into() } else { 0.into() });
    figures.insert("rss_mb".to_owned(), rounded(found.rss_mb, 1));
    figures
}

/// `None`: there can be no RAUC here.
async fn measure(length: &Length, programs: &Programs, interrupt: &Interrupt) -> anyhow::Result<Option<Found>> {
    let directory = Directory::temporary()?;
    // The image, the bundle with it, two slots, and room for what is recorded.
    let disk = Device::new(directory.path(), length.image_bytes * 5 + (1 << 30))?;
    let lines = ["source = \"test\"", "width = 640", "height = 360", "framerate = 30", "bitrate_kbps = 4000"];
    let lines = lines.into_iter().chain(["audio = false", "encoder = \"x264enc\""]).map(str::to_owned);
    let lines: Vec<String> = lines.collect();
    let settings = Settings {
        inputs: INPUTS.map(|name| (name.to_owned(), lines.clone())).to_vec(),
        calm: true,
        recording: vec!["sync_interval_ms = 250".to_owned()],
        ..Settings::default()
    };
    let rig = Rig::start(programs, disk.path(), &settings, interrupt).await?;
    let address = rig.place().address.clone();
    let plan =
        Plan { slot_bytes: length.image_bytes, directory: Some(disk.path()), bus: Some(&address), ..Plan::default() };
    let Some(rauc) = Rauc::start(plan).await else { return Ok(None) };
    terminal::step(&format!("update: a bundle of {} MiB", length.image_bytes >> 20));
    let image = rauc.image("system", length.image_bytes, 7);
    let bundle = rauc.bundle("system", &image, Wrap { version: "2.0", ..Wrap::default() });
    // What was made is on the disk before that is slowed down.
    disk.written()?;
    let slowed = disk.slow(DISK_RATE);
    let syncs = Syncs::watch(&rig, &INPUTS).await?;

    terminal::step(&format!("update: a recording alone for {} s", length.alone.as_secs()));
    let recorder = rig.recorder().await?;
    let start = async || {
        let options = StartOptions { wait_ms: Some(20_000), ..StartOptions::default() };
        recorder.start(options).await.context("Start was refused")
    };
    start().await?;
    tokio::time::sleep(REST).await;
    syncs.take();
    wait(length.alone, interrupt).await?;
    let alone = Recorded { sync_ms: syncs.take(), seconds: 0.0, lost_frames: 0 };

    terminal::step("update: an installation beside it");
    let updater = Updater::start(programs, &rig, directory.path()).await?;
    let began = Instant::now();
    let slowest = updater.install(&bundle, interrupt).await?;
    let (seconds, sync_ms) = (began.elapsed().as_secs_f64(), syncs.take());
    let rss_mb = updater.peak_rss_mb()?;
    drop(updater);
    tokio::time::sleep(REST).await;
    let totals = recorder.stop(StopOptions::default()).await.context("Stop was refused")?;
    let throttled = Recorded { sync_ms, seconds, lost_frames: totals.lost_frames };

    terminal::step("update: the same without the throttle, for comparison");
    start().await?;
    tokio::time::sleep(REST).await;
    syncs.take();
    let began = Instant::now();
    install_freely(&rig, &bundle, interrupt).await?;
    let seconds = began.elapsed().as_secs_f64();
    // What it has kept from the disk for long is told only then.
    tokio::time::sleep(REST).await;
    let sync_ms = syncs.take();
    let totals = recorder.stop(StopOptions::default()).await.context("Stop was refused")?;
    let unthrottled = Recorded { sync_ms, seconds, lost_frames: totals.lost_frames };
    let slowed_down = slowed.is_some();
    drop(slowed);
    Ok(Some(Found { slowed: slowed_down, alone, throttled, unthrottled, rss_mb, slowest }))
}

async fn wait(length: Duration, interrupt: &Interrupt) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        interrupt.check()?;
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// RAUC by itself, as `rauc install` has it work: the peer.
async fn install_freely(rig: &Rig, bundle: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let name = "de.pengutronix.rauc";
    let rauc = zbus::proxy::Builder::<zbus::Proxy<'_>>::new(rig.connection())
        .destination(name)?
        .path("/")?
        .interface("de.pengutronix.rauc.Installer")?
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let path = bundle.to_str().context("a bundle's path is no UTF-8")?;
    rauc.call_method("InstallBundle", &(path, HashMap::<&str, OwnedValue>::new())).await.context("RAUC refuses")?;
    let deadline = Instant::now() + PATIENCE;
    while rauc.get_property::<String>("Operation").await? != "idle" {
        interrupt.check()?;
        if Instant::now() > deadline {
            bail!("RAUC has not come to an end");
        }
        tokio::time::sleep(LOOK).await;
    }
    match rauc.get_property::<String>("LastError").await?.as_str() {
        "" => Ok(()),
        error => bail!("RAUC: {error}"),
    }
}

struct Updater {
    process: Guarded,
    proxy: UpdaterProxy<'static>,
}

impl Updater {
    async fn start(programs: &Programs, rig: &Rig, directory: &Path) -> anyhow::Result<Self> {
        let (config, state, log) =
            (directory.join("updater.toml"), directory.join("updater"), rig.place().logs.join("updater.log"));
        let text = format!(
            "[update]\nbus = {}\nstate_dir = {}\ninstall_beside_recording = true\nreboot_program = \"/bin/false\"\n",
            quoted(Path::new(&rig.place().address))?,
            quoted(&state)?
        );
        std::fs::write(&config, text).context("no configuration for the updater")?;
        let log = std::fs::File::create(log).context("no log for the updater")?;
        let mut command = Command::new(programs.path("holdfast-updater"));
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = Guarded::spawn(&mut command)?;
        let proxy = UpdaterProxy::builder(rig.connection()).cache_properties(CacheProperties::No).build().await?;
        let mut updater = Self { process, proxy };
        let deadline = Instant::now() + Duration::from_secs(60);
        while updater.proxy.state().await.is_err() {
            updater.process.must_run()?;
            if Instant::now() > deadline {
                bail!("the updater does not come to the bus");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(updater)
    }

    /// Until it is written and read back. Says what was seen of the throttle.
    async fn install(&self, bundle: &Path, interrupt: &Interrupt) -> anyhow::Result<String> {
        let path = bundle.to_str().context("a bundle's path is no UTF-8")?;
        let options = InstallOptions { until: Some("install".to_owned()), ..InstallOptions::default() };
        let begun = async |options: &InstallOptions| self.proxy.install(path, options.clone()).await;
        let deadline = Instant::now() + PATIENCE;
        // Just started it may still be looking at RAUC.
        while let Err(error) = begun(&options).await {
            if Instant::now() > deadline || !error.to_string().contains("Busy") {
                return Err(error).context("the updater refuses");
            }
            tokio::time::sleep(LOOK).await;
        }
        let mut paces = std::collections::BTreeMap::<String, u64>::new();
        loop {
            interrupt.check()?;
            let state = self.proxy.state().await?;
            let told = self.proxy.throttled().await?;
            if !told.is_empty() {
                *paces.entry(told).or_default() += 1;
            }
            if state == "installed" {
                let mut paces: Vec<_> = paces.into_iter().collect();
                paces.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                let often: Vec<String> = paces.into_iter().take(4).map(|(told, _)| told).collect();
                return Ok(often.join("; "));
            }
            let outcomes = self.proxy.list_outcomes(HashMap::new()).await?;
            if let Some(outcome) = outcomes.first() {
                bail!("it was not installed: {} ({})", outcome.text, outcome.code);
            }
            if Instant::now() > deadline {
                bail!("it is {state} after {} s: {}", PATIENCE.as_secs(), self.proxy.waits_for().await?);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The most memory it has ever had.
    fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let kib: f64 = peak.context("the kernel tells no peak of memory")?.trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }
}
