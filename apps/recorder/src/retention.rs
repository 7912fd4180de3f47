//! Which footage goes, and when: the pure core of retention.
//!
//! It is told what is on the storage and how much room there is, and answers with the files to give up, oldest first, up to
//! exactly the target, and with what stands in the way if the target can't be reached. It knows no disk and no clock.
//!
//! What never goes: a file that is open, a file of a protected session, a file of a session whose journal can't be read (it may
//! be protected), a file that is not archived where there is an archive, and of a session that is being recorded the newest
//! closed file of each input. Of one input's files always the oldest go, so that what stays has no holes.

use std::collections::BTreeMap;

/// What is to be kept; 0 switches a limit off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Footage that ended longer ago goes, seconds.
    pub age_s: u64,
    /// All footage together, bytes.
    pub total_bytes: u64,
    /// So much is to be free.
    pub free_bytes: u64,
    /// Where recordings are closed. Short of that, footage goes ahead of its time.
    pub stop_floor_bytes: u64,
    /// There is an archive: what is not in it stays.
    pub archive: bool,
}

impl Limits {
    /// Nothing is ever deleted if no limit is set.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.age_s > 0 || self.total_bytes > 0 || self.free_bytes > 0
    }

    /// Below this, footage goes ahead of its time: half as much again as where recordings are closed.
    #[must_use]
    pub fn emergency_below_bytes(&self) -> u64 {
        if self.is_on() { self.stop_floor_bytes.saturating_add(self.stop_floor_bytes / 2) } else { 0 }
    }

    /// And up to here.
    #[must_use]
    pub fn emergency_target_bytes(&self) -> u64 {
        self.stop_floor_bytes.saturating_mul(2)
    }
}

/// A session on the storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Guarded by somebody.
    pub protected: bool,
    /// Its journal can't be read: whether it is protected is not known.
    pub unreadable: bool,
    /// It is being recorded.
    pub recording: bool,
    /// Its files.
    pub files: Vec<File>,
}

/// A segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Of this input.
    pub input: String,
    /// Its place in the input's chain.
    pub sequence: u64,
    /// Its length.
    pub bytes: u64,
    /// When its footage ended, in seconds of Unix time: a label, good for ages of days.
    pub ended_s: i64,
    /// It is being written, or was cut off and is not recovered.
    pub open: bool,
    /// It is in the archive.
    pub archived: bool,
}

/// Why footage goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Older than it is kept.
    Age,
    /// More than is kept.
    Total,
    /// Too little is free.
    Free,
    /// So little is free that recordings would have to be closed.
    Emergency,
}

impl Cause {
    /// As on D-Bus and in journals.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Total => "total",
            Self::Free => "free",
            Self::Emergency => "emergency",
        }
    }
}

/// A file that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Place of its session in the list.
    pub session: usize,
    /// Its place among the session's files.
    pub file: usize,
    /// Why.
    pub cause: Cause,
}

/// The target can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// Which.
    pub cause: Cause,
    /// By so much.
    pub missing_bytes: u64,
    /// Footage of protected sessions.
    pub protected_bytes: u64,
    /// Footage that is not archived.
    pub unarchived_bytes: u64,
    /// Footage of sessions whose journal can't be read.
    pub unreadable_bytes: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// These go, in this order.
    pub victims: Vec<Victim>,
    /// And still a target is not reached.
    pub blocked: Option<Blocked>,
}

/// Decides.
///
/// `sessions`: all of them, oldest first. `free_bytes`: what can be written now. `now_s`: Unix time; `None` if the clock is not to
/// be trusted, and nothing goes for its age then.
#[must_use]
pub fn plan(sessions: &[Session], limits: &Limits, free_bytes: u64, now_s: Option<i64>) -> Plan {
    if !limits.is_on() {
        return Plan::default();
    }
    let order: Vec<(usize, usize)> = sessions
        .iter()
        .enumerate()
        .flat_map(|(at, session)| in_order(session, limits).into_iter().map(move |file| (at, file)))
        .collect();
    let mut choice = Choice { sessions, order, taken: BTreeMap::new(), next: 0, victims: Vec::new(), freed_bytes: 0 };
    if let Some(now_s) = now_s.filter(|_| limits.age_s > 0) {
        choice.take_old(now_s, limits.age_s);
    }
    let mut blocked = None;
    let all_bytes: u64 = sessions.iter().flat_map(|session| &session.files).map(|file| file.bytes).sum();
    if limits.total_bytes > 0 {
        let surplus = all_bytes.saturating_sub(limits.total_bytes);
        blocked = choice.take_until(surplus, Cause::Total).or(blocked);
    }
    if limits.free_bytes > 0 {
        let wanted = limits.free_bytes.saturating_sub(free_bytes);
        blocked = choice.take_until(wanted, Cause::Free).or(blocked);
    }
    if free_bytes.saturating_add(choice.freed_bytes) < limits.emergency_below_bytes() {
        let wanted = limits.emergency_target_bytes().saturating_sub(free_bytes);
        let missed = choice.take_until(wanted, Cause::Emergency);
        // Short of the target, but out of danger, is good enough.
        let in_danger = free_bytes.saturating_add(choice.freed_bytes) < limits.emergency_below_bytes();
        blocked = missed.filter(|_| in_danger).or(blocked);
    }
    let blocked = blocked.map(|blocked| in_the_way(sessions, limits, blocked));
    Plan { victims: choice.victims, blocked }
}

