//! What the thread does: a session's directory and journal, and the recorder's state.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_config::Storage;
use holdfast_dbus::{AlertCode, Error, ErrorCode};
use holdfast_journal::Journal;
use holdfast_records::{Checkpoint, Record};
use holdfast_segment::durable;
use tracing::{error, info, warn};

use super::{Closing, Job};
use crate::alerts::Alerts;
use crate::guard::trouble::{self, Trouble};
use crate::session::Session;
use crate::store::catalog::{Catalog, count_closed};
use crate::store::records::StateRecord;
use crate::store::session_journal::{self, Opened};
use crate::store::state_journal::StateJournal;
use crate::store::summary::Summary;
use crate::{clock, storage};

/// Notes that wait for a storage that is gone.
const MAX_OWED: usize = 256;

/// Carries out what the keeper is asked.
pub(super) struct Thread {
    storage: Storage,
    catalog: Arc<Catalog>,
    state: StateJournal,
    /// The recorder's copy of what the session it recorded last is.
    checkpoint: Option<Checkpoint>,
    alerts: Alerts,
    /// Told what the disk refuses.
    trouble: Trouble,
    open: Option<Open>,
    /// The session that was asked to stop last, once the state says that it is over.
    ended: Option<String>,
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
    /// A fallback copy of the journal is to be made.
    copy_due: bool,
}

impl Thread {
    pub(super) fn new(
        storage: Storage,
        catalog: Arc<Catalog>,
        state: StateJournal,
        trouble: Trouble,
        checkpoint: Option<Checkpoint>,
        alerts: Alerts,
    ) -> Self {
        Self { storage, catalog, state, trouble, checkpoint, alerts, open: None, ended: None }
    }

    pub(super) fn run(&mut self, job: Job) {
        self.carry_out(job);
        self.copy();
    }

    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Create(session, done) => {
                let made = self.make_directory(&session);
                let go_on = made.is_ok();
                let _ = done.send(made);
                if go_on {
                    // The captures are at work by now. A session whose journal fails is still recorded: its files know enough.
                    self.begin(&session, true);
                }
            }
            Job::Reopen(session, elapsed_ns, done) => {
                self.begin(&session, false);
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
                let noted = self.state.note(&StateRecord::Ended(id.clone()));
                self.ended = noted.is_ok().then_some(id);
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
        // Written down already where somebody has asked for this end.
        if self.ended.take_if(|ended| *ended == id).is_none() {
            let _ = self.state.note(&StateRecord::Ended(id.clone()));
        }
        // Before the answer: behind it nothing of the session is held open, so that whoever has it may unmount the storage, and nothing
        // is written that retention, which may delete the session from now on, could meet.
        self.copy();
        self.open.take_if(|open| open.summary.id == id);
        let _ = done.send(totals);
    }

    /// Makes the fallback copy that is due of what is recorded. Behind the answer to whoever waits: what was asked for is on disk, and
    /// a copy, which takes longer than a record, is for a disk that loses what it had.
    fn copy(&mut self) {
        if let Some(Open { journal: Some(journal), summary, copy_due, .. }) = &mut self.open
            && std::mem::take(copy_due)
        {
            session_journal::keep_a_copy(journal, &self.catalog.dir(&summary.id).unwrap_or_default());
        }
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

    /// Opens or makes a session's journal, and remembers the session as the current one. `is_new`: its directory is.
    fn begin(&mut self, session: &Session, is_new: bool) {
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
        let opened = self.dir(&session.id).and_then(|dir| {
            let created = is_new.then(|| session_journal::create(&dir, checkpoint.created())).flatten();
            created.map_or_else(|| session_journal::open(&dir, &session.id, Some(&checkpoint)), Ok)
        });
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
        self.open = Some(Open { journal, summary, owed: VecDeque::new(), copy_due: false });
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
        if session_journal::is_copy_due(&opened.journal, &record) {
            session_journal::keep_a_copy(&mut opened.journal, &dir);
        }
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
            let written = open.journal.as_mut().is_some_and(|journal| self.trouble.append(journal, record).is_ok());
            if !written {
                // What is on disk is uncertain; opening again settles it, and for that the lock must be let go.
                open.journal = None;
                let opened = session_journal::open(&dir, id, self.checkpoint.as_ref())?;
                self.trouble.append(open.journal.insert(opened.journal), record)?;
            }
            open.copy_due |= open.journal.as_ref().is_some_and(|journal| session_journal::is_copy_due(journal, record));
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
