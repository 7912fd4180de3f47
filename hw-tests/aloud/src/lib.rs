//! What a test says past the test harness, which swallows all that `println!` and `eprintln!` print in a test that passes.
//!
//! A test that cannot run on a machine must not look like one that passed: it says `SKIPPED` and why.

use std::fmt::Display;
use std::io::Write as _;

/// Says aloud that something is not tested here, and why.
pub fn skip(why: impl Display) {
    say(format_args!("SKIPPED: {why}"));
}

/// Prints one line for whoever runs the tests.
pub fn say(text: impl Display) {
    // Nobody to say it to: fine.
    drop(writeln!(std::io::stderr(), "{text}"));
}
