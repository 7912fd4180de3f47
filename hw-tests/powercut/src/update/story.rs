//! What happens: one update that proves itself, and one that does not; the updater is killed in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use holdfast_hawkbit_server::Server;
use holdfast_update_plan::Record;
use sha2::{Digest as _, Sha256};

use super::heard::{Ear, Word};
use super::site::{STATE, Site};
use crate::disk::{LoggedDisk, Position};
use crate::log::Log;
use crate::replay::Disk;
use crate::station::Programs;

const DISK_BYTES: u64 = 1 << 30;
/// So much of a slot is looked at: what images fill of it.
pub const HEAD_BYTES: usize = 2 << 20;
/// What is written to a slot comes in such writes or larger ones; records and file system metadata don't.
const LARGE_BYTES: u64 = 64 << 10;
/// What the box runs before the first update.
pub const FACTORY: &str = "factory";
/// The release that does not prove itself.
pub const BAD: &str = "3.0";

/// The story, and what was promised in it.
pub struct Logged {
    /// The disk before anything was logged.
    pub base: Disk,
    /// All that was asked of it.
    pub log: Log,
    /// The first entry that is part of it.
    pub begin: usize,
    /// The entry behind the last.
    pub end: usize,
    /// What was promised.
    pub told: Promised,
    /// Where the disk was mounted.
    pub data: PathBuf,
    /// The box, at rest.
    pub site: Site,
}

impl Logged {
    /// Between the moments at which the first bundle was told to be good and to be installed. When the installation itself was told says
    /// less: it may have been over by then.
    #[must_use]
    pub fn installing(&self) -> (usize, usize) {
        let when = |wanted: &str| {
            let is_it = |word: &Word| matches!(word, Word::State(state) if state == wanted);
            let found = self.told.heard.iter().find(|(_, word)| is_it(word));
            found.and_then(|(position, _)| usize::try_from(position.0).ok())
        };
        let from = when("verified").or(when("installing")).unwrap_or(self.begin);
        (from, when("installed").unwrap_or(self.end))
    }

    /// From the first to the last large write of that: there the other slot is half written.
    #[must_use]
    pub fn writing(&self) -> (usize, usize) {
        let (from, to) = self.installing();
        let is_large = |entry: &usize| self.log.entries[*entry].bytes >= LARGE_BYTES;
        let last = (from..to).rfind(is_large);
        ((from..to).find(is_large).unwrap_or(from), last.map_or(to, |last| last + 1))
    }
}

/// What the judge holds images against.
#[derive(Debug)]
pub struct Promised {
    /// All records that were saved, in order.
    pub saved: Vec<Record>,
    /// What was heard, in order.
    pub heard: Vec<(Position, Word)>,
    /// What is whole: releases by the digest of the head of a slot.
    pub contents: BTreeMap<[u8; 32], String>,
    /// The digests of the bundles, by action.
    pub bundles: BTreeMap<u64, [u8; 32]>,
    /// RAUC's directory, below the disk.
    pub rig: PathBuf,
}

/// SHA-256 of the beginning of a file.
///
/// # Errors
/// It can't be read.
pub fn head(path: &Path, bytes: usize) -> anyhow::Result<[u8; 32]> {
    let data = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(Sha256::digest(&data[..bytes.min(data.len())]).into())
}

/// Plays it. `None`, told, where there can be no RAUC.
///
/// # Errors
/// Something does not work as it should even with the power on.
pub async fn play(programs: &Programs, server: &Server, directory: &Path) -> anyhow::Result<Option<Logged>> {
    let disk = LoggedDisk::start(&directory.join("disk"), DISK_BYTES)?;
    let data = disk.path().to_owned();
    let Some(mut site) = Site::prepare(programs, server, directory, &data).await? else { return Ok(None) };
    let mut contents = BTreeMap::new();
    for slot in 0..2 {
        contents.insert(head(site.rig.slot(slot), HEAD_BYTES)?, FACTORY.to_owned());
    }
    let (image, good, good_set) = site.release("2.0", 7).await?;
    contents.insert(head(&image, HEAD_BYTES)?, "2.0".to_owned());
    let (image, bad, bad_set) = site.release(BAD, 9).await?;
    contents.insert(head(&image, HEAD_BYTES)?, BAD.to_owned());
    let rig = site.rig.dir().strip_prefix(&data)?.to_owned();
    // What was there before is there.
    crate::process::run(std::process::Command::new("sync").arg("--file-system").arg(&data))?;
    let begin = usize::try_from(disk.position()?.0)?;

    let ear = Ear::start(site.rig.address(), disk.meter()?)?;
    site.start_recorder()?;
    site.start_updater().await?;
    let first = site.assign(good_set).await?;
    site.until("a reboot", async |site| Ok(site.would_reboot())).await?;
    let slot = site.rig.boot("primary");
    site.boot_into(&slot).await?;
    let mut words = vec![];
    site.until("the fleet is told", async |site| Ok(site.told(first).await? > 0)).await?;
    words.push((disk.position()?, Word::Told(first)));

    let second = site.assign(bad_set).await?;
    site.until("it downloads", async |site| Ok(site.state().await.is_some_and(|state| state == "downloading"))).await?;
    site.kill_updater();
    site.start_updater().await?;
    site.until("a reboot", async |site| Ok(site.would_reboot())).await?;
    // The new system does not record.
    site.end_recorder()?;
    let slot = site.rig.boot("primary");
    site.boot_into(&slot).await?;
    site.until("it is left", async |site| Ok(site.state().await.is_some_and(|state| state == "reverting"))).await?;
    site.start_recorder()?;
    site.until("a reboot", async |site| Ok(site.would_reboot())).await?;
    let slot = site.rig.boot("primary");
    site.boot_into(&slot).await?;
    site.until("the fleet is told", async |site| Ok(site.told(second).await? > 0)).await?;
    words.push((disk.position()?, Word::Told(second)));
    site.until("it is at rest", async |site| Ok(site.state().await.is_some_and(|state| state == "idle"))).await?;

    let results: Vec<String> = site.outcomes().await?.into_iter().map(|outcome| outcome.result).collect();
    ensure!(results == ["rolled-back", "good"], "the updates ended as {results:?}");
    for action in [first, second] {
        ensure!(site.told(action).await? == 1, "the fleet was told an end more than once");
    }
    site.end()?;
    let mut heard = ear.end()?;
    heard.extend(words);
    heard.sort_by_key(|(position, _)| *position);
    let saved = holdfast_journal::read::<Record>(data.join(STATE), "update", 1)?.records;
    let bundles =
        [(first, &good), (second, &bad)].map(|(action, bundle)| anyhow::Ok((action, head(bundle, usize::MAX)?)));
    let bundles = bundles.into_iter().collect::<anyhow::Result<_>>()?;
    let (base, log, end) = disk.finish()?;
    let told = Promised { saved, heard, contents, bundles, rig };
    Ok(Some(Logged { base, log, begin, end, told, data, site }))
}
