//! What opening a journal found.

use std::fmt;
use std::path::PathBuf;

/// What opening or reading a journal found. Its `Display` is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The journal.
    pub path: PathBuf,
    /// Where the records came from.
    pub source: Source,
    /// Generation of the file the records came from; grows by one with every compaction.
    pub generation: u64,
    /// Schema version of the file the records came from.
    pub schema_version: u32,
    /// Bytes of a record that was being appended when the process or the machine died: never promised, now cut off.
    pub torn_tail_bytes: u64,
    /// Damage, in the order it was met. Records after it are lost to this journal.
    pub damage: Vec<Damage>,
    /// Where damaged files were put. Empty when only reading.
    pub set_aside: Vec<PathBuf>,
    /// Why files could not be used at all, and were set aside as they were. Only from
    /// [`Journal::open_always`](crate::Journal::open_always).
    pub unusable: Vec<String>,
    /// False when the records are only the beginning of a compacted state, because nothing better was left.
    pub complete: bool,
}

/// Where the records of an opened journal came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// There was no journal: it was made now and is empty.
    New,
    /// The journal itself, all of it or up to the damage.
    Current,
    /// The generation before the last compaction: what was appended since then is lost.
    Previous,
}

/// A place where a file is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where the first damaged part begins.
    pub offset_bytes: u64,
    /// The part of the file this is in.
    pub part: &'static str,
    /// Whole records before the damage.
    pub records_before: u64,
    /// Bytes from there to the end that could not be used.
    pub lost_bytes: u64,
}

impl Report {
    /// Whether the journal was whole: nothing lost, nothing cut, nothing to tell anyone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty() && self.torn_tail_bytes == 0 && self.complete && self.unusable.is_empty()
    }

    /// Whether something is missing or was set aside that a crash alone does not explain: a torn tail was never promised.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.damage.is_empty() || !self.complete || !self.unusable.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if self.is_clean() {
            return match self.source {
                Source::New => write!(f, "{path}: new"),
                Source::Current | Source::Previous => write!(f, "{path}: whole"),
            };
        }
        let mut told = self.unusable.clone();
        if self.torn_tail_bytes > 0 {
            told.push(format!("the last append was cut short ({} bytes ignored)", self.torn_tail_bytes));
        }
        told.extend(self.damage.iter().map(ToString::to_string));
        if self.source == Source::Previous {
            told.push("went back to the generation before".to_owned());
        }
        if !self.complete {
            told.push("the state is incomplete since damage was found".to_owned());
        }
        told.extend(self.set_aside.iter().map(|kept| format!("what was there is kept as {}", kept.display())));
        write!(f, "{path}: {}", told.join("; "))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of {}: ", self.part, self.offset_bytes, self.path.display())?;
        write!(f, "{} records before it are good, {} bytes are lost", self.records_before, self.lost_bytes)
    }
}
