//! The work with an open link: poll, tell edges, write what changes.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_modbus::ExceptionCode;
use tracing::{debug, warn};

use super::ask::{is_final, read_range, write_range};
use super::link::{Failure, Link};
use super::map::{Range, Wired};
use super::{Modbus, Transport};
use crate::clock;
use crate::devices::{DeviceError, Io};
use crate::model::{Button, Edge, Frame};

/// Connecting is given up after this.
const CONNECT: Duration = Duration::from_secs(1);
/// All lights are written this often: a module that had no power shows the right thing again.
const REFRESH: Duration = Duration::from_secs(1);
/// So many requests in a row may fail before the link is given up.
const STRIKES: u32 = 3;

/// Opens the link and works until it fails.
pub async fn run(modbus: &Modbus, io: Io) -> Result<Infallible, DeviceError> {
    let link = Link::open(&modbus.config, CONNECT).await.map_err(|error| modbus.unreachable(&error))?;
    let map = &modbus.map;
    let seen = map.reads.iter().map(|range| vec![None; range.points.len()]).collect();
    let session = Session {
        modbus,
        link,
        io,
        polls: vec![Poll::default(); map.reads.len()],
        seen,
        shown: vec![None; map.writes.len()],
        singly: vec![false; map.writes.len()],
        strikes: 0,
    };
    session.work().await
}

/// Shows the fault frame once.
pub async fn leave_in_fault(modbus: &Modbus, within: Duration) -> Result<(), DeviceError> {
    if modbus.map.writes.is_empty() {
        return Ok(());
    }
    let late = |_| DeviceError::new(format!("{}: its lights took too long", modbus.config), modbus.remedy());
    let mut link =
        timeout(within, Link::open(&modbus.config, within)).await.map_err(late)?.map_err(|e| modbus.unreachable(&e))?;
    let write = async {
        for range in &modbus.map.writes {
            let values = range.points.iter().map(|output| output.value(&modbus.fault)).collect::<Vec<_>>();
            write_range(&mut link, range, &values, &mut false).await.map_err(|f| modbus.failed(range, &f, ""))?;
        }
        Ok(())
    };
    timeout(within, write).await.map_err(late)?
}

/// How the polls of one range go.
#[derive(Debug, Clone, Copy, Default)]
struct Poll {
    /// When the last good one was asked, monotonic nanoseconds.
    asked_ns: u64,
    strikes: u32,
}

struct Session<'a> {
    modbus: &'a Modbus,
    link: Link<'a>,
    io: Io,
    polls: Vec<Poll>,
    /// By range and point: was it down at the last poll?
    seen: Vec<Vec<Option<bool>>>,
    /// What the module is known to show, by range.
    shown: Vec<Option<Vec<u16>>>,
    /// Ranges whose module can't write several at once (or one by itself).
    singly: Vec<bool>,
    /// Requests in a row that failed, of any kind.
    strikes: u32,
}

