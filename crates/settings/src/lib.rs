//! Reads TOML files by the rows of a schema and tells *all* mistakes at once, each with file, line, key, value and remedy.
//!
//! A program lists its keys as [`Key`]s. [`Files`] reads the files and the environment into one tree in which every value
//! knows where it comes from; a [`Reader`] takes values out of a [`Scope`] of it, each checked against its row, and notes
//! what is wrong; [`Mistakes`] shows it for people, with the lines and without secrets. What the keys are, what must fit
//! together and what is done with it all is the program's own.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod documented;
mod files;
mod mistake;
mod reader;
mod schema;
mod scope;
mod source;
pub mod texts;
mod tree;
mod unknown;

pub use files::{Expected, Files};
pub use mistake::{Mistake, Mistakes, Place};
pub use reader::{Entry, Picked, Reader};
pub use schema::{Absent, Key, Takes};
pub use scope::Scope;
pub use source::{Origin, Source, Span, is_secret_key};
pub use tree::{Node, Table, Value};
