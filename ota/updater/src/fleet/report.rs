//! What the fleet is told of what the plan does. Into the outbox; nothing is sent here.

use holdfast_hawkbit::{ActionId, Cancel, CancelAnswer, Error, Execution, Feedback, Outbox, Outcome as Closed};
use holdfast_update_plan::{Origin, Outcome, Reason, Result as Ending};

use super::Doing;

/// Progress is told in such steps: the server takes a thousand messages for an action.
const STEP_PERCENT: u8 = 10;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Report {
    told: Doing,
    /// The server wants this ended, and knows no answer yet.
    cancel: Option<Cancel>,
}

impl Report {
    /// The plan does something else, or is further with it. True: there is something to be told.
    pub(super) fn follows(&mut self, outbox: &mut Outbox, doing: &Doing) -> anyhow::Result<bool> {
        let is_new = (doing.action, doing.phase) != (self.told.action, self.told.phase)
            || doing.percent / STEP_PERCENT > self.told.percent / STEP_PERCENT;
        let Some(action) = doing.action.filter(|_| is_new) else { return Ok(false) };
        self.told = doing.clone();
        let (execution, text) = match doing.phase {
            "idle" | "available" => return Ok(false),
            "downloading" if doing.percent < STEP_PERCENT => (Execution::Downloading, "downloading".to_owned()),
            "verified" => (Execution::Downloaded, "downloaded, signed by whom it should be".to_owned()),
            phase => {
                let text = match doing.percent {
                    0 => phase.to_owned(),
                    percent => format!("{phase}, {percent} %"),
                };
                (Execution::Proceeding { percent: Some(doing.percent) }, text)
            }
        };
        // One that is over there is told nothing any more, and that is no error.
        let _ = outbox.feedback(&id(action)?, Feedback::new(execution, [text]))?;
        Ok(true)
    }

    /// An update has come to its end. Success is told of a system that was marked good, and of no other.
    pub(super) fn ended(&mut self, outbox: &mut Outbox, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(Origin::Fleet(action)) = outcome.offer.as_ref().map(|offer| &offer.origin) else { return Ok(()) };
        let action = id(*action)?;
        let asked = self.cancel.take_if(|cancel| cancel.stop == action);
        if let (Some(cancel), Ending::Cancelled) = (&asked, &outcome.result) {
            let _ =
                outbox.canceling(cancel, CancelAnswer::Canceled, vec!["given up before it was booted".to_owned()])?;
            return Ok(());
        }
        if let Some(cancel) = asked {
            let _ = outbox.canceling(&cancel, CancelAnswer::Rejected, vec!["too late: it has ended".to_owned()])?;
        }
        let (closed, text) = match &outcome.result {
            Ending::Good => {
                (Execution::Closed(Closed::Success), "it runs, and has made a recording and read it again".to_owned())
            }
            Ending::RolledBack(reason) => {
                (Execution::Closed(Closed::Failure), format!("rolled back: {}", words(reason)))
            }
            Ending::Failed(reason) => (Execution::Closed(Closed::Failure), words(reason)),
            Ending::Cancelled => (Execution::Canceled, "given up on the box".to_owned()),
        };
        let _ = outbox.feedback(&action, Feedback::new(closed, [text]))?;
        Ok(())
    }

    /// The server wants an action ended. True: the plan is to give it up, and its end will be the answer.
    pub(super) fn canceling(&mut self, outbox: &mut Outbox, cancel: &Cancel, doing: &Doing) -> anyhow::Result<bool> {
        let is_ours = doing.action.is_some_and(|action| action.to_string() == cancel.stop.as_str());
        if !is_ours {
            let _ = outbox.canceling(cancel, CancelAnswer::Canceled, vec!["it was not begun".to_owned()])?;
            return Ok(false);
        }
        if matches!(doing.phase, "trial" | "reverting") {
            let text = "too late: the new system runs, and proves itself or is left".to_owned();
            let _ = outbox.canceling(cancel, CancelAnswer::Rejected, vec![text])?;
            return Ok(false);
        }
        let is_new = self.cancel.as_ref().is_none_or(|known| known.id != cancel.id);
        self.cancel = Some(cancel.clone());
        Ok(is_new)
    }

    /// There is nothing in it that this box could install.
    pub(super) fn useless(&self, outbox: &mut Outbox, action: &ActionId) -> anyhow::Result<()> {
        let text =
            "there is no bundle in it: upload a file whose name ends in .raucb, and let it be reached over https";
        let _ = outbox.feedback(action, Feedback::new(Execution::Closed(Closed::Failure), [text]))?;
        Ok(())
    }
}

fn words(reason: &Reason) -> String {
    format!("{} ({})", reason.text, reason.code)
}

fn id(action: u64) -> anyhow::Result<ActionId> {
    ActionId::try_from(action.to_string()).map_err(anyhow::Error::msg)
}

/// For people of this box.
pub(super) fn reason(error: &Error) -> Reason {
    Reason::new("fleet", error.to_string())
}
