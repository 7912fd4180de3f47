//! Power cuts by the thousand (docs/powercut.md).

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use super::{Common, Outcome};
use crate::interrupt::Interrupt;
use crate::process::Guarded;
use crate::terminal::{self, Table, thousands};
use crate::workspace::{self, Programs};

/// Cut the power.
#[derive(Debug, Args)]
pub struct PowercutArgs {
    /// How many images of the disk are made and judged.
    #[arg(long, default_value_t = 10_000)]
    images: u64,
    /// All chances follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each of the two sessions on the disk records.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Records, cuts, judges.
pub fn run(args: &PowercutArgs, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    terminal::step(&format!("powercut: {} images of a recorded disk, seed {}", args.images, args.seed));
    let kept = workspace::target().join("powercut");
    let (images, seed) = (args.images.to_string(), args.seed.to_string());
    let words = [
        "--images",
        &images,
        "--seed",
        &seed,
        "--seconds",
        &args.seconds.to_string(),
        "--boots",
        "5",
        "--liar",
        "100",
        "--thief",
        "100",
    ];
    let mut soak = vec!["soak".into(), "--keep".into(), kept.into_os_string()];
    soak.extend(words.map(Into::into));
    let found = rig(&Programs::build_all(common.profile)?, soak, interrupt)?;
    if let Some(why) = found["skipped"].as_str() {
        bail!("no power was cut: {why}");
    }
    let number = |key: &str| found[key].as_u64().unwrap_or(u64::MAX);
    let retention = |key: &str| found["retention"][key].as_u64().unwrap_or(u64::MAX);
    let mut table = Table::new(["", ""]);
    table.row(["files that retention deleted meanwhile".to_owned(), thousands(retention("files_deleted"))]);
    table.row(["files written over their blocks".to_owned(), thousands(retention("files_recycled"))]);
    for (name, key) in [
        ("images", "images"),
        ("writes that did not arrive, or torn", "writes_lost"),
        ("safe pictures that had to be there", "frames_owed"),
        ("safe frames lost", "safe_frames_lost"),
        ("files unplayable", "files_unplayable"),
        ("chunks missing, at most", "chunks_missing_max"),
        ("images with anything wrong", "images_bad"),
        ("images that ext4 mounts only after e2fsck -p", "images_repaired"),
        ("different files decoded", "files_decoded"),
        ("pictures decoded", "pictures_decoded"),
        ("images that a recorder was started on", "boots"),
    ] {
        table.row([name.to_owned(), thousands(number(key))]);
    }
    for (name, who) in [("of a disk that lies", "liar"), ("with a file stolen", "thief")] {
        let of = |key: &str| found[who][key].as_u64().unwrap_or(0);
        let caught = format!("{} of {}", thousands(of("images_bad")), thousands(of("images")));
        table.row([format!("images {name}: caught"), caught]);
    }
    table.print();
    let verdict = verdict(&found, args.images);
    Ok((found, verdict))
}

/// All that was promised holds, and whoever cheated was caught: else the rig proves nothing.
fn verdict(found: &Value, images: u64) -> anyhow::Result<()> {
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(u64::MAX);
    if number(found, "images") != images || number(found, "images_bad") > 0 || number(found, "chunks_missing_max") > 1 {
        bail!("what was promised does not hold (see above)");
    }
    let (liar, thief) = (&found["liar"], &found["thief"]);
    if number(liar, "images_bad") == 0 || number(thief, "images_bad") != number(thief, "stolen") {
        bail!("nothing was lost, but the rig does not notice when something is");
    }
    Ok(())
}

/// Runs the rig to its end and returns its last word. `words`: for it; it is told where the programs are if it asks.
pub fn rig(programs: &Programs, words: Vec<std::ffi::OsString>, interrupt: &Interrupt) -> anyhow::Result<Value> {
    let mut command = Command::new(programs.path("holdfast-powercut"));
    command.args(words).arg("--programs").arg(programs.directory()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut rig = Guarded::spawn(&mut command)?;
    let mut output = rig.child().stdout.take().context("a rig without output")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let status = loop {
        interrupt.check()?;
        match rig.child().try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let text = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?.context("the rig can't be heard")?;
    if !status.success() {
        bail!("the power-cut rig: {status}");
    }
    Ok(serde_json::from_str(text.lines().last().context("the rig says nothing")?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::verdict;

    #[test]
    fn a_rig_that_notices_nothing_proves_nothing() {
        let found = |bad: u64, liar: u64, thief: u64| {
            json!({
                "images": 10, "images_bad": bad, "chunks_missing_max": 1,
                "liar": { "images_bad": liar }, "thief": { "images_bad": thief, "stolen": 7 },
            })
        };
        assert!(verdict(&found(0, 3, 7), 10).is_ok());
        for (bad, liar, thief, images) in [(1, 3, 7, 10), (0, 0, 7, 10), (0, 3, 6, 10), (0, 3, 7, 11)] {
            assert!(verdict(&found(bad, liar, thief), images).is_err(), "{bad} {liar} {thief} {images}");
        }
        assert!(verdict(&json!({}), 10).is_err());
    }
}
