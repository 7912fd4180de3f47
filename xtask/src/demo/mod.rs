//! The demo: records by the panel's button, kills a capture in the middle, accounts for every frame, and holds the panel's
//! lights against what was safe.

pub mod account;
pub mod footage;
mod interactive;
mod keys;
mod lights;
mod live;
mod report;
mod sources;
mod story;
mod witness;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use holdfast_dbus::{AlertsProxy, InputProxy, RecorderProxy};
use rustix::process::Signal;

use crate::interrupt::Interrupt;
use crate::panel::{Panel, Wiring};
use crate::rig::{Directory, Rig};
use crate::workspace::{Profile, Programs};
use crate::{process, setup, terminal};

use keys::Keys;
use live::{Lamp, Live, Snapshot};
use sources::Sources;
use witness::Witness;

/// How often the table is redrawn.
const TICK: Duration = Duration::from_millis(100);
/// How long an input may take to deliver, and a killed one to come back.
const INPUT_DEADLINE: Duration = Duration::from_secs(30);
/// What is looked at before the red light goes on.
const PREROLL: Duration = Duration::from_millis(1500);

/// Record by the panel's button, kill a capture, and count what was safe.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Record this instead of simulated cameras: rtsp://…, /dev/video0, or a media file.
    #[arg(long)]
    pub source: Option<String>,
    /// Hand the terminal to the panel, and leave all running until q: space or r records, and marks while it does; hold it
    /// (or press s, where the screen says so) to stop; m marks, k kills a capture.
    #[arg(long, conflicts_with = "json")]
    pub interactive: bool,
    /// How long to record.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(6..=3600))]
    pub seconds: u64,
    /// Put footage and logs into this directory instead of target/demo, which the next run overwrites.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// End with one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
    /// How the programs are compiled.
    #[arg(long, value_enum, default_value_t = Profile::Dev)]
    pub profile: Profile,
}

pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    setup::run(&setup::SetupArgs::default())?;
    play(args, Interrupt::listen()?)
}

/// The demo as CI runs it.
pub fn sanity(interrupt: &Interrupt) -> anyhow::Result<()> {
    let args =
        DemoArgs { source: None, interactive: false, seconds: 15, keep: None, json: true, profile: Profile::Dev };
    play(&args, interrupt.clone())
}

fn play(args: &DemoArgs, interrupt: Interrupt) -> anyhow::Result<()> {
    // What can't work is refused before minutes are spent on building.
    if args.interactive {
        Keys::must_be_there()?;
    }
    let user_sources = args.source.as_deref().map(Sources::of_user).transpose()?;
    let directory = Directory::lasting(args.keep.as_deref())?;
    terminal::step("building");
    let packages = ["holdfast-recorder", "holdfast-capture", "holdfast-ctl", "holdfast-panel", "holdfast-simcam"];
    let programs = Programs::build(args.profile, &packages)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let done = runtime.block_on(Demo::run(args, user_sources, &programs, &directory, interrupt));
    done.with_context(|| format!("the demo failed; footage and logs are in {}", directory.path().display()))
}

/// The front panel, and who sees what it tells.
struct Front {
    witness: Witness,
    panel: Panel,
}

struct Demo<'a> {
    args: &'a DemoArgs,
    programs: &'a Programs,
    directory: &'a Directory,
    interrupt: Interrupt,
    // Dropped in this order: the panel, recorder and captures, the camera.
    front: Option<Front>,
    rig: Rig,
    sources: Sources,
    recorder: RecorderProxy<'static>,
    inputs: Vec<(String, InputProxy<'static>)>,
    live: Live,
}

impl<'a> Demo<'a> {
    async fn run(
        args: &'a DemoArgs,
        user_sources: Option<Sources>,
        programs: &'a Programs,
        directory: &'a Directory,
        interrupt: Interrupt,
    ) -> anyhow::Result<()> {
        terminal::step("starting a private bus, the cameras and the recorder");
        let sources = match user_sources {
            Some(sources) => sources,
            None => Sources::simulated(programs)?,
        };
        let rig = Rig::start(programs, directory.path(), &sources.settings, &interrupt).await?;
        let recorder = rig.recorder().await?;
        let mut inputs = Vec::new();
        for (name, _) in &sources.settings.inputs {
            inputs.push((name.clone(), rig.input(name).await?));
        }
        let live = Live::new(inputs.len());
        let mut demo = Self { args, programs, directory, interrupt, front: None, rig, sources, recorder, inputs, live };
        demo.wait_until_armed().await?;
        let (sessions, told) = if args.interactive { demo.interactive().await? } else { demo.story().await? };
        demo.live.end();
        // Captures end and release their files before these are looked at.
        let Demo { front, sources, rig, inputs, .. } = demo;
        let names: Vec<String> = inputs.into_iter().map(|(name, _)| name).collect();
        drop((front, rig));
        let numbered = sources.numbered;
        let look = report::Look { programs, names: &names, numbered, directory, json: args.json, told: &told };
        told.print();
        if sessions.is_empty() {
            terminal::note("nothing was recorded");
        }
        sessions.iter().try_for_each(|session| look.at(session))?;
        told.judge()
    }

