//! A real hawkBit server to test against: Eclipse's own libraries from Maven Central, with the database in memory, on a
//! free port of the loopback.
//!
//! [`Server::start`] fetches (once, into the user's cache directory), starts, and waits until it answers: some 10 to 60 s,
//! so share one among the tests of a file. It ends with the [`Server`], or with the test's process however that ends.
//! [`Server::manage`] is the operator's side: targets, software, assignments, and what hawkBit knows of an action.

#![forbid(unsafe_code)]

mod manage;
mod parts;
mod process;

pub use manage::{Assignment, Manage, Window};
pub use process::{Server, Unavailable};

/// The gateway token that is set up at the start.
pub const GATEWAY_TOKEN: &str = "gateway-token-of-the-tests";

/// The polling time that is set up at the start, in seconds.
pub const POLLING_SECONDS: u64 = 45;

/// The tenant.
pub const TENANT: &str = "DEFAULT";

/// What a proxy must say in `X-Ssl-Issuer-Hash-1` for its `X-Ssl-Client-Cn` to be believed.
pub const ISSUER_HASH: &str = "hash-of-the-tests-issuer";
