//! The server for who is not a test in Rust: says in one line of JSON where it is and how it is managed, and ends with its standard input.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use holdfast_hawkbit_server::{Server, TENANT};

/// As test programs end that were skipped, for Automake and its kin.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    // In front of it is whoever has a certificate: what it tells boxes to fetch is behind TLS.
    let server = match Server::start_behind_tls() {
        Ok(server) => server,
        Err(why) => {
            eprintln!("{}", why.0);
            return ExitCode::from(SKIPPED);
        }
    };
    let told = serde_json::json!({ "url": server.url(), "tenant": TENANT, "user": "admin", "password": "admin" });
    println!("{told}");
    std::io::stdout().flush().ok();
    // An error is an end, too.
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
    ExitCode::SUCCESS
}
