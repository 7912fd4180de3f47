//! The plan's record on disk.

use std::path::Path;

use anyhow::Context as _;
use holdfast_journal::{Journal, Opened};
use holdfast_update_plan::Record;
use tracing::warn;

const NAME: &str = "update";
/// Of [`Record`]: postcard, extended at the end of enums only.
const SCHEMA: u32 = 1;
/// Records that a file may hold before a new one is begun: each is all there is to know.
const MAX_RECORDS: u32 = 200;

/// Keeps the newest record.
#[derive(Debug)]
pub struct Store {
    journal: Journal<Record>,
    records: u32,
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
        Ok((Self { journal, records: count }, records.into_iter().next_back().unwrap_or_default()))
    }

    /// Durable when this returns.
    ///
    /// # Errors
    /// The disk refuses it.
    pub fn save(&mut self, record: &Record) -> anyhow::Result<()> {
        if self.records >= MAX_RECORDS {
            self.journal.compact([record]).context("the updater's state can't be written anew")?;
            self.records = 1;
            return Ok(());
        }
        self.journal.append(record).context("the updater's state can't be written")?;
        self.records += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_RECORDS, Store};
    use holdfast_update_plan::{Phase, Record};

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
}
