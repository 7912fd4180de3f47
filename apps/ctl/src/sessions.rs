//! `sessions` and `show`.

use std::collections::BTreeMap;

use holdfast_dbus::{ErrorCode, FilesOptions, ListOptions, SessionInfo, SessionProxy, session_path};
use serde_json::{Value, json};

use crate::args::Global;
use crate::bus;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};
use crate::resolve;

const FILES_PAGE: u32 = 1000;

pub async fn list(global: &Global, out: &Output, limit: u32) -> Outcome {
    let link = bus::connect(global).await?;
    let recorder = bus::recorder(&link).await?;
    let mut sessions: Vec<SessionInfo> = Vec::new();
    // The recorder gives at most 1000 at once.
    while sessions.len() < limit as usize {
        let wanted = u32::try_from(limit as usize - sessions.len()).unwrap_or(1000).min(1000);
        let before = sessions.last().map(|session| session.id.clone());
        let options = ListOptions { limit: Some(wanted), before };
        let page = recorder.list_sessions(options).await.map_err(|error| bus::failure(&link, &error))?;
        let last = page.len() < wanted as usize;
        sessions.extend(page);
        if last {
            break;
        }
    }
    let document: Vec<Value> = sessions.iter().map(document).collect();
    out.result(&document, || {
        if sessions.is_empty() {
            return "no sessions yet; holdfast start records one".to_owned();
        }
        let head = ["SESSION", "STATE", "STARTED", "DURATION", "SIZE", "LOST", "GAPS", "MARKS", "INPUTS", "LABEL"];
        let rows: Vec<Vec<String>> = sessions.iter().map(|session| row(session, out)).collect();
        output::table(&head, &rows)
    })?;
    Ok(Exit::Ok)
}

fn row(session: &SessionInfo, out: &Output) -> Vec<String> {
    vec![
        session.id.clone(),
        format!("{}{}", out.state(&session.state), if session.protected { " (protected)" } else { "" }),
        output::time(session.started_at),
        output::duration(session.duration_usec),
        output::bytes(session.safe_bytes),
        session.lost_frames.to_string(),
        session.gaps.to_string(),
        session.marks.to_string(),
        session.inputs.join(","),
        session.label.clone(),
    ]
}

fn document(session: &SessionInfo) -> Value {
    json!({
        "id": session.id,
        "label": session.label,
        "token": session.token,
        "state": session.state,
        "started_at": session.started_at,
        "duration_usec": session.duration_usec,
        "inputs": session.inputs,
        "safe_bytes": session.safe_bytes,
        "safe_frames": session.safe_frames,
        "lost_frames": session.lost_frames,
        "files": session.files,
        "gaps": session.gaps,
        "marks": session.marks,
        "protected": session.protected,
        "deleted_files": session.deleted_files,
        "deleted_frames": session.deleted_frames,
        "deleted_bytes": session.deleted_bytes,
        "path": session.path,
    })
}

