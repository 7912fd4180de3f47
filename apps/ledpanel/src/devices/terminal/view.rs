//! What is on the screen: each light as a disc with a strip of its last seconds, the two lines of text, and the keys.

use std::collections::{BTreeMap, VecDeque};

use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::TerminalConfig;
use super::keys::{HOLD, QUIT};
use crate::model::{Button, Colour, Frame, Light, RECORD, Shade};

/// Columns of a strip.
const COLUMNS: u64 = 30;
/// Time of one column.
const COLUMN_NS: u64 = 100_000_000;
const STRIP_NS: u64 = COLUMNS * COLUMN_NS;

/// What each light has shown of late.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<Light, VecDeque<(u64, Shade)>>);

impl History {
    /// Takes note of what is shown from now on.
    pub(super) fn note(&mut self, frame: &Frame, now_ns: u64) {
        for light in frame.lights.keys() {
            let changes = self.0.entry(light.clone()).or_default();
            if changes.back().map(|(_, shade)| *shade) != Some(frame.shade(light)) {
                changes.push_back((now_ns, frame.shade(light)));
            }
            // The one before the strip begins says how it begins.
            while changes.get(1).is_some_and(|(since, _)| since + STRIP_NS < now_ns) {
                changes.pop_front();
            }
        }
    }

    /// Whether time alone changes a strip.
    pub(super) fn moves(&self, now_ns: u64) -> bool {
        self.0.values().filter_map(VecDeque::back).any(|(since, _)| now_ns < since + STRIP_NS + COLUMN_NS)
    }

    /// Column by column the brightest that was shown, the newest last. Columns stand on whole steps of time, so that a
    /// strip moves and does not flicker.
    fn strip(&self, light: &Light, now_ns: u64) -> Vec<Option<Column>> {
        let none = VecDeque::new();
        let changes = self.0.get(light).unwrap_or(&none);
        let newest = now_ns / COLUMN_NS;
        let column = |column: u64| {
            let from = (newest + 1 + column).checked_sub(COLUMNS)? * COLUMN_NS;
            let ends = changes.iter().skip(1).map(|(since, _)| *since).chain([u64::MAX]);
            let shown = changes.iter().zip(ends).filter(|((since, _), end)| *since < from + COLUMN_NS && *end > from);
            let shown: Vec<Shade> = shown.map(|((_, shade), _)| *shade).collect();
            let brightest = shown.iter().copied().max_by_key(|shade| shade.level)?;
            Some(Column { brightest, steady: shown.iter().all(|shade| shade.level > 0) })
        };
        (0..COLUMNS).map(column).collect()
    }
}

/// What a light has shown within one column of its strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    brightest: Shade,
    /// It was on all the time: what blinks faster than a column must not look as if it were steady.
    steady: bool,
}

/// One moment of the screen.
#[derive(Debug)]
pub(super) struct View {
    lights: Vec<(Light, Shade, Vec<Option<Column>>)>,
    buzzer: bool,
    text: [String; 2],
    /// Name, key, whether it is down.
    buttons: Vec<(Button, char, bool)>,
    releases: bool,
}

impl View {
    pub(super) fn new(
        config: &TerminalConfig,
        frame: &Frame,
        history: &History,
        held: &BTreeMap<Button, bool>,
        releases: bool,
        now_ns: u64,
    ) -> Self {
        let mut lights: Vec<&Light> = config.lights.iter().collect();
        lights.extend(frame.lights.keys().filter(|light| !config.lights.contains(light)));
        let light = |light: &Light| (light.clone(), frame.shade(light), history.strip(light, now_ns));
        let button =
            |(button, key): &(Button, char)| (button.clone(), *key, held.get(button).copied().unwrap_or_default());
        Self {
            lights: lights.into_iter().map(light).collect(),
            buzzer: frame.buzzer,
            text: frame.text.clone(),
            buttons: config.buttons.iter().map(button).collect(),
            releases,
        }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas<'_>) {
        let lights: Vec<Line<'_>> = self.lights.iter().map(|light| self.light(light)).collect();
        let [lamps, text, keys] = Layout::vertical([
            Constraint::Length(u16::try_from(lights.len()).unwrap_or(u16::MAX).saturating_add(3)),
            Constraint::Length(4),
            Constraint::Min(1),
        ])
        .areas(canvas.area());
        let mut block = Block::bordered().title(" Holdfast panel ");
        if self.buzzer {
            block =
                block.title(Line::styled(" ♪ buzzer ", Style::new().add_modifier(Modifier::REVERSED)).right_aligned());
        }
        let scale = Span::styled(format!("{:>24}3 s ago{:>23}", "", "now"), Style::new().fg(Color::DarkGray));
        let lines: Vec<Line<'_>> = std::iter::once(Line::from(scale)).chain(lights).collect();
        canvas.render_widget(Paragraph::new(lines).block(block), lamps);
        let shown: Vec<Line<'_>> = self.text.iter().map(|line| Line::from(line.as_str())).collect();
        canvas.render_widget(Paragraph::new(shown).block(Block::bordered().title(" display ")), text);
        canvas.render_widget(Paragraph::new(self.keys()), keys);
    }

