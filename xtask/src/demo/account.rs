//! Every frame of the world is accounted for: safe, lost for a reason on record, or the demo fails.

/// A picture as it was decoded from disk, in order of presentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Capture time, `CLOCK_MONOTONIC`.
    pub mono_ns: u64,
    /// The number burnt in, if it was readable.
    pub number: Option<u32>,
}

/// A gap that stands in a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub cause: String,
    pub start_ns: u64,
    pub end_ns: u64,
}

/// What is missing between two pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    pub frames: u64,
    /// From the last picture before to the first one after.
    pub duration_ns: u64,
    /// What the ledgers say about it.
    pub cause: Option<String>,
}

/// What one input amounted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    pub safe_frames: u64,
    /// Missing, with the reason on record.
    pub lost_frames: u64,
    /// Missing without a reason on record, or there twice, or in the wrong order.
    pub unaccounted_frames: u64,
    /// How many pictures had a readable number.
    pub numbered: u64,
    pub holes: Vec<Hole>,
}

/// How far the ends of a hole may lie from those of its gap: jitter of a camera's clock.
const TOLERANCE_NS: u64 = 100_000_000;

/// Without numbers, pictures this close together are neighbours: cameras change their rate with the light, and a file that is
/// looped has a seam. The same as what `verify` allows.
const NEIGHBOURS_NS: u64 = 250_000_000;

/// Inputs are stopped at once, but each ends with a whole chunk, and cameras tell of their pictures late.
const EARLY_NS: u64 = 2_000_000_000;

/// Goes over the pictures of one input.
///
/// With numbers in them, what is missing is counted from the numbers. Foreign footage has none: there it is told from the
/// times. `dropped` frames are on record as dropped for a reason (a stalled disk, a failed encoder) without a gap of their own.
pub fn account(pictures: &[Picture], gaps: &[Gap], frame_ns: u64, dropped: u64) -> Account {
    let numbered = pictures.iter().filter(|picture| picture.number.is_some()).count() as u64;
    // One unreadable picture in a numbered recording is a damaged one: it shows up as a hole.
    let by_number = numbered > 0;
    let mut account = Account { numbered, ..Account::default() };
    let mut dropped_left = dropped;
    let mut last: Option<Picture> = None;
    for picture in pictures.iter().filter(|picture| !by_number || picture.number.is_some()) {
        account.safe_frames += 1;
        if let Some(last) = last.replace(*picture) {
            match missing_between(last, *picture, frame_ns) {
                None => account.unaccounted_frames += 1,
                Some(0) => {}
                Some(frames) => {
                    let cause = explain(last, *picture, gaps, frame_ns).or_else(|| {
                        dropped_left = dropped_left.checked_sub(frames)?;
                        Some("dropped".to_owned())
                    });
                    *(if cause.is_some() { &mut account.lost_frames } else { &mut account.unaccounted_frames }) +=
                        frames;
                    let duration_ns = picture.mono_ns.saturating_sub(last.mono_ns);
                    account.holes.push(Hole { frames, duration_ns, cause });
                }
            }
        }
    }
    account
}

/// How many frames lie between two neighbours, or `None` if the second does not come after the first.
fn missing_between(last: Picture, next: Picture, frame_ns: u64) -> Option<u64> {
    let step = match (last.number, next.number) {
        // Numbers wrap after four years; half the circle behind means before.
        (Some(last), Some(next)) => u64::from(next.wrapping_sub(last)),
        _ => match next.mono_ns.checked_sub(last.mono_ns)? {
            distance_ns if distance_ns <= NEIGHBOURS_NS => 1,
            distance_ns => (distance_ns + frame_ns / 2) / frame_ns.max(1),
        },
    };
    match step {
        0 => None,
        step if step > u64::from(u32::MAX / 2) => None,
        step => Some(step - 1),
    }
}

/// The cause of the gap that covers the hole between two pictures.
fn explain(last: Picture, next: Picture, gaps: &[Gap], frame_ns: u64) -> Option<String> {
    let slack = 2 * frame_ns + TOLERANCE_NS;
    gaps.iter()
        .find(|gap| gap.start_ns <= last.mono_ns + slack && gap.end_ns + slack >= next.mono_ns)
        .map(|gap| gap.cause.clone())
}

/// How much earlier than the newest the last pictures of inputs are that were all stopped at once, where it is more than
/// a chunk or two: nothing comes after them that could show a hole.
pub fn ends_early(last_ns: &[Option<u64>]) -> Vec<Option<u64>> {
    let newest = last_ns.iter().flatten().max().copied().unwrap_or(0);
    let early =
        |last_ns: &Option<u64>| Some(newest.saturating_sub((*last_ns)?)).filter(|early_ns| *early_ns > EARLY_NS);
    last_ns.iter().map(early).collect()
}

