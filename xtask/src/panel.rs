//! The real front panel beside a rig: on the rig's bus, with LEDs that are files, or in this terminal.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::panel::{LightInfo, PanelProxy};
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedValue;

use crate::process::Guarded;
use crate::rig::{PANEL_CONFIG, Rig, quoted};
use crate::workspace::Programs;

/// The button that every panel has.
pub const RECORD: &str = "record";
/// Longer than a hold has to be, which is 1.5 s where nothing else is configured.
pub const HOLD_MS: u32 = 1_700;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a light is looked at: figures are as fine as this.
const LOOK: Duration = Duration::from_micros(500);
const LOG: &str = "panel.log";

/// What goes into `panel.toml` beside the bus.
#[derive(Debug, Default)]
pub struct Wiring {
    /// Lines of `[panel]`.
    pub panel: Vec<String>,
    /// The tables `[[button]]`, as TOML.
    pub buttons: String,
    /// Names of lights.
    pub lights: Vec<String>,
    /// Buttons and their keys in the terminal. `None`: there is no terminal, each light is an LED in a directory of our
    /// own, and buttons are pressed over D-Bus.
    pub keys: Option<Vec<(String, char)>>,
}

/// A running panel.
#[derive(Debug)]
pub struct Panel {
    process: Guarded,
    proxy: PanelProxy<'static>,
    /// Files as the kernel's LED class has them.
    leds: tempfile::TempDir,
    log: PathBuf,
}

impl Panel {
    /// Starts it; it need not have found the recorder yet.
    pub async fn start(programs: &Programs, rig: &Rig, directory: &Path, wiring: &Wiring) -> anyhow::Result<Self> {
        let leds = tempfile::Builder::new().prefix("holdfast-leds-").tempdir().context("no temporary directory")?;
        for light in &wiring.lights {
            let led = leds.path().join(light);
            std::fs::create_dir_all(&led).context("no directory for lights")?;
            for (file, text) in [("brightness", "0"), ("max_brightness", "255"), ("trigger", "[none]")] {
                std::fs::write(led.join(file), text).context("no files for lights")?;
            }
        }
        let config = directory.join(PANEL_CONFIG);
        std::fs::write(&config, toml(wiring, &rig.place().address)?)
            .with_context(|| format!("{} can't be written", config.display()))?;
        let log = rig.place().logs.join(LOG);
        let file = std::fs::File::create(&log).with_context(|| format!("{} can't be made", log.display()))?;
        let mut command = Command::new(programs.path("holdfast-panel"));
        command.arg("--config").arg(&config).arg("--leds").arg(leds.path());
        let process = if wiring.keys.is_some() {
            Guarded::spawn_in_front(command.stderr(file))?
        } else {
            Guarded::spawn(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file))?
        };
        let proxy = PanelProxy::builder(rig.connection()).cache_properties(CacheProperties::No).build().await?;
        Ok(Self { process, proxy, leds, log })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.child().try_wait()?)
    }

    /// An error with its last words if it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        self.process.must_run().with_context(|| self.last_words())
    }

    /// Presses a button as a finger does; returns when it is up again.
    pub async fn press(&self, button: &str, hold_ms: u32) -> anyhow::Result<()> {
        self.finger(button, hold_ms).await
    }

    /// The same for whoever has something else to do meanwhile.
    pub fn finger(&self, button: &str, hold_ms: u32) -> impl Future<Output = anyhow::Result<()>> + Send + use<> {
        let (proxy, button) = (self.proxy.clone(), button.to_owned());
        let options = HashMap::from([("hold_ms".to_owned(), OwnedValue::from(hold_ms))]);
        async move { proxy.press_button(&button, options).await.with_context(|| format!("{button} can't be pressed")) }
    }

    /// Whether the LED of a light is on in this moment.
    pub fn is_lit(&self, light: &str) -> bool {
        let brightness = std::fs::read_to_string(self.leds.path().join(light).join("brightness"));
        brightness.is_ok_and(|text| text.trim() != "0" && !text.is_empty())
    }

    /// What all lights tell.
    pub async fn lights(&self) -> anyhow::Result<Vec<LightInfo>> {
        self.proxy.lights().await.context("the panel does not say what its lights tell")
    }

    /// What the record light tells.
    pub async fn tells(&self) -> String {
        let lights = self.proxy.lights().await.unwrap_or_default();
        lights.into_iter().find(|light| light.name == RECORD).map(|light| light.condition).unwrap_or_default()
    }

    pub async fn until_heard(&self) -> anyhow::Result<()> {
        let heard = until("a panel that hears the recorder", async || self.proxy.recorder_present().await == Ok(true));
        heard.await.with_context(|| self.last_words())
    }

    /// Returns once it hears the recorder and all that it is wired to works.
    pub async fn until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.must_run()?;
            let devices = self.proxy.devices().await.unwrap_or_default();
            if let Some(broken) = devices.iter().find(|device| !device.error.is_empty()) {
                bail!("the panel's device {} does not work: {}", broken.name, broken.error);
            }
            if !devices.is_empty() && devices.iter().all(|device| device.works) {
                return self.until_heard().await;
            }
            if Instant::now() > deadline {
                bail!("the panel was not there within {} s; {}", PATIENCE.as_secs(), self.last_words());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The end of its log, and where the rest is.
    pub fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let warned = said.lines().rfind(|line| line.contains(" WARN ") || line.contains("ERROR "));
        let last = warned.or(said.lines().last()).unwrap_or("nothing");
        format!("the panel's last words ({}): {last}", self.log.display())
    }
}

