//! GPIO lines, against the kernel's own simulator of chips (`gpio-sim`) where there is one: real ioctls, real edges.
//!
//! It needs root, configfs, and a kernel with `CONFIG_GPIO_SIM`, which is rare outside of images made for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod wired;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast_panel::devices::Device as _;
use holdfast_panel::devices::gpio::{Bias, Gpio, GpioButton, GpioConfig, GpioLight, GpioOutput};
use holdfast_panel::model::Part;
use holdfast_panel::model::{Colour, Light};
use wired::{Running, button, frame, now_ns, refusal, refusal_to_nobody, shade, until};

const SIMULATORS: &str = "/sys/kernel/config/gpio-sim";
/// Lines of every simulated chip. The last is held by somebody else.
const LINES: [&str; 6] = ["BTN_REC", "BTN_AUX", "LED_REC", "LED_STATUS", "BUZZER", "TAKEN"];
const TAKEN_BY: &str = "somebody-else";

/// A chip of the kernel's simulator.
struct Chip {
    config: PathBuf,
    label: String,
    /// Where its lines are pulled and read.
    lines: PathBuf,
}

impl Chip {
    /// `None`: this machine can't have one, which was said aloud.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !Path::new(SIMULATORS).is_dir() {
            holdfast_aloud::skip(format!(
                "GPIO lines: no {SIMULATORS} (a kernel with CONFIG_GPIO_SIM, `modprobe gpio-sim`, configfs mounted)"
            ));
            return None;
        }
        let label = format!("holdfast-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let config = Path::new(SIMULATORS).join(&label);
        if let Err(error) = fs::create_dir(&config) {
            holdfast_aloud::skip(format!("GPIO lines: can't make a chip: {error} (this needs root)"));
            return None;
        }
        let bank = config.join("bank0");
        fs::create_dir(&bank).unwrap();
        fs::write(bank.join("num_lines"), LINES.len().to_string()).unwrap();
        fs::write(bank.join("label"), &label).unwrap();
        for (offset, name) in LINES.iter().enumerate() {
            let line = bank.join(format!("line{offset}"));
            fs::create_dir(&line).unwrap();
            fs::write(line.join("name"), name).unwrap();
        }
        let hog = bank.join(format!("line{}/hog", LINES.len() - 1));
        fs::create_dir(&hog).unwrap();
        fs::write(hog.join("name"), TAKEN_BY).unwrap();
        fs::write(hog.join("direction"), "input").unwrap();
        fs::write(config.join("live"), "1").unwrap();
        let told = |file: &Path| fs::read_to_string(file).unwrap().trim().to_owned();
        let (device, name) = (told(&config.join("dev_name")), told(&bank.join("chip_name")));
        let lines = Path::new("/sys/devices/platform").join(device).join(name);
        Some(Self { config, label, lines })
    }

    fn line(&self, name: &str) -> PathBuf {
        let offset = LINES.iter().position(|line| *line == name).unwrap();
        self.lines.join(format!("sim_gpio{offset}"))
    }

    /// Whoever is wired to the line pulls it.
    fn pull(&self, line: &str, up: bool) {
        fs::write(self.line(line).join("pull"), if up { "pull-up" } else { "pull-down" }).unwrap();
    }

    /// What the wire has.
    fn is_high(&self, line: &str) -> bool {
        fs::read_to_string(self.line(line).join("value")).unwrap().trim() == "1"
    }

    fn unplug(&self) {
        fs::write(self.config.join("live"), "0").unwrap();
    }

    fn plug_in(&mut self) {
        fs::write(self.config.join("live"), "1").unwrap();
    }

    fn with(&self, buttons: Vec<GpioButton>, lights: Vec<GpioLight>) -> GpioConfig {
        GpioConfig { chip: self.label.clone(), buttons, lights, buzzer: None }
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        drop(fs::write(self.config.join("live"), "0"));
        let bank = self.config.join("bank0");
        drop(fs::remove_dir(bank.join(format!("line{}/hog", LINES.len() - 1))));
        for offset in 0..LINES.len() {
            drop(fs::remove_dir(bank.join(format!("line{offset}"))));
        }
        drop(fs::remove_dir(&bank));
        drop(fs::remove_dir(&self.config));
    }
}

fn on_line(name: &str, line: &str, active_low: bool) -> GpioButton {
    GpioButton { button: button(name), line: line.to_owned(), active_low, bias: Bias::AsIs, debounce: None }
}

fn light(light: Light, line: &str, active_low: bool, part: Option<Part>) -> GpioLight {
    GpioLight { light, part, output: GpioOutput { line: line.to_owned(), active_low } }
}

