//! One message from the outbox to the server.

use crate::outbox::{Message, Waiting};
use crate::poll::ActionRef;
use crate::store::{Outbox, OutboxError};
use crate::{Client, Error};

/// What became of the oldest message.
#[derive(Debug)]
#[must_use]
pub enum Delivery {
    /// There is none.
    Empty,
    /// The server has it.
    Taken {
        /// It.
        message: Message,
    },
    /// Nothing was sent or needed: the server has it from before a crash, or its action is over there.
    Over {
        /// It.
        message: Message,
    },
    /// The server refuses it and always will. Never a final result.
    Dropped {
        /// It.
        message: Message,
        /// Why.
        error: Error,
    },
    /// It still waits: try again when [`Pace::after_error`](crate::Pace::after_error) says.
    Later {
        /// Why.
        error: Error,
    },
}

/// Tells the server the oldest message. Call it until it says [`Delivery::Empty`] or [`Delivery::Later`].
///
/// It may be dropped at any await: the message is then taken for one that may have arrived.
///
/// # Errors
/// When the outbox can't be written.
pub async fn deliver(client: &Client, outbox: &mut Outbox) -> Result<Delivery, OutboxError> {
    let Some(Waiting { seq, message, unsure }) = outbox.next().cloned() else {
        return Ok(Delivery::Empty);
    };
    if unsure && !message.is_final() {
        match heard(client, &message).await {
            Ok(true) => return over(outbox, seq, message),
            Ok(false) => {}
            Err(error) => return Ok(Delivery::Later { error }),
        }
    }
    if !unsure {
        outbox.sending(seq)?;
    }
    let mut sent = send(client, &message, true).await;
    if message.is_final() && matches!(sent, Err(Error::Refused { .. })) {
        // If it is the details that the server can't take, the result must not die of them.
        sent = send(client, &message, false).await;
    }
    let error = match sent {
        Ok(()) => {
            outbox.done(seq)?;
            return Ok(Delivery::Taken { message });
        }
        Err(error) => error,
    };
    if !error.is_uncertain() {
        outbox.not_taken(seq);
    }
    match &error {
        Error::Gone { status: 410, .. } => over(outbox, seq, message),
        // Any proxy can say 404: a result is given up only if hawkBit itself does not want it.
        Error::Gone { .. } if message.is_final() => match wanted(client, &message).await {
            Ok(false) => over(outbox, seq, message),
            Ok(true) => Ok(Delivery::Later { error }),
            Err(error) => Ok(Delivery::Later { error }),
        },
        Error::Gone { .. } => over(outbox, seq, message),
        // hawkBit's word for "there is nothing to cancel".
        Error::Refused { status: 405, .. } if matches!(message, Message::Cancel { .. }) => over(outbox, seq, message),
        Error::Refused { .. } | Error::Quota { .. } if message.is_final() => {
            tracing::error!(%error, ?message, "the server refuses a final result; it is kept, and tried again");
            outbox.stuck(seq);
            Ok(Delivery::Later { error })
        }
        Error::Refused { .. } | Error::Quota { .. } => {
            outbox.done(seq)?;
            Ok(Delivery::Dropped { message, error })
        }
        _ => Ok(Delivery::Later { error }),
    }
}

fn over(outbox: &mut Outbox, seq: u64, message: Message) -> Result<Delivery, OutboxError> {
    outbox.done(seq)?;
    Ok(Delivery::Over { message })
}

async fn send(client: &Client, message: &Message, with_details: bool) -> Result<(), Error> {
    match message {
        Message::Feedback { action, feedback } if with_details => client.feedback(action, feedback).await,
        Message::Feedback { action, feedback } => {
            let bare = crate::Feedback { details: vec![], code: None, at_unix_ms: None, ..feedback.clone() };
            client.feedback(action, &bare).await
        }
        Message::Cancel { cancel, answer, details } => {
            client.cancel_feedback(cancel, *answer, if with_details { details } else { &[] }).await
        }
    }
}

/// Whether the server has a message from before, or its action is over, which comes to the same.
async fn heard(client: &Client, message: &Message) -> Result<bool, Error> {
    let Message::Feedback { action, feedback } = message else {
        return Ok(false);
    };
    let history = match client.deployment(&ActionRef::from(action.clone())).await {
        Ok(deployment) => deployment.history,
        Err(Error::Gone { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let messages = history.map(|history| history.messages).unwrap_or_default();
    let details = crate::feedback::shortened(&feedback.details);
    Ok(!details.is_empty() && details.iter().all(|detail| messages.iter().any(|message| message.trim() == detail)))
}

/// Whether the server still waits for the end of a message's action.
async fn wanted(client: &Client, message: &Message) -> Result<bool, Error> {
    let poll = client.poll().await?;
    let is = |open: &Option<ActionRef>, id: &crate::ActionId| open.as_ref().is_some_and(|open| open.id == *id);
    Ok(match message {
        Message::Feedback { action, .. } => is(&poll.deployment, action) || is(&poll.cancel, action),
        Message::Cancel { cancel, .. } => is(&poll.cancel, cancel),
    })
}