struct Choice<'s> {
    sessions: &'s [Session],
    /// All that may go, in the order in which it would.
    order: Vec<(usize, usize)>,
    taken: BTreeMap<(usize, usize), ()>,
    next: usize,
    victims: Vec<Victim>,
    freed_bytes: u64,
}

impl Choice<'_> {
    fn file(&self, (session, file): (usize, usize)) -> &File {
        &self.sessions[session].files[file]
    }

    fn take(&mut self, at: (usize, usize), cause: Cause) {
        if self.taken.insert(at, ()).is_none() {
            self.freed_bytes = self.freed_bytes.saturating_add(self.file(at).bytes);
            self.victims.push(Victim { session: at.0, file: at.1, cause });
        }
    }

    /// All that is too old. The first file of an input that is not ends it for that input: nothing goes from the middle.
    fn take_old(&mut self, now_s: i64, age_s: u64) {
        let mut young: BTreeMap<(usize, String), ()> = BTreeMap::new();
        for at in self.order.clone() {
            let file = self.file(at);
            let of = (at.0, file.input.clone());
            let age = u64::try_from(now_s.saturating_sub(file.ended_s)).unwrap_or(0);
            if age <= age_s {
                young.insert(of, ());
            } else if !young.contains_key(&of) {
                self.take(at, Cause::Age);
            }
        }
    }

    /// One after the other until so much goes in all.
    fn take_until(&mut self, bytes: u64, cause: Cause) -> Option<Blocked> {
        while self.freed_bytes < bytes {
            let Some(at) = self.order.get(self.next).copied() else {
                return Some(Blocked {
                    cause,
                    missing_bytes: bytes - self.freed_bytes,
                    protected_bytes: 0,
                    unarchived_bytes: 0,
                    unreadable_bytes: 0,
                });
            };
            self.next += 1;
            self.take(at, cause);
        }
        None
    }
}

/// The files of a session that may go, in the order in which they do: by the time they ended, and of each input in its sequence.
fn in_order(session: &Session, limits: &Limits) -> Vec<usize> {
    if session.protected || session.unreadable {
        return Vec::new();
    }
    let mut inputs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, file) in session.files.iter().enumerate() {
        inputs.entry(&file.input).or_default().push(at);
    }
    for files in inputs.values_mut() {
        files.sort_by_key(|at| session.files[*at].sequence);
        let may_go = |at: &&usize| {
            let file = &session.files[**at];
            !file.open && (file.archived || !limits.archive)
        };
        let mut length = files.iter().take_while(may_go).count();
        if session.recording {
            // Something of it stays to be looked at, and the next file names it as its predecessor.
            let newest_closed = files.iter().rposition(|at| !session.files[*at].open).unwrap_or(0);
            length = length.min(newest_closed);
        }
        files.truncate(length);
        files.reverse();
    }
    let mut order = Vec::new();
    loop {
        let heads = inputs.iter().filter_map(|(input, files)| Some((session.files[*files.last()?].ended_s, *input)));
        let Some((_, oldest)) = heads.min() else {
            return order;
        };
        order.extend(inputs.get_mut(oldest).and_then(Vec::pop));
    }
}

/// Says what could not go.
fn in_the_way(sessions: &[Session], limits: &Limits, mut blocked: Blocked) -> Blocked {
    for session in sessions {
        let closed = session.files.iter().filter(|file| !file.open);
        let bytes: u64 = closed.clone().map(|file| file.bytes).sum();
        if session.protected {
            blocked.protected_bytes += bytes;
        } else if session.unreadable {
            blocked.unreadable_bytes += bytes;
        } else if limits.archive {
            blocked.unarchived_bytes += closed.filter(|file| !file.archived).map(|file| file.bytes).sum::<u64>();
        }
    }
    blocked
}

#[cfg(test)]
mod tests;
