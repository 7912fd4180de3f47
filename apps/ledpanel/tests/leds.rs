//! The kernel's LED class: files that look like it, and LEDs that the kernel makes for us (`uleds`) where it can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod wired;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use holdfast_panel::devices::Device as _;
use holdfast_panel::devices::leds::{LedLight, Leds, LedsConfig, ROOT};
use holdfast_panel::model::Part;
use holdfast_panel::model::{Colour, Frame, Light};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wired::{DEADLINE, Running, frame, refusal, refusal_to_nobody, shade, until};

/// A directory like `/sys/class/leds`.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn led(&self, name: &str, files: &[(&str, &str)]) {
        let led = self.0.path().join(name);
        fs::create_dir(&led).unwrap();
        for (file, text) in files {
            fs::write(led.join(file), text).unwrap();
        }
    }

    fn simple(&self, name: &str, max: u32, trigger: &str) {
        self.led(name, &[("brightness", "0\n"), ("max_brightness", &format!("{max}\n")), ("trigger", trigger)]);
    }

    fn read(&self, led: &str, file: &str) -> String {
        fs::read_to_string(self.0.path().join(led).join(file)).unwrap().trim().to_owned()
    }

    fn with(&self, lights: Vec<LedLight>) -> LedsConfig {
        LedsConfig { root: self.0.path().to_owned(), lights }
    }
}

fn on_led(light: Light, led: &str) -> LedLight {
    LedLight { light, led: led.to_owned(), part: None }
}

fn recording(level: u8) -> Frame {
    frame(&[(Light::Record, shade(Colour::Red, level))])
}

#[tokio::test]
async fn lights_follow_frames_and_triggers_go_first() {
    let tree = Tree::new();
    tree.simple("red:rec", 100, "none [mmc0] timer\n");
    tree.simple("green:power", 1, "[none] timer\n");
    let lights = vec![on_led(Light::Record, "red:rec"), on_led(Light::Status, "green:power")];
    let mut panel = Running::showing(&Arc::new(Leds::new(tree.with(lights))), recording(128));
    panel.works().await;
    assert_eq!(tree.read("red:rec", "trigger"), "none", "taken from the card");
    assert_eq!(tree.read("green:power", "trigger"), "[none] timer", "was nobody's and is not touched");
    let both = || ["red:rec", "green:power"].map(|led| tree.read(led, "brightness"));
    assert_eq!(both(), ["50", "0"]);
    panel.light(Light::Status, shade(Colour::Green, 1));
    until("what can only be on or off is on", ["50", "1"].map(str::to_owned), both).await;
    // What does not change is not written.
    fs::write(tree.0.path().join("red:rec/brightness"), "untouched").unwrap();
    panel.light(Light::Status, shade(Colour::Green, 0));
    until("the other goes off", ["untouched", "0"].map(str::to_owned), both).await;
    panel.show(|frame| frame.lights.clear());
    until("what is in no frame is off", ["0", "0"].map(str::to_owned), both).await;
    panel.stop().await;
}

#[tokio::test]
async fn colours() {
    let tree = Tree::new();
    tree.led(
        "rgb:status",
        &[
            ("brightness", "0"),
            ("max_brightness", "200"),
            ("multi_index", "green red blue\n"),
            ("multi_intensity", "0 0 0"),
        ],
    );
    tree.simple("green:part", 255, "[none]");
    let part = LedLight { part: Some(Part::Green), ..on_led(Light::Status, "green:part") };
    let lights = vec![on_led(Light::Status, "rgb:status"), part];
    let amber = frame(&[(Light::Status, shade(Colour::Amber, 128))]);
    let mut panel = Running::showing(&Arc::new(Leds::new(tree.with(lights))), amber);
    panel.works().await;
    let shown = || {
        let multi = ["multi_intensity", "brightness"].map(|file| tree.read("rgb:status", file));
        let [intensity, brightness] = multi;
        [intensity, brightness, tree.read("green:part", "brightness")]
    };
    // The multicolour LED has its own product of both; half of amber's green is a green LED's quarter.
    assert_eq!(shown(), ["86 200 0", "100", "55"]);
    panel.light(Light::Status, shade(Colour::Blue, 255));
    until("blue", ["0 0 200", "200", "0"].map(str::to_owned), shown).await;
    panel.stop().await;
}

