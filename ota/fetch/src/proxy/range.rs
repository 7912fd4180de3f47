//! Which bytes a request asks for (RFC 9110, 14). Pure.

use std::ops::Range;

/// What to answer with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it, 200.
    Whole,
    /// These bytes, 206.
    Of(Range<u64>),
    /// 416.
    Nothing,
}

/// What `Range` asks for of a file of that length. What is not understood, and several ranges at once, get the whole file,
/// as the RFC allows.
pub(super) fn part(header: Option<&str>, total_bytes: u64) -> Part {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let number = |text: &str| -> Option<Option<u64>> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match (text.is_empty(), digits) {
            (true, _) => Some(None),
            // More digits than fit is beyond any end.
            (_, true) => Some(Some(text.parse().unwrap_or(u64::MAX))),
            _ => None,
        }
    };
    let (Some(first), Some(last)) = (number(first), number(last)) else { return Part::Whole };
    let range = match (first, last) {
        (None, None) => return Part::Whole,
        (Some(first), Some(last)) if last < first => return Part::Whole,
        (Some(first), last) => first..last.map_or(total_bytes, |last| last.saturating_add(1).min(total_bytes)),
        (None, Some(last)) => total_bytes.saturating_sub(last)..total_bytes,
    };
    if range.start < range.end { Part::Of(range) } else { Part::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_clients_write_them() {
        const GIB5: u64 = 5 << 30;
        for (header, wanted) in [
            ("bytes=0-3", Part::Of(0..4)),
            ("bytes=0-", Part::Of(0..GIB5)),
            ("bytes=5000000000-5000000009", Part::Of(5_000_000_000..5_000_000_010)),
            ("bytes=-10", Part::Of(GIB5 - 10..GIB5)),
            ("bytes=-99999999999", Part::Of(0..GIB5)),
            ("bytes=10-99999999999999999999999", Part::Of(10..GIB5)),
            ("bytes=5368709120-", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=9-3", Part::Whole),
            ("bytes=0-3,7-9", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-3", Part::Whole),
        ] {
            assert_eq!(part(Some(header), GIB5), wanted, "{header}");
        }
        assert_eq!(part(None, 1), Part::Whole);
    }
}
