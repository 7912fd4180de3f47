//! `org.holdfast.Recorder1.Input`.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_dbus::{NO_OBJECT, session_path};
use zbus::interface;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

use crate::captures::InputView;
use crate::facade::{Facade, InputEntry};

/// An input's object.
pub struct Input {
    facade: Arc<Facade>,
    index: usize,
}

impl Input {
    /// The input at this place of the configuration.
    pub fn new(facade: Arc<Facade>, index: usize) -> Self {
        Self { facade, index }
    }

    fn entry(&self) -> &InputEntry {
        &self.facade.inputs[self.index]
    }

    fn see<T>(&self, look: impl FnOnce(&InputView) -> T) -> T {
        look(&self.entry().view.borrow())
    }
}

#[interface(name = "org.holdfast.Recorder1.Input", introspection_docs = false)]
impl Input {
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.entry().name
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn source(&self) -> &str {
        &self.entry().source
    }

    #[zbus(property)]
    fn state(&self) -> &'static str {
        self.see(|view| view.state.name())
    }

    #[zbus(property)]
    fn armed(&self) -> bool {
        self.see(|view| view.armed)
    }

    #[zbus(property)]
    fn encoder(&self) -> String {
        self.see(|view| view.encoder.clone())
    }

    #[zbus(property)]
    fn source_state(&self) -> &'static str {
        self.see(|view| view.source_state)
    }

    #[zbus(property)]
    fn source_error(&self) -> String {
        self.see(|view| view.error.clone())
    }

    #[zbus(property)]
    fn reachable(&self) -> &'static str {
        self.entry().reach.borrow().name()
    }

    #[zbus(property)]
    fn reach_error(&self) -> String {
        self.entry().reach.borrow().text().to_owned()
    }

    #[zbus(property)]
    fn session(&self) -> OwnedObjectPath {
        let none = || ObjectPath::from_static_str_unchecked(NO_OBJECT).into();
        self.see(|view| view.session.as_deref().map_or_else(none, session_path))
    }

    #[zbus(property)]
    fn safe_frames(&self) -> u64 {
        self.see(|view| view.tally.safe)
    }

    #[zbus(property)]
    fn safe_bytes(&self) -> u64 {
        self.see(|view| view.tally.safe_bytes)
    }

    #[zbus(property)]
    fn dropped(&self) -> HashMap<String, u64> {
        self.see(|view| view.tally.dropped.iter().map(|(reason, frames)| (reason.clone(), *frames)).collect())
    }

    #[zbus(property)]
    fn counts(&self) -> HashMap<String, u64> {
        self.see(|view| {
            let tally = &view.tally;
            let counts =
                [("source", tally.source), ("encoded", tally.encoded), ("muxed", tally.muxed), ("safe", tally.safe)];
            counts.into_iter().map(|(stage, frames)| (stage.to_owned(), frames)).collect()
        })
    }

    #[zbus(property)]
    fn restarts(&self) -> u32 {
        self.see(|view| view.restarts)
    }

    #[zbus(property)]
    fn pid(&self) -> u32 {
        self.see(|view| view.pid)
    }

    #[zbus(property)]
    fn current_file(&self) -> String {
        self.see(|view| view.current_file.clone())
    }

    #[zbus(property)]
    fn preroll_ms(&self) -> u32 {
        self.see(|view| view.preroll_ms)
    }

    #[zbus(property)]
    fn queue_bytes(&self) -> u64 {
        self.see(|view| view.queue_bytes)
    }

    #[zbus(property)]
    fn queue_capacity_bytes(&self) -> u64 {
        self.see(|view| view.queue_capacity_bytes)
    }

    #[zbus(property)]
    fn sync_usec(&self) -> u32 {
        self.see(|view| view.sync_us)
    }
}