impl Session<'_> {
    async fn work(mut self) -> Result<Infallible, DeviceError> {
        let mut poll = interval(Duration::from_millis(self.modbus.config.poll_ms));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frame = self.io.frames.borrow_and_update().clone();
        let mut works = false;
        loop {
            let pending = self.shown.iter().any(Option::is_none);
            let polls = !self.modbus.map.reads.is_empty();
            tokio::select! {
                changed = self.io.frames.changed() => {
                    changed.map_err(|_| self.ending())?;
                    frame = self.io.frames.borrow_and_update().clone();
                    self.show(&frame).await?;
                }
                _ = refresh.tick() => {
                    self.shown.fill(None);
                    self.show(&frame).await?;
                }
                _ = poll.tick(), if polls || pending => {
                    let answered = self.poll().await?;
                    if pending {
                        self.show(&frame).await?;
                    }
                    if answered && !works && self.shown.iter().all(Option::is_some) {
                        works = true;
                        self.io.works.send_replace(true);
                    }
                }
            }
        }
    }

    /// Reads all buttons and tells what changed. `false`: not every range answered.
    async fn poll(&mut self) -> Result<bool, DeviceError> {
        let modbus = self.modbus;
        let mut all = true;
        for (n, range) in modbus.map.reads.iter().enumerate() {
            let asked_ns = clock::mono_ns();
            match read_range(&mut self.link, range.kind, range.start, range.count()).await {
                Ok(bits) => {
                    let at_ns = self.polls[n].asked_ns.midpoint(clock::mono_ns());
                    self.polls[n] = Poll { asked_ns, strikes: 0 };
                    self.strikes = 0;
                    for (point, (input, bit)) in range.points.iter().zip(bits).enumerate() {
                        let pressed = bit != input.point.active_low;
                        let before = self.seen[n][point].replace(pressed);
                        if before != Some(pressed) {
                            self.changed(&input.button, before, pressed, at_ns).await?;
                        }
                    }
                }
                Err(failure) => {
                    all = false;
                    self.polls[n].strikes += 1;
                    let strikes = self.polls[n].strikes;
                    self.strike(range, failure, strikes).await?;
                }
            }
        }
        Ok(all)
    }

    /// A button is not what it was at the last poll, or this is the first.
    async fn changed(
        &mut self,
        button: &Button,
        before: Option<bool>,
        pressed: bool,
        at_ns: u64,
    ) -> Result<(), DeviceError> {
        let told = self.modbus.told(button);
        if before.is_none() && pressed && !told {
            warn!(device = %self.modbus.config.name, %button, "is down already: counts once it has been up");
        }
        // The first answer has no poll before it to be halfway from.
        let at_ns = if before.is_none() { clock::mono_ns() } else { at_ns };
        let is_edge = if pressed { before == Some(false) } else { told };
        if is_edge {
            let edge = Edge { button: button.clone(), pressed, at_ns };
            self.io.edges.send(edge).await.map_err(|_| self.ending())?;
            self.modbus.tell(button, pressed);
        }
        Ok(())
    }

    /// Writes what the module does not show yet.
    async fn show(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        let modbus = self.modbus;
        for (n, range) in modbus.map.writes.iter().enumerate() {
            let values = range.points.iter().map(|output| output.value(frame)).collect::<Vec<_>>();
            if self.shown[n].as_ref() == Some(&values) {
                continue;
            }
            // Until it has said so, nobody knows what it shows.
            self.shown[n] = None;
            match write_range(&mut self.link, range, &values, &mut self.singly[n]).await {
                Ok(()) => {
                    self.shown[n] = Some(values);
                    self.strikes = 0;
                }
                Err(failure) => self.strike(range, failure, 0).await?,
            }
        }
        Ok(())
    }

    /// A request failed. The link is given up at once where trying again is of no use, else at the third in a row.
    async fn strike<T: Wired>(&mut self, range: &Range<T>, failure: Failure, same: u32) -> Result<(), DeviceError> {
        self.strikes += 1;
        let passing = match &failure {
            Failure::Closed(_) => false,
            Failure::Silent(_) | Failure::Spoilt(_) => true,
            Failure::Refused(code) => !is_final(*code),
        };
        if let (Failure::Refused(code), false) = (&failure, passing) {
            return Err(self.culprit(range, *code).await);
        }
        if passing && self.strikes.max(same) < STRIKES {
            debug!(device = %self.modbus.config.name, "{}: {failure}; trying again", range.describe());
            return Ok(());
        }
        let times = if passing { format!(", {STRIKES} times in a row") } else { String::new() };
        Err(self.modbus.failed(range, &failure, &times))
    }

    /// Which of a range's points the module refuses.
    async fn culprit<T: Wired>(&mut self, range: &Range<T>, code: ExceptionCode) -> DeviceError {
        if range.points.len() > 1 {
            for wired in &range.points {
                let at = wired.point();
                // Outputs are read too: whether a place is there is the question.
                if let Err(Failure::Refused(again)) = read_range(&mut self.link, at.kind, at.address, 1).await
                    && again == code
                {
                    return self.modbus.refused(&format!("{at} ({})", wired.key()), code);
                }
            }
        }
        self.modbus.refused(&range.describe(), code)
    }

    fn ending(&self) -> DeviceError {
        DeviceError::new(format!("{}: the panel listens no more", self.modbus.config), "It is ending: nothing to do")
    }
}

impl Modbus {
    fn told(&self, button: &Button) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(button).copied().unwrap_or(false)
    }

    fn tell(&self, button: &Button, pressed: bool) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(button.clone(), pressed);
    }

    fn unreachable(&self, error: &std::io::Error) -> DeviceError {
        DeviceError::new(format!("{} can't be reached: {error}", self.config), self.remedy())
    }

    fn failed<T: Wired>(&self, range: &Range<T>, failure: &Failure, times: &str) -> DeviceError {
        match failure {
            Failure::Refused(code) if is_final(*code) => self.refused(&range.describe(), *code),
            _ => DeviceError::new(format!("{}, {}: {failure}{times}", self.config, range.describe()), self.remedy()),
        }
    }

    fn refused(&self, what: &str, code: ExceptionCode) -> DeviceError {
        let remedy = match code {
            ExceptionCode::IllegalFunction => {
                "The module has no such table, or it can't be written: look into its manual for the right kind"
            }
            ExceptionCode::IllegalDataValue => {
                "The module does not take that value: look into its manual for the maximum"
            }
            _ => {
                "Correct the address or the kind: addresses count from 0 here, manuals often from 1 or from 10001, \
                 40001 and so on"
            }
        };
        DeviceError::new(format!("{} refuses {what}: {code}", self.config), remedy)
    }

    fn remedy(&self) -> String {
        match &self.config.transport {
            Transport::Tcp { host, .. } => format!(
                "Has the module power, is it in the network (ping {host}), are its port and unit id right, and has it \
                 a connection free? The panel goes on trying"
            ),
            Transport::Rtu { path, .. } => format!(
                "Is the adapter in (ls -l {}) and the panel in group dialout; has the module power, are A and B not \
                 swapped, and are baud, parity, stop bits and unit id as the module is set? The panel goes on trying",
                path.display()
            ),
        }
    }
}
