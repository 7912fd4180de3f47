//! The front panel of Holdfast: buttons in, lights out.
//!
//! How a press travels: a [device](devices) tells an [`Edge`](model::Edge); the [`buttons`] make gestures of edges; [`orders`] makes
//! of a gesture what the recorder is to do. How a light comes about: what the recorder says becomes [`truth`], which says only what
//! is safe; [`patterns`] makes of it what each light shows now; every device gets the newest [`Frame`](model::Frame).
//!
//! The first five are pure: state and event in, state and commands out, time handed in. Whatever waits for something is in
//! [`devices`] and beside them.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod bus;
pub mod buttons;
pub mod clock;
pub mod config;
pub mod devices;
pub mod engine;
pub mod guardian;
pub mod model;
pub mod orders;
pub mod patterns;
pub mod recorder;
pub mod snapshot;
pub mod trouble;
pub mod truth;
pub mod wiring;
