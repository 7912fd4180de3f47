//! A microcontroller panel at the other end of a pseudo-terminal: [`firmware`] is the one of `examples/sim-mcu`, with
//! the firmware's half of the rules in it; the host is the real device.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../examples/sim-mcu/firmware.rs"]
mod firmware;
#[path = "mcu/host.rs"]
mod host;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use firmware::{Order, Panel, Sight, Traits};
use holdfast_link::clip;
use holdfast_link::panel::{About, Show, crc};
use holdfast_panel::devices::Device as _;
use holdfast_panel::devices::mcu::McuConfig;
use holdfast_panel::model::Colour;
use host::{Host, PATIENCE, config, frame};

/// A second of silence; what is shown may be older by the 250 ms between two frames. The end is far off: what a busy machine adds
/// is no fault of the panel's, and how soon a fault is shown is measured by `cargo xtask bench panel`.
const SILENCE: std::ops::Range<Duration> = Duration::from_millis(700)..Duration::from_secs(10);

/// Waits for a sight, and says when it was.
fn until(sim: &Panel, what: &str, mut wanted: impl FnMut(&Sight) -> bool) -> Instant {
    let end = Instant::now() + PATIENCE;
    loop {
        match sim.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((at, sight)) if wanted(&sight) => return at,
            Ok(_) => {}
            Err(error) => panic!("no {what}: {error}"),
        }
    }
}

/// The light of a recording, wired as number 2, is alone and of this colour.
fn record_is(red: u8, green: u8) -> impl Fn(&Sight) -> bool {
    move |sight| match sight {
        Sight::Shown(Show { lights, .. }) => {
            matches!(lights.as_slice(), [only] if (only.index, only.red, only.green) == (2, red, green))
        }
        Sight::Text(_) | Sight::Fault => false,
    }
}

/// A panel and a host that have met; the fault pattern of the start has been seen.
fn met() -> (Panel, Host) {
    let sim = Panel::start(Traits::default()).unwrap();
    until(&sim, "fault pattern at the start", |sight| *sight == Sight::Fault);
    let host = Host::start(config(&sim.path));
    host.works();
    (sim, host)
}

fn press(sim: &Panel, pressed: bool, ago: Duration) {
    sim.orders.send(Order::Edge { button: 1, pressed, ago }).unwrap();
}

#[test]
fn it_shows_frames_at_once_and_again_and_again() {
    let (sim, host) = met();
    let sent = Instant::now();
    host.frames.send_replace(frame(Colour::Red, 255, "REC 00:01:07"));
    let shown = until(&sim, "red", record_is(255, 0));
    holdfast_aloud::say(format_args!("shown after {} ms", (shown - sent).as_millis()));
    until(&sim, "text", |sight| matches!(sight, Sight::Text(lines) if lines.upper == "REC 00:01:07"));
    // Nothing changes, and yet it is told, for two seconds: soon enough that the panel never shows a fault.
    for _ in 0..8 {
        until(&sim, "the same again", |sight| {
            assert_ne!(*sight, Sight::Fault);
            record_is(255, 0)(sight)
        });
    }
    host.frames.send_replace(frame(Colour::Amber, 128, ""));
    until(&sim, "dim amber", record_is(128, 56));
}

/// Changes come faster than the line carries them: the panel gets the newest, not all of them late.
#[test]
fn a_slow_line_is_not_flooded() {
    let sim = Panel::start(Traits::default()).unwrap();
    let host = Host::start(McuConfig { baud: 9600, ..config(&sim.path) });
    host.works();
    let begin = Instant::now();
    let mut level = 0_u8;
    for _ in 0..500 {
        level = level % 255 + 1;
        host.frames.send_replace(frame(Colour::Red, level, "x"));
        std::thread::sleep(Duration::from_millis(1));
    }
    host.frames.send_replace(frame(Colour::Green, 200, "x"));
    let mut shows = 0;
    let green = until(&sim, "green", |sight| {
        shows += u128::from(matches!(sight, Sight::Shown(_)));
        record_is(0, 200)(sight)
    });
    // 14 bytes each at 960 bytes a second, and a few that lie in buffers. A pseudo-terminal would take all of them at once.
    let most = (green - begin).as_millis() * 960 / 14 / 1000 + 5;
    assert!((2..=most).contains(&shows), "{shows} shown, {most} would have fitted");
}

