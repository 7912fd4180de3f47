//! Power cuts of an update (docs/powercut.md).

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::powercut::rig;
use super::{Common, Outcome};
use crate::interrupt::Interrupt;
use crate::terminal::{self, Table, thousands};
use crate::workspace::Programs;

/// Cut the power of an update.
#[derive(Debug, Args)]
pub struct UpdaterArgs {
    /// How many images of the disk are made and judged.
    #[arg(long, default_value_t = 10_000)]
    cuts: u64,
    /// All chances follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What must be zero, and how people are told.
const NONE: [(&str, &str); 7] = [
    ("records of the plan lost", "records_lost"),
    ("results lost", "results_lost"),
    ("results told twice", "results_told_twice"),
    ("two bad slots", "two_bad_slots"),
    ("half a system first in the boot order", "half_systems_first"),
    ("verified bundles lost", "bundles_lost"),
    ("the plan comes to no good end", "stuck"),
];

/// Updates, cuts, judges.
pub fn run(args: &UpdaterArgs, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    terminal::step(&format!("updater: {} images of an updated disk, seed {}", args.cuts, args.seed));
    let (cuts, seed) = (args.cuts.to_string(), args.seed.to_string());
    let words = ["update", "--images", &cuts, "--seed", &seed, "--liar", "400", "--boots", "6"];
    let words = words.into_iter().map(Into::into).collect();
    let found = rig(&Programs::build_all(common.profile)?, words, interrupt)?;
    if let Some(why) = found["skipped"].as_str() {
        bail!("no power was cut: {why}");
    }
    let number = |key: &str| found[key].as_u64().unwrap_or(u64::MAX);
    let mut table = Table::new(["", ""]);
    for (name, key) in [
        ("images", "images"),
        ("moments at which the power went", "cuts"),
        ("writes that did not arrive, or torn", "writes_lost"),
        ("images with a half written slot", "half_written"),
    ]
    .into_iter()
    .chain(NONE)
    .chain([("images that a real updater and RAUC went on from", "boots")])
    {
        table.row([name.to_owned(), thousands(number(key))]);
    }
    let liar = |key: &str| found["liar"][key].as_u64().unwrap_or(0);
    let caught = format!("{} of {}", thousands(liar("images_bad")), thousands(liar("images")));
    table.row(["images of a disk that lies: caught".to_owned(), caught]);
    table.print();
    let verdict = verdict(&found, args.cuts);
    Ok((found, verdict))
}

/// All holds, and a disk that lies was caught: else the rig proves nothing.
fn verdict(found: &Value, images: u64) -> anyhow::Result<()> {
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(u64::MAX);
    let is_bad = NONE.into_iter().any(|(_, key)| number(found, key) > 0);
    if is_bad || number(found, "images") != images || number(found, "images_bad") > 0 {
        bail!("what was promised does not hold (see above)");
    }
    if found["liar"]["images_bad"].as_u64().unwrap_or(0) == 0 || number(found, "half_written") == 0 {
        bail!("nothing was lost, but the rig does not notice when something is");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{NONE, verdict};

    #[test]
    fn whatever_is_lost_and_a_rig_that_notices_nothing_fail() {
        let good = || -> Value {
            let mut found = json!({ "images": 9, "images_bad": 0, "half_written": 2, "liar": { "images_bad": 1 } });
            NONE.into_iter().for_each(|(_, key)| found[key] = 0.into());
            found
        };
        assert!(verdict(&good(), 9).is_ok());
        assert!(verdict(&good(), 10).is_err() && verdict(&json!({}), 9).is_err());
        for key in NONE.into_iter().map(|(_, key)| key).chain(["images_bad"]) {
            let mut found = good();
            found[key] = 1.into();
            assert!(verdict(&found, 9).is_err(), "{key}");
        }
        for (place, key) in [("", "half_written"), ("liar", "images_bad")] {
            let mut found = good();
            *(if place.is_empty() { &mut found } else { &mut found[place] }).get_mut(key).unwrap() = 0.into();
            assert!(verdict(&found, 9).is_err(), "{key}");
        }
    }
}
