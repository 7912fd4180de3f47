//! Remote I/O on Modbus, over TCP or a serial line (RTU): buttons on its inputs, lights on its outputs.
//!
//! We are the master and ask: no port is ever opened for others. Buttons are read every [`ModbusConfig::poll_ms`],
//! neighbours in one request. A press is known only between two answers; its time is the middle between the asking of
//! the last poll that saw the old state and the answer of the first that saw the new one. Lights are written when what
//! they show changes, and all of them every second, so that a module which lost its power shows the right thing again.
//!
//! What a module says when it is first asked is no press: a button that is down then counts once it has been up. One
//! that was told to be down before the connection was lost, and is up now, is told to be up.
//!
//! Three requests in a row without a good answer, or a connection that is closed, end the run; whoever runs it tries
//! again. What a module refuses (no such address) ends it at once, with the key in the configuration that asks for it.

mod ask;
mod link;
mod map;
mod work;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::map::Map;
use super::{Device, DeviceError, Io};
use crate::model::{Button, Frame, Light, Part};

/// How long the lights may take to be left in fault: connecting, and then writing.
const FAREWELL: Duration = Duration::from_millis(500);

/// One module, and what is wired to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusConfig {
    /// What it is called in `panel.toml`.
    pub name: String,
    /// How to get there.
    pub transport: Transport,
    /// Its unit id (slave address). Modules that are no gateway and speak TCP mostly take any.
    pub unit: u8,
    /// Buttons are read this often. More than 20 ms is felt.
    pub poll_ms: u64,
    /// A request is given up after this.
    pub timeout_ms: u64,
    /// The buttons.
    pub buttons: Vec<ButtonPoint>,
    /// The lights. One with several colours has a point for each part.
    pub lights: Vec<LightPoint>,
    /// The buzzer: a coil, or a register that gets 0 or 1.
    pub buzzer: Option<Point>,
}

impl ModbusConfig {
    /// With nothing wired to it yet, polled every 20 ms, given up after 200 ms.
    #[must_use]
    pub fn new(name: impl Into<String>, transport: Transport, unit: u8) -> Self {
        let (buttons, lights) = (vec![], vec![]);
        Self { name: name.into(), transport, unit, poll_ms: 20, timeout_ms: 200, buttons, lights, buzzer: None }
    }
}

impl fmt::Display for ModbusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Modbus {:?} at {}, unit {}", self.name, self.transport, self.unit)
    }
}

/// How to get to a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Modbus TCP. The usual port is 502.
    Tcp {
        /// Name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Modbus RTU on a serial line, mostly RS-485; 8 data bits, as RTU must have.
    Rtu {
        /// The tty, best by its lasting name: `/dev/serial/by-id/…`.
        path: PathBuf,
        /// Bits per second. At 9600 a poll takes about 20 ms.
        baud: u32,
        /// As the module is set.
        parity: Parity,
        /// As the module is set.
        stop_bits: StopBits,
    },
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Rtu { path, baud, parity, stop_bits } => {
                write!(f, "{} ({baud} 8{parity}{stop_bits})", path.display())
            }
        }
    }
}

/// The parity bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// There is none.
    #[default]
    None,
    /// As the standard has it.
    Even,
    /// Rare.
    Odd,
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "N",
            Self::Even => "E",
            Self::Odd => "O",
        })
    }
}

/// How many stop bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopBits {
    /// One.
    #[default]
    One,
    /// Two: the standard's way without parity.
    Two,
}

impl fmt::Display for StopBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "1",
            Self::Two => "2",
        })
    }
}

/// One bit or register of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// In which table it is.
    pub kind: PointKind,
    /// As it goes over the wire, from 0. Manuals often count from 1, or write 10001 for discrete input 0.
    pub address: u16,
    /// Off is 1, or the full level.
    pub active_low: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.address)
    }
}

/// The tables of a module that a panel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointKind {
    /// A bit to be read: a button.
    DiscreteInput,
    /// A bit to be read and written: a light, or a button where a module has its inputs there.
    Coil,
    /// 16 bits to be read and written: a light with brightness.
    HoldingRegister,
}

impl fmt::Display for PointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiscreteInput => "discrete input",
            Self::Coil => "coil",
            Self::HoldingRegister => "holding register",
        })
    }
}

/// Where a button is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ButtonPoint {
    /// Which one.
    pub button: Button,
    /// A discrete input or a coil.
    pub point: Point,
}

/// Where a light is, or one colour of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightPoint {
    /// Which one.
    pub light: Light,
    /// A coil, which is on at any level but 0, or a holding register.
    pub point: Point,
    /// For a light with several colours: which part this is. `None`: the whole light, whatever its colour.
    pub part: Option<Part>,
    /// What a register gets at full brightness; the rest is in proportion.
    pub full: u16,
}

/// A module that is polled and written to.
#[derive(Debug)]
pub struct Modbus {
    config: ModbusConfig,
    map: Map,
    fault: Frame,
    /// What was last told of each button. Outlives a connection, so that a button can come up that went down before it
    /// was lost.
    told: Mutex<BTreeMap<Button, bool>>,
}

impl Modbus {
    /// With what its lights are left in when nobody drives them any more.
    ///
    /// # Errors
    /// The configuration can't be meant, with the key that is wrong.
    pub fn new(config: ModbusConfig, fault: Frame) -> Result<Self, DeviceError> {
        let map = Map::new(&config)?;
        Ok(Self { config, map, fault, told: Mutex::default() })
    }
}

impl Device for Modbus {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        Box::pin(work::run(self, io))
    }

    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        let farewell = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime =
                runtime.map_err(|error| DeviceError::new(format!("{}: {error}", self.config), "Try again"))?;
            let left = runtime.block_on(work::leave_in_fault(self, FAREWELL));
            // A name that is still being looked up must not hold us.
            runtime.shutdown_background();
            left
        };
        // A thread of its own: the caller may be inside a runtime, which another must not be started in.
        let died = |_| Err(DeviceError::new(format!("{}: leaving it in fault failed", self.config), "Report it"));
        thread::scope(|scope| scope.spawn(farewell).join().unwrap_or_else(died))
    }
}
