use proptest::collection::vec;
use proptest::prelude::*;

use super::{Cause, Level, Pace, Pressure, Sample, Shed};

const SECOND: u64 = 1_000_000_000;

fn queue(percent: u32) -> Sample {
    Sample { queue_percent: Some(percent), ..Sample::default() }
}

/// Feeds a sample every second; returns each change of the level with its second.
fn levels(pressure: &mut Pressure, from: u64, samples: impl IntoIterator<Item = Sample>) -> Vec<(u64, Level)> {
    let mut told = Vec::new();
    let mut last = pressure.state().level;
    for (second, sample) in (from..).zip(samples) {
        pressure.observe(second * SECOND, &sample);
        let level = pressure.state().level;
        if level != last {
            told.push((second, level));
            last = level;
        }
    }
    told
}

#[test]
fn up_at_once_after_three_samples_and_down_one_step_after_each_calm_stretch() {
    let mut pressure = Pressure::default();
    assert_eq!(levels(&mut pressure, 1, [queue(70), queue(70), queue(0), queue(70), queue(70)]), []);
    // Straight to critical; no way over the levels between.
    assert_eq!(levels(&mut pressure, 6, [queue(70)]), [(6, Level::Critical)]);
    assert_eq!(pressure.state().causes, [Cause::QueueFull]);
    // Thirty calm seconds a step.
    let calm = std::iter::repeat_n(queue(0), 100);
    assert_eq!(levels(&mut pressure, 7, calm), [(36, Level::Degrade), (66, Level::Warn), (96, Level::Normal)]);
    assert!(pressure.state().causes.is_empty());
}

#[test]
fn what_flaps_keeps_its_level() {
    let mut pressure = Pressure::default();
    levels(&mut pressure, 1, [queue(45); 3]);
    let flapping = (0..200).map(|n| queue(if n % 20 == 0 { 45 } else { 0 }));
    assert_eq!(levels(&mut pressure, 4, flapping), []);
    assert_eq!(pressure.state().level, Level::Degrade);
}

#[test]
fn the_bit_rate_goes_last_and_comes_back() {
    let mut pressure = Pressure::default();
    let shed = |pressure: &Pressure| pressure.state().shed.iter().map(|shed| shed.name()).collect::<Vec<_>>();
    levels(&mut pressure, 1, [queue(25); 3]);
    assert_eq!(shed(&pressure), ["preview-rate"]);
    levels(&mut pressure, 4, [queue(45); 3]);
    assert_eq!(shed(&pressure), ["preview-rate", "previews", "telemetry", "archive", "updates"]);
    let mut percents = Vec::new();
    for second in 7..100 {
        pressure.observe(second * SECOND, &queue(90));
        percents.push(pressure.state().bitrate_percent);
    }
    percents.dedup();
    assert_eq!(percents, [100, 80, 60, 40], "by steps, and never below what is a picture");
    assert_eq!(shed(&pressure).last(), Some(&"bitrate"));
    percents.clear();
    for second in 100..300 {
        pressure.observe(second * SECOND, &queue(0));
        percents.push(pressure.state().bitrate_percent);
    }
    percents.dedup();
    assert_eq!(percents, [40, 60, 80, 100]);
    assert_eq!(shed(&pressure), Vec::<&str>::new());
}

#[test]
fn memory_is_not_made_by_a_lower_bit_rate_and_a_busy_cpu_alone_is_not_critical() {
    let mut pressure = Pressure::default();
    let memory = Sample { memory_used_percent: Some(99), ..Sample::default() };
    levels(&mut pressure, 1, [memory; 60]);
    assert_eq!((pressure.state().level, pressure.state().bitrate_percent), (Level::Critical, 100));
    let mut pressure = Pressure::default();
    let busy = Sample {
        cpu_stalls_percent: Some(100),
        cpu_busy_percent: Some(100),
        io_stalls_percent: Some(100),
        ..Sample::default()
    };
    levels(&mut pressure, 1, [busy; 60]);
    assert_eq!(pressure.state().level, Level::Degrade);
    assert_eq!(pressure.state().causes, [Cause::CpuStalls, Cause::CpuBusy, Cause::IoStalls]);
}

#[test]
fn what_a_kernel_does_not_tell_presses_nothing() {
    let mut pressure = Pressure::default();
    assert_eq!(levels(&mut pressure, 1, [Sample::default(); 20]), []);
}

fn sample() -> impl Strategy<Value = Sample> {
    let figure = || prop::option::of(0_u32..110);
    (figure(), figure(), figure(), figure(), figure(), figure(), prop::option::of(0_u32..6000), figure()).prop_map(
        |(cpu_stalls, cpu_busy, memory_stalls, memory_used, io_stalls, queue, sync_ms, temperature)| Sample {
            cpu_stalls_percent: cpu_stalls,
            cpu_busy_percent: cpu_busy,
            memory_stalls_percent: memory_stalls,
            memory_used_percent: memory_used,
            io_stalls_percent: io_stalls,
            queue_percent: queue,
            sync_ms,
            temperature,
        },
    )
}

proptest! {
    /// Whatever comes: order of shedding, bounds of the bit rate, no fall without calm, changes told when there are any.
    #[test]
    fn the_rules_hold(samples in vec((sample(), 1_u64..5), 1..200)) {
        let pace = Pace { samples: 2, calm_ns: 5 * SECOND, step_ns: 4 * SECOND };
        let mut pressure = Pressure::new(pace);
        let (mut now, mut changed_ns, mut before) = (0, 0, pressure.state().clone());
        for (sample, seconds) in samples {
            now += seconds * SECOND;
            let told = pressure.observe(now, &sample).cloned();
            let state = pressure.state().clone();
            prop_assert_eq!(told.is_some(), state != before);
            if state.level < before.level {
                prop_assert_eq!(state.level, before.level.below());
                prop_assert!(now - changed_ns >= 5 * SECOND);
            }
            if state.level != before.level {
                changed_ns = now;
            }
            prop_assert!((40..=100).contains(&state.bitrate_percent));
            prop_assert!(state.shed.windows(2).all(|pair| pair[0] < pair[1]), "the order is fixed");
            // The recording's own bits never go before all else has.
            if state.bitrate_percent < before.bitrate_percent {
                prop_assert_eq!(state.level, Level::Critical);
                prop_assert_eq!(state.shed.len(), 6);
            }
            prop_assert_eq!(state.shed.contains(&Shed::Bitrate), state.bitrate_percent < 100);
            prop_assert_eq!(state.level == Level::Normal, state.causes.is_empty());
            before = state;
        }
    }
}
