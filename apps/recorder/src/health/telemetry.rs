//! Looking at things that may hang: two threads at the lowest priority, and a deadline for whoever asks.
//!
//! A read in `/proc` waits for locks of the process it is about, a device or a path may hang in its driver. So nobody looks by
//! himself: at most two looks are under way at a time, whoever asked goes on without an answer after the deadline, and a look that
//! hangs keeps one of the two threads busy, never anybody else.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use super::LOOKS_AT_A_TIME;

/// Looks that wait for one of the threads.
const WAITING: usize = 64;
/// The lowest. The kernel takes a thread's I/O priority from it as well.
const NICE: i32 = 19;

type Look = Box<dyn FnOnce() + Send>;

/// Where to ask. Clones share the threads.
#[derive(Clone)]
pub struct Telemetry {
    /// Full (64): both threads hang; the look is not taken.
    looks: SyncSender<Look>,
    patience: Duration,
}

impl Telemetry {
    /// Starts the threads. They end with the last clone, or with the process.
    ///
    /// # Errors
    /// There are no threads to be had.
    pub fn start(patience: Duration) -> std::io::Result<Self> {
        // Full: see the field.
        let (looks, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..LOOKS_AT_A_TIME {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new().name(format!("telemetry-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { looks, patience })
    }

    /// What `look` returns; `None` if it takes too long (it goes on, to no effect) or too many hang already.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        // Nobody waits any more: nothing to tell.
        let look = Box::new(move || drop(tell.send(look())));
        self.looks.try_send(look).ok()?;
        timeout(self.patience, told).await.ok()?.ok()
    }
}

fn work(waiting: &Mutex<Receiver<Look>>) {
    // Of this thread alone: on Linux, priorities are those of threads.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        warn!("telemetry runs at the recorder's own priority: {error}");
    }
    loop {
        let look = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match look {
            Ok(look) => look(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Telemetry;
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[tokio::test]
    async fn two_at_a_time_and_nobody_waits_for_what_hangs() {
        let telemetry = Telemetry::start(Duration::from_millis(200)).unwrap();
        let nice = telemetry.look(|| rustix::process::getpriority_process(None).unwrap()).await;
        assert_eq!(nice, Some(super::NICE));
        assert_ne!(
            rustix::process::getpriority_process(None).unwrap(),
            super::NICE,
            "the tests themselves are slowed down"
        );

        let (let_go, hang) = channel::<()>();
        let (began, begins) = channel();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..2 {
            let (hang, began) = (Arc::clone(&hang), began.clone());
            let hanging = telemetry.look(move || {
                began.send(()).unwrap();
                drop(hang.lock().map(|hang| hang.recv()));
            });
            assert_eq!(hanging.await, None);
        }
        assert_eq!(begins.iter().take(2).count(), 2);
        // Both threads hang: a third is not begun, and who asks is told so in time.
        assert_eq!(telemetry.look(|| 1).await, None);
        drop(let_go);
        assert_eq!(telemetry.look(|| 2).await, Some(2));
    }
}
