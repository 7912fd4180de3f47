//! Makes, signs and looks into RAUC bundles by RAUC's own tool, and makes throw-away keys for trying it out.
//!
//! For build machines and tests; a box needs none of it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

mod inspect;
mod keys;
mod make;
mod tool;

pub use inspect::{Inspected, InspectedImage, inspect};
pub use keys::{Authority, Purpose, Signer, Validity, write_keyring};
pub use make::{Format, Image, Recipe, make};
pub use tool::{Error, Tools};
