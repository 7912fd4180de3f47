//! What the recorder and its inputs are doing, read at once.

use std::collections::{BTreeMap, HashMap};

use holdfast_dbus::{BUS_NAME, NO_OBJECT, RecorderProxy, StorageInfo, session_id_of};
use serde::Serialize;
use zbus::names::InterfaceName;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

use crate::alerts::{self, Alert};
use crate::bus::{self, Link};
use crate::failure::Failure;
use crate::output::{self, Output};

/// The recorder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    pub version: String,
    pub state: String,
    pub message: String,
    /// Id of the session being recorded.
    pub session: Option<String>,
    pub label: String,
    pub duration_usec: u64,
    pub safe_frames: u64,
    pub safe_bytes: u64,
    pub lost_frames: u64,
    pub gaps: u64,
    pub storage: Option<Storage>,
    pub pressure: Pressure,
    /// Those that hold, the worst first.
    pub alerts: Vec<Alert>,
    pub inputs: Vec<Input>,
}

/// How hard the box is pressed; empty where the recorder does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pressure {
    pub level: String,
    pub causes: Vec<String>,
    pub shed: Vec<String>,
    pub bitrate_percent: u64,
}

/// The storage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Storage {
    pub level: String,
    pub root: String,
    pub total_bytes: u64,
    pub free_bytes: u64,
    pub used_percent: f64,
    pub warn_percent: u32,
    pub block_percent: u32,
    pub rate_bytes_per_second: u64,
    pub seconds_left: Option<u64>,
    pub message: String,
}

/// An input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    pub name: String,
    pub source: String,
    pub state: String,
    pub armed: bool,
    pub encoder: String,
    pub source_state: String,
    pub source_error: String,
    /// yes, no or unknown: whether a recording would find a source, while no capture serves it.
    pub reachable: String,
    pub reach_error: String,
    pub session: Option<String>,
    pub safe_frames: u64,
    pub safe_bytes: u64,
    pub dropped: BTreeMap<String, u64>,
    pub counts: BTreeMap<String, u64>,
    pub restarts: u64,
    pub pid: u64,
    pub current_file: String,
    pub preroll_ms: u64,
    pub queue_bytes: u64,
    pub queue_capacity_bytes: u64,
    pub sync_usec: u64,
}

/// All properties of an object's interface; what is missing or of another type reads as nothing, so that a newer or older
/// recorder can still be looked at.
struct Properties(HashMap<String, OwnedValue>);

impl Properties {
    async fn read(link: &Link, path: &str, interface: &'static str) -> Result<Self, Failure> {
        let fail = |error: zbus::Error| bus::failure(link, &error);
        let proxy = zbus::fdo::PropertiesProxy::builder(&link.connection)
            .destination(BUS_NAME)
            .and_then(|builder| builder.path(path.to_owned()))
            .map_err(fail)?
            .build()
            .await
            .map_err(fail)?;
        let interface = InterfaceName::from_static_str_unchecked(interface);
        proxy.get_all(interface).await.map(Self).map_err(|error| fail(error.into()))
    }

