//! A recording that something is done to, and the clock that is kept on it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::{AlertCode, AlertInfo, BUS_NAME, ROOT_PATH, StartOptions, StopOptions, Totals};
use rustix::process::Signal;
use zbus::zvariant::Value;

use super::count::{Losses, count};
use super::disk::Disk;
use super::proxy::Proxy;
use super::table::{Scene, Source};
use super::wall::Wall;
use crate::interrupt::Interrupt;
use crate::process::{self, Guarded};
use crate::rig::{Camera, Rig, Settings};
use crate::workspace::Programs;

/// The input that something is done to, and one that must not notice.
pub const VICTIM: &str = "cam0";
const BYSTANDER: &str = "cam1";
pub const FPS: u64 = 25;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// A recorder that does not answer for so long is looked at again later.
const PATIENCE: Duration = Duration::from_millis(500);
/// Far beyond every bound: who has not recovered by then does not.
const DEADLINE: Duration = Duration::from_secs(60);
/// An alert that has not come by then does not.
const NOTICE_DEADLINE: Duration = Duration::from_secs(15);
/// Recorded before anything happens, and after all is well.
const CALM_FRAMES: u64 = 2 * FPS;

/// What one look showed. Nothing where the recorder does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    pub pid: u32,
    pub state: String,
    pub safe_frames: u64,
}

/// When things were seen, counted from the fault; for what does not mend itself, recovery counts from when it was mended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub detected: Option<Duration>,
    pub recovered: Option<Duration>,
}

pub struct Stage<'a> {
    pub interrupt: &'a Interrupt,
    // Dropped in this order: recorder and captures before cameras and disks.
    pub rig: Rig,
    pub helpers: Vec<Guarded>,
    pub proxy: Option<Proxy>,
    pub camera: Option<Camera>,
    pub disk: Option<Disk>,
    pub wall: Option<Wall>,
    inputs: Vec<&'static str>,
    self_failing: bool,
    /// Pictures come in damaged.
    pub damaged: bool,
    alerts: &'static [AlertCode],
    known: HashMap<(String, String), (i64, u32)>,
    begun: Instant,
    detected: Option<Duration>,
    sessions: Vec<(String, PathBuf)>,
}

