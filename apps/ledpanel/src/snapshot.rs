//! What the recorder says of itself, as far as a panel shows it. Read over D-Bus, judged by [`truth`](crate::truth).

/// The recorder at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// When it was read, monotonic nanoseconds.
    pub at_ns: u64,
    /// What it does.
    pub state: State,
    /// The session being recorded: its object path.
    pub session: Option<String>,
    /// All configured inputs.
    pub inputs: Vec<InputSnapshot>,
    /// How the storage is.
    pub storage: StorageLevel,
    /// Until recordings are closed for want of room, at the present rate, seconds; `None` where nobody knows.
    pub seconds_left: Option<u64>,
    /// How long the session runs, microseconds.
    pub duration_usec: u64,
    /// The worst alert that holds.
    pub alert: AlertRank,
    /// What the updater does.
    pub update: Update,
}

/// As the property `State` of `org.holdfast.Recorder1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing is recorded.
    #[default]
    Idle,
    /// Asked for; nothing is safe yet.
    Starting,
    /// Being recorded.
    Recording,
    /// Files are being closed.
    Stopping,
    /// It can't record.
    Error,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputSnapshot {
    /// Its name.
    pub name: String,
    /// It takes part in the session.
    pub in_session: bool,
    /// It could record at once: armed, or its source delivers.
    pub ready: bool,
    /// Its source is known to be away, or it has failed.
    pub failed: bool,
    /// Safe in this session.
    pub safe_frames: u64,
    /// The same.
    pub safe_bytes: u64,
}

/// As the property `StorageLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum StorageLevel {
    /// Room enough.
    #[default]
    Ok,
    /// Told in time.
    Warn,
    /// Starts are refused.
    Low,
    /// Recordings are closed.
    Critical,
    /// It is not there.
    Unavailable,
}

/// The worst alert that holds, as levels of alerts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum AlertRank {
    /// None, or one that is only worth knowing.
    #[default]
    None,
    /// Somebody should look.
    Warning,
    /// Somebody must look now.
    Critical,
}

/// What the updater does, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Update {
    /// Nothing that a panel shows.
    #[default]
    None,
    /// There is one on a stick.
    Available,
    /// One is being copied from a stick: leave it in.
    Copying,
    /// An update is being installed: do not switch off.
    Installing,
    /// This is the first boot of an update, which has to prove itself.
    Trial,
}