#[tokio::test]
async fn leds_without_triggers_work_too() {
    let tree = Tree::new();
    tree.led("plain", &[("brightness", "0"), ("max_brightness", "1")]);
    let device = Arc::new(Leds::new(tree.with(vec![on_led(Light::Record, "plain")])));
    let mut panel = Running::showing(&device, recording(255));
    panel.works().await;
    assert_eq!(tree.read("plain", "brightness"), "1");
    panel.stop().await;
    device.leave_in_fault().unwrap();
    assert_eq!(tree.read("plain", "brightness"), "0");
}

#[test]
fn a_fault_blinks_by_the_kernel_and_records_nothing() {
    let tree = Tree::new();
    let timer = |name: &str, was: &str| {
        tree.simple(name, 255, was);
        for delay in ["delay_on", "delay_off"] {
            fs::write(tree.0.path().join(name).join(delay), "500").unwrap();
        }
        fs::write(tree.0.path().join(name).join("brightness"), "255").unwrap();
    };
    timer("status", "[none] timer");
    timer("rec", "[none] timer");
    tree.simple("cam0", 255, "[none] timer");
    let status = on_led(Light::Status, "status");
    let lights = vec![on_led(Light::Record, "rec"), status, on_led(Light::RecordInput("cam0".to_owned()), "cam0")];
    Leds::new(tree.with(lights.clone())).leave_in_fault().unwrap();
    let of = |led: &str| ["trigger", "brightness"].map(|file| tree.read(led, file));
    assert_eq!(of("status"), ["timer", "255"]);
    assert_eq!(["delay_on", "delay_off"].map(|file| tree.read("status", file)), ["100", "100"]);
    assert_eq!(of("rec"), ["[none] timer", "0"], "no frozen recording");
    assert_eq!(of("cam0"), ["[none] timer", "0"]);
    // Without a status light the recording light has to blink, which no recording does.
    Leds::new(tree.with(lights[..1].to_vec())).leave_in_fault().unwrap();
    assert_eq!(of("rec"), ["timer", "255"]);
    // One LED that is wrong leaves none of the others frozen.
    fs::write(tree.0.path().join("rec/trigger"), "[none] timer").unwrap();
    let with_wrong = [vec![on_led(Light::RecordInput("cam9".to_owned()), "cam9")], lights].concat();
    let error = Leds::new(tree.with(with_wrong)).leave_in_fault().unwrap_err().to_string();
    assert!(error.contains("there is no LED \"cam9\""), "{error}");
    assert_eq!(of("rec")[1], "0");
}

#[test]
fn a_fault_is_dark_where_the_kernel_cannot_blink() {
    let tree = Tree::new();
    tree.simple("status", 7, "none [mmc0]");
    Leds::new(tree.with(vec![on_led(Light::Status, "status")])).leave_in_fault().unwrap();
    assert_eq!(
        ["trigger", "brightness"].map(|file| tree.read("status", file)),
        ["none", "0"],
        "steady would mean ready"
    );
}

#[tokio::test]
async fn leds_that_are_not_there_are_named() {
    let tree = Tree::new();
    tree.simple("red:indicator", 255, "[none]");
    tree.simple("blue:heartbeat", 255, "[none]");
    let says = async |led: &str| refusal(Leds::new(tree.with(vec![on_led(Light::Record, led)]))).await;
    let error = says("red:indcator").await;
    assert!(error.contains("did you mean \"red:indicator\"? There are: blue:heartbeat, red:indicator"), "{error}");
    for led in ["", "../secret", "something"] {
        let error = says(led).await;
        assert!(error.contains(&format!("there is no LED \"{led}\"")), "{error}");
    }
    let nowhere =
        LedsConfig { root: tree.0.path().join("no-sysfs"), ..tree.with(vec![on_led(Light::Record, "red:indicator")]) };
    let error = refusal(Leds::new(nowhere)).await;
    assert!(error.contains("No such file") && error.contains("CONFIG_LEDS_CLASS"), "{error}");
    fs::write(tree.0.path().join("red:indicator/max_brightness"), "bright").unwrap();
    let error = says("red:indicator").await;
    assert!(error.contains("max_brightness: invalid digit"), "{error}");
}

