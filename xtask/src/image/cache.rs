//! Steps whose results lie in the user's cache, each under the hash of what went into it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::terminal;

/// So many results of each step are kept, and those that somebody works with: going back and forth between two states of the source
/// costs nothing.
const KEPT: usize = 3;
/// How the length of the part of a hash that names a directory was chosen: no two inputs of a person's life collide.
const HASH_CHARS: usize = 20;

/// What a step takes in.
#[derive(Debug, Default)]
pub struct Key(blake3::Hasher);

impl Key {
    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        // Lengths keep "ab", "c" apart from "a", "bc".
        self.0.update(&text.len().to_le_bytes());
        self.0.update(text);
        self
    }

    /// A file's content.
    pub fn file(self, path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
        Ok(self.text(bytes))
    }

    /// Names, modes and contents of all below a directory.
    pub fn tree(mut self, directory: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        for path in files_below(directory)? {
            let name = path.strip_prefix(directory).unwrap_or(&path);
            self = self.text(name.as_os_str().as_encoded_bytes());
            let metadata = fs::symlink_metadata(&path)?;
            self = if metadata.is_symlink() {
                self.text(fs::read_link(&path)?.as_os_str().as_encoded_bytes())
            } else {
                self.text(metadata.permissions().mode().to_le_bytes()).file(&path)?
            };
        }
        Ok(self)
    }

    fn name(&self) -> String {
        self.0.finalize().to_hex().as_str().chars().take(HASH_CHARS).collect()
    }
}

/// All files and links below a directory, in the order of their names.
pub fn files_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| format!("{} can't be read", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The directory of all results, held by one process at a time.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    _lock: File,
    told: Vec<Told>,
    in_use: InUse,
}

/// Results that are kept as long as this lives, whatever else is built meanwhile by whomever.
#[derive(Debug, Default)]
pub struct InUse(Vec<File>);

impl InUse {
    fn hold(&mut self, result: &Path) -> anyhow::Result<()> {
        let directory = File::open(result).with_context(|| format!("{} can't be opened", result.display()))?;
        directory.lock_shared().with_context(|| format!("{} can't be locked", result.display()))?;
        self.0.push(directory);
        Ok(())
    }
}

/// Somebody holds it.
fn is_in_use(result: &Path) -> bool {
    File::open(result).is_ok_and(|directory| directory.try_lock().is_err())
}

/// What became of a step.
#[derive(Debug)]
pub struct Told {
    pub step: &'static str,
    pub wall: Duration,
    /// Of the programs that it ran, in seconds. `None`: it was in the cache.
    pub cpu_s: Option<f64>,
}

impl Cache {
    /// Opens it, and waits for whoever builds now.
    pub fn open() -> anyhow::Result<Self> {
        Self::open_at(directory()?)
    }

