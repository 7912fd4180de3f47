//! What was set aside, and what a person wants out of the way. Discarding moves; only purging what was discarded deletes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use holdfast_dbus::{Error, ErrorCode, SetAsideInfo};
use holdfast_segment::durable;

use super::records::STATE_JOURNAL;
use super::summary::directories;
use super::{Catalog, OURS};
use crate::ids;

/// Below [`OURS`] on the storage, and in the state directory.
const TRASH: &str = "trash";
/// Sessions whose directories are looked through: the newest.
const LOOK_BACK: usize = 1000;

/// Where discarded sessions and files of this storage are.
pub fn of_storage(root: &Path) -> PathBuf {
    root.join(OURS).join(TRASH)
}

/// Lists it all. Blocks on the disk.
pub fn list(catalog: &Catalog, state_dir: &Path) -> Vec<SetAsideInfo> {
    let mut found = Vec::new();
    let is_journal_copy = |name: &str| name.contains(".journal.corrupt-") || name.contains(".journal.unusable-");
    for path in entries(state_dir).filter(|path| name(path).starts_with(STATE_JOURNAL) && is_journal_copy(&name(path)))
    {
        found.extend(info(&path, "recorder-state", "", ""));
    }
    for id in catalog.list(LOOK_BACK, None) {
        let Some(dir) = catalog.dir(&id) else { continue };
        for path in entries(&dir).filter(|path| is_journal_copy(&name(path))) {
            found.extend(info(&path, "session-journal", &id, ""));
        }
        for input in directories(&dir) {
            let is_aside = |path: &PathBuf| name(path).ends_with(".empty") || name(path).ends_with(".unrecoverable");
            for path in entries(&dir.join(&input)).filter(is_aside) {
                found.extend(info(&path, "footage", &id, &input));
            }
        }
    }
    for path in entries(&of_storage(catalog.root())).chain(entries(&state_dir.join(TRASH))) {
        let session = if ids::is_session_id(&name(&path)) { name(&path) } else { String::new() };
        found.extend(info(&path, "discarded", &session, ""));
    }
    found
}

/// Moves something that [`list`] shows into the trash beside it; returns where it is now.
pub fn discard_set_aside(catalog: &Catalog, state_dir: &Path, what: &str) -> Result<PathBuf, Error> {
    let listed = list(catalog, state_dir);
    let Some(item) = listed.iter().find(|item| item.path == what) else {
        return Err(unknown(what));
    };
    let trash = match item.kind.as_str() {
        "discarded" => {
            return Err(Error::new(ErrorCode::InvalidArgument, "it is discarded already; Purge deletes it for good"));
        }
        "recorder-state" => state_dir.join(TRASH),
        _ => of_storage(catalog.root()),
    };
    let path = Path::new(&item.path);
    let parts = [item.session.as_str(), item.input.as_str(), &name(path)];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    // "session_input_name": no session id alone, so that it is never taken for a session.
    move_to(path, &trash, &format!("file_{}", parts.join("_")))
}

/// Moves a whole session into the trash.
pub fn discard_session(catalog: &Catalog, id: &str) -> Result<PathBuf, Error> {
    let dir = catalog.dir(id).filter(|dir| dir.is_dir()).ok_or_else(|| unknown(id))?;
    let moved = move_to(&dir, &of_storage(catalog.root()), id)?;
    // Memory lets go of it.
    catalog.get(id);
    Ok(moved)
}

/// Brings a discarded session back.
pub fn restore(catalog: &Catalog, id: &str) -> Result<(), Error> {
    let from = of_storage(catalog.root()).join(id);
    let unknown = || Error::new(ErrorCode::UnknownSession, format!("no session {id} was discarded; see ListSetAside"));
    let dir = catalog.dir(id).filter(|_| from.is_dir()).ok_or_else(unknown)?;
    let date = dir.parent().unwrap_or(&dir);
    durable::create_dir_all(date).map_err(|error| Error::new(ErrorCode::StorageUnavailable, error.to_string()))?;
    if dir.exists() {
        return Err(Error::new(ErrorCode::InvalidArgument, format!("{} is there already", dir.display())));
    }
    fs::rename(&from, &dir).and_then(|()| sync(&from)).and_then(|()| sync(&dir)).map_err(|error| failed(&from, &error))
}

