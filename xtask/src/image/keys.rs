//! The keys that the appliance trusts: throw-away ones, made once for this user.

use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast_bundle::{Authority, Signer, Tools, Validity, write_keyring};

/// Where they are.
#[derive(Debug)]
pub struct Keys {
    pub keyring: PathBuf,
    pub signer: Signer,
}

/// Makes them, or finds them.
pub fn get(place: &Path) -> anyhow::Result<Keys> {
    let keyring = place.join("keyring.pem");
    let signer = Signer { cert: place.join("signer.pem"), key: place.join("signer.key"), intermediates: Vec::new() };
    if !(keyring.exists() && signer.cert.exists() && signer.key.exists()) {
        if place.exists() {
            std::fs::remove_dir_all(place).with_context(|| place.display().to_string())?;
        }
        let authority = Authority::make(&Tools::default(), place, "appliance, throw-away")?;
        authority.issue("signer", Validity::Days(3650))?;
        // Boxes want the list of what was revoked, too.
        write_keyring(&[&authority.certificate(), &authority.list_revoked()?], &keyring)?;
    }
    Ok(Keys { keyring, signer })
}
