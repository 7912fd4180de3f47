//! The place of this process in the queue for CPU, disk and memory, where no systemd has set it already.
//!
//! Linux keeps most of this per thread and hands it on to the threads that are begun later, so it is set before there are any.

use std::io;

use holdfast_config::CaptureCpus;
use ioprio::{BePriorityLevel, Class, Priority, RtPriorityLevel, Target};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const CAPTURE_NICE: i32 = -10;
const CAPTURE_OOM: i32 = -900;
const PROBE_NICE: i32 = 10;
const LOOK_NICE: i32 = 19;
const PROBE_OOM: i32 = 500;
const OOM_FILE: &str = "/proc/self/oom_score_adj";
/// The kernel's own work happens here as long as nobody says otherwise.
const HOUSEKEEPING_CPU: usize = 0;

/// Puts a capture before everything else. What could not be had is returned, in people's words; all the rest is.
#[must_use]
pub fn raise(cpus: &CaptureCpus) -> Vec<String> {
    let steps = [
        (format!("nice {CAPTURE_NICE}"), raise_nice()),
        ("best-effort I/O priority 0".to_owned(), raise_io()),
        (format!("OOM score adjustment {CAPTURE_OOM}"), raise_oom()),
        (format!("CPUs {}", name(cpus)), pin(cpus)),
    ];
    let denied = steps.into_iter().filter_map(|(what, done)| Some(format!("{what} ({})", done.err()?)));
    denied.collect()
}

/// Puts a probe behind everything else, whatever it was started by. Going down needs no privilege.
pub fn lower() {
    lower_to(PROBE_NICE);
}

/// The same for a look at a source. Nobody waits for what it finds: it runs when nothing else wants to.
pub fn lower_most() {
    lower_to(LOOK_NICE);
}

fn lower_to(nice: i32) {
    let _ = setpriority_process(None, nice);
    let _ = ioprio::set_priority(this_thread(), Priority::new(Class::Idle));
    let _ = std::fs::write(OOM_FILE, PROBE_OOM.to_string());
}

fn raise_nice() -> io::Result<()> {
    if getpriority_process(None).is_ok_and(|nice| nice <= CAPTURE_NICE) {
        return Ok(());
    }
    Ok(setpriority_process(None, CAPTURE_NICE)?)
}

fn raise_io() -> io::Result<()> {
    let wanted = Class::BestEffort(BePriorityLevel::highest());
    let has = ioprio::get_priority(this_thread()).ok().and_then(Priority::class);
    if has.is_some_and(|has| has == wanted || matches!(has, Class::Realtime(RtPriorityLevel { .. }))) {
        return Ok(());
    }
    ioprio::set_priority(this_thread(), Priority::new(wanted)).map_err(|errno| io::Error::other(errno.to_string()))
}

fn this_thread() -> Target {
    Target::Process(ioprio::Pid::from_raw(0))
}

fn raise_oom() -> io::Result<()> {
    let has = std::fs::read_to_string(OOM_FILE)?;
    if has.trim().parse().is_ok_and(|has: i32| has <= CAPTURE_OOM) {
        return Ok(());
    }
    std::fs::write(OOM_FILE, CAPTURE_OOM.to_string())
}

fn pin(cpus: &CaptureCpus) -> io::Result<()> {
    let given = sched_getaffinity(None)?;
    let given: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| given.is_set(*cpu)).collect();
    let Some(chosen) = choose(cpus, &given) else {
        return Err(io::Error::other("this process was given none of them"));
    };
    if chosen == given {
        return Ok(());
    }
    let mut set = CpuSet::new();
    chosen.iter().for_each(|cpu| set.set(*cpu));
    Ok(sched_setaffinity(None, &set)?)
}

/// Which of the CPUs that we were given are used. `None`: none of them is wanted.
fn choose(cpus: &CaptureCpus, given: &[usize]) -> Option<Vec<usize>> {
    let chosen: Vec<usize> = match cpus {
        CaptureCpus::Auto if given.len() > 2 => given.iter().copied().filter(|cpu| *cpu != HOUSEKEEPING_CPU).collect(),
        CaptureCpus::Auto | CaptureCpus::All => given.to_vec(),
        CaptureCpus::These(wanted) => {
            given.iter().copied().filter(|cpu| wanted.iter().any(|number| usize::from(*number) == *cpu)).collect()
        }
    };
    (!chosen.is_empty()).then_some(chosen)
}

fn name(cpus: &CaptureCpus) -> String {
    match cpus {
        CaptureCpus::Auto => "auto".to_owned(),
        CaptureCpus::All => "all".to_owned(),
        CaptureCpus::These(numbers) => {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",") + " of protection.capture_cpus"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::choose;
    use holdfast_config::CaptureCpus::{All, Auto, These};

    #[test]
    fn the_first_cpu_is_left_to_the_kernel_where_enough_others_are() {
        assert_eq!(choose(&Auto, &[0, 1, 2, 3]), Some(vec![1, 2, 3]));
        assert_eq!(choose(&Auto, &[0, 1]), Some(vec![0, 1]));
        assert_eq!(choose(&Auto, &[4, 5, 6]), Some(vec![4, 5, 6]));
        assert_eq!(choose(&All, &[0, 1, 2, 3]), Some(vec![0, 1, 2, 3]));
        assert_eq!(choose(&These(vec![1, 3, 9]), &[0, 1, 2, 3]), Some(vec![1, 3]));
        assert_eq!(choose(&These(vec![9]), &[0, 1, 2, 3]), None);
    }
}
