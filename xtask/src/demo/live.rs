//! The table that moves while we record.

use std::time::{Duration, Instant};

use console::{Style, pad_str, style};
use holdfast_dbus::InputProxy;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::terminal;

/// How often lines are printed where no table can move.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// How an input does, as the bus tells.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub name: String,
    pub state: String,
    pub source_state: String,
    pub source_error: String,
    pub encoder: String,
    pub safe_frames: u64,
    pub safe_bytes: u64,
    pub preroll_ms: u32,
    pub sync_usec: u32,
    pub dropped: u64,
    pub restarts: u32,
    pub pid: u32,
    pub file: String,
}

impl Snapshot {
    pub async fn take(name: &str, proxy: &InputProxy<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            state: proxy.state().await?,
            source_state: proxy.source_state().await?,
            source_error: proxy.source_error().await?,
            encoder: proxy.encoder().await?,
            safe_frames: proxy.safe_frames().await?,
            safe_bytes: proxy.safe_bytes().await?,
            preroll_ms: proxy.preroll_ms().await?,
            sync_usec: proxy.sync_usec().await?,
            dropped: proxy.dropped().await?.values().sum(),
            restarts: proxy.restarts().await?,
            pid: proxy.pid().await?,
            file: proxy.current_file().await?,
        })
    }

    fn cells(&self) -> [(String, Style); COLUMNS.len()] {
        let state = match self.state.as_str() {
            "recording" => Style::new().red().bold(),
            "armed" => Style::new().green(),
            "failed" => Style::new().yellow().bold(),
            _ => Style::new().yellow(),
        };
        let plain = Style::new;
        let restarts = if self.restarts > 0 { Style::new().yellow() } else { Style::new() };
        let dropped = if self.dropped > 0 { Style::new().yellow() } else { Style::new() };
        // The directories say date, session and input, which the reader knows.
        let file = self.file.rsplit('/').next().unwrap_or_default();
        let file = file.strip_suffix(".part").unwrap_or(file).to_owned();
        [
            (self.name.clone(), plain().bold()),
            (format!("● {}", self.state), state),
            (self.encoder.clone(), plain()),
            (terminal::thousands(self.safe_frames), plain().bold()),
            (format!("{:.1} MB", self.safe_bytes as f64 / 1e6), plain()),
            (format!("{:.1} ms", f64::from(self.sync_usec) / 1e3), plain()),
            (self.dropped.to_string(), dropped),
            (self.restarts.to_string(), restarts),
            (file, plain().dim()),
        ]
    }
}

const COLUMNS: [(&str, usize); 9] = [
    ("input", 8),
    ("state", 13),
    ("encoder", 12),
    ("safe frames", 11),
    ("safe bytes", 10),
    ("sync", 8),
    ("dropped", 7),
    ("restarts", 8),
    ("file", 30),
];

/// A light of the panel in this moment.
#[derive(Debug, Clone)]
pub struct Lamp {
    pub light: String,
    pub condition: String,
    /// Its LED is on; what blinks is now on, now off.
    pub lit: bool,
}

impl Lamp {
    fn styled(&self) -> String {
        let style = match self.condition.as_str() {
            "starting" | "recording" | "stopping" => Style::new().red(),
            "armed" | "ready" | "resting" => Style::new().green(),
            "acknowledged" | "holding" => Style::new().white(),
            "off" => Style::new().dim(),
            _ => Style::new().yellow(),
        };
        let disc = if self.lit { style.clone().bold().apply_to("●") } else { Style::new().dim().apply_to("○") };
        format!("{disc} {} {}", self.light, style.apply_to(pad(&self.condition, CONDITION)))
    }
}

/// As wide as most conditions.
const CONDITION: usize = 12;

/// Shows snapshots: a table that is redrawn on a terminal, lines elsewhere.
pub struct Live {
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
    last_line: Option<Instant>,
}

impl Live {
    pub fn new(inputs: usize) -> Self {
        let bars = console::user_attended_stderr().then(|| {
            let all = MultiProgress::new();
            // One line above for the head, two below for the panel and the story.
            let bars = (0..inputs + 3)
                .map(|_| all.add(ProgressBar::new_spinner().with_style(plain_style())))
                .collect::<Vec<_>>();
            (all, bars)
        });
        Self { bars, last_line: None }
    }

    /// Shows how it goes. `story` is one line on what is going on. Without lamps there is no panel yet.
    pub fn show(&mut self, snapshots: &[Snapshot], lamps: &[Lamp], story: &str) {
        if let Some((_, bars)) = &self.bars {
            let head: Vec<String> = COLUMNS.iter().map(|(name, width)| pad(name, *width)).collect();
            let rows = snapshots.iter().map(|snapshot| {
                let cells = snapshot.cells();
                let cells = cells
                    .iter()
                    .zip(COLUMNS)
                    .map(|((text, style), (_, width))| style.apply_to(pad(text, width)).to_string());
                cells.collect::<Vec<_>>().join(" ")
            });
            let panel = (!lamps.is_empty()).then(|| {
                let lamps: Vec<String> = lamps.iter().map(Lamp::styled).collect();
                format!("{} {}", style(pad("panel", COLUMNS[0].1)).bold(), lamps.join(" "))
            });
            let head = std::iter::once(style(head.join(" ")).dim().to_string());
            let lines = head.chain(rows).chain(panel).chain([format!("  {story}")]);
            for (bar, line) in bars.iter().zip(lines) {
                bar.set_message(format!("  {line}"));
                bar.tick();
            }
            return;
        }
        if self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
            self.last_line = Some(Instant::now());
            for Snapshot { name, state, safe_frames, safe_bytes, dropped, restarts, .. } in snapshots {
                eprintln!(
                    "    {name:<8} {state:<10} {safe_frames:>7} safe frames, {:.1} MB, {dropped} dropped, {restarts} restarts",
                    *safe_bytes as f64 / 1e6
                );
            }
            if !lamps.is_empty() {
                let lamps: Vec<String> =
                    lamps.iter().map(|Lamp { light, condition, .. }| format!("{light} {condition}")).collect();
                eprintln!("    {:<8} {}", "panel", lamps.join(", "));
            }
        }
    }

    /// Says something that stays above the table.
    pub fn say(&self, text: &str) {
        match &self.bars {
            Some((all, _)) => all.suspend(|| terminal::step(text)),
            None => terminal::step(text),
        }
    }

    /// A plain line that belongs to what was said.
    pub fn line(&self, text: &str) {
        match &self.bars {
            Some((all, _)) => all.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Leaves the table as it stands; what is said from then on stands below it.
    pub fn end(&mut self) {
        if let Some((all, bars)) = self.bars.take() {
            for bar in bars {
                bar.abandon();
            }
            drop(all);
            eprintln!();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

fn plain_style() -> ProgressStyle {
    // A template that can't be read would fall back to the default one.
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn pad(text: &str, width: usize) -> String {
    pad_str(text, width, console::Alignment::Left, Some("…")).into_owned()
}
