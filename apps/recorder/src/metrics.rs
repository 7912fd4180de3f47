//! Figures for machines, in OpenMetrics text: written to a file for node_exporter's textfile collector, and told to whoever connects
//! to a Unix socket. Nothing listens on the network.
//!
//! `docs/metrics.md` has the table; a test holds it to what is told here.

mod collect;
mod observed;
mod process;
mod tell;

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing::error;

pub use observed::Observed;
pub use tell::{serve, write_file};

use crate::facade::Facade;
use collect::Collected;

/// Before all names.
const PREFIX: &str = "holdfast";

/// All figures. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// Figures about this recorder.
    pub fn new(facade: &Arc<Facade>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("build", "What runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        facade.observed.register(&mut registry);
        registry.register_collector(Box::new(Collected::new(Arc::clone(facade))));
        Self { registry: Arc::new(registry) }
    }

    /// As of now.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        if text::encode(&mut text, &self.registry).is_err() {
            // A half text would be taken for the whole.
            error!("the metrics can't be told");
            text.clear();
        }
        text
    }
}
