//! Numeric codes of refusals, the same as on D-Bus (`org.holdfast.Error.*`).

/// An argument makes no sense.
pub const INVALID_ARGUMENT: i32 = -1001;
/// A session this capture does not record.
pub const UNKNOWN_SESSION: i32 = -1003;
/// Nothing is being recorded.
pub const NOT_RECORDING: i32 = -1004;
/// Too much is under way.
pub const BUSY: i32 = -1005;
/// Another session is being recorded.
pub const ALREADY_RECORDING: i32 = -1006;
/// The disk is too full.
pub const STORAGE_LOW: i32 = -1008;
/// The storage cannot be used: missing mount, wrong filesystem, not writable.
pub const STORAGE_UNAVAILABLE: i32 = -1009;
/// Anything that should not happen.
pub const INTERNAL: i32 = -1099;
