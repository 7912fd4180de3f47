//! Files of others: what the box's owner has put there (bundles, certificates, keys, tokens), and footage. The updater is root, but not
//! above permissions: it has its group's.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// What is told of one that can't be read.
#[must_use]
pub fn unreadable(path: &Path, error: &Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "{path} can't be read: {error}. Let the group holdfast read it (chgrp holdfast {path}; chmod 640 {path}) and enter the \
             directories above it"
        ),
        _ => format!("{path} can't be read: {error}"),
    }
}

/// It is known not to be there. One in somebody's private directory may be: RAUC, which is above permissions, finds out.
#[must_use]
pub fn is_gone(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() != ErrorKind::PermissionDenied)
}

/// The closed files of a session.
///
/// # Errors
/// A directory can't be read, and which: what can't be read must not pass for nothing.
pub fn footage(session: &Path) -> Result<Vec<PathBuf>, (PathBuf, Error)> {
    let list = |directory: &Path| -> Result<Vec<PathBuf>, (PathBuf, Error)> {
        let failed = |error| (directory.to_owned(), error);
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            // Retention may be at it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
    };
    let mut files = Vec::new();
    for input in list(session)?.iter().filter(|path| path.is_dir()) {
        files.extend(
            list(input)?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "mp4")),
        );
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use super::footage;

    #[test]
    fn what_can_not_be_read_does_not_pass_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let session = dir.path().join("session");
        // Retention has taken it.
        assert!(footage(&session).unwrap().is_empty());
        fs::create_dir_all(session.join("cam0")).unwrap();
        for name in ["session.json", "cam0/00001.mp4", "cam0/00002.open"] {
            fs::write(session.join(name), "").unwrap();
        }
        assert_eq!(footage(&session).unwrap(), [session.join("cam0/00001.mp4")]);
        // (Permissions keep nothing from root, as whom this may run.)
        let (path, error) = footage(&session.join("session.json")).unwrap_err();
        assert_eq!((path, error.kind()), (session.join("session.json"), ErrorKind::NotADirectory));
    }
}
