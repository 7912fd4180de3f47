//! The plan's record on disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_journal::{Journal, Opened};
use holdfast_segment::durable;
use holdfast_update_plan::Record;
use tracing::warn;

const NAME: &str = "update";
/// Of [`Record`]: postcard, extended at the end of enums only.
const SCHEMA: u32 = 1;
/// Records that a file may hold before a new one is begun: each is all there is to know.
const MAX_RECORDS: u32 = 200;
/// There while the system that runs, or that the box reboots into, has to prove itself, with the boot name of its slot: for
/// `holdfast-trial-guard.timer`, which leaves such a system, and no other, where its updater can't even read the record.
const ON_TRIAL: &str = "on-trial";

/// Keeps the newest record.
#[derive(Debug)]
pub struct Store {
    journal: Journal<Record>,
    records: u32,
    directory: PathBuf,
}

impl Store {
    /// Opens it, and what was written last. Damage is fallen back from and told: an updater that does not start would be worse.
    ///
    /// # Errors
    /// The directory can't be used, or another updater runs.
    pub fn open(directory: &Path) -> anyhow::Result<(Self, Record)> {
        let opened = Journal::<Record>::open_always(directory, NAME, SCHEMA);
        let Opened { journal, records, report } =
            opened.with_context(|| format!("the updater's state in {} can't be used", directory.display()))?;
        if !report.is_clean() {
            warn!("the updater's state: {report}");
        }
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let store = Self { journal, records: count, directory: directory.to_owned() };
        let record = records.into_iter().next_back().unwrap_or_default();
        if record.phase.on_trial().is_none() {
            // A power cut came between the two: a system that has proven itself must not be taken for one that has not.
            store.unmark()?;
        }
        Ok((store, record))
    }

    /// Durable when this returns.
    ///
    /// # Errors
    /// The disk refuses it.
    pub fn save(&mut self, record: &Record) -> anyhow::Result<()> {
        // Until the record says that the trial is over, the mark says it isn't: with one too many an updater that runs has no trouble.
        if let Some(slot) = record.phase.on_trial() {
            self.mark(slot)?;
        }
        if self.records >= MAX_RECORDS {
            self.journal.compact([record]).context("the updater's state can't be written anew")?;
            self.records = 1;
        } else {
            self.journal.append(record).context("the updater's state can't be written")?;
            self.records += 1;
        }
        if record.phase.on_trial().is_none() {
            self.unmark()?;
        }
        Ok(())
    }

    /// Durable when this returns, and never half written.
    fn mark(&self, slot: &str) -> anyhow::Result<()> {
        let path = self.directory.join(ON_TRIAL);
        if fs::read_to_string(&path).is_ok_and(|marked| marked == slot) {
            return Ok(());
        }
        let new = path.with_extension("new");
        let written =
            fs::write(&new, slot).and_then(|()| File::open(&new)?.sync_all()).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("{} can't be written", path.display()))?;
        Ok(durable::sync_dir(&self.directory)?)
    }

    fn unmark(&self) -> anyhow::Result<()> {
        let path = self.directory.join(ON_TRIAL);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            removed => removed.with_context(|| format!("{} can't be removed", path.display()))?,
        }
        Ok(durable::sync_dir(&self.directory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_RECORDS, ON_TRIAL, Store};
    use holdfast_update_plan::{Bundle, Phase, Record};

    #[test]
    fn the_newest_record_is_there_again_however_many_there_were() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, record) = Store::open(dir.path()).unwrap();
        assert_eq!(record, Record::default());
        for number in 0..u64::from(MAX_RECORDS) * 2 + 3 {
            store.save(&Record { next_outcome: number, phase: Phase::Available, ..Record::default() }).unwrap();
        }
        drop(store);
        let (_, record) = Store::open(dir.path()).unwrap();
        assert_eq!(record.next_outcome, u64::from(MAX_RECORDS) * 2 + 2);
    }

    #[test]
    fn the_guard_is_told_while_a_system_has_to_prove_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        let bundle = Bundle { version: "2".to_owned(), manifest: "ab".to_owned() };
        let installed = Phase::Installed { bundle: bundle.clone(), target: "B".to_owned() };
        let trial = Phase::Trial { bundle, target: "B".to_owned(), boot_id: "x".to_owned(), boots: 1 };
        let told = [
            (installed, None),
            (trial.clone(), Some("B")),
            (trial, Some("B")),
            (Phase::Idle, None),
            (Phase::Idle, None),
        ];
        for (phase, told) in told {
            store.save(&Record { phase: phase.clone(), ..Record::default() }).unwrap();
            assert_eq!(std::fs::read_to_string(dir.path().join(ON_TRIAL)).ok().as_deref(), told, "{phase:?}");
        }
        // As a power cut leaves it that came when the record was written, and the mark not yet gone.
        drop(store);
        std::fs::write(dir.path().join(ON_TRIAL), "B").unwrap();
        drop(Store::open(dir.path()).unwrap());
        assert!(!dir.path().join(ON_TRIAL).exists());
    }
}
