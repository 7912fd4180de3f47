//! Holds what came out of a decoder against what went in: picture by picture. Pure.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_segment::decoded::{Fault, FaultKind as Kind};

/// A decoder that gives nothing back has failed. No codec here holds back more than 16 pictures (H.264, H.265), hardware a few more.
const MOST_WAITING: usize = 600;

/// Whether pictures carry numbers (`holdfast-framemark`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// If the first one does.
    Perhaps,
    /// Every one.
    Must,
    /// They can't be read, or not here.
    No,
}

/// What is known of the pictures of one file.
#[derive(Debug)]
pub struct Judge {
    /// Frames that went in.
    pub frames: u64,
    /// Those of them that decoding could start at.
    pub keyframes: u64,
    /// Pictures that came out.
    pub pictures: u64,
    /// Those of them whose number was read.
    pub numbered: u64,
    /// Numbers that are missing between these.
    pub missing_numbers: u64,
    /// How much is wrong.
    pub faults: u64,
    first: BTreeMap<Kind, String>,
    /// Times of frames whose picture has not come.
    waiting: BTreeSet<u64>,
    /// Those that are shown before the first one that decoding could start at: they may refer to what is not in the file.
    leading: BTreeSet<u64>,
    begin_ns: Option<u64>,
    /// The shortest distance of two frames, in nanoseconds.
    step_ns: u64,
    numbers: Numbers,
    /// There may be numbers, and pictures as the decoder gives them can't be looked at.
    pub is_blind: bool,
    last: Option<(u32, u64)>,
}

impl Judge {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(numbers: Numbers) -> Self {
        Self {
            frames: 0,
            keyframes: 0,
            pictures: 0,
            numbered: 0,
            missing_numbers: 0,
            faults: 0,
            first: BTreeMap::new(),
            waiting: BTreeSet::new(),
            leading: BTreeSet::new(),
            begin_ns: None,
            step_ns: u64::MAX,
            numbers,
            is_blind: false,
            last: None,
        }
    }

    /// Notes what is wrong.
    pub fn fault(&mut self, kind: Kind, text: impl Into<String>) {
        self.faults += 1;
        self.first.entry(kind).or_insert_with(|| text.into());
    }

    /// What is wrong, the worst first.
    #[must_use]
    pub fn verdict(&self) -> Option<Fault> {
        self.first.iter().next().map(|(kind, text)| Fault { kind: *kind, text: text.clone() })
    }

    /// A frame goes into the decoder. Times are nanoseconds since the file's beginning. `duration_ns`: until the next one, or 0.
    pub fn frame(&mut self, pts_ns: u64, duration_ns: u64, sync: bool) {
        self.frames += 1;
        self.keyframes += u64::from(sync);
        if duration_ns > 0 {
            self.step_ns = self.step_ns.min(duration_ns);
        }
        let begin_ns = *self.begin_ns.get_or_insert(pts_ns);
        let is_new = if pts_ns < begin_ns { self.leading.insert(pts_ns) } else { self.waiting.insert(pts_ns) };
        if !is_new {
            self.fault(Kind::Differs, format!("two frames are to be shown at {}", at(pts_ns)));
        }
    }

    /// The decoder has swallowed so much that nothing more should be handed to it.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.waiting.len() > MOST_WAITING
    }

    /// A picture has come out. `number`: what was read in it.
    pub fn picture(&mut self, pts_ns: Option<u64>, is_corrupt: bool, number: Option<u32>) {
        self.pictures += 1;
        let Some(pts_ns) = pts_ns else {
            return self.fault(Kind::Differs, "a picture without a time came out of the decoder");
        };
        if !self.waiting.remove(&pts_ns) && !self.leading.remove(&pts_ns) {
            self.fault(Kind::Differs, format!("a picture at {} has no frame of its own in the file", at(pts_ns)));
        }
        if is_corrupt {
            self.fault(Kind::Undecodable, format!("the picture at {} is damaged, says the decoder", at(pts_ns)));
        }
        self.number(pts_ns, number);
    }

    /// Pictures can't be looked at: of numbers in them nothing is known.
    pub fn blind(&mut self) {
        self.is_blind = self.numbers != Numbers::No;
        self.numbers = Numbers::No;
    }

    fn number(&mut self, pts_ns: u64, number: Option<u32>) {
        let is_first = self.pictures == 1;
        let number = match (self.numbers, number) {
            (Numbers::No, _) => return,
            (Numbers::Perhaps, None) if is_first => {
                self.numbers = Numbers::No;
                return;
            }
            (_, None) => {
                let text = format!("the picture at {} should carry a number, and none can be read", at(pts_ns));
                return self.fault(Kind::Differs, text);
            }
            (_, Some(number)) => number,
        };
        self.numbered += 1;
        let Some((last, last_ns)) = self.last.replace((number, pts_ns)) else { return };
        // Numbers wrap after years; half the circle behind means before.
        let step = i64::from(number.wrapping_sub(last).cast_signed());
        let due = pts_ns.saturating_sub(last_ns).saturating_add(self.step_ns / 2) / self.step_ns.max(1);
        let due = i64::try_from(due).unwrap_or(i64::MAX);
        // Behind a hole the source may have been begun anew, and counts from another instant of the same picture's time.
        let slack = i64::from(due > 1);
        if step == 0 {
            self.fault(
                Kind::Differs,
                format!("the picture at {} is the one before it again, number {number}", at(pts_ns)),
            );
        } else if step < 0 || step.abs_diff(due) > slack.unsigned_abs() {
            let expected = i64::from(last) + due;
            let text = format!("the picture at {} has number {number}; {expected} was to be expected", at(pts_ns));
            self.fault(Kind::Differs, text);
        } else {
            self.missing_numbers += step.unsigned_abs() - 1;
        }
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        let missing = self.waiting.len();
        if let Some(first) = self.waiting.first() {
            let text = format!("{missing} frames gave no picture, the first of them at {}", at(*first));
            self.fault(Kind::Differs, text);
        }
    }
}