    fn light(&self, (light, shade, strip): &(Light, Shade, Vec<Option<Column>>)) -> Line<'_> {
        let disc = if shade.level == 0 { "○" } else { "●" };
        let mut spans = vec![
            Span::styled(format!(" {disc} "), style(*shade)),
            Span::raw(format!("{:<12} ", light.to_string())),
            Span::styled(format!("{:<7} ", word(*shade)), style(*shade)),
        ];
        spans.extend(strip.iter().map(|column| {
            let Some(Column { brightest, steady }) = column else { return Span::raw(" ") };
            let sign = match brightest.level {
                0 => "▁",
                _ if !steady => "▒",
                1..128 => "▄",
                _ => "█",
            };
            Span::styled(sign, style(*brightest))
        }));
        spans.push(Span::styled(format!("  {}", meaning(light)), Style::new().fg(Color::DarkGray)));
        Line::from(spans)
    }

    fn keys(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        for (button, key, down) in &self.buttons {
            let keys = if button.0 == RECORD { format!("space or {key}") } else { key.to_string() };
            let what = if self.releases { "press, hold and let go as on a button" } else { "a short press" };
            let state = if *down { "  ▼ down" } else { "" };
            let style = if *down { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
            lines.push(Line::styled(format!(" {keys:<11} {button}: {what}{state}"), style));
        }
        if !self.releases {
            let told = format!(" {HOLD:<11} {RECORD}: a long press (a key is not told to be let go here)");
            lines.push(Line::from(told));
        }
        lines.push(Line::from(format!(" {QUIT:<11} quit")));
        lines
    }
}

fn style(shade: Shade) -> Style {
    if shade.level == 0 {
        return Style::new().fg(Color::DarkGray);
    }
    let style = Style::new().fg(match shade.colour {
        Colour::Red => Color::Red,
        Colour::Amber => Color::Yellow,
        Colour::Green => Color::Green,
        Colour::Blue => Color::Blue,
        Colour::White => Color::White,
    });
    if shade.level < 128 { style.add_modifier(Modifier::DIM) } else { style }
}

/// In words too: not everybody tells colours apart.
fn word(shade: Shade) -> &'static str {
    match shade.colour {
        _ if shade.level == 0 => "off",
        Colour::Red => "red",
        Colour::Amber => "amber",
        Colour::Green => "green",
        Colour::Blue => "blue",
        Colour::White => "white",
    }
}

