//! What a soak has recorded, read file by file as soon as each is closed: retention takes them meanwhile.
//!
//! A file that goes must have been given up by the session's journal before, a session that goes must be the oldest. All else
//! is a loss, whatever the recorder says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_records::Record;

use crate::demo::account::{Account, account, frame_duration_ns};
use crate::demo::footage::Footage;

/// How often is looked for closed files. Retention keeps the newest of an input at least, so none is missed.
const LOOK: Duration = Duration::from_millis(250);

/// Reads along on a thread of its own, until it is dropped.
pub struct Librarian {
    books: Arc<Mutex<Books>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Librarian {
    /// `root`: the storage. `scratch`: a directory on another disk. `decode`: pictures have numbers.
    pub fn start(root: &Path, scratch: &Path, decode: bool) -> anyhow::Result<Self> {
        std::fs::create_dir_all(scratch).context("no directory for copies")?;
        let books = Books { root: root.to_owned(), scratch: scratch.to_owned(), decode, ..Books::default() };
        let (books, stop) = (Arc::new(Mutex::new(books)), Arc::new(AtomicBool::new(false)));
        let (reading, stopped) = (Arc::clone(&books), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("librarian".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut books = reading.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = books.look() {
                    books.complain(format!("{error:#}"));
                    return;
                }
                drop(books);
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(Self { books, stop, thread: Some(thread) })
    }

    /// The books; nobody writes in them meanwhile.
    pub fn open<T>(&self, with: impl FnOnce(&mut Books) -> T) -> T {
        with(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Librarian {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// All sessions by their ids, which sort by age.
#[derive(Debug, Default)]
pub struct Books {
    root: PathBuf,
    scratch: PathBuf,
    decode: bool,
    books: BTreeMap<String, Book>,
    complaints: Vec<String>,
}

/// One session.
#[derive(Debug, Default)]
struct Book {
    dir: PathBuf,
    /// What the files of each input hold, or held.
    footage: BTreeMap<String, Footage>,
    /// By input and name.
    files: BTreeMap<(String, String), File>,
    ended: bool,
    gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct File {
    frames: u64,
    /// Retention gave it up before it was read: only its frames are known.
    unread: bool,
    deleted: bool,
    /// It went while its session was being recorded.
    of_running: bool,
}

impl File {
    fn of(frames: u64) -> Self {
        Self { frames, unread: false, deleted: false, of_running: false }
    }
}

/// What became of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turnover {
    pub frames_on_disk: u64,
    pub frames_deleted: u64,
    pub files_on_disk: u64,
    pub files_deleted: u64,
    /// Of these, so many were of the session that was being recorded.
    pub of_running: u64,
    pub sessions_gone: u64,
    /// Of these nobody saw more than the journal's word.
    pub frames_unread: u64,
}

impl Books {
    /// What can't be: each is frames unaccounted for.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// Reads what has been closed since, and notes what has gone.
    fn look(&mut self) -> anyhow::Result<()> {
        for date in directories(&self.root)? {
            for dir in directories(&date)? {
                let Some(id) = dir.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
                self.read_new(&id, &dir)?;
            }
        }
        for id in self.books.keys().cloned().collect::<Vec<_>>() {
            self.note_gone(&id)?;
        }
        Ok(())
    }

    fn read_new(&mut self, id: &str, dir: &Path) -> anyhow::Result<()> {
        let book = self.books.entry(id.to_owned()).or_default();
        book.dir = dir.to_owned();
        for input in directories(dir)? {
            let of = name_of(&input);
            for path in files(&input)? {
                let key = (of.clone(), name_of(&path));
                if !key.1.ends_with(".mp4") || book.files.contains_key(&key) {
                    continue;
                }
                // Its blocks may be another file's in a moment.
                let copy = self.scratch.join(&key.1);
                match std::fs::copy(&path, &copy) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    copied => copied.with_context(|| format!("{} can't be copied", path.display()))?,
                };
                if !path.exists() {
                    continue;
                }
                let footage = book.footage.entry(of.clone()).or_default();
                let before = footage.pictures.len();
                footage.add(&copy, self.decode).with_context(|| path.display().to_string())?;
                let frames = (footage.pictures.len() - before) as u64;
                std::fs::remove_file(&copy)?;
                book.files.insert(key, File::of(frames));
            }
        }
        Ok(())
    }

    fn note_gone(&mut self, id: &str) -> anyhow::Result<()> {
        let older_is_there = self.books.range(..id.to_owned()).any(|(_, book)| !book.gone);
        let Some(book) = self.books.get_mut(id).filter(|book| !book.gone) else { return Ok(()) };
        // Looked at before the journal is read: what is not there by now has its record.
        let missing: Vec<(String, String)> = book
            .files
            .iter()
            .filter(|(key, file)| !file.deleted && !book.path(key).exists())
            .map(|(key, _)| key.clone())
            .collect();
        let records = match holdfast_records::read(&book.dir) {
            Ok(read) => read.records,
            Err(_) if !book.dir.exists() => {
                book.gone = true;
                book.files.values_mut().for_each(|file| file.deleted = true);
                let (ended, id) = (book.ended, id.to_owned());
                if !ended || older_is_there {
                    self.complain(format!("{id} has gone although it was recorded, or not the oldest"));
                }
                return Ok(());
            }
            // About to be removed with the session.
            Err(holdfast_journal::Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("the journal of {id}")),
        };
        let given_up: BTreeMap<(String, String), u64> = records
            .into_iter()
            .filter_map(|record| match record {
                Record::Deleted { input, file, frames, .. } => Some(((input, file), frames)),
                _ => None,
            })
            .collect();
        let mut complaints = Vec::new();
        for key in missing {
            let Some(file) = book.files.get_mut(&key) else { continue };
            (file.deleted, file.of_running) = (true, !book.ended);
            match given_up.get(&key) {
                None => complaints.push(format!("{key:?} of {id} has gone and nobody gave it up")),
                Some(frames) if *frames != file.frames => {
                    complaints
                        .push(format!("{key:?} of {id} was given up with {frames} frames and had {}", file.frames));
                }
                Some(_) => {}
            }
        }
        for (key, frames) in given_up {
            if !book.files.contains_key(&key) && !book.path(&key).exists() {
                book.files
                    .insert(key, File { unread: true, deleted: true, of_running: !book.ended, ..File::of(frames) });
            }
        }
        self.complaints.extend(complaints);
        Ok(())
    }

    /// The session is over: what each of its inputs amounts to, files that are gone included.
    pub fn settle(&mut self, id: &str, inputs: &[&str]) -> anyhow::Result<Vec<(String, Account)>> {
        self.look()?;
        let book = self.books.get_mut(id).with_context(|| format!("{id} is not there"))?;
        book.ended = true;
        let mut accounts = Vec::new();
        for input in inputs {
            let left = files(&book.dir.join(input))?.into_iter().find(|path| name_of(path).ends_with(".part"));
            if let Some(part) = left {
                bail!("{} was left open", part.display());
            }
            let mut footage = book.footage.remove(*input).unwrap_or_default();
            footage.pictures.sort_by_key(|picture| picture.mono_ns);
            let of_input = book.files.iter().filter(|((of, _), _)| of == input);
            let unread: u64 = of_input.filter(|(_, file)| file.unread).map(|(_, file)| file.frames).sum();
            // What was never read leaves a hole that is none.
            let dropped = footage.dropped + unread;
            let mut counted = account(&footage.pictures, &footage.gaps, frame_duration_ns(&footage.pictures), dropped);
            counted.safe_frames += unread;
            counted.lost_frames = counted.lost_frames.saturating_sub(unread);
            accounts.push(((*input).to_owned(), counted));
        }
        Ok(accounts)
    }

    /// At the end: what is there still holds what it held.
    pub fn read_again(&mut self) -> anyhow::Result<()> {
        let mut complaints = Vec::new();
        for (id, book) in self.books.iter().filter(|(_, book)| !book.gone) {
            for (key, file) in book.files.iter().filter(|(_, file)| !file.deleted) {
                let mut footage = Footage::default();
                let read = footage.add(&book.path(key), false);
                let frames = footage.pictures.len() as u64;
                // It may go at this moment.
                if book.path(key).exists() && (read.is_err() || frames != file.frames) {
                    complaints.push(format!("{key:?} of {id} had {} frames and has {frames}: {read:?}", file.frames));
                }
            }
        }
        self.complaints.extend(complaints);
        self.look()
    }

    /// So far.
    pub fn turnover(&self) -> Turnover {
        let mut sum = Turnover::default();
        for book in self.books.values() {
            sum.sessions_gone += u64::from(book.gone);
            for file in book.files.values() {
                if file.deleted {
                    (sum.files_deleted, sum.frames_deleted) = (sum.files_deleted + 1, sum.frames_deleted + file.frames);
                    sum.of_running += u64::from(file.of_running);
                    sum.frames_unread += if file.unread { file.frames } else { 0 };
                } else {
                    (sum.files_on_disk, sum.frames_on_disk) = (sum.files_on_disk + 1, sum.frames_on_disk + file.frames);
                }
            }
        }
        sum
    }
}

impl Book {
    fn path(&self, (input, name): &(String, String)) -> PathBuf {
        self.dir.join(input).join(name)
    }
}

/// Those that are not hidden; none where there is no directory (any more).
fn directories(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| path.is_file()).collect())
}

fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("{} can't be read", dir.display()))?,
    };
    let mut paths: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| !name_of(path).starts_with('.') && name_of(path) != "lost+found");
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
