//! Booting, commanding and ending a rig.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::cgroup::Cgroup;

/// systemd takes a second or two; a busy machine longer.
const BOOT_DEADLINE: Duration = Duration::from_secs(30);
/// No command of a test has reason to take longer.
const RUN_DEADLINE_S: u32 = 30;
/// Between two looks at something that nobody announces.
const POLL: Duration = Duration::from_millis(20);
/// For what runs inside: nothing of the caller's.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/"),
    ("LC_ALL", "C.UTF-8"),
    ("SYSTEMD_COLORS", "0"),
    ("SYSTEMD_PAGER", ""),
];
const SCRIPT: &str = include_str!("boot.sh");

/// Why a rig did not boot.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// Something could not be prepared.
    #[error("the rig can't be prepared: {0}")]
    Prepare(String),
    /// It never came up, or did not go down.
    #[error("systemd did not come up or go down: {why}; it said:\n{said}")]
    Boot {
        /// What happened instead.
        why: String,
        /// Its console.
        said: String,
    },
    /// Something was waited for in vain.
    #[error("waited {seconds} s in vain until {what}\n{log}")]
    Waited {
        /// What for.
        what: String,
        /// How long.
        seconds: u64,
        /// The rig's newest log lines.
        log: String,
    },
}

/// How a command in a rig ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output, without white space around.
    pub out: String,
    /// Likewise, standard error.
    pub err: String,
}

impl Output {
    /// Whether it succeeded.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status.success()
    }
}

/// A running systemd. Killed with all its processes when dropped, and when the thread that booted it ends.
#[derive(Debug)]
pub struct Rig {
    unshare: Child,
    /// systemd, seen from outside.
    init: u32,
    console: PathBuf,
    // Behind the processes: what they use.
    cgroup: Cgroup,
    _directory: TempDir,
}