    async fn wait_until_armed(&mut self) -> anyhow::Result<()> {
        self.live.say("waiting for the inputs to deliver");
        let deadline = Instant::now() + INPUT_DEADLINE;
        let mut told = BTreeSet::new();
        loop {
            let snapshots = self.tick("armed inputs already remember the last seconds").await?;
            // What is wrong with a source is said while it is tried again, not only at the end.
            for input in snapshots.iter().filter(|input| input.state != "armed" && !input.source_error.is_empty()) {
                if told.insert(input.source_error.clone()) {
                    let left = deadline.saturating_duration_since(Instant::now()).as_secs();
                    self.live.say(&format!("{}: {}; trying for {left} s more", input.name, input.source_error));
                }
            }
            let preroll = PREROLL.as_millis();
            if snapshots.iter().all(|input| input.state == "armed" && u128::from(input.preroll_ms) >= preroll) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let late: Vec<String> = snapshots
                    .iter()
                    .filter(|input| input.state != "armed")
                    .map(|input| {
                        format!(
                            "{} is {}, its source {}: {}",
                            input.name, input.state, input.source_state, input.source_error
                        )
                    })
                    .collect();
                if late.is_empty() {
                    return Ok(());
                }
                bail!("no footage after {} s: {}", INPUT_DEADLINE.as_secs(), late.join("; "));
            }
        }
    }

    /// Starts the panel, and sees from then on what it tells.
    async fn start_panel(&mut self, wiring: &Wiring) -> anyhow::Result<()> {
        let mut panel = Panel::start(self.programs, &self.rig, self.directory.path(), wiring).await?;
        panel.until_ready().await?;
        let witness = Witness::begin(&self.rig, &panel).await?;
        self.front = Some(Front { witness, panel });
        Ok(())
    }

    fn front(&self) -> anyhow::Result<&Front> {
        self.front.as_ref().context("there is no panel")
    }

    /// The lights of the panel: all inputs together, each of them where there are several, and the box.
    fn lights(&self) -> Vec<String> {
        let each = self.inputs.iter().filter(|_| self.inputs.len() > 1).map(|(name, _)| format!("record.{name}"));
        ["record".to_owned()].into_iter().chain(each).chain(["status".to_owned()]).collect()
    }

    /// What a status light that does not say “ready” asks to look at, each with its source.
    async fn alerts(&self) -> anyhow::Result<Vec<String>> {
        let alerts = AlertsProxy::new(self.rig.connection()).await?.active().await?;
        let urgent = alerts.into_iter().filter(|alert| alert.level != "info");
        Ok(urgent.map(|alert| format!("{} ({})", alert.code, alert.source)).collect())
    }

    /// SIGKILL to the capture of the victim. Says what it did.
    fn kill(&self, snapshots: &[Snapshot]) -> anyhow::Result<Kill> {
        let victim = self.sources.victim.clone();
        let before = snapshots.iter().find(|input| input.name == victim).context("the victim is gone")?;
        if before.pid == 0 || !process::signal(before.pid, Signal::KILL) {
            bail!("the capture of {victim} is not running (pid {})", before.pid);
        }
        let at = self.front()?.witness.done(&format!("SIGKILL to the capture of {victim}"));
        Ok(Kill { victim, pid: before.pid, safe_frames: before.safe_frames, at, when: Instant::now() })
    }

    /// Redraws the table after a while and looks whether everything is still there.
    async fn tick(&mut self, story: &str) -> anyhow::Result<Vec<Snapshot>> {
        let snapshots = self.look().await?;
        if let Some(front) = &mut self.front {
            front.panel.must_run()?;
        }
        let lamps: Vec<Lamp> = match &self.front {
            None => Vec::new(),
            Some(Front { witness, panel }) => {
                let lamp = |light: String| Lamp { condition: witness.tells(&light), lit: panel.is_lit(&light), light };
                self.lights().into_iter().map(lamp).collect()
            }
        };
        self.live.show(&snapshots, &lamps, story);
        Ok(snapshots)
    }

    /// The same without a word: the terminal may be the panel's.
    async fn look(&mut self) -> anyhow::Result<Vec<Snapshot>> {
        tokio::time::sleep(TICK).await;
        self.interrupt.check()?;
        self.rig.must_run()?;
        self.sources.must_run().context("the simulated camera")?;
        let mut snapshots = Vec::new();
        for (name, proxy) in &self.inputs {
            let snapshot = Snapshot::take(name, proxy).await;
            snapshots.push(snapshot.with_context(|| format!("input {name} does not answer"))?);
        }
        if let Some(front) = &self.front {
            for Snapshot { name, safe_frames, .. } in &snapshots {
                front.witness.safe(name, *safe_frames);
            }
        }
        Ok(snapshots)
    }
}

/// A recording that was made.
struct Session {
    id: String,
    path: PathBuf,
}

/// What was killed when.
struct Kill {
    victim: String,
    pid: u32,
    safe_frames: u64,
    /// Since the panel is looked at.
    at: Duration,
    when: Instant,
}

impl Kill {
    /// Another capture goes on in its place, and its footage is safe.
    fn is_over(&self, now: &Snapshot) -> bool {
        now.pid != 0 && now.pid != self.pid && now.state == "recording" && now.safe_frames > self.safe_frames
    }
}
