//! Where nothing else looks after the panel: a second process that waits for the first to be gone, and leaves the lights in fault.
//!
//! Under systemd `ExecStopPost=` does that. By hand, or in a container, a panel that is killed would leave its lights as they were,
//! and a frozen "recording" is the one lie that a light must not tell. The guardian holds the reading end of a pipe whose writing
//! end only the panel has: however that ends, the kernel closes it.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tracing::warn;

/// Said by a panel that has left its devices in fault itself.
const DONE: u8 = b'.';

/// The process that waits.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
}

impl Guardian {
    /// Starts one, unless systemd looks after this process. Without one the panel runs all the same.
    #[must_use]
    pub fn start(arguments: &[(&str, &Path)]) -> Option<Self> {
        // Of a unit that tells when it is ready, as ours does. INVOCATION_ID would not do: a desktop's terminals have it too.
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            return None;
        }
        let program = std::env::current_exe().inspect_err(|error| warn!("no guardian: {error}")).ok()?;
        let mut command = Command::new(program);
        command.args(arguments.iter().flat_map(|(name, path)| [name.as_ref(), path.as_os_str()])).arg("--guard");
        // A group of its own: the Ctrl+C that ends the panel is not for it.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let child = command.spawn().inspect_err(|error| warn!("no guardian: {error}")).ok()?;
        Some(Self { child })
    }

    /// The devices have been left in fault: it is not needed any more.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            let _ = pipe.write_all(&[DONE]);
        }
        let _ = self.child.wait();
    }
}

/// In the guardian: waits until the panel is gone. True: its lights are as they were.
#[must_use]
pub fn bereaved() -> bool {
    let mut said = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut said);
    said.last() != Some(&DONE)
}