fn meaning(light: &Light) -> String {
    match light {
        Light::Record => "steady: safe footage".to_owned(),
        Light::RecordInput(input) => format!("the same of {input}"),
        Light::Status => "how the box is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    const ON: Shade = Shade { colour: Colour::Red, level: 255 };
    const DIM: Shade = Shade { colour: Colour::Amber, level: 40 };
    const OFF: Shade = Shade { colour: Colour::Red, level: 0 };

    fn frame(record: Shade, status: Shade) -> Frame {
        let lights = [(Light::Record, record), (Light::Status, status)].into();
        Frame { lights, buzzer: false, text: ["RECORDING".to_owned(), "00:01:02  3h left".to_owned()] }
    }

    fn config() -> TerminalConfig {
        let buttons = vec![(Button("record".to_owned()), 'r'), (Button("mark".to_owned()), 'm')];
        TerminalConfig { buttons, lights: vec![Light::Record, Light::Status], hold_ms: 1500, debounce_ms: 20 }
    }

    fn drawn(view: &View) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(80, 14)).unwrap();
        terminal.draw(|canvas| view.draw(canvas)).unwrap();
        terminal
    }

    /// Half a second on, half a second off, and a status light that is dim throughout.
    fn blinking() -> (History, u64) {
        let mut history = History::default();
        let mut at = 10_000_000_000;
        for step in 0..8 {
            history.note(&frame(if step % 2 == 0 { ON } else { OFF }, DIM), at);
            at += 500_000_000;
        }
        (history, at - 100_000_000)
    }

    #[test]
    fn a_light_is_a_disc_a_word_and_its_pattern() {
        let (history, now) = blinking();
        let held = [(Button("record".to_owned()), true)].into();
        let view = View::new(&config(), &frame(ON, DIM), &history, &held, false, now);
        let terminal = drawn(&view);
        let buffer = terminal.backend().buffer();
        assert_eq!(text(buffer), EXPECTED);
        let disc = |row| buffer.cell((2, row)).map(|cell| (cell.symbol(), cell.fg, cell.modifier)).unwrap();
        assert_eq!(disc(2), ("●", Color::Red, Modifier::empty()));
        assert_eq!(disc(3), ("●", Color::Yellow, Modifier::DIM));
    }

    #[test]
    fn what_is_off_and_the_buzzer_and_a_terminal_that_tells_releases_look_so() {
        let frame = Frame { buzzer: true, ..frame(OFF, OFF) };
        let view = View::new(&config(), &frame, &History::default(), &BTreeMap::new(), true, 1_000_000_000);
        let told = text(drawn(&view).backend().buffer());
        assert!(told.contains("♪ buzzer") && told.contains("○ record       off"), "{told}");
        assert!(told.contains("hold and let go") && !told.contains("long press"), "{told}");
    }

    const EXPECTED: &str = "\
┌ Holdfast panel ──────────────────────────────────────────────────────────────┐
│                        3 s ago                    now                        │
│ ● record       red     █████▁▁▁▁▁█████▁▁▁▁▁█████▁▁▁▁▁  steady: safe footage  │
│ ● status       amber   ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄  how the box is        │
└──────────────────────────────────────────────────────────────────────────────┘
┌ display ─────────────────────────────────────────────────────────────────────┐
│RECORDING                                                                     │
│00:01:02  3h left                                                             │
└──────────────────────────────────────────────────────────────────────────────┘
 space or r  record: a short press  ▼ down
 m           mark: a short press
 s           record: a long press (a key is not told to be let go here)
 q           quit";

    fn text(buffer: &ratatui::buffer::Buffer) -> String {
        let width = usize::from(buffer.area.width);
        let rows = buffer.content.chunks(width).map(|row| {
            let row: String = row.iter().map(|cell| cell.symbol()).collect();
            row.trim_end().to_owned()
        });
        rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    #[test]
    fn a_flash_between_two_columns_is_not_lost() {
        let mut history = History::default();
        history.note(&frame(OFF, OFF), 10_000_000_000);
        history.note(&frame(ON, OFF), 11_110_000_000);
        history.note(&frame(OFF, OFF), 11_120_000_000);
        let strip = history.strip(&Light::Record, 12_000_000_000);
        let flashes: Vec<&Column> = strip.iter().flatten().filter(|column| column.brightest.level > 0).collect();
        assert_eq!(flashes, [&Column { brightest: ON, steady: false }]);
    }

    /// As a fault is told: faster than a column of the strip.
    #[test]
    fn what_blinks_fast_never_looks_steady() {
        let mut history = History::default();
        let mut now = 10_000_000_000;
        for step in 0..100 {
            history.note(&frame(if step % 2 == 0 { ON } else { OFF }, ON), now);
            now += 60_000_000;
        }
        let view = View::new(&config(), &frame(ON, ON), &history, &BTreeMap::new(), false, now);
        let told = text(drawn(&view).backend().buffer());
        let strips: Vec<&str> = told.lines().filter(|line| line.starts_with("│ ●")).collect();
        assert!(strips[0].contains("▒▒▒▒▒") && !strips[0].contains('█'), "{told}");
        assert!(strips[1].contains("█████") && !strips[1].contains('▒'), "{told}");
    }

    #[test]
    fn what_is_steady_needs_no_drawing_and_is_kept_once() {
        let (mut history, mut now) = blinking();
        assert!(history.moves(now));
        for _ in 0..100 {
            now += 100_000_000;
            history.note(&frame(ON, DIM), now);
        }
        assert!(!history.moves(now));
        assert!(history.0.values().all(|changes| changes.len() == 1), "{history:?}");
        let steady = Column { brightest: ON, steady: true };
        assert!(history.strip(&Light::Record, now).iter().all(|column| *column == Some(steady)));
    }
}
