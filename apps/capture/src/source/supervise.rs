//! Keeps a source running, for ever: the one place where it is decided when to try again.

use std::time::Duration;

use holdfast_link::{self as link, SourceState};

use super::attempt::{Ended, run_once};
use super::{Failure, FailureKind, Source};
use crate::backoff::Backoff;
use crate::clock::{self, NS_PER_MS};
use crate::intake::Intake;
use crate::ladder::Remedy;
use crate::state::{Leaving, Shared};

/// The same failure again is logged only every so many attempts, or a camera that is off for a week fills the log.
const REPEATS_BETWEEN_REPORTS: u32 = 60;
/// After so many failures of encoders in one recording it is no longer tried again at once.
const QUICK_FAILURES: u32 = 12;

/// Runs until the process ends.
pub fn run(mut source: Box<dyn Source>, intake: &Intake) {
    let shared = &intake.shared;
    let mut backoff = Backoff::default();
    let mut last_told = (String::new(), 0_u32);
    while shared.wait_until_wanted() {
        if backoff.failures() == 0 {
            shared.set_source(SourceState::Connecting, 0);
        }
        shared.set_source_busy(true);
        let ended = run_once(source.as_mut(), intake);
        shared.set_source_busy(false);
        let (failure, ran, stuck) = match ended {
            Ended::Unwanted => {
                backoff = Backoff::default();
                shared.set_source(SourceState::Connecting, 0);
                if let Some(encoders) = source.encoders() {
                    encoders.rest(shared);
                }
                continue;
            }
            Ended::Better => {
                tracing::info!("the encoder of first choice works again");
                continue;
            }
            Ended::Failed { failure, ran, stuck } => (failure, ran, stuck),
        };
        let remedy = remedy(source.as_mut(), &failure, ran, stuck, shared);
        let pause = match remedy {
            // A hole in the recording grows while nothing is tried.
            Some((_, failures)) if failures <= QUICK_FAILURES => Duration::ZERO,
            _ => backoff.failed(ran, jitter()),
        };
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let state = SourceState::Waiting {
            attempts: backoff.failures().max(1),
            retry_ms: u32::try_from(pause.as_millis()).unwrap_or(u32::MAX),
            error: link::clip(&failure.text),
        };
        shared.set_source(state, clock::mono_ns() + pause_ns);
        shared.raise(failure.kind.alert(), &failure.text);
        let repeated =
            ran.is_zero() && last_told.0 == failure.text && !last_told.1.is_multiple_of(REPEATS_BETWEEN_REPORTS);
        last_told = if repeated {
            (last_told.0, last_told.1 + 1)
        } else {
            let remedy = remedy.map(|(remedy, _)| remedy);
            tracing::warn!(retry_ms = pause_ns / NS_PER_MS, ?remedy, error = failure.text, "the source failed");
            (failure.text.clone(), 1)
        };
        // An encoder that was replaced may leave a pipeline behind; a device that hangs is of no more use to this process.
        let restart = remedy.map_or(stuck, |(remedy, _)| remedy == Remedy::Restart);
        if restart && shared.has_peers() {
            shared.leave(Leaving { cause: failure.kind.link_gap(), text: failure.text });
            shared.wait_for_shutdown();
            return;
        }
        shared.pause(pause);
    }
}

/// What is to be done about a failed encoder, and how often one has failed in this recording.
fn remedy(
    source: &mut dyn Source,
    failure: &Failure,
    ran: Duration,
    stuck: bool,
    shared: &Shared,
) -> Option<(Remedy, u32)> {
    let encoders = source.encoders().filter(|_| failure.kind == FailureKind::Encoder)?;
    let remedy = encoders.failed(ran, stuck, shared);
    Some((remedy, encoders.failures()))
}

fn jitter() -> u8 {
    let mut byte = [128];
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    byte[0]
}
