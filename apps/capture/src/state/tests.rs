use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_link::{self as link, Counts, Event, Stopped};

use super::{Report, Shared, To};
use crate::queue::Level;

fn number(session: &str) -> u64 {
    session.parse().unwrap()
}

fn stopped(session: &link::Id) -> Event {
    let (session, counts) = (session.clone(), Counts::default());
    Event::Stopped(Stopped { request: 0, session, counts, safe_bytes: 0, files: 0 })
}

#[test]
fn who_hears_that_nothing_is_recorded_has_heard_what_the_recording_came_to() {
    let shared = Shared::new(true).unwrap();
    let empty = Level { bytes: 0, capacity_bytes: 1, refused_frames: 0, refusing: false };
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (1_u64..).take_while(|_| !enough.load(Ordering::Relaxed)) {
                let session: link::Id = link::clip(&number.to_string());
                shared.report(|report| report.session = Some(session.clone()));
                shared.report_and_tell(|report| *report = Report::default(), To::All, stopped(&session));
            }
        });
        // Until both states were met often, in whatever way the two threads take turns.
        let (mut seen, mut ended, mut recording, mut at_rest) = (0, 0, 0_u32, 0_u32);
        let mut ahead_or_behind = None;
        while ahead_or_behind.is_none() && (recording < 5_000 || at_rest < 5_000) {
            let (events, status) = shared.news(empty);
            for (_, event) in events {
                let Event::Stopped(stopped) = event else { continue };
                ended = number(&stopped.session);
            }
            if let Some(session) = &status.session {
                (seen, recording) = (number(session), recording + 1);
                if seen <= ended {
                    ahead_or_behind = Some(format!("{seen} is shown after it was told that {ended} has ended"));
                }
            } else {
                at_rest += 1;
                if ended < seen {
                    ahead_or_behind = Some(format!("nothing is recorded, but the end of {seen} was not told yet"));
                }
            }
        }
        enough.store(true, Ordering::Relaxed);
        assert_eq!(ahead_or_behind, None);
    });
}