/// Returns once it holds; an error if it takes too long.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds().await {
        if began.elapsed() > PATIENCE {
            bail!("waited in vain for {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn toml(wiring: &Wiring, address: &str) -> anyhow::Result<String> {
    let mut text = String::from("# Made by cargo xtask.\n");
    writeln!(text, "[panel]\nbus = {}\nallow_press_button = true", quoted(Path::new(address))?)?;
    for line in &wiring.panel {
        writeln!(text, "{line}")?;
    }
    text += &wiring.buttons;
    let kind = if wiring.keys.is_some() { "terminal" } else { "leds" };
    writeln!(text, "[[device]]\nname = \"front\"\nkind = \"{kind}\"")?;
    for (button, key) in wiring.keys.iter().flatten() {
        writeln!(text, "[[device.button]]\nbutton = \"{button}\"\nkey = \"{key}\"")?;
    }
    for light in &wiring.lights {
        writeln!(text, "[[device.light]]\nlight = \"{light}\"")?;
        if wiring.keys.is_none() {
            writeln!(text, "led = \"{light}\"")?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Wiring, toml};

    #[test]
    fn lights_are_leds_where_there_is_no_terminal() {
        let lights = vec!["record".to_owned()];
        let text = toml(&Wiring { lights, ..Wiring::default() }, "unix:path=/run/bus").unwrap();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["panel"]["bus"].as_str(), Some("unix:path=/run/bus"));
        assert_eq!(read["device"][0]["kind"].as_str(), Some("leds"));
        assert_eq!(read["device"][0]["light"][0]["led"].as_str(), Some("record"));
        assert!(read["device"][0].get("button").is_none());
    }

    #[test]
    fn keys_are_buttons_in_the_terminal() {
        let wiring = Wiring {
            panel: vec!["mark_text = \"here\"".to_owned()],
            buttons: "[[button]]\nname = \"kill\"\n".to_owned(),
            lights: vec!["record".to_owned(), "status".to_owned()],
            keys: Some(vec![("record".to_owned(), 'r'), ("kill".to_owned(), 'k')]),
        };
        let read: toml::Table = toml(&wiring, "unix:path=/run/bus").unwrap().parse().unwrap();
        assert_eq!(read["panel"]["mark_text"].as_str(), Some("here"));
        assert_eq!(read["button"][0]["name"].as_str(), Some("kill"));
        let device = &read["device"][0];
        assert_eq!(device["kind"].as_str(), Some("terminal"));
        assert_eq!(
            (device["button"][1]["button"].as_str(), device["button"][1]["key"].as_str()),
            (Some("kill"), Some("k"))
        );
        assert_eq!(device["light"].as_array().map(Vec::len), Some(2));
        assert!(device["light"][0].get("led").is_none());
    }
}
