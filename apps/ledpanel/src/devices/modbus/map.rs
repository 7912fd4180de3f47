//! What is wired where, made into few requests. Pure.

use std::collections::BTreeSet;

use super::{ButtonPoint, LightPoint, ModbusConfig, Part, Point, PointKind, Transport};
use crate::devices::DeviceError;
use crate::model::{Button, Frame, Light};

/// The most bits that one request may ask for is 2000, and that it may write 1968; of registers it may write 123. One
/// limit for all: nobody's panel has more neighbours, and if so there are two requests.
const MOST: usize = 120;

/// All that is asked for and written.
#[derive(Debug)]
pub struct Map {
    pub reads: Vec<Range<Input>>,
    pub writes: Vec<Range<Output>>,
}

/// Neighbours in one table, for one request. Gaps are not bridged: a module may refuse what lies in them.
#[derive(Debug)]
pub struct Range<T> {
    pub kind: PointKind,
    pub start: u16,
    /// At `start`, `start + 1`, …: never empty.
    pub points: Vec<T>,
}

/// A button's bit.
#[derive(Debug, Clone)]
pub struct Input {
    pub button: Button,
    pub point: Point,
}

/// A light's or the buzzer's bit or register.
#[derive(Debug, Clone)]
pub struct Output {
    what: Source,
    pub point: Point,
}

#[derive(Debug, Clone)]
enum Source {
    Light { light: Light, part: Option<Part>, full: u16 },
    Buzzer,
}

/// What stands in a table: a place, and the key of the configuration that put it there.
pub trait Wired {
    fn point(&self) -> Point;
    fn key(&self) -> String;
}

impl Wired for Input {
    fn point(&self) -> Point {
        self.point
    }

    fn key(&self) -> String {
        format!("buttons.{}", self.button)
    }
}

impl Wired for Output {
    fn point(&self) -> Point {
        self.point
    }

    fn key(&self) -> String {
        match &self.what {
            Source::Light { light, part: None, .. } => format!("lights.{light}"),
            Source::Light { light, part: Some(part), .. } => format!("lights.{light} ({part})"),
            Source::Buzzer => "buzzer".to_owned(),
        }
    }
}

impl Output {
    /// What is to stand there for this frame; a coil is 0 or 1.
    pub fn value(&self, frame: &Frame) -> u16 {
        let (level, full) = match &self.what {
            Source::Light { light, part, full } => {
                let shade = frame.shade(light);
                let [red, green, blue] = shade.colour.rgb();
                let share = match part {
                    None => 255,
                    Some(Part::Red) => red,
                    Some(Part::Green) => green,
                    Some(Part::Blue) => blue,
                };
                (u64::from(shade.level) * u64::from(share), *full)
            }
            Source::Buzzer => (u64::from(frame.buzzer) * 255 * 255, 1),
        };
        let full = if self.point.kind == PointKind::HoldingRegister { full } else { 1 };
        // Rounded up: what is on at all is seen.
        let value = u16::try_from((level * u64::from(full)).div_ceil(255 * 255)).unwrap_or(full);
        if self.point.active_low { full - value } else { value }
    }
}

impl<T: Wired> Range<T> {
    /// How many points.
    pub fn count(&self) -> u16 {
        u16::try_from(self.points.len()).unwrap_or(u16::MAX)
    }

    /// For people: `coils 3 to 7`.
    pub fn describe(&self) -> String {
        match self.points.as_slice() {
            [only] => format!("{} ({})", only.point(), only.key()),
            _ => {
                let keys = self.points.iter().map(Wired::key).collect::<Vec<_>>().join(", ");
                let last = usize::from(self.start) + self.points.len() - 1;
                format!("{}s {} to {last} ({keys})", self.kind, self.start)
            }
        }
    }
}

