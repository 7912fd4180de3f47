//! What is remembered, configured or believed is not what it was.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::AlertCode;
use rustix::process::Signal;

use super::{RESTART, recorder_comes_back, recorder_ends};
use crate::process;
use crate::soak::faults::stage::Stage;
use crate::soak::faults::table::Play;

const EX_CONFIG: i32 = 78;

/// Hours and years, back and forth; each step is to be told, and nobody starts anew.
pub fn clock_steps<'s>(stage: &'s mut Stage<'_>) -> Play<'s> {
    Box::pin(async {
        stage.record().await?;
        let before = stage.clock().await?;
        for (number, by) in (1..).zip(["+3h", "-5h", "-400000h", "+0"]) {
            stage.wall.as_ref().context("no clock in this scene")?.set(by)?;
            let end = Instant::now() + Duration::from_secs(5);
            while stage.times_told(AlertCode::ClockStepped, "clock").await < number {
                if Instant::now() > end {
                    bail!("{by}: the clock was set, and nobody was told");
                }
                stage.hold(Duration::from_millis(50)).await?;
            }
            // Chunks are written in this time too.
            stage.hold(Duration::from_secs(1)).await?;
        }
        let times = stage.until_safe(Instant::now()).await?;
        stage.same_capture(&before).await?;
        stage.rig.must_run()?;
        Ok(times)
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
