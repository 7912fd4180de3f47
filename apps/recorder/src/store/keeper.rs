//! The thread that writes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_config::Storage;
use holdfast_dbus::{AlertCode, Error, ErrorCode};
use holdfast_journal::Journal;
use holdfast_records::{Checkpoint, EndTotals, Record};
use holdfast_segment::durable;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::catalog::{Catalog, count_closed};
use super::records::StateRecord;
use super::session_journal::{self, Opened};
use super::state_journal::StateJournal;
use super::summary::Summary;
use crate::alerts::Alerts;
use crate::guard::trouble::{self, Trouble};
use crate::session::Session;
use crate::{clock, storage};

/// Notes that wait for a storage that is gone.
const MAX_OWED: usize = 256;

/// Told when a job is done.
pub type Noted = oneshot::Sender<Result<(), Error>>;

/// What the thread is asked to do, in order.
#[derive(Debug)]
pub enum Job {
    /// Make a session's directory: durable, and nobody's before. `done` hears of the directory; the journal follows after.
    Create(Session, Noted),
    /// Take up the journal of a session that goes on; how long it had been before this boot, if it is of an earlier one.
    Reopen(Session, Option<u64>, Noted),
    /// Mend a session's journal: set aside what is damaged, add what the files know.
    Mend(String, oneshot::Sender<()>),
    /// Somebody asked for the end of this session: written down in two places before anything else.
    StopAsked(String),
    /// Write down what happened.
    Note(String, Record, Option<Noted>),
    /// The end of a session: adds the number of files to its totals, writes them down and tells them.
    Close(Closing),
    /// Remember for the next start.
    State(StateRecord, Option<Noted>),
    /// The storage is gone or read-only: nothing of it is held open, or it could not be unmounted, checked and mounted anew.
    LetGo,
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
        checkpoint: Option<Checkpoint>,
        alerts: Alerts,
    ) -> io::Result<Self> {
        // Full (1024) when the disk has stalled for long while much happens: then news about gaps and files is left out of the
        // journal (the files' own ledgers have it), and whoever waits for an answer is told to come back.
        let (jobs, mut receiver) = mpsc::channel(1024);
        let state = StateJournal::new(state);
        let mut thread = Thread { storage, catalog, state, trouble, checkpoint, alerts, open: None };
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
            Job::Create(_, done) | Job::Reopen(.., done) | Job::Note(.., Some(done)) | Job::State(_, Some(done)) => {
                let _ = done.send(Err(Self::busy()));
            }
            Job::Note(.., None)
            | Job::State(_, None)
            | Job::Close(_)
            | Job::Mend(..)
            | Job::StopAsked(_)
            | Job::LetGo => (),
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
    state: StateJournal,
    /// The recorder's copy of what the session it recorded last is.
    checkpoint: Option<Checkpoint>,
    alerts: Alerts,
    /// Told what the disk refuses.
    trouble: Trouble,
    open: Option<Open>,
}