#[tokio::test]
async fn an_led_that_goes_is_told() {
    let tree = Tree::new();
    tree.simple("usb:led", 255, "[none]");
    let device = Arc::new(Leds::new(tree.with(vec![on_led(Light::Record, "usb:led")])));
    let mut panel = Running::start(&device);
    panel.works().await;
    let brightness = tree.0.path().join("usb:led/brightness");
    fs::remove_file(&brightness).unwrap();
    panel.show(|frame| *frame = recording(255));
    let error = panel.fails().await.to_string();
    assert!(error.contains("usb:led/brightness") && error.contains("The LED is gone"), "{error}");
    assert!(!brightness.exists(), "what is not there must not be made");
}

/// As nobody: root may write what is read-only.
#[test]
fn leds_of_others_say_what_to_do() {
    let tree = Tree::new();
    tree.simple("red:rec", 255, "[none]");
    let world = |path: &Path, mode| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode));
    world(tree.0.path(), 0o755).unwrap();
    world(&tree.0.path().join("red:rec/brightness"), 0o444).unwrap();
    let device = Leds::new(tree.with(vec![on_led(Light::Record, "red:rec")]));
    let error = refusal_to_nobody(device);
    assert!(error.contains("red:rec/brightness: Permission denied") && error.contains("group gpio"), "{error}");
}

/// An LED of the kernel that tells us what it shows.
struct UserLed {
    file: File,
    name: String,
}

impl UserLed {
    /// `None`: this machine can't have one, which was said aloud.
    fn new(name: &str, max: u32) -> Option<Self> {
        let opened = OpenOptions::new().read(true).write(true).open("/dev/uleds");
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                let how = "CONFIG_LEDS_USER, `modprobe uleds`, root";
                holdfast_aloud::skip(format!("LEDs of the kernel: /dev/uleds: {error} ({how})"));
                return None;
            }
        };
        let name = format!("holdfast:{name}:{}", process::id());
        // struct uleds_user_dev: char name[64]; int max_brightness;
        let mut described = [0; 68];
        described[..name.len()].copy_from_slice(name.as_bytes());
        described[64..].copy_from_slice(&max.to_ne_bytes());
        file.write_all(&described).unwrap();
        Some(Self { file, name })
    }

    /// What it shows next.
    fn next(&mut self) -> i32 {
        let timeout = Timespec { tv_sec: DEADLINE.as_secs().try_into().unwrap(), tv_nsec: 0 };
        let mut fds = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "{} shows nothing new", self.name);
        let mut shown = [0; 4];
        self.file.read_exact(&mut shown).unwrap();
        i32::from_ne_bytes(shown)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(PathBuf::from(ROOT).join(&self.name).join(file)).unwrap().trim().to_owned()
    }
}

#[tokio::test]
async fn a_real_led_follows_and_blinks_its_fault() {
    let Some(mut led) = UserLed::new("status", 100) else { return };
    fs::write(PathBuf::from(ROOT).join(&led.name).join("trigger"), "timer").unwrap();
    assert!(led.next() >= 0, "somebody else blinks it");
    let lights = vec![on_led(Light::Status, &led.name)];
    let device = Arc::new(Leds::new(LedsConfig { lights, ..LedsConfig::default() }));
    let mut panel = Running::showing(&device, frame(&[(Light::Status, shade(Colour::Green, 128))]));
    panel.works().await;
    while led.next() != 50 {}
    assert!(led.read("trigger").contains("[none]"), "{}", led.read("trigger"));
    panel.light(Light::Status, shade(Colour::Green, 255));
    let mut led = tokio::task::spawn_blocking(move || {
        assert_eq!(led.next(), 100);
        led
    })
    .await
    .unwrap();
    panel.stop().await;
    device.leave_in_fault().unwrap();
    if !led.read("trigger").contains("[timer]") {
        holdfast_aloud::skip("LEDs that the kernel blinks: it has no trigger \"timer\"");
        return;
    }
    assert_eq!(["delay_on", "delay_off"].map(|file| led.read(file)), ["100", "100"]);
    // Nobody is left, and it blinks.
    let dark = |shown: i32| shown == 0;
    let seen: Vec<bool> = (0..6).map(|_| dark(led.next())).collect();
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
}
