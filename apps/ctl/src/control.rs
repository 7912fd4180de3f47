//! Commands that change what the recorder does.

use std::collections::HashMap;
use std::time::Duration;

use holdfast_dbus::{StartOptions, StopOptions, session_id_of, session_path};
use serde_json::json;

use crate::args::{Global, Start};
use crate::bus::{self, Link};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};
use crate::resolve;

pub async fn start(global: &Global, out: &Output, start: Start) -> Outcome {
    let link = bus::connect(global).await?;
    // Not asked whether it runs: where activation is set up, the bus starts the recorder for this call.
    let recorder = proxy(&link).await?;
    let wait = Duration::from_secs_f64(start.wait);
    let options = StartOptions {
        inputs: Some(start.inputs).filter(|inputs| !inputs.is_empty()),
        label: start.label,
        token: start.token,
        wait_ms: u32::try_from(wait.as_millis()).ok().filter(|wait_ms| *wait_ms > 0),
        trace: None,
    };
    let (path, created) = recorder.start(options).await.map_err(|error| bus::failure(&link, &error))?;
    let id = session_id_of(path.as_str()).unwrap_or_default();
    // Only "recording" means that footage is safe; a recorder that can't be asked any more is not praised either.
    let state = recorder.state().await.unwrap_or_default();
    let document = json!({ "session": id, "object": path.as_str(), "created": created, "state": state });
    out.result(&document, || match (created, state.as_str()) {
        (true, "recording") => format!("recording {id}"),
        (true, _) => format!("started {id}, but no footage is safe yet; holdfast watch shows when it is"),
        (false, _) => format!("{id} it is already: the token was used before"),
    })?;
    Ok(Exit::Ok)
}

pub async fn stop(global: &Global, out: &Output, session: Option<String>) -> Outcome {
    let (link, recorder) = link(global).await?;
    let session = match session {
        Some(word) => Some(session_path(&resolve::on_bus(&link, &recorder, &word).await?)),
        None => None,
    };
    let totals =
        recorder.stop(StopOptions { session, trace: None }).await.map_err(|error| bus::failure(&link, &error))?;
    let document = json!({
        "session": totals.id,
        "duration_usec": totals.duration_usec,
        "safe_frames": totals.safe_frames,
        "safe_bytes": totals.safe_bytes,
        "lost_frames": totals.lost_frames,
        "files": totals.files,
        "gaps": totals.gaps,
        "incomplete": totals.incomplete,
    });
    out.result(&document, || {
        let mut text = format!(
            "stopped {} after {}: {}, {}, {}; {} lost, {}",
            totals.id,
            output::duration(totals.duration_usec),
            output::count(totals.safe_frames, "safe frame"),
            output::bytes(totals.safe_bytes),
            output::count(totals.files, "file"),
            totals.lost_frames,
            output::count(u64::from(totals.gaps), "gap"),
        );
        if !totals.incomplete.is_empty() {
            text.push_str(&format!(
                "\nnot closed cleanly: {}; its files are recovered, nothing that was safe is lost",
                totals.incomplete.join(", ")
            ));
        }
        text
    })?;
    Ok(Exit::Ok)
}

pub async fn mark(global: &Global, out: &Output, text: &str) -> Outcome {
    let (link, recorder) = link(global).await?;
    recorder.mark(text, HashMap::new()).await.map_err(|error| bus::failure(&link, &error))?;
    out.result(&json!({ "marked": text }), || format!("marked \"{text}\""))?;
    Ok(Exit::Ok)
}

pub async fn arm(global: &Global, out: &Output, inputs: &[String], armed: bool) -> Outcome {
    let (link, recorder) = link(global).await?;
    let done =
        if armed { recorder.arm(inputs, HashMap::new()).await } else { recorder.disarm(inputs, HashMap::new()).await };
    done.map_err(|error| bus::failure(&link, &error))?;
    out.result(&json!({ "inputs": inputs, "armed": armed }), || {
        let which = if inputs.is_empty() { "all inputs".to_owned() } else { inputs.join(", ") };
        format!("{which}: {}", if armed { "armed" } else { "disarmed" })
    })?;
    Ok(Exit::Ok)
}

pub async fn protect(global: &Global, out: &Output, session: &str, protected: bool) -> Outcome {
    let (link, recorder) = link(global).await?;
    let id = resolve::on_bus(&link, &recorder, session).await?;
    let done = if protected {
        recorder.protect(&id, HashMap::new()).await
    } else {
        recorder.unprotect(&id, HashMap::new()).await
    };
    done.map_err(|error| bus::failure(&link, &error))?;
    out.result(&json!({ "session": id, "protected": protected }), || {
        format!("{id} is {}", if protected { "protected" } else { "no longer protected" })
    })?;
    Ok(Exit::Ok)
}

async fn link(global: &Global) -> Result<(Link, holdfast_dbus::RecorderProxy<'static>), Failure> {
    let link = bus::connect(global).await?;
    let recorder = bus::recorder(&link).await?;
    Ok((link, recorder))
}

async fn proxy(link: &Link) -> Result<holdfast_dbus::RecorderProxy<'static>, Failure> {
    holdfast_dbus::RecorderProxy::new(&link.connection).await.map_err(|error| bus::failure(link, &error))
}
