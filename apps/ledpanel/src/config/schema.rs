//! Every key there is: one row each. Reading, checking, the example file and the documentation are held to these rows.

use holdfast_settings::texts::{self, BUS, is_line};
use holdfast_settings::{Absent, Key, Takes};

use super::BUS_VARIABLE;
use super::checks::{
    is_character, is_device_path, is_file_name, is_host, is_input_device, is_key_name, is_light, is_night, is_note,
};

const fn number(min: u64, max: u64, what: &'static str) -> Takes {
    Takes::Number { min, max, what }
}

const PATH: Takes = Takes::Text { allowed: "a path below /dev", test: is_device_path };
const LINE: Takes = Takes::TextOrNumber { allowed: "the name of a line or its offset", test: is_line, max: 1023 };
const ACTIONS: Takes = Takes::Choice(&["nothing", "start", "mark", "stop", "identify", "lamp-test"]);
const LEVEL: Takes = Takes::Choice(&["low", "high"]);
const BIAS: Takes = Takes::Choice(&["pull-up", "pull-down", "off"]);
const WIRE: Takes = number(0, 65535, "the number on the wire");

/// What a `[[device]]` can be.
pub(super) const KINDS: &[&str] =
    &["gpio", "raspberry", "leds", "evdev", "modbus-tcp", "modbus-rtu", "mcu", "terminal", "display"];

/// `[panel]`
pub(super) const PANEL: &[Key] = &[
    Key::with_default("bus", BUS, "\"system\"").or_environment(BUS_VARIABLE),
    Key::with_default("brightness", number(1, 100, "percent"), "100"),
    Key::new(
        "night",
        Takes::Text { allowed: "two different times of the day, as \"22:00-06:00\"", test: is_night },
        Absent::Nothing,
        "\"22:00-06:00\"",
    ),
    Key::with_default("night_brightness", number(1, 100, "percent"), "10"),
    Key::with_default("buzzer", Takes::Flag, "true"),
    Key::with_default("allow_press_button", Takes::Flag, "false"),
    Key::with_default("hold_ms", number(500, 10_000, "milliseconds"), "1500"),
    Key::with_default("debounce_ms", number(0, 100, "milliseconds"), "20"),
    Key::with_default("double_ms", number(100, 1000, "milliseconds"), "400"),
    Key::with_default("short_while_recording", Takes::Choice(&["mark", "nothing"]), "\"mark\""),
    Key::with_default(
        "mark_text",
        Takes::Text { allowed: "up to 200 characters on one line", test: is_note },
        "\"button\"",
    ),
];

/// `[[button]]`. The defaults are those of `record`; other buttons do nothing that is not written.
pub(super) const BUTTON: &[Key] = &[
    Key::new("name", texts::NAME, Absent::Mistake, "\"record\""),
    Key::new("short", ACTIONS, Absent::Nothing, "\"start\""),
    Key::new("double", ACTIONS, Absent::Nothing, "\"nothing\""),
    Key::new("long", ACTIONS, Absent::Nothing, "\"stop\""),
];

/// `[[chord]]`
pub(super) const CHORD: &[Key] = &[
    Key::new(
        "buttons",
        Takes::Texts { allowed: "a list of two different buttons" },
        Absent::Mistake,
        "[\"record\", \"mark\"]",
    ),
    Key::with_default("action", ACTIONS, "\"identify\""),
];

const NAME: Key = Key::new("name", texts::NAME, Absent::Mistake, "\"front\"");
const KIND: Key = Key::new("kind", Takes::Choice(KINDS), Absent::Mistake, "\"gpio\"");
/// What every device has, whatever its kind.
pub(super) const ANY_DEVICE: &[Key] = &[NAME, KIND];
const BUTTON_OF: Key = Key::new("button", texts::NAME, Absent::Mistake, "\"record\"");
const LIGHT_OF: Key = Key::new(
    "light",
    Takes::Text { allowed: "\"record\", \"record.<input>\" or \"status\"", test: is_light },
    Absent::Mistake,
    "\"record\"",
);
const PART: Key = Key::new("part", Takes::Choice(&["red", "green", "blue"]), Absent::Nothing, "\"red\"");
const ACTIVE_BUTTON: Key = Key::with_default("active", LEVEL, "\"low\"");
const ACTIVE_LIGHT: Key = Key::with_default("active", LEVEL, "\"high\"");
const BIAS_OF: Key = Key::with_default("bias", BIAS, "\"pull-up\"");
const LINE_OF: Key = Key::new("line", LINE, Absent::Mistake, "\"REC_BUTTON\"");
const PIN_OF: Key = Key::new("pin", number(0, 27, "a BCM number"), Absent::Mistake, "17");
const PORT_OF: Key = Key::new("port", PATH, Absent::Mistake, "\"/dev/ttyS1\"");
const BAUD: Takes = number(1200, 4_000_000, "bits per second");
const UNIT: Key = Key::with_default("unit", number(1, 247, "a unit's number"), "1");
const POLL: Key = Key::with_default("poll_ms", number(5, 1000, "milliseconds"), "20");
const TIMEOUT: Key = Key::with_default("timeout_ms", number(20, 5000, "milliseconds"), "200");
const COIL: Key = Key::new("coil", WIRE, Absent::Nothing, "0");
const DISCRETE: Key = Key::new("discrete", WIRE, Absent::Nothing, "0");
const REGISTER: Key = Key::new("register", WIRE, Absent::Nothing, "0");
const FULL: Key = Key::with_default("full", number(1, 65535, "what the register gets at full brightness"), "255");
const NUMBER_OF: Key = Key::new("number", number(0, 31, "the button's or light's number"), Absent::Mistake, "0");
const HIGH_BUTTON: Key = Key::with_default("active", LEVEL, "\"high\"");

