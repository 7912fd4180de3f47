//! How much one place in the program may say: whatever flaps or floods must not flood the journal.

use std::collections::HashMap;
use std::hash::Hash;

/// So many entries of one place are taken at once.
const BURST: u32 = 100;
/// After those one more in every so many milliseconds.
const REFILL_MS: u64 = 1000;
/// What was left out is told at the latest this long after the place has fallen silent.
const TELL_AFTER_MS: u64 = 10_000;
/// Places that are remembered. The program has fewer; the inputs that multiply them are few.
const PLACES: usize = 1024;

/// A token bucket per place. Time is handed in, in milliseconds of a clock that never runs backwards.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    places: HashMap<K, Place>,
    looked_ms: u64,
}

#[derive(Debug)]
struct Place {
    left: u32,
    refilled_ms: u64,
    /// Left out since the last entry that was taken.
    missed: u64,
    origin: String,
}

/// Whether an entry is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is, and before it so many of the same place were left out.
    After(u64),
    /// It is left out.
    No,
}

impl<K> Default for Limiter<K> {
    fn default() -> Self {
        Self { places: HashMap::new(), looked_ms: 0 }
    }
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// An entry of a place. `origin` names it, and is only asked for when the place is new.
    pub(crate) fn admit(&mut self, key: K, now_ms: u64, origin: impl FnOnce() -> String) -> Admitted {
        if self.places.len() >= PLACES && !self.places.contains_key(&key) {
            // Those that have been quiet for long enough have nothing to remember.
            self.places.retain(|_, place| place.missed > 0 || place.tokens(now_ms) < BURST);
        }
        let place = self.places.entry(key).or_insert_with(|| Place {
            left: BURST,
            refilled_ms: now_ms,
            missed: 0,
            origin: origin(),
        });
        place.refill(now_ms);
        if place.left == 0 {
            place.missed += 1;
            return Admitted::No;
        }
        place.left -= 1;
        Admitted::After(std::mem::take(&mut place.missed))
    }

    /// Places that have fallen silent with something left out, and how much. Looks at most every [`TELL_AFTER_MS`].
    pub(crate) fn overdue(&mut self, now_ms: u64) -> Vec<(String, u64)> {
        if now_ms < self.looked_ms.saturating_add(TELL_AFTER_MS) {
            return Vec::new();
        }
        self.looked_ms = now_ms;
        self.untold()
    }

    /// All places with something left out, and how much.
    pub(crate) fn untold(&mut self) -> Vec<(String, u64)> {
        let with_missed = self.places.values_mut().filter(|place| place.missed > 0);
        with_missed.map(|place| (place.origin.clone(), std::mem::take(&mut place.missed))).collect()
    }
}

impl Place {
    fn tokens(&self, now_ms: u64) -> u32 {
        let gained = now_ms.saturating_sub(self.refilled_ms) / REFILL_MS;
        self.left.saturating_add(u32::try_from(gained).unwrap_or(u32::MAX)).min(BURST)
    }

    fn refill(&mut self, now_ms: u64) {
        self.left = self.tokens(now_ms);
        // What is left of a period counts towards the next.
        self.refilled_ms += now_ms.saturating_sub(self.refilled_ms) / REFILL_MS * REFILL_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::{Admitted, BURST, Limiter, PLACES, REFILL_MS, TELL_AFTER_MS};

    fn taken(limiter: &mut Limiter<u32>, place: u32, times: u32, now_ms: u64) -> u32 {
        let admitted = (0..times).filter(|_| limiter.admit(place, now_ms, String::new) != Admitted::No);
        u32::try_from(admitted.count()).unwrap()
    }

    #[test]
    fn a_flood_is_cut_and_what_is_missing_is_told() {
        let mut limiter = Limiter::default();
        assert_eq!(taken(&mut limiter, 1, 10_000, 0), BURST);
        // Others are not concerned.
        assert_eq!(limiter.admit(2, 0, String::new), Admitted::After(0));
        assert_eq!(limiter.admit(1, REFILL_MS - 1, String::new), Admitted::No);
        let missed = u64::from(10_000 - BURST) + 1;
        assert_eq!(limiter.admit(1, REFILL_MS, String::new), Admitted::After(missed));
        assert_eq!(limiter.admit(1, REFILL_MS, String::new), Admitted::No);
        // Ten seconds of flood are ten entries.
        let mut admitted = 0;
        for tenth in 1..=100 {
            admitted += taken(&mut limiter, 1, 50, REFILL_MS + tenth * REFILL_MS / 10);
        }
        assert_eq!(admitted, 10);
        // After a rest it may talk again, but not for all of the time that it was silent.
        assert_eq!(taken(&mut limiter, 1, 10_000, 100_000_000), BURST);
    }

    #[test]
    fn what_a_place_that_fell_silent_left_out_is_told_once() {
        let mut limiter = Limiter::default();
        for _ in 0..BURST + 7 {
            limiter.admit(1, 0, || "somewhere".to_owned());
        }
        assert_eq!(limiter.overdue(TELL_AFTER_MS - 1), []);
        assert_eq!(limiter.overdue(TELL_AFTER_MS), [("somewhere".to_owned(), 7)]);
        assert_eq!(limiter.overdue(2 * TELL_AFTER_MS), []);
        assert_eq!(limiter.untold(), []);
    }

    #[test]
    fn the_memory_is_bounded_and_a_clock_that_stands_still_harms_nobody() {
        let mut limiter = Limiter::default();
        for place in 0..3 * u32::try_from(PLACES).unwrap() {
            limiter.admit(place, u64::from(place) * REFILL_MS, String::new);
        }
        assert!(limiter.places.len() <= PLACES, "{}", limiter.places.len());
        assert_eq!(taken(&mut limiter, 7_000_000, 2 * BURST, 5), BURST);
        assert_eq!(limiter.admit(7_000_000, 0, String::new), Admitted::No);
    }
}
