//! The demo: records, kills a capture in the middle, and accounts for every frame.

pub mod account;
pub mod footage;
mod keys;
mod live;
mod report;
mod sources;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use holdfast_dbus::{InputProxy, RecorderProxy, StartOptions, StopOptions};
use rustix::process::Signal;

use crate::interrupt::Interrupt;
use crate::rig::{Directory, Rig};
use crate::workspace::{Profile, Programs};
use crate::{process, setup, terminal};

use keys::{Key, Keys};
use live::{Live, Snapshot};
use sources::Sources;

/// How often the table is redrawn.
const TICK: Duration = Duration::from_millis(100);
/// How long an input may take to deliver, and a killed one to come back.
const INPUT_DEADLINE: Duration = Duration::from_secs(30);
/// What is looked at before the red light goes on.
const PREROLL: Duration = Duration::from_millis(1500);

/// Record, kill a capture, and count what was safe.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Record this instead of simulated cameras: rtsp://…, /dev/video0, or a media file.
    #[arg(long)]
    pub source: Option<String>,
    /// Leave it running, with keys: space or r records and stops, m sets a mark, q ends.
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
    let packages = ["holdfast-recorder", "holdfast-capture", "holdfast-ctl", "holdfast-simcam"];
    let programs = Programs::build(args.profile, &packages)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let done = runtime.block_on(Demo::run(args, user_sources, &programs, &directory, interrupt));
    done.with_context(|| format!("the demo failed; footage and logs are in {}", directory.path().display()))
}

