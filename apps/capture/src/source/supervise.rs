//! Keeps a source running, for ever: the one place where it is decided when to try again.

use holdfast_link::{self as link, Event, SourceState};

use super::Source;
use super::attempt::{Ended, run_once};
use crate::backoff::Backoff;
use crate::clock::{self, NS_PER_MS};
use crate::intake::Intake;
use crate::state::To;

/// The same failure again is logged and told only every so many attempts, or a camera that is off for a week fills the log.
const REPEATS_BETWEEN_REPORTS: u32 = 60;

/// Runs until the process ends.
pub fn run(mut source: Box<dyn Source>, intake: &Intake) {
    let shared = &intake.shared;
    let mut backoff = Backoff::default();
    let mut last_told = (String::new(), 0_u32);
    while shared.wait_until_wanted() {
        if backoff.failures() == 0 {
            shared.set_source(SourceState::Connecting, 0);
        }
        let (failure, ran) = match run_once(source.as_mut(), intake) {
            Ended::Unwanted => {
                backoff = Backoff::default();
                shared.set_source(SourceState::Connecting, 0);
                intake.queue.push_break(holdfast_segment::GapCause::Operator);
                continue;
            }
            Ended::Failed(failure, ran) => (failure, ran),
        };
        source.failed(&failure);
        intake.queue.push_break(failure.kind.gap());
        let pause = backoff.failed(ran, jitter());
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let state = SourceState::Waiting {
            attempts: backoff.failures(),
            retry_ms: u32::try_from(pause.as_millis()).unwrap_or(u32::MAX),
            error: link::clip(&failure.text),
        };
        shared.set_source(state, clock::mono_ns() + pause_ns);
        last_told =
            if ran.is_zero() && last_told.0 == failure.text && !last_told.1.is_multiple_of(REPEATS_BETWEEN_REPORTS) {
                (last_told.0, last_told.1 + 1)
            } else {
                tracing::warn!(retry_ms = pause_ns / NS_PER_MS, error = failure.text, "the source failed");
                let alert = Event::Alert { code: failure.kind.alert(), text: link::clip(&failure.text) };
                shared.tell(To::All, alert);
                (failure.text, 1)
            };
        shared.pause(pause);
    }
}

fn jitter() -> u8 {
    let mut byte = [128];
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    byte[0]
}
