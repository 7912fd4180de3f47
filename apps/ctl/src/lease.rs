//! Leases: who has leave for heavy work, and running a command under one.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use holdfast_dbus::{LeaseInfo, LeaseOptions, LeaseProxy, LeasesProxy};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;

use crate::args::{Global, Lease, LeasesCommand};
use crate::bus::{self, Link};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};

pub async fn run(global: &Global, out: &Output, command: Option<LeasesCommand>) -> Outcome {
    let link = bus::connect(global).await?;
    bus::recorder(&link).await?;
    let leases = proxy(&link).await?;
    match command {
        None => list(&link, out, &leases).await,
        Some(LeasesCommand::Revoke { lease }) => {
            leases.revoke_lease(&lease, HashMap::new()).await.map_err(|error| bus::failure(&link, &error))?;
            let left = all(&link, &leases).await?;
            let still = left.iter().any(|info| info.id.to_string() == lease || info.object.as_str() == lease);
            out.result(&json!({ "lease": lease, "ended": !still }), || {
                if still {
                    format!("lease {lease} was told to end; the same command again takes it away at once")
                } else {
                    format!("lease {lease} is over")
                }
            })?;
            Ok(Exit::Ok)
        }
    }
}

async fn proxy(link: &Link) -> Result<LeasesProxy<'static>, Failure> {
    let proxy = LeasesProxy::builder(&link.connection).cache_properties(CacheProperties::No).build().await;
    proxy.map_err(|error| bus::failure(link, &error))
}

async fn all(link: &Link, leases: &LeasesProxy<'_>) -> Result<Vec<LeaseInfo>, Failure> {
    leases.list_leases(HashMap::new()).await.map_err(|error| bus::failure(link, &error))
}

async fn list(link: &Link, out: &Output, leases: &LeasesProxy<'_>) -> Outcome {
    let all = all(link, leases).await?;
    let document: Vec<_> = all
        .iter()
        .map(|lease| {
            json!({
                "id": lease.id, "kind": lease.kind, "reason": lease.reason, "state": lease.state, "owner": lease.owner,
                "pid": lease.pid, "uid": lease.uid, "override": lease.overrides, "since": lease.since,
                "deadline_usec": lease.deadline_usec, "yield_by_usec": lease.yield_by_usec, "waits_for": lease.waits_for,
            })
        })
        .collect();
    out.result(&document, || {
        if all.is_empty() {
            return "no leases".to_owned();
        }
        let rows: Vec<Vec<String>> = all.iter().map(|lease| row(lease, out)).collect();
        output::table(&["LEASE", "KIND", "STATE", "PROCESS", "SINCE", "REASON", "WAITS BECAUSE"], &rows)
    })?;
    Ok(Exit::Ok)
}

fn row(lease: &LeaseInfo, out: &Output) -> Vec<String> {
    let kind = if lease.overrides { format!("{} (override)", lease.kind) } else { lease.kind.clone() };
    let process = if lease.pid == 0 { lease.owner.clone() } else { lease.pid.to_string() };
    let since = output::time(lease.since);
    vec![
        lease.id.to_string(),
        kind,
        out.state(&lease.state),
        process,
        since,
        lease.reason.clone(),
        lease.waits_for.clone(),
    ]
}

/// How a command under a lease ended.
enum Ending {
    /// By itself.
    Command(std::process::ExitStatus),
    /// It was ended: why.
    Revoked(String),
    /// We were told to end.
    Told(Signal),
}

/// A lease of ours.
struct Held {
    path: OwnedObjectPath,
    granted: holdfast_dbus::GrantedStream,
    revoked: holdfast_dbus::RevokedStream,
    is_granted: bool,
}

