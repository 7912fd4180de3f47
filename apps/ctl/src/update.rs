//! Updates of the box: what the updater does, and what it is to do.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use holdfast_dbus::updater::{InstallOptions, OutcomeInfo, UPDATER_BUS_NAME, UpdaterProxy};
use serde_json::json;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::proxy::CacheProperties;

use crate::args::{Global, UpdateCommand};
use crate::bus::{self, Link};
use crate::failure::{Exit, Failure, Outcome};
use crate::footage::bar;
use crate::output::{self, Output};

pub async fn run(global: &Global, out: &Output, command: Option<UpdateCommand>) -> Outcome {
    let link = bus::connect(global).await?;
    let updater = updater(&link).await?;
    let told = |error: zbus::Error| failure(&link, &error);
    match command.unwrap_or(UpdateCommand::Status) {
        UpdateCommand::Status => status(&link, out, &updater).await,
        UpdateCommand::Check => {
            updater.check(HashMap::new()).await.map_err(told)?;
            status(&link, out, &updater).await
        }
        UpdateCommand::Install { bundle, until, force, no_wait } => {
            let location = if bundle.starts_with("https://") {
                bundle
            } else {
                let path = std::path::absolute(&bundle);
                let path = path.map_err(|error| Failure::usage(format!("{bundle}: {error}"), "name a file"))?;
                path.to_string_lossy().into_owned()
            };
            let options = InstallOptions { until: Some(until), force: force.then_some(true) };
            let before = last(&link, &updater).await?.map(|outcome| outcome.number);
            updater.install(&location, options).await.map_err(told)?;
            if no_wait {
                return status(&link, out, &updater).await;
            }
            follow(&link, out, &updater, before).await
        }
        UpdateCommand::Approve { until } => {
            updater.approve(&until, HashMap::new()).await.map_err(told)?;
            status(&link, out, &updater).await
        }
        UpdateCommand::Cancel => {
            updater.cancel(HashMap::new()).await.map_err(told)?;
            status(&link, out, &updater).await
        }
        UpdateCommand::Rollback => {
            updater.rollback(HashMap::new()).await.map_err(told)?;
            status(&link, out, &updater).await
        }
        UpdateCommand::History => history(&link, out, &updater).await,
    }
}

/// The updater, which must be running.
async fn updater(link: &Link) -> Result<UpdaterProxy<'static>, Failure> {
    let told = |error: zbus::Error| failure(link, &error);
    let dbus = DBusProxy::new(&link.connection).await.map_err(told)?;
    let name = BusName::from_static_str(UPDATER_BUS_NAME).map_err(|error| told(error.into()))?;
    if !dbus.name_has_owner(name).await.map_err(|error| told(error.into()))? {
        return Err(absent(link));
    }
    UpdaterProxy::builder(&link.connection).cache_properties(CacheProperties::No).build().await.map_err(told)
}

fn absent(link: &Link) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("the updater is not running on {}", link.name),
        "start it (systemctl start holdfast-updater); journalctl -u holdfast-updater says what keeps it from running",
    )
}

/// Refusals are the updater's own; all else is told as for the recorder, but for who it is that is not there.
fn failure(link: &Link, error: &zbus::Error) -> Failure {
    let failure = bus::failure(link, error);
    if failure.exit == Exit::Unreachable { absent(link) } else { failure }
}

struct Shown {
    state: String,
    waits_for: String,
    offered: String,
    percent: u32,
    message: String,
    frozen: bool,
    throttled: String,
    booted: String,
    source: String,
    turn: i64,
    window: String,
    notice: String,
}

async fn look(link: &Link, updater: &UpdaterProxy<'_>) -> Result<Shown, Failure> {
    let shown = async {
        Ok(Shown {
            state: updater.state().await?,
            waits_for: updater.waits_for().await?,
            offered: updater.offered().await?,
            percent: updater.percent().await?,
            message: updater.message().await?,
            frozen: updater.frozen().await?,
            throttled: updater.throttled().await?,
            booted: updater.booted_slot().await?,
            source: updater.source().await?,
            turn: updater.turn().await?,
            window: updater.window().await?,
            notice: updater.notice().await?,
        })
    };
    shown.await.map_err(|error: zbus::Error| failure(link, &error))
}

async fn outcomes(link: &Link, updater: &UpdaterProxy<'_>) -> Result<Vec<OutcomeInfo>, Failure> {
    updater.list_outcomes(HashMap::new()).await.map_err(|error| failure(link, &error))
}

async fn last(link: &Link, updater: &UpdaterProxy<'_>) -> Result<Option<OutcomeInfo>, Failure> {
    Ok(outcomes(link, updater).await?.into_iter().next())
}

