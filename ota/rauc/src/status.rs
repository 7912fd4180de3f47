//! What RAUC says of itself and of the slots.

use std::collections::{BTreeMap, HashMap};

use zbus::zvariant::{OwnedValue, Value};

use crate::values::{Dict, text, unwrap};

/// What RAUC says of itself and of the box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What kind of box this is; a bundle must name the same.
    pub compatible: String,
    /// The variant, on boxes that have one.
    pub variant: Option<String>,
    /// The running system's version, where RAUC is told it (1.12 and newer, by a `system-info` handler).
    pub system_version: Option<String>,
    /// What the box was booted from, as the kernel command line has it: a boot name, a device or a slot name.
    pub boot_slot: Option<String>,
    /// What RAUC is at.
    pub operation: Operation,
    /// Why the last installation failed. `None` after one that did not.
    pub last_error: Option<String>,
    /// Where the running or last installation is or was.
    pub progress: Progress,
    /// Name of the slot that boots next. `None`: see [`Self::untold`].
    pub primary: Option<String>,
    /// All slots, by name. Empty while RAUC is busy: see [`Self::untold`].
    pub slots: Vec<Slot>,
    /// What RAUC would not tell, and why. Always so for slots and primary while it installs.
    pub untold: Vec<Untold>,
    /// Properties that this version does not know, as text.
    pub other: BTreeMap<String, String>,
}

/// Something that RAUC would not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// What is missing.
    pub what: &'static str,
    /// What RAUC said instead.
    pub why: String,
}

/// What RAUC is at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Operation {
    /// Nothing. Not to be relied upon: RAUC says so too after it refused a second installation during the first.
    #[default]
    Idle,
    /// An installation.
    Installing,
    /// Something newer than we are.
    Other(String),
}

/// How far an installation is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Of the whole installation, 0 to 100.
    pub percent: u8,
    /// What is being done, in RAUC's words.
    pub message: String,
    /// How deep this step lies within others: 0 is the whole installation.
    pub depth: u32,
}

/// One slot of the box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slot {
    /// Such as `rootfs.1`.
    pub name: String,
    /// Such as `rootfs`: what a bundle's image is for.
    pub class: String,
    /// Where it lies.
    pub device: String,
    /// How it is written: `raw`, `ext4`, …
    pub kind: String,
    /// What the boot loader calls it. `None`: it is not booted itself.
    pub bootname: Option<String>,
    /// Whether the box runs from it.
    pub state: SlotState,
    /// What the boot loader thinks of it. `None` where it has no boot name.
    pub boot_status: Option<BootStatus>,
    /// The slot it belongs to.
    pub parent: Option<String>,
    /// Where it is mounted now.
    pub mount_point: Option<String>,
    /// How the last installation to it ended. `None`: never installed by RAUC.
    pub status: Option<SlotStatus>,
    /// The bundle it came from: `compatible`.
    pub bundle_compatible: Option<String>,
    /// The bundle it came from: its version.
    pub bundle_version: Option<String>,
    /// The bundle it came from: hash of its manifest, in hexadecimal (RAUC 1.9 and newer).
    pub bundle_hash: Option<String>,
    /// SHA-256 of the image that was written, in hexadecimal. It was told by the manifest: nobody read the slot back.
    pub sha256: Option<String>,
    /// Size of that image in bytes.
    pub size_bytes: Option<u64>,
    /// When it was installed.
    pub installed: Option<Installed>,
    /// When it was made the one to boot.
    pub activated: Option<Installed>,
    /// Which transaction installed it (RAUC 1.10 and newer).
    pub transaction: Option<String>,
    /// What else RAUC says of it, as text.
    pub other: BTreeMap<String, String>,
}

/// When something was done to a slot, and how often so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// By the wall clock then (ISO 8601, UTC): a label, the clock may have been wrong.
    pub at: String,
    /// How often so far. 0 where RAUC does not tell.
    pub times: u64,
}

/// Whether the box runs from a slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SlotState {
    /// It runs from this one.
    Booted,
    /// It belongs to the one it runs from.
    Active,
    /// It does not run from it: this one may be written.
    Inactive,
    /// RAUC did not say, or says something newer than we are.
    #[default]
    Unknown,
    /// Something newer than we are.
    Other(String),
}

/// What the boot loader thinks of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootStatus {
    /// It may be booted.
    Good,
    /// It may not.
    Bad,
    /// RAUC could not find out.
    Unknown,
    /// Something newer than we are.
    Other(String),
}