/// Runs a command for as long as a lease lasts.
pub async fn command(global: &Global, out: &Output, wanted: &Lease) -> Outcome {
    let link = bus::connect(global).await?;
    let leases = proxy(&link).await?;
    let mut owners = leases.inner().receive_owner_changed().await.map_err(|error| bus::failure(&link, &error))?;
    let (mut int, mut term) = signals()?;
    let mut held = ask(&link, &leases, wanted, wanted.wait()).await?;
    if !held.is_granted {
        if let Some(lease) = all(&link, &leases).await?.into_iter().find(|lease| lease.object == held.path) {
            out.note(&format!("waiting for lease {} ({}): {}", lease.id, lease.kind, lease.waits_for));
        }
        tokio::select! {
            biased;
            granted = held.granted.next() => if granted.is_none() { return Err(gone(&link)) },
            revoked = held.revoked.next() => return Err(revoked_failure(&why(revoked))),
            _ = owners.next() => return Err(gone(&link)),
            _ = int.recv() => return Err(interrupted()),
            _ = term.recv() => return Err(interrupted()),
        }
    }
    let mut child = spawn(&wanted.command)?;
    let ending = loop {
        tokio::select! {
            status = child.wait() => match status {
                Ok(status) => break Ending::Command(status),
                Err(error) => return Err(Failure::failed(format!("the command is lost: {error}"), "look for it: ps")),
            },
            revoked = held.revoked.next() => break Ending::Revoked(why(revoked)),
            owner = owners.next() => match owner {
                // It comes back in a moment, or the bus is gone.
                Some(None) => (),
                Some(Some(_)) => match ask(&link, &leases, wanted, false).await {
                    Ok(again) => held = again,
                    Err(_) => break Ending::Revoked("the recorder was restarted, and gives no leave now".to_owned()),
                },
                None => break Ending::Revoked("the bus is gone".to_owned()),
            },
            _ = int.recv() => break Ending::Told(Signal::INT),
            _ = term.recv() => break Ending::Told(Signal::TERM),
        }
    };
    let ending = match ending {
        Ending::Command(status) => Ok(status),
        Ending::Revoked(why) => {
            out.note(&format!("the lease is revoked ({why}); ending the command"));
            end(&mut child, Signal::TERM, wanted.grace).await;
            Err(revoked_failure(&why))
        }
        Ending::Told(told) => {
            end(&mut child, told, wanted.grace).await;
            Err(interrupted())
        }
    };
    if let Ok(lease) = LeaseProxy::new(&link.connection, held.path).await {
        // Over already, or the recorder is away: then there is nothing to release.
        let _ = timeout(Duration::from_secs(2), lease.release(HashMap::new())).await;
    }
    // As a shell has it. The bus connection goes with the process.
    std::process::exit(code(ending?))
}

/// Asks for the lease, and listens before it looks.
async fn ask(link: &Link, leases: &LeasesProxy<'_>, wanted: &Lease, queue: bool) -> Result<Held, Failure> {
    let failed = |error: zbus::Error| bus::failure(link, &error);
    let reason = wanted.reason.clone().unwrap_or_else(|| {
        let mut words = wanted.command.join(" ");
        words.truncate(words.floor_char_boundary(200));
        words.replace(char::is_control, " ")
    });
    let options = LeaseOptions {
        duration_s: wanted.duration,
        queue: Some(queue),
        overrides: Some(wanted.overrides),
        trace: None,
    };
    let (path, _) = leases.request_lease(&wanted.kind, &reason, options).await.map_err(failed)?;
    let lease = LeaseProxy::builder(&link.connection).path(path.clone()).map_err(failed)?;
    let lease = lease.cache_properties(CacheProperties::No).build().await.map_err(failed)?;
    let granted = lease.receive_granted().await.map_err(failed)?;
    let revoked = lease.receive_revoked().await.map_err(failed)?;
    let is_granted = match lease.state().await.map_err(failed)?.as_str() {
        "granted" => true,
        "queued" => false,
        // Between the answer and our question.
        _ => return Err(revoked_failure("at once")),
    };
    Ok(Held { path, granted, revoked, is_granted })
}

fn spawn(words: &[String]) -> Result<Child, Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage("there is no command", "holdfast lease KIND -- command arguments"));
    };
    let mut command = Command::new(program);
    // A group of its own: all of it is to end when the lease does. Such a group can't read from the terminal.
    command.args(arguments).process_group(0).kill_on_drop(true);
    if std::io::stdin().is_terminal() {
        command.stdin(Stdio::null());
    }
    command.spawn().map_err(|error| {
        Failure::failed(format!("{program} can't be started: {error}"), "check its name and your PATH")
    })
}

/// Ends the command and all that it has started: with a word first, by force after the grace.
async fn end(child: &mut Child, first: Signal, grace: f64) {
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(group) = group else { return };
    let _ = kill_process_group(group, first);
    let _ = timeout(Duration::from_secs_f64(grace), child.wait()).await;
    // Whatever of the group is left, be it only what the command has left behind.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

fn signals() -> Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal), Failure> {
    let both = signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
    both.map_err(|error| Failure::failed(format!("no signals: {error}"), "the system is out of resources"))
}

fn why(revoked: Option<holdfast_dbus::Revoked>) -> String {
    let why = revoked.and_then(|revoked| revoked.args().ok().map(|args| args.why));
    why.unwrap_or_else(|| "the bus is gone".to_owned())
}

fn revoked_failure(why: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        format!("the lease was revoked: {why}"),
        "try again later; holdfast leases shows what is going on",
    )
    .with("why", why)
}

fn gone(link: &Link) -> Failure {
    Failure::new(Exit::Unreachable, format!("the recorder on {} has gone", link.name), "try again in a moment")
}

fn interrupted() -> Failure {
    Failure::failed("interrupted", "")
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
