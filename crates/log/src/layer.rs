//! What is between `tracing` and the log: collects the fields that surround an event, and keeps floods away.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::entry::{Entry, Fields};
use crate::limit::{Admitted, Limiter};

/// Entries that were left out because one place said too much.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
/// A panic has been logged; whoever reports it need not do so by other means.
pub(crate) static PANIC_TOLD: AtomicBool = AtomicBool::new(false);
/// The target of entries about panics.
pub(crate) const PANIC_TARGET: &str = "holdfast_log::panic";
/// Fields of spans that an entry takes over. Others are for `tracing`'s own tools.
const CONTEXT: [&str; 4] = ["session", "input", "trace", "task"];

/// Fields that every entry of this process has unless it says otherwise.
static COMMON: Mutex<Common> =
    Mutex::new(Common { input: String::new(), session: String::new(), trace: String::new() });

struct Common {
    input: String,
    session: String,
    trace: String,
}

/// How many entries this process has left out because one place said too much.
#[must_use]
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// This process serves one input: all that it says is about that.
pub fn serves_input(input: &str) {
    input.clone_into(&mut COMMON.lock().unwrap_or_else(PoisonError::into_inner).input);
}

/// This process works on one session from now on, on behalf of the call with this trace (0 for none). Empty: on none any more.
pub fn works_on(session: &str, trace: u64) {
    let mut common = COMMON.lock().unwrap_or_else(PoisonError::into_inner);
    session.clone_into(&mut common.session);
    common.trace = if trace == 0 { String::new() } else { crate::Trace(trace).to_string() };
}

/// Where entries go.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Never waits.
    fn take(&self, entry: Entry);
}

/// The layer.
pub(crate) struct Words<S: Sink> {
    sink: S,
    limiter: Mutex<Limiter<(Identifier, u64)>>,
    since: Instant,
}

impl<S: Sink> Words<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, limiter: Mutex::default(), since: Instant::now() }
    }

    fn tell(&self, origin: &str, missed: u64) {
        let text = format!("{missed} more of the kind of {origin} were left out: too many at once");
        self.sink.take(Entry::new(Level::WARN, text, origin));
    }

    /// Whether an entry may be said; `None` if not.
    fn admit(&self, event: &Event<'_>, entry: &Entry) -> Option<u64> {
        // Who asks for details gets all of them.
        if *event.metadata().level() > Level::INFO {
            return Some(0);
        }
        // Held by a thread that panics in here: then there is nothing to save.
        let Ok(mut limiter) = self.limiter.try_lock().or_else(|error| match error {
            std::sync::TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
            std::sync::TryLockError::WouldBlock if std::thread::panicking() => Err(()),
            std::sync::TryLockError::WouldBlock => Ok(self.limiter.lock().unwrap_or_else(PoisonError::into_inner)),
        }) else {
            return Some(0);
        };
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        // One input that flaps must not hide what is said of the others.
        let mut hasher = DefaultHasher::new();
        entry.field("input").hash(&mut hasher);
        let key = (event.metadata().callsite(), hasher.finish());
        let admitted = limiter.admit(key, now_ms, || entry.origin.clone());
        let overdue = limiter.overdue(now_ms);
        drop(limiter);
        for (origin, missed) in overdue {
            self.tell(&origin, missed);
        }
        match admitted {
            Admitted::After(missed) => Some(missed),
            Admitted::No => {
                LEFT_OUT.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl<S: Sink> Drop for Words<S> {
    fn drop(&mut self) {
        let untold = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).untold();
        for (origin, missed) in untold {
            self.tell(&origin, missed);
        }
    }
}

impl<S: Sink, U: Subscriber + for<'a> LookupSpan<'a>> Layer<U> for Words<S> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, U>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, U>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, U>) {
        let mut entry = Entry::of(event);
        // From the innermost span outwards.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in fields.list.iter().filter(|(name, _)| CONTEXT.contains(name)) {
                    entry.surround(name, value);
                }
            }
        }
        if let Ok(common) = COMMON.try_lock() {
            entry.surround("input", &common.input);
            entry.surround("session", &common.session);
            entry.surround("trace", &common.trace);
        }
        let Some(missed) = self.admit(event, &entry) else { return };
        if missed > 0 {
            entry.fields.push(("left_out", missed.to_string()));
        }
        if event.metadata().target() == PANIC_TARGET {
            PANIC_TOLD.store(true, Ordering::Relaxed);
        }
        self.sink.take(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{error_span, field, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    use super::{Entry, Sink, Words};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Entry>>>);

    impl Sink for Kept {
        fn take(&self, entry: Entry) {
            self.0.lock().unwrap().push(entry);
        }
    }

    fn said(work: impl FnOnce()) -> Vec<Entry> {
        let kept = Kept::default();
        tracing::subscriber::with_default(registry().with(Words::new(kept.clone())), work);
        let entries = kept.0.lock().unwrap();
        entries.clone()
    }

    #[test]
    fn an_entry_knows_the_call_and_the_task_that_it_comes_from() {
        let entries = said(|| {
            let _task = error_span!("task", task = "supervisor", input = "cam0", other = "hidden").entered();
            let call = error_span!("call", trace = field::Empty);
            let _call = call.clone().entered();
            call.record("trace", 0xabc_u64);
            info!(session = "s-1", "one");
            info!(input = "cam9", trace = 7_u64, "two");
        });
        let of = |entry: &Entry| {
            ["session", "input", "trace", "task", "other"].map(|name| entry.field(name).unwrap_or("-").to_owned())
        };
        assert_eq!(of(&entries[0]), ["s-1", "cam0", "0000000000000abc", "supervisor", "-"]);
        assert_eq!(of(&entries[1]), ["-", "cam9", "0000000000000007", "supervisor", "-"]);
        assert_eq!(entries[1].line(), "two input=cam9 trace=0000000000000007");
    }

    #[test]
    fn a_flapping_input_hides_no_other_and_its_flood_is_told() {
        let entries = said(|| {
            for _ in 0..5000 {
                for input in ["cam0", "cam1"] {
                    // One place in the program, for both.
                    warn_of(input, if input == "cam0" { 10 } else { 1 });
                }
            }
        });
        let of = |input| entries.iter().filter(|entry| entry.field("input") == Some(input)).count();
        assert!((100..120).contains(&of("cam0")), "{}", of("cam0"));
        assert!((100..120).contains(&of("cam1")), "{}", of("cam1"));
        let told = entries.iter().filter(|entry| entry.message.contains("were left out"));
        let told: u64 = told.map(|entry| entry.message.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        let beside: u64 = entries.iter().filter_map(|entry| entry.field("left_out")?.parse::<u64>().ok()).sum();
        let taken = u64::try_from(of("cam0") + of("cam1")).unwrap();
        assert_eq!(told + beside + taken, 55_000);
    }

    fn warn_of(input: &str, times: u32) {
        for _ in 0..times {
            warn!(input, "the source failed");
        }
    }

    #[test]
    fn details_that_are_asked_for_are_not_limited() {
        let entries = said(|| (0..1000).for_each(|n| tracing::debug!(n, "packet")));
        assert_eq!(entries.len(), 1000);
    }
}
