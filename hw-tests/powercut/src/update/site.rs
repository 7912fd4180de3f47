//! The box of the story, and its fleet.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::updater::{OutcomeInfo, UpdaterProxy};
use holdfast_hawkbit_server::{Assignment, Manage, Server};
use holdfast_rauc_rig::{Plan, Rig, Wrap};
use rustix::process::Signal;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::process::{Guarded, go_on, tell};
use crate::station::{Programs, with_argument};

/// Of the updater, on the disk.
pub const STATE: &str = "updater";
/// What the box is called in the fleet.
pub const NAME: &str = "powercut";
/// For what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);
const IMAGE_BYTES: u64 = 2 << 20;

/// See the module.
pub struct Site {
    /// RAUC, its bus, slots and boot state.
    pub rig: Rig,
    /// The fleet's operator.
    pub manage: Manage,
    client: Connection,
    programs: Programs,
    directory: PathBuf,
    data: PathBuf,
    boots: u32,
    recorder: Option<Guarded>,
    updater: Option<Guarded>,
}

impl Site {
    /// `data`: the logged disk. `directory`: for what is not on it. `None`, told, where there can be no RAUC.
    ///
    /// # Errors
    /// Something can't be prepared.
    pub async fn prepare(
        programs: &Programs,
        server: &Server,
        directory: &Path,
        data: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let plan = Plan { directory: Some(data), ..Plan::default() };
        let Some(rig) = Rig::start(plan).await else { return Ok(None) };
        for name in ["root", "run", "state", "calm"] {
            fs::create_dir_all(directory.join(name))?;
        }
        fs::create_dir(data.join(STATE))?;
        let manage = server.manage();
        fs::write(directory.join("token"), manage.create_target(NAME).await?)?;
        let client = rig.connection().await;
        let site = Self {
            client,
            rig,
            manage,
            programs: programs.clone(),
            directory: directory.to_owned(),
            data: data.to_owned(),
            boots: 0,
            recorder: None,
            updater: None,
        };
        site.configure(&server.url())?;
        Ok(Some(site))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn configure(&self, fleet: &str) -> anyhow::Result<()> {
        let reboot = self.at("reboot");
        fs::write(&reboot, format!("#!/bin/sh\n: > {}\n", self.at("rebooting").display()))?;
        fs::set_permissions(&reboot, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let bus = self.rig.address();
        let recorder = format!(
            "[storage]\nroot = {:?}\nfilesystem = \"any\"\nwarn_percent = 98\nblock_percent = 99\nwarn_floor_mib = 0\n\
             start_floor_mib = 0\nstop_floor_mib = 0\nballast_mib = 0\n[recorder]\nbus = {bus:?}\nruntime_dir = {:?}\n\
             state_dir = {:?}\nsupervisor = \"spawn\"\ncapture_program = {:?}\n[protection]\nlease_grace_seconds = 0\n\
             [[input]]\nname = \"cam0\"\nsource = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\naudio = false\n\
             encoder = \"x264enc\"\n",
            self.at("root"),
            self.at("run"),
            self.at("state"),
            self.programs.path("holdfast-capture"),
        );
        fs::write(self.at("holdfast.toml"), recorder)?;
        let updater = format!(
            "[update]\nbus = {bus:?}\nstate_dir = {:?}\ntrial_seconds = 20\nprobe_seconds = 1\nretry_seconds = 1\n\
             attempts = 5\nkeep_free_mib = 16\ndownload_kib_per_second = 1024\nreboot_program = {reboot:?}\n\
             automatic = \"reboot\"\nfleet_url = {fleet:?}\nfleet_id = {NAME:?}\nfleet_token_file = {:?}\n\
             fleet_plain_http = true\n",
            self.data.join(STATE),
            self.at("token"),
        );
        Ok(fs::write(self.at("updater.toml"), updater)?)
    }

    /// Starts the recorder.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_recorder(&mut self) -> anyhow::Result<()> {
        let (config, calm) = (self.at("holdfast.toml"), self.at("calm"));
        self.recorder = Some(self.spawn("holdfast-recorder", &[("--config", &config), ("--proc", &calm)])?);
        Ok(())
    }

    /// The recorder and its captures are gone.
    ///
    /// # Errors
    /// A capture does not end.
    pub fn end_recorder(&mut self) -> anyhow::Result<()> {
        if let Some(mut recorder) = self.recorder.take() {
            recorder.end(Signal::KILL);
        }
        let config = self.at("holdfast.toml");
        crate::process::patiently("the captures have ended", || {
            let captures = with_argument(config.as_os_str().as_encoded_bytes());
            for pid in &captures {
                tell(*pid, Signal::KILL);
            }
            Ok(captures.is_empty().then_some(()))
        })
    }

    /// Starts the updater.
    ///
    /// # Errors
    /// It does not come to the bus.
    pub async fn start_updater(&mut self) -> anyhow::Result<()> {
        drop(fs::remove_file(self.at("rebooting")));
        fs::write(self.at("boot_id"), format!("boot-{}", self.boots))?;
        let (config, boot_id) = (self.at("updater.toml"), self.at("boot_id"));
        self.updater = Some(self.spawn("holdfast-updater", &[("--config", &config), ("--boot-id", &boot_id)])?);
        self.until("the updater", async |site| Ok(site.state().await.is_some())).await
    }

    /// The updater is gone, from one moment to the next.
    pub fn kill_updater(&mut self) {
        if let Some(mut updater) = self.updater.take() {
            updater.end(Signal::KILL);
        }
    }

    /// The box boots this slot.
    ///
    /// # Errors
    /// The updater does not come up.
    pub async fn boot_into(&mut self, slot: &str) -> anyhow::Result<()> {
        self.kill_updater();
        self.boots += 1;
        self.rig.boot_into(slot).await;
        self.start_updater().await
    }

    /// All but the bus and the server ends.
    ///
    /// # Errors
    /// Something does not.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.kill_updater();
        self.end_recorder()?;
        self.rig.kill_service();
        self.rig.unmount();
        Ok(())
    }

