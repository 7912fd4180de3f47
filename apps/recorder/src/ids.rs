//! Session ids and the directories they stand for.

use std::fmt::Write;

/// A new session id: `20261121T071503Z-k3f9w2`. The UTC second; then the fraction of it in three digits of base 32, so that ids
/// sort by time; then 15 random bits. The directory is made exclusively, so that a clock that was set back can't lead into an
/// old session.
pub fn new_session_id(wall_ns: i64) -> String {
    // In the order of ASCII, without 0, 1, l and o.
    const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
    let digit = |value: u64| char::from(ALPHABET[usize::try_from(value % 32).unwrap_or_default()]);
    let time = jiff::Timestamp::from_second(wall_ns.div_euclid(1_000_000_000)).unwrap_or_default();
    let mut id = time.strftime("%Y%m%dT%H%M%SZ-").to_string();
    let fraction_ns = u64::try_from(wall_ns.rem_euclid(1_000_000_000)).unwrap_or_default();
    let fraction = fraction_ns * 32 * 32 * 32 / 1_000_000_000;
    id.extend([fraction / 1024, fraction / 32, fraction].map(digit));
    let mut random = [0_u8; 3];
    // Without randomness the exclusive mkdir still keeps ids apart.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    id.extend(random.map(|byte| digit(u64::from(byte))));
    id
}

/// Where a session lives below the storage root: `2026-11-21/20261121T071503Z-k3f9w2`. `None` if that is no session id.
pub fn session_dir(id: &str) -> Option<String> {
    if !is_session_id(id) {
        return None;
    }
    let mut dir = String::with_capacity(id.len() + 11);
    let _ = write!(dir, "{}-{}-{}/{id}", id.get(..4)?, id.get(4..6)?, id.get(6..8)?);
    Some(dir)
}

/// Whether a name has the form of a session id. Also guards paths: nothing else is ever joined to the root.
pub fn is_session_id(id: &str) -> bool {
    let (Some(date), Some(rest)) = (id.get(..8), id.get(8..)) else {
        return false;
    };
    id.len() <= 48
        && date.bytes().all(|byte| byte.is_ascii_digit())
        && rest.starts_with('T')
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a name has the form of a date directory, `2026-11-21`.
pub fn is_date(name: &str) -> bool {
    name.len() == 10
        && name.bytes().enumerate().all(
            |(at, byte)| {
                if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() }
            },
        )
}

/// The UTC time in a session id, as Unix nanoseconds: for sessions whose journal can't be read.
pub fn wall_ns_of(id: &str) -> i64 {
    id.get(..16)
        .and_then(|text| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok())
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map_or(0, |time| time.timestamp().as_second().saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::{is_date, is_session_id, new_session_id, session_dir, wall_ns_of};

    #[test]
    fn ids_say_when_and_where() {
        let wall_ns = 1_795_245_303_000_000_000;
        let id = new_session_id(wall_ns);
        assert_eq!((id.len(), &id[..17]), (23, "20261121T071503Z-"));
        assert_eq!(session_dir(&id).unwrap(), format!("2026-11-21/{id}"));
        assert_eq!(wall_ns_of(&id), wall_ns);
        assert!(id[..20] < *new_session_id(wall_ns + 31_000), "30 microseconds later sorts later");
        assert!(id < new_session_id(wall_ns + 999_999_999));
        assert!(is_date("2026-11-21") && !is_date("2026-11-2x") && !is_date(".holdfast"));
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        for bad in ["", "..", "20261121", "20261121T/../x", "2026112éT071503Z-abc", "20261121X071503Z", "20261121T0.3Z"]
        {
            assert!(!is_session_id(bad), "{bad}");
            assert_eq!(session_dir(bad), None);
        }
    }
}
