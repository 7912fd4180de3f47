//! `org.holdfast.Recorder1.Pressure`, on the recorder's main object. (The name of this file is not that of the pure core.)

use std::sync::Arc;

use zbus::interface;
use zbus::object_server::SignalEmitter;

use crate::facade::Facade;
use crate::gauge;
use crate::pressure::State;

/// How hard the box is pressed, on the bus.
pub struct Pressure {
    facade: Arc<Facade>,
}

impl Pressure {
    pub fn new(facade: Arc<Facade>) -> Self {
        Self { facade }
    }
}

/// What is shed, as on D-Bus.
pub fn shed(state: &State) -> Vec<&'static str> {
    state.shed.iter().map(|shed| shed.name()).collect()
}

#[interface(name = "org.holdfast.Recorder1.Pressure", introspection_docs = false)]
impl Pressure {
    #[zbus(property)]
    fn level(&self) -> &'static str {
        self.facade.pressure.borrow().level.name()
    }

    #[zbus(property)]
    fn causes(&self) -> Vec<&'static str> {
        gauge::names(&self.facade.pressure.borrow().causes)
    }

    #[zbus(property)]
    fn shed(&self) -> Vec<&'static str> {
        shed(&self.facade.pressure.borrow())
    }

    #[zbus(property)]
    fn bitrate_percent(&self) -> u32 {
        self.facade.pressure.borrow().bitrate_percent
    }

    #[zbus(signal)]
    pub async fn changed(
        emitter: &SignalEmitter<'_>,
        level: &str,
        causes: Vec<&str>,
        shed: Vec<&str>,
    ) -> zbus::Result<()>;
}
