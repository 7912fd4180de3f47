//! Looks at the recorder's own figures while a slot is written or read beside a recording, and sets the pace by them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use holdfast_dbus::{BUS_NAME, RecorderProxy};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info};
use zbus::Connection;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use crate::throttle::{Look, Pace, Seen, Throttle};
use crate::valve::Valve;

/// How often it is looked. An input syncs twice a second unless it is configured otherwise.
const EVERY: Duration = Duration::from_millis(200);
/// Figures that take longer are none.
const PATIENCE: Duration = Duration::from_millis(800);

const INPUT: InterfaceName<'static> = InterfaceName::from_static_str_unchecked("org.holdfast.Recorder1.Input");

/// Sets the pace until it is dropped; then all is free again.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<()>,
    valve: Arc<Valve>,
}

impl Watch {
    /// Begins: nothing goes before it has been looked.
    pub fn start(connection: &Connection, valve: &Arc<Valve>) -> Self {
        valve.set(Pace::Still("looking whether anything is recorded"));
        Self { task: tokio::spawn(watch(connection.clone(), Arc::clone(valve))), valve: Arc::clone(valve) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
        self.valve.set(Pace::Free);
    }
}

/// For people, while something is recorded; else empty.
pub fn words(pace: Pace) -> String {
    match pace {
        Pace::Free => String::new(),
        Pace::At(rate) => {
            format!("writing at {}.{} MiB/s beside a recording", rate >> 20, ((rate & 0xf_ffff) * 10) >> 20)
        }
        Pace::Still(why) => format!("standing still beside a recording: {why}"),
    }
}

async fn watch(connection: Connection, valve: Arc<Valve>) {
    let mut throttle = Throttle::default();
    let began = Instant::now();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = true;
    loop {
        ticks.tick().await;
        let found = timeout(PATIENCE, look(&connection)).await;
        let is_known = matches!(found, Ok(Ok(_)));
        if known != is_known {
            info!(is_known, "the recorder's figures");
            known = is_known;
        }
        let found = found.ok().and_then(Result::ok).unwrap_or(Look::Unknown);
        let now_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let pace = throttle.look(now_ns, &found);
        debug!(?found, ?pace, "beside a recording");
        valve.set(pace);
    }
}

async fn look(connection: &Connection) -> zbus::Result<Look> {
    let recorder = RecorderProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    if recorder.state().await? == "idle" {
        return Ok(Look::Quiet);
    }
    let inputs = recorder.inputs().await?;
    let seen = try_join_all(inputs.into_iter().map(|path| input(connection, path))).await?;
    Ok(Look::Recording(seen.into_iter().flatten().collect()))
}

/// `None`: it takes no part.
async fn input(connection: &Connection, path: OwnedObjectPath) -> zbus::Result<Option<Seen>> {
    let properties = PropertiesProxy::builder(connection).destination(BUS_NAME)?.path(path)?;
    let values = properties.cache_properties(CacheProperties::No).build().await?.get_all(INPUT).await?;
    if !["recording", "stopping"].contains(&text(&values, "State")) {
        return Ok(None);
    }
    let lost = values.get("Dropped").cloned().map(HashMap::<String, u64>::try_from).transpose()?;
    Ok(Some(Seen {
        name: text(&values, "Name").to_owned(),
        safe_frames: number(&values, "SafeFrames")?,
        sync_us: u32::try_from(
            values.get("SyncUsec").ok_or_else(|| zbus::Error::Failure("an input has no SyncUsec".to_owned()))?,
        )?,
        queue_bytes: number(&values, "QueueBytes")?,
        queue_capacity_bytes: number(&values, "QueueCapacityBytes")?,
        lost_frames: lost.map_or(0, |lost| lost.values().sum()),
    }))
}

fn text<'a>(values: &'a HashMap<String, OwnedValue>, name: &str) -> &'a str {
    values.get(name).and_then(|value| value.downcast_ref::<&str>().ok()).unwrap_or_default()
}

fn number(values: &HashMap<String, OwnedValue>, name: &str) -> zbus::Result<u64> {
    let missing = || zbus::Error::Failure(format!("an input has no {name}"));
    Ok(u64::try_from(values.get(name).ok_or_else(missing)?)?)
}
