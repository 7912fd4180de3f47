//! Handing entries to journald.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::entry;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A layer that hands events to journald, and never waits for it.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    identifier: String,
    /// Entries that it did not take since the last that it took.
    lost: AtomicU64,
}

impl Journal {
    /// The journal, if systemd takes this process's standard error for it.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        // Set for descendants too, whose standard error may go elsewhere: device and inode tell.
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?)
            .metadata()
            .ok()?;
        if stream != format!("{}:{}", stderr.dev(), stderr.ino()) {
            return None;
        }
        let program = std::env::current_exe().ok()?;
        Self::connect(Path::new(SOCKET), &program.file_name()?.to_string_lossy()).ok()
    }

    /// A journal that listens at `socket`; entries go by the name `identifier`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(socket: &Path, identifier: &str) -> io::Result<Self> {
        let datagrams = UnixDatagram::unbound()?;
        datagrams.connect(socket)?;
        datagrams.set_nonblocking(true)?;
        Ok(Self {
            socket: datagrams,
            identifier: identifier.to_owned(),
            lost: AtomicU64::new(0),
        })
    }

    fn hand(&self, entry: &[u8]) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let mut missing = lost;
        if lost > 0 {
            let identifier = &self.identifier;
            let told = format!(
                "MESSAGE={lost} log entries are missing here: journald did not take them\nPRIORITY=4\n\
                 SYSLOG_IDENTIFIER={identifier}\nHOLDFAST_LOST_ENTRIES={lost}\n"
            );
            if self.socket.send(told.as_bytes()).is_ok() {
                missing = 0;
            }
        }
        if self.socket.send(entry).is_err() {
            missing += 1;
        }
        self.lost.fetch_add(missing, Ordering::Relaxed);
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.hand(&entry::encode(event, &self.identifier));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::{Duration, Instant};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::Journal;

    fn journald() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        journald.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let journal = Journal::connect(&path, "program").unwrap();
        (directory, journald, journal)
    }

    fn next(journald: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 65536];
        let length = journald.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn an_event_arrives_with_its_fields() {
        let (_directory, journald, journal) = journald();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
            tracing::warn!(session = "s-1", frames_lost = 3, "gap");
        });
        let entry = next(&journald).unwrap();
        let line = line!() - 3;
        for expected in [
            "MESSAGE=gap session=s-1 frames_lost=3",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=program",
            "HOLDFAST_SESSION=s-1",
            "HOLDFAST_FRAMES_LOST=3",
            &format!("CODE_LINE={line}"),
        ] {
            assert!(
                entry.lines().any(|line| line == expected),
                "{expected} is not in:\n{entry}"
            );
        }
    }

    #[test]
    fn a_journald_that_does_not_read_holds_nobody_up_and_hears_of_the_loss() {
        let (_directory, journald, journal) = journald();
        let begin = Instant::now();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
            for number in 0..5000 {
                tracing::info!(number, "an entry");
            }
            assert!(begin.elapsed() < Duration::from_secs(5));
            let mut taken = 0;
            while next(&journald).is_some() {
                taken += 1;
            }
            assert!(taken < 5000, "nothing was lost, and nothing is tested");
            tracing::info!("after");
            let told = next(&journald).unwrap();
            assert!(
                told.contains(&format!("HOLDFAST_LOST_ENTRIES={}\n", 5000 - taken)),
                "{told}"
            );
            assert!(next(&journald).unwrap().contains("MESSAGE=after"));
            tracing::info!("later");
            assert!(next(&journald).unwrap().contains("MESSAGE=later"));
            assert_eq!(next(&journald), None, "the loss is told once");
        });
    }
}