async fn status(link: &Link, out: &Output, updater: &UpdaterProxy<'_>) -> Outcome {
    let (shown, last) = (look(link, updater).await?, last(link, updater).await?);
    let document = json!({
        "state": shown.state, "waits_for": shown.waits_for, "offered": shown.offered, "percent": shown.percent,
        "message": shown.message, "frozen": shown.frozen, "throttled": shown.throttled, "booted_slot": shown.booted,
        "source": shown.source, "turn": shown.turn, "window": shown.window, "notice": shown.notice, "last": last.as_ref().map(document),
    });
    out.result(&document, || {
        let mut text = format!("{} (running from slot {})", out.state(&shown.state), shown.booted);
        if !shown.offered.is_empty() {
            text.push_str(&format!("\nupdate to {}{}", shown.offered, source(&shown.source)));
        }
        if shown.percent > 0 {
            text.push_str(&format!("\n{} % {}", shown.percent, shown.message));
        }
        if shown.frozen {
            text.push_str("\nheld still because of a recording");
        }
        if !shown.throttled.is_empty() {
            text.push_str(&format!("\n{}", shown.throttled));
        }
        if !shown.waits_for.is_empty() {
            text.push_str(&format!("\nwaits for {}", shown.waits_for));
        }
        if shown.turn > 0 {
            text.push_str(&format!("\nits turn comes at {}", output::time(shown.turn.saturating_mul(1_000_000))));
        }
        if !shown.window.is_empty() {
            text.push_str(&format!("\nby itself it installs and reboots at {} only", shown.window));
        }
        if !shown.notice.is_empty() {
            text.push_str(&format!("\n{}", shown.notice));
        }
        if let Some(last) = &last {
            text.push_str(&format!("\nlast: {}", sentence(last)));
        }
        text
    })?;
    Ok(Exit::Ok)
}

/// Where it comes from, for people.
fn source(source: &str) -> &'static str {
    match source {
        "usb" => ", from a USB stick",
        "channel" => ", from the release channel",
        "fleet" => ", from the fleet's server",
        "url" => ", from a server",
        _ => "",
    }
}

fn document(outcome: &OutcomeInfo) -> serde_json::Value {
    json!({
        "number": outcome.number, "version": outcome.version, "result": outcome.result, "code": outcome.code,
        "text": outcome.text, "at": outcome.at,
    })
}

fn sentence(outcome: &OutcomeInfo) -> String {
    let reason = if outcome.text.is_empty() { String::new() } else { format!(": {}", outcome.text) };
    format!("{} {}{reason}", outcome.version, outcome.result)
}

async fn history(link: &Link, out: &Output, updater: &UpdaterProxy<'_>) -> Outcome {
    let outcomes = outcomes(link, updater).await?;
    let documents: Vec<_> = outcomes.iter().map(document).collect();
    out.result(&documents, || {
        if outcomes.is_empty() {
            return "no update has ended yet".to_owned();
        }
        let rows: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                let at = output::time(outcome.at.saturating_mul(1_000_000));
                vec![at, outcome.version.clone(), out.state(&outcome.result), outcome.text.clone()]
            })
            .collect();
        output::table(&["WHEN", "RELEASE", "RESULT", "WHY"], &rows)
    })?;
    Ok(Exit::Ok)
}

/// Shows how it goes, until it has ended, waits for a person, or the box goes down.
async fn follow(link: &Link, out: &Output, updater: &UpdaterProxy<'_>, before: Option<u64>) -> Outcome {
    let told = |error: zbus::Error| failure(link, &error);
    // One subscription for all of it: each change is a reason to look again.
    let properties = zbus::fdo::PropertiesProxy::builder(&link.connection)
        .destination(UPDATER_BUS_NAME)
        .and_then(|builder| builder.path(holdfast_dbus::updater::UPDATER_PATH))
        .map_err(told)?
        .build()
        .await
        .map_err(told)?;
    let mut changes = properties.receive_properties_changed().await.map_err(told)?;
    let bar = bar(100, "{bar:30} {msg}");
    let mut ended = None;
    loop {
        let shown = look(link, updater).await?;
        if let Some(outcome) = last(link, updater).await?.filter(|outcome| Some(outcome.number) != before) {
            ended = Some(outcome);
            break;
        }
        bar.set_position(shown.percent.into());
        let waits = if shown.waits_for.is_empty() { String::new() } else { format!(", waits for {}", shown.waits_for) };
        bar.set_message(format!("{}{waits} {}", shown.state, shown.message));
        // What waits for a person, or for the box to go down, is not waited for here.
        let waits_for_person = shown.waits_for.starts_with("somebody");
        if waits_for_person || shown.state == "awaiting-reboot" || changes.next().await.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    match ended {
        None => status(link, out, updater).await,
        Some(outcome) => {
            out.result(&document(&outcome), || sentence(&outcome))?;
            Ok(if outcome.result == "good" { Exit::Ok } else { Exit::Findings })
        }
    }
}