    /// The box would reboot.
    #[must_use]
    pub fn would_reboot(&self) -> bool {
        self.at("rebooting").exists()
    }

    /// An image and a bundle of it, the operator's: the image's file and the number of the set.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn release(&self, version: &str, seed: u64) -> anyhow::Result<(PathBuf, PathBuf, u64)> {
        let image = self.rig.image(version, IMAGE_BYTES, seed);
        let bundle = self.rig.bundle(version, &image, Wrap { version, ..Wrap::default() });
        let name = format!("holdfast-{version}.raucb");
        let set = self.manage.create_software(version, version, &[(&name, &fs::read(&bundle)?)]).await?;
        Ok((image, bundle, set))
    }

    /// The operator gives this set to the box, and the box looks. The number of the action.
    ///
    /// # Errors
    /// The server or the updater does not take it.
    pub async fn assign(&self, set: u64) -> anyhow::Result<u64> {
        let assignment = Assignment { controller_id: NAME, kind: "forced", window: None };
        let action = self.manage.assign(set, &assignment).await?;
        self.updater().await?.check(std::collections::HashMap::new()).await?;
        Ok(action)
    }

    /// How often the fleet was told an end of this action.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn told(&self, action: u64) -> anyhow::Result<usize> {
        let history = self.manage.history(NAME, action).await?;
        Ok(history.iter().filter(|(kind, _)| ["finished", "error", "canceled"].contains(&kind.as_str())).count())
    }

    async fn updater(&self) -> zbus::Result<UpdaterProxy<'static>> {
        UpdaterProxy::builder(&self.client).cache_properties(CacheProperties::No).build().await
    }

    /// What the updater does; `None`: it does not answer.
    pub async fn state(&self) -> Option<String> {
        self.updater().await.ok()?.state().await.ok()
    }

    /// How updates have ended, newest first.
    ///
    /// # Errors
    /// The updater does not answer.
    pub async fn outcomes(&self) -> anyhow::Result<Vec<OutcomeInfo>> {
        Ok(self.updater().await?.list_outcomes(std::collections::HashMap::new()).await?)
    }

    fn spawn(&self, program: &str, arguments: &[(&str, &Path)]) -> anyhow::Result<Guarded> {
        let log = File::options().create(true).append(true).open(self.at("log"))?;
        let mut command = Command::new(self.programs.path(program));
        for (name, value) in arguments {
            command.arg(name).arg(value);
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HOLDFAST_")) {
            command.env_remove(name);
        }
        Guarded::spawn(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))
    }

    /// Looks until it is so.
    ///
    /// # Errors
    /// It is not so in time, or the rig is to end.
    pub async fn until(&self, what: &str, look: impl AsyncFn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !look(self).await? {
            go_on()?;
            if began.elapsed() > PATIENCE {
                let said = fs::read_to_string(self.at("log")).unwrap_or_default();
                let lines: Vec<&str> = said.lines().collect();
                let last = lines[lines.len().saturating_sub(40)..].join("\n");
                bail!("waited in vain until {what}; last words:\n{last}\n{}", self.rig.log());
            }
            ticks.tick().await;
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // All of it goes with the namespace, too.
        let _ = self.end();
    }
}

/// Why there can be no fleet's server here, and with it no story.
///
/// # Errors
/// The server itself is not told of: that is the `String`.
pub fn server() -> Result<Server, String> {
    Server::start().map_err(|why| why.0)
}

/// The programs, the updater among them.
///
/// # Errors
/// One is missing.
pub fn programs(directory: &Path) -> anyhow::Result<Programs> {
    let programs = Programs::in_directory(directory)?;
    let updater = programs.path("holdfast-updater");
    updater.is_file().then_some(programs).with_context(|| format!("{} is not there: build it first", updater.display()))
}
