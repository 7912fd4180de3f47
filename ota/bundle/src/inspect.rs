//! Looking into a bundle.

use std::path::Path;
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use crate::tool::{Error, Tools, as_a_box, run};

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// For which kind of box.
    pub compatible: String,
    /// Its version.
    pub version: Option<String>,
    /// How its contents are protected: `verity`, `plain`, `crypt`.
    pub format: Option<String>,
    /// Hash of its manifest, in hexadecimal (RAUC 1.9 and newer).
    pub manifest_hash: Option<String>,
    /// Whether the signature was checked: whether a keyring was given.
    pub verified: bool,
    /// Subject of the certificate that signed it.
    pub signer: Option<String>,
    /// Until when that certificate is valid, in openssl's words.
    pub signer_valid_until: Option<String>,
    /// What is in it.
    pub images: Vec<InspectedImage>,
}

/// One image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedImage {
    /// The class of slots it is for.
    pub class: String,
    /// Its name in the bundle.
    pub filename: Option<String>,
    /// SHA-256, in hexadecimal.
    pub sha256: Option<String>,
    /// In bytes.
    pub size_bytes: Option<u64>,
    /// How less than all of it may be fetched.
    pub adaptive: Vec<String>,
}

/// Looks into a bundle. With a keyring it is checked as a box would: revocations and purpose, too. Without one its signature is not checked, and what is told may be anybody's word.
///
/// # Errors
/// It is no bundle, its signature is not good, or RAUC fails.
pub fn inspect(tools: &Tools, bundle: &Path, keyring: Option<&Path>) -> Result<Inspected, Error> {
    let conf = keyring.map(as_a_box).transpose()?;
    let info = |more: &[&str]| {
        let mut command = Command::new(&tools.rauc);
        if let Some(conf) = &conf {
            command.arg("--conf").arg(conf.path());
        }
        command.arg("info").args(more);
        if keyring.is_none() {
            command.arg("--no-verify");
        }
        run(&format!("looking into {}", bundle.display()), command.arg(bundle))
    };
    let json = info(&["--output-format=json"])?;
    // Format and signer are told in words only (1.8), and are extras: their absence is no failure.
    let words = info(&[])?;
    parse(&json, &words, keyring.is_some())
        .ok_or_else(|| Error::Wrong(format!("rauc says of {} what can't be read: {json}", bundle.display())))
}

fn parse(json: &str, words: &str, verified: bool) -> Option<Inspected> {
    let json: Value = serde_json::from_str(json.trim()).ok()?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let word = |key: &str| {
        let mut lines = words.lines().map(str::trim);
        let line = lines.find_map(|line| line.strip_prefix(key))?.trim().trim_matches('\'');
        Some(line.to_owned()).filter(|line| !line.is_empty())
    };
    let images = json.get("images").and_then(Value::as_array).into_iter().flatten();
    // Each is an object of one member, named after its class.
    let images = images.filter_map(Value::as_object).flatten().map(|(class, image)| InspectedImage {
        class: class.clone(),
        filename: text(image, "filename"),
        sha256: text(image, "checksum"),
        size_bytes: image.get("size").and_then(Value::as_u64),
        adaptive: image
            .get("adaptive")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|method| method.as_str().map(str::to_owned))
            .collect(),
    });
    Some(Inspected {
        compatible: text(&json, "compatible")?,
        version: text(&json, "version"),
        format: text(&json, "format").or_else(|| word("Bundle Format:")),
        manifest_hash: text(&json, "hash").or_else(|| word("Manifest Hash:")),
        verified,
        signer: word("0 Subject:"),
        signer_valid_until: word("Not After:"),
        images: images.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn both_what_1_8_and_what_1_15_say_is_read() {
        let old = r#"{"compatible":"a","version":"1","description":null,"images":[{"rootfs":{"variant":null,"filename":"r.img","checksum":"bc","size":4096,"hooks":[],"adaptive":["block-hash-index"]}}]}"#;
        let words = "Bundle Format: \tverity\n\nCertificate Chain:\n 0 Subject: CN = x\n   Issuer: CN = y\n   Not After:  Dec  8 21:31:29 2026 GMT\n 1 Subject: CN = y\n";
        let read = parse(old, words, true).unwrap();
        assert_eq!((read.format.as_deref(), read.signer.as_deref()), (Some("verity"), Some("CN = x")));
        assert_eq!(read.signer_valid_until.as_deref(), Some("Dec  8 21:31:29 2026 GMT"));
        assert_eq!((read.manifest_hash, read.images[0].size_bytes), (None, Some(4096)));
        assert_eq!(read.images[0].adaptive, ["block-hash-index"]);
        let new = r#"{"compatible":"a","version":null,"format":"verity","hash":"3c","images":[]}"#;
        let read = parse(new, "", false).unwrap();
        assert_eq!((read.manifest_hash.as_deref(), read.version, read.signer), (Some("3c"), None, None));
    }
}
