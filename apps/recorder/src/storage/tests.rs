use holdfast_config::root::Usage;
use holdfast_config::{Filesystem, Floors, Keep, Storage};

use super::{Held, Level, judge, refusal, seconds_left, size};

const MB: u64 = 1_000_000;

fn storage(warn_percent: u8, block_percent: u8) -> Storage {
    Storage {
        root: "/data".into(),
        filesystem: Filesystem::Any,
        warn_percent,
        block_percent,
        floors: Floors::default(),
        ballast_bytes: 0,
        keep: Keep::default(),
    }
}

fn look(storage: &Storage, free_bytes: u64, used_percent: u8, held: Held) -> super::Status {
    judge(storage, &Usage { total_bytes: 100_000 * MB, free_bytes, used_percent }, &held)
}

#[test]
fn each_level_has_its_refusal() {
    let at = |used_percent, storage: &Storage| {
        let status = look(storage, 1, used_percent, Held::default());
        (status.level, refusal(storage, &status).map(|error| error.code.number()))
    };
    let usual = storage(80, 90);
    assert_eq!(at(79, &usual), (Level::Ok, None));
    assert_eq!(at(80, &usual), (Level::Warn, None));
    assert_eq!(at(90, &usual), (Level::Low, Some(-1008)));
    assert_eq!(at(99, &usual), (Level::Critical, Some(-1010)));
    assert_eq!(at(99, &storage(80, 100)), (Level::Warn, None));
    assert_eq!(at(100, &storage(80, 100)).0, Level::Critical);
}

#[test]
fn floors_count_whatever_the_percentages_say() {
    let floors = Floors { warn_bytes: 5000 * MB, start_bytes: 2000 * MB, stop_bytes: 1000 * MB };
    let storage = Storage { floors, ..storage(80, 90) };
    let at = |free_mb: u64, used: u8| {
        let status = look(&storage, free_mb * MB, used, Held::default());
        (status.level, status.must_stop)
    };
    assert_eq!(at(5000, 10), (Level::Ok, false));
    assert_eq!(at(4999, 10), (Level::Warn, false));
    assert_eq!(at(1999, 10), (Level::Low, false));
    assert_eq!(at(1000, 10), (Level::Low, false));
    assert_eq!(at(999, 10), (Level::Critical, true));
    // The worse of the two: and a large disk that is 99 % full is not closed on while gigabytes are free.
    assert_eq!(at(4999, 91), (Level::Low, false));
    assert_eq!(at(100_000, 99), (Level::Critical, false));
    let text = look(&storage, 999 * MB, 10, Held::default()).message;
    assert!(text.contains("999 MB are free") && text.contains("stop_floor_mib") && text.contains("1.0 GB"), "{text}");
    // Until it is closed, not until not a byte is left.
    assert_eq!(seconds_left(&storage, &look(&storage, 3000 * MB, 10, Held::default()), MB), Some(2000));
    assert_eq!(seconds_left(&storage, &look(&storage, 3000 * MB, 10, Held::default()), 0), None);
}

#[test]
fn blocks_that_wait_to_be_written_again_are_free() {
    let floors = Floors { stop_bytes: 1000 * MB, ..Floors::default() };
    let storage = Storage { floors, ..storage(80, 90) };
    let pool = |pool_bytes| Held { pool_bytes, ballast: false };
    // 90 % of 10 GB are used, 5 % of them by blocks that wait.
    assert_eq!(look(&storage, 1000 * MB, 90, pool(0)).level, Level::Low);
    let status = look(&storage, 1000 * MB, 90, pool(500 * MB));
    assert_eq!((status.level, status.used_percent, status.free_bytes), (Level::Warn, 85, 1500 * MB));
    assert_eq!(look(&storage, 600 * MB, 10, pool(500 * MB)).level, Level::Ok);
}

#[test]
fn what_was_held_back_for_closing_is_not_for_recording() {
    let storage = Storage { ballast_bytes: 64 * MB, ..storage(80, 99) };
    let at = |free_mb: u64, ballast| {
        let status = look(&storage, free_mb * MB, 50, Held { pool_bytes: 0, ballast });
        (status.level, status.must_stop)
    };
    assert_eq!(at(100, true), (Level::Ok, false));
    assert_eq!(at(100, false), (Level::Critical, true));
    assert_eq!(at(128, false), (Level::Ok, false));
}

#[test]
fn sizes_are_for_people() {
    for (bytes, text) in [(0, "0.0 MB"), (9_960_000, "9.9 MB"), (10 * MB, "10 MB"), (1234 * MB, "1.2 GB")] {
        assert_eq!(size(bytes), text);
    }
}
