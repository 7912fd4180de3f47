//! The thread that writes.

mod thread;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, TrySendError};

use holdfast_config::Storage;
use holdfast_dbus::{Error, ErrorCode};
use holdfast_journal::Journal;
use holdfast_records::{Checkpoint, EndTotals, Record};
use tokio::sync::oneshot;
use tracing::warn;

use super::catalog::Catalog;
use super::records::StateRecord;
use super::state_journal::StateJournal;
use crate::alerts::Alerts;
use crate::guard::trouble::Trouble;
use crate::session::Session;
use thread::Thread;

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
    jobs: mpsc::SyncSender<Job>,
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
        let (jobs, receiver) = mpsc::sync_channel(1024);
        let mut thread = Thread::new(storage, catalog, StateJournal::new(state), trouble, checkpoint, alerts);
        std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            while let Ok(job) = receiver.recv() {
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
        let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = error;
        match job {
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
