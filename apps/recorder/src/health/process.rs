//! What the kernel tells of a process. The root of `/proc` is handed in: tests have one of their own.

use std::fs;
use std::io;
use std::path::Path;

/// A process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// One letter, as ps shows it: `Z` is a zombie.
    pub state: char,
    /// When it was started, in ticks since boot: with the number, this names the process.
    pub started_ticks: u64,
    /// CPU time used so far, in ticks.
    pub cpu_ticks: u64,
    /// Resident and swapped, in KiB.
    pub memory_kib: u64,
}

/// Reads `<proc>/<pid>`.
///
/// # Errors
/// There is no such process, or what is there does not read as one.
pub fn sample(proc: &Path, pid: u32) -> io::Result<Sample> {
    let dir = proc.join(pid.to_string());
    let stat = fs::read_to_string(dir.join("stat"))?;
    let (state, fields) = fields(&stat).ok_or(io::ErrorKind::InvalidData)?;
    // Counted from the state, which is the third of the file (proc(5)).
    let number = |place: usize| fields.get(place - 3).and_then(|field| field.parse::<u64>().ok());
    let (user, system, started) = (number(14), number(15), number(22));
    let (Some(user), Some(system), Some(started_ticks)) = (user, system, started) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    // A zombie has no memory to tell of.
    let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Sample { state, started_ticks, cpu_ticks: user + system, memory_kib: kib("VmRSS:") + kib("VmSwap:") })
}

/// State and what follows it. The name before it may hold anything, brackets and spaces too.
fn fields(stat: &str) -> Option<(char, Vec<&str>)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields))
}

/// The name of a thread that waits in the kernel and can't be interrupted (state `D`), if there is one. As a rule it waits for a
/// disk; a signal, even SIGKILL, has no effect before the wait is over.
pub fn stuck(proc: &Path, pid: u32) -> Option<String> {
    let tasks = fs::read_dir(proc.join(pid.to_string()).join("task")).ok()?;
    tasks.flatten().find_map(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (state, _) = fields(&stat)?;
        let name = stat.split_once('(')?.1.rsplit_once(')')?.0;
        (state == 'D').then(|| name.to_owned())
    })
}

/// Percent of one core that was used between two moments. `ticks_per_second` as the kernel counts (`sysconf(_SC_CLK_TCK)`).
pub fn cpu_percent(from: &Sample, to: &Sample, elapsed_ns: u64, ticks_per_second: u64) -> u64 {
    let used_ms = to.cpu_ticks.saturating_sub(from.cpu_ticks) * 1000 / ticks_per_second.max(1);
    (used_ms * 100).checked_div(elapsed_ns / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
pub mod tests {
    use super::{Sample, cpu_percent, sample, stuck};
    use std::fs;
    use std::path::Path;

    /// Writes a process as the kernel shows it.
    pub fn write(proc: &Path, pid: u32, state: char, cpu_ticks: u64, memory_kib: u64) {
        let dir = proc.join(pid.to_string());
        fs::create_dir_all(dir.join("task").join(pid.to_string())).unwrap();
        let stat = format!(
            "{pid} (a (na)me) {state} 1 1 1 0 -1 4194304 100 0 0 0 {cpu_ticks} 0 0 0 20 0 5 0 4711 1000 100 18446744073709551615"
        );
        fs::write(dir.join("stat"), &stat).unwrap();
        fs::write(dir.join("task").join(pid.to_string()).join("stat"), stat).unwrap();
        let status = format!("Name:\ta\nVmPeak:\t  999999 kB\nVmRSS:\t  {memory_kib} kB\nVmSwap:\t       1 kB\n");
        fs::write(dir.join("status"), status).unwrap();
    }

    #[test]
    fn what_the_kernel_tells_is_read() {
        let proc = tempfile::tempdir().unwrap();
        assert!(sample(proc.path(), 7).is_err());
        write(proc.path(), 7, 'S', 250, 1000);
        let first = sample(proc.path(), 7).unwrap();
        assert_eq!(first, Sample { state: 'S', started_ticks: 4711, cpu_ticks: 250, memory_kib: 1001 });
        assert_eq!(stuck(proc.path(), 7), None);
        write(proc.path(), 7, 'D', 550, 1000);
        let second = sample(proc.path(), 7).unwrap();
        assert_eq!(stuck(proc.path(), 7).as_deref(), Some("a (na)me"));
        assert_eq!(cpu_percent(&first, &second, 2_000_000_000, 100), 150);
        fs::write(proc.path().join("7/stat"), "7 (x) ").unwrap();
        assert!(sample(proc.path(), 7).is_err());
    }

    #[test]
    fn this_very_process_is_read() {
        let pid = std::process::id();
        let own = sample(Path::new("/proc"), pid).unwrap();
        assert!(own.memory_kib > 100 && own.started_ticks > 0 && "RSD".contains(own.state), "{own:?}");
    }
}
