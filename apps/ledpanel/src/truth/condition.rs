//! What can hold of a recorder, a box or a panel, in the order of what matters.

/// Something that a panel shows. Ordered by urgency: where two hold for one light, it shows the greater. What each
/// looks like is in [`patterns::row`](crate::patterns::row).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Well, and a press records at once.
    Ready,
    /// Well, but no input is armed: a recording takes a moment to begin.
    Resting,
    /// An input stands by and keeps its pre-roll.
    Armed,
    /// Somebody should look.
    Warning,
    /// The storage fills.
    StorageLow(Hours),
    /// There is an update on a stick that was plugged in, which waits for somebody or for its time.
    UpdateAvailable,
    /// An update is being copied from a stick: leave it in.
    UpdateCopying,
    /// The first boot of an update, which has to prove itself.
    TrialBoot,
    /// An update is being installed: do not switch off.
    Updating,
    /// A press would be refused, or nothing would come of it.
    NotPossible,
    /// Footage of every input that takes part becomes safe.
    Recording,
    /// Asked for; not all inputs that take part have made something safe yet.
    Starting,
    /// Files are being closed.
    Stopping,
    /// Somebody must look now.
    Critical,
    /// Somebody asks which box this is.
    Identify,
    /// It should record, and nothing becomes safe.
    Stalled,
    /// Nothing is heard of the recorder.
    Fault,
    /// A button was pressed.
    Acknowledged,
    /// A button is held, and something happens if it stays so.
    Holding,
    /// What a button asked for was refused.
    Refused,
    /// Somebody looks whether all lights work.
    LampTest,
}

impl Condition {
    /// All, the least urgent first.
    pub const ALL: [Self; 26] = [
        Self::Ready,
        Self::Resting,
        Self::Armed,
        Self::Warning,
        Self::StorageLow(Hours::Unknown),
        Self::StorageLow(Hours::More),
        Self::StorageLow(Hours::Four),
        Self::StorageLow(Hours::Three),
        Self::StorageLow(Hours::Two),
        Self::StorageLow(Hours::One),
        Self::UpdateAvailable,
        Self::UpdateCopying,
        Self::TrialBoot,
        Self::Updating,
        Self::NotPossible,
        Self::Recording,
        Self::Starting,
        Self::Stopping,
        Self::Critical,
        Self::Identify,
        Self::Stalled,
        Self::Fault,
        Self::Acknowledged,
        Self::Holding,
        Self::Refused,
        Self::LampTest,
    ];
}

/// How many hours of room have begun, as far as it is worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hours {
    /// Nobody knows: nothing is being recorded.
    Unknown,
    /// More than four hours are left.
    More,
    /// At most four.
    Four,
    /// At most three.
    Three,
    /// At most two.
    Two,
    /// The last one.
    One,
}

impl Hours {
    /// Of what the recorder says.
    #[must_use]
    pub fn of_seconds(left: Option<u64>) -> Self {
        match left.map(|seconds| seconds.div_ceil(3600)) {
            None => Self::Unknown,
            Some(0 | 1) => Self::One,
            Some(2) => Self::Two,
            Some(3) => Self::Three,
            Some(4) => Self::Four,
            Some(_) => Self::More,
        }
    }
}
