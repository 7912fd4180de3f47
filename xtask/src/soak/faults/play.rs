//! What is done, and how it is put right again.

mod disk;
mod state;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::clients;
use super::proxy::Manner;
use super::rows::{CAMERA_MS, HOG_MS, MEMORY_MIB};
use super::stage::{Stage, Times};
use super::table::Play;
use crate::process::{self, Guarded};

pub use disk::{disk_eio, disk_frozen, disk_full, disk_full_for_good, disk_missing, disk_read_only, disk_slow, io_hog};
pub use state::{clock_steps, config_corrupt, journal_corrupt};

/// RestartSec of the recorder's unit.
const RESTART: Duration = Duration::from_millis(250);

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

/// Its encoder leaks from the start; the clock runs from when it is over its limit.
pub fn memory_grows<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        let before = stage.look().await;
        let end = Instant::now() + Duration::from_secs(60);
        while process::usage(before.pid).is_none_or(|(rss_kib, _)| rss_kib / 1024 <= MEMORY_MIB) {
            stage.interrupt.check()?;
            if Instant::now() > end {
                bail!("the capture's memory does not grow");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.clock().await?;
        let times = stage.until_safe(Instant::now()).await?;
        stage.same_capture(&before).await?;
        Ok(times)
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
