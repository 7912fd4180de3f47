//! What the box runs on, as the kernel tells it (`Documentation/ABI/testing/sysfs-class-power`).

use std::fs;
use std::path::Path;

/// Where the kernel shows its supplies.
pub const POWER_SUPPLIES: &str = "/sys/class/power_supply";

/// What the box runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    /// Nothing is known of its supplies: as it is with most boards.
    #[default]
    Untold,
    /// It is fed from outside, or its battery is.
    Fed,
    /// On batteries. The fullest has so much left; `None`: it does not tell.
    Battery(Option<u8>),
}

impl Power {
    /// Reads it. What can't be read is taken as not told: a gauge that fails must not keep a box from being updated.
    pub fn read(supplies: &Path) -> Self {
        // Of each: it feeds; it is being emptied, and has so much left.
        let (mut feeds, mut batteries) = (vec![], vec![]);
        for supply in fs::read_dir(supplies).into_iter().flatten().flatten() {
            let path = supply.path();
            let word = |name: &str| fs::read_to_string(path.join(name)).map(|text| text.trim().to_owned()).ok();
            // Of a mouse or a headset, say; or a bay that is empty.
            if word("scope").as_deref() == Some("Device") || word("present").as_deref() == Some("0") {
                continue;
            }
            match word("type").as_deref() {
                // 1 and 2 are both online: with a fixed or a programmable voltage.
                Some("Mains" | "USB" | "Wireless") => feeds.push(word("online").is_some_and(|online| online != "0")),
                Some("Battery" | "UPS") => {
                    batteries.push((word("status").as_deref() == Some("Discharging"), charge(word)));
                }
                _ => {}
            }
        }
        // Some boards know their battery only, and tell by it.
        let is_fed = match feeds.as_slice() {
            [] => !batteries.iter().any(|(is_emptied, _)| *is_emptied),
            feeds => feeds.contains(&true),
        };
        match (batteries.is_empty(), is_fed) {
            (true, _) => Self::Untold,
            (false, true) => Self::Fed,
            (false, false) => Self::Battery(batteries.into_iter().filter_map(|(_, percent)| percent).max()),
        }
    }

    /// Why an update has to wait for the supply.
    pub fn refusal(self, least_percent: u8) -> Option<String> {
        let Self::Battery(Some(percent)) = self else { return None };
        (percent < least_percent).then(|| {
            format!(
                "the box runs on a battery that has {percent} % left, and {least_percent} % are wanted (update.least_battery_percent); \
                 connect the supply, or charge it, and try again"
            )
        })
    }
}

/// In per cent. Gauges without such a number have a word.
fn charge(word: impl Fn(&str) -> Option<String>) -> Option<u8> {
    let number = word("capacity").and_then(|percent| percent.parse::<u8>().ok());
    number.or_else(|| matches!(word("capacity_level").as_deref(), Some("Critical" | "Low")).then_some(0))
}

#[cfg(test)]
mod tests {
    use super::Power;

    fn read(supplies: &[(&str, &[(&str, &str)])]) -> Power {
        let dir = tempfile::tempdir().unwrap();
        for (supply, files) in supplies {
            let at = dir.path().join(supply);
            std::fs::create_dir(&at).unwrap();
            for (name, text) in *files {
                std::fs::write(at.join(name), format!("{text}\n")).unwrap();
            }
        }
        Power::read(dir.path())
    }

    const OFF: (&str, &[(&str, &str)]) = ("ac", &[("type", "Mains"), ("online", "0")]);

    #[test]
    fn supplies_are_read_as_the_kernel_has_them() {
        let battery = |capacity| [("type", "Battery"), ("status", "Discharging"), ("capacity", capacity)];
        let low = battery("12");
        let usb = |online| [("type", "USB"), ("online", online)];
        assert_eq!(Power::read(std::path::Path::new("/nonexistent")), Power::Untold);
        assert_eq!(read(&[]), Power::Untold);
        assert_eq!(read(&[OFF]), Power::Untold, "it runs all the same");
        assert_eq!(read(&[OFF, ("bat", &low)]), Power::Battery(Some(12)));
        assert_eq!(read(&[OFF, ("bat", &low), ("bat2", &battery("55"))]), Power::Battery(Some(55)));
        assert_eq!(read(&[OFF, ("bat", &low), ("usb", &usb("1"))]), Power::Fed);
        assert_eq!(read(&[OFF, ("bat", &low), ("usb", &usb("2"))]), Power::Fed);
        assert_eq!(read(&[OFF, ("bat", &low), ("usb", &usb("0"))]), Power::Battery(Some(12)));
        // Without a word of what feeds it.
        assert_eq!(read(&[("bat", &low)]), Power::Battery(Some(12)));
        assert_eq!(read(&[("bat", &[("type", "Battery"), ("status", "Full"), ("capacity", "12")])]), Power::Fed);
        // Not the box's own, an empty bay, a gauge that only has words, one that has nothing.
        assert_eq!(read(&[OFF, ("mouse", &[&low[..], &[("scope", "Device")]].concat())]), Power::Untold);
        assert_eq!(read(&[OFF, ("bay", &[&low[..], &[("present", "0")]].concat())]), Power::Untold);
        let word = |level| [("type", "Battery"), ("capacity_level", level)];
        assert_eq!(read(&[OFF, ("bat", &word("Critical"))]), Power::Battery(Some(0)));
        assert_eq!(read(&[OFF, ("bat", &word("Normal"))]), Power::Battery(None));
    }

    #[test]
    fn only_a_battery_that_is_low_refuses() {
        let refused = |power: Power, least| power.refusal(least).is_some();
        assert!(refused(Power::Battery(Some(29)), 30) && !refused(Power::Battery(Some(30)), 30));
        assert!(!refused(Power::Battery(Some(0)), 0) && !refused(Power::Battery(None), 30));
        assert!(!refused(Power::Fed, 100) && !refused(Power::Untold, 100));
    }
}
