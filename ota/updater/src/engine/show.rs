//! What people, programs and other tasks are shown of the plan.

use holdfast_update_plan::{Origin, Phase};

use super::Engine;
use crate::bus::Shown;
use crate::channel::Turn;
use crate::{beside, fleet, leave, sticks};

impl Engine {
    pub(super) fn show(&mut self) {
        let progress = self.progress.borrow_and_update().clone();
        let (plan, record) = (self.plan.shown(), self.plan.record());
        let is_under_way = matches!(record.phase, Phase::Installing { .. } | Phase::Downloading);
        if let Some(fleet) = &self.fleet {
            let action = match record.offer.as_ref().map(|offer| &offer.origin) {
                Some(Origin::Fleet(action)) => Some(*action),
                _ => None,
            };
            let percent = if is_under_way { progress.percent } else { 0 };
            let doing = fleet::Doing { action, phase: record.phase.name(), percent };
            fleet.doing.send_if_modified(|before| {
                let changed = *before != doing;
                *before = doing;
                changed
            });
        }
        let origin = record.offer.as_ref().map(|offer| offer.origin.clone());
        let (turn, waits_for) = self.turn(leave::words(plan.waits_for, self.site.config.install_beside));
        let shown = Shown {
            state: plan.phase.to_owned(),
            waits_for,
            source: origin.as_ref().map(Origin::name).unwrap_or_default().to_owned(),
            turn,
            notice: self.notice(),
            percent: if is_under_way { progress.percent.into() } else { 0 },
            message: if is_under_way { progress.message } else { String::new() },
            frozen: plan.frozen,
            throttled: if matches!(record.phase, Phase::Installing { .. }) && !plan.frozen {
                beside::words(*self.paces.borrow_and_update())
            } else {
                String::new()
            },
            booted: self.booted.clone(),
            ..Shown::written(record)
        };
        let doing = sticks::Doing { origin, phase: record.phase.name() };
        self.sticks.doing.send_if_modified(|before| {
            let changed = *before != doing;
            *before = doing;
            changed
        });
        self.shown.send_if_modified(|before| {
            let changed = *before != shown;
            *before = shown;
            changed
        });
    }

    /// When it is this box's turn, as the property `Turn`, and what is waited for.
    fn turn(&self, waits_for: &str) -> (i64, String) {
        let record = self.plan.record();
        let is_channel = matches!(record.offer.as_ref().map(|offer| &offer.origin), Some(Origin::Channel { .. }));
        let turn = self.channel.as_ref().map(|channel| *channel.turn.borrow()).unwrap_or_default();
        let is_waiting = is_channel && record.phase == Phase::Available && waits_for.starts_with("somebody");
        if !is_waiting || turn == Turn::Now {
            let window = self.site.config.policy.window.filter(|_| waits_for == "the maintenance window");
            return (0, window.map_or(waits_for.to_owned(), |window| format!("{waits_for} ({window}), or {APPROVE}")));
        }
        let when = |unix_s| jiff::Timestamp::from_second(unix_s).map(|at| at.to_string()).unwrap_or_default();
        match turn {
            Turn::Now => (0, waits_for.to_owned()),
            Turn::At(unix_s) => (unix_s, format!("its turn, from {} on, or {APPROVE}", when(unix_s))),
            Turn::Never => (-1, format!("its turn, which is not planned yet, or {APPROVE}")),
            Turn::NoClock => (-1, format!("the clock to be set, which is older than this system, or {APPROVE}")),
        }
    }

    fn notice(&self) -> String {
        let channel = self.channel.as_ref().map(|channel| channel.notice.borrow().clone());
        let fleet = self.fleet.as_ref().map(|fleet| fleet.notice.borrow().clone());
        let fallen = self.plan.has_fallen_back_from().map(|bundle| {
            format!(
                "the boot loader has gone back from {}, which had proven itself, as it does after several power cuts in a row; to have it \
                 again, install it again",
                bundle.version
            )
        });
        let sticks = self.sticks.notice.borrow().clone();
        let notices = [fallen.unwrap_or_default(), sticks, channel.unwrap_or_default(), fleet.unwrap_or_default()];
        notices.into_iter().filter(|notice| !notice.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// What a person can do about it.
const APPROVE: &str = "somebody to say so (holdfast update approve)";