impl<'a> Stage<'a> {
    /// Everything is up and armed; nothing is recorded yet.
    pub async fn set(
        scene: &Scene,
        alerts: &'static [AlertCode],
        programs: &Programs,
        directory: &std::path::Path,
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Self> {
        let disk = scene.disk.map(|bytes| Disk::new(directory, bytes)).transpose()?;
        let wall = if scene.wall { Some(Wall::new(directory)?) } else { None };
        let mut camera = None;
        let mut proxy = None;
        let test = |encoder: &str| {
            [
                "source = \"test\"",
                "width = 320",
                "height = 240",
                "framerate = 25",
                "bitrate_kbps = 500",
                "audio = false",
            ]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("encoder = \"{encoder}\"")])
            .collect::<Vec<_>>()
        };
        let victim = match scene.source {
            Source::Test => test("auto"),
            // Not armed: it would have failed before anything is recorded.
            Source::Encoder(name) => test(name).into_iter().chain(["armed = false".to_owned()]).collect(),
            Source::Camera => {
                let args = ["--size=640x360", "--fps=25", "--bitrate-kbps=500", "--audio=none"];
                let started = Camera::start(programs, args)?;
                let before = Proxy::before(started.url()?)?;
                let lines = vec!["source = \"rtsp\"".to_owned(), format!("url = \"{}\"", before.url())];
                (camera, proxy) = (Some(started), Some(before));
                lines
            }
        };
        let mut inputs = vec![VICTIM];
        let mut tables = vec![(VICTIM.to_owned(), victim)];
        if scene.source != Source::Test {
            inputs.push(BYSTANDER);
            tables.push((BYSTANDER.to_owned(), test("auto")));
        }
        let settings = Settings {
            calm: false,
            root: disk.as_ref().map(|disk| disk.path().to_owned()),
            storage: scene.storage.iter().map(|line| (*line).to_owned()).collect(),
            recording: vec!["sync_interval_ms = 200".to_owned()],
            tables: scene.tables.to_owned(),
            inputs: tables,
            environment: wall.as_ref().map(Wall::environment).unwrap_or_default(),
        };
        let rig = Rig::start(programs, directory, &settings, interrupt).await?;
        let stage = Self {
            interrupt,
            rig,
            helpers: Vec::new(),
            proxy,
            camera,
            disk,
            wall,
            inputs,
            damaged: false,
            self_failing: matches!(scene.source, Source::Encoder(_)),
            alerts,
            known: HashMap::new(),
            begun: Instant::now(),
            detected: None,
            sessions: Vec::new(),
        };
        stage.until_armed().await?;
        Ok(stage)
    }

    fn is_unarmed(&self, name: &str) -> bool {
        self.self_failing && name == VICTIM
    }

    async fn until_armed(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        for name in self.inputs.iter().filter(|name| !self.is_unarmed(name)) {
            while self.look_at(name).await.state != "armed" {
                self.interrupt.check()?;
                if Instant::now() > deadline {
                    bail!("{name} does not deliver");
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Records until all is calm.
    pub async fn record(&mut self) -> anyhow::Result<()> {
        self.start().await?;
        self.more_frames(CALM_FRAMES).await
    }

    /// Start, with the first chunk safe.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let options = StartOptions { wait_ms: Some(15_000), ..StartOptions::default() };
        let (path, _) = self.rig.recorder().await?.start(options).await?;
        let session = holdfast_dbus::SessionProxy::builder(self.rig.connection()).path(path)?.build().await?;
        self.sessions.push((session.id().await?, PathBuf::from(session.path().await?)));
        Ok(())
    }

    /// So many more frames of each input are safe.
    pub async fn more_frames(&self, frames: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        for name in &self.inputs {
            let mut wanted = None;
            loop {
                let now = self.look_at(name).await;
                if now.state == "recording" && now.safe_frames >= *wanted.get_or_insert(now.safe_frames + frames) {
                    break;
                }
                self.interrupt.check()?;
                if Instant::now() > deadline {
                    bail!("{name} does not record: {now:?}");
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// From now on the clock runs; alerts of before do not count.
    pub async fn clock(&mut self) -> anyhow::Result<Now> {
        let known = self.list_alerts().await.unwrap_or_default();
        self.known = known.into_iter().map(|alert| ((alert.code, alert.source), (alert.since, alert.count))).collect();
        let now = self.look_at(VICTIM).await;
        self.detected = None;
        self.begun = Instant::now();
        Ok(now)
    }

    /// When the fault is known to have begun, for one that begins by itself.
    pub fn begun_at(&mut self, begun: Instant) {
        self.detected = self.detected.map(|detected| (self.begun + detected).saturating_duration_since(begun));
        self.begun = begun;
    }

    pub fn is_noticed(&self) -> bool {
        self.detected.is_some()
    }

    /// The victim's encoder.
    pub async fn encoder(&self) -> String {
        let ask = async { anyhow::Ok(self.rig.input(VICTIM).await?.encoder().await?) };
        tokio::time::timeout(PATIENCE, ask).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Something other than an alert shows that it was noticed.
    pub fn noticed(&mut self) {
        self.detected.get_or_insert(self.begun.elapsed());
    }

    /// One look, and whether an alert tells by now.
    pub async fn look(&mut self) -> Now {
        if self.detected.is_none() && !self.alerts.is_empty() {
            let told = self.list_alerts().await.unwrap_or_default().into_iter().any(|alert| {
                let wanted = self.alerts.iter().any(|code| code.name() == alert.code);
                wanted && self.known.get(&(alert.code, alert.source)) != Some(&(alert.since, alert.count))
            });
            if told {
                self.noticed();
            }
        }
        self.look_at(VICTIM).await
    }

    async fn look_at(&self, name: &str) -> Now {
        let look = async {
            let input = self.rig.input(name).await?;
            anyhow::Ok(Now {
                pid: input.pid().await?,
                state: input.state().await?,
                safe_frames: input.safe_frames().await?,
            })
        };
        tokio::time::timeout(PATIENCE, look).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The register of alerts.
    pub async fn list_alerts(&self) -> anyhow::Result<Vec<AlertInfo>> {
        let options = (HashMap::<&str, Value<'_>>::new(),);
        let interface = format!("{BUS_NAME}.Alerts");
        let call = self.rig.connection().call_method(
            Some(BUS_NAME),
            ROOT_PATH,
            Some(interface.as_str()),
            "ListAlerts",
            &options,
        );
        Ok(tokio::time::timeout(PATIENCE, call).await??.body().deserialize()?)
    }

    /// How often that was told about this so far.
    pub async fn times_told(&self, code: AlertCode, source: &str) -> u32 {
        let alerts = self.list_alerts().await.unwrap_or_default();
        let told = alerts.iter().filter(|alert| alert.code == code.name() && alert.source == source);
        told.map(|alert| alert.count).sum()
    }

    /// Lets the fault last so long.
    pub async fn hold(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.interrupt.check()?;
            self.look().await;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Looks until `well` says so, and gives the times; recovery counts from `since`.
    pub async fn until(&mut self, since: Instant, well: impl Fn(&Now) -> bool) -> anyhow::Result<Times> {
        let mut recovered = None;
        loop {
            self.interrupt.check()?;
            let now = self.look().await;
            if recovered.is_none() && well(&now) {
                recovered = Some(since.elapsed());
            }
            let noticed = self.alerts.is_empty() || self.detected.is_some() || self.begun.elapsed() > NOTICE_DEADLINE;
            if (recovered.is_some() && noticed) || since.elapsed() > DEADLINE {
                return Ok(Times { detected: self.detected, recovered });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Safe frames grow again, in whatever process.
    pub async fn until_safe(&mut self, since: Instant) -> anyhow::Result<Times> {
        let safe = self.look().await.safe_frames;
        self.until(since, |now| now.state == "recording" && now.safe_frames > safe).await
    }

    /// Another process than this records.
    pub async fn until_replaced(&mut self, before: &Now) -> anyhow::Result<Times> {
        let (begun, Now { pid, safe_frames, .. }) = (self.begun, before.clone());
        self.until(begun, |now| {
            now.pid != pid && now.pid != 0 && now.state == "recording" && now.safe_frames > safe_frames
        })
        .await
    }

    /// Names of all inputs.
    pub fn inputs(&self) -> &[&'static str] {
        &self.inputs
    }

    /// The recorder's state, and the journal of the session.
    pub fn journals(&self) -> Vec<PathBuf> {
        let sessions = self.sessions.iter().map(|(_, session)| session.join("session.journal"));
        sessions.chain([self.rig.place().state.join("recorder.journal")]).collect()
    }

    /// When the fault began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// A signal for the victim's capture.
    pub fn signal(&self, before: &Now, signal: Signal) -> anyhow::Result<()> {
        if before.pid == 0 || !process::signal(before.pid, signal) {
            bail!("the capture does not run: {before:?}");
        }
        Ok(())
    }

    /// An error if another capture records than this.
    pub async fn same_capture(&mut self, before: &Now) -> anyhow::Result<()> {
        let now = self.look().await;
        if now.pid != before.pid {
            bail!("the capture was replaced: {before:?}, now {now:?}");
        }
        Ok(())
    }

    /// Stops, if it still records, and counts what is on disk.
    pub async fn finish(mut self) -> anyhow::Result<Losses> {
        let told = self.stop().await?;
        let Self { rig, disk, inputs, sessions, helpers, damaged, .. } = self;
        drop(helpers);
        // Nobody may have a replaced disk open any more when it is mounted again.
        drop(rig);
        let replaced = disk.as_ref().map(Disk::replaced).transpose()?.unwrap_or_default();
        let root = disk.as_ref().map(|disk| disk.path().to_owned());
        // The same session may have parts on disks that were replaced.
        let places = |session: &PathBuf| {
            let below = root.as_ref().and_then(|root| session.strip_prefix(root).ok());
            let elsewhere = below.iter().flat_map(|below| replaced.iter().map(move |root| root.join(below)));
            elsewhere.chain([session.clone()]).collect()
        };
        let places: Vec<Vec<PathBuf>> = sessions.iter().map(|(_, session)| places(session)).collect();
        let mut losses = count(&places, &inputs, damaged)?;
        if let (Some(told), 1, true) = (told, sessions.len(), replaced.is_empty()) {
            losses.unaccounted += told.safe_frames.abs_diff(losses.safe);
        }
        Ok(losses)
    }

    /// Stops the session of now; the next can begin. Its id and what it is said to amount to.
    pub async fn stop_session(&mut self) -> anyhow::Result<(String, Totals)> {
        let told = self.stop().await?.context("it does not record any more")?;
        let (id, _) = self.sessions.pop().context("no session was begun")?;
        Ok((id, told))
    }

    async fn stop(&mut self) -> anyhow::Result<Option<Totals>> {
        if self.rig.recorder().await?.state().await.is_ok_and(|state| state == "idle") {
            return Ok(None);
        }
        self.more_frames(CALM_FRAMES).await?;
        Ok(Some(self.rig.recorder().await?.stop(StopOptions::default()).await.context("Stop was refused")?))
    }
}
