//! What the device tells the server.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::poll::ActionId;

/// hawkBit stores messages of up to 512 characters (`ActionStatus.MESSAGE_ENTRY_LENGTH`).
const MAX_DETAIL_CHARS: usize = 500;

/// hawkBit's default quota is 50 messages in one report.
const MAX_DETAILS: usize = 20;

/// How an action goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// Where it stands.
    pub execution: Execution,
    /// What people read in hawkBit's history: up to 20 of up to 500 characters, the rest is cut.
    pub details: Vec<String>,
    /// A number of our own for machines.
    pub code: Option<i32>,
    /// When it was so, in milliseconds since 1970. `None` lets the server take the time of arrival: better than a clock
    /// that may be wrong. Taken by hawkBit from 0.4 on.
    pub at_unix_ms: Option<u64>,
}

impl Feedback {
    /// Without code and time.
    pub fn new<D: Into<String>>(execution: Execution, details: impl IntoIterator<Item = D>) -> Self {
        Self { execution, details: details.into_iter().map(Into::into).collect(), code: None, at_unix_ms: None }
    }

    pub(crate) fn json(&self, action: &ActionId) -> Value {
        let (execution, finished) = self.execution.words();
        let mut result = json!({ "finished": finished });
        if let Execution::Proceeding { percent: Some(percent) } = self.execution {
            merge(&mut result, "progress", json!({ "cnt": percent.min(100), "of": 100 }));
        }
        report(action, execution, result, &self.details, self.code, self.at_unix_ms)
    }
}

/// Where an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Execution {
    /// Taken notice of, will be done.
    Scheduled,
    /// Downloading has begun.
    Downloading,
    /// Everything is here. Ends an action that is download-only.
    Downloaded,
    /// At work.
    Proceeding {
        /// How far, 0 to 100, if that is known. hawkBit does not show it: say it in the details too.
        percent: Option<u8>,
    },
    /// Goes on after a restart or a power cut.
    Resumed,
    /// Something was not accepted. hawkBit takes it as a warning: the action stays open.
    Rejected,
    /// Stopped. Ends the action.
    Canceled,
    /// Over. Ends the action; nothing is taken after it.
    Closed(Outcome),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It runs, and has proven itself.
    Success,
    /// It does not; also a rollback.
    Failure,
}

impl Execution {
    /// `execution` and `result.finished` of the DDI API.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Scheduled => ("scheduled", "none"),
            Self::Downloading => ("download", "none"),
            Self::Downloaded => ("downloaded", "none"),
            Self::Proceeding { .. } => ("proceeding", "none"),
            Self::Resumed => ("resumed", "none"),
            Self::Rejected => ("rejected", "none"),
            Self::Canceled => ("canceled", "none"),
            Self::Closed(Outcome::Success) => ("closed", "success"),
            Self::Closed(Outcome::Failure) => ("closed", "failure"),
        }
    }

    /// Whether nothing can come after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Closed(_))
    }

    /// Whether a later one of its kind makes it worthless.
    pub fn is_progress(self) -> bool {
        matches!(self, Self::Proceeding { .. })
    }
}

/// The answer to a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelAnswer {
    /// Stopped. Ends the action as cancelled.
    Canceled,
    /// It was tried and failed. Ends the action as failed.
    Failed,
    /// Too late: the action goes on.
    Rejected,
    /// It is being tried.
    Proceeding,
}

impl CancelAnswer {
    pub(crate) fn json(self, cancel: &ActionId, details: &[String]) -> Value {
        let (execution, finished) = match self {
            Self::Canceled => ("closed", "success"),
            Self::Failed => ("closed", "failure"),
            Self::Rejected => ("rejected", "none"),
            Self::Proceeding => ("proceeding", "none"),
        };
        report(cancel, execution, json!({ "finished": finished }), details, None, None)
    }

    /// Whether nothing can come after it.
    pub fn is_final(self) -> bool {
        self != Self::Proceeding
    }
}

/// The answer to a wish for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// Go ahead: it becomes a deployment.
    Confirmed,
    /// Not now: it stays open, and is asked for again.
    Denied,
}

impl Confirmation {
    pub(crate) fn json(self, details: &[String]) -> Value {
        let word = match self {
            Self::Confirmed => "confirmed",
            Self::Denied => "denied",
        };
        json!({ "confirmation": word, "details": shortened(details) })
    }
}

fn report(
    action: &ActionId,
    execution: &str,
    result: Value,
    details: &[String],
    code: Option<i32>,
    at_unix_ms: Option<u64>,
) -> Value {
    let mut status = json!({ "execution": execution, "result": result, "details": shortened(details) });
    if let Some(code) = code {
        merge(&mut status, "code", code.into());
    }
    // `id` is for servers before 0.3.0, which answer 404 without it; newer ones look at the path alone.
    let mut report = json!({ "id": action.as_str(), "status": status });
    if let Some(at) = at_unix_ms {
        merge(&mut report, "timestamp", at.into());
    }
    report
}

fn merge(into: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = into {
        map.insert(key.to_owned(), value);
    }
}

/// Details as the server takes them, so that a long one can't make it refuse a result.
pub(crate) fn shortened(details: &[String]) -> Vec<String> {
    let one = |detail: &String| {
        let printable = detail.chars().map(|c| if c.is_control() { ' ' } else { c });
        let text: String = printable.take(MAX_DETAIL_CHARS).collect();
        text.trim().to_owned()
    };
    details.iter().map(one).filter(|detail| !detail.is_empty()).take(MAX_DETAILS).collect()
}