/// The usual distance between pictures.
pub fn frame_duration_ns(pictures: &[Picture]) -> u64 {
    let mut steps: Vec<u64> = pictures.windows(2).map(|pair| pair[1].mono_ns.saturating_sub(pair[0].mono_ns)).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Account, Gap, Hole, Picture, account, ends_early, frame_duration_ns};

    const FRAME_NS: u64 = 33_333_333;

    fn picture(number: u32) -> Picture {
        Picture { mono_ns: u64::from(number) * FRAME_NS, number: Some(number) }
    }

    fn gap(from: u32, to: u32) -> Gap {
        Gap { cause: "capture-died".to_owned(), start_ns: u64::from(from) * FRAME_NS, end_ns: u64::from(to) * FRAME_NS }
    }

    fn sums(account: &Account) -> (u64, u64, u64) {
        (account.safe_frames, account.lost_frames, account.unaccounted_frames)
    }

    #[test]
    fn nothing_is_missing() {
        let pictures: Vec<Picture> = (100..200).map(picture).collect();
        assert_eq!(sums(&account(&pictures, &[], FRAME_NS, 0)), (100, 0, 0));
        assert_eq!(frame_duration_ns(&pictures), FRAME_NS);
    }

    #[test]
    fn a_hole_with_a_gap_is_lost_and_one_without_is_unaccounted() {
        let pictures: Vec<Picture> = (100..120).chain(150..160).chain(190..200).map(picture).collect();
        let found = account(&pictures, &[gap(120, 150)], FRAME_NS, 0);
        assert_eq!(sums(&found), (40, 30, 30));
        let cause = Some("capture-died".to_owned());
        assert_eq!(found.holes[0], Hole { frames: 30, duration_ns: 31 * FRAME_NS, cause });
        assert_eq!(found.holes[1].cause, None);
    }

    #[test]
    fn a_gap_must_cover_the_whole_hole() {
        let pictures: Vec<Picture> = (100..120).chain(150..160).map(picture).collect();
        for short in [gap(120, 135), gap(135, 150), gap(300, 400), gap(0, 10)] {
            assert_eq!(sums(&account(&pictures, &[short], FRAME_NS, 0)), (30, 0, 30));
        }
    }

    #[test]
    fn dropped_frames_explain_as_many_as_they_are() {
        let pictures: Vec<Picture> = (0..10).chain(12..20).chain(23..30).map(picture).collect();
        assert_eq!(sums(&account(&pictures, &[], FRAME_NS, 2)), (25, 2, 3));
        assert_eq!(sums(&account(&pictures, &[], FRAME_NS, 5)), (25, 5, 0));
    }

    #[test]
    fn doubled_and_disordered_pictures_are_unaccounted() {
        let pictures = [1, 2, 2, 3, 1].map(picture);
        assert_eq!(sums(&account(&pictures, &[], FRAME_NS, 0)), (5, 0, 2));
    }

    #[test]
    fn an_unreadable_picture_among_numbered_ones_is_missing() {
        let mut pictures: Vec<Picture> = (0..10).map(picture).collect();
        pictures[4].number = None;
        let found = account(&pictures, &[], FRAME_NS, 0);
        assert_eq!(sums(&found), (9, 0, 1));
    }

    #[test]
    fn numbers_wrap() {
        let at = |n: u32, number| Picture { mono_ns: u64::from(n) * FRAME_NS, number: Some(number) };
        let pictures = [at(0, u32::MAX - 1), at(1, u32::MAX), at(2, 0), at(3, 1)];
        assert_eq!(sums(&account(&pictures, &[], FRAME_NS, 0)), (4, 0, 0));
    }

    #[test]
    fn foreign_footage_is_judged_by_its_times() {
        let foreign = |n: u32| Picture { number: None, ..picture(n) };
        let pictures: Vec<Picture> = (0..10).chain(20..30).map(foreign).collect();
        assert_eq!(sums(&account(&pictures, &[], FRAME_NS, 0)), (20, 0, 10));
        assert_eq!(sums(&account(&pictures, &[gap(10, 20)], FRAME_NS, 0)), (20, 10, 0));
        let slow: Vec<Picture> = (0..10).chain(13..30).map(foreign).collect();
        assert_eq!(sums(&account(&slow, &[], FRAME_NS, 0)), (27, 0, 0));
    }

    #[test]
    fn an_input_that_ends_early_is_found() {
        let s = |seconds: u64| Some(seconds * 1_000_000_000);
        assert_eq!(ends_early(&[s(10), s(15), s(13), s(14), None]), [s(5), None, None, None, None]);
        assert_eq!(ends_early(&[]), []);
    }
}
