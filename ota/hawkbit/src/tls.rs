//! One TLS set-up for all requests: rustls on ring, nothing of OpenSSL.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::SettingsError;
use crate::settings::{Ca, Settings};

pub(crate) fn config(settings: &Settings) -> Result<ClientConfig, SettingsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Value { name: "ca", reason: error.to_string() })?
        .with_root_certificates(roots(&settings.ca)?);
    let Some(certificate) = &settings.certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("certificate.chain", &certificate.chain)?;
    // The reason of a key file says where it is broken, and shows nothing of it.
    let key = PrivateKeyDer::from_pem_file(&certificate.key)
        .map_err(|error| file("certificate.key", &certificate.key, error.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        file("certificate.key", &certificate.key, format!("{error}; do chain and key belong together?"))
    })
}

fn roots(ca: &Ca) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Ca::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a root certificate of the system can't be read");
            }
            roots.add_parsable_certificates(found.certs);
            // None at all is no error yet: a server on plain HTTP needs none, and any other says so itself.
            if roots.is_empty() {
                tracing::warn!(
                    "the system trusts no root certificate; install ca-certificates, or name one in Settings.ca"
                );
            }
        }
        Ca::File(path) => {
            for certificate in certificates("ca", path)? {
                roots.add(certificate).map_err(|error| file("ca", path, error.to_string()))?;
            }
        }
    }
    Ok(roots)
}

fn certificates(name: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(file(name, path, "there is no PEM certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(file(name, path, error.to_string())),
    }
}

fn file(name: &'static str, path: &Path, reason: String) -> SettingsError {
    SettingsError::File { name, path: path.to_owned(), reason }
}
