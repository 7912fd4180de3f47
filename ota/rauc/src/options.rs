//! What an installation may be told, and what older versions of RAUC can't be.

use std::fmt;

/// How a bundle at a URL is reached. Not needed for files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Client certificate: file or PKCS#11 URL.
    pub tls_cert: Option<String>,
    /// Its key: file or PKCS#11 URL.
    pub tls_key: Option<String>,
    /// The authority that the server's certificate must be from: a file.
    pub tls_ca: Option<String>,
    /// Headers that RAUC sends along, each `Name: value`.
    pub http_headers: Vec<String>,
}

/// A PKCS#11 URL may hold a PIN, a header a token: neither is shown.
impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |header: &String| header.split(':').next().unwrap_or_default().to_owned();
        out.debug_struct("Access")
            .field("tls_cert", &self.tls_cert.as_ref().map(|_| "…"))
            .field("tls_key", &self.tls_key.as_ref().map(|_| "…"))
            .field("tls_ca", &self.tls_ca)
            .field("http_headers", &self.http_headers.iter().map(names).collect::<Vec<_>>())
            .finish()
    }
}

/// What an installation is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// How to reach the bundle, if it is at a URL.
    pub access: Access,
    /// Only the bundle with this manifest, in hexadecimal: what was inspected is what is installed. RAUC 1.14 and newer;
    /// with an older one the installation goes on, and [`Degraded::ManifestHash`] is told.
    pub manifest_hash: Option<String>,
    /// A name for this installation in RAUC's slot status and log (a UUID). RAUC 1.10 and newer.
    pub transaction: Option<String>,
    /// Let an older bundle in than `min-bundle-version` allows, when a person asked for it.
    pub ignore_version_limit: bool,
}

/// What this RAUC is too old for. The installation goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Degraded {
    /// RAUC did not hold the bundle to the manifest that was asked for: compare [`Slot::bundle_hash`], or read the slot
    /// back, before it is activated.
    ///
    /// [`Slot::bundle_hash`]: crate::Slot::bundle_hash
    ManifestHash,
    /// RAUC does not keep the installation's name.
    Transaction,
    /// RAUC knows no limit of versions, so there was none to be ignored.
    VersionLimit,
}

impl fmt::Display for Degraded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ManifestHash => "RAUC older than 1.14 can't be held to a manifest: compare hashes before activating",
            Self::Transaction => "RAUC older than 1.10 does not keep the installation's name",
            Self::VersionLimit => "RAUC older than 1.12 has no limit of versions",
        })
    }
}

fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

impl Access {
    fn headers(&self) -> Option<Vec<String>> {
        (!self.http_headers.is_empty()).then(|| self.http_headers.clone())
    }

    pub(crate) fn to_inspect_args(&self) -> rauc::InspectBundleArgs {
        rauc::InspectBundleArgs {
            tls_cert: filled(&self.tls_cert),
            tls_key: filled(&self.tls_key),
            tls_ca: filled(&self.tls_ca),
            http_headers: self.headers(),
            tls_no_verify: None,
        }
    }
}

impl Options {
    pub(crate) fn to_args(&self) -> rauc::InstallBundleArgs {
        rauc::InstallBundleArgs {
            ignore_compatible: None,
            ignore_version_limit: self.ignore_version_limit.then_some(true),
            transaction_id: filled(&self.transaction),
            require_manifest_hash: filled(&self.manifest_hash),
            tls_cert: filled(&self.access.tls_cert),
            tls_key: filled(&self.access.tls_key),
            tls_ca: filled(&self.access.tls_ca),
            http_headers: self.access.headers(),
            tls_no_verify: None,
        }
    }
}

/// Takes out the key that RAUC refused (`Unsupported key: …`). `None`: it is none that can be done without.
pub(crate) fn without(args: &mut rauc::InstallBundleArgs, refusal: &str) -> Option<Degraded> {
    let key = refusal.trim().strip_prefix("Unsupported key: ")?;
    let degraded = match key {
        "require-manifest-hash" => args.require_manifest_hash.take().map(|_| Degraded::ManifestHash),
        "transaction-id" => args.transaction_id.take().map(|_| Degraded::Transaction),
        "ignore-version-limit" => args.ignore_version_limit.take().map(|_| Degraded::VersionLimit),
        _ => None,
    };
    degraded
}
