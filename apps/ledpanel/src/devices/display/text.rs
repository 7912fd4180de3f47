//! What fits on a display. Pure.

/// Two lines, each exactly as wide as the display, in characters that every display has.
pub type Lines = [String; 2];

/// Cuts, fills and spells out.
pub fn lines(text: &[String; 2], columns: usize) -> Lines {
    text.each_ref().map(|line| {
        let mut line = line.chars().map(plain).take(columns).collect::<String>();
        line.extend(std::iter::repeat_n(' ', columns - line.len()));
        line
    })
}

/// The character tables of displays agree on ASCII only (and of HD44780 not even on all of it).
fn plain(character: char) -> char {
    match character {
        ' '..='~' => character,
        '…' => '.',
        '–' | '—' | '−' => '-',
        '’' | '‘' => '\'',
        '“' | '”' | '„' => '"',
        'ä' | 'à' | 'á' | 'â' => 'a',
        'ç' => 'c',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'ñ' => 'n',
        'ö' | 'ò' | 'ó' | 'ô' => 'o',
        'ü' | 'ù' | 'ú' | 'û' => 'u',
        other if other.is_control() || other.is_whitespace() => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(first: &str, second: &str, columns: usize) -> Lines {
        lines(&[first.to_owned(), second.to_owned()], columns)
    }

    #[test]
    fn lines_are_exactly_as_wide_as_the_display() {
        assert_eq!(shown("REC 00:12:34", "", 16), ["REC 00:12:34    ", "                "]);
        assert_eq!(shown("exactly sixteen!", "more than sixteen", 16), ["exactly sixteen!", "more than sixtee"]);
        assert_eq!(shown("REC 00:12:34", "", 20).map(|line| line.len()), [20, 20]);
    }

    #[test]
    fn what_a_display_has_not_is_spelt_with_what_it_has() {
        assert_eq!(shown("3 h – full…", "Kamera Süd 日", 16), ["3 h - full.     ", "Kamera Sud ?    "]);
        assert_eq!(shown("a\tb\u{1b}[2J", "\u{7f}", 8), ["a b [2J ", "        "]);
    }
}
