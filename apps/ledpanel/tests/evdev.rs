//! Keys of input devices, against ones that the kernel makes for us (`uinput`) where it can: real devices, real events.
//!
//! It needs a kernel with `CONFIG_INPUT_UINPUT` and write access to /dev/uinput.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod wired;

use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use evdev::uinput::VirtualDevice;
use evdev::{AttributeSet, Device as Reader, EventType, InputEvent, KeyCode};
use holdfast_panel::devices::Device as _;
use holdfast_panel::devices::evdev::{Evdev, EvdevButton, EvdevConfig, ROOT};
use wired::{Running, button, now_ns, refusal, refusal_to_nobody, until};

/// A foot switch with two keys.
struct Switch {
    device: VirtualDevice,
    name: String,
    node: PathBuf,
}

fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("Holdfast Foot Switch {} {}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Switch {
    /// `None`: this machine can't have one, which was said aloud.
    async fn new() -> Option<Self> {
        Self::named(&name()).await
    }

    async fn named(name: &str) -> Option<Self> {
        let keys: AttributeSet<KeyCode> = [KeyCode::KEY_RECORD, KeyCode::BTN_0].into_iter().collect();
        let built = VirtualDevice::builder().and_then(|builder| builder.name(name).with_keys(&keys)?.build());
        let mut device = match built {
            Ok(device) => device,
            Err(error) => {
                holdfast_aloud::skip(format!(
                    "keys of input devices: /dev/uinput: {error} (CONFIG_INPUT_UINPUT, `modprobe uinput`, root)"
                ));
                return None;
            }
        };
        let mut nodes = device.enumerate_dev_nodes_blocking().unwrap().map(Result::unwrap);
        let node = nodes.find(|node| node.file_name().unwrap().to_str().unwrap().starts_with("event")).unwrap();
        // A device without udev is there at once; with it, its node gets its group a moment later.
        until("the switch can be opened", true, || Reader::open(&node).is_ok()).await;
        Some(Self { device, name: name.to_owned(), node })
    }

    fn key(&mut self, key: KeyCode, value: i32) {
        self.device.emit(&[InputEvent::new(EventType::KEY.0, key.code(), value)]).unwrap();
    }

    fn config(&self) -> EvdevConfig {
        EvdevConfig { device: self.name.clone(), ..wired_to(&[("record", "KEY_RECORD"), ("aux", "BTN_0")]) }
    }

    fn panel(&self) -> Arc<Evdev> {
        Arc::new(Evdev::new(self.config()).unwrap())
    }
}

fn wired_to(buttons: &[(&str, &str)]) -> EvdevConfig {
    let button = |(name, key): &(&str, &str)| EvdevButton { button: button(name), key: (*key).to_owned() };
    EvdevConfig { buttons: buttons.iter().map(button).collect(), ..EvdevConfig::default() }
}

#[tokio::test]
async fn presses_are_told_with_the_kernels_time() {
    let Some(mut switch) = Switch::new().await else { return };
    let mut panel = Running::start(&switch.panel());
    panel.works().await;
    panel.told_nothing();
    let before = now_ns() / 1000 * 1000;
    switch.key(KeyCode::KEY_RECORD, 1);
    let after = now_ns();
    let down = panel.tells("record", true).await;
    assert!((before..=after).contains(&down.at_ns), "{before} {} {after}", down.at_ns);
    // Held: the kernel repeats it.
    switch.key(KeyCode::KEY_RECORD, 2);
    switch.key(KeyCode::KEY_RECORD, 2);
    switch.key(KeyCode::BTN_0, 1);
    panel.tells("aux", true).await;
    switch.key(KeyCode::KEY_RECORD, 0);
    let up = panel.tells("record", false).await;
    assert!(up.at_ns > down.at_ns);
    panel.stop().await;
}

#[tokio::test]
async fn edges_that_come_together_are_all_told() {
    let Some(mut switch) = Switch::new().await else { return };
    let mut panel = Running::start(&switch.panel());
    panel.works().await;
    for _ in 0..10 {
        switch.key(KeyCode::KEY_RECORD, 1);
        switch.key(KeyCode::KEY_RECORD, 0);
    }
    for _ in 0..10 {
        panel.tells("record", true).await;
        panel.tells("record", false).await;
    }
    panel.stop().await;
}

/// More than the kernel keeps: it throws away all that it has, and with it the only press of another key.
#[tokio::test]
async fn a_storm_of_edges_hides_no_other_key() {
    let Some(mut switch) = Switch::new().await else { return };
    let mut panel = Running::start(&switch.panel());
    panel.works().await;
    switch.key(KeyCode::BTN_0, 1);
    for number in 0..1001 {
        switch.key(KeyCode::KEY_RECORD, (number + 1) % 2);
    }
    let (mut record, mut aux) = (false, false);
    while !(record && aux) {
        let edge = panel.edge().await;
        let known = if edge.button.0 == "aux" { &mut aux } else { &mut record };
        assert_ne!(edge.pressed, *known, "nothing is told twice");
        *known = edge.pressed;
    }
    panel.told_nothing();
    panel.stop().await;
}

