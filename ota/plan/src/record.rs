//! What is written down, and survives power cuts. Its postcard form is kept: extend enums at the end.

use serde::{Deserialize, Serialize};

/// Outcomes that are kept for people.
const KEPT_OUTCOMES: usize = 20;
/// Bundles that are remembered as bad. Older ones are of releases that nobody offers any more.
const KEPT_BAD: usize = 32;

/// All that the plan knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// How far the update is.
    pub phase: Phase,
    /// What is being worked on; `None` when idle, and where a person went back to the other system.
    pub offer: Option<Offer>,
    /// How far a person of this box has said that it may go.
    pub approved: Wish,
    /// It is no longer wanted, and ends as soon as it can.
    pub cancelled: bool,
    /// Manifest hashes of bundles that did not prove themselves, oldest first.
    pub bad: Vec<String>,
    /// How updates have ended, oldest first.
    pub outcomes: Vec<Outcome>,
    /// The number of the next outcome.
    pub next_outcome: u64,
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// There is one to be had.
    Available,
    /// It is being fetched.
    Downloading,
    /// It is here, signed by whom it should be, and fits this box.
    Verified {
        /// What it is.
        bundle: Bundle,
        /// How often it was tried to install it.
        attempts: u8,
    },
    /// RAUC writes it. From here on the other slot is no longer what it was.
    Installing {
        /// What.
        bundle: Bundle,
        /// The slot it goes to, by its boot name.
        target: String,
        /// How often it was tried, this time included.
        attempts: u8,
    },
    /// Written, and read back from the medium. The box still boots the present system.
    Installed {
        /// What.
        bundle: Bundle,
        /// Where.
        target: String,
    },
    /// The boot order is being changed, or changed back.
    Activating {
        /// What.
        bundle: Bundle,
        /// Where.
        target: String,
        /// The boot in which this was begun.
        boot_id: String,
    },
    /// The next boot will be into the new system.
    AwaitingReboot {
        /// What.
        bundle: Bundle,
        /// Where.
        target: String,
        /// The boot in which this was begun.
        boot_id: String,
    },
    /// The new system runs, and has to prove itself.
    Trial {
        /// What.
        bundle: Bundle,
        /// Where.
        target: String,
        /// The boot that is on trial.
        boot_id: String,
        /// How many boots this trial has taken.
        boots: u8,
    },
    /// The box goes back to the system before.
    Reverting {
        /// What is left; `None` where a person wants the other system back.
        bundle: Option<Bundle>,
        /// The slot that is left.
        from: String,
        /// The boot in which this was begun.
        boot_id: String,
        /// Why.
        reason: Reason,
    },
}

impl Phase {
    /// For D-Bus and people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Available => "available",
            Self::Downloading => "downloading",
            Self::Verified { .. } => "verified",
            Self::Installing { .. } => "installing",
            Self::Installed { .. } => "installed",
            Self::Activating { .. } => "activating",
            Self::AwaitingReboot { .. } => "awaiting-reboot",
            Self::Trial { .. } => "trial",
            Self::Reverting { .. } => "reverting",
        }
    }

    /// The slot, by its boot name, of a system that has not proven itself: it runs, or the next boot is one into it.
    #[must_use]
    pub fn on_trial(&self) -> Option<&str> {
        match self {
            Self::Activating { target, .. } | Self::AwaitingReboot { target, .. } | Self::Trial { target, .. } => {
                Some(target)
            }
            // A person who goes back leaves a system that has.
            Self::Reverting { from, bundle: Some(_), .. } => Some(from),
            _ => None,
        }
    }
}

/// An update that can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// From where.
    pub origin: Origin,
    /// Its release, as whoever offers it says. What the bundle itself says is in [`Bundle`].
    pub version: String,
    /// Its size in bytes, where that is known.
    pub size_bytes: Option<u64>,
    /// How far whoever offers it lets it go by itself.
    pub wish: Wish,
    /// Also if it is known not to prove itself here: a person has said so.
    pub force: bool,
}

/// Where an update comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A file on this box.
    File(String),
    /// A file on a stick that was plugged in: what tells it from others.
    Usb(String),
    /// An HTTPS address.
    Url(String),
    /// The fleet's server: the number of its action.
    Fleet(u64),
    /// A channel: where its bundle is, and what that must be.
    Channel {
        /// Its HTTPS address.
        url: String,
        /// Its SHA-256.
        sha256: [u8; 32],
    },
}

