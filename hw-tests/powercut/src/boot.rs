//! An image before the programs themselves: does a recorder that starts on it find its sessions and state?

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cuts::{Cut, Fate, Pick, Plan};
use crate::log::Log;
use crate::namespace::Mounted;
use crate::replay::Disk;
use crate::station::{Programs, STORAGE, Station};
use crate::story::{Run, settings};

/// Starts a real recorder on so many images, spread over the run, with torn writes. Returns on how many it was done.
///
/// # Errors
/// A recorder does not come up, or does not know what it must.
pub fn boots(logged: &Run, programs: &Programs, directory: &Path, plan: &Plan, wanted: usize) -> anyhow::Result<usize> {
    let owes_records = |cut: &&Cut| !logged.claims.owed(cut.at).records.is_empty();
    let cuts: Vec<Cut> = plan.cuts(&logged.log).into_iter().filter(|cut| cut.fate == Fate::Torn).collect();
    let cuts: Vec<&Cut> = cuts.iter().filter(owes_records).collect();
    for number in 0..wanted.min(cuts.len()) {
        let cut = cuts[(number + 1) * cuts.len() / (wanted + 1)];
        let directory = directory.join(format!("boot{number}"));
        boot(logged, programs, &directory, cut)
            .with_context(|| format!("a recorder on image {}: {cut:?}", cut.number))?;
    }
    Ok(wanted.min(cuts.len()))
}

fn boot(logged: &Run, programs: &Programs, directory: &Path, cut: &Cut) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
    let disk = disk(&logged.base, &logged.log, cut);
    let image = directory.join("image");
    disk.save(&image)?;
    let mounted = Mounted::image(&image, &directory.join("data"))?;
    let station = Station::start(programs, directory, mounted.path(), &settings())?;
    let looked = look(logged, &station, mounted.path(), cut).with_context(|| station.last_words());
    station.kill();
    looked
}

/// What a cut leaves.
#[must_use]
pub fn disk(base: &Disk, log: &Log, cut: &Cut) -> Disk {
    let mut disk = base.clone();
    for entry in 0..cut.durable {
        disk.apply(log, &Pick { entry, sectors: None }, None);
    }
    cut.picks(log).iter().for_each(|pick| disk.apply(log, pick, None));
    disk
}

fn look(logged: &Run, station: &Station, data: &Path, cut: &Cut) -> anyhow::Result<()> {
    let sessions: Value = serde_json::from_str(&station.holdfast(&["--json", "sessions"])?)?;
    let sessions = sessions.as_array().context("no list of sessions")?;
    let owed = logged.claims.owed(cut.at);
    // The others are owed for as long as their journals are there, which the judge has seen to.
    let stays = |place: &str| !owed.gone.contains_key(place);
    for ((place, journal, text), records) in owed.records.iter().filter(|((place, ..), _)| stays(place)) {
        let Some(id) = place.rsplit('/').next().filter(|_| journal == "session") else { continue };
        let Some(session) = sessions.iter().find(|session| session["id"] == id) else {
            bail!("session {id} is not known");
        };
        let marks = session["marks"].as_u64().unwrap_or(0);
        if session["state"] == "unknown" || session["label"] == "" || marks < *records as u64 {
            bail!("session {id}: {records} of {text:?} were set; known is {session}");
        }
    }
    station.holdfast(&["verify", &data.join(STORAGE).display().to_string()])?;
    Ok(())
}