pub async fn show(global: &Global, out: &Output, word: &str) -> Outcome {
    let link = bus::connect(global).await?;
    let recorder = bus::recorder(&link).await?;
    let fail = |error: zbus::Error| bus::failure(&link, &error);
    let id = resolve::on_bus(&link, &recorder, word).await?;
    // The newest sessions are objects; of older ones the list has the sums.
    let object = async {
        SessionProxy::builder(&link.connection)
            .destination(holdfast_dbus::BUS_NAME)?
            .path(session_path(&id))?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
    };
    let session = object.await.map_err(fail)?;
    let info = info(&link, &recorder, &id).await?;
    let mut files = Vec::new();
    loop {
        let offset = u32::try_from(files.len()).ok();
        let options = FilesOptions { limit: Some(FILES_PAGE), offset };
        let page = match session.list_files(options).await {
            Ok(page) => page,
            Err(_) if files.is_empty() => break,
            Err(error) => return Err(fail(error)),
        };
        let last = page.len() < FILES_PAGE as usize;
        files.extend(page);
        if last {
            break;
        }
    }
    let gaps = session.gaps().await.unwrap_or_default();
    let marks = session.marks().await.unwrap_or_default();

    let mut whole = document(&info);
    if let Some(whole) = whole.as_object_mut() {
        let files = files.iter().map(|file| {
            json!({
                "input": file.input, "sequence": file.sequence, "path": file.path, "bytes": file.bytes, "open": file.open,
                "frames": file.frames, "duration_usec": file.duration_usec, "recovered": file.recovered,
            })
        });
        let gaps = gaps.iter().map(|gap| {
            json!({
                "input": gap.input, "cause": gap.cause, "start_usec": gap.start_usec, "duration_usec": gap.duration_usec,
                "frames_lost": gap.frames_lost, "at": gap.at,
            })
        });
        let marks =
            marks.iter().map(|mark| json!({ "text": mark.text, "at": mark.at, "offset_usec": mark.offset_usec }));
        whole.insert("file_list".to_owned(), files.collect());
        whole.insert("gap_list".to_owned(), gaps.collect());
        whole.insert("mark_list".to_owned(), marks.collect());
    }
    out.result(&whole, || {
        let mut text = format!("session   {}\n", info.id);
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                text.push_str(&format!("{name:<10}{value}\n"));
            }
        };
        line("label", info.label.clone());
        line("state", format!("{}{}", out.state(&info.state), if info.protected { ", protected" } else { "" }));
        line("started", output::time(info.started_at));
        line("duration", output::duration(info.duration_usec));
        let safe = format!("{}, {}", output::count(info.safe_frames, "frame"), output::bytes(info.safe_bytes));
        line("safe", format!("{safe}, {}", output::count(info.files, "file")));
        line(
            "lost",
            format!("{}, {}", output::count(info.lost_frames, "frame"), output::count(u64::from(info.gaps), "gap")),
        );
        if info.deleted_files > 0 {
            let files = output::count(info.deleted_files, "file");
            let frames = output::count(info.deleted_frames, "frame");
            let bytes = output::bytes(info.deleted_bytes);
            line("deleted", format!("{files}, {frames} and {bytes} of these, by retention: the oldest of each input"));
        }
        line("inputs", info.inputs.join(", "));
        line("path", info.path.clone());
        for gap in &gaps {
            line(
                "gap",
                format!(
                    "{}  {}  {}  {} lost  {}",
                    output::time(gap.at),
                    gap.input,
                    gap.cause,
                    output::count(gap.frames_lost, "frame"),
                    output::short(gap.duration_usec)
                ),
            );
        }
        for mark in &marks {
            line("mark", format!("{}  {}", output::duration(mark.offset_usec), mark.text));
        }
        let mut by_input: BTreeMap<&str, Vec<Vec<String>>> = BTreeMap::new();
        for file in &files {
            let state = match (file.open, file.recovered) {
                (true, _) => "open",
                (_, Some(true)) => "recovered",
                _ => "",
            };
            by_input.entry(&file.input).or_default().push(vec![
                file.path.rsplit('/').next().unwrap_or_default().to_owned(),
                file.duration_usec.map(output::duration).unwrap_or_default(),
                file.frames.map(|frames| frames.to_string()).unwrap_or_default(),
                output::bytes(file.bytes),
                state.to_owned(),
            ]);
        }
        for (input, rows) in by_input {
            text.push_str(&format!(
                "\n{input}\n{}\n",
                output::table(&["FILE", "DURATION", "FRAMES", "BYTES", ""], &rows)
            ));
        }
        text
    })?;
    Ok(Exit::Ok)
}

async fn info(link: &bus::Link, recorder: &holdfast_dbus::RecorderProxy<'_>, id: &str) -> Result<SessionInfo, Failure> {
    let mut before = None;
    loop {
        let options = ListOptions { limit: Some(1000), before: before.clone() };
        let page = recorder.list_sessions(options).await.map_err(|error| bus::failure(link, &error))?;
        let Some(last) = page.last().map(|session| session.id.clone()) else {
            let gone = format!("session {id} is gone");
            return Err(Failure::refused(ErrorCode::UnknownSession, gone, "holdfast sessions lists what is there"));
        };
        if let Some(found) = page.into_iter().find(|session| session.id == id) {
            return Ok(found);
        }
        before = Some(last);
    }
}
