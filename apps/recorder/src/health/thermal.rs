//! How hot the box is, by the kernel's thermal zones. Their root is handed in: tests have one of their own.

use std::fs;
use std::path::Path;

use super::{HOT_BELOW_CRITICAL, HOT_UNKNOWN, SCORCHING_BELOW_CRITICAL, SCORCHING_UNKNOWN};

/// It must cool by so much before an alert is cleared.
const HYSTERESIS: i32 = 3;

/// How hot. Ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heat {
    /// Not.
    #[default]
    Fine,
    /// Somebody should look.
    High,
    /// The kernel slows the box down, and will switch it off.
    Critical,
}

/// A thermal zone, in degrees Celsius.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// What it measures, as the driver calls it.
    pub name: String,
    /// Now.
    pub celsius: i32,
    /// At this the kernel switches the box off, if that is known.
    pub critical: Option<i32>,
}

impl Zone {
    fn limits(&self) -> (i32, i32) {
        match self.critical {
            Some(critical) => (critical - HOT_BELOW_CRITICAL, critical - SCORCHING_BELOW_CRITICAL),
            None => (HOT_UNKNOWN, SCORCHING_UNKNOWN),
        }
    }

    /// How hot it is, having been so hot before.
    pub fn heat(&self, before: Heat) -> Heat {
        let (high, critical) = self.limits();
        let reaches =
            |limit: i32, level: Heat| self.celsius >= if before >= level { limit - HYSTERESIS } else { limit };
        if reaches(critical, Heat::Critical) {
            Heat::Critical
        } else if reaches(high, Heat::High) {
            Heat::High
        } else {
            Heat::Fine
        }
    }
}

/// All zones below `<thermal>/thermal_zone*` that can be read, in a stable order. A sensor that fails is not there.
pub fn zones(thermal: &Path) -> Vec<Zone> {
    let entries = fs::read_dir(thermal).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let is_zone = |path: &&std::path::PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("thermal_zone"))
    };
    paths.iter().filter(is_zone).filter_map(|path| zone(path)).collect()
}

fn zone(dir: &Path) -> Option<Zone> {
    let text = |name: &str| fs::read_to_string(dir.join(name)).ok().map(|text| text.trim().to_owned());
    // In thousandths. Sensors that are off report absurd values.
    let celsius =
        |name: &str| text(name)?.parse::<i32>().ok().map(|milli| milli / 1000).filter(|c| (-40..=200).contains(c));
    let critical = (0..16)
        .take_while(|trip| dir.join(format!("trip_point_{trip}_type")).exists())
        .filter(|trip| text(&format!("trip_point_{trip}_type")).as_deref() == Some("critical"))
        .find_map(|trip| celsius(&format!("trip_point_{trip}_temp")))
        // Some firmware says 0, or that it never switches off.
        .filter(|critical| (60..=150).contains(critical));
    Some(Zone { name: text("type").unwrap_or_default(), celsius: celsius("temp")?, critical })
}

#[cfg(test)]
pub mod tests {
    use super::{Heat, Zone, zones};
    use std::fs;
    use std::path::Path;

    /// Writes a zone as the kernel shows it.
    pub fn write(thermal: &Path, number: u32, milli: &str, critical_milli: Option<&str>) {
        let dir = thermal.join(format!("thermal_zone{number}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("type"), "soc-thermal\n").unwrap();
        fs::write(dir.join("temp"), format!("{milli}\n")).unwrap();
        fs::write(dir.join("trip_point_0_type"), "passive\n").unwrap();
        fs::write(dir.join("trip_point_0_temp"), "75000\n").unwrap();
        if let Some(critical) = critical_milli {
            fs::write(dir.join("trip_point_1_type"), "critical\n").unwrap();
            fs::write(dir.join("trip_point_1_temp"), format!("{critical}\n")).unwrap();
        }
    }

    #[test]
    fn zones_are_read_and_absurd_ones_left_out() {
        let thermal = tempfile::tempdir().unwrap();
        assert!(zones(&thermal.path().join("none")).is_empty());
        write(thermal.path(), 0, "42500", Some("115000"));
        write(thermal.path(), 1, "-274000", None);
        write(thermal.path(), 2, "50000", Some("0"));
        fs::create_dir(thermal.path().join("cooling_device0")).unwrap();
        let found: Vec<_> = zones(thermal.path()).into_iter().map(|zone| (zone.celsius, zone.critical)).collect();
        assert_eq!(found, [(42, Some(115)), (50, None)]);
    }

    #[test]
    fn heat_is_told_below_the_end_and_with_hysteresis() {
        let heat = |celsius, before| Zone { name: String::new(), celsius, critical: Some(115) }.heat(before);
        assert_eq!((heat(99, Heat::Fine), heat(100, Heat::Fine)), (Heat::Fine, Heat::High));
        assert_eq!((heat(98, Heat::High), heat(96, Heat::High)), (Heat::High, Heat::Fine));
        assert_eq!(
            (heat(110, Heat::High), heat(108, Heat::Critical), heat(106, Heat::Critical)),
            (Heat::Critical, Heat::Critical, Heat::High)
        );
        let unknown = Zone { name: String::new(), celsius: 85, critical: None };
        assert_eq!(unknown.heat(Heat::Fine), Heat::High);
    }
}
