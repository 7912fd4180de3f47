//! `recovery`: what was interrupted, recovered and set aside; and what is to become of it.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};

use holdfast_dbus::{
    ErrorCode, FilesOptions, InterruptedInfo, InterruptedOptions, RecorderProxy, RecoveryProxy, SessionProxy,
    SetAsideInfo, session_path,
};
use serde_json::{Value, json};

use crate::args::{Global, RecoveryCommand};
use crate::bus::{self, Link};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};

/// Interrupted sessions that are shown.
const SHOWN: u32 = 20;
const FILES_PAGE: u32 = 10_000;

pub async fn run(global: &Global, out: &Output, command: Option<RecoveryCommand>) -> Outcome {
    let link = bus::connect(global).await?;
    let recorder = bus::recorder(&link).await?;
    let recovery = RecoveryProxy::new(&link.connection).await.map_err(|error| bus::failure(&link, &error))?;
    let at = At { link, recorder, recovery, out };
    match command {
        None | Some(RecoveryCommand::List) => at.list().await,
        Some(RecoveryCommand::Show { session }) => at.show(&session).await,
        Some(RecoveryCommand::Resume { session }) => at.resume(session).await,
        Some(RecoveryCommand::Dismiss { session }) => at.dismiss(session).await,
        Some(RecoveryCommand::Keep { session }) => at.keep(&session).await,
        Some(RecoveryCommand::Discard { what, yes }) => at.discard(&what, yes).await,
        Some(RecoveryCommand::Restore { session }) => at.restore(&session).await,
        Some(RecoveryCommand::Purge { what, yes }) => at.purge(&what, yes).await,
    }
}

struct At<'a> {
    link: Link,
    recorder: RecorderProxy<'static>,
    recovery: RecoveryProxy<'static>,
    out: &'a Output,
}

