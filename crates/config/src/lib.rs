//! The configuration of Holdfast: one file, validated once, errors with file, line, key, value and remedy.
//!
//! [`Config::load`] reads `holdfast.toml`, then the drop-ins `holdfast.toml.d/*.toml` in the order of their names, then
//! the environment (`HOLDFAST_ROTATION_MINUTES` and its like), and tells *all* mistakes at once. [`Loaded`] also knows
//! where each value comes from.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod build;
pub mod credentials;
mod digest;
#[cfg(test)]
mod documented;
mod load;
pub mod root;
mod schema;
mod show;
mod types;

pub use holdfast_settings::{Mistake, Mistakes as ConfigErrors, Place};
pub use load::{DEFAULT_PATH, Loaded, environment_variables};
pub use types::{
    Bus, CaptureCpus, Codec, Config, Encoding, Filesystem, Floors, Input, Keep, Picture, Protection, Recorder,
    Recording, Resume, RtspTransport, Source, Storage, Supervisor,
};
