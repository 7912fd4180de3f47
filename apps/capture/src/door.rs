//! The right to serve an input, and the socket it is served on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use holdfast_link as link;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Another capture runs for this input.
    #[error("another capture serves this input: it holds {}", path.display())]
    Taken {
        /// The lock file.
        path: PathBuf,
    },
    /// The runtime directory is not usable.
    #[error("{}: cannot {what}: {source}. Check recorder.runtime_dir and its permissions", path.display())]
    Io {
        /// File, directory or socket.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// The right to serve an input, and its socket.
#[derive(Debug)]
pub struct Door {
    listener: OwnedFd,
    /// Locked as long as it is open.
    _lock: OwnedFd,
    socket: PathBuf,
}

impl Door {
    /// Takes the lock of the input and listens on its socket; a socket that a dead capture left is replaced.
    ///
    /// # Errors
    /// [`DoorError::Taken`] if another capture is alive.
    pub fn open(runtime_dir: &Path, input: &str) -> Result<Self, DoorError> {
        let directory = runtime_dir.join(link::SOCKET_DIRECTORY);
        let io = |path: &Path, what| {
            let path = path.to_owned();
            move |source: io::Error| DoorError::Io { path, what, source }
        };
        std::fs::create_dir_all(&directory).map_err(io(&directory, "create the directory"))?;

        let lock_path = directory.join(format!("{input}.lock"));
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&lock_path, flags, Mode::from_raw_mode(0o660))
            .map_err(|errno| io(&lock_path, "open")(errno.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DoorError::Taken { path: lock_path }),
            Err(errno) => return Err(io(&lock_path, "lock")(errno.into())),
        }

        let socket = directory.join(format!("{input}.sock"));
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(&socket, "replace")(error)),
            _ => {}
        }
        let listen = || -> rustix::io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            rustix::net::bind(&listener, &SocketAddrUnix::new(&socket)?)?;
            rustix::fs::chmod(&socket, Mode::from_raw_mode(0o660))?;
            rustix::net::listen(&listener, 16)?;
            Ok(listener)
        };
        let listener = listen().map_err(|errno| io(&socket, "listen on")(errno.into()))?;
        Ok(Self { listener, _lock: lock, socket })
    }
}

/// Whether a capture listens for this input. Told by the kernel, so that the capture does not notice, and without its lock, so
/// that one that starts just now gets it.
#[must_use]
pub fn is_served(runtime_dir: &Path, input: &str) -> bool {
    let socket = runtime_dir.join(link::SOCKET_DIRECTORY).join(format!("{input}.sock"));
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    listens(&sockets, &socket)
}

/// Of the columns of `/proc/net/unix` the fourth has flags (this one: it listens), the eighth the path.
fn listens(sockets: &str, socket: &Path) -> bool {
    const LISTENS: &str = "00010000";
    sockets.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace();
        let flags = columns.nth(3);
        let path = line.find(" /").and_then(|at| line.get(at + 1..));
        flags == Some(LISTENS) && path.is_some_and(|path| Path::new(path) == socket)
    })
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Door, is_served, listens};

    #[test]
    fn a_door_that_is_open_is_seen_and_one_that_was_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_served(dir.path(), "cam0"));
        let door = Door::open(dir.path(), "cam0").unwrap();
        assert!(is_served(dir.path(), "cam0") && !is_served(dir.path(), "cam"));
        drop(door);
        assert!(!is_served(dir.path(), "cam0"));
    }

    #[test]
    fn a_connection_is_no_door() {
        let line =
            |flags: &str| format!("Num\n0000000000000000: 00000002 00000000 {flags} 0005 01 4711 /run/a b.sock\n");
        assert!(listens(&line("00010000"), Path::new("/run/a b.sock")));
        assert!(!listens(&line("00010000"), Path::new("/run/a")));
        assert!(!listens(&line("00000000"), Path::new("/run/a b.sock")));
    }
}