#[test]
fn edges_come_with_their_age() {
    let (sim, host) = met();
    let (ago, ago_ns) = (Duration::from_millis(20), 20_000_000);
    // Nothing is older than the hello.
    std::thread::sleep(ago * 2);
    for pressed in [true, false] {
        let before_ns = host::monotonic_ns();
        press(&sim, pressed, ago);
        let edge = host.edge();
        let after_ns = host::monotonic_ns();
        assert_eq!((edge.button.0.as_str(), edge.pressed), ("record", pressed));
        // Half a millisecond: the age is rounded, and the line's time counts for the edge.
        let possible = before_ns - ago_ns - 500_000..=after_ns - ago_ns;
        assert!(possible.contains(&edge.at_ns), "{possible:?} {}", edge.at_ns);
    }
    // A button that is not wired is nobody's.
    sim.orders.send(Order::Edge { button: 0, pressed: true, ago }).unwrap();
    press(&sim, true, Duration::ZERO);
    assert_eq!(host.edge().button.0, "record");
}

#[test]
fn edges_that_are_lost_on_the_line_are_made_good() {
    let (sim, host) = met();
    press(&sim, true, Duration::ZERO);
    assert!(host.edge().pressed);
    // The next heartbeat tells.
    sim.orders.send(Order::LostEdge { button: 1, pressed: false }).unwrap();
    assert!(!host.edge().pressed);
    sim.orders.send(Order::LostEdge { button: 1, pressed: true }).unwrap();
    press(&sim, false, Duration::ZERO);
    let [down, up] = [host.edge(), host.edge()];
    assert!(down.pressed && !up.pressed && down.at_ns <= up.at_ns, "{down:?} {up:?}");
}

/// The host is gone without a word, as a process that is killed.
#[test]
fn no_light_stays_lit_when_the_host_is_gone() {
    let (sim, host) = met();
    host.frames.send_replace(frame(Colour::Red, 255, ""));
    until(&sim, "red", record_is(255, 0));
    drop(host);
    let gone = Instant::now();
    let at = until(&sim, "fault", |sight| *sight == Sight::Fault);
    assert!(SILENCE.contains(&(at - gone)), "{:?}", at - gone);
}

#[test]
fn a_panel_that_falls_silent_is_told_within_a_second_and_shows_a_fault_within_another() {
    let (sim, host) = met();
    sim.orders.send(Order::Mute(true)).unwrap();
    let begin = Instant::now();
    let (at, error) = host.error();
    let silent = format!("the panel on {} is silent. Check its cable", sim.path.display());
    assert!(error.starts_with(&silent), "{error}");
    assert!(SILENCE.contains(&(at - begin)), "{:?}", at - begin);
    let fault = until(&sim, "fault", |sight| *sight == Sight::Fault);
    assert!(SILENCE.contains(&(fault - at)), "{:?}", fault - at);
}

#[test]
fn a_cable_that_is_pulled_and_plugged_in_again() {
    let directory = tempfile::tempdir().unwrap();
    let tty: PathBuf = directory.path().join("ttyPANEL");
    let plug = || {
        let sim = Panel::start(Traits::default()).unwrap();
        std::os::unix::fs::symlink(&sim.path, &tty).unwrap();
        sim
    };
    let sim = plug();
    let host = Host::start(config(&tty));
    host.works();
    press(&sim, true, Duration::ZERO);
    assert!(host.edge().pressed);
    drop(sim);
    let (_, error) = host.error();
    assert!(error.contains("is broken") && error.contains("Check its cable"), "{error}");

    std::fs::remove_file(&tty).unwrap();
    let mcu = host.mcu.clone();
    let (_, error) = Host::run(mcu.clone()).error();
    assert!(error.contains("can't be opened") && error.contains("Plug it in"), "{error}");

    let sim = plug();
    let host = Host::run(mcu);
    host.works();
    assert!(!host.edge().pressed, "the button was let go while nobody could say so");
    host.frames.send_replace(frame(Colour::Green, 255, ""));
    until(&sim, "green", record_is(0, 255));
}