    fn open_at(root: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("{} can't be made", root.display()))?;
        let lock = File::create(root.join("lock")).with_context(|| format!("{} can't be written", root.display()))?;
        if lock.try_lock().is_err() {
            terminal::note("another build of the image is under way: waiting for it");
            lock.lock().context("the cache can't be locked")?;
        }
        Ok(Self { root, _lock: lock, told: Vec::new(), in_use: InUse::default() })
    }

    /// A directory for what is no step's result.
    pub fn place(&self, name: &str) -> anyhow::Result<PathBuf> {
        let place = self.root.join(name);
        fs::create_dir_all(&place).with_context(|| format!("{} can't be made", place.display()))?;
        Ok(place)
    }

    /// Has `make` fill a directory, unless it was filled from the same input before.
    pub fn step(
        &mut self,
        name: &'static str,
        key: &Key,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let done = self.root.join(format!("{name}-{}", key.name()));
        let (start, cpu) = (Instant::now(), cpu_of_children());
        if done.exists() {
            // Newest is what was used last.
            File::open(&done)?.set_modified(std::time::SystemTime::now()).ok();
            self.in_use.hold(&done)?;
            terminal::good(&format!("{name}: in the cache"));
            self.told.push(Told { step: name, wall: start.elapsed(), cpu_s: None });
            return Ok(done);
        }
        terminal::step(&format!("image: {name}"));
        let new = self.root.join(format!("{name}.new"));
        remove(&new)?;
        fs::create_dir(&new).with_context(|| format!("{} can't be made", new.display()))?;
        make(&new).with_context(|| format!("step \"{name}\" of the image"))?;
        // What was unpacked into it may have set an old date, and the oldest go.
        File::open(&new)?.set_modified(std::time::SystemTime::now()).context("the cache can't be dated")?;
        fs::rename(&new, &done).with_context(|| format!("{} can't be named", done.display()))?;
        self.in_use.hold(&done)?;
        let told = Told { step: name, wall: start.elapsed(), cpu_s: Some(cpu_of_children() - cpu) };
        terminal::good(&format!(
            "{name}: {}, {:.0} s of CPU",
            terminal::duration(told.wall),
            told.cpu_s.unwrap_or_default()
        ));
        self.told.push(told);
        self.prune(name)?;
        Ok(done)
    }

    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// Lets others build. What this has made stays as long as what is returned.
    pub fn close(self) -> InUse {
        self.in_use
    }

    /// Removes the oldest results of a step that nobody works with.
    fn prune(&self, name: &str) -> anyhow::Result<()> {
        let mut results = Vec::new();
        for entry in fs::read_dir(&self.root)?.flatten() {
            let is_result = entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'))
                .is_some_and(|hash| hash.len() == HASH_CHARS && !hash.contains('-'));
            if is_result {
                results.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        results.sort();
        let superfluous = results.len().saturating_sub(KEPT);
        let old = results.iter().take(superfluous).filter(|(_, path)| !is_in_use(path));
        old.map(|(_, path)| path).try_for_each(|path| remove(path))
    }
}

/// Where everything lies.
pub fn directory() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("holdfast/appliance"))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} can't be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Seconds of CPU that ended programs of ours have used, and theirs.
pub fn cpu_of_children() -> f64 {
    // In hundredths of a second: what the kernel's USER_HZ is on every architecture with Linux' generic ABI.
    const TICKS_PER_S: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything; cutime and cstime are the fields 16 and 17 of proc(5).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(13) + ticks(14)) / TICKS_PER_S
}

/// The name of a path's last part as text.
pub fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Cache, InUse, KEPT, Key};

    #[test]
    fn what_somebody_works_with_stays_whatever_is_built_meanwhile() {
        let root = tempfile::tempdir().unwrap();
        let make = |input: usize| -> (PathBuf, InUse) {
            let mut cache = Cache::open_at(root.path().to_owned()).unwrap();
            let key = Key::default().text(input.to_le_bytes());
            let result = cache.step("slot", &key, |_: &Path| Ok(())).unwrap();
            (result, cache.close())
        };
        let (wanted, in_use) = make(0);
        let (superfluous, _) = make(1);
        let last: Vec<PathBuf> = (2..2 + KEPT).map(|input| make(input).0).collect();
        assert!(wanted.exists() && !superfluous.exists() && last.iter().all(|result| result.exists()));
        drop(in_use);
        make(2 + KEPT);
        assert!(!wanted.exists());
    }

    #[test]
    fn keys_tell_inputs_apart() {
        let directory = tempfile::tempdir().unwrap();
        let key = || Key::default().tree(directory.path()).unwrap().name();
        let empty = key();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        std::fs::write(directory.path().join("a/b"), "1").unwrap();
        let first = key();
        assert_ne!(empty, first);
        assert_eq!(first, key());
        std::fs::write(directory.path().join("a/b"), "2").unwrap();
        let second = key();
        assert_ne!(first, second);
        std::fs::rename(directory.path().join("a/b"), directory.path().join("a/c")).unwrap();
        assert_ne!(second, key());
        let text = |parts: &[&str]| parts.iter().fold(Key::default(), |key, part| key.text(part)).name();
        assert_ne!(text(&["ab", "c"]), text(&["a", "bc"]));
    }
}
