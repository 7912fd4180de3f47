//! What went wrong, by kind, and what to do about it.

use std::fmt;

/// Why RAUC did not do what it was asked. `Display` gives what was tried, what RAUC said, and the remedy.
#[derive(Debug)]
pub struct Error {
    doing: String,
    kind: Kind,
    said: String,
    source: Option<Box<zbus::Error>>,
}

/// What kind of trouble it is: what an updater decides by. RAUC only has texts, so this is read from its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Not signed, or by nobody this box trusts.
    Signature,
    /// A certificate or revocation list is no longer valid by this box's clock.
    Expired,
    /// A certificate is not valid yet by this box's clock, which is then likely wrong.
    NotYetValid,
    /// The bundle is for another kind of box.
    WrongCompatible,
    /// The bundle is older than the box accepts (`min-bundle-version`).
    TooOld,
    /// The image is larger than the slot, or there is no room for the bundle.
    NoSpace,
    /// The kernel could not read or write.
    Io,
    /// Fetching the bundle failed.
    Download,
    /// What was read is not what the signed manifest says, or the manifest is not the one that was asked for.
    HashMismatch,
    /// The bundle's format is not allowed here (`bundle-formats`).
    FormatNotAllowed,
    /// The file is no bundle, or not a whole one.
    Damaged,
    /// There is no such bundle, or it can't be opened.
    NotFound,
    /// A hook or handler said no.
    Rejected,
    /// The boot loader's side failed: its environment, its tool, or the backend.
    BootLoader,
    /// RAUC does not know which slot the box runs from, or has no slot to install to.
    NoSlot,
    /// The kernel lacks what RAUC needs (dm-verity, NBD, loop, squashfs).
    Kernel,
    /// RAUC is at something else; one installation at a time.
    Busy,
    /// RAUC ended or was restarted in the middle.
    Gone,
    /// There is no RAUC on the bus.
    Absent,
    /// The bus itself failed, or forbids it.
    Bus,
    /// This RAUC is too old for what was asked.
    Unsupported,
    /// RAUC refuses, and does not say why: 1.8 when it looks into a bundle. Installing tells.
    Untold,
    /// Anything else; RAUC's text is all there is.
    Other,
}

impl Kind {
    /// What a person can do about it, as one sentence.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Signature => "sign the bundle with a key of this box's keyring, or fetch it again from its source",
            Self::Expired => "check the box's clock; if it is right, sign the bundle anew with a valid certificate",
            Self::NotYetValid => "set the box's clock (it is behind the certificate's beginning) and try again",
            Self::WrongCompatible => "take the bundle that is made for this kind of box",
            Self::TooOld => "take a newer bundle: this box refuses to go back that far",
            Self::NoSpace => "make room where bundles are kept, or build a smaller image: it must fit into the slot",
            Self::Io => "check the medium's health and the kernel log; try again once, then replace the medium",
            Self::Download => "check network, address and credentials, and that the server answers range requests",
            Self::HashMismatch => "fetch the bundle again; if it fails again, the medium or the source is bad",
            Self::FormatNotAllowed => "make the bundle in the format verity",
            Self::Damaged => "fetch the bundle again: it is not whole, or not a bundle",
            Self::NotFound => "check the bundle's path, and that RAUC may read it",
            Self::Rejected => "see what the hook or handler says in RAUC's log (journalctl -u rauc)",
            Self::BootLoader => {
                "check the boot loader's environment or slot tool (fw_printenv, nvbootctrl) before trying again"
            }
            Self::NoSlot => "check rauc.slot on the kernel command line and the slots in system.conf",
            Self::Kernel => "build the kernel with BLK_DEV_LOOP, SQUASHFS, DM_VERITY, and BLK_DEV_NBD for streaming",
            Self::Busy => "wait until RAUC is done, then try again",
            Self::Gone => {
                "see why RAUC ended (journalctl -u rauc); the slot is incomplete: install again before activating it"
            }
            Self::Absent => "start rauc.service and see why it does not stay (journalctl -u rauc)",
            Self::Bus => "check that the system bus runs and its policy lets us speak to de.pengutronix.rauc",
            Self::Unsupported => "update RAUC, or don't ask for this",
            Self::Untold => "see the reason in RAUC's log (journalctl -u rauc); RAUC 1.9 and newer tell it",
            Self::Other => "see RAUC's log (journalctl -u rauc)",
        }
    }

    /// Whether the same bundle may well go in at another time. `false` for what lies in the bundle itself.
    #[must_use]
    pub fn may_pass(self) -> bool {
        !matches!(
            self,
            Self::Signature
                | Self::WrongCompatible
                | Self::TooOld
                | Self::FormatNotAllowed
                | Self::Rejected
                | Self::Kernel
                | Self::Unsupported
        )
    }

    /// Reads one of RAUC's messages: `LastError`, or the text of a refused call. Never fails: what is not known is
    /// [`Kind::Other`].
    ///
    /// The texts are those of RAUC 1.8 and 1.15.2 (`install.c`, `bundle.c`, `signature.c`, `update_handler.c`, `dm.c`,
    /// `nbd.c`) and OpenSSL's `X509_verify_cert_error_string`. Matched by parts and without regard to case, since texts
    /// change between versions; the first line that matches wins, so what is more telling stands first.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let text = text.to_lowercase();
        let found = TEXTS.iter().find(|(_, parts)| parts.iter().any(|part| text.contains(part)));
        found.map_or(Self::Other, |(kind, _)| *kind)
    }
}

