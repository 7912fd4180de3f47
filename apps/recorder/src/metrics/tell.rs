//! Where the figures go.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Metrics;
use super::observed::beat;

/// Readers at a time; more wait in the kernel's queue until one of these has read or is dropped.
const READERS: usize = 16;
/// A reader that does not take the text in this time is dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the file anew every `period`, for ever. Whoever reads it finds an old or a new text, never half of one.
pub async fn write_file(metrics: Metrics, path: PathBuf, period: Duration) {
    let mut beat = beat(period);
    let mut failing = false;
    loop {
        beat.tick().await;
        let (text, path_too) = (metrics.text(), path.clone());
        // A disk that stalls holds up the next text, and nothing else.
        let written = tokio::task::spawn_blocking(move || replace(&path_too, &text)).await;
        match written {
            Ok(Ok(())) if failing => {
                failing = false;
                info!(file = %path.display(), "metrics are written again");
            }
            Ok(Err(error)) if !failing => {
                failing = true;
                warn!(
                    "metrics can't be written to {}: {error}; check recorder.metrics_file and who may write there",
                    path.display()
                );
            }
            _ => (),
        }
    }
}

/// Not durable: after a power cut figures of before would be wrong anyway.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // node_exporter reads only files that end in .prom.
    let new = path.with_file_name(format!(".{name}.new"));
    std::fs::write(&new, text)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o644))?;
    std::fs::rename(&new, path)
}

/// Tells whoever connects, for ever. A socket that can't be made is told, and is no reason not to record.
pub async fn serve(metrics: Metrics, path: PathBuf) {
    // Nobody else's: whoever runs this holds the recorder's lock.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).and_then(|listener| {
        // Reading is for all.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(listener)
    });
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            warn!("no metrics on {}: {error}; check recorder.metrics_socket", path.display());
            return std::future::pending().await;
        }
    };
    let seats = Arc::new(Semaphore::new(READERS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!("a reader of metrics can't be let in: {error}");
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
        };
        // The semaphore is never closed.
        let seat = Arc::clone(&seats).acquire_owned().await;
        let text = metrics.text();
        tokio::spawn(async move {
            let _seat = seat;
            // Gone or wedged: its loss.
            let _ = timeout(PATIENCE, tell(stream, &text)).await;
        });
    }
}

async fn tell(mut stream: UnixStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdfast.prom");
        replace(&path, "one").unwrap();
        let old = std::fs::File::open(&path).unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::io::read_to_string(old).unwrap(), "one");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        assert!(replace(&dir.path().join("none/x.prom"), "").is_err());
    }
}
