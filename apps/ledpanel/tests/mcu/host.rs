//! The panel program's end: a device that runs on a thread of its own until it fails or is dropped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdfast_panel::devices::mcu::{Mcu, McuConfig};
use holdfast_panel::devices::{Device as _, DeviceError, Io};
use holdfast_panel::model::{Button, Colour, Edge, Frame, Light, Shade};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot, watch};

/// Generous: it only bounds how long a broken build hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Host {
    pub mcu: Arc<Mcu>,
    pub frames: watch::Sender<Frame>,
    pub works: watch::Receiver<bool>,
    pub failed: Receiver<(Instant, DeviceError)>,
    edges: Receiver<Edge>,
    /// Dropped: so is the run.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

pub fn config(path: &Path) -> McuConfig {
    McuConfig {
        path: path.to_str().unwrap().to_owned(),
        baud: 115_200,
        lights: vec![(Light::Record, 2), (Light::Status, 0)],
        buttons: vec![(Button("record".into()), 1)],
        display: true,
    }
}

/// The light of a recording in a colour, with a text.
pub fn frame(colour: Colour, level: u8, text: &str) -> Frame {
    let lights = BTreeMap::from([(Light::Record, Shade { colour, level })]);
    Frame { lights, buzzer: false, text: [text.to_owned(), String::new()] }
}

pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

impl Host {
    pub fn start(config: McuConfig) -> Self {
        Self::run(Arc::new(Mcu::new(config)))
    }

    /// One run of a device, which may have had others.
    pub fn run(mcu: Arc<Mcu>) -> Self {
        let (frames, shown) = watch::channel(Frame::default());
        let (works_sender, works) = watch::channel(false);
        // Full: the device waits, as it says.
        let (edge_sender, mut edge_receiver) = mpsc::channel(64);
        // Full: it is not, no test makes so many.
        let (edges_out, edges) = sync_channel(1024);
        // Full: it is not, there is one.
        let (failed_sender, failed) = sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let device = mcu.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let io = Io { frames: shown, edges: edge_sender, works: works_sender };
                let forward = async {
                    while let Some(edge) = edge_receiver.recv().await {
                        drop(edges_out.send(edge));
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    end = device.run_once(io) => {
                        let Err(error) = end;
                        drop(failed_sender.send((Instant::now(), error)));
                    }
                    () = forward => {}
                    _ = stopped => {}
                }
            });
        });
        Self { mcu, frames, works, failed, edges, stop, thread }
    }

    /// Waits until it says that it works.
    pub fn works(&self) {
        let begin = Instant::now();
        while !*self.works.borrow() {
            if let Ok((_, error)) = self.failed.recv_timeout(Duration::from_millis(2)) {
                panic!("it failed: {error}");
            }
            assert!(begin.elapsed() < PATIENCE, "it does not begin to work");
        }
    }

    pub fn edge(&self) -> Edge {
        self.edges.recv_timeout(PATIENCE).unwrap()
    }

    /// When it failed, and why.
    pub fn error(&self) -> (Instant, String) {
        let (at, error) = self.failed.recv_timeout(PATIENCE).unwrap();
        (at, error.to_string())
    }

    /// Ends it without a word, and waits until it has let go of all.
    pub fn kill(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}
