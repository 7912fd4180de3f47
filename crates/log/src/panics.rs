//! What happens when a thread panics: it is told with all that is known, and the process ends. Its supervisor starts it again.

use std::panic::PanicHookInfo;
use std::sync::atomic::Ordering;

use tracing::error;

use crate::layer::{PANIC_TARGET, PANIC_TOLD};
use crate::queue;

/// A panic, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// The name of the thread.
    pub thread: String,
    /// `file:line:column` in the sources.
    pub location: String,
    /// What was said.
    pub message: String,
}

/// From now on the first panic of any thread is logged with thread, location, message and the context of the spans around it
/// (task, input, session, trace), then `last` is called, then the process aborts: in debug builds as in release builds.
///
/// A half-dead process is worse than none: everything here is supervised, and made to be killed at any moment.
pub fn end_on_panic(last: impl Fn(&Panic) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |info| {
        let panic = describe(info);
        let Panic { thread, location, message } = &panic;
        let backtrace = match std::env::var("RUST_BACKTRACE") {
            Ok(wanted) if wanted != "0" => std::backtrace::Backtrace::force_capture().to_string(),
            _ => String::new(),
        };
        error!(target: PANIC_TARGET, thread, location, backtrace, "panic: {message}");
        if !PANIC_TOLD.load(Ordering::Relaxed) {
            // Nothing is set up yet, or the panic comes out of the log itself.
            eprintln!("panic: {message} thread={thread} location={location} {backtrace}");
        }
        last(&panic);
        queue::flush_all();
        std::process::abort();
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> Panic {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Panic {
        thread: std::thread::current().name().unwrap_or("unnamed").to_owned(),
        location: info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string),
        message: message.unwrap_or_else(|| "(no text)".to_owned()),
    }
}
