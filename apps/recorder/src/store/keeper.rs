//! The thread that writes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_config::Storage;
use holdfast_dbus::{Error, ErrorCode};
use holdfast_journal::{Journal, Opened};
use holdfast_segment::durable;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::catalog::{Catalog, count_closed};
use super::records::{EndTotals, Record, SESSION_JOURNAL, SESSION_SCHEMA, STATE_JOURNAL, STATE_SCHEMA, StateRecord};
use super::summary::Summary;
use crate::guard::trouble::{self, Trouble};
use crate::session::Session;
use crate::{clock, storage};

/// A state journal longer than this is compacted.
const STATE_LIMIT_RECORDS: u64 = 1000;

/// Told when a job is done.
pub type Noted = oneshot::Sender<Result<(), Error>>;

/// What the thread is asked to do, in order.
#[derive(Debug)]
pub enum Job {
    /// Make a session's directory: durable, and nobody's before. `done` hears of the directory; the journal follows after.
    Create(Session, Noted),
    /// Take up the journal of a session that goes on.
    Reopen(Session, Noted),
    /// Write down what happened.
    Note(String, Record, Option<Noted>),
    /// The end of a session: adds the number of files to its totals, writes them down and tells them.
    Close(Closing),
    /// Remember for the next start.
    State(StateRecord, Option<Noted>),
}

/// How a session ends.
#[derive(Debug)]
pub struct Closing {
    /// Which session.
    pub id: String,
    /// Why it was interrupted; `None` for a Stop.
    pub interrupted: Option<String>,
    /// All but the number of files.
    pub totals: EndTotals,
    /// Told when it is written down, or could not be.
    pub done: oneshot::Sender<EndTotals>,
}

/// Hands jobs to the thread.
#[derive(Debug, Clone)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(
        storage: Storage,
        catalog: Arc<Catalog>,
        state: Option<Journal<StateRecord>>,
        trouble: Trouble,
    ) -> io::Result<Self> {
        // Full (1024) when the disk has stalled for long while much happens: then news about gaps and files is left out of the
        // journal (the files' own ledgers have it), and whoever waits for an answer is told to come back.
        let (jobs, mut receiver) = mpsc::channel(1024);
        let mut thread = Thread { storage, catalog, state, trouble, open: None };
        std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            while let Some(job) = receiver.blocking_recv() {
                thread.run(job);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Hands over a job; never waits.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] if too many wait.
    pub fn hand(&self, job: Job) -> Result<(), Error> {
        self.jobs.try_send(job).map_err(|_| Self::busy())
    }

    /// Hands over a job that someone waits for; if it can't be taken, they are told so.
    pub fn ask(&self, job: Job) {
        let Err(error) = self.jobs.try_send(job) else { return };
        match error.into_inner() {
            Job::Create(_, done) | Job::Reopen(_, done) | Job::Note(.., Some(done)) | Job::State(_, Some(done)) => {
                let _ = done.send(Err(Self::busy()));
            }
            Job::Note(.., None) | Job::State(_, None) | Job::Close(_) => (),
        }
    }

    /// What is told when a job can't be taken.
    fn busy() -> Error {
        Error::new(ErrorCode::Busy, "the disk does not keep up with the recorder's own notes; try again in a moment")
    }

    /// Writes something down; if that can't be, the log is told and nothing stops.
    pub fn note(&self, session: &str, record: Record) {
        if let Err(error) = self.hand(Job::Note(session.to_owned(), record, None)) {
            warn!(session, "a note is left out of the session's journal: {error}");
        }
    }
}

struct Thread {
    storage: Storage,
    catalog: Arc<Catalog>,
    state: Option<Journal<StateRecord>>,
    /// Told what the disk refuses.
    trouble: Trouble,
    /// The journal of the session being recorded, and what is in it.
    open: Option<(Option<Journal<Record>>, Summary)>,
}

impl Thread {
    fn run(&mut self, job: Job) {
        match job {
            Job::Create(session, done) => {
                let made = self.make_directory(&session);
                let go_on = made.is_ok();
                let _ = done.send(made);
                if go_on {
                    // The captures are at work by now. A session whose journal fails is still recorded: its files know enough.
                    self.begin(&session);
                }
            }
            Job::Reopen(session, done) => {
                self.begin(&session);
                let record = Record::Resumed { wall_ns: clock::wall_ns(), boot_id: clock::boot_id().0 };
                let _ = done.send(self.note(&session.id, record));
            }
            Job::Note(id, record, done) => {
                let noted = self.note(&id, record);
                match done {
                    Some(done) => drop(done.send(noted)),
                    None => log_failure(&id, noted),
                }
            }
            Job::Close(closing) => self.close(closing),
            Job::State(record, done) => {
                let noted = self.note_state(&record);
                if let Some(done) = done {
                    let _ = done.send(noted);
                }
            }
        }
    }

    fn close(&mut self, closing: Closing) {
        let Closing { id, interrupted, mut totals, done } = closing;
        let dir = self.catalog.dir(&id).unwrap_or_default();
        // What retention has given up was recorded all the same.
        let deleted = self.catalog.get(&id).map_or(0, |summary| summary.deleted_files());
        totals.files = count_closed(&dir) + deleted;
        let (wall_ns, written) = (clock::wall_ns(), totals.clone());
        let record = match interrupted {
            None => Record::Stopped { wall_ns, totals: written },
            Some(why) => Record::Interrupted { why, wall_ns, totals: written },
        };
        log_failure(&id, self.note(&id, record));
        self.open.take_if(|(_, summary)| summary.id == id);
        let _ = self.note_state(&StateRecord::Session(None));
        let _ = done.send(totals);
    }

