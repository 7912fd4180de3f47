//! What the recorder keeps on disk: session directories with their journals, and its own small state.
//!
//! Everything that writes runs on one thread of its own ([`Keeper`]), so that a disk that stalls holds up neither the engine nor
//! anyone who only reads.

mod catalog;
mod keeper;
mod rebuild;
mod records;
mod session_journal;
pub mod state;
mod state_journal;
mod summary;
pub mod trash;

pub use catalog::{Catalog, file_names, list_files};
pub use keeper::{Closing, Job, Keeper, Noted};
pub use records::{Run, StateRecord};
pub use summary::{Deleted, End, Summary, directories};

/// Below the storage root: what is Holdfast's own and no session's.
pub const OURS: &str = ".holdfast";
