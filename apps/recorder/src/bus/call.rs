//! What every method call gets: a trace that follows it through all logs, a measured latency, and a word in the log when it was
//! slow or refused. The log itself limits how much of that is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_dbus::{Error, ErrorCode};
use holdfast_log::Trace;
use tracing::{Instrument as _, error_span, info, warn};
use zbus::message::Header;
use zbus::names::UniqueName;
use zbus::zvariant::Value;

use super::options::{Dict, Options, invalid};
use crate::facade::Facade;

/// What a method may take. Longer is told to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Looks something up.
    Read,
    /// Changes something.
    Write,
    /// Waits for files to be closed.
    Close,
}

impl Budget {
    fn limit(self) -> Duration {
        match self {
            Self::Read => Duration::from_millis(50),
            Self::Write => Duration::from_millis(100),
            Self::Close => Duration::from_secs(2),
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Call {
    /// Its options, but for the trace.
    pub options: Options,
    /// Follows it through all logs.
    pub trace: Trace,
    waited_us: Arc<AtomicU64>,
}

/// A call whose options have been read.
#[derive(Debug)]
pub struct Understood {
    /// Follows it through all logs.
    pub trace: Trace,
    waited_us: Arc<AtomicU64>,
}

impl Call {
    /// Refuses options that nobody has asked for.
    pub fn end(self) -> Result<Understood, Error> {
        self.options.end()?;
        Ok(Understood { trace: self.trace, waited_us: self.waited_us })
    }
}

impl Understood {
    /// Waits for something that the caller has asked to wait for: that is no slowness of ours.
    pub async fn waits<F: Future>(&self, work: F) -> F::Output {
        let began = Instant::now();
        let output = work.await;
        self.waited_us.fetch_add(micros(began.elapsed()), Ordering::Relaxed);
        output
    }
}

/// Carries out the call of a method: `method` is `Interface.Method`, the last two parts of its name.
///
/// # Errors
/// Those of the work; and an option `trace` that is none.
pub async fn carry_out<T, F: Future<Output = Result<T, Error>>>(
    facade: &Facade,
    (interface, method, budget): (&'static str, &'static str, Budget),
    header: &Header<'_>,
    mut options: Dict,
    work: impl FnOnce(Call) -> F,
) -> Result<T, Error> {
    let began = Instant::now();
    let trace = take_trace(method, &mut options);
    let waited_us = Arc::new(AtomicU64::new(0));
    let number = trace.as_ref().copied().unwrap_or_default();
    let span = error_span!("call", trace = number.0);
    let caller = header.sender().map_or("", |name| name.as_str());
    let result = async {
        let call = Call { options: Options::new(method, options), trace: trace?, waited_us: Arc::clone(&waited_us) };
        work(call).await
    };
    let result = result.instrument(span.clone()).await;
    let _call = span.entered();
    let elapsed = began.elapsed().saturating_sub(Duration::from_micros(waited_us.load(Ordering::Relaxed)));
    let is_slow = elapsed > budget.limit();
    facade.observed.call(interface, method, elapsed, is_slow, result.as_ref().err().map(|error| error.code));
    if is_slow {
        let (ms, budget_ms) = (elapsed.as_millis(), budget.limit().as_millis());
        warn!(method, ms, budget_ms, caller, "slow");
    }
    match &result {
        Ok(_) if budget == Budget::Read => {}
        Ok(_) => info!(method, caller, "done"),
        Err(error) => info!(method, caller, code = error.code.number(), "refused: {error}"),
    }
    // What a person will want to look up in the log says by what.
    result.map_err(|error| match error.code {
        ErrorCode::Internal | ErrorCode::Timeout | ErrorCode::CaptureFailed => error.with("trace", number.to_string()),
        _ => error,
    })
}

/// The caller's unique name.
///
/// # Errors
/// It has none: only on a connection that is no bus.
pub fn sender(header: &Header<'_>) -> Result<UniqueName<'static>, Error> {
    header.sender().map(|name| name.to_owned()).ok_or_else(|| invalid("a call without a sender"))
}

/// The bus itself does not answer as it should.
pub fn internal(error: &zbus::Error) -> Error {
    Error::new(ErrorCode::Internal, error.to_string())
}

/// The caller's own trace, or a new one.
fn take_trace(method: &str, options: &mut Dict) -> Result<Trace, Error> {
    let wrong = |what: String| invalid(format!("option \"trace\" of {method}: {what}")).with("option", "trace");
    match options.remove("trace").map(Value::from) {
        None => Ok(Trace::random()),
        Some(Value::Str(text)) => text.parse().map_err(|error: holdfast_log::NoTrace| wrong(error.to_string())),
        Some(_) => Err(wrong("it must be a string (s)".to_owned())),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Dict, take_trace};
    use holdfast_log::Trace;
    use zbus::zvariant::{OwnedValue, Value};

    #[test]
    fn callers_may_hand_in_their_own_trace() {
        let options = |value: Value<'static>| Dict::from([("trace".to_owned(), OwnedValue::try_from(value).unwrap())]);
        let mut mine = options("c0ffee".into());
        assert_eq!(take_trace("Start", &mut mine), Ok(Trace(0xc0_ffee)));
        assert!(mine.is_empty(), "the method does not see it");
        assert_ne!(take_trace("Start", &mut Dict::new()), Ok(Trace::NONE));
        for bad in [Value::from("coffee"), Value::from(7_u64), Value::from("")] {
            let error = take_trace("Start", &mut options(bad)).unwrap_err();
            assert!(error.to_string().contains("option \"trace\" of Start"), "{error}");
        }
    }
}
