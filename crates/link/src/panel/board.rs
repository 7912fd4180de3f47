//! The panel's half of the rules: pure, with the time handed in. Firmware is a loop around it, and so is every test.

use super::{
    About, Decoder, Frame, FromPanel, HEARTBEAT_EVERY_MS, Lines, MAX_BUTTONS, SILENCE_MS, Show, ToPanel, WireError,
    encode, refusal,
};

/// What the firmware has to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    /// Set lights and buzzer.
    Show(Show),
    /// Write on the display.
    Text(Lines),
    /// Show the fault pattern, until the next `Show`. The buzzer is silent.
    Fault,
    /// Send these bytes.
    Write(Frame),
}

/// A panel's state: what it was told last and when, and which of its buttons are down.
///
/// Times are microseconds of any clock that never goes back.
#[derive(Debug)]
pub struct Board {
    about: About,
    decoder: Decoder<ToPanel>,
    /// When the host was heard last.
    heard_us: Option<u64>,
    /// When it said last what to show. `None`: the fault pattern is shown.
    shown_us: Option<u64>,
    /// The fault pattern has been ordered.
    fault_told: bool,
    /// When the panel spoke last.
    said_us: u64,
    down: u16,
}

impl Board {
    /// As after a reset. Its first [`tick`](Self::tick) orders the fault pattern.
    #[must_use]
    pub fn new(about: About) -> Self {
        let decoder = Decoder::default();
        Self { about, decoder, heard_us: None, shown_us: None, fault_told: false, said_us: 0, down: 0 }
    }

    /// A byte came off the line.
    pub fn receive(&mut self, byte: u8, now_us: u64) -> Option<Do> {
        let message = match self.decoder.feed(byte)? {
            Ok(message) => message,
            Err(WireError::Version { .. }) => return Some(Do::Write(refusal())),
            // Counted by the decoder; told with the next heartbeat.
            Err(_) => return None,
        };
        self.heard_us = Some(now_us);
        match message {
            ToPanel::Hello => self.say(&FromPanel::Hello { about: self.about.clone(), down: self.down }, now_us),
            ToPanel::Show(show) => {
                self.shown_us = Some(now_us);
                self.fault_told = false;
                Some(Do::Show(show))
            }
            ToPanel::Text(lines) => Some(Do::Text(lines)),
            ToPanel::Heartbeat => None,
            ToPanel::Fault => {
                self.shown_us = None;
                self.fault_told = true;
                Some(Do::Fault)
            }
        }
    }

    /// A button went down or came up at `at_us`. Its bounces are the host's business: tell every edge.
    pub fn edge(&mut self, button: u8, pressed: bool, at_us: u64, now_us: u64) -> Option<Do> {
        if usize::from(button) >= MAX_BUTTONS {
            return None;
        }
        let bit = 1_u16 << button;
        self.down = if pressed { self.down | bit } else { self.down & !bit };
        if !self.hears(now_us) {
            return None;
        }
        let age_us = u32::try_from(now_us.saturating_sub(at_us)).unwrap_or(u32::MAX);
        self.say(&FromPanel::Edge { button, pressed, age_us }, now_us)
    }

    /// Time has passed. Call it at least every 50 ms, and again as long as there is something to do.
    pub fn tick(&mut self, now_us: u64) -> Option<Do> {
        if self.shown_us.is_some_and(|at| is_past(at, SILENCE_MS, now_us)) {
            self.shown_us = None;
        }
        if self.shown_us.is_none() && !self.fault_told {
            self.fault_told = true;
            return Some(Do::Fault);
        }
        if self.hears(now_us) && is_past(self.said_us, HEARTBEAT_EVERY_MS, now_us) {
            let errors = self.decoder.thrown().total();
            return self.say(&FromPanel::Heartbeat { errors, down: self.down }, now_us);
        }
        None
    }

    fn hears(&self, now_us: u64) -> bool {
        self.heard_us.is_some_and(|at| !is_past(at, SILENCE_MS, now_us))
    }

    fn say(&mut self, message: &FromPanel, now_us: u64) -> Option<Do> {
        self.said_us = now_us;
        encode(message).ok().map(Do::Write)
    }
}

fn is_past(since_us: u64, ms: u64, now_us: u64) -> bool {
    now_us.saturating_sub(since_us) >= ms * 1000
}
