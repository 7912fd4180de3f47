//! What the leases are told, what they say, and what they are.

use super::{Id, Kind};

/// What the recorder does, as far as leases go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// A session is being recorded, begun or closed.
    pub recording: bool,
    /// If not: since when.
    pub quiet_since_ns: u64,
    /// How hard pressed the box is.
    pub strain: Strain,
}

/// How hard pressed the box is, as far as leases go by it. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    /// All is well.
    None,
    /// It warns.
    Some,
    /// It sheds load.
    Much,
    /// It sheds all it can.
    Most,
}

/// Someone wants a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// For what.
    pub kind: Kind,
    /// For people.
    pub reason: String,
    /// Who: a unique bus name.
    pub owner: String,
    /// For how long; the kind's default if nothing is said.
    pub duration_ns: Option<u64>,
    /// Wait if it can't be granted now. Otherwise it is refused.
    pub queue: bool,
    /// Recording and pressure don't matter, other leases do.
    pub overrides: bool,
    /// This owner may ask for that.
    pub may_override: bool,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: Id,
    /// What for.
    pub kind: Kind,
    /// For people.
    pub reason: String,
    /// Whose: a unique bus name.
    pub owner: String,
    /// Recording and pressure don't matter.
    pub overrides: bool,
    /// It does not wait. Never seen outside: such a lease is granted or gone.
    pub(super) impatient: bool,
    /// How it stands.
    pub state: State,
    /// How long it is held at most.
    pub duration_ns: u64,
    /// Until when, once granted; 0 before.
    pub deadline_ns: u64,
    /// Once revoked: until when it must have come to an end; 0 before.
    pub yield_by_ns: u64,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It waits.
    Queued,
    /// Go ahead.
    Granted,
    /// Come to an end now, and release it.
    Revoked,
    /// It should have come to an end, and has not said that it has.
    Overdue,
}

impl State {
    /// All, for tables.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Granted, Self::Revoked, Self::Overdue];

    /// As on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Granted => "granted",
            Self::Revoked => "revoked",
            Self::Overdue => "overdue",
        }
    }
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Someone wants a lease.
    Request(Request),
    /// Its owner has come to an end with it, or no longer wants it.
    Release {
        /// Which.
        id: Id,
        /// Who says so.
        owner: String,
    },
    /// An operator takes it back.
    Revoke {
        /// Which.
        id: Id,
    },
    /// An owner has left the bus.
    OwnerGone(String),
    /// A recording begins or has ended.
    Recording(bool),
    /// The box is pressed so hard.
    Strain(Strain),
    /// Time has passed.
    Tick,
}

/// Why a lease ends or must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// A recording begins.
    Recording,
    /// The box is pressed too hard.
    Pressure,
    /// An operator wants it.
    Operator,
    /// Its time is over.
    Deadline,
    /// Its owner has left the bus.
    OwnerGone,
    /// Its owner has released it.
    Released,
}

impl Why {
    /// As on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Pressure => "pressure",
            Self::Operator => "operator",
            Self::Deadline => "deadline",
            Self::OwnerGone => "owner-gone",
            Self::Released => "released",
        }
    }
}

/// What a lease waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// The end of the recording.
    Recording,
    /// The time of grace after a recording.
    Grace,
    /// The box is pressed too hard.
    Pressure,
    /// Another lease, which runs or came first.
    Lease(Id, Kind),
}

impl std::fmt::Display for WhyNot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recording => f.write_str("a recording is running"),
            Self::Grace => f.write_str("a recording has just ended, or the recorder has just started"),
            Self::Pressure => f.write_str("the box is under pressure"),
            Self::Lease(id, kind) => write!(f, "lease {id} ({}) comes first", kind.name()),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The request has become this lease, which waits; if it need not, `Granted` follows.
    Taken(Id),
    /// Tell its owner to go ahead.
    Granted(Id),
    /// Tell its owner to come to an end. It is over when the owner releases it, is gone, or at its deadline.
    Revoked(Id, Why),
    /// It did not come to an end in time: tell the operator.
    Overdue(Id),
    /// It is over, and gone from the list.
    Ended(Box<Lease>, Why),
    /// Whoever asked is refused.
    Refused(Refusal),
}

/// Why someone is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many leases, of all or of this owner.
    TooMany,
    /// Longer than the kind allows.
    TooLong,
    /// Not for this caller.
    MayNotOverride,
    /// It would have to wait, and does not want to. (The lease was this, for a moment.)
    NotNow(Id, WhyNot),
    /// There is no such lease.
    Unknown,
    /// It is another's lease.
    NotYours,
}