    fn text(&self, name: &str) -> String {
        match self.0.get(name).map(|value| &**value) {
            Some(Value::Str(text)) => text.to_string(),
            Some(Value::ObjectPath(path)) => path.to_string(),
            _ => String::new(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        match self.0.get(name).map(|value| &**value) {
            Some(Value::U64(number)) => *number,
            Some(Value::U32(number)) => u64::from(*number),
            _ => 0,
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name).map(|value| &**value), Some(Value::Bool(true)))
    }

    fn figures(&self, name: &str) -> BTreeMap<String, u64> {
        let value = self.0.get(name).and_then(|value| value.try_clone().ok());
        let figures: HashMap<String, u64> = value.and_then(|value| HashMap::try_from(value).ok()).unwrap_or_default();
        figures.into_iter().collect()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let value = self.0.get(name).and_then(|value| value.try_clone().ok());
        value.and_then(|value| Vec::try_from(value).ok()).unwrap_or_default()
    }

    fn paths(&self, name: &str) -> Vec<OwnedObjectPath> {
        let value = self.0.get(name).and_then(|value| value.try_clone().ok());
        value.and_then(|value| Vec::try_from(value).ok()).unwrap_or_default()
    }
}

fn session(path: &str) -> Option<String> {
    if path == NO_OBJECT || path.is_empty() { None } else { session_id_of(path) }
}

/// Reads the recorder's present state.
pub async fn take(link: &Link, recorder: &RecorderProxy<'_>) -> Result<Snapshot, Failure> {
    let main = Properties::read(link, holdfast_dbus::ROOT_PATH, "org.holdfast.Recorder1").await?;
    let mut inputs = Vec::new();
    for path in main.paths("Inputs") {
        // An input that went away between two questions is simply no longer there.
        if let Ok(input) = Properties::read(link, path.as_str(), "org.holdfast.Recorder1.Input").await {
            inputs.push(read_input(&input));
        }
    }
    let current = main.text("CurrentSession");
    let id = session(&current);
    let label = match &id {
        Some(_) => match Properties::read(link, &current, "org.holdfast.Recorder1.Session").await {
            Ok(session) => session.text("Label"),
            Err(_) => String::new(),
        },
        None => String::new(),
    };
    let storage = recorder.get_storage_info(HashMap::new()).await.ok().map(read_storage);
    // An older recorder has none.
    let alerts = alerts::active(link).await.unwrap_or_default();
    Ok(Snapshot {
        version: main.text("Version"),
        state: main.text("State"),
        message: main.text("StateMessage"),
        session: id,
        label,
        duration_usec: main.number("DurationUsec"),
        safe_frames: main.number("SafeFrames"),
        safe_bytes: main.number("SafeBytes"),
        lost_frames: main.number("LostFrames"),
        gaps: main.number("GapCount"),
        storage,
        pressure: read_pressure(link).await,
        alerts,
        inputs,
    })
}

async fn read_pressure(link: &Link) -> Pressure {
    // A recorder of before does not have it.
    let read = Properties::read(link, holdfast_dbus::ROOT_PATH, "org.holdfast.Recorder1.Pressure").await;
    read.map_or_else(
        |_| Pressure::default(),
        |all| Pressure {
            level: all.text("Level"),
            causes: all.texts("Causes"),
            shed: all.texts("Shed"),
            bitrate_percent: all.number("BitratePercent"),
        },
    )
}

fn read_input(input: &Properties) -> Input {
    Input {
        name: input.text("Name"),
        source: input.text("Source"),
        state: input.text("State"),
        armed: input.flag("Armed"),
        encoder: input.text("Encoder"),
        source_state: input.text("SourceState"),
        source_error: input.text("SourceError"),
        reachable: input.text("Reachable"),
        reach_error: input.text("ReachError"),
        session: session(&input.text("Session")),
        safe_frames: input.number("SafeFrames"),
        safe_bytes: input.number("SafeBytes"),
        dropped: input.figures("Dropped"),
        counts: input.figures("Counts"),
        restarts: input.number("Restarts"),
        pid: input.number("Pid"),
        current_file: input.text("CurrentFile"),
        preroll_ms: input.number("PrerollMs"),
        queue_bytes: input.number("QueueBytes"),
        queue_capacity_bytes: input.number("QueueCapacityBytes"),
        sync_usec: input.number("SyncUsec"),
    }
}

fn read_storage(info: StorageInfo) -> Storage {
    Storage {
        level: info.level,
        root: info.root,
        total_bytes: info.total_bytes,
        free_bytes: info.free_bytes,
        used_percent: info.used_percent,
        warn_percent: info.warn_percent,
        block_percent: info.block_percent,
        rate_bytes_per_second: info.rate_bytes_per_second,
        seconds_left: info.seconds_left,
        message: info.message,
    }
}

impl Snapshot {
    /// For people.
    pub fn text(&self, out: &Output) -> String {
        let mut text = out.state(&self.state);
        if let Some(session) = &self.session {
            text.push_str(&format!("  {session}"));
        }
        if !self.label.is_empty() {
            text.push_str(&format!("  \"{}\"", self.label));
        }
        if self.session.is_some() {
            text.push_str(&format!("  {}", output::duration(self.duration_usec)));
        }
        if !self.message.is_empty() {
            text.push_str(&format!("\n         {}", self.message));
        }
        let lost = format!("{} lost, {}", self.lost_frames, output::count(self.gaps, "gap"));
        let lost =
            if self.lost_frames + self.gaps > 0 { out.style().yellow().apply_to(lost).to_string() } else { lost };
        text.push_str(&format!(
            "\nsafe     {}, {}   {lost}",
            output::count(self.safe_frames, "frame"),
            output::bytes(self.safe_bytes)
        ));
        if let Some(storage) = &self.storage {
            text.push_str(&format!("\nstorage  {}", storage.text(out)));
        }
        if let Some(worst) = self.alerts.first() {
            let count = out.state(worst.rank().name()).replace(worst.rank().name(), &alerts::summary(&self.alerts));
            text.push_str(&format!("\nalerts   {count}: {} ({}): {}", worst.code, worst.source, worst.text));
            text.push_str(if self.alerts.len() > 1 { "; holdfast alerts shows all" } else { "" });
        }
        if !self.pressure.shed.is_empty() {
            let (causes, shed) = (self.pressure.causes.join(", "), self.pressure.shed.join(", "));
            text.push_str(&format!("\npressure {}  {causes}; steps back: {shed}", out.state(&self.pressure.level)));
        }
        if self.inputs.is_empty() {
            text.push_str("\nno inputs are configured");
        } else {
            text.push_str("\n\n");
            text.push_str(&inputs_table(&self.inputs, out));
        }
        text
    }

