//! Bounded strings of the wire.

use heapless::String;

/// A session id or an input name. Both are made of ASCII letters, digits, `-` and `_`.
pub type Id = String<64>;
/// A path relative to the storage root.
pub type Path = String<256>;
/// Text for people: an error, a label, a device name. Longer text is [clipped](clip).
pub type Text = String<256>;

/// Copies as much of `text` as fits, cut at a character boundary.
///
/// For people's text only. An id or a path that does not fit is an error of its sender (`Id::try_from`), never clipped.
#[must_use]
pub fn clip<const N: usize>(text: &str) -> String<N> {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // The cut piece is at most N bytes long, so this cannot fail.
    String::try_from(&text[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn clips_at_a_character_boundary() {
        assert_eq!(clip::<4>("abcé").as_str(), "abc");
        assert_eq!(clip::<5>("abcé").as_str(), "abcé");
        assert_eq!(clip::<8>("").as_str(), "");
    }
}