/// The session being recorded.
struct Open {
    /// `None` while it can't be written.
    journal: Option<Journal<Record>>,
    /// What is in it, and what is owed to it.
    summary: Summary,
    /// What could not be written yet, oldest first. At most [`MAX_OWED`]: then the oldest are left out, and the files' own ledgers
    /// have them.
    owed: VecDeque<Record>,
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
            Job::Reopen(session, elapsed_ns, done) => {
                self.begin(&session);
                let record = Record::ResumedAt {
                    wall_ns: clock::wall_ns(),
                    boot_id: clock::boot_id().0,
                    mono_ns: clock::mono_ns(),
                    elapsed_ns: elapsed_ns.unwrap_or_default(),
                };
                let _ = done.send(self.note(&session.id, record));
            }
            Job::Mend(id, done) => {
                log_failure(&id, self.mend(&id));
                let _ = done.send(());
            }
            Job::StopAsked(id) => {
                log_failure(&id, self.note(&id, Record::StopAsked { wall_ns: clock::wall_ns() }));
                let _ = self.state.note(&StateRecord::Ended(id));
            }
            Job::Note(id, record, done) => {
                let noted = self.note(&id, record);
                match done {
                    Some(done) => {
                        if noted.is_err() {
                            self.owe_less(&id);
                        }
                        let _ = done.send(noted);
                    }
                    None => log_failure(&id, noted),
                }
            }
            Job::Close(closing) => self.close(closing),
            Job::State(record, done) => {
                let noted = self.state.note(&record);
                if let Some(done) = done {
                    let _ = done.send(noted);
                }
            }
            Job::LetGo => {
                if self.open.as_mut().and_then(|open| open.journal.take()).is_some() {
                    info!("the session's journal is closed until the storage is there again");
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
        self.open.take_if(|open| open.summary.id == id);
        let _ = self.state.note(&StateRecord::Ended(id));
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
        let known = self.checkpoint.take().filter(|known| known.id == session.id);
        let checkpoint = known.unwrap_or_else(|| Checkpoint {
            id: session.id.clone(),
            label: session.label.clone(),
            token: session.token.clone(),
            inputs: session.inputs.clone(),
            wall_ns: clock::wall_ns(),
            mono_ns: clock::mono_ns(),
            boot_id: clock::boot_id().0,
        });
        let opened = self.dir(&session.id).and_then(|dir| session_journal::open(&dir, &session.id, Some(&checkpoint)));
        let (journal, mut summary) = match opened {
            Ok(opened) => {
                self.tell(&session.id, &opened);
                (Some(opened.journal), Summary::of(&opened.records))
            }
            Err(error) => {
                error!(session = session.id, "no journal; the session is recorded without: {error}");
                let text = format!("session {} is recorded without a journal: {error}", session.id);
                self.alerts.raise(AlertCode::StateCorrupt, &session.id, text);
                (None, Summary::of(&[checkpoint.created()]))
            }
        };
        summary.id.clone_from(&session.id);
        self.catalog.put(Arc::new(summary.clone()));
        // What is in the one place is in the other, too.
        let checkpoint = Checkpoint {
            label: summary.label.clone(),
            token: summary.token.clone(),
            inputs: summary.inputs.clone(),
            ..checkpoint
        };
        self.open = Some(Open { journal, summary, owed: VecDeque::new() });
        self.checkpoint = Some(checkpoint.clone());
        let _ = self.state.note(&StateRecord::Current(checkpoint));
    }

    /// Somebody should know of what was damaged.
    fn tell(&self, id: &str, opened: &Opened) {
        if let Some(trouble) = &opened.trouble {
            self.alerts.raise(AlertCode::StateCorrupt, id, format!("the journal of session {id}: {trouble}"));
        }
    }

    /// Appends a record to a session's journal, open or not.
    fn note(&mut self, id: &str, record: Record) -> Result<(), Error> {
        if let Some(open) = self.open.as_mut().filter(|open| open.summary.id == id) {
            open.summary.note(&record);
            self.catalog.put(Arc::new(open.summary.clone()));
            open.owed.push_back(record);
            if open.owed.len() > MAX_OWED {
                open.owed.pop_front();
                warn!(session = id, "the storage is away for so long that a note is left out of the session's journal");
            }
            return self.pay(id);
        }
        let Some(known) = self.catalog.get(id) else {
            return Err(Error::new(ErrorCode::UnknownSession, format!("there is no session {id} on this storage")));
        };
        let dir = self.dir(id)?;
        // A session whose journal was lost gets a new one, from what its files say.
        let mut opened = session_journal::open(&dir, id, self.checkpoint.as_ref())?;
        self.tell(id, &opened);
        self.trouble.append(&mut opened.journal, &record)?;
        session_journal::keep_a_copy(&mut opened.journal, &dir, &record);
        let mut summary = if opened.rebuilt { Summary::of(&opened.records) } else { (*known).clone() };
        summary.note(&record);
        self.catalog.put(Arc::new(summary));
        Ok(())
    }

    /// Writes what is owed to the journal of the session being recorded.
    fn pay(&mut self, id: &str) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let dir = self.catalog.dir(id).unwrap_or_default();
        while let Some(record) = open.owed.front() {
            if let Some(journal) = &mut open.journal
                && self.trouble.append(journal, record).is_ok()
            {
                session_journal::keep_a_copy(journal, &dir, record);
            } else {
                // What is on disk is uncertain; opening again settles it, and for that the lock must be let go.
                open.journal = None;
                let opened = session_journal::open(&dir, id, self.checkpoint.as_ref())?;
                self.trouble.append(open.journal.insert(opened.journal), record)?;
            }
            open.owed.pop_front();
        }
        Ok(())
    }

    /// The newest note was refused to whoever asked for it: it is not owed.
    fn owe_less(&mut self, id: &str) {
        if let Some(open) = self.open.as_mut().filter(|open| open.summary.id == id) {
            open.owed.pop_back();
        }
    }

    /// Sets aside what is damaged of a session's journal and adds what its files know.
    fn mend(&mut self, id: &str) -> Result<(), Error> {
        if self.open.as_ref().is_some_and(|open| open.summary.id == id) {
            return Ok(());
        }
        let opened = session_journal::open(&self.dir(id)?, id, self.checkpoint.as_ref())?;
        self.tell(id, &opened);
        if opened.rebuilt {
            self.catalog.put(Arc::new(Summary::of(&opened.records)));
        }
        Ok(())
    }
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
        error!(session, "a note is not in the session's journal: {error}");
    }
}