struct Demo<'a> {
    args: &'a DemoArgs,
    interrupt: Interrupt,
    // Dropped in this order: recorder and captures before the camera.
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
        programs: &Programs,
        directory: &Directory,
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
        let mut demo = Self { args, interrupt, rig, sources, recorder, inputs, live };
        demo.wait_until_armed().await?;
        let sessions = if args.interactive { demo.interactive().await? } else { vec![demo.story().await?] };
        demo.live.end();
        let programs = programs.clone();
        // Captures end and release their files before these are looked at.
        let Demo { sources, rig, inputs, .. } = demo;
        let names: Vec<String> = inputs.into_iter().map(|(name, _)| name).collect();
        drop(rig);
        let look =
            report::Look { programs: &programs, names: &names, numbered: sources.numbered, directory, json: args.json };
        sessions.iter().try_for_each(|session| look.at(session))
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

    /// The story: record, kill, mark, stop.
    async fn story(&mut self) -> anyhow::Result<Session> {
        let length = Duration::from_secs(self.args.seconds);
        let session = self.start().await?;
        let begin = Instant::now();
        self.record_until(begin + length.mul_f64(0.4), "recording").await?;

        let kill = self.kill().await?;
        self.wait_for_resume(&kill).await?;
        // What comes after a resume is shown too, however long it took.
        let rest = (begin + length).max(Instant::now() + length.mul_f64(0.3));
        self.recorder.mark("the capture was killed and is back", HashMap::new()).await?;
        self.record_until(rest, "recording again").await?;
        self.stop().await?;
        Ok(session)
    }

    async fn start(&mut self) -> anyhow::Result<Session> {
        let asked = Instant::now();
        let options = StartOptions { label: Some("demo".to_owned()), wait_ms: Some(10_000), ..StartOptions::default() };
        let (path, _) = self.recorder.start(options).await.context("Start was refused")?;
        let latency = asked.elapsed();
        let proxy = holdfast_dbus::SessionProxy::builder(self.rig.connection()).path(path)?.build().await?;
        let session = Session { id: proxy.id().await?, path: PathBuf::from(proxy.path().await?) };
        self.live.say(&format!(
            "recording session {}: first chunk safe {} after the command",
            session.id,
            terminal::duration(latency)
        ));
        Ok(session)
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        let totals = self.recorder.stop(StopOptions::default()).await.context("Stop was refused")?;
        self.live.say(&format!(
            "stopped: {} frames, {:.1} MB in {} files are durable under their final names",
            terminal::thousands(totals.safe_frames),
            totals.safe_bytes as f64 / 1e6,
            totals.files
        ));
        if !totals.incomplete.is_empty() {
            bail!("these inputs did not answer to Stop: {}", totals.incomplete.join(", "));
        }
        Ok(())
    }

    async fn record_until(&mut self, end: Instant, story: &str) -> anyhow::Result<()> {
        while Instant::now() < end {
            let left = terminal::duration(end.saturating_duration_since(Instant::now()));
            self.tick(&format!("{story}, {left} to go")).await?;
        }
        Ok(())
    }

    /// SIGKILL to the capture of the victim.
    async fn kill(&mut self) -> anyhow::Result<Kill> {
        let victim = self.sources.victim.clone();
        let snapshots = self.tick("").await?;
        let before = snapshots.iter().find(|input| input.name == victim).context("the victim is gone")?;
        if before.pid == 0 || !process::signal(before.pid, Signal::KILL) {
            bail!("the capture of {victim} is not running (pid {})", before.pid);
        }
        self.live.say(&format!(
            "SIGKILL to the capture of {victim} (pid {}), with {} frames safe",
            before.pid,
            terminal::thousands(before.safe_frames)
        ));
        Ok(Kill { victim, pid: before.pid, safe_frames: before.safe_frames, at: Instant::now() })
    }

    async fn wait_for_resume(&mut self, kill: &Kill) -> anyhow::Result<()> {
        loop {
            let snapshots =
                self.tick(&format!("{}'s capture is dead; the recorder brings it back", kill.victim)).await?;
            let now = snapshots.iter().find(|input| input.name == kill.victim).context("the victim is gone")?;
            if now.pid != 0 && now.pid != kill.pid && now.state == "recording" && now.safe_frames > kill.safe_frames {
                let after = terminal::duration(kill.at.elapsed());
                self.live.say(&format!(
                    "{} goes on in the same session, pid {}, safe again {after} after the kill",
                    now.name, now.pid
                ));
                return Ok(());
            }
            if kill.at.elapsed() > INPUT_DEADLINE {
                bail!(
                    "{} did not come back within {} s: {} {}",
                    now.name,
                    INPUT_DEADLINE.as_secs(),
                    now.state,
                    now.source_error
                );
            }
        }
    }

    /// Keys until q.
    async fn interactive(&mut self) -> anyhow::Result<Vec<Session>> {
        let keys = Keys::listen()?;
        let mut sessions = Vec::new();
        let mut recording = false;
        let mut marks = 0;
        self.live.say("keys: space or r records and stops · m mark · k kills a capture · q ends");
        loop {
            let story = if recording {
                "recording · space stops, m marks, k kills, q ends"
            } else {
                "armed · space records, q ends"
            };
            self.tick(story).await?;
            match keys.next() {
                None => {}
                Some(Key::Record) if recording => {
                    self.stop().await?;
                    recording = false;
                }
                Some(Key::Record) => {
                    sessions.push(self.start().await?);
                    recording = true;
                }
                Some(Key::Mark) if recording => {
                    marks += 1;
                    self.recorder.mark(&format!("mark {marks}"), HashMap::new()).await?;
                    self.live.say(&format!("mark {marks}"));
                }
                Some(Key::Kill) if recording => {
                    let kill = self.kill().await?;
                    self.wait_for_resume(&kill).await?;
                }
                Some(Key::Quit) => {
                    if recording {
                        self.stop().await?;
                    }
                    return Ok(sessions);
                }
                Some(Key::Mark | Key::Kill) => {}
            }
        }
    }

    /// Redraws the table after a while and looks whether everything is still there.
    async fn tick(&mut self, story: &str) -> anyhow::Result<Vec<Snapshot>> {
        tokio::time::sleep(TICK).await;
        self.interrupt.check()?;
        self.rig.must_run()?;
        self.sources.must_run().context("the simulated camera")?;
        let mut snapshots = Vec::new();
        for (name, proxy) in &self.inputs {
            snapshots.push(Snapshot::take(name, proxy).await.with_context(|| format!("input {name} does not answer"))?);
        }
        self.live.show(&snapshots, story);
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
    at: Instant,
}
