//! What a process uses, as the kernel tells.

use anyhow::{Context, bail};

/// CPU time of all threads of a process so far, in nanoseconds.
///
/// From the scheduler's own account where the kernel keeps it, to the nanosecond; threads that have ended are only in the
/// coarser sum of `/proc/<pid>/stat`, so the larger one counts.
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("process {pid} is gone"))?;
    // The name of the program may hold anything, but ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let (Some(user), Some(system)) = (field(11), field(12)) else { bail!("{path} is not as documented") };
    let ticks_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let coarse = (user + system) * ticks_ns;
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let fine: u64 = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Ok(coarse.max(fine))
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// In RAM, what it shares with others counted in full.
    pub rss_bytes: u64,
    /// In RAM, what it shares counted by its share.
    pub pss_bytes: u64,
}

pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))?;
    let kib = |name: &str| -> anyhow::Result<u64> {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{path} has no {name}"))?;
        let number = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        Ok(number.with_context(|| format!("{path}: {name}{line}"))? * 1024)
    };
    Ok(Memory { rss_bytes: kib("Rss:")?, pss_bytes: kib("Pss:")? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_uses_something() {
        let before = super::cpu_ns(std::process::id()).unwrap();
        let mut state = 1u64;
        while super::cpu_ns(std::process::id()).unwrap() < before + 20_000_000 {
            state = std::hint::black_box(state.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        let memory = super::memory(std::process::id()).unwrap();
        assert!(memory.rss_bytes > 1 << 20 && memory.pss_bytes <= memory.rss_bytes, "{memory:?}");
    }
}
