//! What the recorder itself costs, from `/proc/self`.

use std::time::Duration;

/// What one look finds. Zeros where `/proc` is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) resident_bytes: u64,
    pub(super) open_files: u64,
    pub(super) cpu: Duration,
}

impl Usage {
    pub(super) fn now() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = Duration::from_secs(u64::try_from(cpu.tv_sec).unwrap_or(0));
        Self {
            resident_bytes: pages.saturating_mul(page_bytes),
            // Without the one that reads the directory.
            open_files: u64::try_from(open_files.saturating_sub(1)).unwrap_or(u64::MAX),
            cpu: seconds + Duration::from_nanos(u64::try_from(cpu.tv_nsec).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn it_is_about_this_process() {
        let before = Usage::now();
        assert!(before.resident_bytes > 100_000 && before.open_files >= 3, "{before:?}");
        let _file = std::fs::File::open("/proc/self/stat").unwrap();
        // Other tests open and close files as well.
        assert!(Usage::now().open_files >= 3 && Usage::now().cpu >= before.cpu);
    }
}
