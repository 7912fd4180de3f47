//! Keeps devices running: [`Device::run_once`] fails, [`run`] tries again. The only place that decides about that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Device, Io};
use crate::model::{Button, Edge, Frame};

/// Before the first attempt after one that had worked; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// And never becomes longer: somebody may have plugged it in again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What has worked for so long has worked.
const WORKED: Duration = Duration::from_secs(10);

/// How a device is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// It is open and has answered.
    pub works: bool,
    /// Why it does not, and what to do; empty while it does, and before the first attempt has ended.
    pub error: String,
}

/// A device and what belongs to it.
pub struct Supervised {
    /// By its name in `panel.toml`.
    pub name: String,
    /// The device.
    pub device: Arc<dyn Device>,
    /// Its buttons: they come up when it goes.
    pub buttons: Vec<Button>,
    /// Told to others.
    pub state: watch::Sender<State>,
}

/// Where all devices are connected to.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The newest frame.
    pub frames: watch::Receiver<Frame>,
    /// Full (64): see [`Io::edges`].
    pub edges: mpsc::Sender<Edge>,
    /// Buttons whose device has gone. Full (16): this device waits to be tried again until the engine has heard.
    pub gone: mpsc::Sender<Button>,
}

/// Runs one device for ever. A device that hangs or is dead holds up itself alone.
pub async fn run(supervised: Supervised, panel: Panel) {
    let Supervised { name, device, buttons, state } = supervised;
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let (works, mut worked) = watch::channel(false);
        let io = Io { frames: panel.frames.clone(), edges: panel.edges.clone(), works };
        let error = {
            let mut running = device.run_once(io);
            loop {
                tokio::select! {
                    result = &mut running => match result {
                        Ok(never) => match never {},
                        Err(error) => break error.to_string(),
                    },
                    Ok(()) = worked.changed() => {
                        let works = *worked.borrow_and_update();
                        if works {
                            info!(device = name, "works");
                        }
                        state.send_modify(|state| *state = State { works, error: String::new() });
                    }
                }
            }
        };
        for button in &buttons {
            // The engine has ended: so will we.
            let _ = panel.gone.send(button.clone()).await;
        }
        let is_news = state.borrow().error != error;
        if is_news {
            warn!(device = name, "does not work, tried again: {error}");
        }
        state.send_modify(|state| *state = State { works: false, error });
        if began.elapsed() >= WORKED {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures_util::future::BoxFuture;
    use tokio::sync::{mpsc, watch};
    use tokio::time::{Instant, sleep, timeout};

    use super::{LONGEST_PAUSE, Panel, State, Supervised, run};
    use crate::devices::{Device, DeviceError, Io};
    use crate::model::{Button, Frame};

    /// Works for so long, then fails; every time.
    struct Flaky(Arc<AtomicU32>, Duration);

    impl Device for Flaky {
        fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
            Box::pin(async move {
                self.0.fetch_add(1, Ordering::Relaxed);
                let _ = io.works.send(true);
                sleep(self.1).await;
                Err(DeviceError::new("the wire is cut", "mend it"))
            })
        }

        fn leave_in_fault(&self) -> Result<(), DeviceError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_for_ever_and_its_buttons_come_up() {
        let tries = Arc::new(AtomicU32::new(0));
        let (_frames, frames) = watch::channel(Frame::default());
        let (edges, _edges) = mpsc::channel(64);
        let (gone, mut released) = mpsc::channel(16);
        let (state, mut shown) = watch::channel(State::default());
        let supervised = Supervised {
            name: "door".into(),
            device: Arc::new(Flaky(Arc::clone(&tries), Duration::from_millis(100))),
            buttons: vec![Button("record".into())],
            state,
        };
        let task = tokio::spawn(run(supervised, Panel { frames, edges, gone }));
        shown.wait_for(|state| state.works).await.unwrap();
        let failed = shown.wait_for(|state| !state.works).await.unwrap().clone();
        assert_eq!(failed.error, "the wire is cut. mend it");
        assert_eq!(released.recv().await, Some(Button("record".into())));
        // Slower and slower, but never slower than this.
        let mut last = Instant::now();
        for _ in 0..10 {
            timeout(2 * LONGEST_PAUSE, released.recv()).await.unwrap().unwrap();
            assert!(last.elapsed() <= LONGEST_PAUSE + Duration::from_millis(200), "{:?}", last.elapsed());
            last = Instant::now();
        }
        assert_eq!(tries.load(Ordering::Relaxed), 11);
        task.abort();
    }
}
