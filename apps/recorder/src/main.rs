//! The control plane of Holdfast: sessions, supervision, storage, D-Bus.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
mod session;
fn main() {}
