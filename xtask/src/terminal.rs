//! How we speak to people: on standard error, so that standard output is free for results that programs read.

use std::time::Duration;

use console::{Alignment, measure_text_width, pad_str, style};

/// Begins a step.
pub fn step(text: &str) {
    eprintln!("{} {}", style("▶").cyan().bold().for_stderr(), style(text).bold().for_stderr());
}

/// Something went as it should.
pub fn good(text: &str) {
    eprintln!("{} {text}", style("✔").green().bold().for_stderr());
}

/// Something a person should know.
pub fn note(text: &str) {
    eprintln!("{} {text}", style("!").yellow().bold().for_stderr());
}

/// Something failed.
pub fn fail(text: &str) {
    eprintln!("{} {text}", style("✘").red().bold().for_stderr());
}

/// 1234567 → "1 234 567".
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// "850 ms", "12.3 s", "4 min 07 s".
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// A table: the first column to the left, the others to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self::default();
        table.row(head);
        table
    }

    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints it to standard error.
    pub fn print(&self) {
        eprintln!("{}", self.render());
    }

    fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| measure_text_width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    let alignment = if column == 0 { Alignment::Left } else { Alignment::Right };
                    let cell = pad_str(cell, *width, alignment, None);
                    if number == 0 { style(cell).bold().for_stderr().to_string() } else { cell.into_owned() }
                })
                .collect();
            out += &format!("  {}\n", cells.join("  ").trim_end());
            if number == 0 {
                let line: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                out += &format!("  {}\n", style(line.join("  ")).dim().for_stderr());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(super::thousands(number).replace('\u{202f}', " "), text);
        }
    }

    #[test]
    fn durations_read_well() {
        for (ms, text) in [(850, "850 ms"), (12_340, "12.3 s"), (247_900, "4 min 07 s")] {
            assert_eq!(super::duration(Duration::from_millis(ms)), text);
        }
    }
}
