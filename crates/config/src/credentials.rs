//! User and password of a camera, from a file that only the service may read.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Larger files are something else.
const MAX_BYTES: u64 = 4096;

/// User and password. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password; may be empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("password", &"***").finish()
    }
}

/// Why there are no credentials. No message holds anything of the file's content.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file can't be read.
    #[error("the credentials file {} can't be read: {source}. Check that it exists and that the service's group may read it: chgrp holdfast {0}; chmod 640 {0}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Everyone on the box may read the file.
    #[error("the credentials file {} may be read by everyone (mode {mode:03o}). Take that right away: chmod o= {0}", path.display())]
    WorldReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a file of credentials.
    #[error("the credentials file {} holds no credentials: {problem}. It takes two lines, user and password, or one line user:password", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Reads a file of two lines, user and password, or of one line `user:password`.
///
/// # Errors
/// If the file can't be read, may be read (or written) by everyone, or holds something else.
pub fn read(path: &Path) -> Result<Credentials, CredentialsError> {
    let fail = |source| CredentialsError::Read { path: path.to_owned(), source };
    let content = |problem| CredentialsError::Content { path: path.to_owned(), problem };
    let file = std::fs::File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(content("it is not a regular file"));
    }
    if metadata.mode() & 0o007 != 0 {
        return Err(CredentialsError::WorldReadable { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 > MAX_BYTES => return Err(content("it is too long")),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(content("it is not UTF-8 text")),
        Err(error) => return Err(fail(error)),
    }
    parse(&text).map_err(content)
}

fn parse(text: &str) -> Result<Credentials, &'static str> {
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(|line| line.trim_end_matches('\r'));
    let first = lines.next().unwrap_or_default();
    let second = lines.next();
    if lines.any(|line| !line.trim().is_empty()) {
        return Err("it has more than two lines");
    }
    let (user, password) = match second {
        Some(second) if !second.is_empty() => (first, second),
        _ => first.split_once(':').ok_or("one line, and no \":\" in it")?,
    };
    if user.is_empty() {
        return Err("the user is empty");
    }
    Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
}