impl Origin {
    /// What offers it; `None`: a person has named it.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::File(_) | Self::Url(_) => None,
            Self::Usb(_) => Some(Source::Usb),
            Self::Fleet(_) => Some(Source::Fleet),
            Self::Channel { .. } => Some(Source::Channel),
        }
    }

    /// For D-Bus and people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Usb(_) => "usb",
            Self::Url(_) => "url",
            Self::Fleet(_) => "fleet",
            Self::Channel { .. } => "channel",
        }
    }
}

/// Who offers updates without being asked. Ordered: what a greater one offers takes the place of what a lesser one does, as long as
/// nothing has been done about that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A file on a server that any box may read.
    Channel,
    /// The fleet's server.
    Fleet,
    /// A stick that a person has plugged in.
    Usb,
}

/// How far an update goes without a person of this box. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Wish {
    /// It is only told that there is one.
    #[default]
    Tell,
    /// It is fetched.
    Download,
    /// It is written to the other slot.
    Install,
    /// The box boots it.
    Reboot,
}

/// What a bundle says of itself, after its signature was found to be good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Its release.
    pub version: String,
    /// SHA-256 of its manifest, hexadecimal: what it is known by.
    pub manifest: String,
}

/// How an update has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Counts up, so that none is told twice.
    pub number: u64,
    /// What it was; `None` where a person went back.
    pub offer: Option<Offer>,
    /// What it turned out to be, once that was known.
    pub bundle: Option<Bundle>,
    /// How.
    pub result: Result,
    /// When, Unix time in seconds: a label.
    pub at_unix_s: i64,
    /// Whoever offered it knows.
    pub told: bool,
}

/// How an update ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Result {
    /// It runs, and has proven itself.
    Good,
    /// The box is back on the system before.
    RolledBack(Reason),
    /// It did not come to a boot.
    Failed(Reason),
    /// It is no longer wanted.
    Cancelled,
}

/// Why something did not go well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A stable word for programs, such as `signature` or `input-silent`.
    pub code: String,
    /// For people: what happened, and what to do.
    pub text: String,
}

impl Reason {
    /// With these words.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into() }
    }
}

impl Record {
    /// A bundle that did not prove itself here.
    #[must_use]
    pub fn is_bad(&self, bundle: &Bundle) -> bool {
        self.bad.contains(&bundle.manifest)
    }

    /// The bundle that is worked on, once it is known.
    #[must_use]
    pub fn bundle(&self) -> Option<&Bundle> {
        match &self.phase {
            Phase::Verified { bundle, .. }
            | Phase::Installing { bundle, .. }
            | Phase::Installed { bundle, .. }
            | Phase::Activating { bundle, .. }
            | Phase::AwaitingReboot { bundle, .. }
            | Phase::Trial { bundle, .. } => Some(bundle),
            Phase::Reverting { bundle, .. } => bundle.as_ref(),
            Phase::Idle | Phase::Available | Phase::Downloading => None,
        }
    }

    /// What is under way has come to its end.
    pub(crate) fn end(&mut self, result: Result, at_unix_s: i64) {
        let bundle = self.bundle().cloned();
        if let (Result::RolledBack(_), Some(bundle)) = (&result, &bundle) {
            self.remember_bad(bundle.manifest.clone());
        }
        let offer = self.offer.take();
        // Only the fleet waits to be told; whoever is at the box looks.
        let told = !matches!(&offer, Some(Offer { origin: Origin::Fleet(_), .. }));
        let outcome = Outcome { number: self.next_outcome, offer, bundle, result, at_unix_s, told };
        self.next_outcome += 1;
        self.outcomes.push(outcome);
        while self.outcomes.len() > KEPT_OUTCOMES {
            // One that the fleet does not know yet outlives those that it knows.
            let oldest = self.outcomes.iter().position(|outcome| outcome.told).unwrap_or(0);
            self.outcomes.remove(oldest);
        }
        (self.phase, self.approved, self.cancelled) = (Phase::Idle, Wish::Tell, false);
    }

    fn remember_bad(&mut self, manifest: String) {
        self.bad.retain(|known| *known != manifest);
        self.bad.push(manifest);
        let excess = self.bad.len().saturating_sub(KEPT_BAD);
        self.bad.drain(..excess);
    }
}
