//! Opens any bytes as a journal, and journals whose records or bytes were spoilt.

use std::fs;
use std::path::Path;

use holdfast_journal::{Journal, Opened, Source, read};
use serde::de::Error as _;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NAME: &str = "session";
const SCHEMA: u32 = 1;

/// Like the recorder's own records: text, lists, numbers, options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Record {
    Created { id: String, inputs: Vec<String>, wall_ns: i64, boot_id: [u8; 16] },
    Closed { frames: u64, recovered: bool },
    Session(Option<String>),
    Last,
}

/// Bytes that are written as a record and are none: with them everything is right but what is inside.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Raw<'_> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("never read"))
    }
}

/// One input. Its first byte says what becomes of the rest.
pub fn run(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    crate::with_directory(|dir| {
        match how % 3 {
            0 => raw(dir, rest),
            1 => payloads(dir, rest),
            _ => spoilt(dir, rest),
        }
        open(dir);
        for entry in fs::read_dir(dir).expect("it is there") {
            fs::remove_file(entry.expect("nobody else is here").path()).expect("it is ours");
        }
    });
}

fn current(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("{NAME}.journal"))
}

/// A journal, and the generation before it, of any bytes.
fn raw(dir: &Path, bytes: &[u8]) {
    let (share, bytes) = bytes.split_first().unwrap_or((&255, &[]));
    let (one, other) = bytes.split_at(bytes.len() * usize::from(*share) / 255);
    fs::write(current(dir), one).expect("the directory takes files");
    if !other.is_empty() {
        fs::write(dir.join(format!("{NAME}.journal.prev")), other).expect("the directory takes files");
    }
}

/// Whole records, chained as they should be, of any content.
fn payloads(dir: &Path, bytes: &[u8]) {
    let mut journal = Journal::<Raw<'_>>::open(dir, NAME, SCHEMA).expect("a new journal").journal;
    for payload in bytes.split(|byte| *byte == 0xff) {
        journal.append(&Raw(payload)).expect("a small record");
    }
}

/// A good journal of two generations, in which bytes are overwritten and which is cut off: 4 bytes a change.
fn spoilt(dir: &Path, changes: &[u8]) {
    let created = || Record::Created { id: "s".into(), inputs: vec!["cam0".into()], wall_ns: 1, boot_id: [7; 16] };
    let mut journal = Journal::<Record>::open(dir, NAME, SCHEMA).expect("a new journal").journal;
    for record in [created(), Record::Closed { frames: 9, recovered: false }, Record::Session(None)] {
        journal.append(&record).expect("a small record");
    }
    journal.compact([created()]).expect("there is room");
    journal.append(&Record::Last).expect("a small record");
    drop(journal);
    for change in changes.chunks_exact(4) {
        let previous = change[0] & 1 == 1;
        let path = if previous { dir.join(format!("{NAME}.journal.prev")) } else { current(dir) };
        let Ok(mut bytes) = fs::read(&path) else { continue };
        let at = usize::from(u16::from_le_bytes([change[1], change[2]])) % bytes.len().max(1);
        match change[0] & 6 {
            0 => bytes.truncate(at),
            _ if bytes.is_empty() => {}
            _ => bytes[at] ^= change[3],
        }
        fs::write(&path, bytes).expect("the directory takes files");
    }
}

/// Reading changes nothing; opening repairs once and for all, and deletes nothing; what is refused stays as it was.
fn open(dir: &Path) {
    let before = fs::read(current(dir)).ok();
    let looked = read::<Record>(dir, NAME, SCHEMA);
    assert_eq!(fs::read(current(dir)).ok(), before, "reading has changed it");
    if let Ok(looked) = &looked {
        assert!(!looked.report.to_string().is_empty());
    }
    match Journal::<Record>::open(dir, NAME, SCHEMA) {
        Ok(Opened { mut journal, records, report }) => {
            if let Ok(looked) = looked {
                assert_eq!(looked.records, records, "reading and opening tell different stories");
            }
            let damaged = report.damage.iter().any(|damage| damage.path == current(dir));
            if let (true, Some(before), true) = (damaged, before, report.source != Source::New) {
                let kept = report.set_aside.iter().any(|path| fs::read(path).is_ok_and(|bytes| bytes == before));
                assert!(kept, "what was damaged is gone: {report}");
            }
            journal.append(&Record::Last).expect("it can be appended to");
            drop(journal);
            let again = Journal::<Record>::open(dir, NAME, SCHEMA).expect("it was open before");
            assert!(again.report.damage.is_empty() && again.report.torn_tail_bytes == 0, "{}", again.report);
            assert_eq!(again.records.len(), records.len() + 1);
            assert_eq!(again.records[..records.len()], records[..]);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(fs::read(current(dir)).ok(), before, "a refused file was changed: {error}");
        }
    }
}