const TEXTS: &[(Kind, &[&str])] = &[
    (Kind::Busy, &["already processing a different method"]),
    (Kind::Untold, &["rauc info error"]),
    (Kind::Unsupported, &["unsupported key:", "newer than current version"]),
    // Not of a bundle whose certificate expired on a server: TLS says "ssl" and belongs to the download.
    (Kind::Download, &["ssl certificate", "ssl peer certificate"]),
    (Kind::Expired, &["has expired"]),
    (Kind::NotYetValid, &["not yet valid"]),
    (Kind::FormatNotAllowed, &["' not allowed", "not supported in streaming mode", "refusing to install plain bundle"]),
    (Kind::WrongCompatible, &["compatible mismatch"]),
    (Kind::TooOld, &["version mismatch"]),
    (
        Kind::HashMismatch,
        &["unexpected hash", "digest mismatch", "checksum mismatch", "payload is corrupted", "unexpected dm-"],
    ),
    (
        Kind::Kernel,
        &[
            "/dev/mapper/control",
            "create dm device",
            "load dm table",
            "not enabled in kernel",
            "blk_dev_nbd",
            "/dev/loop-control",
            "not supported, recompile",
        ],
    ),
    (
        Kind::NoSpace,
        &[
            "no space left",
            "too small for image",
            "larger than size-limit",
            "does not fit to slot",
            "disk quota exceeded",
            "exceeds maximum size",
        ],
    ),
    // 1.15 says "invalid bundle format" before it.
    (Kind::NotFound, &["failed to open bundle", "bundle for reading"]),
    (
        Kind::Damaged,
        &[
            "signature size",
            "payload size",
            "bundle size (",
            "not a valid rauc bundle",
            "invalid bundle format",
            "not a regular file",
            "unexpected end of file",
            "invalid identifier",
        ],
    ),
    (
        Kind::Download,
        &[
            "failed to stream bundle",
            "failed to download bundle",
            "remote server",
            "configure streaming",
            "range requests",
            "unauthorized:",
            "http response",
            "http error",
        ],
    ),
    (
        Kind::Signature,
        &[
            "signature",
            "failed to parse cms",
            "no valid cms",
            "x509",
            "signer",
            "unsafe bundle",
            "no keyring",
            "verify error",
        ],
    ),
    (Kind::Rejected, &["bundle rejected", "hook", "handler error", "refusing to install"]),
    (
        Kind::BootLoader,
        &[
            "failed marking slot",
            "trying to mark slot",
            "primary slot",
            "boot state",
            "fw_setenv",
            "fw_printenv",
            "failed to activate",
        ],
    ),
    (
        Kind::NoSlot,
        &[
            "booted slot",
            "target group",
            "no slot configuration",
            "slot device",
            "no target slot",
            "no slot with",
            "still mounted",
            "slot not found",
        ],
    ),
    (
        Kind::Io,
        &[
            "input/output error",
            "read-only file system",
            "no such device",
            "read error",
            "write error",
            "remote i/o error",
            "stale file handle",
        ],
    ),
    (Kind::NotFound, &["no such file", "not found", "permission denied"]),
];

impl Error {
    pub(crate) fn new(doing: impl Into<String>, kind: Kind, said: impl Into<String>) -> Self {
        Self { doing: doing.into(), kind, said: said.into(), source: None }
    }

    /// What RAUC said about a failure.
    pub(crate) fn said(doing: impl Into<String>, said: &str) -> Self {
        Self::new(doing, Kind::of_text(said), said.trim())
    }

    /// A call that failed: refused by RAUC in words, or by the bus.
    pub(crate) fn call(doing: impl Into<String>, error: zbus::Error) -> Self {
        let doing = doing.into();
        let (kind, said) = match &error {
            zbus::Error::MethodError(name, text, _) => of_method_error(name, text.as_deref().unwrap_or_default()),
            zbus::Error::FDO(fdo) => match fdo.as_ref() {
                zbus::fdo::Error::NameHasNoOwner(_) | zbus::fdo::Error::ServiceUnknown(_) => {
                    (Kind::Absent, fdo.to_string())
                }
                zbus::fdo::Error::UnknownMethod(_) => (Kind::Unsupported, fdo.to_string()),
                other => (Kind::Bus, other.to_string()),
            },
            other => (Kind::Bus, other.to_string()),
        };
        Self { doing, kind, said, source: Some(Box::new(error)) }
    }

    /// Takes out what may be secret in the bundle's URL, which RAUC repeats in its texts.
    pub(crate) fn about(mut self, bundle: &str) -> Self {
        let shown = crate::service::shown(bundle);
        if shown != bundle {
            self.said = self.said.replace(bundle, &shown);
            // The bus's own error holds the text too.
            self.source = None;
        }
        self
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What RAUC (or the bus) said, untouched.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.said
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }
}

/// RAUC answers with `org.gtk.GDBus.…` errors and a text; the bus with `org.freedesktop.DBus.Error.…`.
fn of_method_error(name: &str, text: &str) -> (Kind, String) {
    let kind = match name.strip_prefix("org.freedesktop.DBus.Error.") {
        Some("NameHasNoOwner" | "ServiceUnknown") => Kind::Absent,
        Some(spawn) if spawn.starts_with("Spawn.") => Kind::Absent,
        // The bus answers so for a peer that went away before it did.
        Some("NoReply" | "Disconnected") => Kind::Gone,
        Some("UnknownMethod" | "UnknownProperty") => Kind::Unsupported,
        Some("Failed") | None => Kind::of_text(text),
        Some(_) => Kind::Bus,
    };
    (kind, if text.is_empty() { name.to_owned() } else { text.trim().to_owned() })
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.said.is_empty() { "RAUC gave no reason" } else { &self.said };
        write!(out, "{}: {said} ({})", self.doing, self.kind.remedy())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}
