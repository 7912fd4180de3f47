//! What the plan is told, and what it says is to be done.

use crate::record::{Bundle, Offer, Outcome, Reason, Record, Source, Wish};

/// What the recorder gives leave for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permit {
    /// Fetching at a modest rate.
    Download,
    /// Writing a slot, and reading it back.
    Install,
    /// Changing the boot order, and rebooting.
    Reboot,
}

/// What becomes of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseNews {
    /// Go ahead.
    Granted,
    /// Come to an end: a recording begins, the box is pressed, or an operator wants it.
    Revoked,
    /// It is gone: the recorder has ended, or its time is over. Nothing may be done until there is another.
    Lost,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// Somebody, or the clock, wants to know whether there is an update.
    Check,
    /// There is one.
    Found(Offer),
    /// There is none there, or no longer: what was offered has been withdrawn, or the stick was pulled out.
    Nothing(Source),
    /// That can't be known now.
    CheckFailed(Reason),
    /// A person wants this one, and says how far it may go.
    Wanted(Offer),
    /// A person says how far the present one may go.
    Approved(Wish),
    /// It is no longer wanted.
    Cancelled,
    /// A person wants the other system back.
    GoBack,
    /// Of the lease that was asked for last.
    Lease(Permit, LeaseNews),
    /// The bundle is here, whole.
    Fetched,
    /// It can't be had. `Fetcher`s try for themselves; this is the end of it.
    FetchFailed(Reason),
    /// It was looked at, and the box with it: signature, fit, room, the other slot.
    Inspected(std::result::Result<Bundle, Reason>),
    /// RAUC has come to an end. The flag says whether another attempt may help.
    InstallEnded(std::result::Result<(), (Reason, bool)>),
    /// What was written was read back from the medium and compared.
    ReadBack(std::result::Result<(), Reason>),
    /// The boot order was changed.
    Activated(std::result::Result<(), Reason>),
    /// The boot order is again what it was.
    Deactivated(std::result::Result<(), Reason>),
    /// The box does not reboot.
    RebootFailed(Reason),
    /// The new system has proven itself, or not.
    Proven(std::result::Result<(), Reason>),
    /// The running system works, and RAUC has been told so; of the boots that are no trial.
    Confirmed,
    /// RAUC knows that it is good.
    MarkedGood(std::result::Result<(), Reason>),
    /// The fleet knows of this outcome.
    Told(u64),
}

/// What is to be done. In the order in which they come, each when the one before it has been begun; [`Command::Save`] when it has
/// been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Write this down, durably. If that fails nothing that follows may be done.
    Save(Record),
    /// Look whether there is an update.
    Check,
    /// Ask the recorder for this. Ends in [`Event::Lease`].
    Ask(Permit),
    /// It is no longer needed, or has been taken back and heeded.
    Release(Permit),
    /// Fetch the bundle, or go on with it.
    Fetch(Offer),
    /// Stop fetching; what is here stays.
    StopFetching,
    /// Look at the bundle and at the box.
    Inspect(Offer),
    /// Have RAUC write it.
    Install {
        /// What was fetched.
        offer: Offer,
        /// RAUC holds it to this hash, where it can.
        bundle: Bundle,
        /// The slot that it must go to.
        target: String,
    },
    /// Hold RAUC still, or let it go on: it has no way of being cancelled.
    Freeze(bool),
    /// Read the slot from the medium and compare.
    ReadBack {
        /// Which, by its boot name.
        target: String,
    },
    /// Have the box boot this slot next.
    Activate {
        /// Which.
        target: String,
    },
    /// Have it boot the slot that runs now, and never the other by itself: that one has proven nothing.
    Deactivate,
    /// Mark the running slot bad and have the box boot the other.
    Forsake,
    /// Reboot, in good order.
    Reboot {
        /// For the journal and for whoever is logged in.
        why: String,
    },
    /// Find out whether this system does what it is for.
    Prove,
    /// Tell RAUC that it does.
    MarkGood,
    /// Tell RAUC that this boot has succeeded, once the box does what it is for: boot loaders count attempts, also of systems that
    /// have proven themselves long ago. Ends in [`Event::Confirmed`]; tried until it does.
    Confirm,
    /// Tell whoever offered it, until they know. Ends in [`Event::Told`].
    Tell(Outcome),
    /// What was fetched is no longer needed.
    Discard,
}