/// The keys of one kind of device, and of its buttons and lights. Empty: it has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
    pub(super) button: &'static [Key],
    pub(super) light: &'static [Key],
    /// Of `[device.buzzer]`.
    pub(super) buzzer: &'static [Key],
}

/// A unit on Modbus, however it is reached.
const fn modbus(name: &'static str, keys: &'static [Key]) -> Kind {
    Kind {
        name,
        keys,
        button: &[BUTTON_OF, DISCRETE, COIL, HIGH_BUTTON],
        light: &[LIGHT_OF, PART, COIL, REGISTER, FULL, ACTIVE_LIGHT],
        buzzer: &[COIL, REGISTER, FULL, ACTIVE_LIGHT],
    }
}

/// Each kind, in the order of [`KINDS`].
pub(super) const DEVICES: &[Kind] = &[
    Kind {
        name: "gpio",
        keys: &[
            NAME,
            KIND,
            Key::new(
                "chip",
                Takes::Text { allowed: "the label or name of a chip, as gpiodetect tells it", test: is_line },
                Absent::Mistake,
                "\"gpiochip0\"",
            ),
        ],
        button: &[BUTTON_OF, LINE_OF, ACTIVE_BUTTON, BIAS_OF],
        light: &[LIGHT_OF, PART, LINE_OF, ACTIVE_LIGHT],
        buzzer: &[LINE_OF, ACTIVE_LIGHT],
    },
    Kind {
        name: "raspberry",
        keys: ANY_DEVICE,
        button: &[BUTTON_OF, PIN_OF, ACTIVE_BUTTON, BIAS_OF],
        light: &[LIGHT_OF, PART, PIN_OF, ACTIVE_LIGHT, Key::with_default("pwm", Takes::Flag, "true")],
        buzzer: &[PIN_OF, ACTIVE_LIGHT],
    },
    Kind {
        name: "leds",
        keys: ANY_DEVICE,
        button: &[],
        light: &[
            LIGHT_OF,
            PART,
            Key::new(
                "led",
                Takes::Text { allowed: "a name below /sys/class/leds", test: is_file_name },
                Absent::Mistake,
                "\"red:recording\"",
            ),
        ],
        buzzer: &[],
    },
    Kind {
        name: "evdev",
        keys: &[
            NAME,
            KIND,
            Key::new(
                "device",
                Takes::Text { allowed: "a path below /dev/input, or a device's name", test: is_input_device },
                Absent::Mistake,
                "\"gpio-keys\"",
            ),
            Key::with_default("grab", Takes::Flag, "true"),
        ],
        button: &[
            BUTTON_OF,
            Key::new(
                "key",
                Takes::TextOrNumber {
                    allowed: "a key's name as in input-event-codes.h, or its number",
                    test: is_key_name,
                    max: 767,
                },
                Absent::Mistake,
                "\"KEY_RECORD\"",
            ),
        ],
        light: &[],
        buzzer: &[],
    },
    modbus(
        "modbus-tcp",
        &[
            NAME,
            KIND,
            Key::new(
                "host",
                Takes::Text { allowed: "an IP address or a host's name", test: is_host },
                Absent::Mistake,
                "\"192.168.1.50\"",
            ),
            Key::with_default("port", number(1, 65535, "a TCP port"), "502"),
            UNIT,
            POLL,
            TIMEOUT,
        ],
    ),
    modbus(
        "modbus-rtu",
        &[
            NAME,
            KIND,
            PORT_OF,
            Key::with_default("baud", BAUD, "19200"),
            Key::with_default("parity", Takes::Choice(&["none", "even", "odd"]), "\"even\""),
            Key::with_default("stop_bits", number(1, 2, "stop bits"), "1"),
            UNIT,
            POLL,
            TIMEOUT,
        ],
    ),
    Kind {
        name: "mcu",
        keys: &[
            NAME,
            KIND,
            PORT_OF,
            Key::with_default("baud", BAUD, "115200"),
            Key::with_default("display", Takes::Flag, "false"),
        ],
        button: &[BUTTON_OF, NUMBER_OF],
        light: &[LIGHT_OF, NUMBER_OF],
        buzzer: &[],
    },
    Kind {
        name: "terminal",
        keys: ANY_DEVICE,
        button: &[
            BUTTON_OF,
            Key::new(
                "key",
                Takes::Text { allowed: "one character that can be typed, but not \"q\" or \"s\"", test: is_character },
                Absent::Mistake,
                "\"m\"",
            ),
        ],
        light: &[LIGHT_OF],
        buzzer: &[],
    },
    Kind {
        name: "display",
        keys: &[
            NAME,
            KIND,
            Key::new("controller", Takes::Choice(&["hd44780", "ssd1306"]), Absent::Mistake, "\"ssd1306\""),
            Key::with_default("bus", PATH, "\"/dev/i2c-1\""),
            Key::new("address", number(0x03, 0x77, "an I2C address"), Absent::Mistake, "0x3c"),
        ],
        button: &[],
        light: &[],
        buzzer: &[],
    },
];
