//! Whether this system does what the box is for. Not whether services are up: whether it records.
//!
//! What has to hold, in this order: the recorder answers; no service is down; the storage takes footage, and what was recorded last
//! can still be read; every input delivers; a recording made now is safe, closed, and on reading it again all there: whole, and
//! picture by picture what was recorded. A recording that runs already (an interrupted session goes on by itself) is the proof
//! instead of another one, and is not touched: what is safe of it is decoded as it lies there.

mod decoding;

use std::path::Path;
use std::time::Duration;

use holdfast_dbus::{BUS_NAME, InputProxy, ListOptions, RecorderProxy, SessionProxy, StartOptions, StopOptions};
use holdfast_segment::verify::{self, Severity};
use holdfast_update_plan::Reason;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;

use crate::{files, services};
use decoding::Extent;

/// How often something that is waited for is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// A call that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The same where it is only asked why.
const SOON: Duration = Duration::from_secs(2);
/// How long an input may be away before an update is refused for it: the recorder looks for one that nobody records each 30 s, and the
/// first look may come when the camera does not answer yet. Time for two, and their ends.
const COMES_BACK: Duration = Duration::from_secs(75);
/// How much of what was recorded last is decoded.
const LAST_FOOTAGE: Duration = Duration::from_secs(5);
/// The label of the recording that is made.
const LABEL: &str = "proof of an update";

type Proof<T> = Result<T, Reason>;

fn wrong(code: &str, text: impl Into<String>) -> Reason {
    Reason::new(code, text)
}

/// Only that the recorder answers and has its storage: for boots that are no trial.
pub async fn confirm(connection: &Connection, until: Instant) -> Proof<()> {
    let recorder = recorder(connection, until).await?;
    storage(&recorder, until).await
}

/// All of it. `probe`: how long the recording is.
pub async fn prove(connection: &Connection, probe: Duration, until: Instant) -> Proof<()> {
    let recorder = recorder(connection, until).await?;
    services::up(connection, until).await?;
    storage(&recorder, until).await?;
    last_footage(connection, &recorder, until).await?;
    let inputs = inputs(connection, &recorder).await?;
    for input in &inputs {
        delivers(input, until).await?;
    }
    if inputs.is_empty() {
        info!("no input is configured: there is nothing that could be recorded");
        return Ok(());
    }
    // One that a former life of this program has begun is taken up, so that somebody ends it.
    let ours = own(connection, &recorder).await?;
    if ours.is_none() && is_busy(&recorder).await? {
        info!("a recording runs: it is the proof");
        return running(connection, &recorder, &inputs, probe, until).await;
    }
    record(connection, &recorder, &inputs, ours, probe, until).await
}

/// Inputs that are known to be away and do not come back within a while: a box that was just switched on, or that has just ended a recording,
/// may not have found its cameras yet. The same as [`absent_inputs`] else.
pub async fn lasting_absences(connection: &Connection) -> Vec<String> {
    let until = Instant::now() + COMES_BACK;
    loop {
        let absent = absent_inputs(connection).await;
        if absent.is_empty() || Instant::now() >= until {
            return absent;
        }
        sleep(LOOK).await;
    }
}

/// Inputs that are known to be away: with them a new system could not prove itself, whatever it is like. Empty, too, if nobody knows.
async fn absent_inputs(connection: &Connection) -> Vec<String> {
    let looked = async {
        let recorder = recorder(connection, Instant::now()).await?;
        let mut absent = Vec::new();
        for input in inputs(connection, &recorder).await? {
            let probed = call("an input", input.proxy.reachable()).await?;
            // Where a capture has it, that knows.
            let state = call("an input", input.proxy.state()).await?;
            let fails = !call("an input", input.proxy.source_error()).await?.is_empty();
            if probed == "no" || fails && !matches!(state.as_str(), "armed" | "recording") {
                absent.push(input.name);
            }
        }
        Proof::Ok(absent)
    };
    looked.await.unwrap_or_default()
}

