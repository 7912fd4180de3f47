//! Hearing the panel: its hello, its edges, its silence.

use std::convert::Infallible;
use std::time::Duration;

use holdfast_link::panel::{About, Decoder, FromPanel, SILENCE_MS, ToPanel, WireError, encode, refusal};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::presses::{Owed, Presses};
use super::talk::write;
use super::{McuConfig, line};
use crate::devices::DeviceError;
use crate::model::Edge;

/// A panel that starts anew when its port is opened (many do) has so long until it must have answered.
const HELLO_DEADLINE: Duration = Duration::from_secs(3);
/// It is asked again so often.
const ASK_EVERY: Duration = Duration::from_millis(250);
const SILENCE: Duration = Duration::from_millis(SILENCE_MS);

/// What the panel said of itself.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) about: About,
    /// Which of its buttons are down.
    pub(super) down: u16,
    /// When, monotonic.
    pub(super) at_ns: u64,
}

/// The hearing end of an open line.
#[derive(Debug)]
pub(super) struct Ear<'a, R> {
    reader: &'a mut R,
    config: &'a McuConfig,
    decoder: Decoder<FromPanel>,
    buffer: [u8; 256],
    /// What of the buffer is not read yet.
    rest: std::ops::Range<usize>,
    /// When the rest came, monotonic.
    came_ns: u64,
    /// What its line damages is told once in a run.
    damage_told: bool,
}

impl<'a, R: AsyncRead + Unpin> Ear<'a, R> {
    pub(super) fn new(reader: &'a mut R, config: &'a McuConfig) -> Self {
        let decoder = Decoder::default();
        Self { reader, config, decoder, buffer: [0; 256], rest: 0..0, came_ns: 0, damage_told: false }
    }

    /// Asks until the panel says what it is.
    pub(super) async fn meet(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<Met, DeviceError> {
        let path = &self.config.path;
        let hello = encode(&ToPanel::Hello).map_err(|error| line::broken(path, error))?;
        let deadline = Instant::now() + HELLO_DEADLINE;
        while Instant::now() < deadline {
            write(path, writer, &hello).await?;
            let again = deadline.min(Instant::now() + ASK_EVERY);
            // Other messages are those of a panel that talked to somebody before.
            while let Some(message) = self.hear(again).await? {
                match message {
                    Ok(FromPanel::Hello { about, down }) => return Ok(Met { about, down, at_ns: self.came_ns }),
                    Ok(FromPanel::Edge { .. } | FromPanel::Heartbeat { .. }) => {}
                    Err(other) => {
                        write(path, writer, &refusal()).await?;
                        return Err(other);
                    }
                }
            }
        }
        let what = format!("the panel on {path} does not answer within {} s{}", HELLO_DEADLINE.as_secs(), self.noise());
        Err(DeviceError::new(what, "Check that the panel is on this port, its power, its baud rate and its firmware"))
    }

    /// Tells edges until the panel is silent, gone or another.
    pub(super) async fn listen(
        &mut self,
        mut presses: Presses<'_>,
        down: u16,
        edges: &mpsc::Sender<Edge>,
    ) -> Result<Infallible, DeviceError> {
        let mut heard_ns = self.came_ns;
        self.tell(&mut presses, down_now(down), heard_ns, edges).await?;
        let mut errors_before = None;
        loop {
            let Some(message) = self.hear(Instant::now() + SILENCE).await? else {
                let what = format!("the panel on {} is silent{}", self.config.path, self.noise());
                return Err(DeviceError::new(what, "Check its cable, its power and its firmware"));
            };
            let message = message?;
            if let FromPanel::Heartbeat { errors, .. } = message {
                self.watch_line(errors, *errors_before.get_or_insert(errors));
            }
            self.tell(&mut presses, message, heard_ns, edges).await?;
            heard_ns = self.came_ns;
        }
    }

    async fn tell(
        &self,
        presses: &mut Presses<'_>,
        message: FromPanel,
        heard_ns: u64,
        edges: &mpsc::Sender<Edge>,
    ) -> Result<(), DeviceError> {
        let owed: Vec<Owed> = match message {
            FromPanel::Edge { button, pressed, age_us } => {
                presses.edge(button, pressed, age_us, self.came_ns, heard_ns)
            }
            FromPanel::Hello { down, .. } | FromPanel::Heartbeat { down, .. } => presses.state(down, self.came_ns),
        };
        for owed in owed {
            if edges.send(owed.edge.clone()).await.is_err() {
                return Err(DeviceError::new(
                    "nobody takes what the buttons say any more",
                    "The panel program is ending",
                ));
            }
            presses.told(&owed);
        }
        Ok(())
    }

    /// The next message. `None`: there was none until `deadline`, whatever noise there was. An inner error: it speaks
    /// another version.
    async fn hear(&mut self, deadline: Instant) -> Result<Option<Result<FromPanel, DeviceError>>, DeviceError> {
        let path = &self.config.path;
        loop {
            for at in self.rest.by_ref() {
                let Some(heard) = self.buffer.get(at).and_then(|byte| self.decoder.feed(*byte)) else { continue };
                match heard {
                    Ok(message) => return Ok(Some(Ok(message))),
                    Err(WireError::Version { theirs } | WireError::RefusedByPeer { theirs }) => {
                        return Ok(Some(Err(another(path, theirs))));
                    }
                    // Counted by the decoder.
                    Err(_) => {}
                }
            }
            // Noise that never ends must not keep us here.
            if Instant::now() >= deadline {
                return Ok(None);
            }
            match timeout_at(deadline, self.reader.read(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(line::broken(path, "it was hung up")),
                Ok(Ok(length)) => self.rest = 0..length,
                Ok(Err(error)) => return Err(line::broken(path, error)),
                Err(_) => return Ok(None),
            }
            self.came_ns = monotonic_ns();
        }
    }

    /// Says once that the line damages what it carries.
    fn watch_line(&mut self, errors: u32, errors_before: u32) {
        let (ours, theirs) = (self.decoder.thrown().total(), errors.saturating_sub(errors_before));
        if !self.damage_told && (ours > 0 || theirs > 0) {
            self.damage_told = true;
            tracing::warn!(path = self.config.path, ours, theirs, "frames to or from the panel come damaged");
        }
    }

    /// What was heard that was no message, for people.
    fn noise(&self) -> String {
        match self.decoder.thrown().total() {
            0 => String::new(),
            thrown => format!(" ({thrown} times something came that is no message)"),
        }
    }
}

fn down_now(down: u16) -> FromPanel {
    FromPanel::Heartbeat { errors: 0, down }
}

fn another(path: &str, theirs: u8) -> DeviceError {
    let ours = holdfast_link::panel::PANEL_VERSION;
    DeviceError::new(
        format!("the panel on {path} speaks version {theirs} of the panel messages, this program speaks {ours}"),
        "Install panel program and firmware of the same release",
    )
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
