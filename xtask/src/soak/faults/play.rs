//! What is done, and how it is put right again.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::clients;
use super::disk::Disk;
use super::proxy::Manner;
use super::stage::{Stage, Times};
use super::table::{CAMERA_MS, DISK_MS, FROZEN_MS, HOG_MS, Play, SLOW_MS};
use crate::process::{self, Guarded};

/// RestartSec of the recorder's unit.
const RESTART: Duration = Duration::from_millis(250);
const EX_CONFIG: i32 = 78;

pub fn nothing<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        stage.hold(Duration::from_millis(HOG_MS)).await?;
        stage.until_safe(Instant::now()).await
    })
}

pub fn capture_killed<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(capture_gets(stage, Signal::KILL))
}

pub fn capture_aborted<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(capture_gets(stage, Signal::ABORT))
}

pub fn capture_stopped<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(capture_gets(stage, Signal::STOP))
}

async fn capture_gets(stage: &mut Stage<'_>, signal: Signal) -> anyhow::Result<Times> {
    stage.record().await?;
    let before = stage.clock().await?;
    stage.signal(&before, signal)?;
    stage.until_replaced(&before).await
}

pub fn recorder_killed<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        process::signal(stage.rig.recorder_pid(), Signal::KILL);
        recorder_comes_back(stage).await
    })
}

/// It has ended or is about to; the next one finds what goes on.
pub async fn recorder_comes_back(stage: &mut Stage<'_>) -> anyhow::Result<Times> {
    recorder_ends(stage).await?;
    tokio::time::sleep(RESTART).await;
    stage.rig.start_recorder()?;
    stage.rig.wait_for_recorder(stage.interrupt).await?;
    stage.until_safe(stage.begun()).await
}

async fn recorder_ends(stage: &mut Stage<'_>) -> anyhow::Result<std::process::ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = stage.rig.recorder_ended()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            bail!("the recorder does not end");
        }
        stage.interrupt.check()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn recorder_stopped<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let recorder = stage.rig.recorder_pid();
        process::signal(recorder, Signal::STOP);
        tokio::time::sleep(Duration::from_millis(HOG_MS)).await;
        process::signal(recorder, Signal::CONT);
        stage.until_safe(Instant::now()).await
    })
}

pub fn bus_restarted<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        stage.rig.restart_bus().await?;
        recorder_ends(stage).await?;
        stage.noticed();
        recorder_comes_back(stage).await
    })
}

pub fn camera_vanishes<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(camera_is(stage, Manner::Gone))
}

pub fn camera_silent<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(camera_is(stage, Manner::Silent))
}

pub fn camera_slow_loris<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(camera_is(stage, Manner::Trickle))
}

pub fn camera_garbage<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.damaged = true;
        camera_is(stage, Manner::Garbage).await
    })
}

async fn camera_is(stage: &mut Stage<'_>, manner: Manner) -> anyhow::Result<Times> {
    stage.record().await?;
    stage.clock().await?;
    behave(stage, manner)?;
    stage.hold(Duration::from_millis(CAMERA_MS)).await?;
    behave(stage, Manner::Good)?;
    stage.until_safe(Instant::now()).await
}

fn behave(stage: &Stage<'_>, manner: Manner) -> anyhow::Result<()> {
    stage.proxy.as_ref().context("no camera in this scene")?.behave(manner)
}

pub fn camera_resolution<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        stage.camera.as_mut().context("no camera in this scene")?.tell("switch")?;
        // A second's worth beyond what was under way.
        stage.hold(Duration::from_millis(1500)).await?;
        stage.until_safe(Instant::now()).await
    })
}

/// The encoder fails by itself after a few seconds: see the capture's table of encoders. Its time counts from the last frame that
/// became safe.
pub fn encoder_fails<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        let faulty = stage.encoder().await;
        stage.clock().await?;
        stage.start().await?;
        let (mut last, mut grown) = (0, Instant::now());
        let end = Instant::now() + Duration::from_secs(30);
        while !stage.is_noticed() && Instant::now() < end {
            let now = stage.look().await;
            if now.safe_frames > last {
                (last, grown) = (now.safe_frames, Instant::now());
            }
            stage.interrupt.check()?;
        }
        stage.begun_at(grown);
        let times = stage.until(grown, |now| now.state == "recording" && now.safe_frames > last).await?;
        // As long as the ladder has not come to one that works, it fails again and again.
        let end = Instant::now() + Duration::from_secs(60);
        while stage.encoder().await == faulty && Instant::now() < end {
            stage.hold(Duration::from_millis(200)).await?;
        }
        Ok(times)
    })
}

/// The limit is lowered under it: a capture that grew would look the same.
pub fn memory_high<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        let config = stage.rig.place().config.clone();
        let text = std::fs::read_to_string(&config)?;
        std::fs::write(&config, text.replace("memory_alert_mib = 4096", "memory_alert_mib = 16"))?;
        process::signal(stage.rig.recorder_pid(), Signal::KILL);
        recorder_ends(stage).await?;
        stage.rig.start_recorder()?;
        stage.rig.wait_for_recorder(stage.interrupt).await?;
        stage.clock_without_past().await;
        stage.until_safe(Instant::now()).await
    })
}

fn disk<'d>(stage: &'d mut Stage<'_>) -> anyhow::Result<&'d mut Disk> {
    stage.disk.as_mut().context("no disk in this scene")
}

pub fn disk_full<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let filler = disk(stage)?.fill()?;
        stage.hold(Duration::from_millis(DISK_MS)).await?;
        std::fs::remove_file(filler).context("the filler is gone")?;
        records_again(stage).await
    })
}