    fn make_directory(&self, session: &Session) -> Result<(), Error> {
        // Measured now: the last look may be seconds old.
        if let Some(refusal) = storage::refusal(&self.storage, &storage::measure(&self.storage)) {
            return Err(refusal);
        }
        let dir = self.dir(&session.id)?;
        let date = dir.parent().unwrap_or(&dir);
        let what = format!("the session's directory {}", dir.display());
        let refused = |error: &(dyn std::error::Error + 'static)| {
            self.trouble.failed(&what, error);
            trouble::refusal(&self.storage.root, &what, error)
        };
        durable::create_dir_all(date).map_err(|error| refused(&error))?;
        std::fs::create_dir(&dir).map_err(|error| refused(&error))?;
        durable::sync_dir(date).map_err(|error| refused(&error))
    }

    fn dir(&self, id: &str) -> Result<PathBuf, Error> {
        self.catalog.dir(id).ok_or_else(|| Error::new(ErrorCode::UnknownSession, format!("{id} is no session id")))
    }

    /// Opens or makes a session's journal, and remembers the session as the current one.
    fn begin(&mut self, session: &Session) {
        let opened = self.dir(&session.id).and_then(|dir| {
            Journal::<Record>::open(dir, SESSION_JOURNAL, SESSION_SCHEMA)
                .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
        });
        let (mut journal, records) = match opened {
            Ok(Opened { journal, records, report }) => {
                if !report.is_clean() {
                    warn!(session = session.id, "{report}");
                }
                (Some(journal), records)
            }
            Err(error) => {
                error!(session = session.id, "no journal; the session is recorded without: {error}");
                (None, Vec::new())
            }
        };
        let mut summary = Summary::of(&records);
        if !matches!(records.first(), Some(Record::Created { .. })) {
            let created = Record::Created {
                id: session.id.clone(),
                label: session.label.clone(),
                token: session.token.clone(),
                inputs: session.inputs.clone(),
                wall_ns: clock::wall_ns(),
                mono_ns: clock::mono_ns(),
                boot_id: clock::boot_id().0,
            };
            summary.note(&created);
            if let Some(journal) = &mut journal {
                log_failure(&session.id, self.trouble.append(journal, &created));
            }
        }
        self.catalog.put(Arc::new(summary.clone()));
        self.open = Some((journal, summary));
        let _ = self.note_state(&StateRecord::Session(Some(session.id.clone())));
    }

    /// Appends a record to a session's journal, open or not.
    fn note(&mut self, id: &str, record: Record) -> Result<(), Error> {
        if let Some((journal, summary)) = self.open.as_mut().filter(|(_, summary)| summary.id == id) {
            summary.note(&record);
            self.catalog.put(Arc::new(summary.clone()));
            let Some(journal) = journal else { return Ok(()) };
            let noted = self.trouble.append(journal, &record);
            if noted.is_err()
                && let Ok(Opened { journal: again, .. }) = reopen(&self.catalog, id)
            {
                // What is on disk was uncertain; opening again has settled it.
                *journal = again;
                return self.trouble.append(journal, &record);
            }
            return noted;
        }
        let Some(known) = self.catalog.get(id) else {
            return Err(Error::new(ErrorCode::UnknownSession, format!("there is no session {id} on this storage")));
        };
        let Opened { mut journal, records, .. } =
            reopen(&self.catalog, id).map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let mut summary = (*known).clone();
        if records.is_empty() {
            // A session whose journal was lost gets a new one, from what its files say.
            let created = Record::Created {
                id: id.to_owned(),
                label: String::new(),
                token: String::new(),
                inputs: summary.inputs.clone(),
                wall_ns: summary.wall_ns,
                mono_ns: 0,
                boot_id: summary.boot_id,
            };
            self.trouble.append(&mut journal, &created)?;
        }
        self.trouble.append(&mut journal, &record)?;
        summary.note(&record);
        self.catalog.put(Arc::new(summary));
        Ok(())
    }

    fn note_state(&mut self, record: &StateRecord) -> Result<(), Error> {
        let Some(journal) = &mut self.state else {
            return Err(Error::new(ErrorCode::Internal, "the state directory can't be written to; see the log"));
        };
        let noted = journal.append(record).map_err(|error| {
            error!("{error}");
            Error::new(ErrorCode::Internal, error.to_string())
        });
        if journal.records() > STATE_LIMIT_RECORDS
            && let Ok(read) = holdfast_journal::read(journal_dir(journal), STATE_JOURNAL, STATE_SCHEMA)
            && let Err(error) = journal.compact(super::state::distilled(&read.records))
        {
            warn!("{error}");
        }
        noted
    }
}

fn journal_dir(journal: &Journal<StateRecord>) -> PathBuf {
    journal.path().parent().map(PathBuf::from).unwrap_or_default()
}

fn reopen(catalog: &Catalog, id: &str) -> holdfast_journal::Result<Opened<Record>> {
    Journal::open(catalog.dir(id).unwrap_or_default(), SESSION_JOURNAL, SESSION_SCHEMA)
}

impl Trouble {
    fn append(&self, journal: &mut Journal<Record>, record: &Record) -> Result<(), Error> {
        let appended = journal.append(record);
        match &appended {
            Ok(()) => self.fine(),
            Err(error) => self.failed("the session's journal", error),
        }
        appended.map_err(|error| Error::new(ErrorCode::StorageUnavailable, error.to_string()))
    }
}

fn log_failure(session: &str, noted: Result<(), Error>) {
    if let Err(error) = noted {
        error!(session, "a note is missing from the session's journal: {error}");
    }
}
