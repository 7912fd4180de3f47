//! An installed Holdfast under a real systemd, in namespaces of its own: the units, the bus policy, the users and the
//! directories as they are on a box, without being one.
//!
//! A [`Rig`] boots in about a second. Its files are those of the machine around it with an installed tree laid over them
//! (overlayfs, in memory); nothing that happens in it changes the machine. It takes root.

mod cgroup;
mod installed;
mod rig;

pub use installed::{InstallError, install};
pub use rig::{Output, Rig, RigError};

/// Whether a rig can run here. Says aloud why not.
pub fn possible() -> bool {
    match rig::missing() {
        None => true,
        Some(why) => {
            holdfast_aloud::skip(format_args!("nothing of systemd is tested here: {why}"));
            false
        }
    }
}
