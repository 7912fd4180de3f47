//! What causes and reasons are called on the link and in segment files.

use holdfast_link::{DropReason, GapCause};

/// The cause of a gap, as segment files name it.
#[must_use]
pub fn segment_cause(cause: GapCause) -> holdfast_segment::GapCause {
    use holdfast_segment::GapCause as Segment;
    match cause {
        GapCause::CaptureDied => Segment::CaptureDied,
        GapCause::SourceLost => Segment::SourceLost,
        GapCause::DiskStall => Segment::DiskStall,
        GapCause::EncoderFailed => Segment::EncoderFailed,
        GapCause::Reboot => Segment::Reboot,
        GapCause::Operator => Segment::Operator,
        GapCause::FormatChange => Segment::FormatChange,
        GapCause::Unknown => Segment::Unknown,
        GapCause::DiskFailed => Segment::DiskFailed,
    }
}

/// The cause of a gap, as the link names it.
#[must_use]
pub fn link_cause(cause: holdfast_segment::GapCause) -> GapCause {
    use holdfast_segment::GapCause as Segment;
    match cause {
        Segment::CaptureDied => GapCause::CaptureDied,
        Segment::SourceLost => GapCause::SourceLost,
        Segment::DiskStall => GapCause::DiskStall,
        Segment::DiskFailed => GapCause::DiskFailed,
        Segment::EncoderFailed => GapCause::EncoderFailed,
        Segment::Reboot => GapCause::Reboot,
        Segment::Operator => GapCause::Operator,
        Segment::FormatChange => GapCause::FormatChange,
        _ => GapCause::Unknown,
    }
}

/// The reason of a loss, as segment files name it.
#[must_use]
pub fn segment_reason(reason: DropReason) -> holdfast_segment::DropReason {
    use holdfast_segment::DropReason as Segment;
    match reason {
        DropReason::DiskStall => Segment::QueueFull,
        DropReason::WriteFailed => Segment::WriteFailed,
        DropReason::Encoder => Segment::EncoderDropped,
        DropReason::NoKeyframe => Segment::NoKeyframe,
        DropReason::Corrupt => Segment::Malformed,
        DropReason::Overload => Segment::Overload,
    }
}
