//! Start-up as a story, and the only place that picks concrete things.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use holdfast_config::{Config, ConfigErrors, Input, RtspTransport, Source as Configured};
use holdfast_link::{self as link, AlertCode};
use holdfast_segment::BootId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Wall;
use crate::control::Control;
use crate::door::{self, Door, DoorError};
use crate::intake::{CaptureQueue, Intake};
use crate::probe::Probe;
use crate::queue::Queue;
use crate::reach::Reach;
use crate::record::{Recorder, Station};
use crate::source::encode::Encoders;
use crate::source::file::FileSource;
use crate::source::interleaved::InterleavedSource;
use crate::source::rtsp::RtspSource;
use crate::source::test::TestSource;
use crate::source::v4l2::V4l2Source;
use crate::source::{Source, supervise};
use crate::state::Shared;
use crate::upkeep::Upkeep;
use crate::{SOFTWARE, crash, priority, service, upkeep};

/// Why a capture does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The configuration has no such input.
    #[error("the configuration has no input {name:?}; it has: {known}")]
    NoSuchInput {
        /// As asked for.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// The socket cannot be served.
    #[error(transparent)]
    Control(#[from] DoorError),
    /// GStreamer does not start.
    #[error("GStreamer does not start: {0}")]
    GStreamer(#[from] gst::glib::Error),
    /// The kernel refuses something basic.
    #[error("cannot {what}: {source}")]
    Io {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn io(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Io { what, source }
}

/// Ends the process at the first panic of any thread, in debug builds too, with a word in the log and a report for the recorder.
pub fn abort_on_panic() {
    holdfast_log::end_on_panic(crash::report);
}

/// Reads the configuration and serves one of its inputs; see [`serve`].
///
/// # Errors
/// See [`StartError`].
pub fn run(config_path: &Path, input_name: &str) -> Result<(), StartError> {
    let config = Config::load(config_path)?;
    let program = std::env::current_exe().map_err(io("find this program"))?;
    serve(&config, input_name, &program, &Tuning::default())
}

/// What is the same on every box, and other only for tests.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// See [`upkeep::ALONE`].
    pub alone: Duration,
    /// For labels.
    pub wall: Wall,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { alone: upkeep::ALONE, wall: Wall::default() }
    }
}

/// The source's thread may hang in a driver when the files are closed; the end is not put off for it longer than this.
const SOURCE_PATIENCE: Duration = Duration::from_secs(5);

/// Serves one input until SIGTERM, SIGINT or `Shutdown`. `program` is `holdfast-capture` itself, which probes encoders.
///
/// # Errors
/// Only before anything is recorded; see [`StartError`].
pub fn serve(config: &Config, input_name: &str, program: &Path, tuning: &Tuning) -> Result<(), StartError> {
    let input = find(config, input_name)?;

    holdfast_log::serves_input(&input.name);
    // First the right to serve the input: a second capture must not even look at its camera.
    let door = Door::open(&config.recorder.runtime_dir, &input.name)?;
    // Before there are threads, which inherit it.
    let denied = priority::raise(&config.protection.capture_cpus);
    let signals = signals().map_err(io("handle signals"))?;
    gst::init()?;

    let boot_id = BootId::current().map_err(io("read the boot id"))?;
    crash::serve(&config.recorder.runtime_dir, &input.name, boot_id);
    let shared = Arc::new(Shared::new(input.armed).map_err(io("make an eventfd"))?);
    let queue: Arc<CaptureQueue> = Arc::new(Queue::new(config.recording.buffer_bytes));
    let intake = Intake { queue: queue.clone(), shared: shared.clone() };
    let station = Station {
        storage: config.storage.clone(),
        input: input.name.clone(),
        device: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        software: SOFTWARE.to_owned(),
        boot_id,
        wall: tuning.wall.clone(),
    };
    if !denied.is_empty() {
        let text = format!(
            "this process may not have {}. It records all the same; run it under systemd, or with CAP_SYS_NICE and \
             CAP_SYS_RESOURCE",
            denied.join(", ")
        );
        tracing::warn!("{text}");
        shared.raise(AlertCode::Priority, &text);
    }
    let hello = link::Hello {
        input: link::clip(&input.name),
        pid: std::process::id(),
        boot_id: boot_id.0,
        config_digest: input.digest(config),
        software: link::clip(SOFTWARE),
    };

    let source = source(config, input, program);
    let (source_ended, ended) = pipe().map_err(io("make a pipe"))?;
    spawn("source", move || {
        supervise::run(source, &intake);
        drop(ended);
    })?;
    let recorder = Recorder::new(queue.clone(), shared.clone(), station, config.recording.clone());
    let (writer_ended, ended) = pipe().map_err(io("make a pipe"))?;
    let writer = spawn("writer", move || {
        recorder.run();
        // Closing it tells the control thread.
        drop(ended);
    })?;
    tracing::info!(input = input.name, pid = hello.pid, "serving");
    let alone = (!service::is_unit()).then_some(tuning.alone);
    let upkeep = Upkeep::new(service::watchdog(), alone);
    service::ready();
    Control::new(door, hello, queue, shared.clone(), upkeep, tuning.wall.clone())
        .run(signals.as_fd(), writer_ended.as_fd())
        .map_err(io("poll"))?;

    // The files are closed; now the source may go.
    service::stopping();
    shared.set_shutdown();
    // A thread that panicked has ended the process already.
    let _ = writer.join();
    let patience = Timespec::try_from(SOURCE_PATIENCE).ok();
    if !matches!(poll(&mut [PollFd::new(&source_ended, PollFlags::IN)], patience.as_ref()), Ok(1..)) {
        tracing::error!("the source's thread hangs; it is left behind");
    }
    tracing::info!(input = input.name, "ended");
    Ok(())
}

/// Looks whether an input's source can be reached, unless a capture serves it. `keep`: see [`Reach::keep`].
///
/// # Errors
/// Nothing could be looked at; see [`StartError`].
pub fn look(config_path: &Path, input_name: &str, keep: bool) -> Result<Reach, StartError> {
    let config = Config::load(config_path)?;
    let input = find(&config, input_name)?;
    let runtime_dir = &config.recorder.runtime_dir;
    let found = if door::is_served(runtime_dir, &input.name) {
        Reach::served()
    } else {
        let program = std::env::current_exe().map_err(io("find this program"))?;
        Reach::of(source(&config, input, &program))
    };
    if keep {
        found.keep(runtime_dir, &input.name).map_err(io("leave the answer in recorder.runtime_dir"))?;
    }
    Ok(found)
}

fn find<'a>(config: &'a Config, input_name: &str) -> Result<&'a Input, StartError> {
    config.inputs.iter().find(|input| input.name == input_name).ok_or_else(|| StartError::NoSuchInput {
        name: input_name.to_owned(),
        known: config.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// The source of an input, real or simulated, as configured.
fn source(config: &Config, input: &Input, program: &Path) -> Box<dyn Source> {
    let probe = Probe::new(program.to_owned(), &config.recorder.runtime_dir);
    let memory = config.recorder.runtime_dir.join(link::SOCKET_DIRECTORY).join(format!("{}.encoders", input.name));
    let encoders = Encoders::new(input.encoding.clone(), probe, memory);
    match &input.source {
        Configured::Test { picture } => Box::new(TestSource::new(&input.name, *picture, input.audio, encoders)),
        Configured::Rtsp { url, credentials_file, transport: RtspTransport::Tcp } if url.starts_with("rtsp://") => {
            Box::new(InterleavedSource::new(url, credentials_file.clone(), input.audio))
        }
        Configured::Rtsp { url, credentials_file, transport } => {
            Box::new(RtspSource::new(url, credentials_file.clone(), *transport, input.audio))
        }
        Configured::V4l2 { device, audio_device, picture } => {
            let audio_device = audio_device.clone().filter(|_| input.audio);
            Box::new(V4l2Source::new(device, audio_device, *picture, encoders))
        }
        Configured::File { path } => Box::new(FileSource::new(path, input.audio)),
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(io("start a thread"))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?)
}

/// Readable after SIGTERM or SIGINT. SIGHUP (the terminal it was started from is gone) is no reason to stop recording.
fn signals() -> io::Result<OwnedFd> {
    let (read, write) = pipe()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::new(std::sync::atomic::AtomicBool::new(false)))?;
    Ok(read)
}