#[tokio::test]
async fn a_key_that_is_held_from_the_start_is_told() {
    let Some(mut switch) = Switch::new().await else { return };
    switch.key(KeyCode::KEY_RECORD, 1);
    let mut panel = Running::start(&switch.panel());
    panel.tells("record", true).await;
    panel.works().await;
    switch.key(KeyCode::KEY_RECORD, 0);
    panel.tells("record", false).await;
    panel.told_nothing();
    panel.stop().await;
}

#[tokio::test]
async fn a_switch_that_is_pulled_lets_go_and_is_found_again() {
    let Some(mut switch) = Switch::new().await else { return };
    let device = switch.panel();
    let mut panel = Running::start(&device);
    panel.works().await;
    switch.key(KeyCode::KEY_RECORD, 1);
    panel.tells("record", true).await;
    let name = switch.name.clone();
    drop(switch);
    panel.tells("record", false).await;
    let error = panel.fails().await.to_string();
    assert!(error.contains(&name) && error.contains("Plug it in again"), "{error}");
    let error = Running::start(&device).fails().await.to_string();
    assert!(error.contains(&format!("there is no input device \"{name}\"")), "{error}");
    let mut switch = Switch::named(&name).await.unwrap();
    let mut panel = Running::start(&device);
    panel.works().await;
    switch.key(KeyCode::BTN_0, 1);
    panel.tells("aux", true).await;
    panel.stop().await;
}

#[tokio::test]
async fn what_is_grabbed_nobody_else_gets() {
    let Some(mut switch) = Switch::new().await else { return };
    let mut other = Reader::open(&switch.node).unwrap();
    other.set_nonblocking(true).unwrap();
    let config = EvdevConfig { grab: true, ..switch.config() };
    let mut panel = Running::start(&Arc::new(Evdev::new(config.clone()).unwrap()));
    panel.works().await;
    switch.key(KeyCode::KEY_RECORD, 1);
    panel.tells("record", true).await;
    assert_eq!(other.fetch_events().err().unwrap().kind(), io::ErrorKind::WouldBlock);
    let error = refusal(Evdev::new(config).unwrap()).await;
    assert!(error.contains("can't have it alone") && error.contains("grab"), "{error}");
    panel.stop().await;
    switch.key(KeyCode::KEY_RECORD, 0);
    assert!(other.fetch_events().unwrap().count() > 0);
}

#[tokio::test]
async fn what_is_wrong_with_devices_is_said() {
    let Some(switch) = Switch::new().await else { return };
    let named = |device: &str| EvdevConfig { device: device.to_owned(), ..switch.config() };
    let error = refusal(Evdev::new(named(&switch.name.replace("Foot", "Fot"))).unwrap()).await;
    assert!(error.contains(&format!("did you mean \"{}\"?", switch.name)), "{error}");
    let f13 = EvdevConfig { device: switch.name.clone(), ..wired_to(&[("record", "KEY_F13")]) };
    let error = refusal(Evdev::new(f13).unwrap()).await;
    assert!(error.contains("has no key KEY_F13; there are: KEY_RECORD, BTN_0"), "{error}");
    let mut by_path = Running::start(&Arc::new(Evdev::new(named(switch.node.to_str().unwrap())).unwrap()));
    by_path.works().await;
    by_path.stop().await;
    let error = refusal_to_nobody(Evdev::new(switch.config()).unwrap());
    assert!(error.contains("Permission denied") && error.contains("group input"), "{error}");
    let twin = Switch::named(&switch.name).await.unwrap();
    let error = refusal(Evdev::new(switch.config()).unwrap()).await;
    assert!(error.contains("2 input devices are called") && error.contains("by-id"), "{error}");
    drop(twin);
}

#[tokio::test]
async fn a_device_that_is_not_there_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let config = |device: &str| EvdevConfig {
        device: device.to_owned(),
        root: empty.path().to_owned(),
        ..wired_to(&[("record", "KEY_RECORD")])
    };
    let says = async |config| refusal(Evdev::new(config).unwrap()).await;
    let error = says(config("Foot Switch")).await;
    assert!(error.contains("there is no input device \"Foot Switch\"; there is none. Plug it in"), "{error}");
    let error = says(config("/dev/input/by-id/usb-nobody")).await;
    assert!(error.contains("/dev/input/by-id/usb-nobody") && error.contains("Plug it in"), "{error}");
    // Something that is no input device.
    std::fs::write(empty.path().join("event0"), "").unwrap();
    let error = says(config("Foot Switch")).await;
    assert!(error.contains("event0") && error.contains("See that it is an input device"), "{error}");
    // No directory at all: a kernel without input devices.
    let none = EvdevConfig { root: empty.path().join("none"), ..config("Foot Switch") };
    assert!(says(none).await.contains("there is none"));
    assert_eq!(EvdevConfig::default().root, PathBuf::from(ROOT));
    assert!(Evdev::new(config("x")).unwrap().leave_in_fault().is_ok());
}

#[test]
fn keys_that_are_not_there_are_named() {
    let error = Evdev::new(wired_to(&[("record", "KEY_RECRD")])).unwrap_err().to_string();
    assert!(error.starts_with("button record: there is no key \"KEY_RECRD\"; did you mean KEY_RECORD?"), "{error}");
    let error = Evdev::new(wired_to(&[("record", "BTN_0"), ("aux", "BTN_0")])).unwrap_err().to_string();
    assert!(error.contains("key BTN_0 is wired twice: buttons record and aux"), "{error}");
}
