//! Supervisors without a capture: what they owe the engine in any case.

use std::sync::Arc;
use std::time::Duration;

use holdfast_records::Tally;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::alerts::Alerts;
use crate::guard::trouble::Trouble;

use super::{Record, Report, Shared, Spawn, Supervisor};

/// They see only the latest word of the engine, so a session may begin and end between two looks. Its end is still awaited.
#[tokio::test]
async fn the_end_of_a_session_that_was_never_seen_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (reports, mut heard) = mpsc::channel(16);
    let shared = Arc::new(Shared {
        launcher: Arc::new(Spawn::new(
            &dir.path().join("no-such-program"),
            dir.path().join("none.toml"),
            dir.path().to_owned(),
        )),
        socket_dir: dir.path().to_owned(),
        root: dir.path().to_owned(),
        pool: dir.path().join("pool"),
        reports,
        recovery: Semaphore::new(1),
        alerts: Alerts::default(),
        storage: Trouble::new(Alerts::default()),
        proc: "/proc".into(),
    });
    let (supervisor, handle) = Supervisor::new(0, "cam0".to_owned(), 0, false, Arc::default(), shared);
    handle.want.send_modify(|want| {
        want.hold = false;
        want.record = Some(Record {
            session: "a".to_owned(),
            directory: "d/a/cam0".to_owned(),
            trace: 0,
            base: Tally::default(),
            past_sequence: 0,
            begun: false,
            safe_until_mono_ns: 0,
            safe_until_wall_ns: 0,
            cause: holdfast_link::GapCause::CaptureDied,
        });
    });
    handle.want.send_modify(|want| {
        want.record = None;
        want.ended = Some("a".to_owned());
    });
    tokio::spawn(supervisor.run());
    let told = async {
        while let Some((_, report)) = heard.recv().await {
            if let Report::Ended { session } = report {
                return session;
            }
        }
        String::new()
    };
    assert_eq!(timeout(Duration::from_secs(10), told).await.unwrap(), "a");
}
