//! The power-cut rig: one recording on a disk whose every write and flush is logged, and thousands of images of what a
//! power cut leaves of it, each mounted, recovered and judged. `docs/powercut.md` says what that proves and what not.
//!
//! ```text
//! recorder, captures ─► ext4 ─► loop ─► FUSE ─► qemu-storage-daemon ─► disk.img
//!        │ "so many frames are safe"                   └─► log.img   every write and flush, in order
//!        ▼
//!     claims, each with the length of the log when it was heard
//!
//! log ─► cuts ─► image ─► mount, recover, verify, decode ─► against the claims up to there
//! ```
//!
//! - [`disk`] runs such a disk, [`log`] reads what it wrote down.
//! - [`story`] lets a real recorder record on it, [`witness`] hears what the captures report, [`claims`] makes promises of it.
//! - [`cuts`] chooses where the power goes and what the drive's cache then loses, [`replay`] makes the image.
//! - [`judge`] says whether everything promised is there but for what retention has [`given`] up, [`pictures`] whether it
//!   decodes, [`seals`] how much was on its way.
//! - [`onto`] makes the image of one cut of a machine's disk.
//! - [`boot`] starts a real recorder on some images.
//! - [`update`] is another story on such a disk: that of an update, and of the updater's state.
//! - [`sloppy`] writes as one must not: the rig has to catch it. [`peers`] are other people's writers.
//!
//! All of it runs in namespaces of its own ([`namespace`]): whatever becomes of the rig, no mount and no process stays.

pub mod boot;
pub mod claims;
pub mod cuts;
pub mod disk;
pub mod given;
pub mod judge;
pub mod log;
pub mod namespace;
pub mod onto;
pub mod peers;
pub mod pictures;
pub mod process;
pub mod replay;
pub mod run;
pub mod seals;
pub mod sloppy;
pub mod station;
pub mod story;
pub mod update;
pub mod witness;
