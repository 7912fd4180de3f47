//! Which session is meant: an id, the beginning of one, or `last`; from the recorder, or from the files on disk.

use std::path::{Path, PathBuf};

use holdfast_dbus::{ErrorCode, ListOptions, RecorderProxy};

use crate::bus::{self, Link};
use crate::failure::Failure;

/// The recorder hands out so many sessions at a time.
const PAGE: u32 = 1000;

/// Asks the recorder.
pub async fn on_bus(link: &Link, recorder: &RecorderProxy<'_>, word: &str) -> Result<String, Failure> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let before = ids.last().cloned();
        let options = ListOptions { limit: Some(PAGE), before };
        let page = recorder.list_sessions(options).await.map_err(|error| bus::failure(link, &error))?;
        let full = page.len() == PAGE as usize;
        ids.extend(page.into_iter().map(|session| session.id));
        let found = word == "last" && !ids.is_empty() || ids.iter().any(|id| id == word);
        if !full || found {
            return choose(&ids, word, "on the recorder").cloned();
        }
    }
}

/// Looks on disk: the session's directory.
pub fn on_disk(root: &Path, word: &str) -> Result<PathBuf, Failure> {
    let sessions = sessions_on_disk(root)?;
    let ids: Vec<String> = sessions.iter().map(|(id, _)| id.clone()).collect();
    let id = choose(&ids, word, &format!("below {}", root.display()))?;
    sessions
        .iter()
        .find(|(found, _)| found == id)
        .map(|(_, path)| path.clone())
        .ok_or_else(|| unknown(format!("there is no session {word}")))
}

/// `(id, directory)` of all sessions (`<root>/<date>/<id>`), newest first.
pub fn sessions_on_disk(root: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let list = |dir: &Path| -> Result<Vec<PathBuf>, Failure> {
        let fail = |error: std::io::Error| {
            Failure::failed(
                format!("{} can't be listed: {error}", dir.display()),
                "check the path, the mount and the permissions",
            )
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                paths.push(path);
            }
        }
        Ok(paths)
    };
    let mut sessions = Vec::new();
    for day in list(root)? {
        let is_date = day.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.len() == 10
                && name.bytes().enumerate().all(
                    |(at, c)| {
                        if matches!(at, 4 | 7) { c == b'-' } else { c.is_ascii_digit() }
                    },
                )
        });
        if is_date {
            // A day that can't be read must not hide the others.
            for path in list(&day).unwrap_or_default() {
                let id = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                sessions.push((id, path));
            }
        }
    }
    // Ids begin with the time of the start.
    sessions.sort();
    sessions.reverse();
    Ok(sessions)
}

fn unknown(what: String) -> Failure {
    Failure::refused(ErrorCode::UnknownSession, what, "holdfast sessions lists them")
}

/// `ids` are newest first.
fn choose<'a>(ids: &'a [String], word: &str, place: &str) -> Result<&'a String, Failure> {
    if word == "last" {
        return ids.first().ok_or_else(|| unknown(format!("there are no sessions {place}")));
    }
    if let Some(id) = ids.iter().find(|id| *id == word) {
        return Ok(id);
    }
    let matches: Vec<&String> = ids.iter().filter(|id| !word.is_empty() && id.starts_with(word)).collect();
    match matches.as_slice() {
        [] => Err(unknown(format!("there is no session {word} {place}"))),
        [only] => Ok(only),
        several => {
            let shown: Vec<&str> = several.iter().take(5).map(|id| id.as_str()).collect();
            let more = if several.len() > 5 { ", …" } else { "" };
            Err(Failure::usage(
                format!("{word} is the beginning of {} sessions: {}{more}", several.len(), shown.join(", ")),
                "write more of the id",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_id_beginning_or_last() {
        let ids: Vec<String> = ["20261122T1-a", "20261121T2-b", "20261121T2"].map(str::to_owned).to_vec();
        assert_eq!(choose(&ids, "last", "").ok(), Some(&ids[0]));
        assert_eq!(choose(&ids, "20261122", "").ok(), Some(&ids[0]));
        assert_eq!(choose(&ids, "20261121T2", "").ok(), Some(&ids[2]), "an id is not ambiguous with itself");
        assert!(choose(&ids, "20261121", "").is_err());
        assert!(choose(&ids, "", "").is_err());
        assert!(choose(&[], "last", "").is_err());
    }
}
