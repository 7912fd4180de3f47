//! Throw-away keys: authorities, certificates for signing bundles, and lists of those that are revoked, made by openssl.
//!
//! Not for boxes that leave the house: a real root key is made offline and stays there. `ota/README.md` has those commands; they
//! use the same [`authority.conf`](../authority.conf).

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{Error, Tools, file_error, run};

/// Who issues certificates: a root, whose certificate a box has in its keyring, or one that a root has made to issue in its stead.
#[derive(Debug, Clone)]
pub struct Authority {
    dir: PathBuf,
    tools: Tools,
    /// Certificates between the root and what this one issues.
    chain: Vec<PathBuf>,
}

/// What signs a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signer {
    /// Certificate, PEM.
    pub cert: PathBuf,
    /// Private key, PEM or a PKCS#11 URL.
    pub key: PathBuf,
    /// Certificates between a root of the box's keyring and this one, PEM: they go into the bundle.
    pub intermediates: Vec<PathBuf>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From now on, for so many days.
    Days(u32),
    /// From and until, each `YYYYMMDDhhmmssZ`.
    Between(&'static str, &'static str),
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Signing bundles.
    #[default]
    Signing,
    /// A server's: for tests of its refusal.
    Server,
}

const CONFIG: &str = include_str!("../authority.conf");
const ORGANIZATION: &str = "/O=Holdfast throw-away keys/CN=";
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Authority {
    /// Makes a root in a directory of its own (mode 0700), which must not hold one already.
    ///
    /// # Errors
    /// The directory can't be made, there is an authority in it, or openssl fails.
    pub fn make(tools: &Tools, dir: &Path, name: &str) -> Result<Self, Error> {
        let authority = Self::settle(tools, dir, vec![])?;
        let mut command = authority.openssl("req");
        command.args(["-new", "-x509", "-extensions", "root", "-sha256", "-days", "7300"]).args(NEW_KEY);
        command.args(["-keyout", "authority.key", "-out", "authority.pem", "-subj", &format!("{ORGANIZATION}{name}")]);
        run("making a root certificate", &mut command)?;
        authority.keep_secret("authority.key")?;
        Ok(authority)
    }

    /// Makes one that issues in this one's stead, in a directory of its own.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn intermediate(&self, dir: &Path, name: &str) -> Result<Self, Error> {
        let mut chain = self.chain.clone();
        chain.push(dir.join("authority.pem"));
        let authority = Self::settle(&self.tools, dir, chain)?;
        authority.request("authority", name)?;
        self.sign(&authority.dir, "authority", "intermediate", Validity::Days(3650))?;
        Ok(authority)
    }

    fn settle(tools: &Tools, dir: &Path, chain: Vec<PathBuf>) -> Result<Self, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file_error(dir))?;
        let dir = fs::canonicalize(dir).map_err(file_error(dir))?;
        let authority = Self { dir, tools: tools.clone(), chain };
        if authority.certificate().exists() {
            return Err(Error::Wrong(format!(
                "{} holds keys already; take another directory",
                authority.dir.display()
            )));
        }
        for (name, text) in [("authority.conf", CONFIG), ("index.txt", "")] {
            let path = authority.dir.join(name);
            fs::write(&path, text).map_err(file_error(&path))?;
        }
        Ok(authority)
    }

    /// Its certificate. A root's is what a box has in its keyring.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// Issues a certificate for signing bundles: `NAME.pem` and `NAME.key` beside the authority's.
    ///
    /// # Errors
    /// openssl fails.
    pub fn issue(&self, name: &str, validity: Validity) -> Result<Signer, Error> {
        self.issue_for(name, validity, Purpose::Signing)
    }

    /// Issues a certificate for a purpose.
    ///
    /// # Errors
    /// openssl fails.
    pub fn issue_for(&self, name: &str, validity: Validity, purpose: Purpose) -> Result<Signer, Error> {
        self.request(name, name)?;
        let extensions = match purpose {
            Purpose::Signing => "signer",
            Purpose::Server => "server",
        };
        self.sign(&self.dir, name, extensions, validity)?;
        let at = |ending: &str| self.dir.join(format!("{name}.{ending}"));
        Ok(Signer { cert: at("pem"), key: at("key"), intermediates: self.chain.clone() })
    }

    /// Takes back what it has issued. Boxes know of it by the list.
    ///
    /// # Errors
    /// It is none of this authority's, or openssl fails.
    pub fn revoke(&self, certificate: &Path) -> Result<(), Error> {
        let mut command = self.openssl("ca");
        command.args(["-crl_reason", "keyCompromise", "-revoke"]).arg(certificate);
        run("revoking a certificate", &mut command).map(drop)
    }

    /// Writes the list of what it has taken back, as it is now: `crl.pem`.
    ///
    /// # Errors
    /// openssl fails.
    pub fn list_revoked(&self) -> Result<PathBuf, Error> {
        let mut command = self.openssl("ca");
        command.args(["-gencrl", "-out", "crl.pem"]);
        run("listing what is revoked", &mut command)?;
        Ok(self.dir.join("crl.pem"))
    }

    /// A new key and a request for its certificate.
    fn request(&self, file: &str, name: &str) -> Result<(), Error> {
        let (key, request) = (format!("{file}.key"), format!("{file}.csr"));
        let mut command = self.openssl("req");
        command.args(["-new", "-sha256"]).args(NEW_KEY);
        command.args(["-keyout", &key, "-out", &request, "-subj", &format!("{ORGANIZATION}{name}")]);
        run("making a key for signing", &mut command)?;
        self.keep_secret(&key)
    }

    /// `openssl ca` because only it can issue a certificate that has expired already, and keeps book for revoking.
    fn sign(&self, at: &Path, file: &str, extensions: &str, validity: Validity) -> Result<(), Error> {
        let mut command = self.openssl("ca");
        command.args(["-batch", "-notext", "-extensions", extensions, "-in"]).arg(at.join(format!("{file}.csr")));
        command.arg("-out").arg(at.join(format!("{file}.pem")));
        match validity {
            Validity::Days(days) => command.args(["-days", &days.to_string()]),
            Validity::Between(from, until) => command.args(["-startdate", from, "-enddate", until]),
        };
        run("issuing a certificate", &mut command).map(drop)
    }

    fn openssl(&self, what: &str) -> Command {
        let mut command = Command::new(&self.tools.openssl);
        command.current_dir(&self.dir).args([what, "-config", "authority.conf"]);
        command
    }

    fn keep_secret(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(file_error(&path))
    }
}

/// Writes what a box believes: the certificates of roots (two while one takes the other's place), and of each authority the list of
/// what it has revoked, which a box with `check-crl` wants of the intermediate ones, too.
///
/// # Errors
/// A file can't be read or written.
pub fn write_keyring(parts: &[&Path], out: &Path) -> Result<(), Error> {
    let mut text = String::new();
    for part in parts {
        text += &fs::read_to_string(part).map_err(file_error(part))?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    fs::write(out, text).map_err(file_error(out))
}
