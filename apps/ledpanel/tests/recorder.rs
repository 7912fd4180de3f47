//! The panel with the real recorder: a press records, the light tells what is safe, and no press is lost or counted twice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod station;

use std::time::Duration;

use holdfast_dbus::panel::{PANEL_BUS_NAME, PANEL_INTERFACE_XML};
use holdfast_dbus::{Error, ErrorCode};
use rustix::process::Signal;
use station::{Station, options};

const PRESS: &str = "allow_press_button = true";

fn code<T: std::fmt::Debug>(result: zbus::Result<T>) -> ErrorCode {
    Error::from_zbus(&result.expect_err("it should have been refused")).unwrap().code
}

#[tokio::test]
async fn a_press_records_marks_and_stops_and_the_light_tells_what_is_safe() {
    let mut station = Station::new().await;
    station.start_panel(PRESS);
    // Nobody drives it yet, and it says so.
    station.until_tells("status", "fault").await;
    station.start_recorder();
    station.until_well().await;
    station.until("a light that is on", || async { station.led("stat") == "255" }).await;

    let panel = station.panel().await;
    panel.press_button("record", options(&[])).await.unwrap();
    station.until_tells("record", "recording").await;
    let recorder = station.recorder().await;
    assert!(recorder.safe_frames().await.unwrap() > 0, "told before anything was safe\n{}", station.log());
    // Solid: on whenever it is looked at.
    for _ in 0..40 {
        assert_eq!(station.led("rec"), "255");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panel.press_button("record", options(&[])).await.unwrap();
    let path = recorder.current_session().await.unwrap();
    let session = holdfast_dbus::SessionProxy::builder(&station.client).path(path).unwrap().build().await.unwrap();
    station.until("a mark", || async { session.marks().await.is_ok_and(|marks| marks.len() == 1) }).await;

    // A bump ends nothing.
    panel.press_button("record", options(&[("hold_ms", 900)])).await.unwrap();
    assert_eq!(recorder.state().await.unwrap(), "recording");
    panel.press_button("record", options(&[("hold_ms", 2000)])).await.unwrap();
    station.until_state("idle").await;
    station.until_well().await;
    assert_ne!(station.tells("record").await, "recording");
    assert_eq!(station.sessions().await, 1);
    let buttons = panel.buttons().await.unwrap();
    assert_eq!((buttons[0].name.as_str(), buttons[0].presses), ("record", 4));
}

#[tokio::test]
async fn a_recorder_that_is_silent_or_gone_is_shown_and_a_press_meanwhile_starts_once() {
    let mut station = Station::new().await;
    station.start_recorder();
    station.start_panel(PRESS);
    station.until_well().await;
    let panel = station.panel().await;
    panel.press_button("record", options(&[])).await.unwrap();
    station.until_tells("record", "recording").await;

    // It is there, and says nothing.
    station.recorder_signal(Signal::STOP);
    station.until_tells("record", "fault").await;
    station.recorder_signal(Signal::CONT);
    station.until_tells("record", "recording").await;

    panel.press_button("record", options(&[("hold_ms", 2000)])).await.unwrap();
    station.until_state("idle").await;
    station.kill_recorder();
    station.until_tells("status", "fault").await;
    // Pressed while it is away: kept, and asked once it is back.
    panel.press_button("record", options(&[])).await.unwrap();
    station.start_recorder();
    station.until_state("recording").await;
    station.until_tells("record", "recording").await;
    panel.press_button("record", options(&[("hold_ms", 2000)])).await.unwrap();
    station.until_state("idle").await;
    assert_eq!(station.sessions().await, 2, "{}", station.log());
}

#[tokio::test]
async fn what_programs_may_and_may_not() {
    let mut station = Station::new().await;
    station.start_panel("");
    station.until_tells("status", "fault").await;
    let panel = station.panel().await;
    let live = panel.inner().introspect().await.unwrap();
    assert_eq!(holdfast_contract::hold(PANEL_INTERFACE_XML, &live, PANEL_BUS_NAME), 6);
    assert_eq!(code(panel.press_button("record", options(&[])).await), ErrorCode::NotPermitted);
    assert_eq!(code(panel.identify(3601, options(&[])).await), ErrorCode::InvalidArgument);
    assert_eq!(code(panel.set_brightness(0, options(&[])).await), ErrorCode::InvalidArgument);
    assert_eq!(code(panel.lamp_test(options(&[("seconds", 1)])).await), ErrorCode::InvalidArgument);
    panel.identify(1, options(&[])).await.unwrap();
    panel.lamp_test(options(&[])).await.unwrap();
    station.until_tells("record", "lamp-test").await;
    panel.set_brightness(10, options(&[])).await.unwrap();
    station.until("the brightness", || async { panel.brightness().await == Ok(10) }).await;
    let devices = panel.devices().await.unwrap();
    assert_eq!((devices[0].name.as_str(), devices[0].kind.as_str()), ("front", "leds"));
    station.until("the device", || async { panel.devices().await.is_ok_and(|devices| devices[0].works) }).await;
    assert!(!panel.recorder_present().await.unwrap());
}

#[tokio::test]
async fn a_dead_device_is_among_the_alerts_of_the_recorder_whichever_it_is() {
    let mut station = Station::new().await;
    station.start_recorder();
    // There is no such LED.
    std::fs::rename(station.dir.path().join("leds/stat"), station.dir.path().join("leds/other")).unwrap();
    station.start_panel("");
    let alerts = station.alerts().await;
    let reported = || async {
        let active = alerts.active().await.unwrap_or_default();
        active
            .iter()
            .any(|alert| alert.code == "panel-device" && alert.source == "panel/front" && alert.text.contains("stat"))
    };
    station.until("the alert", reported).await;
    // Another recorder knows nothing yet, and is told.
    station.kill_recorder();
    station.start_recorder();
    station.until("the alert, from the next recorder", reported).await;

    std::fs::rename(station.dir.path().join("leds/other"), station.dir.path().join("leds/stat")).unwrap();
    station.until("the alert to be cleared", || async { alerts.active().await.is_ok() && !reported().await }).await;
}

/// The examples of docs/integrator.md, as they stand there.
#[tokio::test]
async fn the_examples_for_integrators_work() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/integrator.md")).unwrap();
    let blocks: Vec<&str> =
        page.split("```bash busctl panel\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2, "the page has lost its examples");
    if !std::process::Command::new("busctl").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return holdfast_aloud::skip(format_args!(
            "busctl is not here, so its examples are not tested: install systemd"
        ));
    }
    let mut station = Station::new().await;
    station.start_recorder();
    station.start_panel(PRESS);
    station.until_well().await;
    for block in blocks {
        // The page speaks of the system bus. Here that is ours.
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["-euc", block]).env("DBUS_SYSTEM_BUS_ADDRESS", &station.address).kill_on_drop(true);
        let output = tokio::time::timeout(station::DEADLINE, bash.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{block}\n{}\n{}", String::from_utf8_lossy(&output.stderr), station.log());
    }
    station.until_state("idle").await;
    assert_eq!(station.sessions().await, 1);
}

#[tokio::test]
async fn a_panel_that_ends_leaves_no_light_that_lies() {
    // In good order, and in a way that it cannot do anything about, with no systemd to clean up behind it.
    for signal in [Signal::TERM, Signal::KILL] {
        let mut station = Station::new().await;
        station.start_recorder();
        station.start_panel(PRESS);
        station.until_well().await;
        station.panel().await.press_button("record", options(&[])).await.unwrap();
        station.until_tells("record", "recording").await;
        station.until("the light", || async { station.led("rec") == "255" }).await;
        station.panel_signal(signal);
        assert_eq!(station.panel_ends().success(), signal == Signal::TERM, "{}", station.log());
        let trigger = station.dir.path().join("leds/rec/trigger");
        let trigger = || std::fs::read_to_string(&trigger).unwrap();
        station
            .until("no light that lies", || async { trigger().trim() == "timer" || station.led("rec") == "0" })
            .await;
        let state = station.recorder().await.state().await.unwrap();
        assert_eq!(state, "recording", "a panel is no reason to stop");
    }
}