impl Map {
    /// Checks the configuration and makes requests of it.
    pub fn new(config: &ModbusConfig) -> Result<Self, DeviceError> {
        let wrong = |what: String, remedy: &str| Err(DeviceError::new(format!("{config}: {what}"), remedy));
        if !(1..=1000).contains(&config.poll_ms) {
            return wrong(format!("poll_ms = {} is not 1 to 1000", config.poll_ms), "Leave it out: it is 20 then");
        }
        if !(1..=10_000).contains(&config.timeout_ms) {
            let remedy = "Leave it out: it is 200 then";
            return wrong(format!("timeout_ms = {} is not 1 to 10000", config.timeout_ms), remedy);
        }
        if matches!(config.transport, Transport::Rtu { .. }) && !(1..=247).contains(&config.unit) {
            let what = format!("unit = {} does not answer on a serial line", config.unit);
            return wrong(what, "Set the module and unit to the same number from 1 to 247");
        }
        let buttons = config.buttons.iter().map(Input::from).collect::<Vec<_>>();
        let lights = config.lights.iter().map(Output::from);
        let buzzer = config.buzzer.map(|point| Output { what: Source::Buzzer, point });
        let outputs = lights.chain(buzzer).collect::<Vec<_>>();
        if buttons.is_empty() && outputs.is_empty() {
            return wrong("nothing is wired to it".to_owned(), "Give it buttons or lights, or leave it out");
        }
        if let Some(light) = config.lights.iter().find(|at| at.point.kind == PointKind::HoldingRegister && at.full == 0)
        {
            return wrong(format!("lights.{} can never be bright", light.light), "Set its maximum to at least 1");
        }
        if let Some(input) = buttons.iter().find(|input| input.point.kind == PointKind::HoldingRegister) {
            let what = format!("{} is on a holding register", input.key());
            return wrong(what, "Buttons are on a discrete_input or a coil");
        }
        if let Some(output) = outputs.iter().find(|output| output.point.kind == PointKind::DiscreteInput) {
            let what = format!("{} is on a discrete input, which can't be written", output.key());
            return wrong(what, "Lights are on a coil or a holding_register");
        }
        let mut taken = BTreeSet::new();
        let all = buttons.iter().map(|i| i as &dyn Wired).chain(outputs.iter().map(|o| o as &dyn Wired));
        for wired in all {
            let point = wired.point();
            if !taken.insert((point.kind, point.address)) {
                let what = format!("{} is on {point}, which has something else on it", wired.key());
                return wrong(what, "Give each button, light and part of a colour an address of its own");
            }
        }
        Ok(Self { reads: neighbours(buttons), writes: neighbours(outputs) })
    }
}

impl From<&ButtonPoint> for Input {
    fn from(at: &ButtonPoint) -> Self {
        Self { button: at.button.clone(), point: at.point }
    }
}

impl From<&LightPoint> for Output {
    fn from(at: &LightPoint) -> Self {
        Self { what: Source::Light { light: at.light.clone(), part: at.part, full: at.full }, point: at.point }
    }
}

