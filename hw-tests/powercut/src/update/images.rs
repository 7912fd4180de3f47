//! Image after image of the story.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::judge::{Verdict, judge};
use super::story::Logged;
use crate::cuts::{Cut, Plan};
use crate::replay::Disk;
use crate::run::{each, mount};

/// So many images with something wrong are told in full.
const TOLD: usize = 12;

/// What all images came to.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Tally {
    /// Different moments at which the power went.
    pub cuts: u64,
    /// Images judged: of one moment several, by what the drive's cache has lost.
    pub images: u64,
    /// Images on which the plan's record could not be read or was older than what had been said.
    pub records_lost: u64,
    /// Ends of updates that were gone, or that the fleet would never hear of.
    pub results_lost: u64,
    /// Ends of updates that the fleet would hear again.
    pub results_told_twice: u64,
    /// Images on which no slot boots a whole system.
    pub two_bad_slots: u64,
    /// Images on which the boot order begins with half a system.
    pub half_systems_first: u64,
    /// Bundles that had been verified and were no longer whole.
    pub bundles_lost: u64,
    /// Images from which the plan came to no good end.
    pub stuck: u64,
    /// Images with anything wrong at all.
    pub images_bad: u64,
    /// Images in which a slot is half written, as in the middle of an installation.
    pub half_written: u64,
    /// Writes that did not arrive, or not whole, over all images.
    pub writes_lost: u64,
    /// Images that ext4 mounted only after `e2fsck -p`, as a box runs it at boot.
    pub images_repaired: u64,
    /// In which phases the box was, and how often.
    pub phases: BTreeMap<String, u64>,
    /// How long it took.
    pub seconds: f64,
    /// What was wrong, with the number of the image.
    pub problems: Vec<(u64, String)>,
}

/// Judges the images of some plans.
///
/// # Errors
/// The rig itself does not work.
pub fn images(logged: &Logged, directory: &Path, plans: &[Plan]) -> anyhow::Result<Tally> {
    let begun = Instant::now();
    let mut cuts: Vec<Cut> = plans.iter().flat_map(|plan| plan.cuts(&logged.log)).collect();
    cuts.sort_by_key(|cut| (cut.durable, cut.at, cut.number));
    let tally = Mutex::new(Tally::default());
    let told = &logged.told;
    let one = |directory: &Path, disk: &Disk, cut: &Cut, lost: usize| {
        let image = directory.join("image");
        disk.save(&image)?;
        let (verdict, repaired) = match mount(&image, &directory.join("data")) {
            Ok((mounted, repaired)) => (judge(mounted.path(), told, cut.at), repaired),
            Err(error) => {
                let problems = vec![format!("ext4 does not mount: {error:#}")];
                (Verdict { records_lost: 1, problems, ..Verdict::default() }, true)
            }
        };
        add(&mut tally.lock().unwrap_or_else(PoisonError::into_inner), cut, verdict, repaired, lost);
        Ok(())
    };
    let tell = || {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("  {} of {} images, {} of them bad", tally.images, cuts.len(), tally.images_bad);
    };
    each(&logged.base, &logged.log, &cuts, directory, Some(&tell), &one)?;
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.cuts = cuts.iter().map(|cut| cut.at).collect::<BTreeSet<_>>().len() as u64;
    tally.seconds = begun.elapsed().as_secs_f64();
    tally.problems.sort();
    Ok(tally)
}

fn add(tally: &mut Tally, cut: &Cut, verdict: Verdict, repaired: bool, lost: usize) {
    tally.images += 1;
    tally.records_lost += verdict.records_lost;
    tally.results_lost += verdict.results_lost;
    tally.results_told_twice += verdict.told_twice;
    tally.two_bad_slots += verdict.two_bad_slots;
    tally.half_systems_first += verdict.half_first;
    tally.bundles_lost += verdict.bundles_lost;
    tally.stuck += verdict.stuck;
    tally.images_bad += u64::from(!verdict.problems.is_empty());
    tally.half_written += u64::from(verdict.half_written);
    tally.writes_lost += lost as u64;
    tally.images_repaired += u64::from(repaired);
    *tally.phases.entry(verdict.phase).or_default() += 1;
    if !verdict.problems.is_empty() && tally.problems.len() < TOLD {
        tally.problems.push((cut.number, format!("{cut:?}: {}", verdict.problems.join("; "))));
    }
}