impl At<'_> {
    fn fail(&self, error: &zbus::Error) -> Failure {
        bus::failure(&self.link, error)
    }

    async fn interrupted(&self) -> Result<Vec<InterruptedInfo>, Failure> {
        let options = InterruptedOptions { limit: Some(SHOWN) };
        self.recovery.list_interrupted(options).await.map_err(|error| self.fail(&error))
    }

    async fn set_aside(&self) -> Result<Vec<SetAsideInfo>, Failure> {
        self.recovery.list_set_aside(HashMap::new()).await.map_err(|error| self.fail(&error))
    }

    async fn list(&self) -> Outcome {
        let interrupted = self.interrupted().await?;
        let set_aside = self.set_aside().await?;
        let mut sessions = Vec::new();
        let mut rows = Vec::new();
        for session in &interrupted {
            let details = self.details(&session.id).await?;
            rows.push(vec![
                session.id.clone(),
                self.out.state(&session.state),
                session.reason.clone(),
                output::time(session.found_at),
                session.since_usec.map_or_else(|| "not known".to_owned(), output::duration),
                details.recovered.len().to_string(),
                details.gaps.len().to_string(),
                session.label.clone(),
            ]);
            sessions.push(document(session, &details));
        }
        let last = self.recovery.last_resume().await.map_err(|error| self.fail(&error))?;
        let document = json!({
            "interrupted": sessions,
            "set_aside": set_aside.iter().map(thing).collect::<Vec<_>>(),
            "last_resume": {
                "id": last.id, "reason": last.reason, "rebooted": last.rebooted, "at": last.at,
                "boot_to_safe_usec": last.boot_to_safe_usec, "recorder_to_safe_usec": last.recorder_to_safe_usec,
            },
        });
        self.out.result(&document, || {
            let mut text = String::new();
            if rows.is_empty() {
                text.push_str("no session was ever interrupted\n");
            } else {
                let head = ["SESSION", "STATE", "REASON", "FOUND", "AFTER", "RECOVERED", "GAPS", "LABEL"];
                text.push_str(&output::table(&head, &rows));
                text.push('\n');
            }
            if let (Some(id), Some(usec)) = (&last.id, last.recorder_to_safe_usec) {
                text.push_str(&format!("\n{id} went on {} after the recorder was started", output::short(usec)));
                if let (Some(true), Some(usec)) = (last.rebooted, last.boot_to_safe_usec) {
                    text.push_str(&format!(", {} after power-on", output::short(usec)));
                }
                text.push('\n');
            }
            if !set_aside.is_empty() {
                text.push_str("\nset aside or discarded:\n");
                text.push_str(&things(&set_aside));
                text.push('\n');
            }
            if interrupted.iter().any(|session| session.state == "waiting") {
                text.push_str("\na session waits: holdfast recovery resume, or holdfast recovery dismiss\n");
            }
            text
        })?;
        Ok(Exit::Ok)
    }

    async fn details(&self, id: &str) -> Result<Details, Failure> {
        let object = async {
            SessionProxy::builder(&self.link.connection)
                .destination(holdfast_dbus::BUS_NAME)?
                .path(session_path(id))?
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await
        };
        let session = object.await.map_err(|error| self.fail(&error))?;
        let options = FilesOptions { limit: Some(FILES_PAGE), offset: None };
        // Only the newest sessions are objects; of older ones there is nothing more to say.
        let files = session.list_files(options).await.unwrap_or_default();
        let recovered = files.into_iter().filter(|file| file.recovered == Some(true)).map(|file| {
            json!({ "input": file.input, "path": file.path, "frames": file.frames, "duration_usec": file.duration_usec })
        });
        let gaps = session.gaps().await.unwrap_or_default().into_iter().map(|gap| {
            json!({
                "input": gap.input, "cause": gap.cause, "duration_usec": gap.duration_usec, "frames_lost": gap.frames_lost,
                "at": gap.at,
            })
        });
        Ok(Details { recovered: recovered.collect(), gaps: gaps.collect() })
    }

    async fn show(&self, word: &str) -> Outcome {
        let interrupted = self.interrupted().await?;
        let session = choose(&interrupted, word)?;
        let details = self.details(&session.id).await?;
        let aside: Vec<_> = self.set_aside().await?.into_iter().filter(|item| item.session == session.id).collect();
        let mut whole = document(session, &details);
        if let Some(whole) = whole.as_object_mut() {
            whole.insert("set_aside".to_owned(), aside.iter().map(thing).collect());
        }
        self.out.result(&whole, || {
            let mut text = format!(
                "{}  {}\n  reason    {}: {}\n  last safe {}\n  found     {}\n  times     {}\n",
                session.id,
                self.out.state(&session.state),
                session.reason,
                session.evidence,
                if session.safe_until == 0 { "nothing was".to_owned() } else { output::time(session.safe_until) },
                output::time(session.found_at),
                session.times,
            );
            for file in &details.recovered {
                text.push_str(&format!("  recovered {} ({} frames)\n", word_of(&file["path"]), file["frames"]));
            }
            for gap in &details.gaps {
                let long = match gap["duration_usec"].as_u64() {
                    Some(usec) if usec > 0 => output::short(usec),
                    _ => "length not known".to_owned(),
                };
                let (input, cause) = (word_of(&gap["input"]), word_of(&gap["cause"]));
                text.push_str(&format!("  gap       {input}: {cause}, {long}\n"));
            }
            text + &things(&aside)
        })?;
        Ok(Exit::Ok)
    }

    /// The session that is named, or the one that waits.
    async fn waiting(&self, word: Option<String>) -> Result<String, Failure> {
        let waiting = self.recovery.waiting().await.map_err(|error| self.fail(&error))?;
        match word {
            Some(word) if waiting.starts_with(&word) && !waiting.is_empty() => Ok(waiting),
            // The recorder says why not.
            Some(word) => Ok(word),
            None if waiting.is_empty() => Err(Failure::new(
                Exit::Refused,
                "no session waits to be resumed",
                "holdfast recovery shows what was interrupted and what became of it",
            )),
            None => Ok(waiting),
        }
    }

    async fn resume(&self, word: Option<String>) -> Outcome {
        let id = self.waiting(word).await?;
        self.recovery.resume_session(&id, HashMap::new()).await.map_err(|error| self.fail(&error))?;
        self.out.result(&json!({ "resumed": id }), || format!("{id} goes on"))?;
        Ok(Exit::Ok)
    }

    async fn dismiss(&self, word: Option<String>) -> Outcome {
        let id = self.waiting(word).await?;
        self.recovery.dismiss_session(&id, HashMap::new()).await.map_err(|error| self.fail(&error))?;
        self.out.result(&json!({ "dismissed": id }), || format!("{id} is closed; its footage stays"))?;
        Ok(Exit::Ok)
    }

    async fn keep(&self, word: &str) -> Outcome {
        let interrupted = self.interrupted().await?;
        let id = choose(&interrupted, word)?.id.clone();
        self.recorder.protect(&id, HashMap::new()).await.map_err(|error| self.fail(&error))?;
        self.out.result(&json!({ "kept": id }), || format!("{id} is protected: nothing deletes it by itself"))?;
        Ok(Exit::Ok)
    }

    async fn discard(&self, what: &[String], yes: bool) -> Outcome {
        self.confirm("move out of the way (holdfast recovery restore brings a session back)", what, yes)?;
        let mut moved = Vec::new();
        for what in what {
            let to = self.recovery.discard(what, HashMap::new()).await.map_err(|error| self.fail(&error))?;
            moved.push(json!({ "what": what, "moved": to }));
        }
        self.out.result(&json!({ "discarded": moved }), || {
            let lines =
                moved.iter().map(|item| format!("{} is now {}", word_of(&item["what"]), word_of(&item["moved"])));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        Ok(Exit::Ok)
    }

    async fn restore(&self, id: &str) -> Outcome {
        self.recovery.restore(id, HashMap::new()).await.map_err(|error| self.fail(&error))?;
        self.out.result(&json!({ "restored": id }), || format!("{id} is back"))?;
        Ok(Exit::Ok)
    }

    async fn purge(&self, what: &[String], yes: bool) -> Outcome {
        self.confirm("delete FOR GOOD", what, yes)?;
        for what in what {
            self.recovery.purge(what, HashMap::new()).await.map_err(|error| self.fail(&error))?;
        }
        self.out.result(&json!({ "purged": what }), || format!("deleted: {}", what.join(", ")))?;
        Ok(Exit::Ok)
    }

    /// Nothing is discarded silently: a person types yes, a script says `--yes` beside the names.
    fn confirm(&self, action: &str, what: &[String], yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || self.out.json {
            return Err(Failure::usage(
                format!("nobody is asked here whether to {action}: {}", what.join(", ")),
                "add --yes if that is meant",
            ));
        }
        let mut error = std::io::stderr().lock();
        let _ = write!(error, "{action}:\n  {}\nType yes to do it: ", what.join("\n  "));
        let _ = error.flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        if read.is_ok() && answer.trim() == "yes" {
            return Ok(());
        }
        Err(Failure::usage("nothing was done", ""))
    }
}

struct Details {
    recovered: Vec<Value>,
    gaps: Vec<Value>,
}

/// The session that a word means: an id, the beginning of one, or "last".
fn choose<'a>(interrupted: &'a [InterruptedInfo], word: &str) -> Result<&'a InterruptedInfo, Failure> {
    let mut found = interrupted.iter().filter(|session| word == "last" || session.id.starts_with(word));
    match (found.next(), found.next()) {
        (Some(session), None) => Ok(session),
        (Some(session), _) if word == "last" || session.id == word => Ok(session),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("{word} is the beginning of several sessions"), "name more of it"))
        }
        (None, _) => Err(Failure::refused(
            ErrorCode::UnknownSession,
            format!("{word} is none of the sessions that were interrupted"),
            "holdfast recovery lists them",
        )),
    }
}

fn document(session: &InterruptedInfo, details: &Details) -> Value {
    json!({
        "id": session.id,
        "label": session.label,
        "inputs": session.inputs,
        "state": session.state,
        "reason": session.reason,
        "evidence": session.evidence,
        "rebooted": session.rebooted,
        "safe_until": session.safe_until,
        "found_at": session.found_at,
        "since_usec": session.since_usec,
        "times": session.times,
        "protected": session.protected,
        "recovered": details.recovered,
        "gaps": details.gaps,
    })
}

fn thing(item: &SetAsideInfo) -> Value {
    json!({
        "path": item.path, "kind": item.kind, "session": item.session, "input": item.input, "bytes": item.bytes,
        "modified": item.modified,
    })
}

fn things(items: &[SetAsideInfo]) -> String {
    let lines = items.iter().map(|item| format!("  {:<16} {:>9}  {}", item.kind, output::bytes(item.bytes), item.path));
    lines.collect::<Vec<_>>().join("\n")
}

fn word_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
