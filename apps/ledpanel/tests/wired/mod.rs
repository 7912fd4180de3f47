//! A device that runs, as the panel runs it.
#![allow(dead_code, reason = "every test takes what it needs")]

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use holdfast_panel::devices::{Device, DeviceError, Io};
use holdfast_panel::model::{Button, Colour, Edge, Frame, Light, Shade};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Until then everything has happened, on a slow machine too.
pub const DEADLINE: Duration = Duration::from_secs(10);

pub struct Running {
    frames: watch::Sender<Frame>,
    edges: mpsc::Receiver<Edge>,
    works: watch::Receiver<bool>,
    task: JoinHandle<Result<Infallible, DeviceError>>,
}

impl Running {
    pub fn start(device: &Arc<impl Device + 'static>) -> Self {
        Self::showing(device, Frame::default())
    }

    /// It starts with a frame that is there already.
    pub fn showing(device: &Arc<impl Device + 'static>, frame: Frame) -> Self {
        let frames = watch::Sender::new(frame);
        let (tell, edges) = mpsc::channel(64);
        let works = watch::Sender::new(false);
        let io = Io { frames: frames.subscribe(), edges: tell, works: works.clone() };
        let device = Arc::clone(device);
        let task = tokio::spawn(async move { device.run_once(io).await });
        Self { frames, edges, works: works.subscribe(), task }
    }

    pub async fn works(&mut self) {
        let works = timeout(DEADLINE, self.works.wait_for(|works| *works)).await;
        let works = works.expect("it works within the deadline").is_ok_and(|works| *works);
        if !works {
            let ended = timeout(DEADLINE, &mut self.task).await.unwrap().unwrap();
            panic!("it does not work: {ended:?}");
        }
    }

    pub async fn edge(&mut self) -> Edge {
        timeout(DEADLINE, self.edges.recv()).await.expect("an edge within the deadline").expect("a device that runs")
    }

    /// The next edge is this one.
    pub async fn tells(&mut self, button: &str, pressed: bool) -> Edge {
        let edge = self.edge().await;
        assert_eq!((edge.button.0.as_str(), edge.pressed), (button, pressed), "{edge:?}");
        edge
    }

    /// Nothing is waiting to be read.
    pub fn told_nothing(&mut self) {
        assert!(self.edges.try_recv().is_err());
    }

    pub fn show(&self, change: impl FnOnce(&mut Frame)) {
        self.frames.send_modify(change);
    }

    pub fn light(&self, light: Light, shade: Shade) {
        self.show(|frame| {
            frame.lights.insert(light, shade);
        });
    }

    /// It fails, and says this.
    pub async fn fails(mut self) -> DeviceError {
        match timeout(DEADLINE, &mut self.task).await.expect("it fails within the deadline").unwrap() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    pub async fn stop(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

/// What a device says that can't start.
pub async fn refusal(device: impl Device + 'static) -> String {
    Running::start(&Arc::new(device)).fails().await.to_string()
}

/// Looks until it is so, or the deadline has passed.
pub async fn until<T: PartialEq + Debug>(what: &str, expected: T, look: impl Fn() -> T) {
    let is_so = async {
        while look() != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(DEADLINE, is_so).await.is_ok(), "{what}: {:?} instead of {expected:?}", look());
}

pub fn button(name: &str) -> Button {
    Button(name.to_owned())
}

pub fn shade(colour: Colour, level: u8) -> Shade {
    Shade { colour, level }
}

pub fn frame(lights: &[(Light, Shade)]) -> Frame {
    Frame { lights: lights.iter().cloned().collect(), ..Frame::default() }
}

/// `CLOCK_MONOTONIC`, nanoseconds.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// What a device says that is started by nobody (uid 65534), in a thread of its own: only that thread is nobody.
pub fn refusal_to_nobody(device: impl Device + 'static) -> String {
    let as_nobody = move || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(refusal(device))
    };
    std::thread::spawn(as_nobody).join().unwrap()
}
