//! A session that may go on, and what its files say of when and how it ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::{Last, Survey};
use crate::clock;
use crate::resume::since_earlier_boot;
use crate::store::{End, Summary};

/// A session that may go on, and what its files say.
pub struct Candidate {
    /// What its journal says.
    pub summary: Arc<Summary>,
    /// By input.
    pub surveys: BTreeMap<String, Survey>,
}

impl Candidate {
    /// Its journal has no end, or can't be read and the session was not ended by a stop.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.summary.end, End::Open | End::Unknown)
    }

    /// The newest file of all inputs.
    pub fn last(&self) -> Option<&Last> {
        self.surveys.values().filter_map(|survey| survey.last.as_ref()).max_by_key(|last| last.end_wall_ns)
    }

    /// How long ago its last footage was made safe.
    pub fn age_ns(&self) -> Option<u64> {
        let last = self.last();
        let boot_id = last.map_or(self.summary.boot_id, |last| last.boot_id);
        if boot_id == clock::boot_id().0 {
            let then = last.map_or(self.summary.mono_ns, |last| last.end_mono_ns);
            return Some(clock::mono_ns().saturating_sub(then));
        }
        let then = last.map_or(self.summary.wall_ns, |last| last.end_wall_ns);
        since_earlier_boot(then, clock::wall_ns(), clock::uptime_ns())
    }

    /// How long it was, over all boots, without the breaks between them. What retention has given up counts: it was recorded.
    pub fn elapsed_ns(&self) -> u64 {
        let mut boots: Vec<([u8; 16], u64, u64)> = Vec::new();
        for (boot_id, start, end) in self.surveys.values().flat_map(|survey| &survey.boots) {
            match boots.iter_mut().find(|(known, ..)| known == boot_id) {
                Some((_, from, to)) => (*from, *to) = ((*from).min(*start), (*to).max(*end)),
                None => boots.push((*boot_id, *start, *end)),
            }
        }
        let spans = boots.iter().map(|(_, start, end)| end.saturating_sub(*start));
        let by_files = spans.fold(0, u64::saturating_add);
        // A session that is known by its files alone says nothing of when its last boot took it up.
        let last_boot = boots.iter().find(|(boot, ..)| *boot == self.summary.boot_id && self.summary.mono_ns > 0);
        let in_last_boot = last_boot.map_or(0, |(_, _, end)| end.saturating_sub(self.summary.mono_ns));
        by_files.max(self.summary.elapsed_ns.saturating_add(in_last_boot))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use holdfast_records::Record;

    use super::Candidate;
    use crate::startup::disk::Survey;
    use crate::store::Summary;

    #[test]
    fn what_retention_has_given_up_lasted_all_the_same() {
        // 100 s in earlier boots, of which no file is left; then resumed 20 s after a boot, and safe until its 50th second.
        let resumed = Record::ResumedAt { wall_ns: 0, boot_id: [2; 16], mono_ns: 20, elapsed_ns: 100 };
        let summary = Arc::new(Summary::of(&[resumed]));
        let mut survey = Survey::default();
        survey.boots.push(([2; 16], 40, 50));
        let candidate = Candidate { summary, surveys: BTreeMap::from([("cam0".to_owned(), survey)]) };
        assert_eq!(candidate.elapsed_ns(), 130);
    }
}
