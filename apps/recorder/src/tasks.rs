//! The recorder's tasks: each has a name, and none may end unseen.
//!
//! The first that ends ends the process, whatever it was; then the others are ended, the youngest first, so that nobody loses what
//! it builds on. systemd starts the next recorder; captures go on meanwhile. (A panic ends the process at once, see `main`.)

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::{AbortHandle, JoinError};
use tokio::time::timeout;
use tracing::{Instrument as _, debug, error_span, warn};

/// How long the end of one task is waited for: it only has to come to its next point of waiting.
const PATIENCE: Duration = Duration::from_millis(500);

type Ending = std::pin::Pin<std::boxed::Box<dyn Future<Output = (&'static str, Result<(), JoinError>)> + Send>>;

/// Running tasks, oldest first.
#[derive(Default)]
pub struct Tasks {
    endings: FuturesUnordered<Ending>,
    handles: Vec<(&'static str, AbortHandle)>,
}

/// The task that ended the recorder.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It came to its end.
    #[error("the task {0} has ended")]
    Returned(&'static str),
    /// It failed.
    #[error("the task {0} failed: {1}")]
    Failed(&'static str, JoinError),
    /// There is none.
    #[error("there are no tasks")]
    None,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_for(name, "", work);
    }

    /// Starts a task that is about one input.
    pub fn spawn_for(&mut self, name: &'static str, input: &str, work: impl Future<Output = ()> + Send + 'static) {
        // Not `info`: what surrounds a warning must be known where only warnings are logged.
        let span = error_span!("task", task = name, input);
        let handle = tokio::spawn(work.instrument(span));
        self.handles.push((name, handle.abort_handle()));
        self.endings.push(Box::pin(async move { (name, handle.await) }));
    }

    /// Waits until the first one ends.
    pub async fn first_end(&mut self) -> Ended {
        match self.endings.next().await {
            Some((name, Ok(()))) => Ended::Returned(name),
            Some((name, Err(error))) => Ended::Failed(name, error),
            None => Ended::None,
        }
    }

    /// Ends all that still run, the youngest first, and returns their names in that order.
    pub async fn end(mut self) -> Vec<&'static str> {
        let mut ended = Vec::new();
        while let Some((name, handle)) = self.handles.pop() {
            if handle.is_finished() {
                continue;
            }
            handle.abort();
            let gone = async { while !handle.is_finished() && self.endings.next().await.is_some() {} };
            if timeout(PATIENCE, gone).await.is_err() {
                warn!(task = name, "does not end; the process ends without it");
            }
            debug!(task = name, "ended");
            ended.push(name);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{Ended, Tasks};

    /// Says when it is dropped.
    struct Told(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[tokio::test]
    async fn the_first_end_is_seen_and_the_others_end_youngest_first() {
        let dropped = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        for name in ["keeper", "engine", "publisher"] {
            let told = Told(name, Arc::clone(&dropped));
            tasks.spawn(name, async move {
                let _told = told;
                std::future::pending::<()>().await;
            });
        }
        tasks.spawn("meter", async move { drop(ended.await) });
        end.send(()).unwrap();
        assert!(matches!(tasks.first_end().await, Ended::Returned("meter")));
        assert_eq!(tasks.end().await, ["publisher", "engine", "keeper"]);
        assert_eq!(*dropped.lock().unwrap(), ["publisher", "engine", "keeper"]);
    }

    #[tokio::test]
    async fn a_panic_has_a_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        tasks.spawn("falls", async { panic!("over") });
        let ended = tasks.first_end().await;
        assert!(matches!(&ended, Ended::Failed("falls", error) if error.is_panic()), "{ended}");
        assert_eq!(tasks.end().await, ["waits"]);
    }
}
