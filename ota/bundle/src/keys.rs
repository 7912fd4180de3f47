//! Throw-away keys: an authority and certificates for signing bundles, made by openssl.
//!
//! Not for boxes that leave the house: a real root key is made offline and stays there.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{Error, Tools, file_error, run};

/// An authority whose certificate a box has as its keyring.
#[derive(Debug, Clone)]
pub struct Authority {
    dir: PathBuf,
    tools: Tools,
}

/// What signs a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Certificate, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From now on, for so many days.
    Days(u32),
    /// From and until, each `YYYYMMDDhhmmssZ`.
    Between(&'static str, &'static str),
}

/// `openssl ca` because only it can issue a certificate that has expired already.
const CONFIG: &str = "[ca]
default_ca = authority
[authority]
database = index.txt
unique_subject = no
rand_serial = yes
new_certs_dir = .
certificate = root.pem
private_key = root.key
default_md = sha256
policy = policy
x509_extensions = signer
[policy]
organizationName = optional
commonName = supplied
[signer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = emailProtection, codeSigning
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";

impl Authority {
    /// Makes one in a directory of its own (mode 0700), which must not hold one already.
    ///
    /// # Errors
    /// The directory can't be made, there is an authority in it, or openssl fails.
    pub fn make(tools: &Tools, dir: &Path, name: &str) -> Result<Self, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file_error(dir))?;
        let authority = Self { dir: dir.to_owned(), tools: tools.clone() };
        if authority.keyring().exists() {
            return Err(Error::Wrong(format!("{} holds keys already; take another directory", dir.display())));
        }
        for (name, text) in [("ca.conf", CONFIG), ("index.txt", "")] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(file_error(&path))?;
        }
        let mut command = authority.openssl();
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"]);
        command.args(["-days", "7300", "-keyout", "root.key", "-out", "root.pem"]);
        command.args([
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
        command.args(["-subj", &format!("/O=Holdfast throw-away keys/CN={name}")]);
        run("making a root certificate", &mut command)?;
        authority.keep_secret("root.key")?;
        Ok(authority)
    }

    /// The certificate that a box has as its keyring.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.dir.join("root.pem")
    }

    /// Issues a certificate for signing bundles: `NAME.pem` and `NAME.key` beside the root's.
    ///
    /// # Errors
    /// openssl fails.
    pub fn issue(&self, name: &str, validity: Validity) -> Result<Signer, Error> {
        let (cert, key, request) = (format!("{name}.pem"), format!("{name}.key"), format!("{name}.csr"));
        let mut command = self.openssl();
        command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"]);
        command.args(["-keyout", &key, "-out", &request]);
        command.args(["-subj", &format!("/O=Holdfast throw-away keys/CN={name}")]);
        run("making a key for signing", &mut command)?;
        self.keep_secret(&key)?;
        let mut command = self.openssl();
        command.args(["ca", "-config", "ca.conf", "-batch", "-notext", "-in", &request, "-out", &cert]);
        match validity {
            Validity::Days(days) => command.args(["-days", &days.to_string()]),
            Validity::Between(from, until) => command.args(["-startdate", from, "-enddate", until]),
        };
        run("issuing a certificate for signing", &mut command)?;
        Ok(Signer { cert: self.dir.join(cert), key: self.dir.join(key) })
    }

    fn openssl(&self) -> Command {
        let mut command = Command::new(&self.tools.openssl);
        command.current_dir(&self.dir);
        command
    }

    fn keep_secret(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(file_error(&path))
    }
}
