//! One stream: from its packets to placed units.

use crate::depay::{Depacketizer, Piece, When};
use crate::rtcp::{Reception, SenderReport};
use crate::rtp::{Order, Packet, Sequence, Unwrap};
use crate::sdp::Stream;
use crate::timeline::Line;

/// A unit, or the lack of one, in its place on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// A whole unit.
    Unit {
        /// See [`crate::depay::Unit`].
        data: Vec<u8>,
        /// When it was captured.
        at_ns: u64,
    },
    /// A unit of which packets are missing.
    Broken {
        /// When it was captured.
        at_ns: u64,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Track {
    payload_type: u8,
    source: Option<u32>,
    sequence: Sequence,
    unwrap: Unwrap,
    depay: Depacketizer,
    line: Line,
    report: Option<(SenderReport, u64)>,
    foreign_packets: u64,
    /// The first of a connection, until they come at the pace of their clock; `None` from then on.
    first: Option<Vec<Piece>>,
}

/// Cameras begin with a burst of what they have in store; longer than this nobody waits for its end.
const BURST_NS: u64 = 500_000_000;
/// Nor for more than this many.
const BURST_UNITS: usize = 256;

impl Track {
    /// For a stream; `None` if its packets are unknown.
    #[must_use]
    pub fn new(stream: &Stream) -> Option<Self> {
        Some(Self {
            payload_type: stream.payload_type,
            source: None,
            sequence: Sequence::default(),
            unwrap: Unwrap::default(),
            depay: Depacketizer::new(stream)?,
            line: Line::new(stream.clock_rate_hz),
            report: None,
            foreign_packets: 0,
            first: Some(Vec::new()),
        })
    }

    /// Takes an RTP packet that arrived at `now_ns`.
    pub fn rtp(&mut self, bytes: &[u8], now_ns: u64, out: &mut dyn FnMut(Placed)) {
        let packet = Packet::parse(bytes).filter(|packet| packet.payload_type == self.payload_type);
        let Some(packet) = packet else {
            self.foreign_packets += 1;
            return;
        };
        let new_source = self.source.replace(packet.source).is_some_and(|old| old != packet.source);
        let order = if new_source {
            self.sequence = Sequence::default();
            self.sequence.take(packet.sequence);
            Order::Restart
        } else {
            self.sequence.take(packet.sequence)
        };
        let lost = match order {
            Order::Next => false,
            Order::After(packets) => {
                tracing::debug!(packets, "packets are missing");
                true
            }
            Order::Old => return,
            Order::Restart => {
                self.finish(out);
                self.unwrap = Unwrap::default();
                self.report = None;
                self.line.restart();
                self.first = Some(Vec::new());
                false
            }
        };
        let ticks = self.unwrap.take(packet.timestamp);
        let (line, first) = (&mut self.line, &mut self.first);
        let when = When { ticks, lost, now_ns };
        self.depay.take(&packet, when, &mut |piece| hand_on(line, first, piece, out));
    }

    /// Nothing comes any more: hands on what has come whole.
    pub fn finish(&mut self, out: &mut dyn FnMut(Placed)) {
        let (line, first) = (&mut self.line, &mut self.first);
        self.depay.reset(&mut |piece| hand_on(line, first, piece, out));
        let_go(&mut self.line, &mut self.first, out);
    }

    /// Takes an RTCP packet that arrived at `now_ns`.
    pub fn rtcp(&mut self, bytes: &[u8], now_ns: u64) {
        let report = SenderReport::find(bytes);
        if let Some(report) = report.filter(|report| self.source == Some(report.source)) {
            self.report = Some((report, now_ns));
            self.line.report(self.unwrap.peek(report.timestamp), report.ntp_ns());
        }
    }

    /// Sound follows the pictures, where the camera has said how.
    pub fn follow(&mut self, leader: &Self) {
        self.line.follow(&leader.line);
    }

    /// What a receiver report says; `None` before the first packet.
    #[must_use]
    pub fn reception(&self, reporter: u32, now_ns: u64) -> Option<Reception> {
        let (last_report, since_report) = self.report.map_or((0, 0), |(report, came_ns)| {
            let since = u128::from(now_ns.saturating_sub(came_ns)) * 65_536 / 1_000_000_000;
            let middle = u32::try_from(report.ntp >> 16 & 0xffff_ffff).unwrap_or(0);
            (middle, u32::try_from(since).unwrap_or(u32::MAX))
        });
        Some(Reception {
            reporter,
            source: self.source?,
            lost: self.sequence.lost(),
            highest: self.sequence.highest(),
            last_report,
            since_report,
        })
    }

    /// Packets that came, and that never came.
    #[must_use]
    pub fn packets(&self) -> (u64, u64) {
        (self.sequence.received(), self.sequence.lost())
    }
}

fn clocks(piece: &Piece) -> (i64, u64) {
    match piece {
        Piece::Unit(unit) => (unit.ticks, unit.came_ns),
        Piece::Broken { ticks, came_ns } => (*ticks, *came_ns),
    }
}

/// The first of a connection wait for each other: the oldest of a burst came late by all that the camera had in store, and a
/// line that began with it would lie in the future.
fn hand_on(line: &mut Line, first: &mut Option<Vec<Piece>>, piece: Piece, out: &mut dyn FnMut(Placed)) {
    let Some(held) = first else {
        return out(placed(line, piece));
    };
    let (ticks, came_ns) = clocks(&piece);
    let in_pace = held.last().map(clocks).is_some_and(|(last_ticks, last_came_ns)| {
        let (passed_ns, sampled_ns) = (came_ns.saturating_sub(last_came_ns), line.distance_ns(last_ticks, ticks));
        i64::try_from(passed_ns).unwrap_or(i64::MAX) >= sampled_ns / 2
    });
    let waited = held.first().map(clocks).is_some_and(|(_, begun_ns)| came_ns.saturating_sub(begun_ns) > BURST_NS);
    held.push(piece);
    if in_pace || waited || held.len() >= BURST_UNITS {
        let_go(line, first, out);
    }
}

fn let_go(line: &mut Line, first: &mut Option<Vec<Piece>>, out: &mut dyn FnMut(Placed)) {
    let held = first.take().unwrap_or_default();
    line.begin_with(held.iter().map(clocks));
    held.into_iter().for_each(|piece| out(placed(line, piece)));
}

fn placed(line: &mut Line, piece: Piece) -> Placed {
    match piece {
        Piece::Unit(unit) => Placed::Unit { at_ns: line.place(unit.ticks, unit.came_ns), data: unit.data },
        Piece::Broken { ticks, came_ns } => Placed::Broken { at_ns: line.place(ticks, came_ns) },
    }
}
