//! Ctrl-C, SIGTERM and a terminal that is closed end a command in order: what it started is ended too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};

/// Whether someone wants us to end.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C, SIGTERM and a terminal that is closed only set a flag. A second one ends the process at once.
    pub fn listen() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        // What runs under nohup is to outlive its terminal.
        let hangup = (!ignores_hangup()).then_some(signal_hook::consts::SIGHUP);
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM].into_iter().chain(hangup) {
            // The order matters: the first line acts only if the second has set the flag before.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
                .context("no signal handler")?;
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("no signal handler")?;
        }
        Ok(Self(flag))
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once someone wants us to end.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.is_set() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// Whether somebody has had SIGHUP ignored before we were started.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status).is_some_and(|mask| mask & 1 != 0)
}

/// The signals that a process ignores, the lowest bit being signal 1, which is SIGHUP.
fn ignored(status: &str) -> Option<u64> {
    u64::from_str_radix(status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ignored_signals_are_read() {
        let status = |mask| format!("Name:\tcargo\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        assert_eq!(super::ignored(&status("0000000000001001")), Some(0x1001));
        assert_eq!(super::ignored(&status("none")), None);
        assert_eq!(super::ignored(""), None);
    }
}
