//! hawkBit's Direct Device Integration (DDI) API, from the device's side.
//!
//! [`Client`] asks and tells, one method for each request; [`Pace`] says when to come again; [`Outbox`] keeps what the
//! server must hear until it has heard it, over restarts and power cuts. Downloading is someone else's work: an
//! [`Artifact`] carries address, size and digests, and [`Client::download_headers`] what a request for it needs.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use holdfast_hawkbit::{Client, Delivery, Execution, Feedback, Limits, Outbox, Outcome, Pace, Settings, Token, deliver};
//!
//! let token = Token::Target("…".into());
//! let client = Client::new(Settings::new("https://updates.example.org".parse()?, "DEFAULT", "box-17", token))?;
//! let (mut outbox, _report) = Outbox::open("/var/lib/holdfast/updater".as_ref())?;
//! let mut pace = Pace::new(Limits::default(), 17);
//!
//! let poll = client.poll().await?;
//! if let Some(action) = &poll.deployment {
//!     let deployment = client.deployment(action).await?;
//!     // … download, install, reboot, prove …
//!     let good = Feedback::new(Execution::Closed(Outcome::Success), ["the probe recording plays"]);
//!     outbox.feedback(&deployment.action, good)?;      // on disk from here on
//! }
//! while let Delivery::Taken { .. } = deliver(&client, &mut outbox).await? {}
//! tokio::time::sleep(pace.after_poll(&poll)).await;
//! # Ok(()) }
//! ```
//!
//! # What is absent
//! No download, no decision about when to install, no retry inside, no clock, no sleep, no thread.

mod client;
mod deliver;
mod deployment;
mod error;
mod feedback;
mod http;
mod outbox;
mod pace;
mod poll;
mod settings;
mod store;
mod tls;

pub use client::{Client, UpdateMode};
pub use deliver::{Delivery, deliver};
pub use deployment::{Artifact, Chunk, Deployment, Handling, History, MaintenanceWindow};
pub use error::{Error, SettingsError};
pub use feedback::{CancelAnswer, Confirmation, Execution, Feedback, Outcome};
pub use outbox::{Message, Queued, Waiting};
pub use pace::{Limits, Pace, RetryIn};
pub use poll::{ActionId, ActionRef, Cancel, Poll};
pub use reqwest::header::HeaderMap;
pub use settings::{Ca, Certificate, Settings, Token};
pub use store::{Outbox, OutboxError};
