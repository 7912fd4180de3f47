//! The demo by itself: the panel's button starts, marks and stops, and in between a capture is killed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use holdfast_dbus::{SessionProxy, Totals};
use tokio::time::timeout;
use zbus::proxy::CacheProperties;

use super::lights::SOLID;
use super::report::{Figures, Told};
use super::{Demo, INPUT_DEADLINE, Kill, Session};
use crate::panel::{HOLD_MS, RECORD, Wiring, until};
use crate::terminal;

/// As long as a quick finger presses.
const TAP_MS: u32 = 60;
/// How long footage may take to be safe after the press, and a light to tell what is true.
const LIGHT_DEADLINE: Duration = Duration::from_secs(10);
/// How long closing files may take: a Stop answers after 18 s at the latest.
const STOP_DEADLINE: Duration = Duration::from_secs(25);
/// The note of a short press while there is a recording.
const MARK: &str = "the capture was killed and is back";

/// What came of the press that started.
struct Started {
    session: Session,
    proxy: SessionProxy<'static>,
    /// When it was pressed, since the panel is looked at.
    at: Duration,
    light: Duration,
    safe: Duration,
}

impl Demo<'_> {
    /// Record, kill, mark, stop.
    pub(super) async fn story(&mut self) -> anyhow::Result<(Vec<Session>, Told)> {
        self.live.say("starting the front panel");
        let panel = vec![format!("mark_text = \"{MARK}\"")];
        self.start_panel(&Wiring { panel, lights: self.lights(), ..Wiring::default() }).await?;
        let length = Duration::from_secs(self.args.seconds);
        let started = self.start().await?;
        let begin = Instant::now();
        self.until_solid("the record light waits for footage of every input").await?;
        let solid = self.front()?.witness.history().first(RECORD, SOLID, started.at).unwrap_or_default();
        self.record_until(begin + length.mul_f64(0.4), "recording").await?;

        let kill = self.kill_and_say().await?;
        let kill_to_safe = self.wait_for_resume(&kill).await?;
        // What comes after a resume is shown too, however long it took.
        let rest = (begin + length).max(Instant::now() + length.mul_f64(0.3));
        let marks = self.mark(&started.proxy).await?;
        self.record_until(rest, "recording again").await?;
        self.until_solid("the record light waits for footage of every input").await?;
        let stop = self.stop().await?;

        let history = self.front()?.witness.history();
        let figures = Figures {
            pressed_at: started.at,
            press_to_light: started.light,
            press_to_safe: started.safe,
            press_to_solid: solid.saturating_sub(started.at),
            kill_to_told: history.first_doubt(kill.at, stop.at).map(|at| at.saturating_sub(kill.at)),
            kill_to_safe,
            hold_to_closed: stop.closed,
            hold_to_armed: stop.armed,
            marks,
        };
        Ok((vec![started.session], Told { history, alerts: self.alerts().await?, figures: Some(figures) }))
    }

    /// A short press.
    async fn start(&mut self) -> anyhow::Result<Started> {
        let mut states = self.recorder.receive_recorder_state_changed().await?;
        let front = self.front()?;
        // An armed light is lit for a moment every three seconds: that would be taken for an answer.
        until("a record light that is dark", async || !front.panel.is_lit(RECORD)).await?;
        let at = front.witness.done("the button is pressed: to record");
        let pressed = Instant::now();
        let light = async {
            until("an answer of the record light", async || front.panel.is_lit(RECORD)).await?;
            anyhow::Ok(pressed.elapsed())
        };
        let safe = async {
            while let Some(change) = states.next().await {
                if change.args()?.state == "recording" {
                    return anyhow::Ok(pressed.elapsed());
                }
            }
            bail!("the recorder is gone");
        };
        let (press, light, safe) =
            tokio::join!(front.panel.press(RECORD, TAP_MS), light, timeout(LIGHT_DEADLINE, safe));
        press?;
        let light = light?;
        let Ok(safe) = safe else {
            bail!("nothing was safe {} s after the press: {}", LIGHT_DEADLINE.as_secs(), self.what_is_shown().await);
        };
        let safe = safe?;
        self.front()?.witness.done("footage is safe");
        let path = self.recorder.current_session().await?;
        let proxy = SessionProxy::builder(self.rig.connection())
            .path(path)?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let session = Session { id: proxy.id().await?, path: PathBuf::from(proxy.path().await?) };
        self.live.say(&format!(
            "recording session {}: the light answered after {}, first chunk safe after {}",
            session.id,
            terminal::duration(light),
            terminal::duration(safe)
        ));
        Ok(Started { session, proxy, at, light, safe })
    }

    /// A short press while there is a recording. Returns how many marks there are.
    async fn mark(&mut self, session: &SessionProxy<'_>) -> anyhow::Result<usize> {
        let front = self.front()?;
        front.witness.done("the button is pressed: to mark");
        front.panel.press(RECORD, TAP_MS).await?;
        let deadline = Instant::now() + LIGHT_DEADLINE;
        loop {
            self.tick("recording again, and marking").await?;
            let marks = session.marks().await?;
            if !marks.is_empty() {
                self.live.say(&format!("a short press has set a mark: {MARK}"));
                return Ok(marks.len());
            }
            if Instant::now() > deadline {
                bail!("a short press has set no mark: {}", self.what_is_shown().await);
            }
        }
    }

    /// Holds the button until the recording is stopped and the panel stands by again.
    async fn stop(&mut self) -> anyhow::Result<Stopped> {
        let mut stops = self.recorder.receive_session_stopped().await?;
        let at = self.front()?.witness.done("the button is held: to stop");
        let held = Instant::now();
        let pressing = tokio::spawn(self.front()?.panel.finger(RECORD, HOLD_MS));
        let totals: Totals = loop {
            tokio::select! {
                Some(stop) = stops.next() => break stop.args()?.totals.clone(),
                looked = self.tick("the button is held to stop") => { looked?; }
            }
            if held.elapsed() > STOP_DEADLINE {
                bail!("the button was held, and nothing stopped: {}", self.what_is_shown().await);
            }
        };
        let closed = held.elapsed();
        self.front()?.witness.done("all files are closed");
        pressing.await.context("the press was lost")??;
        self.live.say(&format!(
            "the button was held: {} frames, {:.1} MB in {} files are durable under their final names",
            terminal::thousands(totals.safe_frames),
            totals.safe_bytes as f64 / 1e6,
            totals.files
        ));
        if !totals.incomplete.is_empty() {
            bail!("these inputs did not answer to Stop: {}", totals.incomplete.join(", "));
        }
        let deadline = Instant::now() + LIGHT_DEADLINE;
        // A source that has to be opened anew is not armed, but the next press records.
        while !matches!(self.front()?.witness.tells(RECORD).as_str(), "armed" | "off") {
            self.tick("stopped; the inputs are armed again").await?;
            if Instant::now() > deadline {
                bail!("the panel does not stand by after the recording: {}", self.what_is_shown().await);
            }
        }
        self.tick("stopped").await?;
        let armed = self.front()?.witness.history().first(RECORD, "armed", at).map(|armed| armed.saturating_sub(at));
        Ok(Stopped { at, closed, armed: armed.unwrap_or_else(|| held.elapsed()) })
    }

    /// Returns once the record light is solid.
    async fn until_solid(&mut self, story: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIGHT_DEADLINE;
        while self.front()?.witness.tells(RECORD) != SOLID {
            self.tick(story).await?;
            if Instant::now() > deadline {
                bail!("the record light is not solid: {}", self.what_is_shown().await);
            }
        }
        Ok(())
    }

    /// What the lights tell and what the panel has said, for whoever looks for the reason.
    async fn what_is_shown(&self) -> String {
        let Some(front) = &self.front else { return String::new() };
        let lights = front.panel.lights().await.unwrap_or_default();
        let lights = lights.iter().filter(|light| !light.meaning.is_empty());
        let lights: Vec<String> =
            lights.map(|light| format!("{} shows “{}”: {}", light.name, light.condition, light.meaning)).collect();
        format!("{} ({})", lights.join(" "), front.panel.last_words())
    }

    async fn record_until(&mut self, end: Instant, story: &str) -> anyhow::Result<()> {
        while Instant::now() < end {
            let left = terminal::duration(end.saturating_duration_since(Instant::now()));
            self.tick(&format!("{story}, {left} to go")).await?;
        }
        Ok(())
    }

    async fn kill_and_say(&mut self) -> anyhow::Result<Kill> {
        let snapshots = self.tick("").await?;
        let kill = self.kill(&snapshots)?;
        self.live.say(&format!(
            "SIGKILL to the capture of {} (pid {}), with {} frames safe",
            kill.victim,
            kill.pid,
            terminal::thousands(kill.safe_frames)
        ));
        Ok(kill)
    }

    async fn wait_for_resume(&mut self, kill: &Kill) -> anyhow::Result<Duration> {
        loop {
            let snapshots =
                self.tick(&format!("{}'s capture is dead; the recorder brings it back", kill.victim)).await?;
            let now = snapshots.iter().find(|input| input.name == kill.victim).context("the victim is gone")?;
            if kill.is_over(now) {
                let after = kill.when.elapsed();
                self.front()?.witness.done(&format!("{} is safe again", now.name));
                self.live.say(&format!(
                    "{} goes on in the same session, pid {}, safe again {} after the kill",
                    now.name,
                    now.pid,
                    terminal::duration(after)
                ));
                return Ok(after);
            }
            if kill.when.elapsed() > INPUT_DEADLINE {
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
}

/// What came of the hold that stopped.
struct Stopped {
    /// When it began, since the panel is looked at.
    at: Duration,
    closed: Duration,
    armed: Duration,
}
