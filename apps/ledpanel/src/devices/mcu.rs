//! A microcontroller panel on a serial line: [`holdfast_link::panel`] says what is said, this says it.
//!
//! Two tasks in one: [`listen`] hears the panel and tells edges, [`talk`] shows frames. The first that fails ends both.
//! Which buttons are down outlives a run, so that a line that breaks and comes back leaves no button held for ever.

mod line;
mod listen;
mod presses;
mod shown;
mod talk;

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdfast_link::panel::{ToPanel, encode};

use super::{Device, DeviceError, Io};
use crate::model::{Button, Light};

/// Where the panel is, and which of its lights and buttons are which of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McuConfig {
    /// Its tty: `/dev/ttyACM0`, better `/dev/serial/by-id/…`, which stays the same.
    pub path: String,
    /// Bits per second, 8N1.
    pub baud: u32,
    /// The panel's light for each of ours. No two share one.
    pub lights: Vec<(Light, u8)>,
    /// The panel's button for each of ours. No two share one.
    pub buttons: Vec<(Button, u8)>,
    /// Write on its display.
    pub display: bool,
}

/// A line that takes nothing for so long is stuck.
const WRITE_DEADLINE: Duration = Duration::from_secs(1);

/// The panel.
#[derive(Debug)]
pub struct Mcu {
    config: McuConfig,
    /// The panel's buttons that were told to be down, bit *i* for index *i*.
    told: AtomicU16,
}

impl Mcu {
    /// As configured. Opens nothing yet.
    #[must_use]
    pub fn new(config: McuConfig) -> Self {
        Self { config, told: AtomicU16::new(0) }
    }

    async fn run(&self, io: Io) -> Result<Infallible, DeviceError> {
        let Io { mut frames, edges, works } = io;
        let config = &self.config;
        let (mut reader, mut writer) = tokio::io::split(line::open(config)?);
        let mut ear = listen::Ear::new(&mut reader, config);
        let met = ear.meet(&mut writer).await?;
        shown::check(config, &met.about)?;
        tracing::info!(path = config.path, name = met.about.name.as_str(), "the panel answers");
        works.send_replace(true);
        let presses = presses::Presses::new(config, &self.told, met.at_ns);
        // Whoever is dropped is between two frames or in the middle of one; the panel throws half a frame away.
        tokio::select! {
            end = ear.listen(presses, met.down, &edges) => end,
            end = talk::talk(config, &mut writer, &mut frames) => end,
        }
    }
}

impl Device for Mcu {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        Box::pin(self.run(io))
    }

    /// The panel does it by itself after a second of silence; this only makes it sooner.
    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        let path = &self.config.path;
        let frame = encode(&ToPanel::Fault).map_err(|error| line::broken(path, error))?;
        let mut port = line::builder(&self.config).open().map_err(|error| line::unopened(path, &error))?;
        port.write_all(&frame).map_err(|error| line::broken(path, error))
    }
}
