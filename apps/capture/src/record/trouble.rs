//! A storage that refuses: what kind of refusal it is, when to try again, and what to tell. Pure.
//!
//! Whatever it is, the file that was being written is completed with what is safe and left alone, and the next attempt is a new
//! file at a keyframe: so no attempt is made more often than once a GOP.

use std::io::ErrorKind;

use holdfast_config::root::RootError;
use holdfast_link::AlertCode;

use super::files::StorageError;
use crate::clock::NS_PER_S;

/// EIO in the kernel's numbers; the standard library has no name for it.
const EIO: i32 = 5;

/// Kinds of refusals, each with a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No room. Somebody deletes, or retention does: tried at every keyframe.
    Full,
    /// Mounted read-only, or turned read-only by the kernel. A person has to see to it: tried slowly.
    ReadOnly,
    /// An I/O error. It may have been one bad block: the next file is tried at once, and only then slower.
    Faulty,
    /// All else: the mount has gone, permissions.
    Unusable,
}

impl Kind {
    /// Of which kind an error is.
    pub fn of(error: &StorageError) -> Self {
        let source = match error {
            StorageError::Root(RootError::ReadOnly { .. }) => return Self::ReadOnly,
            StorageError::Segment { source } => source,
            _ => return Self::Unusable,
        };
        match source {
            _ if source.is_disk_full() => Self::Full,
            holdfast_segment::Error::Io { source, .. } if source.kind() == ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly
            }
            holdfast_segment::Error::Io { source, .. } if source.raw_os_error() == Some(EIO) => Self::Faulty,
            holdfast_segment::Error::Poisoned { .. } => Self::Faulty,
            _ => Self::Unusable,
        }
    }

    /// The alert for it.
    pub fn code(self) -> AlertCode {
        match self {
            Self::Full => AlertCode::StorageFull,
            Self::ReadOnly => AlertCode::StorageReadOnly,
            Self::Faulty => AlertCode::WriteFailed,
            Self::Unusable => AlertCode::Storage,
        }
    }

    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Full => "free space; recording goes on by itself",
            Self::ReadOnly => "see dmesg for why, check the disk, mount it writable again; recording goes on by itself",
            Self::Faulty => "see dmesg and smartctl -a; a disk with I/O errors should be replaced",
            Self::Unusable => "check the mount and its permissions; recording goes on by itself",
        }
    }

    fn pause_ns(self, repeats: u32) -> u64 {
        match (self, repeats) {
            (Self::Full, _) | (Self::Faulty, 0) => 0,
            (Self::Faulty, 1) | (Self::Unusable, 0..=4) => NS_PER_S,
            _ => 5 * NS_PER_S,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Trouble {
    /// The present kind, and how often it has been met in a row before.
    now: Option<(Kind, u32)>,
    retry_ns: u64,
}

impl Trouble {
    /// Something was refused at `now_ns`. Returns the alert that this kind replaces, and whether this one is to be told.
    pub fn refused(&mut self, kind: Kind, now_ns: u64) -> (Option<AlertCode>, bool) {
        let repeats = match self.now {
            Some((known, repeats)) if known == kind => repeats.saturating_add(1),
            _ => 0,
        };
        let over = self.now.map(|(known, _)| known).filter(|known| *known != kind).map(Kind::code);
        self.now = Some((kind, repeats));
        self.retry_ns = now_ns + kind.pause_ns(repeats);
        // One bad block is not yet a bad disk: the hole is on record in any case.
        (over, kind != Kind::Faulty || repeats > 0)
    }

    /// Whether a file may be tried.
    pub fn may_try(&self, now_ns: u64) -> bool {
        now_ns >= self.retry_ns
    }

    /// A chunk is safe. Returns the alert that no longer holds.
    pub fn over(&mut self) -> Option<AlertCode> {
        self.retry_ns = 0;
        self.now.take().map(|(kind, _)| kind.code())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Trouble};
    use crate::clock::NS_PER_S;
    use crate::record::StorageError;
    use holdfast_link::AlertCode;
    use std::io;

    fn refused(errno: i32) -> StorageError {
        let source = io::Error::from_raw_os_error(errno);
        StorageError::Segment {
            source: holdfast_segment::Error::Io { path: "f".into(), offset: 0, what: "write", source },
        }
    }

    #[test]
    fn each_refusal_has_its_kind() {
        let kinds: Vec<Kind> = [28, 122, 30, 5, 13, 2].iter().map(|errno| Kind::of(&refused(*errno))).collect();
        assert_eq!(kinds, [Kind::Full, Kind::Full, Kind::ReadOnly, Kind::Faulty, Kind::Unusable, Kind::Unusable]);
        let poisoned = holdfast_segment::Error::Poisoned { path: "f".into(), safe_bytes: 1 };
        assert_eq!(Kind::of(&StorageError::Segment { source: poisoned }), Kind::Faulty);
        assert_eq!(Kind::of(&StorageError::NotOpen), Kind::Unusable);
    }

    #[test]
    fn a_full_disk_is_tried_at_every_keyframe() {
        let mut trouble = Trouble::default();
        for second in 0..100 {
            assert_eq!(trouble.refused(Kind::Full, second * NS_PER_S), (None, true));
            assert!(trouble.may_try(second * NS_PER_S));
        }
        assert_eq!(trouble.over(), Some(AlertCode::StorageFull));
        assert_eq!(trouble.over(), None);
    }

    #[test]
    fn one_bad_block_is_not_told_as_a_bad_disk() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.refused(Kind::Faulty, 0), (None, false));
        assert!(trouble.may_try(0));
        assert_eq!(trouble.refused(Kind::Faulty, 0), (None, true));
        assert!(!trouble.may_try(NS_PER_S - 1) && trouble.may_try(NS_PER_S));
        assert_eq!(trouble.refused(Kind::Faulty, NS_PER_S), (None, true));
        assert!(!trouble.may_try(5 * NS_PER_S) && trouble.may_try(6 * NS_PER_S));
        // The kernel has had enough of the disk.
        assert_eq!(trouble.refused(Kind::ReadOnly, 6 * NS_PER_S), (Some(AlertCode::WriteFailed), true));
        assert_eq!(trouble.over(), Some(AlertCode::StorageReadOnly));
        assert!(trouble.may_try(0));
    }

    #[test]
    fn read_only_is_tried_slowly() {
        let mut trouble = Trouble::default();
        trouble.refused(Kind::ReadOnly, 0);
        assert!(!trouble.may_try(5 * NS_PER_S - 1) && trouble.may_try(5 * NS_PER_S));
    }
}
