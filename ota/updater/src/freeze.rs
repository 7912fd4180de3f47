//! Holds RAUC still while something is recorded: it has no way of being cancelled or throttled, so its processes are frozen where they
//! stand. By its control group, which takes its helpers along (cgroup v2, `cgroup.freeze`); without one, by SIGSTOP.

use std::path::PathBuf;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use zbus::Connection;
use zbus::fdo::DBusProxy;

/// RAUC's process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// `cgroup.freeze` of the unit that RAUC is, if it is one: never of a group that other programs are in, too.
    switch: Option<PathBuf>,
}

impl Process {
    /// As the bus has it now.
    ///
    /// # Errors
    /// It is not there.
    pub async fn find(connection: &Connection) -> anyhow::Result<Self> {
        let bus = DBusProxy::new(connection).await?;
        let pid = bus.get_connection_unix_process_id("de.pengutronix.rauc".try_into()?).await;
        let pid = pid.context("RAUC is not there")?;
        Ok(Self { pid, switch: switch(pid) })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// It has not ended.
    pub fn is_there(&self) -> bool {
        PathBuf::from(format!("/proc/{}/io", self.pid)).exists()
    }

    /// Freezes it, or lets it go on.
    ///
    /// # Errors
    /// It has ended, or may not be touched.
    pub fn set(&self, frozen: bool) -> anyhow::Result<()> {
        let word = if frozen { "1" } else { "0" };
        if let Some(switch) = &self.switch {
            return std::fs::write(switch, word).with_context(|| format!("{} can't be written", switch.display()));
        }
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("RAUC has no process")?;
        kill_process(pid, signal).context("RAUC can't be signalled")
    }

    /// It is held still. It would not answer.
    pub fn is_frozen(&self) -> bool {
        if let Some(switch) = &self.switch {
            return std::fs::read_to_string(switch).is_ok_and(|frozen| frozen.trim() == "1");
        }
        // Behind the name, which may hold brackets itself: the state, see proc_pid_stat(5).
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }
}

/// Freezes RAUC, or lets it go on.
///
/// # Errors
/// RAUC is not there, or may not be touched.
pub async fn set(connection: &Connection, frozen: bool) -> anyhow::Result<()> {
    Process::find(connection).await?.set(frozen)
}

/// RAUC is held still. It would not answer.
pub async fn is_frozen(connection: &Connection) -> bool {
    Process::find(connection).await.is_ok_and(|rauc| rauc.is_frozen())
}

fn switch(pid: u32) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let switch = PathBuf::from("/sys/fs/cgroup").join(group).join("cgroup.freeze");
    (group.ends_with("rauc.service") && switch.exists()).then_some(switch)
}
