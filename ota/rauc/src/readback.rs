//! Reading back what was written: RAUC fsyncs a slot and believes it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Advice, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// Read at once. A multiple of every block size that O_DIRECT asks for.
const CHUNK: usize = 1 << 20;
/// What O_DIRECT wants memory and lengths to be multiples of: no disk here has larger blocks.
const ALIGN: usize = 4096;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// How it was made sure that the medium was read, not memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Past the page cache (`O_DIRECT`).
    Direct,
    /// The filesystem has no `O_DIRECT`: written pages were synced and the kernel was asked to drop its copies, which it may
    /// not have done.
    Dropped,
}

/// A slot that holds what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBack {
    /// How many bytes were read.
    pub bytes: u64,
    /// From where.
    pub how: How,
}

/// Why a slot is not to be booted.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The device or file can't be opened or read.
    #[error("{path} can't be read back at byte {at}: {source}; don't boot it: check the medium and install again")]
    Read {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// It ends before the image does.
    #[error("{path} has only {have} of the image's {size} bytes; don't boot it: install again")]
    Short {
        /// Which.
        path: PathBuf,
        /// What is there, in bytes.
        have: u64,
        /// What should be, in bytes.
        size: u64,
    },
    /// What is there is not what was to be written.
    #[error(
        "{path} holds {found}, and {wanted} was to be written; don't boot it: install again, then replace the medium"
    )]
    Mismatch {
        /// Which.
        path: PathBuf,
        /// SHA-256 that was to be there.
        wanted: Digest,
        /// SHA-256 that is there.
        found: Digest,
    },
    /// Whoever asked for it broke it off.
    #[error("reading {path} back was broken off at byte {at}; do it again before booting it")]
    Stopped {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

/// Reads the first `size` bytes of a slot (device or file) from the medium and compares their SHA-256.
///
/// Blocks: for async code there is [`read_back`]. `progress` gets the bytes read so far after each MiB, and may sleep to
/// spare a recording's disk, or break off.
///
/// # Errors
/// It can't be read, is too short, or holds something else.
pub fn verify_slot(
    path: &Path,
    size: u64,
    wanted: Digest,
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<ReadBack, ReadBackError> {
    let fail = |at, source: io::Error| ReadBackError::Read { path: path.to_owned(), at, source };
    let (mut file, mut how) = open(path).map_err(|source| fail(0, source))?;
    let mut memory = vec![0; CHUNK + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    let (buffer, _) = memory.get_mut(start..).unwrap_or_default().split_at_mut(CHUNK);
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < size {
        let read = match file.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Some filesystems open with O_DIRECT and refuse to read so.
            Err(error) if at == 0 && how == How::Direct && error.kind() == io::ErrorKind::InvalidInput => {
                (file, how) = (open_cached(path).map_err(|source| fail(at, source))?, How::Dropped);
                continue;
            }
            Err(error) => return Err(fail(at, error)),
        };
        let take = usize::try_from(size - at).unwrap_or(usize::MAX).min(read);
        let Some(bytes) = buffer.get(..take).filter(|bytes| !bytes.is_empty()) else {
            return Err(ReadBackError::Short { path: path.to_owned(), have: at, size });
        };
        hash.update(bytes);
        at += take as u64;
        // The end of a file: past it O_DIRECT can't even ask.
        if at < size && read % ALIGN != 0 {
            return Err(ReadBackError::Short { path: path.to_owned(), have: at, size });
        }
        if progress(at).is_break() && at < size {
            return Err(ReadBackError::Stopped { path: path.to_owned(), at });
        }
    }
    let found = Digest(hash.finalize().into());
    if found != wanted {
        return Err(ReadBackError::Mismatch { path: path.to_owned(), wanted, found });
    }
    Ok(ReadBack { bytes: at, how })
}

/// [`verify_slot`] on a thread of its own. `progress` gets the bytes read so far; it holds the newest only. Dropping the
/// future, or all receivers of `progress`, breaks it off.
///
/// # Errors
/// As [`verify_slot`].
pub async fn read_back(
    path: PathBuf,
    size: u64,
    wanted: Digest,
    progress: watch::Sender<u64>,
) -> Result<ReadBack, ReadBackError> {
    let (alive, dropped) = std::sync::mpsc::sync_channel::<()>(0); // Never sent to, so never full: it only tells of the drop.
    let for_error = path.clone();
    let task = tokio::task::spawn_blocking(move || {
        verify_slot(&path, size, wanted, |at| {
            let wanted = dropped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty);
            if wanted && progress.send(at).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    });
    let ended = task.await;
    drop(alive);
    ended.unwrap_or_else(|error| {
        Err(ReadBackError::Read { path: for_error, at: 0, source: io::Error::other(error.to_string()) })
    })
}

fn open(path: &Path) -> io::Result<(File, How)> {
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECT, Mode::empty()) {
        Ok(file) => Ok((file.into(), How::Direct)),
        Err(rustix::io::Errno::INVAL) => Ok((open_cached(path)?, How::Dropped)),
        Err(error) => Err(error.into()),
    }
}

fn open_cached(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    // Only clean pages are dropped. A file opened for reading may be synced too.
    rustix::fs::fdatasync(&file)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(file)
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is no SHA-256: 64 hexadecimal digits are");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
