//! Kinds of trouble: how they are read from RAUC's texts, and what can be done.

/// What kind of trouble it is: what an updater decides by. RAUC only has texts, so this is read from its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Not signed, or by nobody this box trusts.
    Signature,
    /// Signed by a certificate that its authority has taken back.
    Revoked,
    /// The box's keyring lacks an authority's list of what it has revoked, or the list is no longer valid by the box's clock.
    RevocationList,
    /// Signed by a certificate that is not for signing bundles.
    WrongPurpose,
    /// A certificate is no longer valid by this box's clock.
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
    /// A RAUC that was killed has left its bundle mounted, and the next can't mount its own.
    Leftover,
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
            Self::Signature => {
                "sign the bundle with a key of this box's keyring (with the certificate between, if there is one: --intermediate), or \
                 fetch it again from its source"
            }
            Self::Revoked => {
                "take the bundle that is signed anew: this one's key was taken back, and it may be anybody's"
            }
            Self::RevocationList => {
                "check the box's clock; if it is right, put into /etc/rauc/keyring.pem each authority's list of what it has revoked, \
                 the intermediate ones', too (openssl ca -gencrl)"
            }
            Self::WrongPurpose => {
                "sign the bundle with a certificate for code signing (extendedKeyUsage = codeSigning)"
            }
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
            Self::Leftover => {
                "unmount what a killed RAUC left (umount /run/rauc/mnt/bundle), or reboot, and try again; as a service with \
                 PrivateMounts=yes (ota/board/rauc.conf) it leaves nothing"
            }
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
                | Self::Revoked
                | Self::WrongPurpose
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
    (Kind::RevocationList, &["certificate crl", "crl has expired", "crl is not yet valid", "crl signature"]),
    (Kind::Revoked, &["certificate revoked"]),
    (Kind::WrongPurpose, &["certificate purpose"]),
    (Kind::Expired, &["has expired"]),
    (Kind::NotYetValid, &["not yet valid"]),
    (Kind::FormatNotAllowed, &["' not allowed", "not supported in streaming mode", "refusing to install plain bundle"]),
    (Kind::WrongCompatible, &["compatible mismatch"]),
    (Kind::TooOld, &["version mismatch"]),
    (
        Kind::HashMismatch,
        &["unexpected hash", "digest mismatch", "checksum mismatch", "payload is corrupted", "unexpected dm-"],
    ),
    // The name rauc-verity-bundle is taken: there is one for the whole box.
    (Kind::Leftover, &["create dm device: device or resource busy"]),
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
    // What else 1.15 says behind it is more telling.
    (Kind::Damaged, &["invalid bundle format"]),
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

#[cfg(test)]
mod tests {
    use super::Kind;

    /// What RAUC 1.8 and 1.15 say, as seen or as their sources compose it.
    #[test]
    fn texts_have_their_kind() {
        for (kind, text) in [
            (Kind::Signature, "signature verification failed: Verify error: unable to get local issuer certificate"),
            (
                Kind::Signature,
                "signature verification failed: Verify error: self-signed certificate in certificate chain",
            ),
            (Kind::Signature, "No signature CN matching allowed-signer-cns found"),
            (Kind::Signature, "Invalid bundle format: Signature data is no valid CMS"),
            (Kind::Expired, "signature verification failed: Verify error: certificate has expired"),
            (Kind::RevocationList, "signature verification failed: Verify error: CRL has expired"),
            (Kind::RevocationList, "signature verification failed: Verify error: unable to get certificate CRL"),
            (Kind::Revoked, "signature verification failed: Verify error: certificate revoked"),
            // OpenSSL 1.1 and 3.
            (Kind::WrongPurpose, "signature verification failed: Verify error: unsupported certificate purpose"),
            (Kind::WrongPurpose, "signature verification failed: Verify error: unsuitable certificate purpose"),
            (Kind::NotYetValid, "signature verification failed: Verify error: certificate is not yet valid"),
            (
                Kind::WrongCompatible,
                "Installation error: Compatible mismatch: Expected 'a' but bundle manifest has 'b'",
            ),
            (Kind::TooOld, "Installation error: Version mismatch: Expected at least '2' but bundle manifest has '1'"),
            (Kind::FormatNotAllowed, "Bundle format 'plain' not allowed"),
            (Kind::FormatNotAllowed, "Bundle format 'plain' not supported in streaming mode"),
            (Kind::HashMismatch, "Refusing to install bundle with unexpected hash (expected aa, got bb)"),
            (Kind::HashMismatch, "bundle payload is corrupted"),
            (
                Kind::NoSpace,
                "Installation error: Failed updating slot rootfs.1: Slot (1 bytes) is too small for image (2 bytes).",
            ),
            (Kind::NoSpace, "Failed to write: No space left on device"),
            (Kind::Io, "Installation error: Failed updating slot rootfs.1: failed to write data: Input/output error"),
            (
                Kind::Download,
                "Failed to stream bundle https://host/a.raucb: failed to configure streaming: unexpected HTTP error code 503",
            ),
            (Kind::Download, "Failed to stream bundle https://host/a: range requests not supported by server"),
            (
                Kind::Download,
                "Failed to stream bundle https://host/a: not found: The requested URL returned error: 404",
            ),
            (
                Kind::Download,
                "Failed to stream bundle https://host/a: failed to configure streaming: SSL certificate problem: certificate has expired",
            ),
            (Kind::Kernel, "Failed mounting bundle: Failed to open /dev/mapper/control: No such file or directory"),
            (Kind::Kernel, "failed to resolve 'nbd' netlink family - BLK_DEV_NBD not enabled in kernel?"),
            (Kind::Kernel, "Remote bundle access not supported, recompile with -Dstreaming=true"),
            (
                Kind::BootLoader,
                "Installation error: Failed marking slot rootfs.1 non-bootable: Failed to run fw_setenv: ",
            ),
            (Kind::NoSlot, "Did not find booted slot (matching '/dev/mmcblk0p2')"),
            (Kind::Rejected, "Bundle rejected: Hook returned with exit code 10: no"),
            (Kind::Damaged, "Signature size (281474976710656) exceeds bundle size"),
            (
                Kind::NotFound,
                "Invalid bundle format: Failed to open bundle for reading: Error opening file: No such file or directory",
            ),
            (Kind::Busy, "Already processing a different method"),
            (Kind::Other, "the moon is in the wrong phase"),
            (Kind::Other, ""),
        ] {
            assert_eq!(Kind::of_text(text), kind, "{text}");
        }
    }
}