/// Ends a recording that a former life of this program has begun as a proof and has not ended: it would hold back whatever waits
/// for a time at which nothing is recorded.
pub async fn tidy(connection: &Connection) {
    let tidied = async {
        let recorder = recorder(connection, Instant::now() + PATIENCE).await?;
        if let Some(session) = own(connection, &recorder).await? {
            info!(session = session.as_str(), "a proof that nobody waits for any more is ended");
            let options = StopOptions { session: Some(session), ..StopOptions::default() };
            call("a stop", recorder.stop(options)).await?;
        }
        Proof::Ok(())
    };
    if let Err(reason) = tidied.await {
        warn!("whether a proof was left running is not known: {}", reason.text);
    }
}

/// The recording that runs, if it is a proof.
async fn own(connection: &Connection, recorder: &RecorderProxy<'_>) -> Proof<Option<OwnedObjectPath>> {
    let session = call("the current session", recorder.current_session()).await?;
    if session.as_str() == holdfast_dbus::NO_OBJECT {
        return Ok(None);
    }
    let label = call("a session", session_of(connection, &session).await?.label()).await?;
    Ok((label == LABEL).then_some(session))
}

async fn session_of(connection: &Connection, session: &OwnedObjectPath) -> Proof<SessionProxy<'static>> {
    let built = SessionProxy::builder(connection).path(session.clone());
    call("a session", async { built?.cache_properties(CacheProperties::No).build().await }).await
}

