//! What is left of a cache by a cut or by damage, at every write, and that the file comes out of it whole and right.

use std::fs::{self, OpenOptions};
use std::path::Path;

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;

use super::*;

const CHUNK: u64 = 4096;
const CHUNKS: u64 = 9;
/// The last chunk is a short one.
const TOTAL: u64 = CHUNK * CHUNKS - 1000;

fn limits() -> CacheLimits {
    CacheLimits { margin_bytes: 0, chunk_bytes: 4096, ..CacheLimits::default() }
}

fn version() -> Version {
    Version { total_bytes: TOTAL, etag: Some("\"a\"".to_owned()), last_modified: None }
}

fn chunk_of(seed: u8, chunk: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(CHUNK.min(TOTAL - chunk * CHUNK)).unwrap()];
    let key = [seed, u8::try_from(chunk).unwrap()];
    blake3::Hasher::new().update(&key).finalize_xof().fill(&mut bytes);
    bytes
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

fn data_file(dir: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "raucb"))
}

/// Brings what is missing until all is there, as a fetch does, and gives how many chunks that took.
fn complete(dir: &Path, seed: u8) -> u64 {
    let cache = Cache::open(dir, limits()).unwrap();
    if cache.edition().is_none() {
        cache.begin("u", &version(), None).unwrap();
    }
    let epoch = cache.edition().unwrap().epoch;
    let mut fetched = 0;
    loop {
        while let Some(run) = cache.missing(None) {
            for chunk in run {
                cache.write(epoch, chunk, &chunk_of(seed, chunk)).unwrap();
                fetched += 1;
            }
            cache.sync().unwrap();
        }
        if (0..CHUNKS).all(|chunk| cache.read(epoch, chunk).unwrap().is_some()) {
            break;
        }
    }
    let holding = cache.holding().unwrap();
    assert_eq!((holding.safe_bytes, holding.total_bytes), (TOTAL, TOTAL));
    let whole = fs::read(holding.path).unwrap();
    let expected: Vec<u8> = (0..CHUNKS).flat_map(|chunk| chunk_of(seed, chunk)).collect();
    assert!(whole == expected, "the file differs");
    fetched
}

/// A cache in the middle of a download: what was synced of it, and what it has.
struct Station {
    dir: tempfile::TempDir,
    synced: u64,
    written: u64,
    /// Length of the journal before the last step.
    journal_before: u64,
}

fn journal_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join("fetch.journal")).unwrap().len()
}

/// A download that was begun over another's rest, stopped after every step.
fn stations() -> Vec<Station> {
    let dir = tempfile::tempdir().unwrap();
    complete(dir.path(), 9);
    let cache = Cache::open(dir.path(), limits()).unwrap();
    cache.begin("u", &version(), None).unwrap();
    let epoch = cache.edition().unwrap().epoch;
    let mut stations = vec![];
    let (mut synced, mut journal_before) = (0, journal_bytes(dir.path()));
    for chunk in 0..CHUNKS {
        cache.write(epoch, chunk, &chunk_of(1, chunk)).unwrap();
        let written = chunk + 1;
        stations.push(Station { dir: copy(dir.path()), synced, written, journal_before });
        if written % 3 == 0 || written == CHUNKS {
            cache.sync().unwrap();
            stations.push(Station { dir: copy(dir.path()), synced: written, written, journal_before });
            (synced, journal_before) = (written, journal_bytes(dir.path()));
        }
    }
    stations
}

/// The chunks from `first` on as a disk gives them that never got them: zeros, or what was there before.
fn lose(dir: &Path, first: u64, filler: u8) {
    use std::os::unix::fs::FileExt as _;
    let Some(path) = data_file(dir) else { return };
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for chunk in first..CHUNKS {
        let bytes = vec![filler; usize::try_from(CHUNK.min(TOTAL - chunk * CHUNK)).unwrap()];
        file.write_all_at(&bytes, chunk * CHUNK).unwrap();
    }
}

#[test]
fn a_cut_after_any_write_costs_what_was_not_synced_and_no_more() {
    for station in stations() {
        for (filler, lost_from) in [(0, station.synced), (0, station.written), (0xA5, station.synced)] {
            let dir = copy(station.dir.path());
            lose(dir.path(), lost_from, filler);
            let fetched = complete(dir.path(), 1);
            assert_eq!(fetched, CHUNKS - station.synced, "{} of {}", station.synced, station.written);
        }
    }
}