/// Deletes something that was discarded, for good.
pub fn purge(catalog: &Catalog, state_dir: &Path, what: &str) -> Result<(), Error> {
    let listed = list(catalog, state_dir);
    let Some(item) = listed.iter().find(|item| item.path == what) else {
        return Err(unknown(what));
    };
    if item.kind != "discarded" {
        return Err(Error::new(ErrorCode::InvalidArgument, "only what was discarded can be purged; Discard it first"));
    }
    let path = Path::new(&item.path);
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let deleted = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    deleted.map_err(|error| failed(path, &error))
}

fn move_to(path: &Path, trash: &Path, name: &str) -> Result<PathBuf, Error> {
    durable::create_dir_all(trash).map_err(|error| Error::new(ErrorCode::StorageUnavailable, error.to_string()))?;
    for number in 0..1000_u32 {
        let to = trash.join(if number == 0 { name.to_owned() } else { format!("{name}.{number}") });
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        let moved = fs::rename(path, &to).and_then(|()| sync(&to)).and_then(|()| sync(path));
        return moved.map(|()| to).map_err(|error| failed(path, &error));
    }
    Err(Error::new(ErrorCode::Internal, format!("{} is full of {name}", trash.display())))
}

/// Makes the name of a path durable, there or gone.
fn sync(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

fn unknown(what: &str) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!("{what:?} is nothing that was set aside or discarded; see ListSetAside"),
    )
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::StorageUnavailable, format!("{}: {error}", path.display()))
}

fn info(path: &Path, kind: &str, session: &str, input: &str) -> Option<SetAsideInfo> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(SetAsideInfo {
        path: path.to_str()?.to_owned(),
        kind: kind.to_owned(),
        session: session.to_owned(),
        input: input.to_owned(),
        bytes: bytes(path),
        modified: i64::try_from(modified.as_micros()).unwrap_or(i64::MAX),
    })
}

/// All below a path; links are not followed.
fn bytes(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => entries(path).map(|path| bytes(&path)).sum(),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter()
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{discard_session, discard_set_aside, list, of_storage, purge, restore};
    use crate::store::Catalog;
    use std::fs;

    #[test]
    fn discarding_moves_restoring_brings_back_and_only_purging_deletes() {
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path().join("root"), dir.path().join("state"));
        let id = "20261121T071503Z-k3f9w2";
        let session = root.join("2026-11-21").join(id);
        fs::create_dir_all(session.join("cam0")).unwrap();
        fs::create_dir_all(&state).unwrap();
        let aside = session.join("session.journal.corrupt-1");
        let empty = session.join("cam0/000001_x.mp4.empty");
        let copy = state.join("recorder.journal.unusable-1");
        for path in [&aside, &empty, &copy] {
            fs::write(path, "twelve bytes").unwrap();
        }
        fs::write(session.join("cam0/000001_x.mp4"), "footage").unwrap();
        let catalog = Catalog::new(root.clone());
        let kinds = || list(&catalog, &state).into_iter().map(|item| item.kind).collect::<Vec<_>>();
        assert_eq!(kinds(), ["recorder-state", "session-journal", "footage"]);

        // Nothing that is not listed can be named.
        for bad in ["", "/etc/passwd", session.join("cam0/000001_x.mp4").to_str().unwrap(), "../x"] {
            assert!(discard_set_aside(&catalog, &state, bad).is_err(), "{bad}");
            assert!(purge(&catalog, &state, bad).is_err(), "{bad}");
        }
        assert!(purge(&catalog, &state, aside.to_str().unwrap()).is_err(), "not discarded yet");

        let moved = discard_set_aside(&catalog, &state, aside.to_str().unwrap()).unwrap();
        assert!(!aside.exists() && fs::read(&moved).unwrap() == b"twelve bytes");
        let moved_copy = discard_set_aside(&catalog, &state, copy.to_str().unwrap()).unwrap();
        assert!(moved_copy.starts_with(&state), "each stays on its file system");
        assert_eq!(kinds(), ["footage", "discarded", "discarded"]);
        purge(&catalog, &state, moved.to_str().unwrap()).unwrap();
        assert!(!moved.exists());

        let moved = discard_session(&catalog, id).unwrap();
        assert_eq!(moved, of_storage(&root).join(id));
        assert!(catalog.get(id).is_none() && moved.join("cam0/000001_x.mp4").exists());
        restore(&catalog, id).unwrap();
        assert!(catalog.get(id).is_some() && session.join("cam0/000001_x.mp4").exists());
        assert!(restore(&catalog, id).is_err() && restore(&catalog, "../..").is_err());
        let moved = discard_session(&catalog, id).unwrap();
        purge(&catalog, &state, moved.to_str().unwrap()).unwrap();
        assert!(!moved.exists() && restore(&catalog, id).is_err());
    }
}
