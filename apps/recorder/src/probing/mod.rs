//! Probing of inputs that nobody records: can the source be reached? So that a person sees before pressing the button that a
//! camera is unplugged.
//!
//! A probe is a process of its own at the lowest priority (`holdfast-capture probe-input`), since the recorder sees neither network
//! nor devices and must not wait for either. At most two run at a time, none is waited for longer than 2 s, and none begins while
//! a capture serves the input: [`Way`] keeps the two apart. A probe that hangs keeps one of the two places, and nothing else.

mod judge;
mod run;
mod systemd;
mod way;

pub use judge::Reach;
pub use run::{Children, Later, Prober};
pub use systemd::Units;
pub use way::Way;

use std::sync::Arc;

use futures_util::future::join_all;
use holdfast_dbus::AlertCode;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use crate::alerts::Alerts;
use crate::facade::RecorderView;
use crate::health::{LOOK_PATIENCE, LOOKS_AT_A_TIME};
use crate::pressure::{self, Shed};
use judge::{Judge, Said, first_pause};
use way::Right;

/// An input to be probed.
pub struct Probed {
    /// Its name.
    pub name: String,
    /// Whose its source is.
    pub way: Arc<Way>,
    /// Where what is known is shown.
    pub reach: watch::Sender<Reach>,
}

/// What probing goes by.
pub struct Surroundings {
    /// Runs probes.
    pub prober: Box<dyn Prober>,
    /// Where what is wrong is told.
    pub alerts: Alerts,
    /// Whether something is recorded.
    pub recorder: watch::Receiver<RecorderView>,
    /// Under pressure probing rests.
    pub pressure: watch::Receiver<pressure::State>,
}

/// Runs for ever.
pub async fn run(inputs: Vec<Probed>, around: Surroundings) {
    let places = Semaphore::new(LOOKS_AT_A_TIME);
    let count = inputs.len();
    let each = inputs.into_iter().enumerate().map(|(index, input)| {
        let watched = Watched { input, judge: Judge::default(), around: &around, places: &places };
        watched.run(index, count)
    });
    join_all(each).await;
}

/// One input.
struct Watched<'a> {
    input: Probed,
    judge: Judge,
    around: &'a Surroundings,
    places: &'a Semaphore,
}

impl Watched<'_> {
    async fn run(mut self, index: usize, count: usize) {
        let mut right = self.input.way.right();
        let mut recorder = self.around.recorder.clone();
        // When the first look is due since the source has become nobody's, and when the last one began.
        let (mut first, mut last) = (None, None::<Instant>);
        loop {
            let now = *right.borrow_and_update();
            if now == Right::Taken {
                (first, last) = (None, None);
                self.served();
            }
            if now != Right::Free {
                if right.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let first_due = *first.get_or_insert_with(|| Instant::now() + first_pause(index, count));
            let recording = recorder.borrow_and_update().session.is_some();
            let due = last.map_or(first_due, |began| began + self.judge.pause(recording));
            let place = async {
                sleep_until(due).await;
                // The semaphore is never closed.
                self.places.acquire().await
            };
            let _place = tokio::select! {
                biased;
                _ = right.changed() => continue,
                Ok(_) = recorder.wait_for(|view| view.session.is_some() != recording) => continue,
                place = place => place,
            };
            let began = Instant::now();
            if self.around.pressure.borrow().shed.contains(&Shed::Telemetry) || self.look(&mut right).await {
                last = Some(began);
            }
        }
    }

    /// One probe. False if it was ended because a capture comes first.
    async fn look(&mut self, right: &mut watch::Receiver<Right>) -> bool {
        let way = Arc::clone(&self.input.way);
        let Some(_busy) = way.enter() else { return false };
        let mut probe = self.around.prober.begin(&self.input.name);
        let said = tokio::select! {
            biased;
            _ = right.changed() => None,
            answer = timeout(LOOK_PATIENCE, probe.answer()) => Some(answer.ok().flatten().map_or(Said::Nothing, Said::Answer)),
        };
        let heard = said.is_some();
        if let Some(said) = said {
            self.judge.hear(said);
            self.show();
        }
        // Its place is free once it is gone: what hangs in the kernel must not pile up.
        let mut end = probe.end();
        loop {
            if *right.borrow_and_update() == Right::Taken {
                self.served();
            }
            tokio::select! {
                () = &mut end => return heard,
                Ok(()) = right.changed() => (),
            }
        }
    }

    fn served(&mut self) {
        self.judge.served();
        self.show();
    }

    fn show(&self) {
        let (input, reach) = (&self.input.name, &self.judge.reach);
        if !self.input.reach.send_if_modified(|shown| {
            reach != shown && {
                reach.clone_into(shown);
                true
            }
        }) {
            return;
        }
        let text = reach.text();
        match reach {
            // Told as an alert.
            Reach::Yes | Reach::No(_) => debug!(input, reachable = reach.name(), text, "probed"),
            Reach::Unknown(_) if text.is_empty() => (),
            Reach::Unknown(_) => warn!(input, "whether its source can be reached is not known: {text}"),
        }
        let away = matches!(reach, Reach::No(_));
        self.around.alerts.set(away, AlertCode::InputUnreachable, input, || text.to_owned());
    }
}

#[cfg(test)]
mod tests;
