//! Knowing at once that a process has died, whoever started it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process, held by pidfd: its number can't come to mean another process.
#[derive(Debug)]
pub struct Process {
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Holds the process with this id. Fails if there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        #[allow(
            deprecated,
            reason = "its replacement is unsafe, for types that may lie about their descriptor; OwnedFd never does"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        Ok(Self { pidfd })
    }

    /// Returns once it has died.
    pub async fn died(&self) {
        // An error here means that the pidfd can't be watched; then the socket's end has to tell.
        if self.pidfd.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends it at once.
    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::KILL)?)
    }
}