/// How the last installation to a slot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotStatus {
    /// Well.
    Ok,
    /// Not yet, or it was cut off.
    Pending,
    /// Badly.
    Failed,
    /// Something else: 1.8 says `update` within an installation.
    Other(String),
}

impl Operation {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "idle" | "" => Self::Idle,
            "installing" => Self::Installing,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Progress {
    /// From RAUC's `(isi)`; from anything else as much as is there.
    pub(crate) fn of(value: &Value<'_>) -> Self {
        let Value::Structure(fields) = unwrap(value) else {
            return Self { message: text(value), ..Self::default() };
        };
        let mut progress = Self::default();
        let mut numbers = 0;
        for field in fields.fields() {
            match unwrap(field) {
                Value::I32(number) => {
                    numbers += 1;
                    if numbers == 1 {
                        progress.percent = u8::try_from((*number).clamp(0, 100)).unwrap_or_default();
                    } else {
                        progress.depth = u32::try_from(*number).unwrap_or_default();
                    }
                }
                Value::Str(message) => progress.message = message.to_string(),
                _ => {}
            }
        }
        progress
    }
}

impl Status {
    /// From all properties of the interface.
    pub(crate) fn of(properties: HashMap<String, OwnedValue>) -> Self {
        let mut dict = Dict::new(properties);
        Self {
            compatible: dict.text("Compatible").unwrap_or_default(),
            variant: dict.text("Variant"),
            system_version: dict.text("SystemVersion"),
            boot_slot: dict.text("BootSlot"),
            operation: Operation::of(&dict.text("Operation").unwrap_or_default()),
            last_error: dict.text("LastError"),
            progress: dict.value("Progress").map(|value| Progress::of(&value)).unwrap_or_default(),
            primary: None,
            slots: vec![],
            untold: vec![],
            other: dict.rest(),
        }
    }

    /// The slot that the box runs from.
    #[must_use]
    pub fn booted(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.state == SlotState::Booted)
    }

    /// The slot of that name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

impl Slot {
    pub(crate) fn of(name: String, values: HashMap<String, OwnedValue>) -> Self {
        let mut dict = Dict::new(values);
        Self {
            name,
            class: dict.text("class").unwrap_or_default(),
            device: dict.text("device").unwrap_or_default(),
            kind: dict.text("type").unwrap_or_default(),
            bootname: dict.text("bootname"),
            state: dict.text("state").map_or(SlotState::Unknown, SlotState::of),
            boot_status: dict.text("boot-status").map(BootStatus::of),
            parent: dict.text("parent"),
            mount_point: dict.text("mountpoint"),
            status: dict.text("status").map(SlotStatus::of),
            bundle_compatible: dict.text("bundle.compatible"),
            bundle_version: dict.text("bundle.version"),
            bundle_hash: dict.text("bundle.hash"),
            sha256: dict.text("sha256"),
            size_bytes: dict.number("size"),
            installed: Installed::of(&mut dict, "installed"),
            activated: Installed::of(&mut dict, "activated"),
            transaction: dict.text("installed.transaction"),
            other: dict.rest(),
        }
    }
}

impl Installed {
    fn of(dict: &mut Dict, what: &str) -> Option<Self> {
        let at = dict.text(&format!("{what}.timestamp"));
        let times = dict.number(&format!("{what}.count"));
        // 1.8 tells a count of 0 for what never happened.
        (at.is_some() || times.is_some_and(|times| times > 0))
            .then(|| Self { at: at.unwrap_or_default(), times: times.unwrap_or_default() })
    }
}

impl SlotState {
    fn of(text: String) -> Self {
        match text.as_str() {
            "booted" => Self::Booted,
            "active" => Self::Active,
            "inactive" => Self::Inactive,
            _ => Self::Other(text),
        }
    }
}

impl BootStatus {
    fn of(text: String) -> Self {
        match text.as_str() {
            "good" => Self::Good,
            "bad" => Self::Bad,
            "unknown" => Self::Unknown,
            _ => Self::Other(text),
        }
    }
}

impl SlotStatus {
    fn of(text: String) -> Self {
        match text.as_str() {
            "ok" => Self::Ok,
            "pending" => Self::Pending,
            "failed" => Self::Failed,
            _ => Self::Other(text),
        }
    }
}