#[test]
fn a_cut_within_the_record_leaves_what_was_recorded_before() {
    let mut torn = 0;
    for station in stations() {
        let whole = journal_bytes(station.dir.path());
        for length in station.journal_before..whole {
            let dir = copy(station.dir.path());
            let journal = OpenOptions::new().write(true).open(dir.path().join("fetch.journal")).unwrap();
            journal.set_len(length).unwrap();
            let before = CHUNKS - (station.synced - 1) / 3 * 3;
            assert_eq!(complete(dir.path(), 1), before, "torn at {length} of {whole}");
            torn += 1;
        }
    }
    assert!(torn > 300, "{torn}");
}

/// The data goes first: where it can't be synced nothing is recorded, and nothing counts.
#[test]
fn no_record_without_a_sync_of_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = Disk::open(dir.path()).unwrap();
    // What takes all and can't be synced.
    let path = PathBuf::from("/dev/null");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let file = held::DataFile { file, path, chunk_bytes: CHUNK };
    disk.write(&file, 0, &chunk_of(1, 0)).unwrap();
    let before = journal_bytes(dir.path());
    let (chunks, result) = disk.sync(&file);
    assert!(matches!(result, Err(Error::Io { what: "sync", .. })), "{result:?}");
    assert_eq!((chunks, journal_bytes(dir.path())), (vec![0], before));
}

#[test]
fn a_cut_while_one_file_takes_the_place_of_another_leaves_one_or_none() {
    let dir = tempfile::tempdir().unwrap();
    complete(dir.path(), 9);
    let old = copy(dir.path());
    let cache = Cache::open(dir.path(), limits()).unwrap();
    cache.begin("u", &version(), None).unwrap();
    drop(cache);
    // The new data file is there, and the record still tells of the old one; or the other way round, with any of both gone.
    for (journal, data) in [(&old, &dir), (&dir, &old)] {
        let mixed = copy(journal.path());
        let other = data_file(data.path()).unwrap();
        let own = data_file(mixed.path()).unwrap();
        fs::copy(&other, mixed.path().join(other.file_name().unwrap())).unwrap();
        assert_eq!(Cache::open(mixed.path(), limits()).unwrap().holding().unwrap().path, own);
        assert!(data_file(mixed.path()).unwrap() == own, "the rest is deleted");
        fs::remove_file(own).unwrap();
        assert_eq!(complete(mixed.path(), 1), CHUNKS);
    }
}

/// One thing that happens to a cache's files.
#[derive(Debug, Clone)]
enum Harm {
    Flip { journal: bool, at: prop::sample::Index, bit: u8 },
    Cut { journal: bool, at: prop::sample::Index },
    Remove { journal: bool },
}

fn harms() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (any::<bool>(), at(), 0..8_u8).prop_map(|(journal, at, bit)| Harm::Flip { journal, at, bit }),
        2 => (any::<bool>(), at()).prop_map(|(journal, at)| Harm::Cut { journal, at }),
        1 => any::<bool>().prop_map(|journal| Harm::Remove { journal }),
    ]
}

fn harm(dir: &Path, harm: &Harm) {
    let path = |journal| if journal { Some(dir.join("fetch.journal")) } else { data_file(dir) };
    let (Harm::Flip { journal, .. } | Harm::Cut { journal, .. } | Harm::Remove { journal }) = harm;
    let Some(path) = path(*journal) else { return };
    let Ok(mut bytes) = fs::read(&path) else { return };
    match harm {
        Harm::Remove { .. } => return fs::remove_file(path).unwrap(),
        _ if bytes.is_empty() => return,
        Harm::Flip { at, bit, .. } => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Harm::Cut { at, .. } => bytes.truncate(at.index(bytes.len())),
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    /// Whatever happens to the files, in whatever order, the file that comes out is the right one.
    #[test]
    fn no_damage_gets_into_the_file(rounds in prop::collection::vec(prop::collection::vec(harms(), 1..4), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        complete(dir.path(), 1);
        for round in rounds {
            round.iter().for_each(|one| harm(dir.path(), one));
            complete(dir.path(), 1);
        }
    }
}
