//! Where whoever writes or reads a slot waits for its turn: so much, then a pause, as the pace has it; and nothing while an
//! installation is held still. For threads; the engine and the watch beside a recording turn it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::throttle::Pace;

/// Of one second's worth this part is let through at once: a sync of the recording's waits for no more than that.
const TURNS_PER_SECOND: u64 = 16;
/// What is let through at once, at least and at most, bytes.
const LEAST_TURN: u64 = 64 << 10;
const MOST_TURN: u64 = 1 << 20;
/// While nothing is recorded: what may be on its way when a recording begins.
const FREE_TURN: u64 = 8 << 20;

/// A piece of work that goes through the valve. One that was begun later ends those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// See the module.
#[derive(Debug)]
pub struct Valve {
    state: Mutex<State>,
    changed: Condvar,
    pace: watch::Sender<Pace>,
}

#[derive(Debug)]
struct State {
    ticket: u64,
    held: bool,
    /// Somebody is let go, and has not come back yet.
    gone: bool,
    /// RAUC is under a brake, which freezes it and lets it go.
    braked: bool,
    /// The updater ends.
    closing: bool,
    /// When the last turn began, and what it has moved.
    last: Option<(Instant, u64)>,
}

impl Default for Valve {
    /// Open.
    fn default() -> Self {
        let state = State { ticket: 0, held: false, gone: false, braked: false, closing: false, last: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), pace: watch::Sender::new(Pace::Free) }
    }
}

impl Valve {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something new begins, and is not held. What went before breaks off.
    pub fn begin(&self) -> Ticket {
        let mut state = self.state();
        (state.ticket, state.held, state.last) = (state.ticket + 1, false, None);
        let ticket = Ticket(state.ticket);
        drop(state);
        self.changed.notify_all();
        ticket
    }

    /// What is under way now.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.state().ticket)
    }

    /// From here on it goes at this pace.
    pub fn set(&self, pace: Pace) {
        self.pace.send_if_modified(|before| std::mem::replace(before, pace) != pace);
        // Whoever is about to wait has looked before, or holds this.
        drop(self.state());
        self.changed.notify_all();
    }

    /// The pace now.
    pub fn pace(&self) -> Pace {
        *self.pace.borrow()
    }

    /// The pace and each change of it.
    pub fn paces(&self) -> watch::Receiver<Pace> {
        self.pace.subscribe()
    }

    /// Nobody is let go while it is held. Returns when whoever was let go has come back; waits no longer than this.
    pub fn hold(&self, held: bool, patience: Duration) {
        let mut state = self.state();
        state.held = held;
        self.changed.notify_all();
        if held {
            let until_back = self.changed.wait_timeout_while(state, patience, |state| state.gone);
            drop(until_back.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits for its turn, and says how many bytes it may move in it. `None`: it is over. Whoever is let go calls [`Valve::back`].
    pub fn go(&self, ticket: Ticket) -> Option<u64> {
        let mut state = self.state();
        loop {
            if Ticket(state.ticket) != ticket {
                return None;
            }
            let pace = self.pace();
            let wait = match pace {
                Pace::Still(_) => None,
                Pace::Free => Some(Duration::ZERO),
                Pace::At(rate) => Some(state.last.map_or(Duration::ZERO, |(began, bytes)| {
                    let takes = Duration::from_nanos(u64::try_from(nanos(bytes, rate)).unwrap_or(u64::MAX));
                    takes.saturating_sub(began.elapsed())
                })),
            };
            match wait.filter(|_| !state.held && !state.gone) {
                Some(Duration::ZERO) => {
                    state.gone = true;
                    state.last = Some((Instant::now(), 0));
                    return Some(turn(pace));
                }
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// RAUC is put under a brake, or is let go.
    pub fn brake(&self, on: bool) {
        self.state().braked = on;
    }

    /// RAUC is under a brake.
    pub fn is_braked(&self) -> bool {
        self.state().braked
    }

    /// The updater ends: beside a recording RAUC stays as it is, held still, until there is another.
    pub fn close(&self, patience: Duration) {
        self.state().closing = true;
        self.hold(true, patience);
    }

    /// What is under a brake stays held still.
    pub fn is_to_stay(&self) -> bool {
        self.state().closing && self.pace() != Pace::Free
    }

    /// It may go on with its turn.
    pub fn may_go_on(&self, ticket: Ticket) -> bool {
        let state = self.state();
        !state.held && Ticket(state.ticket) == ticket && !matches!(self.pace(), Pace::Still(_))
    }

    /// It has come to rest, and has moved so many bytes.
    pub fn back(&self, bytes: u64) {
        let mut state = self.state();
        state.gone = false;
        if let Some((_, moved)) = &mut state.last {
            *moved = bytes;
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn nanos(bytes: u64, rate: u64) -> u128 {
    u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))
}

fn turn(pace: Pace) -> u64 {
    match pace {
        Pace::At(rate) => (rate / TURNS_PER_SECOND).clamp(LEAST_TURN, MOST_TURN),
        Pace::Free | Pace::Still(_) => FREE_TURN,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::{LEAST_TURN, Valve};
    use crate::throttle::Pace;

    /// Goes through it until it is over; counts what it moves.
    fn worker(valve: &Arc<Valve>) -> (std::thread::JoinHandle<()>, Arc<AtomicU64>) {
        let (valve, moved) = (Arc::clone(valve), Arc::new(AtomicU64::new(0)));
        let (ticket, counts) = (valve.begin(), Arc::clone(&moved));
        let thread = std::thread::spawn(move || {
            while let Some(bytes) = valve.go(ticket) {
                counts.fetch_add(bytes, Ordering::SeqCst);
                valve.back(bytes);
            }
        });
        (thread, moved)
    }

    fn until(what: impl Fn() -> bool) {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < Duration::from_secs(90));
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_goes_through_keeps_to_the_pace_and_stands_still_when_it_must() {
        let valve = Arc::new(Valve::default());
        valve.set(Pace::Still(""));
        let (thread, moved) = worker(&valve);
        let began = Instant::now();
        valve.set(Pace::At(1 << 20));
        until(|| moved.load(Ordering::SeqCst) >= 1 << 19);
        // Never too fast, however slow this machine is.
        assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
        valve.hold(true, Duration::from_secs(90));
        let held = moved.load(Ordering::SeqCst);
        valve.set(Pace::Free);
        assert!(!valve.may_go_on(valve.ticket()));
        valve.set(Pace::Still(""));
        valve.hold(false, Duration::ZERO);
        assert_eq!(moved.load(Ordering::SeqCst), held, "moved while it was held");
        valve.set(Pace::Free);
        until(|| moved.load(Ordering::SeqCst) > held + LEAST_TURN);
        // What follows ends it, held or not.
        valve.hold(true, Duration::from_secs(90));
        valve.begin();
        thread.join().unwrap();
    }

    #[test]
    fn holding_waits_for_whoever_was_let_go() {
        let valve = Arc::new(Valve::default());
        let ticket = valve.begin();
        valve.go(ticket).unwrap();
        let (holds, back) = (Arc::clone(&valve), Arc::new(AtomicU64::new(0)));
        let is_back = Arc::clone(&back);
        let thread = std::thread::spawn(move || {
            holds.hold(true, Duration::from_secs(90));
            is_back.load(Ordering::SeqCst)
        });
        until(|| !valve.may_go_on(ticket));
        back.store(1, Ordering::SeqCst);
        valve.back(1);
        assert_eq!(thread.join().unwrap(), 1, "held before it had come back");
    }
}