#[tokio::test]
async fn presses_are_told_with_the_kernels_time() {
    let Some(chip) = Chip::new() else { return };
    chip.pull("BTN_REC", true);
    chip.pull("BTN_AUX", false);
    let buttons = vec![on_line("record", "BTN_REC", true), on_line("aux", "1", false)];
    let mut panel = Running::start(&Arc::new(Gpio::new(chip.with(buttons, vec![]))));
    panel.works().await;
    panel.told_nothing();
    let before = now_ns();
    chip.pull("BTN_REC", false);
    let after = now_ns();
    let down = panel.tells("record", true).await;
    assert!((before..=after).contains(&down.at_ns), "{before} {} {after}", down.at_ns);
    chip.pull("BTN_AUX", true);
    panel.tells("aux", true).await;
    chip.pull("BTN_REC", true);
    let up = panel.tells("record", false).await;
    assert!(up.at_ns > down.at_ns);
    panel.stop().await;
}

/// The test has the only thread: none of these edges can be read before the last has happened.
#[tokio::test]
async fn edges_that_come_together_are_all_told() {
    let Some(chip) = Chip::new() else { return };
    let device = Gpio::new(chip.with(vec![on_line("record", "BTN_REC", false)], vec![]));
    let mut panel = Running::start(&Arc::new(device));
    panel.works().await;
    for number in 0..50 {
        chip.pull("BTN_REC", number % 2 == 0);
    }
    let mut last = 0;
    for number in 0..50 {
        let edge = panel.tells("record", number % 2 == 0).await;
        assert!(edge.at_ns > last);
        last = edge.at_ns;
    }
    panel.stop().await;
}

/// More than the kernel keeps: it throws away the oldest, and with them the only press of another button.
#[tokio::test]
async fn a_storm_of_edges_hides_no_other_button() {
    let Some(chip) = Chip::new() else { return };
    let buttons = vec![on_line("record", "BTN_REC", false), on_line("aux", "BTN_AUX", false)];
    let mut panel = Running::start(&Arc::new(Gpio::new(chip.with(buttons, vec![]))));
    panel.works().await;
    chip.pull("BTN_AUX", true);
    for number in 0..1001 {
        chip.pull("BTN_REC", number % 2 == 0);
    }
    let (mut record, mut aux) = (false, false);
    while !aux {
        let edge = panel.edge().await;
        let known = if edge.button.0 == "aux" { &mut aux } else { &mut record };
        assert_ne!(edge.pressed, *known, "nothing is told twice");
        *known = edge.pressed;
    }
    // All that could be read was told before.
    assert!(record);
    panel.stop().await;
}

#[tokio::test]
async fn a_button_that_is_held_from_the_start_is_told() {
    let Some(chip) = Chip::new() else { return };
    chip.pull("BTN_REC", false);
    let buttons = vec![on_line("record", "BTN_REC", true), on_line("aux", "BTN_AUX", false)];
    let mut panel = Running::start(&Arc::new(Gpio::new(chip.with(buttons, vec![]))));
    panel.tells("record", true).await;
    chip.pull("BTN_REC", true);
    panel.tells("record", false).await;
    panel.stop().await;
}

#[tokio::test]
async fn the_kernel_debounces_where_it_is_asked_to() {
    let Some(chip) = Chip::new() else { return };
    let debounced = GpioButton { debounce: Some(Duration::from_millis(40)), ..on_line("record", "BTN_REC", false) };
    let mut panel = Running::start(&Arc::new(Gpio::new(chip.with(vec![debounced], vec![]))));
    panel.works().await;
    let first = now_ns();
    for number in 0..21 {
        chip.pull("BTN_REC", number % 2 == 0);
    }
    let edge = panel.tells("record", true).await;
    assert!(edge.at_ns >= first + 39_000_000, "{}", edge.at_ns - first);
    panel.told_nothing();
    panel.stop().await;
}

#[tokio::test]
async fn lights_follow_frames() {
    let Some(chip) = Chip::new() else { return };
    let lights =
        vec![light(Light::Record, "LED_REC", true, None), light(Light::Status, "LED_STATUS", false, Some(Part::Green))];
    let buzzer = Some(GpioOutput { line: "BUZZER".to_owned(), active_low: false });
    let device = Arc::new(Gpio::new(GpioConfig { buzzer, ..chip.with(vec![], lights) }));
    let first = frame(&[(Light::Record, shade(Colour::Red, 1))]);
    let mut panel = Running::showing(&device, first);
    panel.works().await;
    let wires = || ["LED_REC", "LED_STATUS", "BUZZER"].map(|line| chip.is_high(line));
    assert_eq!(wires(), [false, false, false], "record is on, which is low");
    panel.show(|frame| {
        frame.lights.clear();
        frame.lights.insert(Light::Status, shade(Colour::Amber, 255));
        frame.buzzer = true;
    });
    until("all change", [true, true, true], wires).await;
    panel.light(Light::Status, shade(Colour::Red, 255));
    until("red has no green", [true, false, true], wires).await;
    let consumers = {
        let path = chip.lines.file_name().unwrap().to_str().unwrap();
        let chip = gpiocdev::Chip::from_name(path).unwrap();
        [2, 3, 4].map(|offset| chip.line_info(offset).unwrap().consumer)
    };
    assert_eq!(consumers, ["holdfast-panel"; 3]);
    panel.stop().await;
    // Let go of, and can be had again: by whoever leaves the fault.
    device.leave_in_fault().unwrap();
}

