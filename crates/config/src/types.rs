//! What can be configured. Every value here has been validated: a program that holds a [`Config`] may use it as it stands.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// The whole of `holdfast.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// `[storage]`
    pub storage: Storage,
    /// `[recording]`
    pub recording: Recording,
    /// `[recorder]`
    pub recorder: Recorder,
    /// `[protection]`
    pub protection: Protection,
    /// `[[input]]`, in the order of the file. Names are unique.
    pub inputs: Vec<Input>,
}

/// Where footage goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// The directory that holds the recordings. Absolute.
    pub root: PathBuf,
    /// Which filesystem `root` must be on; anything else is refused.
    pub filesystem: Filesystem,
    /// Warn at this fill level, percent. Below `block_percent`.
    pub warn_percent: u8,
    /// Refuse to start recordings at this fill level, percent.
    pub block_percent: u8,
    /// Limits of free space in bytes.
    pub floors: Floors,
    /// Space that is held back, so that closing files always has room. 0 for none.
    pub ballast_bytes: u64,
    /// What is deleted by itself.
    pub keep: Keep,
}

/// Limits of free space, whatever the percentages say; 0 switches one off. Those that are on are ordered: `stop` below `start`
/// below `warn`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Floors {
    /// Warn below this.
    pub warn_bytes: u64,
    /// Refuse to start recordings below this.
    pub start_bytes: u64,
    /// Close a running recording below this.
    pub stop_bytes: u64,
}

/// What retention keeps; 0 switches a limit off. Without any limit nothing is ever deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Keep {
    /// Footage that is older is deleted.
    pub days: u32,
    /// The oldest footage beyond so many bytes is deleted.
    pub bytes: u64,
    /// The oldest footage is deleted until so much of the filesystem is free.
    pub free_percent: u8,
    /// There is an archive: what is not archived yet is never deleted.
    pub archive: bool,
}

impl Keep {
    /// Whether anything may be deleted at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.days > 0 || self.bytes > 0 || self.free_percent > 0
    }
}

/// Which filesystem the storage root must be on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Filesystem {
    /// Whichever it is. For a PC or a demo.
    Any,
    /// Any but the one that holds `/`: a missing mount is an error, not a directory on the root disk. The default.
    Mounted,
    /// The one with this UUID (as in `/dev/disk/by-uuid`).
    Uuid(String),
    /// The one with this label (as in `/dev/disk/by-label`).
    Label(String),
}

/// How footage is cut and made safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recording {
    /// A new file after this time, at the next keyframe.
    pub rotation: Duration,
    /// A new file after this many bytes, at the next keyframe.
    pub rotation_bytes: u64,
    /// Frames are written and synced this often; a power cut costs at most this much.
    pub sync_interval: Duration,
    /// An armed input remembers this much.
    pub preroll: Duration,
    /// And at most this many bytes of it.
    pub preroll_bytes: u64,
    /// This many bytes may wait for a stalled disk before frames are dropped.
    pub buffer_bytes: u64,
}

/// The control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorder {
    /// The bus to serve on.
    pub bus: Bus,
    /// Sockets and what does not outlive a boot. Usually `/run/holdfast`.
    pub runtime_dir: PathBuf,
    /// What outlives a boot. Usually `/var/lib/holdfast`.
    pub state_dir: PathBuf,
    /// Who starts the captures.
    pub supervisor: Supervisor,
    /// The capture program, for [`Supervisor::Spawn`]. A name without `/` is looked for beside the recorder, then in `PATH`.
    pub capture_program: PathBuf,
    /// Where figures are written for node_exporter's textfile collector; nowhere if `None`.
    pub metrics_file: Option<PathBuf>,
    /// How often.
    pub metrics_interval: Duration,
    /// Whoever connects here is told the figures.
    pub metrics_socket: PathBuf,
}

/// What keeps harm from recordings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// The CPUs that captures run on.
    pub capture_cpus: CaptureCpus,
    /// A capture that uses more memory than this raises an alert. It is not ended for it.
    pub memory_alert_mib: u64,
    /// A capture that uses more of the CPU raises an alert; 100 is one core.
    pub cpu_alert_percent: u64,
    /// What becomes of a session that a crash, a restart of the box or a power cut has interrupted.
    pub resume: Resume,
    /// An older one is not taken up again by itself.
    pub resume_within: Duration,
    /// So long after a recording nothing begins that a recording would end.
    pub lease_grace: Duration,
}

/// What becomes of an interrupted session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Resume {
    /// It goes on by itself. The default.
    Always,
    /// It waits for a person.
    Ask,
    /// It is closed.
    Never,
}

/// CPUs that captures run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CaptureCpus {
    /// All but the first, which the kernel's housekeeping runs on, where there are more than two. The default.
    Auto,
    /// Whichever the process was given.
    All,
    /// These, by number; in order and without doubles.
    These(Vec<u16>),
}

/// Which message bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Bus {
    /// The system bus. The default.
    System,
    /// The session bus.
    Session,
    /// A bus at this D-Bus address.
    Address(String),
}

/// Who starts the captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Supervisor {
    /// systemd where it runs, else spawn.
    Auto,
    /// `holdfast-capture@<input>.service`.
    Systemd,
    /// Detached child processes.
    Spawn,
}

/// One camera, HDMI input, test picture or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// ASCII letters, digits, `-`, `_`; 1–32 characters; begins with a letter or digit.
    pub name: String,
    /// Where frames come from.
    pub source: Source,
    /// Record sound where the source has it.
    pub audio: bool,
    /// Keep the input running between recordings, so that it starts at once and with pre-roll.
    pub armed: bool,
    /// How raw video is encoded. Not used by sources that are encoded already.
    pub encoding: Encoding,
}

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Source {
    /// An RTSP camera. H.264 and H.265 are copied, never re-encoded.
    Rtsp {
        /// `rtsp://host[:port]/path`, without user and password.
        url: String,
        /// A file of two lines, user and password, or of one `user:password`; readable by the service only.
        credentials_file: Option<PathBuf>,
        /// TCP (the default) or UDP.
        transport: RtspTransport,
    },
    /// A V4L2 device: HDMI-in, USB or MIPI camera.
    V4l2 {
        /// `/dev/video…`
        device: PathBuf,
        /// ALSA device name for sound, `hw:…`.
        audio_device: Option<String>,
        /// Ask for this picture; what is not set is the device's choice.
        picture: Picture,
    },
    /// Numbered pictures and a tone.
    Test {
        /// The picture.
        picture: Picture,
    },
    /// A media file, played in a loop as if it were live.
    File {
        /// The file.
        path: PathBuf,
    },
}

/// RTP over the RTSP connection, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RtspTransport {
    /// Interleaved. Loses nothing to the network.
    Tcp,
    /// For cameras that can't do TCP.
    Udp,
}

/// Size and rate of a raw picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Frames per second.
    pub framerate: Option<u32>,
}

/// How raw video is encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Encoding {
    /// `None`: choose by evidence. Else a name from the encoder table.
    pub encoder: Option<String>,
    /// The codec to choose for.
    pub codec: Codec,
    /// Target bit rate in kbit/s.
    pub bitrate_kbps: u32,
}

/// Codecs we encode to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Codec {
    /// H.264 / AVC
    H264,
    /// H.265 / HEVC
    H265,
}
