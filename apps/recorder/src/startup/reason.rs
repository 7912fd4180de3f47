//! Why the last recorder ended: from what is known to what is said. No more is said than is known.

/// What can be known of the end of the last recorder, and of its captures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The state remembers a last recorder at all.
    pub has_run: bool,
    /// The box was started again since.
    pub rebooted: bool,
    /// It ended in good order: asked to by SIGTERM, by a person, systemd, or the shutdown of the box.
    pub in_order: bool,
    /// What it said when it panicked.
    pub panic: Option<String>,
    /// What captures left behind: input, the reason they give, text, and when (Unix time).
    pub captures: Vec<(String, String, String, i64)>,
    /// systemd's word on how the recorder's unit ended (`$SERVICE_RESULT`), with the signal or exit status.
    pub systemd: Option<(String, String)>,
    /// Processes that the kernel has killed for want of memory since that recorder was started, in the same boot.
    pub oom_kills: u64,
    /// The hardware watchdog says that it has reset the box.
    pub watchdog: bool,
    /// The kernel has left a record of its own crash.
    pub kernel_crash: bool,
}

/// What is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// In one word, as on D-Bus.
    pub name: &'static str,
    /// How that is known, or why it is not.
    pub evidence: String,
    /// A program of Holdfast has crashed: somebody should report it.
    pub is_crash: bool,
}

/// A capture's note that is older than the last footage by more than this is about something else.
const NOTE_SLACK_NS: i64 = 30_000_000_000;

/// Judges. `safe_until_wall_ns`: the last sign of life.
pub fn judge(evidence: &Evidence, safe_until_wall_ns: i64) -> Reason {
    let reason = |name, evidence: String| Reason { name, evidence, is_crash: false };
    let crash = |name, evidence: String| Reason { name, evidence, is_crash: true };
    if !evidence.has_run {
        return reason("unknown", "the recorder's own state is not there, so nobody knows how it ended".to_owned());
    }
    if evidence.rebooted {
        return match evidence {
            Evidence { in_order: true, .. } => {
                reason("operator", "the box was shut down or restarted in good order".to_owned())
            }
            Evidence { kernel_crash: true, .. } => {
                reason("kernel-panic", "the kernel left a record of its own crash (pstore)".to_owned())
            }
            Evidence { watchdog: true, .. } => {
                reason("watchdog", "the hardware watchdog says that it has reset the box".to_owned())
            }
            _ => reason(
                "power",
                "the box was started again and had not been shut down: power was lost, or it was reset; these look alike"
                    .to_owned(),
            ),
        };
    }
    if let Some(text) = &evidence.panic {
        return crash("panic", format!("the recorder panicked: {text}"));
    }
    match evidence.systemd.as_ref().map(|(result, status)| (result.as_str(), status.as_str())) {
        Some(("oom-kill", _)) => {
            return crash("oom", "systemd: the kernel killed it for want of memory (oom-kill)".to_owned());
        }
        Some(("watchdog", _)) => return crash("watchdog", "systemd: its watchdog was not fed".to_owned()),
        Some(("signal", status @ ("KILL" | "TERM" | "INT" | "HUP" | "QUIT"))) => {
            return reason("killed", format!("systemd: it was ended by the signal {status}"));
        }
        Some((result @ ("signal" | "core-dump"), status)) => {
            return crash("crash", format!("systemd: {result}, signal {status}"));
        }
        Some((result @ ("exit-code" | "timeout" | "protocol" | "resources"), status)) => {
            return crash("crash", format!("systemd: {result}, status {status}"));
        }
        _ => (),
    }
    let is_recent = |note: &&(String, String, String, i64)| note.3 >= safe_until_wall_ns.saturating_sub(NOTE_SLACK_NS);
    if let Some((input, name, text, _)) = evidence.captures.iter().find(is_recent) {
        let known = ["panic", "oom", "watchdog", "killed"].into_iter().find(|known| known == name).unwrap_or("crash");
        return crash(known, format!("the capture of {input} left this behind: {text}"));
    }
    if evidence.oom_kills > 0 {
        let text = format!(
            "likely: the kernel has killed {} process{} for want of memory meanwhile; whether ours were among them is not known",
            evidence.oom_kills,
            if evidence.oom_kills == 1 { "" } else { "es" }
        );
        return crash("oom", text);
    }
    if evidence.in_order {
        let text =
            "the recorder ended in good order, and its captures are gone without a word: they were ended, or crashed";
        return reason("unknown", text.to_owned());
    }
    let text = "it ended without a word: it was killed, or it crashed; nothing on this box tells which";
    reason("unknown", text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Evidence, judge};

    #[test]
    fn each_end_has_its_name_and_what_is_not_known_is_not_said() {
        let same_boot = Evidence { has_run: true, ..Evidence::default() };
        let rebooted = Evidence { rebooted: true, ..same_boot.clone() };
        let systemd = |result: &str, status: &str| Some((result.to_owned(), status.to_owned()));
        let hour = 3_600_000_000_000;
        let capture = |name: &str, at| vec![("cam0".to_owned(), name.to_owned(), "text".to_owned(), at)];
        let table = [
            (Evidence::default(), "unknown", false),
            (same_boot.clone(), "unknown", false),
            (Evidence { in_order: true, ..same_boot.clone() }, "unknown", false),
            (Evidence { panic: Some("at x".into()), ..same_boot.clone() }, "panic", true),
            (Evidence { systemd: systemd("oom-kill", "KILL"), ..same_boot.clone() }, "oom", true),
            (Evidence { systemd: systemd("watchdog", "ABRT"), ..same_boot.clone() }, "watchdog", true),
            (Evidence { systemd: systemd("signal", "KILL"), ..same_boot.clone() }, "killed", false),
            (Evidence { systemd: systemd("core-dump", "SEGV"), ..same_boot.clone() }, "crash", true),
            (Evidence { systemd: systemd("exit-code", "1"), ..same_boot.clone() }, "crash", true),
            (Evidence { systemd: systemd("success", "0"), ..same_boot.clone() }, "unknown", false),
            (Evidence { captures: capture("panic", hour), ..same_boot.clone() }, "panic", true),
            (Evidence { captures: capture("new-word", hour), ..same_boot.clone() }, "crash", true),
            (Evidence { captures: capture("panic", 0), ..same_boot.clone() }, "unknown", false),
            (Evidence { oom_kills: 1, ..same_boot }, "oom", true),
            (rebooted.clone(), "power", false),
            (Evidence { in_order: true, ..rebooted.clone() }, "operator", false),
            (Evidence { watchdog: true, ..rebooted.clone() }, "watchdog", false),
            (Evidence { kernel_crash: true, watchdog: true, ..rebooted.clone() }, "kernel-panic", false),
            // What killed a process of an earlier boot is no longer to be seen.
            (Evidence { oom_kills: 3, panic: Some("old".into()), ..rebooted }, "power", false),
        ];
        for (evidence, name, is_crash) in table {
            let reason = judge(&evidence, hour);
            assert_eq!((reason.name, reason.is_crash), (name, is_crash), "{evidence:?}");
            assert!(!reason.evidence.is_empty());
        }
    }
}