#[tokio::test]
async fn a_chip_that_goes_lets_go_of_its_buttons_and_comes_back() {
    let Some(mut chip) = Chip::new() else { return };
    let device = Arc::new(Gpio::new(chip.with(vec![on_line("record", "BTN_REC", false)], vec![])));
    let mut panel = Running::start(&device);
    panel.works().await;
    chip.pull("BTN_REC", true);
    panel.tells("record", true).await;
    chip.unplug();
    panel.tells("record", false).await;
    let error = panel.fails().await.to_string();
    assert!(error.contains(&chip.label) && error.contains("it is tried again"), "{error}");
    let error = Running::start(&device).fails().await.to_string();
    assert!(error.contains(&format!("there is no GPIO chip \"{}\"", chip.label)), "{error}");
    chip.plug_in();
    let mut panel = Running::start(&device);
    panel.works().await;
    panel.stop().await;
}

/// How often this thread has woken up. A test has a thread of its own, and the device runs in it.
fn wakes() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn nobody_wakes_while_nothing_happens() {
    let Some(chip) = Chip::new() else { return };
    let lights = vec![light(Light::Record, "LED_REC", false, None)];
    let device = Gpio::new(chip.with(vec![on_line("record", "BTN_REC", false)], lights));
    let mut panel = Running::start(&Arc::new(device));
    panel.works().await;
    chip.pull("BTN_REC", true);
    panel.tells("record", true).await;
    // Two seconds in which nothing is waited for: one wake-up is the sleep's own. Whoever polls, at 20 ms say, wakes a hundred times.
    let before = wakes();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let woken = wakes() - before;
    assert!(woken < 10, "woken {woken} times in two seconds");
    panel.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_lines_is_said() {
    let Some(chip) = Chip::new() else { return };
    let says = async |buttons, lights| refusal(Gpio::new(chip.with(buttons, lights))).await;
    let error = says(vec![on_line("record", "BTN_RECO", false)], vec![]).await;
    assert!(error.contains("did you mean \"BTN_REC\"? There are: BTN_REC, BTN_AUX"), "{error}");
    let error = says(vec![on_line("record", "77", false)], vec![]).await;
    assert!(error.contains("there is no line 77; it has lines 0 to 5"), "{error}");
    let error = says(vec![on_line("record", "TAKEN", false)], vec![]).await;
    assert!(error.contains("line 5 \"TAKEN\" is in use by \"somebody-else\""), "{error}");
    let error = says(vec![on_line("record", "0", false), on_line("aux", "BTN_REC", false)], vec![]).await;
    assert!(error.contains("wired twice: buttons record and aux"), "{error}");
    let status = || light(Light::Status, "BTN_REC", false, None);
    let error = says(vec![on_line("record", "0", false)], vec![status()]).await;
    assert!(error.contains("wired twice: button record and light status"), "{error}");
    let error = says(vec![], vec![status(), light(Light::Record, "0", false, None)]).await;
    assert!(error.contains("wired twice: light status and light record"), "{error}");
    let near = chip.label.replacen("holdfast", "holdfats", 1);
    let error = refusal(Gpio::new(GpioConfig { chip: near, ..GpioConfig::default() })).await;
    assert!(error.contains("did you mean \"holdfast-"), "{error}");
    let error = refusal_to_nobody(Gpio::new(chip.with(vec![on_line("record", "BTN_REC", false)], vec![])));
    assert!(error.contains("can't open the GPIO chip /dev/gpiochip") && error.contains("group gpio"), "{error}");
    // By name and by path it is the same chip.
    let name = chip.lines.file_name().unwrap().to_str().unwrap();
    for chip_named in [name.to_owned(), format!("/dev/{name}")] {
        let buttons = vec![on_line("record", "BTN_REC", false)];
        let config = GpioConfig { chip: chip_named, ..chip.with(buttons, vec![]) };
        let mut panel = Running::start(&Arc::new(Gpio::new(config)));
        panel.works().await;
        panel.stop().await;
    }
}

#[tokio::test]
async fn a_chip_that_is_not_there_is_named() {
    let config = GpioConfig { chip: "pinctrl-of-no-board".to_owned(), ..GpioConfig::default() };
    let error = refusal(Gpio::new(config.clone())).await;
    assert!(error.contains("there is no GPIO chip \"pinctrl-of-no-board\""), "{error}");
    assert!(error.contains("gpiodetect"), "{error}");
    let error = Gpio::new(config).leave_in_fault().unwrap_err().to_string();
    assert!(error.contains("pinctrl-of-no-board"), "{error}");
}