pub fn disk_eio<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        disk(stage)?.break_sectors(true)?;
        stage.hold(Duration::from_millis(DISK_MS)).await?;
        disk(stage)?.break_sectors(false)?;
        records_again(stage).await
    })
}

pub fn disk_read_only<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        disk(stage)?.turn_read_only()?;
        stage.hold(Duration::from_millis(DISK_MS)).await?;
        disk(stage)?.replace()?;
        records_again(stage).await
    })
}

/// By itself, or, where the recording was closed for want of storage, with a new one as soon as that is possible.
async fn records_again(stage: &mut Stage<'_>) -> anyhow::Result<Times> {
    let since = Instant::now();
    let end = since + Duration::from_secs(30);
    loop {
        let now = stage.look().await;
        match now.state.as_str() {
            "recording" => return stage.until_safe(since).await,
            "armed" | "idle" if stage.start().await.is_ok() => return stage.until_safe(since).await,
            _ if Instant::now() > end => return stage.until(since, |_| false).await,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        stage.interrupt.check()?;
    }
}

pub fn disk_frozen<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        disk(stage)?.freeze(true)?;
        stage.hold(Duration::from_millis(FROZEN_MS)).await?;
        disk(stage)?.freeze(false)?;
        stage.until_safe(Instant::now()).await
    })
}

pub fn disk_slow<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let end = Instant::now() + Duration::from_millis(SLOW_MS);
        while Instant::now() < end {
            disk(stage)?.freeze(true)?;
            stage.hold(Duration::from_millis(700)).await?;
            disk(stage)?.freeze(false)?;
            stage.hold(Duration::from_millis(100)).await?;
        }
        stage.until_safe(Instant::now()).await
    })
}

pub fn disk_missing<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        disk(stage)?.unmount()?;
        stage.clock().await?;
        match stage.start().await {
            Ok(()) => bail!("a recording began without its disk"),
            Err(error)
                if format!("{error:#}").contains("StorageUnavailable") || format!("{error:#}").contains("-1009") => {}
            Err(error) => return Err(error.context("refused, but not for want of the disk")),
        }
        stage.noticed();
        let below = disk(stage)?.path().to_owned();
        if std::fs::read_dir(&below)?.count() > 0 {
            bail!("something was written to {} while its disk was missing", below.display());
        }
        disk(stage)?.mount_again()?;
        records_again(stage).await
    })
}

pub fn cpu_hog<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..cores * 2 {
            let mut hog = Command::new("sh");
            stage.helpers.push(Guarded::spawn(hog.args(["-c", "while :; do :; done"]).stdin(Stdio::null()))?);
        }
        end_of_the_trouble(stage).await
    })
}

pub fn io_hog<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let path = disk(stage)?.path().to_owned();
        for hog in 0..2 {
            let to = format!("of={}", path.join(format!("hog{hog}")).display());
            let mut dd = Command::new("dd");
            dd.args(["if=/dev/zero", &to, "bs=1M", "count=4096", "oflag=dsync"])
                .stdin(Stdio::null())
                .stderr(Stdio::null());
            stage.helpers.push(Guarded::spawn(&mut dd)?);
        }
        end_of_the_trouble(stage).await
    })
}

async fn end_of_the_trouble(stage: &mut Stage<'_>) -> anyhow::Result<Times> {
    stage.hold(Duration::from_millis(HOG_MS)).await?;
    stage.helpers.clear();
    stage.until_safe(Instant::now()).await
}

pub fn bus_flood<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let flood = clients::flood(&stage.rig.place().address, 4, Duration::from_millis(HOG_MS));
        tokio::time::sleep(Duration::from_millis(HOG_MS)).await;
        let calls = flood.join().map_err(|_| anyhow::anyhow!("the flood ended early"))??;
        crate::terminal::note(&format!("the flood was {} calls", crate::terminal::thousands(calls)));
        stage.until_safe(Instant::now()).await
    })
}

pub fn bus_deaf_client<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let deaf = clients::deaf(&stage.rig.place().runtime.join("bus"))?;
        stage.hold(Duration::from_millis(HOG_MS)).await?;
        let times = stage.until_safe(Instant::now()).await;
        drop(deaf);
        times
    })
}

pub fn journal_corrupt<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        process::signal(stage.rig.recorder_pid(), Signal::KILL);
        recorder_ends(stage).await?;
        for journal in stage.journals() {
            overwrite(&journal)?;
        }
        recorder_comes_back(stage).await
    })
}

/// What was written there long ago is not there any more.
fn overwrite(path: &Path) -> anyhow::Result<()> {
    let length = std::fs::metadata(path).with_context(|| format!("{} is not there", path.display()))?.len();
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    Ok(file.write_all(&vec![0xa5; usize::try_from(length)?])?)
}

pub fn config_corrupt<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        let config = stage.rig.place().config.clone();
        let good = std::fs::read(&config)?;
        stage.clock().await?;
        std::fs::write(&config, b"\x00\xff[storage\nroot = 7")?;
        process::signal(stage.rig.recorder_pid(), Signal::KILL);
        recorder_ends(stage).await?;
        tokio::time::sleep(RESTART).await;
        stage.rig.start_recorder()?;
        let status = recorder_ends(stage).await?;
        if status.code() != Some(EX_CONFIG) {
            bail!("with a broken configuration the recorder ended with {status}");
        }
        stage.noticed();
        tokio::time::sleep(Duration::from_secs(2)).await;
        std::fs::write(&config, good)?;
        let mended = Instant::now();
        stage.rig.start_recorder()?;
        stage.rig.wait_for_recorder(stage.interrupt).await?;
        stage.until_safe(mended).await
    })
}
