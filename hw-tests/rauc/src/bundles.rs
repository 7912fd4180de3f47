//! Bundles, good and bad.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use holdfast_bundle::{Authority, Format, Image, Purpose, Recipe, Signer, Tools, Validity, make, write_keyring};

/// By whom a bundle is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// By one the box trusts.
    Well,
    /// By a certificate of the box's authority that ended years ago.
    Expired,
    /// By a certificate of the box's authority that begins in many years.
    NotYet,
    /// By somebody else's authority.
    Foreign,
    /// By one whom an authority between the root and it has issued, and that one's certificate is in the bundle.
    Between,
    /// The same, but for that certificate, which is left out.
    Unconnected,
    /// By one whom that authority has issued and taken back.
    Revoked,
    /// By a certificate of the box's authority that is for servers.
    Server,
}

/// What a bundle shall be.
#[derive(Debug, Clone, Copy)]
pub struct Wrap<'a> {
    /// For which kind of box.
    pub compatible: &'a str,
    /// Its version.
    pub version: &'a str,
    /// In which format. `None`: one that this machine's kernel can install.
    pub format: Option<Format>,
    /// By whom it is signed.
    pub signed: Signed,
    /// Whether only changed blocks need to be fetched.
    pub adaptive: bool,
}

impl Default for Wrap<'_> {
    /// A good one for the rig.
    fn default() -> Self {
        Self { compatible: "holdfast-rig", version: "1.0.0", format: None, signed: Signed::Well, adaptive: false }
    }
}

/// The keys of the rig.
pub(crate) struct Keys {
    pub(crate) keyring: PathBuf,
    well: Signer,
    expired: Signer,
    not_yet: Signer,
    foreign: Signer,
    between: Signer,
    unconnected: Signer,
    revoked: Signer,
    server: Signer,
}

impl Keys {
    /// `lists_revoked`: of each authority the list is in the keyring, too.
    pub(crate) fn make(tools: &Tools, dir: &Path, lists_revoked: bool) -> Self {
        let ours = Authority::make(tools, &dir.join("keys"), "rig").unwrap();
        let others = Authority::make(tools, &dir.join("foreign"), "somebody else").unwrap();
        let deputy = ours.intermediate(&dir.join("deputy"), "deputy").unwrap();
        let [between, revoked] = ["between", "revoked"].map(|name| deputy.issue(name, Validity::Days(365)).unwrap());
        deputy.revoke(&revoked.cert).unwrap();
        let keyring = dir.join("keyring.pem");
        let lists = [&ours, &deputy].map(|authority| authority.list_revoked().unwrap());
        let parts: &[&Path] =
            if lists_revoked { &[&ours.certificate(), &lists[0], &lists[1]] } else { &[&ours.certificate()] };
        write_keyring(parts, &keyring).unwrap();
        Self {
            keyring,
            unconnected: Signer { intermediates: vec![], ..between.clone() },
            between,
            revoked,
            server: ours.issue_for("server", Validity::Days(365), Purpose::Server).unwrap(),
            well: ours.issue("signer", Validity::Days(365)).unwrap(),
            expired: ours.issue("expired", Validity::Between("20200101000000Z", "20200201000000Z")).unwrap(),
            not_yet: ours.issue("not-yet", Validity::Between("20900101000000Z", "20950101000000Z")).unwrap(),
            foreign: others.issue("foreign", Validity::Days(365)).unwrap(),
        }
    }

    fn signer(&self, signed: Signed) -> &Signer {
        match signed {
            Signed::Well => &self.well,
            Signed::Expired => &self.expired,
            Signed::NotYet => &self.not_yet,
            Signed::Foreign => &self.foreign,
            Signed::Between => &self.between,
            Signed::Unconnected => &self.unconnected,
            Signed::Revoked => &self.revoked,
            Signed::Server => &self.server,
        }
    }

    pub(crate) fn bundle(&self, tools: &Tools, image: &Path, wrap: &Wrap<'_>, format: Format, out: &Path) {
        let image = Image { class: "rootfs".into(), file: image.to_owned(), adaptive: wrap.adaptive };
        let recipe = Recipe {
            compatible: wrap.compatible.into(),
            version: wrap.version.into(),
            format: wrap.format.unwrap_or(format),
            images: vec![image],
        };
        make(tools, &recipe, self.signer(wrap.signed), None, out).unwrap();
    }
}

/// Bytes that don't compress and differ by `seed`.
pub(crate) fn noise(path: &Path, bytes: u64, seed: u64) {
    let mut file = fs::File::create(path).unwrap();
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut left = bytes;
    let mut block = vec![0; 1 << 16];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..take]).unwrap();
        left -= take as u64;
    }
}

/// Cuts a file to so many bytes.
pub(crate) fn cut(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}
