//! Sees what the panel tells on the bus, in the moment in which it does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use holdfast_dbus::panel::{LightInfo, PANEL_BUS_NAME, PANEL_PATH, PanelProxy};
use tokio::task::JoinHandle;
use zbus::fdo::{PropertiesChanged, PropertiesProxy};
use zbus::proxy::CacheProperties;

use super::lights::History;
use crate::panel::Panel;
use crate::rig::Rig;

/// More presses than this are not kept for whoever asks: nobody does.
const PRESSES: usize = 16;

/// Sees until it is dropped.
pub struct Witness {
    began: Instant,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    history: History,
    /// Buttons that were pressed shortly, and that nobody has asked for yet.
    presses: Vec<String>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Witness {
    pub async fn begin(rig: &Rig, panel: &Panel) -> anyhow::Result<Self> {
        let properties = PropertiesProxy::builder(rig.connection())
            .destination(PANEL_BUS_NAME)?
            .path(PANEL_PATH)?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let proxy = PanelProxy::builder(rig.connection()).cache_properties(CacheProperties::No).build().await?;
        // Every signal, not only the newest value: an answer to a button lasts no longer than a blink.
        let mut changes =
            properties.receive_properties_changed().await.context("the panel's lights can't be watched")?;
        let mut pressed = proxy.receive_button_pressed().await.context("the panel's buttons can't be watched")?;
        let (began, seen) = (Instant::now(), Arc::new(Mutex::new(Seen::default())));
        for light in panel.lights().await? {
            lock(&seen).history.tells(Duration::ZERO, &light.name, &light.condition);
        }
        let sees = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(change) = changes.next() => {
                        let at = began.elapsed();
                        let history = &mut lock(&sees).history;
                        for light in lights_of(&change).unwrap_or_default() {
                            history.tells(at, &light.name, &light.condition);
                        }
                    }
                    Some(press) = pressed.next() => {
                        let at = began.elapsed();
                        let Ok(args) = press.args() else { continue };
                        let mut sees = lock(&sees);
                        sees.history.done(at, &format!("understood: {}, {} press", args.button, args.gesture));
                        if args.gesture == "short" && sees.presses.len() < PRESSES {
                            sees.presses.push(args.button.clone());
                        }
                    }
                    else => return,
                }
            }
        });
        Ok(Self { began, seen, task })
    }

    /// Since it looks.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes what was done.
    pub fn done(&self, what: &str) -> Duration {
        let at = self.now();
        lock(&self.seen).history.done(at, what);
        at
    }

    /// Notes what of an input is safe now.
    pub fn safe(&self, input: &str, frames: u64) {
        lock(&self.seen).history.safe(self.now(), input, frames);
    }

    /// What a light tells now.
    pub fn tells(&self, light: &str) -> String {
        lock(&self.seen).history.now(light).to_owned()
    }

    /// Whether this button was pressed shortly since this was asked last.
    pub fn pressed(&self, button: &str) -> bool {
        let presses = &mut lock(&self.seen).presses;
        let before = presses.len();
        presses.retain(|pressed| pressed != button);
        presses.len() < before
    }

    pub fn history(&self) -> History {
        lock(&self.seen).history.clone()
    }
}

/// What all lights tell, if that is what has changed.
fn lights_of(change: &PropertiesChanged) -> Option<Vec<LightInfo>> {
    let args = change.args().ok()?;
    let lights = args.changed_properties().get("Lights")?.try_to_owned().ok()?;
    Vec::try_from(lights).ok()
}

/// Whoever held it did nothing that could leave it half done.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
