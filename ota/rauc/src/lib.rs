//! All that Holdfast knows of [RAUC](https://rauc.readthedocs.io): the service that writes a signed bundle to the other slot.
//!
//! It speaks to `rauc service` over D-Bus, on top of the crate `rauc`, and adds what that leaves open: typed errors with a
//! remedy, an installation whose end can't be missed, answers read leniently (RAUC 1.8 … 1.16 say different things), and
//! reading back what was written, which RAUC does not do.
//!
//! ```no_run
//! # async fn update() -> Result<(), holdfast_rauc::Error> {
//! # let connection = zbus::Connection::system().await.unwrap();
//! let rauc = holdfast_rauc::Rauc::connect(&connection).await?;
//! let mut installing = rauc.install("/media/stick/holdfast.raucb", &holdfast_rauc::Options::default()).await?;
//! while let Some(progress) = installing.progress().await {
//!     println!("{} % {}", progress.percent, progress.message);
//! }
//! installing.finished().await?;
//! # Ok(()) }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

mod environment;
mod error;
mod inspect;
mod install;
mod jetson;
mod kind;
mod options;
mod readback;
mod service;
mod status;
mod values;
mod watch;

pub use environment::{Environment, EnvironmentError, FW_ENV_CONFIG, Place, judge, places, read_environment};
pub use error::Error;
pub use inspect::{Bundle, Format, Image};
pub use install::Installing;
pub use jetson::{EFIVARS, Jetson};
pub use kind::Kind;
pub use options::{Access, Degraded, Options};
pub use readback::{Digest, How, ReadBack, ReadBackError, read_back, verify_slot};
pub use service::{Mark, Marked, Rauc, Target};
pub use status::{BootStatus, Installed, Operation, Progress, Slot, SlotState, SlotStatus, Status, Untold};
