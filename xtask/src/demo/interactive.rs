//! The demo by hand: the terminal is the panel's, and its keys press real buttons.

use std::path::PathBuf;

use anyhow::{Context, bail};
use holdfast_dbus::{ListOptions, SessionProxy, StopOptions};

use super::keys::{Kept, Key, Keys};
use super::report::{Told, from_here};
use super::{Demo, Kill, Session};
use crate::panel::{RECORD, Wiring};
use crate::terminal;

/// A button that does nothing for the panel; whoever hears of it kills a capture.
const KILL: &str = "kill-capture";
/// What keys do in the panel.
const HELP: [(&str, &str); 5] = [
    ("space, r", "the record button. Short: records; while it does, sets a mark. Held for 1.5 s: stops"),
    ("s", "holds the record button for you, in terminals that don't tell when a key is let go (most)"),
    ("m", "sets a mark"),
    ("k", "kills the capture that writes the footage (SIGKILL); see how the lights tell it"),
    ("q", "ends the demo, and a recording too; then every frame is accounted for"),
];

impl Demo<'_> {
    /// The panel until q.
    pub(super) async fn interactive(&mut self) -> anyhow::Result<(Vec<Session>, Told)> {
        let kept = Kept::now();
        if !self.until_wanted().await? {
            return Ok((Vec::new(), Told::default()));
        }
        let buttons = format!("[[button]]\nname = \"mark\"\nshort = \"mark\"\n[[button]]\nname = \"{KILL}\"\n");
        let keys = [(RECORD, 'r'), ("mark", 'm'), (KILL, 'k')].map(|(name, key)| (name.to_owned(), key)).to_vec();
        let wiring = Wiring { buttons, lights: self.lights(), keys: Some(keys), ..Wiring::default() };
        self.start_panel(&wiring).await?;
        let ended = self.follow_panel().await;
        // Before anything is said: until then the screen is the panel's.
        let history = self.front.take().map(|front| front.witness.history()).unwrap_or_default();
        if !ended.as_ref().is_ok_and(|status| status.success()) {
            kept.leave_screen();
        }
        drop(kept);
        let status = ended?;
        if !status.success() {
            bail!("the panel has ended: {status}; logs/panel.log says why, then start the demo again");
        }
        self.end_recording().await?;
        Ok((self.sessions().await?, Told { history, alerts: self.alerts().await?, figures: None }))
    }

    /// Says what keys do, and waits until somebody wants the panel. `false`: to end.
    async fn until_wanted(&mut self) -> anyhow::Result<bool> {
        let holdfast = from_here(&self.programs.path("holdfast"));
        let config = from_here(&self.directory.path().join("holdfast.toml"));
        let victim = self.sources.victim.clone();
        let address = self.rig.place().address.clone();
        let path = holdfast_dbus::input_path(&victim);
        self.live.say("keys of the panel:");
        for (keys, what) in HELP {
            self.live.line(&format!("    {keys:<9} {what}"));
        }
        self.live.say("from a second terminal, the panel being in this one:");
        self.live.line(&format!("    watch     {holdfast} --config {config} watch"));
        self.live.line(&format!(
            "    kill      kill -KILL $(busctl --address={address} get-property org.holdfast.Recorder1 {path} \
             org.holdfast.Recorder1.Input Pid | cut -c3-)"
        ));
        let keys = Keys::listen()?;
        loop {
            self.tick("armed · Enter shows the panel, q ends").await?;
            match keys.pressed() {
                None => {}
                Some(Key::GoOn) => {
                    self.live.end();
                    return Ok(true);
                }
                Some(Key::Quit) => return Ok(false),
            }
        }
    }

    /// Looks on while the panel has the terminal; returns how it has ended.
    async fn follow_panel(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let mut killed: Option<Kill> = None;
        loop {
            let snapshots = self.look().await?;
            let front = self.front.as_mut().context("there is no panel")?;
            if let Some(status) = front.panel.ended()? {
                return Ok(status);
            }
            let wanted = front.witness.pressed(KILL);
            let Some(victim) = snapshots.iter().find(|input| input.name == self.sources.victim) else { continue };
            if killed.take_if(|kill| kill.is_over(victim)).is_some() {
                front.witness.done(&format!("{} is safe again", victim.name));
            }
            // There may be none just now: it is being brought back.
            if wanted && victim.pid != 0 && victim.state == "recording" {
                // It may have ended in this moment.
                killed = self.kill(&snapshots).ok();
            }
        }
    }

    /// Whoever quits while it records means that too.
    async fn end_recording(&mut self) -> anyhow::Result<()> {
        if !matches!(self.recorder.state().await?.as_str(), "starting" | "recording" | "stopping") {
            return Ok(());
        }
        let totals = self.recorder.stop(StopOptions::default()).await.context("Stop was refused")?;
        terminal::step(&format!("stopped: {} frames are durable", terminal::thousands(totals.safe_frames)));
        if !totals.incomplete.is_empty() {
            bail!("these inputs did not answer to Stop: {}", totals.incomplete.join(", "));
        }
        Ok(())
    }

    /// All that was recorded, the oldest first.
    async fn sessions(&self) -> anyhow::Result<Vec<Session>> {
        let listed = self.recorder.list_sessions(ListOptions { limit: Some(1000), before: None }).await?;
        let mut sessions = Vec::new();
        for info in listed.into_iter().rev() {
            let path = holdfast_dbus::session_path(&info.id);
            let proxy = SessionProxy::builder(self.rig.connection()).path(path)?.build().await?;
            sessions.push(Session { path: PathBuf::from(proxy.path().await?), id: info.id });
        }
        Ok(sessions)
    }
}
