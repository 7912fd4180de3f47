//! Which of two releases is the newer.

use std::cmp::Ordering;

/// Compares two releases as semver.org does, with any number of numbers: `1.9.2` is older than `1.10`, and `1.10-rc.1` too. `None`: one
/// of them has no number to begin with, and nobody can say.
#[must_use]
pub fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parts(one)?, parts(other)?);
    let longest = one.0.len().max(other.0.len());
    let number = |numbers: &[u64], index: usize| numbers.get(index).copied().unwrap_or(0);
    let numbers = (0..longest).map(|index| number(&one.0, index).cmp(&number(&other.0, index)));
    let numbers = numbers.fold(Ordering::Equal, Ordering::then);
    Some(numbers.then_with(|| match (one.1, other.1) {
        (None, None) => Ordering::Equal,
        // What comes before a release is older than it.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(other)) => before(one, other),
    }))
}

/// Its numbers, and what is behind a hyphen.
fn parts(release: &str) -> Option<(Vec<u64>, Option<&str>)> {
    let release = release.split('+').next().unwrap_or_default();
    let (core, before) = match release.split_once('-') {
        Some((core, before)) => (core, Some(before)),
        None => (release, None),
    };
    let numbers: Vec<u64> = core.split('.').map_while(|part| part.parse().ok()).collect();
    (!numbers.is_empty()).then_some((numbers, before))
}

/// Of two that come before the same release: part by part, numbers as numbers and before words; more parts are newer.
fn before(one: &str, other: &str) -> Ordering {
    let mut others = other.split('.');
    for part in one.split('.') {
        let Some(other) = others.next() else { return Ordering::Greater };
        let order = match (part.parse::<u64>(), other.parse::<u64>()) {
            (Ok(part), Ok(other)) => part.cmp(&other),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => part.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    if others.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering::{Equal, Greater, Less};

    use super::compare;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (one, other, order) in [
            ("1.9.9", "1.10.0", Less),
            ("1.9", "1.9.1", Less),
            ("2026.11", "2026.12-rc1", Less),
            ("1.0.0-rc.1", "1.0.0", Less),
            ("1.0.0-rc.2", "1.0.0-rc.10", Less),
            ("1.0.0-alpha", "1.0.0-alpha.1", Less),
            ("1.0", "1.0.0", Equal),
            ("1.0.0+a", "1.0.0+b", Equal),
            ("1.10.0", "1.9.9", Greater),
        ] {
            assert_eq!(compare(one, other), Some(order), "{one} {other}");
            assert_eq!(compare(other, one), Some(order.reverse()), "{other} {one}");
        }
        assert_eq!((compare("nightly", "1.0"), compare("1.0", "nightly"), compare("", "1")), (None, None, None));
    }
}
