//! What an A/B update does next: the pure core of the updater. Events in, commands out, time and facts handed in.
//!
//! ```text
//! Idle → Available → Downloading → Verified → Installing → Installed → Activating → AwaitingReboot ⇒ Trial → Good
//!                                                 ↑            │             │              │          └→ Reverting ⇒ RolledBack
//!                                                 └────────────┴─────────────┴──────────────┘   ⇒ another boot
//! ```
//!
//! # What holds
//! - **Recording comes first.** What loads the box or ends its present boot is done under a lease of the recorder, and never without
//!   it: [`Command::Fetch`] under `download`, [`Command::Install`] under `install`, [`Command::Activate`] and [`Command::Reboot`]
//!   under `reboot`. A lease that is taken back freezes an installation and takes back an activation.
//! - **What is meant is written down before it is done.** [`Command::Save`] comes before the commands that rely on it, and whoever
//!   carries them out does so in order. After a cut at any point [`Plan::boot`] goes on from the newest record and from what RAUC and
//!   the boot say is so.
//! - **Nothing automatic outside the window.** Where there is a [`Window`], what nobody of this box has asked for is installed, made the
//!   next to boot and booted within it only. What a person wants does not wait for it, and neither does leaving a system that has not
//!   proven itself.
//! - **There is always a slot that has proven itself.** Nothing is installed while the running one is on trial; it is marked good only
//!   after the box has [proven](Command::Prove) itself, and what did not is never installed again.
//! - **One end each.** Every offer that was taken up comes to exactly one [`Outcome`], and that is told to the fleet until the fleet
//!   has it. Success is only told of a system that was marked good.
//!
//! # What is absent
//! No RAUC, D-Bus, HTTP, files or clocks; no knowledge of how a command is carried out.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

mod boot;
mod channel;
mod engine;
mod offers;
mod policy;
mod record;
mod release;
mod rollout;
mod step;
mod window;
mod words;

pub use boot::Facts;
pub use channel::{Channel, ChannelError, Wave};
pub use engine::{Plan, Shown};
pub use policy::Policy;
pub use record::{Bundle, Offer, Origin, Outcome, Phase, Reason, Record, Result, Source, Wish};
pub use release::compare;
pub use rollout::{Campaign, share};
pub use window::{Moment, Window};
pub use words::{Command, Event, LeaseNews, Permit};
