//! `[storage]`: where footage goes, how much room there must be, and what is deleted by itself.

use std::path::PathBuf;

use holdfast_settings::{Origin, Picked, Reader, Scope};

use super::{MIB, set_elsewhere, unknown};
use crate::schema::filesystem;
use crate::types;

const GIB: u64 = 1024 * MIB;

pub(super) fn build(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<types::Storage> {
    let root = reader.text(scope, "root");
    let on = reader.text(scope, "filesystem");
    let warn = reader.number(scope, "warn_percent");
    let block = reader.number(scope, "block_percent");
    let warn_floor = reader.number(scope, "warn_floor_mib");
    let start_floor = reader.number(scope, "start_floor_mib");
    let stop_floor = reader.number(scope, "stop_floor_mib");
    let ballast = reader.number::<u64>(scope, "ballast_mib");
    let days = reader.number(scope, "keep_days");
    let gib = reader.number::<u64>(scope, "keep_gib");
    let free = reader.number(scope, "keep_free_percent");
    let archive = reader.flag(scope, "archive");
    unknown(reader, scope);
    let percents = Pair { lower: ("warn_percent", warn.as_ref()), higher: ("block_percent", block.as_ref()) };
    percents.ordered(reader, scope, "the warning must come before recordings are refused: 80 and 90 are good values");
    for (lower, higher) in [
        (("start_floor_mib", start_floor.as_ref()), ("warn_floor_mib", warn_floor.as_ref())),
        (("stop_floor_mib", stop_floor.as_ref()), ("start_floor_mib", start_floor.as_ref())),
        (("stop_floor_mib", stop_floor.as_ref()), ("warn_floor_mib", warn_floor.as_ref())),
    ] {
        let is_off = |floor: &Option<&Picked<u64>>| floor.is_some_and(|floor| floor.value == 0);
        // One of two that are both wrong because of the third is told once.
        let told = reader.mistakes.iter().any(|mistake| mistake.problem.contains("_floor_mib"));
        if !is_off(&lower.1) && !is_off(&higher.1) && !told {
            let remedy = "a full disk is told first, then recordings are not started, then they are closed: 5120, 2048 and 1024 \
                          are good values; 0 switches one off";
            Pair { lower, higher }.ordered(reader, scope, remedy);
        }
    }
    if let (Some(free), Some(block)) = (&free, &block) {
        reachable(reader, scope, free, block);
    }
    Some(types::Storage {
        root: PathBuf::from(root?.value),
        filesystem: filesystem(&on?.value)?,
        warn_percent: u8::try_from(warn?.value).ok()?,
        block_percent: u8::try_from(block?.value).ok()?,
        floors: types::Floors {
            warn_bytes: warn_floor?.value * MIB,
            start_bytes: start_floor?.value * MIB,
            stop_bytes: stop_floor?.value * MIB,
        },
        ballast_bytes: ballast?.value * MIB,
        keep: types::Keep {
            days: days?.value,
            bytes: gib?.value * GIB,
            free_percent: u8::try_from(free?.value).ok()?,
            archive: archive?.value,
        },
    })
}

/// Two numbers of which one must be below the other.
struct Pair<'p> {
    lower: (&'static str, Option<&'p Picked<u64>>),
    higher: (&'static str, Option<&'p Picked<u64>>),
}

impl Pair<'_> {
    fn ordered(&self, reader: &mut Reader<'_>, scope: &Scope<'_>, remedy: &str) {
        let (Some(lower), Some(higher)) = (self.lower.1, self.higher.1) else {
            return;
        };
        if lower.value < higher.value {
            return;
        }
        let (low, high) = (self.lower.0, self.higher.0);
        // What is written is to be mended, not what is not.
        let (name, at, other) =
            if lower.origin == Origin::Default { (high, higher, lower) } else { (low, lower, higher) };
        let mut mistake = reader.mistake(scope, name, &at.origin);
        mistake.problem = format!(
            "storage.{low} = {}{} is not below storage.{high} = {}{}",
            lower.value,
            set_elsewhere(&lower.origin),
            higher.value,
            set_elsewhere(&higher.origin)
        );
        mistake.allowed = Some(format!("{low} < {high}"));
        mistake.remedy = remedy.to_owned();
        mistake.relate(&other.origin, "the other of the two");
        reader.mistakes.push(mistake);
    }
}

/// A disk that retention lets fill beyond `block_percent` would refuse starts for ever.
fn reachable(reader: &mut Reader<'_>, scope: &Scope<'_>, free: &Picked<u64>, block: &Picked<u64>) {
    if free.value == 0 || free.value + block.value > 100 {
        return;
    }
    let mut mistake = reader.mistake(scope, "keep_free_percent", &free.origin);
    mistake.problem = format!(
        "storage.keep_free_percent = {}{} lets the disk fill to {} %, and storage.block_percent = {}{} refuses starts there",
        free.value,
        set_elsewhere(&free.origin),
        100 - free.value,
        block.value,
        set_elsewhere(&block.origin)
    );
    mistake.allowed = Some(format!("more than {} (100 - block_percent), or 0 for off", 100 - block.value));
    mistake.remedy = format!("write keep_free_percent = {}, or a larger block_percent", 105 - block.value.min(95));
    mistake.relate(&block.origin, "the other of the two");
    reader.mistakes.push(mistake);
}
