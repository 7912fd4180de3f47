//! The task that owns the leases: feeds them with calls, with what the recorder does and with time, and tells what follows.
//!
//! It listens to the recorder's state like everyone else. A Start does not know of it, and never waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{AlertCode, Error, ErrorCode};
use holdfast_log::Trace;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::alerts::Alerts;
use crate::clock;
use crate::facade::RecorderView;
use crate::leases::{Command, Event, Id, Kind, Lease, Leases, Refusal, Request, State, Strain, Why};

/// How a call ends.
type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What can be asked.
#[derive(Debug)]
pub enum Ask {
    /// A lease.
    Request {
        /// Which.
        request: Request,
        /// Whose process.
        client: Client,
        /// Follows this call through all logs.
        trace: Trace,
        /// Its number, and how it stands now.
        answer: Answer<(Id, State)>,
    },
    /// It is no longer needed.
    Release {
        /// Which.
        id: Id,
        /// Who says so.
        owner: String,
        /// Done.
        answer: Answer<()>,
    },
    /// An operator takes it back.
    Revoke {
        /// Which.
        id: Id,
        /// Who.
        by: String,
        /// Done.
        answer: Answer<()>,
    },
    /// An owner has left the bus.
    Gone(String),
}

/// The process that holds a lease, as the bus knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Client {
    /// 0 if it is not known.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// A lease as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// All of it.
    pub lease: Lease,
    /// Whose process.
    pub client: Client,
    /// When it was asked for, Unix time in nanoseconds; a label.
    pub since_wall_ns: i64,
    /// Why it waits, for people; empty if it does not.
    pub waits_for: String,
}

/// Something to be told.
#[derive(Debug, Clone)]
pub enum LeaseNews {
    /// Go ahead.
    Granted(Id, Kind),
    /// Come to an end.
    Revoked(Id, Kind, Why),
    /// It is over.
    Ended(Id, Kind, Why),
}

/// Where one asks, and looks.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The mailbox. Full (64): the caller is told Busy; the end of an owner is waited for with.
    pub asks: mpsc::Sender<Ask>,
    /// All leases, oldest first.
    pub shown: watch::Receiver<Arc<Vec<LeaseView>>>,
    /// How often what has happened since the recorder started.
    pub tally: watch::Receiver<LeaseTally>,
}

/// Counts since the recorder started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseTally {
    /// Granted, by kind.
    pub granted: BTreeMap<Kind, u64>,
    /// Told to come to an end, by kind and cause.
    pub revoked: BTreeMap<(Kind, Why), u64>,
}

/// See the module.
pub struct Lessor {
    leases: Leases,
    asks: mpsc::Receiver<Ask>,
    view: watch::Receiver<RecorderView>,
    strain: watch::Receiver<Strain>,
    alerts: Alerts,
    /// Those that this has raised.
    raised: BTreeSet<(AlertCode, String)>,
    /// Beside what the leases know themselves.
    clients: BTreeMap<Id, (Client, i64)>,
    shown: watch::Sender<Arc<Vec<LeaseView>>>,
    tally: watch::Sender<LeaseTally>,
    /// Full (256): the signal is left out with a warning; properties and lists have it all the same.
    news: mpsc::Sender<LeaseNews>,
}

impl Lessor {
    /// [`Lessor::run`] it in a task of its own.
    pub fn new(
        grace: Duration,
        view: watch::Receiver<RecorderView>,
        strain: watch::Receiver<Strain>,
        alerts: Alerts,
    ) -> (Self, Desk, mpsc::Receiver<LeaseNews>) {
        // Full: see `Desk::asks`.
        let (asks_sender, asks) = mpsc::channel(64);
        // Full: see `Lessor::news`.
        let (news, news_receiver) = mpsc::channel(256);
        let (shown, shown_receiver) = watch::channel(Arc::default());
        let (tally, tally_receiver) = watch::channel(LeaseTally::default());
        let grace_ns = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        let leases = Leases::new(clock::mono_ns(), grace_ns);
        let (raised, clients) = (BTreeSet::new(), BTreeMap::new());
        let lessor = Self { leases, asks, view, strain, alerts, raised, clients, shown, tally, news };
        (lessor, Desk { asks: asks_sender, shown: shown_receiver, tally: tally_receiver }, news_receiver)
    }

