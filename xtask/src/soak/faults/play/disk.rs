//! A disk that is full, fails, stands still, is slow, or is not there.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::AlertCode;

use super::end_of_the_trouble;
use crate::process::Guarded;
use crate::soak::faults::disk::Disk;
use crate::soak::faults::rows::{DISK_MS, FROZEN_MS, FULL_MS, SLOW_MS};
use crate::soak::faults::stage::{Stage, Times, VICTIM};
use crate::soak::faults::table::Play;

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

/// A camera's new size takes a new file, and that takes blocks: those that the last one gives back, as long as they last.
pub fn disk_full_for_good<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        stage.clock().await?;
        let filler = disk(stage)?.fill_for_good()?;
        let end = Instant::now() + Duration::from_millis(FULL_MS);
        // The storage's own alert is told by the recorder, which sees how full it is. This one is the capture's: ENOSPC.
        while stage.times_told(AlertCode::StorageCritical, VICTIM).await == 0 {
            if Instant::now() > end {
                bail!("the capture never met the full disk");
            }
            stage.camera.as_mut().context("no camera in this scene")?.tell("switch")?;
            stage.hold(Duration::from_millis(1500)).await?;
        }
        stage.hold(Duration::from_millis(DISK_MS)).await?;
        drop(filler);
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
