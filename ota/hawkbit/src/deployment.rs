//! What is to be installed.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use crate::poll::{ActionId, text_or_number};

/// An action, as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id, which feedback goes to.
    pub action: ActionId,
    /// Whether to download.
    pub download: Handling,
    /// Whether to install.
    pub update: Handling,
    /// Whether now is the time to install.
    pub maintenance_window: MaintenanceWindow,
    /// Software modules.
    pub chunks: Vec<Chunk>,
    /// What the server has heard of this action, newest first, at most 20. Not from all servers.
    pub history: Option<History>,
}

impl Deployment {
    /// Whether the server lets us download now.
    pub fn may_download(&self) -> bool {
        self.download != Handling::Skip
    }

    /// Whether the server lets us install now: not when download-only, nor outside its maintenance window.
    pub fn may_install(&self) -> bool {
        self.update != Handling::Skip && self.maintenance_window != MaintenanceWindow::Unavailable
    }
}

/// How much the server insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Don't, or not yet. Also whatever we don't understand: what is not understood is not done.
    Skip,
    /// When it suits us ("soft").
    Attempt,
    /// At once ("forced"). What that weighs against a running recording is the caller's policy.
    Forced,
}

/// Whether installing is allowed by the clock at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceWindow {
    /// There is no window: any time.
    None,
    /// It is open.
    Available,
    /// It is not open (or the word is unknown to us): download, but don't install.
    Unavailable,
}

/// One software module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its type: `os`, `bApp`, …
    pub part: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Whether the server says that its artifacts are encrypted.
    pub encrypted: bool,
    /// Its files.
    pub artifacts: Vec<Artifact>,
    /// What the operator marked as "visible for the target".
    pub metadata: BTreeMap<String, String>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name, without any path.
    pub filename: String,
    /// Its size; no limit at 4 GiB. Not from all servers.
    pub size_bytes: Option<u64>,
    /// Digest; hawkBit before 0.2 had none.
    pub sha256: Option<[u8; 32]>,
    /// Digest, of no worth against an attacker.
    pub sha1: Option<[u8; 20]>,
    /// Digest, of no worth against an attacker.
    pub md5: Option<[u8; 16]>,
    /// Where to download it over HTTPS; with [`Client::download_headers`](crate::Client::download_headers).
    pub https: Option<Url>,
    /// Where to download it over HTTP. Anyone on the way sees it, and the token.
    pub http: Option<Url>,
}

/// What the server has of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// hawkBit's state of the action, such as `RUNNING`.
    pub status: String,
    /// Messages of the device and of the server, newest first.
    pub messages: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Wire {
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    // The same thing under two names.
    #[serde(alias = "confirmation")]
    deployment: WireDeployment,
    #[serde(default, rename = "actionHistory")]
    history: Option<WireHistory>,
}

#[derive(Deserialize)]
struct WireDeployment {
    #[serde(default)]
    download: Option<String>,
    #[serde(default)]
    update: Option<String>,
    #[serde(default, rename = "maintenanceWindow")]
    window: Option<String>,
    chunks: Vec<WireChunk>,
}

#[derive(Deserialize)]
struct WireChunk {
    #[serde(default)]
    part: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    encrypted: Option<bool>,
    #[serde(default)]
    artifacts: Option<Vec<WireArtifact>>,
    #[serde(default)]
    metadata: Option<Vec<WireMetadata>>,
}

#[derive(Deserialize)]
struct WireArtifact {
    filename: String,
    #[serde(default)]
    hashes: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default, rename = "_links")]
    links: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct WireMetadata {
    key: String,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
struct WireHistory {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    messages: Option<Vec<String>>,
}

impl Wire {
    pub(crate) fn into_deployment(self) -> Result<Deployment, String> {
        let wire = self.deployment;
        let history = self.history.map(|history| History {
            status: history.status.unwrap_or_default(),
            messages: history.messages.unwrap_or_default(),
        });
        Ok(Deployment {
            action: self.id.try_into()?,
            download: handling("download", wire.download.as_deref()),
            update: handling("update", wire.update.as_deref()),
            maintenance_window: window(wire.window.as_deref()),
            chunks: wire.chunks.into_iter().map(WireChunk::into_chunk).collect::<Result<_, _>>()?,
            history,
        })
    }
}

fn handling(what: &str, word: Option<&str>) -> Handling {
    match word {
        Some("skip") => Handling::Skip,
        Some("attempt") => Handling::Attempt,
        Some("forced") => Handling::Forced,
        other => {
            tracing::warn!(what, word = other, "not skip, attempt or forced: skipped");
            Handling::Skip
        }
    }
}

fn window(word: Option<&str>) -> MaintenanceWindow {
    match word {
        None => MaintenanceWindow::None,
        Some("available") => MaintenanceWindow::Available,
        Some("unavailable") => MaintenanceWindow::Unavailable,
        Some(word) => {
            tracing::warn!(word, "unknown state of a maintenance window: taken as closed");
            MaintenanceWindow::Unavailable
        }
    }
}

impl WireChunk {
    fn into_chunk(self) -> Result<Chunk, String> {
        let artifacts = self.artifacts.unwrap_or_default();
        let metadata = self.metadata.unwrap_or_default();
        Ok(Chunk {
            part: self.part.unwrap_or_default(),
            version: self.version.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            encrypted: self.encrypted.unwrap_or_default(),
            artifacts: artifacts.into_iter().map(WireArtifact::into_artifact).collect::<Result<_, _>>()?,
            metadata: metadata.into_iter().map(|entry| (entry.key, entry.value.unwrap_or_default())).collect(),
        })
    }
}

impl WireArtifact {
    fn into_artifact(self) -> Result<Artifact, String> {
        let filename = self.filename;
        if filename.is_empty() || matches!(filename.as_str(), "." | "..") || filename.contains(['/', '\\', '\0']) {
            return Err(format!("{filename:?} is no plain file name"));
        }
        let hashes = self.hashes.unwrap_or_default();
        let links = self.links.unwrap_or_default();
        // `download` and `download-http` are names, and what is behind them is up to the server's configuration.
        let addresses: Vec<Url> = ["download", "download-http"]
            .into_iter()
            .filter_map(|name| links.get(name)?.get("href")?.as_str()?.parse().ok())
            .collect();
        let by = |scheme: &str| addresses.iter().find(|url| url.scheme() == scheme).cloned();
        Ok(Artifact {
            size_bytes: self.size,
            sha256: digest(&filename, "sha256", &hashes)?,
            sha1: digest(&filename, "sha1", &hashes)?,
            md5: digest(&filename, "md5", &hashes)?,
            https: by("https"),
            http: by("http"),
            filename,
        })
    }
}

/// A digest that is there must be right: one that can't be read is not the same as none.
fn digest<const N: usize>(
    filename: &str,
    name: &str,
    hashes: &BTreeMap<String, Option<String>>,
) -> Result<Option<[u8; N]>, String> {
    let Some(text) = hashes.get(name).and_then(Option::as_deref).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| format!("the {name} of {filename:?}: {error}"))?;
    Ok(Some(bytes))
}
