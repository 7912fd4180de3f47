//! The recorder, as a panel sees it: what it says of itself, and what it is asked to do. Over D-Bus only.
//!
//! [`run`] tries for ever, [`run_once`](Link::run_once) ends with the first thing that goes wrong. Whether silence is a fault is not
//! decided here: the newest [`Snapshot`] carries its time, and [`truth`](crate::truth) judges it.

mod read;
mod reports;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use holdfast_dbus::updater::UPDATER_BUS_NAME;
use holdfast_dbus::{BUS_NAME, Error, ErrorCode, RecorderProxy, Reported, StartOptions, StopOptions};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;

use crate::orders::{Answer, Call};
use crate::snapshot::Snapshot;

/// How often the recorder is asked: a light must know of a silence of 2 s.
const LOOK: Duration = Duration::from_millis(500);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(1);
/// A Start or Mark answers at once; one that does not is asked again, with the same token.
const CALL_PATIENCE: Duration = Duration::from_secs(2);
/// A Stop answers when all files are durable, after 18 s at the latest.
const STOP_PATIENCE: Duration = Duration::from_secs(25);
/// Before the bus is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A call and the number that its answer carries.
pub type Numbered = (u64, Call);

/// How the rest of the panel reaches the recorder.
#[derive(Debug)]
pub struct Link {
    /// The bus it is on.
    pub bus: Bus,
    /// What it says. `None` before it has said anything; stays as it is while it is silent.
    pub snapshots: watch::Sender<Option<Snapshot>>,
    /// What it is to do. Full (16): nobody presses so fast; the desk keeps what it could not hand over.
    pub calls: mpsc::Receiver<Numbered>,
    /// How that went. Full (16): this task waits, and with it the next snapshot.
    pub answers: mpsc::Sender<(u64, Answer)>,
    /// What is wrong with the panel itself: the recorder has it among its alerts.
    pub reports: watch::Receiver<Vec<Reported>>,
}

/// Which bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bus {
    /// The system's.
    System,
    /// This user's.
    Session,
    /// One at this address.
    Address(String),
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// It is not there.
    pub async fn connect(&self) -> zbus::Result<Connection> {
        use zbus::connection::Builder;
        match self {
            Self::System => Builder::system()?,
            Self::Session => Builder::session()?,
            Self::Address(address) => Builder::address(address.as_str())?,
        }
        .build()
        .await
    }
}

/// Runs for ever.
pub async fn run(mut link: Link) {
    let mut told = String::new();
    loop {
        let error = link.run_once().await.to_string();
        // What is called for meanwhile can't be done, and whoever called is told so.
        while let Ok((number, _)) = link.calls.try_recv() {
            let _ = link.answers.send((number, Answer::Unreachable)).await;
        }
        if error != told {
            warn!("the recorder can't be reached, tried again: {error}");
            told = error;
        }
        sleep(RETRY).await;
    }
}

type Asked = FuturesUnordered<BoxFuture<'static, (u64, Answer)>>;

impl Link {
    /// Until the bus is gone.
    async fn run_once(&mut self) -> zbus::Error {
        let connection = match self.bus.connect().await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        match self.serve(&connection).await {
            Ok(()) => zbus::Error::Failure("the panel ends".to_owned()),
            Err(error) => error,
        }
    }

    async fn serve(&mut self, connection: &Connection) -> zbus::Result<()> {
        let recorder = RecorderProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
        let bus = DBusProxy::new(connection).await?;
        let filter = [(0, BUS_NAME)];
        let mut owners = bus.receive_name_owner_changed_with_args(&filter).await?;
        let mut states = recorder.receive_recorder_state_changed().await?;
        let mut view = read::View::new(connection.clone());
        let mut updates = read::Updates::new(connection).await?;
        let filter = [(0, UPDATER_BUS_NAME)];
        let mut updaters = bus.receive_name_owner_changed_with_args(&filter).await?;
        updates.is_there = bus.name_has_owner(UPDATER_BUS_NAME.try_into()?).await?;
        let mut reporter = reports::Reporter::new(connection).await?;
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Asked::new();
        // Looking must not start a recorder that somebody has stopped; a press may.
        let mut has_owner = bus.name_has_owner(BUS_NAME.try_into()?).await?;
        let mut is_there = false;
        loop {
            tokio::select! {
                biased;
                Some((number, call)) = self.calls.recv() => {
                    asked.push(Box::pin(ask(recorder.clone(), number, call)));
                    continue;
                }
                Some(answer) = asked.next() => {
                    let _ = self.answers.send(answer).await;
                    // What came of it is looked at now, not half a second later.
                }
                Some(change) = owners.next() => {
                    has_owner = change.args()?.new_owner().is_some();
                    info!("the recorder {}", if has_owner { "is there" } else { "is gone" });
                    view.forget();
                    reporter.forget();
                }
                Some(change) = updaters.next() => updates.is_there = change.args()?.new_owner().is_some(),
                Some(_) = states.next() => {}
                _ = ticks.tick() => {}
                () = connection.closed() => return Err(zbus::Error::InputOutput(Arc::new(std::io::ErrorKind::ConnectionAborted.into()))),
            }
            if !has_owner {
                continue;
            }
            match timeout(PATIENCE, view.read()).await {
                Ok(Ok(mut snapshot)) => {
                    is_there = true;
                    snapshot.update = timeout(PATIENCE, updates.now()).await.unwrap_or_default();
                    self.snapshots.send_replace(Some(snapshot));
                    // Behind the look, so that it never keeps the light from knowing.
                    let reports = self.reports.borrow_and_update().clone();
                    reporter.report(reports).await;
                }
                Ok(Err(error)) => {
                    debug!("the recorder does not answer: {error}");
                    if std::mem::take(&mut is_there) {
                        warn!("the recorder does not answer: {error}");
                    }
                    view.forget();
                }
                Err(_) => debug!("the recorder does not answer"),
            }
        }
    }
}

/// Asks once; who wants it asked again says so.
async fn ask(recorder: RecorderProxy<'static>, number: u64, call: Call) -> (u64, Answer) {
    let patience = if matches!(call, Call::Stop { .. }) { STOP_PATIENCE } else { CALL_PATIENCE };
    let answer = match timeout(patience, ask_once(&recorder, &call)).await {
        Ok(Ok(session)) => Answer::Done { session },
        Ok(Err(error)) => answer_of(&error),
        Err(_) => Answer::Unreachable,
    };
    info!(?call, ?answer, "asked the recorder");
    (number, answer)
}

async fn ask_once(recorder: &RecorderProxy<'_>, call: &Call) -> zbus::Result<Option<String>> {
    match call {
        Call::Start { token } => {
            let options = StartOptions { token: Some(token.clone()), ..StartOptions::default() };
            recorder.start(options).await.map(|(session, _)| Some(session.to_string()))
        }
        Call::Stop { session } => {
            let session = Some(OwnedObjectPath::try_from(session.as_str())?);
            recorder.stop(StopOptions { session, ..StopOptions::default() }).await.map(|_| None)
        }
        Call::Mark { text } => recorder.mark(text, HashMap::new()).await.map(|()| None),
    }
}

/// What the recorder says itself is an answer; all else means that it was not reached.
fn answer_of(error: &zbus::Error) -> Answer {
    match Error::from_zbus(error) {
        // It asks to be asked again.
        Some(error) if error.code == ErrorCode::Busy => Answer::Unreachable,
        Some(error) => Answer::Refused { code: error.code, text: error.message },
        None => Answer::Unreachable,
    }
}