/// As few ranges as there can be without a gap in one.
fn neighbours<T: Wired>(mut points: Vec<T>) -> Vec<Range<T>> {
    points.sort_by_key(|wired| (wired.point().kind, wired.point().address));
    let mut ranges = Vec::<Range<T>>::new();
    for wired in points {
        let Point { kind, address, .. } = wired.point();
        let follows = |range: &Range<T>| {
            let next = usize::from(range.start) + range.points.len();
            range.kind == kind && next == usize::from(address) && range.points.len() < MOST
        };
        match ranges.last_mut() {
            Some(range) if follows(range) => range.points.push(wired),
            _ => ranges.push(Range { kind, start: address, points: vec![wired] }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Colour, Shade};

    fn point(kind: PointKind, address: u16) -> Point {
        Point { kind, address, active_low: false }
    }

    fn config() -> ModbusConfig {
        ModbusConfig::new("desk", Transport::Tcp { host: "module".to_owned(), port: 502 }, 1)
    }

    fn button(name: &str, kind: PointKind, address: u16) -> ButtonPoint {
        ButtonPoint { button: Button(name.to_owned()), point: point(kind, address) }
    }

    fn light(light: Light, point: Point, part: Option<Part>, full: u16) -> LightPoint {
        LightPoint { light, point, part, full }
    }

    fn shown(colour: Colour, level: u8) -> Frame {
        Frame { lights: [(Light::Status, Shade { colour, level })].into(), ..Frame::default() }
    }

    fn value(point: Point, part: Option<Part>, full: u16, frame: &Frame) -> u16 {
        Output::from(&light(Light::Status, point, part, full)).value(frame)
    }

    #[test]
    fn neighbours_go_into_one_request_and_gaps_are_not_bridged() {
        let kinds = [(PointKind::Coil, 0), (PointKind::DiscreteInput, 65_535), (PointKind::DiscreteInput, 1)];
        let mut at = vec![(PointKind::DiscreteInput, 2), (PointKind::DiscreteInput, 0), (PointKind::DiscreteInput, 4)];
        at.extend(kinds);
        let buttons = at.iter().enumerate().map(|(n, &(kind, address))| button(&n.to_string(), kind, address));
        let map = Map::new(&ModbusConfig { buttons: buttons.collect(), ..config() }).unwrap();
        let told = map.reads.iter().map(|range| (range.kind, range.start, range.count())).collect::<Vec<_>>();
        let discrete = PointKind::DiscreteInput;
        assert_eq!(told, [(discrete, 0, 3), (discrete, 4, 1), (discrete, 65_535, 1), (PointKind::Coil, 0, 1)]);
        assert_eq!(map.reads[0].describe(), "discrete inputs 0 to 2 (buttons.1, buttons.5, buttons.0)");
    }

    #[test]
    fn a_long_row_is_more_than_one_request() {
        let buttons = (0..300).map(|n| button(&n.to_string(), PointKind::Coil, n)).collect();
        let map = Map::new(&ModbusConfig { buttons, ..config() }).unwrap();
        let told = map.reads.iter().map(|range| (range.start, range.count())).collect::<Vec<_>>();
        assert_eq!(told, [(0, 120), (120, 120), (240, 60)]);
    }

    #[test]
    fn a_level_is_in_proportion_and_what_is_on_is_seen() {
        let register = point(PointKind::HoldingRegister, 0);
        let levels = |full| [0, 1, 128, 255].map(|level| value(register, None, full, &shown(Colour::Red, level)));
        assert_eq!(levels(1000), [0, 4, 502, 1000]);
        assert_eq!(levels(1), [0, 1, 1, 1]);
        assert_eq!(levels(u16::MAX), [0, 257, 32_896, u16::MAX]);
        let inverted = Point { active_low: true, ..register };
        assert_eq!(value(inverted, None, 100, &shown(Colour::Red, 0)), 100);
        assert_eq!(value(inverted, None, 100, &shown(Colour::Red, 255)), 0);
    }

    #[test]
    fn a_coil_is_on_at_any_level_and_knows_its_colour() {
        let coil = point(PointKind::Coil, 0);
        assert_eq!([0, 1, 255].map(|level| value(coil, None, 1000, &shown(Colour::Amber, level))), [0, 1, 1]);
        let parts = [Part::Red, Part::Green, Part::Blue];
        assert_eq!(parts.map(|part| value(coil, Some(part), 0, &shown(Colour::Amber, 9))), [1, 1, 0]);
        assert_eq!(parts.map(|part| value(coil, Some(part), 0, &shown(Colour::White, 0))), [0, 0, 0]);
        let inverted = Point { active_low: true, ..coil };
        assert_eq!(parts.map(|part| value(inverted, Some(part), 0, &shown(Colour::Green, 255))), [1, 0, 1]);
        let buzzer = Output { what: Source::Buzzer, point: coil };
        assert_eq!(
            [false, true].map(|buzzer_on| buzzer.value(&Frame { buzzer: buzzer_on, ..Frame::default() })),
            [0, 1]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_key() {
        let refused = |config: &ModbusConfig| Map::new(config).unwrap_err().to_string();
        let wired = ModbusConfig { buttons: vec![button("record", PointKind::Coil, 3)], ..config() };
        assert!(refused(&config()).contains("nothing is wired"));
        assert!(refused(&ModbusConfig { poll_ms: 0, ..wired.clone() }).contains("poll_ms = 0"));
        assert!(refused(&ModbusConfig { timeout_ms: 0, ..wired.clone() }).contains("timeout_ms = 0"));
        let buttons = vec![button("record", PointKind::HoldingRegister, 3)];
        assert!(refused(&ModbusConfig { buttons, ..config() }).contains("buttons.record is on a holding register"));
        let lights = vec![light(Light::Status, point(PointKind::DiscreteInput, 0), None, 1)];
        assert!(refused(&ModbusConfig { lights, ..config() }).contains("lights.status is on a discrete input"));
        let lights = vec![light(Light::Status, point(PointKind::HoldingRegister, 0), None, 0)];
        assert!(refused(&ModbusConfig { lights, ..config() }).contains("lights.status can never be bright"));
        let lights = vec![light(Light::Status, point(PointKind::Coil, 3), Some(Part::Red), 1)];
        let twice = refused(&ModbusConfig { lights, ..wired.clone() });
        assert!(twice.contains("lights.status (red) is on coil 3, which has something else on it"), "{twice}");
        let path = "/dev/ttyUSB0".into();
        let line =
            Transport::Rtu { path, baud: 9600, parity: super::super::Parity::Even, stop_bits: Default::default() };
        let broadcast = refused(&ModbusConfig { transport: line, unit: 0, ..wired });
        assert!(broadcast.contains("Modbus \"desk\" at /dev/ttyUSB0 (9600 8E1), unit 0: unit = 0"), "{broadcast}");
    }
}
