use std::time::Duration;

use super::{BELIEVED, History, What};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The record light is solid from one second on; the input grows ten times a second from then until `grows_until`, and the
/// light ends at `ends`.
fn recorded(grows_until: u64, ends: u64) -> History {
    let mut history = History::default();
    history.tells(ms(0), "record", "armed");
    history.safe(ms(0), "cam0", 0);
    history.tells(ms(500), "record", "starting");
    history.tells(ms(1000), "record", "recording");
    for at in (900..grows_until).step_by(100) {
        history.safe(ms(at), "cam0", at);
    }
    history.tells(ms(ends), "record", "stopping");
    history
}

#[test]
fn a_light_that_goes_with_safe_footage_is_true() {
    let history = recorded(5000, 5000);
    assert_eq!(history.lie(), None);
    assert_eq!(history.solid(), ms(4000));
    assert_eq!(history.longest_without_safe(), ms(100));
    assert_eq!(history.first("record", "recording", ms(0)), Some(ms(1000)));
    assert_eq!(history.first("record", "recording", ms(2000)), None);
}

#[test]
fn a_light_that_stays_solid_without_safe_footage_lies() {
    let believed = u64::try_from(BELIEVED.as_millis()).unwrap();
    // The last growth is at 1900.
    assert_eq!(recorded(2000, 1900 + believed).lie(), None);
    let lie = recorded(2000, 1901 + believed).lie().unwrap();
    assert_eq!((lie.light.as_str(), lie.input.as_str()), ("record", "cam0"));
    assert_eq!((lie.from, lie.without), (ms(1000), ms(1901 - 1900 + believed)));
}

#[test]
fn a_hole_in_the_middle_is_found() {
    let mut history = recorded(2000, 9000);
    for at in (6000..9000).step_by(100) {
        history.safe(ms(at), "cam0", at);
    }
    // Fed out of order: what matters is when it grew.
    assert_eq!(history.lie().unwrap().without, ms(4100));
}

#[test]
fn a_light_that_goes_on_before_anything_is_safe_lies() {
    let mut history = History::default();
    history.safe(ms(0), "cam0", 0);
    history.tells(ms(1000), "record", "recording");
    history.safe(ms(1501), "cam0", 10);
    history.tells(ms(1600), "record", "armed");
    assert!(history.lie().is_some());
    // Seen a little later by us than by the panel: that is no lie.
    let mut history = History::default();
    history.safe(ms(0), "cam0", 0);
    history.tells(ms(1000), "record", "recording");
    history.safe(ms(1100), "cam0", 10);
    history.tells(ms(1600), "record", "armed");
    assert_eq!(history.lie(), None);
}

#[test]
fn the_record_light_stands_for_all_inputs_and_that_of_an_input_for_it_alone() {
    // Nothing of test0 is ever safe, and its own light says so.
    let mut history = recorded(5000, 5000);
    history.safe(ms(0), "test0", 0);
    history.tells(ms(1000), "record.cam0", "recording");
    history.tells(ms(1000), "record.test0", "stalled");
    history.tells(ms(5000), "record.cam0", "stopping");
    let lie = history.lie().unwrap();
    assert_eq!((lie.light.as_str(), lie.input.as_str()), ("record", "test0"));
    // With a record light that tells the worst input, each light is true.
    let mut history = History::default();
    history.safe(ms(0), "test0", 0);
    history.safe(ms(900), "cam0", 10);
    history.tells(ms(900), "record", "stalled");
    history.tells(ms(1000), "record.cam0", "recording");
    history.tells(ms(1500), "record.cam0", "stopping");
    assert_eq!(history.lie(), None);
}

#[test]
fn another_session_counts_from_the_beginning() {
    let mut history = recorded(5000, 5000);
    // The counts begin anew: that alone is no footage.
    history.safe(ms(20_000), "cam0", 0);
    history.tells(ms(20_000), "record", "recording");
    history.tells(ms(20_200), "record", "armed");
    let lie = history.lie().unwrap();
    assert_eq!((lie.from, lie.without), (ms(20_000), ms(20_200 - 4900)));
    let mut history = recorded(5000, 5000);
    history.safe(ms(19_800), "cam0", 0);
    history.safe(ms(20_000), "cam0", 3);
    history.tells(ms(20_000), "record", "recording");
    history.tells(ms(20_200), "record", "armed");
    assert_eq!(history.lie(), None);
    assert_eq!(history.solid(), ms(4200));
}

#[test]
fn what_is_told_again_is_one_entry_and_a_light_that_never_ends_counts() {
    let mut history = History::default();
    history.tells(ms(0), "record", "recording");
    history.tells(ms(10), "record", "recording");
    history.safe(ms(0), "cam0", 1);
    history.done(ms(700), "killed");
    assert_eq!(history.entries().len(), 2);
    assert_eq!(history.entries()[1].what, What::Done("killed".to_owned()));
    assert_eq!(history.solid(), ms(700));
    assert_eq!(history.now("record"), "recording");
    assert_eq!(history.now("status"), "");
}

#[test]
fn a_doubt_is_no_answer_to_a_button() {
    let mut history = History::default();
    for (at, condition) in [(0, "recording"), (100, "acknowledged"), (250, "recording"), (2100, "stalled")] {
        history.tells(ms(at), "record", condition);
    }
    history.tells(ms(50), "record.cam0", "stalled");
    assert_eq!(history.first_doubt(ms(0), ms(2000)), None);
    assert_eq!(history.first_doubt(ms(0), ms(3000)), Some(ms(2100)));
}