#[test]
fn noise_and_half_frames_harm_nothing_else() {
    let (sim, host) = met();
    let half = holdfast_link::panel::refusal()[..5].to_vec();
    for noise in [vec![0xff; 1500], b"U-Boot 2026.01\r\n\0\0\0".to_vec(), half, (0..=255).collect()] {
        sim.orders.send(Order::Bytes(noise)).unwrap();
        press(&sim, true, Duration::ZERO);
        press(&sim, false, Duration::ZERO);
        assert_eq!([host.edge().pressed, host.edge().pressed], [true, false]);
    }
    assert!(host.failed.try_recv().is_err());
}

/// Noise without end is no sign of life.
#[test]
fn a_panel_that_only_makes_noise_is_silent() {
    let (sim, host) = met();
    let begin = Instant::now();
    let (at, error) = loop {
        sim.orders.send(Order::Noise).unwrap();
        if let Ok((at, error)) = host.failed.recv_timeout(Duration::from_millis(20)) {
            break (at, error.to_string());
        }
        assert!(begin.elapsed() < PATIENCE, "it takes noise for a panel");
    };
    assert!(error.contains("is silent (") && error.contains("times something came that is no message)"), "{error}");
    assert!(SILENCE.contains(&(at - begin)), "{:?}", at - begin);
}

/// COBS by hand: a version that crates/link does not write.
fn by_hand(content: &[u8]) -> Vec<u8> {
    let body = [content, &crc(content).to_le_bytes()].concat();
    let runs = body.split(|byte| *byte == 0);
    let stuffed = runs.flat_map(|run| [&[u8::try_from(run.len() + 1).unwrap()][..], run].concat());
    [0].into_iter().chain(stuffed).chain([0]).collect()
}

#[test]
fn another_version_is_told_in_clear_words() {
    // One that refuses us, and one that just talks.
    for parrot in [by_hand(&[0, 9]), by_hand(&[9, 0, 1, 2])] {
        let sim = Panel::start(Traits { parrot: Some(parrot), ..Traits::default() }).unwrap();
        let host = Host::start(config(&sim.path));
        let (_, error) = host.error();
        assert!(error.contains("speaks version 9 of the panel messages, this program speaks 1"), "{error}");
        assert!(error.contains("same release") && !*host.works.borrow(), "{error}");
    }
}

#[test]
fn a_panel_that_never_answers_is_given_up() {
    let sim = Panel::start(Traits { mute: true, ..Traits::default() }).unwrap();
    let begin = Instant::now();
    let host = Host::start(config(&sim.path));
    let (at, error) = host.error();
    assert!(error.contains("does not answer within 3 s. Check") && !*host.works.borrow(), "{error}");
    assert!(at - begin >= Duration::from_secs(3), "{:?}", at - begin);

    let sim = Panel::start(Traits { parrot: Some(vec![7; 300]), ..Traits::default() }).unwrap();
    let (_, error) = Host::start(config(&sim.path)).error();
    assert!(error.contains("times something came that is no message"), "{error}");
}

#[test]
fn a_panel_that_has_less_than_is_wired_is_told() {
    let about = About { name: clip("small"), lights: 2, buttons: 2, display: true, buzzer: false };
    let sim = Panel::start(Traits { about, ..Traits::default() }).unwrap();
    let (_, error) = Host::start(config(&sim.path)).error();
    assert!(error.contains("(small) has 2 lights, counted from 0, but `record` is its light 2"), "{error}");
}

#[test]
fn nobody_else_may_have_the_line() {
    let (_sim, host) = met();
    let (_, error) = Host::run(host.mcu.clone()).error();
    assert!(error.contains("can't be opened") && error.contains("Another program may hold it"), "{error}");
    assert!(host.mcu.leave_in_fault().is_err());
}

#[test]
fn whoever_buries_the_panel_program_leaves_a_fault() {
    let (sim, host) = met();
    host.frames.send_replace(frame(Colour::Red, 255, ""));
    until(&sim, "red", record_is(255, 0));
    let mcu = host.mcu.clone();
    host.kill();
    let said = Instant::now();
    mcu.leave_in_fault().unwrap();
    let at = until(&sim, "fault", |sight| *sight == Sight::Fault);
    assert!(at.saturating_duration_since(said) < SILENCE.start, "sooner than by silence: {:?}", at - said);
}
