//! The front panel: how soon a finger sees something, how soon its footage is safe, how soon a light stops claiming, and what all of
//! that costs. With the real panel, whose LEDs are files.

use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;

use super::{Common, Figures, percentile, rounded, usage};
use crate::interrupt::Interrupt;
use crate::panel::{HOLD_MS, Panel, RECORD, Wiring, until};
use crate::process;
use crate::rig::{Directory, Rig, Settings};
use crate::terminal::{self, Table};
use crate::workspace::{Built, Programs};

/// As long as a quick finger presses.
const TAP_MS: u32 = 40;

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let rounds = if common.quick { Rounds { light: 5, safe: 2, fault: 1, idle_s: 2 } } else { ROUNDS };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    runtime.block_on(measure(&rounds, built.get()?, interrupt))
}

/// How often each is tried.
struct Rounds {
    light: u32,
    safe: u32,
    fault: u32,
    idle_s: u64,
}

const ROUNDS: Rounds = Rounds { light: 200, safe: 40, fault: 5, idle_s: 20 };

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

async fn measure(rounds: &Rounds, programs: &Programs, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let directory = Directory::temporary()?;
    let lines = ["source = \"test\"", "width = 1280", "height = 720", "framerate = 30", "armed = true"];
    let inputs = vec![("cam0".to_owned(), lines.map(str::to_owned).to_vec())];
    let mut rig =
        Rig::start(programs, directory.path(), &Settings { inputs, ..Settings::default() }, interrupt).await?;
    // A button that does nothing is acknowledged as well.
    let buttons = "[[button]]\nname = \"spare\"\n".to_owned();
    let lights = ["record", "status"].map(str::to_owned).to_vec();
    let wiring = Wiring { buttons, lights, ..Wiring::default() };
    let panel = Panel::start(programs, &rig, directory.path(), &wiring).await?;
    panel.until_heard().await?;

    terminal::step(&format!("panel: idle for {} s", rounds.idle_s));
    let (before, began) = (usage::cpu_ns(panel.pid())?, Instant::now());
    tokio::time::sleep(Duration::from_secs(rounds.idle_s)).await;
    let used_ns = usage::cpu_ns(panel.pid())?.saturating_sub(before);
    let idle_percent = Duration::from_nanos(used_ns).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let rss_mb = usage::memory(panel.pid())?.rss_bytes as f64 / 1e6;

    terminal::step(&format!("panel: press to light, {} rounds", rounds.light));
    let mut light = Vec::new();
    for _ in 0..rounds.light {
        interrupt.check()?;
        let was = panel.is_lit(RECORD);
        let pressed = Instant::now();
        let seen = async {
            until("the light", async || panel.is_lit(RECORD) != was).await?;
            anyhow::Ok(ms(pressed))
        };
        let (pressing, seen) = tokio::join!(panel.press("spare", TAP_MS), seen);
        pressing?;
        light.push(seen?);
        // The answer is over, and what was shown before is shown again.
        until("the light to rest", async || panel.is_lit(RECORD) == was).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }

    terminal::step(&format!("panel: press to safe footage, {} rounds", rounds.safe));
    let recorder = rig.recorder().await?;
    let input = rig.input("cam0").await?;
    let mut safe = Vec::new();
    for _ in 0..rounds.safe {
        interrupt.check()?;
        until("an armed input", async || input.state().await.is_ok_and(|state| state == "armed")).await?;
        until("an idle recorder", async || recorder.state().await.is_ok_and(|state| state == "idle")).await?;
        let pressed = Instant::now();
        let kept = async {
            let is_safe = async || recorder.state().await.is_ok_and(|state| state == "recording");
            until("safe footage", is_safe).await?;
            anyhow::Ok(ms(pressed))
        };
        let (pressing, kept) = tokio::join!(panel.press(RECORD, TAP_MS), kept);
        pressing?;
        safe.push(kept?);
        until("a light that says so", async || panel.tells().await == "recording").await?;
        panel.press(RECORD, HOLD_MS).await?;
    }

    terminal::step(&format!("panel: recorder killed to fault pattern, {} rounds", rounds.fault));
    let mut fault = Vec::new();
    for _ in 0..rounds.fault {
        interrupt.check()?;
        panel.until_heard().await?;
        process::signal(rig.recorder_pid(), Signal::KILL);
        let killed = Instant::now();
        until("the fault pattern", async || panel.tells().await == "fault").await?;
        fault.push(ms(killed));
        rig.start_recorder()?;
        rig.wait_for_recorder(interrupt).await?;
    }

    let mut table = Table::new(["what", "rounds", "p50", "p95", "p99", "slowest"]);
    let rows = [("press to light", &mut light), ("press to safe footage", &mut safe), ("killed to fault", &mut fault)];
    let [light, safe, fault] = rows.map(|(what, times)| {
        let spread = [50, 95, 99, 100].map(|percent| percentile(times, percent));
        let cells = spread.map(|ms| format!("{ms:.1} ms"));
        table.row([what.to_owned(), times.len().to_string()].into_iter().chain(cells));
        spread
    });
    table.row(["idle".to_owned(), String::new(), format!("{idle_percent:.2} % CPU"), format!("{rss_mb:.1} MB")]);
    table.print();
    let mut figures = Figures::new();
    figures.insert("press_light_p99_ms".to_owned(), rounded(light[2], 1));
    figures.insert("press_safe_p95_ms".to_owned(), rounded(safe[1], 1));
    figures.insert("fault_pattern_ms".to_owned(), rounded(fault[3], 0));
    figures.insert("idle_cpu_pct".to_owned(), rounded(idle_percent, 2));
    figures.insert("rss_mb".to_owned(), rounded(rss_mb, 1));
    Ok(figures)
}