    /// One line, for a pipe.
    pub fn line(&self) -> String {
        let inputs: Vec<String> = self
            .inputs
            .iter()
            .map(|input| {
                let lost: u64 = input.dropped.values().sum();
                format!("{}={}:{}f:{lost}lost", input.name, input.state, input.safe_frames)
            })
            .collect();
        format!(
            "{} {} {} safe_frames={} safe_bytes={} lost_frames={} gaps={} alerts={} {}",
            self.state,
            self.session.as_deref().unwrap_or("-"),
            output::duration(self.duration_usec),
            self.safe_frames,
            self.safe_bytes,
            self.lost_frames,
            self.gaps,
            match self.alerts.is_empty() {
                true => "-".to_owned(),
                false => self
                    .alerts
                    .iter()
                    .map(|alert| format!("{}:{}", alert.code, alert.source))
                    .collect::<Vec<_>>()
                    .join(","),
            },
            inputs.join(" ")
        )
        .trim_end()
        .to_owned()
    }
}

impl Storage {
    fn text(&self, out: &Output) -> String {
        let mut text = format!(
            "{}  {:.0} % of {} used, {} free",
            out.state(&self.level),
            self.used_percent,
            output::bytes(self.total_bytes),
            output::bytes(self.free_bytes)
        );
        if let Some(seconds) = self.seconds_left {
            text.push_str(&format!(", full in {}", output::duration(seconds.saturating_mul(1_000_000))));
        }
        text.push_str(&format!("   {}", self.root));
        if !self.message.is_empty() {
            text.push_str(&format!("\n         {}", self.message));
        }
        text
    }
}

impl Input {
    /// How its source is, in one word: as its capture says, or as it was found where none runs.
    fn source_word(&self) -> &str {
        match (self.source_state.as_str(), self.reachable.as_str()) {
            ("", "yes") => "reachable",
            ("", "no") => "unreachable",
            ("", _) => "-",
            (state, _) => state,
        }
    }
}

/// A row per input, and below it what is wrong with it.
pub fn inputs_table(inputs: &[Input], out: &Output) -> String {
    let head = ["INPUT", "STATE", "SOURCE", "ENCODER", "SAFE", "BYTES", "LOST", "RESTARTS", "QUEUE", "SYNC", "FILE"];
    let rows: Vec<Vec<String>> = inputs
        .iter()
        .map(|input| {
            let lost: u64 = input.dropped.values().sum();
            let queue = match input.queue_capacity_bytes {
                0 => "-".to_owned(),
                capacity => format!("{} %", u128::from(input.queue_bytes) * 100 / u128::from(capacity)),
            };
            let or_dash = |text: &str| {
                if text.is_empty() { "-".to_owned() } else { text.to_owned() }
            };
            let lost = if lost > 0 { out.style().yellow().apply_to(lost).to_string() } else { lost.to_string() };
            vec![
                input.name.clone(),
                out.state(&input.state),
                out.state(input.source_word()),
                or_dash(&input.encoder),
                input.safe_frames.to_string(),
                output::bytes(input.safe_bytes),
                lost,
                input.restarts.to_string(),
                queue,
                if input.sync_usec == 0 {
                    "-".to_owned()
                } else {
                    format!("{}.{} ms", input.sync_usec / 1000, input.sync_usec / 100 % 10)
                },
                or_dash(input.current_file.rsplit('/').next().unwrap_or_default()),
            ]
        })
        .collect();
    let mut text = output::table(&head, &rows);
    for input in inputs {
        for error in [&input.source_error, &input.reach_error].into_iter().filter(|error| !error.is_empty()) {
            text.push_str(&format!("\n{}: {error}", out.style().red().apply_to(&input.name)));
        }
    }
    text
}
