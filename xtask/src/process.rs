//! Programs that we start end with us.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// This very program, to be started once more, for as long as this process lives.
///
/// Not the path that it was started by: whoever builds meanwhile (as `ci` itself does) puts another program there, and
/// [`std::env::current_exe`] then names a file that is not there any more.
pub fn this_program() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

/// A program that is ended when this is dropped, on errors and panics as well.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    child: Child,
}

impl Guarded {
    /// Starts it in a process group of its own, so that a Ctrl-C reaches only us and the order of ending is ours.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { name, child })
    }

    /// Starts it in our own process group: only that may read the terminal. Whoever takes the terminal makes Ctrl-C a key.
    pub fn spawn_in_front(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { name, child })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended: {status}", self.name),
        }
    }

    /// Asks it to end, and makes it after a while.
    pub fn end(&mut self) -> Option<ExitStatus> {
        drop(self.child.stdin.take());
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Only fails if it has ended meanwhile.
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a process; whether there was one.
pub fn signal(pid: u32, signal: Signal) -> bool {
    i32::try_from(pid).ok().and_then(Pid::from_raw).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Resident kibibytes and open descriptors.
pub fn usage(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((rss, u64::try_from(fds).ok()?))
}

/// A process and all that descend from it, the elder first, with their command lines.
pub fn tree(pid: u32) -> Vec<(u32, String)> {
    let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    // The name of a process, in brackets, may hold anything.
    let parent = |pid: u32| stat(pid)?.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok();
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = all.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(elder) = tree.get(next) {
        let children: Vec<_> = parents.iter().filter(|(_, parent)| parent == elder).map(|(pid, _)| *pid).collect();
        tree.extend(children);
        next += 1;
    }
    let line = |pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    tree.into_iter()
        .map(|pid| (pid, String::from_utf8_lossy(&line(pid)).replace('\0', " ").trim_end().to_owned()))
        .collect()
}

/// The processes that have `argument` on their command line, word for word. With a unique argument, such as a path in a
/// temporary directory, these are exactly the descendants that were started for us, detached ones too.
pub fn with_argument(argument: &OsStr) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
        })
        .collect()
}

/// Ends the processes that have `argument` on their command line, first kindly.
pub fn end_with_argument(argument: &OsStr) {
    let deadline = Instant::now() + GRACE;
    for pid in with_argument(argument) {
        signal(pid, Signal::TERM);
    }
    while !with_argument(argument).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    for pid in with_argument(argument) {
        signal(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::{GRACE, Guarded, end_with_argument, with_argument};
    use std::ffi::OsStr;
    use std::process::Command;
    use std::time::Instant;

    /// The kernel lets the parent go on a moment before it shows the child's command line.
    fn seen(program: &Guarded, argument: &str) {
        let deadline = Instant::now() + GRACE;
        while with_argument(OsStr::new(argument)) != [program.pid()] {
            assert!(Instant::now() < deadline, "{argument}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_guarded_program_ends_with_its_guard() {
        let guarded = Guarded::spawn(Command::new("sleep").arg("1000.125")).unwrap();
        seen(&guarded, "1000.125");
        drop(guarded);
        assert!(with_argument(OsStr::new("1000.125")).is_empty());
    }

    #[test]
    fn ends_what_has_the_argument_and_nothing_else() {
        let mut ours = Guarded::spawn(Command::new("sleep").arg("1000.25")).unwrap();
        let mut other = Guarded::spawn(Command::new("sleep").arg("1000.250")).unwrap();
        seen(&ours, "1000.25");
        seen(&other, "1000.250");
        // As it would be if init had taken it over: someone waits for it.
        let waiter = std::thread::spawn(move || ours.child().wait().unwrap());
        end_with_argument(OsStr::new("1000.25"));
        assert!(!waiter.join().unwrap().success());
        other.must_run().unwrap();
    }
}