    /// Runs until nobody can ask any more, or the engine is gone.
    pub async fn run(mut self) {
        loop {
            let recording = is_busy(self.view.borrow_and_update().state);
            self.feed(Event::Recording(recording), Trace::NONE);
            let strain = *self.strain.borrow_and_update();
            self.feed(Event::Strain(strain), Trace::NONE);
            let due = self.leases.next_due_ns(clock::mono_ns());
            tokio::select! {
                // A recording first: whoever asks is told how things stand.
                biased;
                changed = self.view.changed() => if changed.is_err() { return },
                Ok(()) = self.strain.changed() => (),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.take(ask),
                    None => return,
                },
                () = until(due) => self.feed(Event::Tick, Trace::NONE),
            }
        }
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Request { request, client, trace, answer } => {
                let kind = request.kind;
                let refusal = self.feed_for(Event::Request(request), trace, Some(client));
                let result = match refusal {
                    Ok(Some(id)) => {
                        let state = self.leases.get(id).map_or(State::Queued, |lease| lease.state);
                        Ok((id, state))
                    }
                    Ok(None) => Err(Error::new(ErrorCode::Internal, "the request became no lease")),
                    Err(refusal) => Err(refused(refusal, kind)),
                };
                let granted = result.as_ref().ok().copied();
                if answer.send(result).is_err()
                    && let Some((id, _)) = granted
                {
                    // Whoever asked has given up waiting, and will never know its number.
                    self.feed(Event::Revoke { id }, trace);
                    self.feed(Event::Revoke { id }, trace);
                }
            }
            Ask::Release { id, owner, answer } => {
                let result = self.feed_for(Event::Release { id, owner }, Trace::NONE, None);
                let _ = answer.send(result.map(drop).map_err(|refusal| refused(refusal, Kind::Reboot)));
            }
            Ask::Revoke { id, by, answer } => {
                info!(lease = id, by, "an operator revokes a lease");
                let result = self.feed_for(Event::Revoke { id }, Trace::NONE, None);
                let _ = answer.send(result.map(drop).map_err(|refusal| refused(refusal, Kind::Reboot)));
            }
            Ask::Gone(owner) => {
                if self.leases.list().any(|lease| lease.owner == owner) {
                    self.feed(Event::OwnerGone(owner), Trace::NONE);
                }
            }
        }
    }

    fn feed(&mut self, event: Event, trace: Trace) {
        let _ = self.feed_for(event, trace, None);
    }

    /// Feeds the leases and tells what follows: the new lease, if there is one, or the refusal.
    fn feed_for(&mut self, event: Event, trace: Trace, client: Option<Client>) -> Result<Option<Id>, Refusal> {
        let mut result = Ok(None);
        for command in self.leases.handle(clock::mono_ns(), event) {
            match command {
                Command::Taken(id) => {
                    self.clients.insert(id, (client.unwrap_or_default(), clock::wall_ns()));
                    result = Ok(Some(id));
                }
                Command::Refused(refusal) => result = Err(refusal),
                Command::Granted(id) => self.granted(id, trace),
                Command::Revoked(id, why) => self.revoked(id, why),
                Command::Overdue(id) => self.overdue(id),
                Command::Ended(lease, why) => self.ended(&lease, why),
            }
        }
        let live: BTreeSet<Id> = self.leases.list().map(|lease| lease.id).collect();
        self.clients.retain(|id, _| live.contains(id));
        self.alarm();
        self.show();
        result
    }

    fn granted(&mut self, id: Id, trace: Trace) {
        let Some(lease) = self.leases.get(id) else { return };
        let (kind, reason, owner) = (lease.kind, &lease.reason, &lease.owner);
        info!(lease = id, kind = kind.name(), owner, reason, overrides = lease.overrides, trace = trace.0, "granted");
        self.tally.send_modify(|tally| *tally.granted.entry(kind).or_default() += 1);
        self.tell(LeaseNews::Granted(id, kind));
    }

    fn revoked(&mut self, id: Id, why: Why) {
        let Some(lease) = self.leases.get(id) else { return };
        let kind = lease.kind;
        info!(lease = id, kind = kind.name(), owner = lease.owner, reason = lease.reason, why = why.name(), "revoked");
        self.tally.send_modify(|tally| *tally.revoked.entry((kind, why)).or_default() += 1);
        self.tell(LeaseNews::Revoked(id, kind, why));
    }

    fn overdue(&self, id: Id) {
        let Some(lease) = self.leases.get(id) else { return };
        warn!(
            lease = id,
            kind = lease.kind.name(),
            owner = lease.owner,
            reason = lease.reason,
            "does not come to an end"
        );
    }

    fn ended(&mut self, lease: &Lease, why: Why) {
        let kind = lease.kind;
        info!(lease = lease.id, kind = kind.name(), owner = lease.owner, why = why.name(), "the lease is over");
        if why == Why::Deadline {
            self.tally.send_modify(|tally| *tally.revoked.entry((kind, why)).or_default() += 1);
        }
        self.tell(LeaseNews::Ended(lease.id, kind, why));
    }

    fn tell(&self, news: LeaseNews) {
        if self.news.try_send(news).is_err() {
            warn!("a signal about a lease is left out: too many wait for the bus");
        }
    }

    /// Raises what holds now, and clears what no longer does.
    fn alarm(&mut self) {
        let recording = is_busy(self.view.borrow().state);
        let mut holds = BTreeMap::new();
        for lease in self.leases.list() {
            let source = format!("lease {}", lease.id);
            let what = format!("{} ({})", lease.kind.name(), lease.reason);
            if lease.state == State::Overdue {
                let text = format!("{what} of {} was told to end and has not said that it has", lease.owner);
                holds.insert((AlertCode::LeaseOverdue, source.clone()), text);
            }
            if lease.overrides && lease.state != State::Queued && recording {
                let text = format!("{what} of {} runs beside a recording, by override", lease.owner);
                holds.insert((AlertCode::LeaseOverride, source), text);
            }
        }
        for (code, source) in self.raised.iter().filter(|key| !holds.contains_key(*key)) {
            self.alerts.clear(*code, source);
        }
        for ((code, source), text) in &holds {
            if !self.raised.contains(&(*code, source.clone())) {
                self.alerts.raise(*code, source, text.clone());
            }
        }
        self.raised = holds.into_keys().collect();
    }

    fn show(&self) {
        let now_ns = clock::mono_ns();
        let view = |lease: &Lease| {
            let (client, since_wall_ns) = self.clients.get(&lease.id).copied().unwrap_or_default();
            let waits_for =
                self.leases.why_not(lease.id, now_ns).map(|why_not| why_not.to_string()).unwrap_or_default();
            LeaseView { lease: lease.clone(), client, since_wall_ns, waits_for }
        };
        let now: Vec<_> = self.leases.list().map(view).collect();
        self.shown.send_if_modified(|shown| {
            let changed = **shown != now;
            if changed {
                *shown = Arc::new(now);
            }
            changed
        });
    }
}

