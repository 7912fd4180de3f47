//! What is fetched again after cuts: asked of the test that knows how to cut a download (`ota/fetch/tests/cuts.rs`).

use std::process::Stdio;

use anyhow::{Context, bail};

use crate::workspace::cargo;

const TEST: &str = "twenty_power_cuts_cost_less_than_five_percent";
const FIGURE: &str = "redownloaded_pct=";

/// Of a download that is cut twenty times, in per cent of its size.
pub fn redownloaded_percent() -> anyhow::Result<f64> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "holdfast-fetch", "--test", "cuts", "--", "--exact", TEST]);
    let output = command.stdin(Stdio::null()).output().context("cargo does not start")?;
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    if !output.status.success() {
        bail!("{TEST} fails:\n{said}");
    }
    let figure = said.split_whitespace().find_map(|word| word.strip_prefix(FIGURE)?.parse().ok());
    figure.with_context(|| format!("{TEST} no longer tells {FIGURE}:\n{said}"))
}
