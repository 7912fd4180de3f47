//! Holdfast as it is installed, under systemd. One boot per test, one test at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod access;
mod appliance;
mod checking;
mod observed;
mod panel;
mod probing;
mod reason;
mod recording;
mod shutdown;
mod stick;
mod trouble;
mod units;
mod updates;
mod watchdog;