/// From the moment at which a Start is taken until the files are closed.
pub fn is_busy(state: &str) -> bool {
    !matches!(state, "idle" | "error")
}

/// Whether an end comes from us, so that the owner must be told.
pub fn is_taken_away(why: Why) -> bool {
    !matches!(why, Why::Released | Why::OwnerGone)
}

fn refused(refusal: Refusal, kind: Kind) -> Error {
    let refused = |text: String| Error::new(ErrorCode::LeaseRefused, text);
    match refusal {
        Refusal::TooMany => Error::new(ErrorCode::Busy, "there are too many leases; release some first"),
        Refusal::TooLong => {
            let longest = kind.rule().longest_ns / 1_000_000_000;
            let text = format!("a lease of {} is held for {longest} s at most", kind.name());
            Error::new(ErrorCode::InvalidArgument, text).with("option", "duration_s")
        }
        Refusal::MayNotOverride => {
            Error::new(ErrorCode::NotPermitted, "only root and the recorder's own user may ask for override")
        }
        Refusal::NotNow(_, why_not) => refused(format!("not now: {why_not}; without queue = false it would wait")),
        Refusal::Unknown => Error::new(ErrorCode::UnknownLease, "there is no such lease (any more)"),
        Refusal::NotYours => {
            Error::new(ErrorCode::NotPermitted, "only its owner releases a lease; operators use RevokeLease")
        }
    }
}

async fn until(due_ns: Option<u64>) {
    match due_ns {
        Some(due_ns) => tokio::time::sleep(Duration::from_nanos(due_ns.saturating_sub(clock::mono_ns()))).await,
        None => std::future::pending().await,
    }
}
