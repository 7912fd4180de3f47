//! The pictures that are in an encoder: which have come out, which never will, and whether it owes one. Pure.

use std::collections::VecDeque;

/// An encoder that has swallowed this many frames has stalled or drops them; older ones are not waited for.
const MAX_INSIDE: usize = 300;
/// Hardware keeps a few pictures back until the next ones come. How many is learned, up to this.
const MAX_DEPTH: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Encoding {
    /// Running time of each picture, and when it went in, on the monotonic clock; oldest first.
    inside: VecDeque<(u64, u64)>,
    /// So many were inside right after one had come out, at most.
    depth: usize,
    /// When the last came out; 0: none has.
    out_ns: u64,
}

impl Encoding {
    /// A picture goes in. True if the oldest is given up for it.
    pub fn enter(&mut self, running_ns: u64, now_ns: u64) -> bool {
        self.inside.push_back((running_ns, now_ns));
        let full = self.inside.len() > MAX_INSIDE;
        if full {
            self.inside.pop_front();
        }
        full
    }

    /// A picture comes out. Returns how many before it never will: there are no B-frames.
    pub fn leave(&mut self, running_ns: u64, now_ns: u64) -> u64 {
        let mut swallowed = 0;
        while self.inside.front().is_some_and(|(inside_ns, _)| *inside_ns < running_ns) {
            self.inside.pop_front();
            swallowed += 1;
        }
        self.inside.pop_front_if(|(inside_ns, _)| *inside_ns == running_ns);
        // What it swallows it does not keep back.
        if swallowed == 0 {
            self.depth = self.depth.max(self.inside.len()).min(MAX_DEPTH);
        }
        self.out_ns = now_ns;
        swallowed
    }

    /// How many are inside.
    pub fn inside(&self) -> u64 {
        self.inside.len() as u64
    }

    /// For how long it has owed a picture: it holds more than it ever keeps back. A source that is silent makes no debt, one
    /// that an encoder keeps waiting does. True with it: none has come out yet.
    pub fn owes_since(&self, now_ns: u64) -> (u64, bool) {
        let first = self.out_ns == 0;
        let owed_ns = match self.inside.front() {
            Some((_, entered_ns)) if self.inside.len() > self.depth => {
                now_ns.saturating_sub(self.out_ns.max(*entered_ns))
            }
            _ => 0,
        };
        (owed_ns, first)
    }

    /// Nothing more will come out: how many were inside, and the running time of the first.
    pub fn abandon(&mut self) -> Option<(u64, u64)> {
        let (first_ns, _) = *self.inside.front()?;
        let frames = self.inside();
        self.inside.clear();
        Some((frames, first_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, MAX_INSIDE};

    #[test]
    fn what_is_overtaken_never_comes() {
        let mut encoding = Encoding::default();
        for picture in 1..=5 {
            assert!(!encoding.enter(picture, picture));
        }
        assert_eq!(encoding.leave(1, 10), 0);
        assert_eq!(encoding.leave(4, 10), 2);
        assert_eq!(encoding.inside(), 1);
        assert_eq!(encoding.abandon(), Some((1, 5)));
        assert_eq!(encoding.abandon(), None);
        for picture in 1..=300 {
            assert!(!encoding.enter(picture, picture));
        }
        assert!(encoding.enter(301, 301));
        assert_eq!(encoding.inside(), MAX_INSIDE as u64);
    }

    #[test]
    fn a_silent_source_makes_no_debt_but_a_swallowed_picture_does() {
        let mut encoding = Encoding::default();
        assert_eq!(encoding.owes_since(1000), (0, true));
        encoding.enter(1, 100);
        assert_eq!(encoding.owes_since(1000), (900, true), "it has given nothing so far");
        encoding.leave(1, 110);
        assert_eq!(encoding.owes_since(1000), (0, false), "the source is silent");
        // One picture that does not come back, whether more come or the encoder keeps the source waiting.
        encoding.enter(2, 200);
        assert_eq!(encoding.owes_since(1000), (800, false));
    }

    #[test]
    fn what_hardware_keeps_back_is_no_debt() {
        let mut encoding = Encoding::default();
        for picture in 1..=20 {
            encoding.enter(picture, picture * 10);
            if picture > 2 {
                encoding.leave(picture - 2, picture * 10 + 1);
            }
        }
        assert_eq!(encoding.inside(), 2);
        assert_eq!(encoding.owes_since(9000), (0, false));
        encoding.enter(21, 210);
        assert_eq!(encoding.owes_since(1210).0, 1210 - 201);
    }
}