async fn call<T>(what: &str, work: impl Future<Output = zbus::Result<T>>) -> Proof<T> {
    match timeout(PATIENCE, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(wrong("recorder-refuses", format!("{what}: {error}"))),
        Err(_) => Err(wrong("recorder-silent", format!("{what}: no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Waits until something holds; `why` is what is said if it never does. It is looked at once at least, and then not beyond the time:
/// whoever waits for the reason does not wait longer. (Calls to a service that D-Bus starts take as long as that does not come up.)
async fn wait<F: Future<Output = Proof<bool>>>(until: Instant, why: Reason, mut look: impl FnMut() -> F) -> Proof<()> {
    loop {
        let looked =
            if Instant::now() < until { timeout_at(until, look()).await.unwrap_or(Ok(false)) } else { look().await };
        match looked {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(reason) if Instant::now() >= until => return Err(reason),
            Err(_) => {}
        }
        if Instant::now() >= until {
            return Err(why);
        }
        sleep(LOOK).await;
    }
}

async fn recorder(connection: &Connection, until: Instant) -> Proof<RecorderProxy<'static>> {
    let built = RecorderProxy::builder(connection).cache_properties(CacheProperties::No).build().await;
    let recorder = built.map_err(|error| wrong("no-bus", format!("the bus: {error}")))?;
    let answers =
        || async { Ok(call("the recorder's state", recorder.state()).await.is_ok_and(|state| state != "error")) };
    match wait(until, wrong("recorder-absent", String::new()), answers).await {
        Ok(()) => Ok(recorder),
        Err(_) => Err(why_absent(connection, &recorder).await),
    }
}

/// What is wrong with a recorder that has not come to answer.
async fn why_absent(connection: &Connection, recorder: &RecorderProxy<'_>) -> Reason {
    let owned = async {
        let name = BusName::try_from(BUS_NAME)?;
        Ok::<_, zbus::Error>(DBusProxy::new(connection).await?.name_has_owner(name).await?)
    };
    if !owned.await.unwrap_or(false) {
        return wrong(
            "recorder-absent",
            format!("{BUS_NAME} does not come to the bus; journalctl -u holdfast-recorder"),
        );
    }
    match timeout(SOON, recorder.state()).await {
        Ok(Ok(state)) => {
            wrong("recorder-absent", format!("{BUS_NAME} is on the bus, in state {state}; holdfast doctor says why"))
        }
        Ok(Err(error)) => wrong("recorder-refuses", format!("the recorder's state: {error}")),
        Err(_) => wrong(
            "recorder-silent",
            format!("{BUS_NAME} is on the bus and does not answer; journalctl -u holdfast-recorder"),
        ),
    }
}

async fn storage(recorder: &RecorderProxy<'_>, until: Instant) -> Proof<()> {
    let why = wrong("storage-unavailable", "the storage can't be written to; holdfast doctor says why");
    wait(until, why, || async {
        call("the storage's level", recorder.storage_level()).await.map(|level| level != "unavailable")
    })
    .await
}

/// What the system before has recorded last can be read by this one.
async fn last_footage(connection: &Connection, recorder: &RecorderProxy<'_>, until: Instant) -> Proof<()> {
    let options = ListOptions { limit: Some(5), ..ListOptions::default() };
    let sessions = call("the list of sessions", recorder.list_sessions(options)).await?;
    for session in sessions.iter().filter(|session| session.state == "stopped" && session.safe_frames > 0) {
        let path = holdfast_dbus::session_path(&session.id);
        let directory = directory(connection, &path).await?;
        // By name: they count up.
        let newest =
            footage(Path::new(&directory))?.into_iter().max_by_key(|path| path.file_name().map(ToOwned::to_owned));
        let Some(newest) = newest else { continue };
        whole(&[newest], "footage-unreadable").await?;
        // Its bytes are what the system before has written. What they show is that one's doing, and is not held against this one:
        // a box that has recorded damaged pictures must remain one that can be updated.
        let proxy = session_of(connection, &path).await?;
        // The time is for this system's own recording above all.
        let soon = Instant::now() + until.saturating_duration_since(Instant::now()) / 4;
        let found = decoding::decode(&proxy, Extent::Last(LAST_FOOTAGE), soon).await;
        if let Err(reason) = found.and_then(|found| decoding::judge(&found)) {
            warn!(code = reason.code, "of what was recorded before, the end is not as it should be: {}", reason.text);
        }
        return Ok(());
    }
    info!("there is no earlier footage to be read");
    Ok(())
}

async fn directory(connection: &Connection, session: &OwnedObjectPath) -> Proof<String> {
    call("where a session lies", session_of(connection, session).await?.path()).await
}

/// The closed files of a session.
fn footage(session: &Path) -> Proof<Vec<std::path::PathBuf>> {
    files::footage(session).map_err(|(path, error)| wrong("footage-unreadable", files::unreadable(&path, &error)))
}

/// Structure, digests and continuity of these files.
async fn whole(files: &[std::path::PathBuf], code: &str) -> Proof<()> {
    let files = files.to_vec();
    let report = tokio::task::spawn_blocking(move || verify::verify_files(&files)).await;
    let report = report.map_err(|error| wrong(code, error.to_string()))?;
    let bad = report.findings().find(|finding| finding.severity == Severity::Error);
    match bad {
        Some(bad) => Err(wrong(code, format!("{}, byte {}: {}", bad.path.display(), bad.offset, bad.what))),
        None => Ok(()),
    }
}

struct Watched {
    name: String,
    proxy: InputProxy<'static>,
}

async fn inputs(connection: &Connection, recorder: &RecorderProxy<'_>) -> Proof<Vec<Watched>> {
    let mut inputs = Vec::new();
    for path in call("the list of inputs", recorder.inputs()).await? {
        let name = holdfast_dbus::input_name_of(path.as_str()).unwrap_or_default();
        let built = InputProxy::builder(connection).path(path);
        let proxy = async { built?.cache_properties(CacheProperties::No).build().await };
        inputs.push(Watched { name, proxy: call("an input", proxy).await? });
    }
    Ok(inputs)
}

/// Its source is there: probed, or in use.
async fn delivers(input: &Watched, until: Instant) -> Proof<()> {
    let error = async { call("an input", input.proxy.reach_error()).await.unwrap_or_default() };
    let look = || async {
        let reachable = call("an input", input.proxy.reachable()).await?;
        let state = call("an input", input.proxy.state()).await?;
        Ok(reachable == "yes" || matches!(state.as_str(), "armed" | "recording"))
    };
    let why = wrong("input-silent", String::new());
    match wait(until, why, look).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let error = error.await;
            let why = if error.is_empty() { String::new() } else { format!(": {error}") };
            Err(wrong("input-silent", format!("the input {} delivers nothing{why}", input.name)))
        }
    }
}

async fn is_busy(recorder: &RecorderProxy<'_>) -> Proof<bool> {
    Ok(matches!(call("the recorder's state", recorder.state()).await?.as_str(), "starting" | "recording"))
}

/// Frames of every input that takes part become safe.
async fn advance(inputs: &[Watched], until: Instant) -> Proof<()> {
    for input in inputs {
        if call("an input", input.proxy.session()).await?.as_str() == holdfast_dbus::NO_OBJECT {
            continue;
        }
        let before = call("an input", input.proxy.safe_frames()).await?;
        let why = wrong("nothing-safe", format!("no footage of {} becomes safe", input.name));
        wait(until, why, || async { Ok(call("an input", input.proxy.safe_frames()).await? > before) }).await?;
    }
    Ok(())
}

/// The recording that runs goes on, and what this system has made safe of it can be decoded.
async fn running(
    connection: &Connection,
    recorder: &RecorderProxy<'_>,
    inputs: &[Watched],
    probe: Duration,
    until: Instant,
) -> Proof<()> {
    advance(inputs, until).await?;
    // So that what is looked at is this system's work alone.
    sleep(probe).await;
    let session = call("the current session", recorder.current_session()).await?;
    if session.as_str() == holdfast_dbus::NO_OBJECT {
        info!("it has ended meanwhile: it is not decoded");
        return Ok(());
    }
    let proxy = session_of(connection, &session).await?;
    let found = decoding::decode(&proxy, Extent::Last(probe), until).await?;
    decoding::judge(&found)?;
    decoding::covers(&found, 1, 1)
}

/// Records, and reads what was recorded.
async fn record(
    connection: &Connection,
    recorder: &RecorderProxy<'_>,
    inputs: &[Watched],
    ours: Option<OwnedObjectPath>,
    probe: Duration,
    until: Instant,
) -> Proof<()> {
    let options = StartOptions { label: Some(LABEL.to_owned()), ..StartOptions::default() };
    let session = match ours {
        Some(session) => session,
        None => match call("a start", recorder.start(options)).await {
            Ok((session, _)) => session,
            // Somebody was faster, which is as good.
            Err(_) if is_busy(recorder).await? => return running(connection, recorder, inputs, probe, until).await,
            Err(reason) => return Err(reason),
        },
    };
    let recorded = async {
        advance(inputs, until).await?;
        sleep(probe).await;
        Ok(())
    };
    let recorded = recorded.await;
    let options = StopOptions { session: Some(session.clone()), ..StopOptions::default() };
    let stopped = call("a stop", recorder.stop(options)).await;
    recorded?;
    let totals = stopped?;
    if totals.safe_frames == 0 || !totals.incomplete.is_empty() {
        let text = format!("the recording has {} safe frames; not closed: {:?}", totals.safe_frames, totals.incomplete);
        return Err(wrong("nothing-safe", text));
    }
    let directory = directory(connection, &session).await?;
    let files = footage(Path::new(&directory))?;
    if files.is_empty() {
        return Err(wrong("nothing-safe", format!("{directory} holds no closed file")));
    }
    whole(&files, "footage-damaged").await?;
    let proxy = session_of(connection, &session).await?;
    let found = decoding::decode(&proxy, Extent::All, until).await?;
    decoding::judge(&found)?;
    decoding::covers(&found, files.len(), totals.safe_frames)?;
    info!(frames = totals.safe_frames, files = files.len(), "this system records");
    if totals.lost_frames > 0 {
        warn!(frames = totals.lost_frames, "of the proof were lost");
    }
    Ok(())
}