impl Rig {
    /// Boots with the contents of `trees` laid over this machine's files, the later over the earlier, and comes back when
    /// systemd has started everything that it starts by itself. `disk` is `/run/host/disk` inside: it outlives the rig, as a
    /// disk does.
    ///
    /// # Errors
    /// When the kernel refuses one of the parts, or systemd does not come up in time.
    pub fn boot(trees: &[&Path], disk: Option<&Path>) -> Result<Self, RigError> {
        let prepare = |error: &dyn std::fmt::Display| RigError::Prepare(error.to_string());
        let cgroup = Cgroup::create().map_err(RigError::Prepare)?;
        let directory = tempfile::Builder::new().prefix("holdfast-rig-").tempdir().map_err(|e| prepare(&e))?;
        let [work, tree, outside] = ["work", "tree", "outside"].map(|name| directory.path().join(name));
        for path in [&work, &tree, &outside] {
            fs::create_dir(path).map_err(|e| prepare(&e))?;
        }
        for source in trees {
            let copied = Command::new("cp").arg("-a").arg(source.join(".")).arg(&tree).output();
            let copied = copied.map_err(|e| prepare(&e))?;
            if !copied.status.success() {
                return Err(RigError::Prepare(String::from_utf8_lossy(&copied.stderr).into_owned()));
            }
        }
        let notify = UnixDatagram::bind(outside.join("notify")).map_err(|e| prepare(&e))?;
        let script = directory.path().join("boot.sh");
        fs::write(&script, SCRIPT).map_err(|e| prepare(&e))?;
        let console = directory.path().join("console");
        let log = File::create(&console).map_err(|e| prepare(&e))?;

        // setpriv: a test that is killed takes its rig along. The shell enters the group before its namespace is made,
        // which so begins there.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "sh", "-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(cgroup.entrance())
            .args(["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--propagation", "private"])
            .args(["--fork", "--kill-child=KILL", "sh"])
            .args([&script, &work, &tree, &outside])
            .arg(disk.unwrap_or(Path::new("")))
            .env_clear()
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|e| prepare(&e))?)
            .stderr(log);
        let unshare = command.spawn().map_err(|e| prepare(&e))?;
        let mut rig = Self { unshare, init: 0, console, cgroup, _directory: directory };
        rig.wait_until_up(&notify)?;
        Ok(rig)
    }

    fn wait_until_up(&mut self, notify: &UnixDatagram) -> Result<(), RigError> {
        let deadline = Instant::now() + BOOT_DEADLINE;
        let mut message = [0; 4096];
        notify.set_read_timeout(Some(POLL)).map_err(|e| RigError::Prepare(e.to_string()))?;
        loop {
            let length = notify.recv(&mut message).unwrap_or(0);
            let text = String::from_utf8_lossy(&message[..length]);
            if text.lines().any(|line| line == "READY=1") {
                break;
            }
            let why = match self.unshare.try_wait() {
                Ok(Some(status)) => format!("it ended ({status})"),
                _ if Instant::now() >= deadline => format!("not within {} s", BOOT_DEADLINE.as_secs()),
                _ => continue,
            };
            return Err(RigError::Boot { why, said: self.console() });
        }
        let pid = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.init = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .ok_or_else(|| RigError::Boot { why: "its process is not to be found".to_owned(), said: self.console() })?;
        Ok(())
    }

    /// What systemd wrote to its console.
    fn console(&self) -> String {
        fs::read_to_string(&self.console).unwrap_or_default()
    }

    /// The cgroup controllers that the rig has. Without them systemd starts the units all the same, and limits nothing.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        self.cgroup.controllers()
    }

    /// Has systemd shut down in good order, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time; with what it wrote to its console.
    pub fn shut_down(&mut self, deadline: Duration) -> Result<(), RigError> {
        // SIGRTMIN+4 is poweroff.target; a command could be killed before it is answered.
        let asked = self.run(&["kill", "-s", "RTMIN+4", "1"]);
        self.until_down(deadline).map_err(|error| match error {
            RigError::Boot { why, said } => RigError::Boot { why: format!("{why} ({})", asked.err), said },
            other => other,
        })
    }

    /// Waits until systemd has shut down, whoever told it to: a box that reboots has ended here, too.
    ///
    /// # Errors
    /// When it does not end in time; with what it wrote to its console.
    pub fn until_down(&mut self, deadline: Duration) -> Result<(), RigError> {
        let end = Instant::now() + deadline;
        while !matches!(self.unshare.try_wait(), Ok(Some(_))) {
            if Instant::now() >= end {
                let why = format!("it did not end within {} s of being told to", deadline.as_secs());
                return Err(RigError::Boot { why, said: self.console() });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Runs a program inside as root and waits for it.
    #[must_use]
    pub fn run(&self, program_and_args: &[&str]) -> Output {
        self.run_with(&[], program_and_args)
    }

    /// Runs a program inside as a user with that user's groups.
    #[must_use]
    pub fn run_as(&self, user: &str, program_and_args: &[&str]) -> Output {
        let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={}", self.group_of(user)));
        self.run_with(&["setpriv", &reuid, &regid, "--init-groups"], program_and_args)
    }

    fn group_of(&self, user: &str) -> String {
        self.run(&["id", "--group", user]).out
    }

    fn run_with(&self, prefix: &[&str], program_and_args: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("--signal=KILL").arg(RUN_DEADLINE_S.to_string()).args(self.entrance());
        let output =
            command.args(prefix).args(program_and_args).env_clear().envs(ENVIRONMENT).stdin(Stdio::null()).output();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output {
            Ok(output) => Output { status: output.status, out: text(&output.stdout), err: text(&output.stderr) },
            // As a shell says it: not found.
            Err(error) => Output { status: ExitStatus::from_raw(127 << 8), out: String::new(), err: error.to_string() },
        }
    }

    /// A shell inside, for a person to look around with.
    ///
    /// # Errors
    /// When it does not start.
    pub fn shell(&self) -> std::io::Result<ExitStatus> {
        let mut command = Command::new("env");
        command.args(self.entrance()).arg("bash").env_clear().envs(ENVIRONMENT);
        command.env("TERM", std::env::var_os("TERM").unwrap_or_default()).status()
    }

    /// The words before a program that is to run inside.
    fn entrance(&self) -> Vec<String> {
        let init = format!("--target={}", self.init);
        ["nsenter", &init, "--all", "--root", "--wd", "--"].map(str::to_owned).to_vec()
    }

    /// Looks again and again until `look` finds something.
    ///
    /// # Errors
    /// When it finds nothing before the deadline; with the rig's newest log lines.
    pub fn until<T>(&self, what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, RigError> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if Instant::now() >= end {
                return Err(RigError::Waited { what: what.to_owned(), seconds: deadline.as_secs(), log: self.log(60) });
            }
            std::thread::sleep(POLL);
        }
    }

    /// A unit's property, as `systemctl show` gives it.
    #[must_use]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", property, unit]).out
    }

    /// The newest lines of the journal.
    #[must_use]
    pub fn log(&self, lines: u32) -> String {
        self.run(&["journalctl", "--no-pager", "--quiet", "--output=short-precise", "--lines", &lines.to_string()]).out
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // unshare kills init with it, and the kernel kills all of a pid namespace whose init is gone. Fails only if it has
        // ended already.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// What is missing for a rig, if anything.
pub(crate) fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    for program in ["unshare", "nsenter", "setpriv", "timeout", "systemctl", "systemd-analyze", "busctl"] {
        if !in_path(program) {
            return Some(format!("{program} is not installed"));
        }
    }
    let bus = ["dbus-daemon", "dbus-broker-launch"];
    if !bus.into_iter().any(in_path) {
        return Some("no message bus is installed".to_owned());
    }
    if !["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].iter().any(|path| Path::new(path).exists()) {
        return Some("systemd is not installed".to_owned());
    }
    // Containers often may not: asking the kernel is the only way to know.
    let probe = "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && \
                 mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w o /mnt/r && mount -t proc p /mnt/r/proc";
    let probed = Command::new("unshare")
        .args(["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--propagation", "private", "--fork"])
        .args(["sh", "-c", probe])
        .stdin(Stdio::null())
        .output();
    match probed {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            Some(format!("no namespaces with an overlay: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Some(format!("unshare does not start: {error}")),
    }
    .or_else(|| Cgroup::create().err())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
