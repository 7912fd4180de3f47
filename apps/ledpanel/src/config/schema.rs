//! Every key there is: one row each. Reading, checking, the example file and the documentation are held to these rows.

use super::checks::{
    is_bus, is_character, is_device_path, is_file_name, is_host, is_input_device, is_key_name, is_light, is_line,
    is_name, is_night, is_note,
};

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// A whole number within these bounds.
    Number { min: u64, max: u64, what: &'static str },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text that passes this test.
    Text { allowed: &'static str, test: fn(&str) -> bool },
    /// Such a text or a number up to this one.
    TextOrNumber { allowed: &'static str, test: fn(&str) -> bool, max: u64 },
    /// A list of two buttons.
    Buttons,
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    /// This value, as TOML.
    Default(&'static str),
    /// Nothing; the key may be left out.
    Nothing,
    /// It must be written.
    Mistake,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) absent: Absent,
    /// A good value, for the remedy.
    pub(super) example: &'static str,
}

const fn key(name: &'static str, takes: Takes, absent: Absent, example: &'static str) -> Key {
    Key { name, takes, absent, example }
}

const fn with_default(name: &'static str, takes: Takes, default: &'static str) -> Key {
    key(name, takes, Absent::Default(default), default)
}

const fn number(min: u64, max: u64, what: &'static str) -> Takes {
    Takes::Number { min, max, what }
}

const BUTTON_NAME: Takes = Takes::Text { allowed: NAME_ALLOWED, test: is_name };
const NAME_ALLOWED: &str = "1 to 32 ASCII letters, digits, \"-\" and \"_\", the first a letter or digit";
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
    with_default(
        "bus",
        Takes::Text {
            allowed: "\"system\", \"session\" or a D-Bus address such as \"unix:path=/run/dbus/x\"",
            test: is_bus,
        },
        "\"system\"",
    ),
    with_default("brightness", number(1, 100, "percent"), "100"),
    key(
        "night",
        Takes::Text { allowed: "two different times of the day, as \"22:00-06:00\"", test: is_night },
        Absent::Nothing,
        "\"22:00-06:00\"",
    ),
    with_default("night_brightness", number(1, 100, "percent"), "10"),
    with_default("buzzer", Takes::Flag, "true"),
    with_default("allow_press_button", Takes::Flag, "false"),
    with_default("hold_ms", number(500, 10_000, "milliseconds"), "1500"),
    with_default("debounce_ms", number(0, 100, "milliseconds"), "20"),
    with_default("double_ms", number(100, 1000, "milliseconds"), "400"),
    with_default("short_while_recording", Takes::Choice(&["mark", "nothing"]), "\"mark\""),
    with_default("mark_text", Takes::Text { allowed: "up to 200 characters on one line", test: is_note }, "\"button\""),
];

/// `[[button]]`. The defaults are those of `record`; other buttons do nothing that is not written.
pub(super) const BUTTON: &[Key] = &[
    key("name", BUTTON_NAME, Absent::Mistake, "\"record\""),
    key("short", ACTIONS, Absent::Nothing, "\"start\""),
    key("double", ACTIONS, Absent::Nothing, "\"nothing\""),
    key("long", ACTIONS, Absent::Nothing, "\"stop\""),
];

/// `[[chord]]`
pub(super) const CHORD: &[Key] = &[
    key("buttons", Takes::Buttons, Absent::Mistake, "[\"record\", \"mark\"]"),
    with_default("action", ACTIONS, "\"identify\""),
];

const NAME: Key = key("name", BUTTON_NAME, Absent::Mistake, "\"front\"");
const KIND: Key = key("kind", Takes::Choice(KINDS), Absent::Mistake, "\"gpio\"");
const BUTTON_OF: Key = key("button", BUTTON_NAME, Absent::Mistake, "\"record\"");
const LIGHT_OF: Key = key(
    "light",
    Takes::Text { allowed: "\"record\", \"record.<input>\" or \"status\"", test: is_light },
    Absent::Mistake,
    "\"record\"",
);
const PART: Key = key("part", Takes::Choice(&["red", "green", "blue"]), Absent::Nothing, "\"red\"");
const ACTIVE_BUTTON: Key = with_default("active", LEVEL, "\"low\"");
const ACTIVE_LIGHT: Key = with_default("active", LEVEL, "\"high\"");
const BIAS_OF: Key = with_default("bias", BIAS, "\"pull-up\"");
const LINE_OF: Key = key("line", LINE, Absent::Mistake, "\"REC_BUTTON\"");
const PIN_OF: Key = key("pin", number(0, 27, "a BCM number"), Absent::Mistake, "17");
const PORT_OF: Key = key("port", PATH, Absent::Mistake, "\"/dev/ttyS1\"");
const BAUD: Takes = number(1200, 4_000_000, "bits per second");
const UNIT: Key = with_default("unit", number(1, 247, "a unit's number"), "1");
const POLL: Key = with_default("poll_ms", number(5, 1000, "milliseconds"), "20");
const TIMEOUT: Key = with_default("timeout_ms", number(20, 5000, "milliseconds"), "200");
const COIL: Key = key("coil", WIRE, Absent::Nothing, "0");
const DISCRETE: Key = key("discrete", WIRE, Absent::Nothing, "0");
const REGISTER: Key = key("register", WIRE, Absent::Nothing, "0");
const FULL: Key = with_default("full", number(1, 65535, "what the register gets at full brightness"), "255");
const NUMBER_OF: Key = key("number", number(0, 31, "the button's or light's number"), Absent::Mistake, "0");
const HIGH_BUTTON: Key = with_default("active", LEVEL, "\"high\"");

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

/// Each kind, in the order of [`KINDS`].
pub(super) const DEVICES: &[Kind] = &[
    Kind {
        name: "gpio",
        keys: &[
            NAME,
            KIND,
            key(
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
        keys: &[NAME, KIND],
        button: &[BUTTON_OF, PIN_OF, ACTIVE_BUTTON, BIAS_OF],
        light: &[LIGHT_OF, PART, PIN_OF, ACTIVE_LIGHT, with_default("pwm", Takes::Flag, "true")],
        buzzer: &[PIN_OF, ACTIVE_LIGHT],
    },
    Kind {
        name: "leds",
        keys: &[NAME, KIND],
        button: &[],
        light: &[
            LIGHT_OF,
            PART,
            key(
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
            key(
                "device",
                Takes::Text { allowed: "a path below /dev/input, or a device's name", test: is_input_device },
                Absent::Mistake,
                "\"gpio-keys\"",
            ),
            with_default("grab", Takes::Flag, "true"),
        ],
        button: &[
            BUTTON_OF,
            key(
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
    Kind {
        name: "modbus-tcp",
        keys: &[
            NAME,
            KIND,
            key(
                "host",
                Takes::Text { allowed: "an IP address or a host's name", test: is_host },
                Absent::Mistake,
                "\"192.168.1.50\"",
            ),
            with_default("port", number(1, 65535, "a TCP port"), "502"),
            UNIT,
            POLL,
            TIMEOUT,
        ],
        button: &[BUTTON_OF, DISCRETE, COIL, HIGH_BUTTON],
        light: &[LIGHT_OF, PART, COIL, REGISTER, FULL, ACTIVE_LIGHT],
        buzzer: &[COIL, REGISTER, FULL, ACTIVE_LIGHT],
    },
    Kind {
        name: "modbus-rtu",
        keys: &[
            NAME,
            KIND,
            PORT_OF,
            with_default("baud", BAUD, "19200"),
            with_default("parity", Takes::Choice(&["none", "even", "odd"]), "\"even\""),
            with_default("stop_bits", number(1, 2, "stop bits"), "1"),
            UNIT,
            POLL,
            TIMEOUT,
        ],
        button: &[BUTTON_OF, DISCRETE, COIL, HIGH_BUTTON],
        light: &[LIGHT_OF, PART, COIL, REGISTER, FULL, ACTIVE_LIGHT],
        buzzer: &[COIL, REGISTER, FULL, ACTIVE_LIGHT],
    },
    Kind {
        name: "mcu",
        keys: &[
            NAME,
            KIND,
            PORT_OF,
            with_default("baud", BAUD, "115200"),
            with_default("display", Takes::Flag, "false"),
        ],
        button: &[BUTTON_OF, NUMBER_OF],
        light: &[LIGHT_OF, NUMBER_OF],
        buzzer: &[],
    },
    Kind {
        name: "terminal",
        keys: &[NAME, KIND],
        button: &[
            BUTTON_OF,
            key(
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
            key("controller", Takes::Choice(&["hd44780", "ssd1306"]), Absent::Mistake, "\"ssd1306\""),
            with_default("bus", PATH, "\"/dev/i2c-1\""),
            key("address", number(0x03, 0x77, "an I2C address"), Absent::Mistake, "0x3c"),
        ],
        button: &[],
        light: &[],
        buzzer: &[],
    },
];