/// A time in a file, for people.
#[must_use]
pub fn at(pts_ns: u64) -> String {
    format!("{}.{:03} s", pts_ns / 1_000_000_000, pts_ns / 1_000_000 % 1000)
}

#[cfg(test)]
mod tests {
    use super::{Judge, Kind, Numbers};

    const STEP_NS: u64 = 33_333_333;

    /// So many frames go in; what comes out is (place, number).
    fn judge(numbers: Numbers, frames: u64, pictures: impl IntoIterator<Item = (u64, Option<u32>)>) -> Judge {
        let mut judge = Judge::new(numbers);
        (0..frames).for_each(|place| judge.frame(place * STEP_NS, STEP_NS, place % 30 == 0));
        pictures.into_iter().for_each(|(place, number)| judge.picture(Some(place * STEP_NS), false, number));
        judge.end();
        judge
    }

    fn numbered(place: u64) -> (u64, Option<u32>) {
        (place, Some(u32::try_from(place).unwrap().wrapping_sub(5)))
    }

    fn told(judge: &Judge) -> (Option<Kind>, String) {
        judge.verdict().map_or((None, String::new()), |fault| (Some(fault.kind), fault.text))
    }

    #[test]
    fn every_frame_has_one_picture() {
        let whole = judge(Numbers::Must, 60, (0..60).map(numbered));
        assert_eq!((told(&whole), whole.keyframes, whole.numbered, whole.faults), ((None, String::new()), 2, 60, 0));
        let plain = judge(Numbers::Perhaps, 60, (0..60).map(|place| (place, None)));
        assert_eq!((told(&plain).0, plain.numbered), (None, 0));

        let (kind, text) = told(&judge(Numbers::No, 60, (0..60).filter(|place| *place != 30).map(numbered)));
        assert!(
            kind == Some(Kind::Differs) && text == "1 frames gave no picture, the first of them at 0.999 s",
            "{text}"
        );
        let (kind, text) = told(&judge(Numbers::No, 60, (0..61).map(numbered)));
        assert!(kind == Some(Kind::Differs) && text.contains("at 1.999 s has no frame of its own"), "{text}");
        let twice = judge(Numbers::No, 60, (0..60).chain([30]).map(numbered));
        assert!(told(&twice).1.contains("at 0.999 s has no frame of its own"));
    }

    #[test]
    fn what_the_decoder_calls_damaged_comes_first() {
        let mut judge = Judge::new(Numbers::No);
        (0..3).for_each(|place| judge.frame(place * STEP_NS, STEP_NS, place == 0));
        judge.picture(Some(0), false, None);
        judge.picture(None, false, None);
        judge.picture(Some(STEP_NS), true, None);
        judge.end();
        let (kind, text) = told(&judge);
        assert!(kind == Some(Kind::Undecodable) && text.contains("0.033 s is damaged"), "{text}");
        assert_eq!(judge.faults, 3);
    }

    #[test]
    fn pictures_that_stand_still_or_leap_are_found() {
        let number = |place: u64, number: u64| (place, Some(u32::try_from(number).unwrap()));
        let frozen = judge(Numbers::Must, 60, (0..60).map(|place| number(place, place.min(40))));
        assert!(told(&frozen).1.contains("at 1.366 s is the one before it again, number 40"), "{:?}", told(&frozen));
        assert_eq!(frozen.faults, 19);
        let leap =
            judge(Numbers::Must, 60, (0..60).map(|place| number(place, if place < 40 { place } else { place + 1 })));
        assert!(told(&leap).1.contains("at 1.333 s has number 41; 40 was to be expected"), "{:?}", told(&leap));
        assert_eq!(leap.faults, 1);
        let back = judge(Numbers::Must, 60, (0..60).map(|place| number(place, 100 - place)));
        assert_eq!(back.faults, 59);
        let unread =
            judge(Numbers::Perhaps, 60, (0..60).map(|place| if place == 7 { (7, None) } else { numbered(place) }));
        assert!(told(&unread).1.contains("at 0.233 s should carry a number"), "{:?}", told(&unread));
        assert_eq!(judge(Numbers::Must, 60, (0..60).map(|place| (place, None))).faults, 60);
    }

    #[test]
    fn numbers_that_are_missing_as_time_is_are_counted() {
        let mut judge = Judge::new(Numbers::Must);
        for place in (0..20).chain(25..60) {
            judge.frame(place * STEP_NS, STEP_NS, place == 0);
            judge.picture(Some(place * STEP_NS), false, numbered(place).1);
        }
        judge.end();
        assert_eq!((judge.missing_numbers, told(&judge).0), (5, None));
    }

    #[test]
    fn pictures_that_can_not_be_looked_at_have_no_numbers() {
        let mut judge = Judge::new(Numbers::Must);
        judge.frame(0, STEP_NS, true);
        judge.blind();
        judge.picture(Some(0), false, None);
        judge.end();
        assert!(judge.is_blind && judge.verdict().is_none());
    }

    #[test]
    fn pictures_before_the_first_keyframe_may_be_left_out() {
        let mut judge = Judge::new(Numbers::No);
        for place in [3, 1, 2, 4] {
            judge.frame(place * STEP_NS, STEP_NS, place == 3);
        }
        judge.picture(Some(2 * STEP_NS), false, None);
        judge.picture(Some(3 * STEP_NS), false, None);
        judge.picture(Some(4 * STEP_NS), false, None);
        judge.end();
        assert_eq!(judge.verdict(), None);
    }
}
