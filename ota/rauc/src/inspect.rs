//! What a bundle says of itself, once its signature was found good.

use std::collections::{BTreeMap, HashMap};

use zbus::zvariant::OwnedValue;

use crate::values::{Dict, dicts, texts};

/// What a bundle says of itself. RAUC tells it only after it has checked the signature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    /// The kind of box it is for.
    pub compatible: String,
    /// Its version.
    pub version: Option<String>,
    /// A person's words about it.
    pub description: Option<String>,
    /// Which build it is.
    pub build: Option<String>,
    /// Hash of its manifest in hexadecimal: its identity. `None`: RAUC is older than 1.9, or the format is `plain`.
    pub manifest_hash: Option<String>,
    /// How its contents are protected. `None`: RAUC is older than 1.9.
    pub format: Option<Format>,
    /// The images in it. Empty: RAUC is older than 1.9.
    pub images: Vec<Image>,
    /// Who signed it, where RAUC tells (up to 1.15 it does not over D-Bus).
    pub signer: Option<String>,
    /// Why something above is missing.
    pub untold: Option<String>,
    /// What else there is, as text.
    pub other: BTreeMap<String, String>,
}

/// How a bundle's contents are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Checked while it is read, block by block.
    Verity,
    /// Signed as a whole: read twice, and open to whoever changes it in between.
    Plain,
    /// As verity, and encrypted.
    Crypt,
    /// Something newer than we are.
    Other(String),
}

/// One image in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// The class of slots it is for.
    pub class: String,
    /// Its name in the bundle.
    pub filename: Option<String>,
    /// For which variant of the box only.
    pub variant: Option<String>,
    /// SHA-256 in hexadecimal.
    pub sha256: Option<String>,
    /// In bytes.
    pub size_bytes: Option<u64>,
    /// How less than all of it may be fetched: `block-hash-index`.
    pub adaptive: Vec<String>,
    /// Hooks that run with it.
    pub hooks: Vec<String>,
    /// What else there is, as text.
    pub other: BTreeMap<String, String>,
}

impl Bundle {
    /// From `InspectBundle`'s answer.
    pub(crate) fn of(values: HashMap<String, OwnedValue>) -> Self {
        let mut dict = Dict::new(values);
        let mut update = dict.value("update").map(|value| Dict::of(&value)).unwrap_or_default();
        let mut bundle = dict.value("bundle").map(|value| Dict::of(&value)).unwrap_or_default();
        let images = dict.value("images").map(|value| dicts(&value)).unwrap_or_default();
        Self {
            compatible: update.text("compatible").unwrap_or_default(),
            version: update.text("version"),
            description: update.text("description"),
            build: update.text("build"),
            manifest_hash: dict.text("manifest-hash"),
            format: bundle.text("format").map(Format::of),
            images: images.into_iter().map(Image::of).collect(),
            signer: dict.text("signer"),
            untold: None,
            other: dict.rest().into_iter().chain(update.rest()).chain(bundle.rest()).collect(),
        }
    }

    /// From `Info`'s answer, which is all that RAUC 1.8 gives.
    pub(crate) fn of_info(compatible: String, version: String) -> Self {
        Self {
            compatible,
            version: Some(version).filter(|version| !version.is_empty()),
            untold: Some(
                "this RAUC has no InspectBundle (1.9 and newer do): format, images and hash are not told".into(),
            ),
            ..Self::default()
        }
    }
}

impl Format {
    fn of(text: String) -> Self {
        match text.as_str() {
            "verity" => Self::Verity,
            "plain" => Self::Plain,
            "crypt" => Self::Crypt,
            _ => Self::Other(text),
        }
    }
}

impl Image {
    fn of(mut dict: Dict) -> Self {
        Self {
            class: dict.text("slot-class").unwrap_or_default(),
            filename: dict.text("filename"),
            variant: dict.text("variant"),
            sha256: dict.text("checksum"),
            size_bytes: dict.number("size"),
            adaptive: dict.value("adaptive").map(|value| texts(&value)).unwrap_or_default(),
            hooks: dict.value("hooks").map(|value| texts(&value)).unwrap_or_default(),
            other: dict.rest(),
        }
    }
}
