//! Which server, who we are, and what we trust.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::SettingsError;

/// All that a [`Client`](crate::Client) must know.
///
/// Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where hawkBit answers, without `/{tenant}/controller`: `https://updates.example.org`, with a path if it has one.
    pub url: Url,
    /// Tenant; `DEFAULT` on a server with one.
    pub tenant: String,
    /// This device's name at the server (`controllerId`).
    pub controller_id: String,
    /// The token shown with each request.
    pub token: Token,
    /// The certificate shown in the TLS handshake, where a proxy before hawkBit asks for one.
    pub certificate: Option<Certificate>,
    /// Who vouches for the server.
    pub ca: Ca,
    /// Whether `http://` is allowed in [`url`](Self::url): tokens and commands are then open to whoever listens.
    pub plain_http: bool,
    /// Other servers that get the token for downloads; for the rest a link must do without.
    pub download_hosts: Vec<Host>,
    /// Longest wait for a connection; 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for a whole answer, connection included; 60 s.
    pub timeout: Duration,
}

impl Settings {
    /// Settings with a token, and the usual rest.
    pub fn new(url: Url, tenant: impl Into<String>, controller_id: impl Into<String>, token: Token) -> Self {
        Self {
            url,
            tenant: tenant.into(),
            controller_id: controller_id.into(),
            token,
            certificate: None,
            ca: Ca::System,
            plain_http: false,
            download_hosts: vec![],
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let wrong = |name, reason: &str| Err(SettingsError::Value { name, reason: reason.to_owned() });
        match self.url.scheme() {
            "https" => {}
            "http" if self.plain_http => {}
            "http" => {
                return wrong("url", "http:// shows the token to whoever listens; use https://, or set plain_http");
            }
            other => return wrong("url", &format!("{other}:// is not spoken; use https://")),
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return wrong("url", "it has a user or password in it; use Settings.token");
        }
        if self.url.host().is_none() || self.url.query().is_some() || self.url.fragment().is_some() {
            return wrong("url", "it must have a host, and neither ? nor #");
        }
        for (name, value) in [("tenant", &self.tenant), ("controller_id", &self.controller_id)] {
            if value.is_empty() || matches!(value.as_str(), "." | "..") || value.chars().any(char::is_control) {
                return wrong(name, "it is empty or no name; take it from hawkBit's target");
            }
        }
        if let Some(token) = self.token.secret()
            && (token.expose_secret().is_empty() || token.expose_secret().chars().any(|c| !c.is_ascii_graphic()))
        {
            return wrong("token", "it is empty or has spaces or other than ASCII in it; copy it anew");
        }
        if self.certificate.is_some() && self.url.scheme() != "https" {
            return wrong("certificate", "a certificate is shown over https:// only; change Settings.url");
        }
        Ok(())
    }
}

/// What is shown in `Authorization`.
#[derive(Debug, Clone)]
pub enum Token {
    /// This target's own security token.
    Target(SecretString),
    /// The tenant's token for all devices behind one gateway. Who has it can speak for every device.
    Gateway(SecretString),
    /// None: the certificate must do.
    None,
}

impl Token {
    fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Target(secret) | Self::Gateway(secret) => Some(secret),
            Self::None => None,
        }
    }

    /// The header's value, marked so that nobody prints it.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, SettingsError> {
        let (scheme, secret) = match self {
            Self::Target(secret) => ("TargetToken", secret),
            Self::Gateway(secret) => ("GatewayToken", secret),
            Self::None => return Ok(None),
        };
        let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.expose_secret()))
            .map_err(|_| SettingsError::Value { name: "token", reason: "it can't stand in a header".to_owned() })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What to look at when the server refuses us.
    pub(crate) fn check(&self, status: u16, settings: &Settings) -> String {
        let (id, tenant) = (&settings.controller_id, &settings.tenant);
        let who = format!("Settings.controller_id \"{id}\" of Settings.tenant \"{tenant}\"");
        let and_proxy =
            if settings.certificate.is_some() { ", and that the proxy maps Settings.certificate to it" } else { "" };
        match (self, status) {
            (Self::Target(_), 401) => format!(
                "compare Settings.token with the security token of target {who} in hawkBit, and see that the target \
                 exists and that target tokens are enabled there{and_proxy}"
            ),
            (Self::Gateway(_), 401) => format!(
                "compare Settings.token with the tenant's gateway token in hawkBit, and see that gateway tokens are \
                 enabled there for {who}{and_proxy}"
            ),
            (Self::None, 401) if settings.certificate.is_some() => format!(
                "see that certificates are enabled in hawkBit, that its issuer hash is that of \
                 Settings.certificate's issuer, and that the common name is {who}"
            ),
            (Self::None, 401) => "it wants to know who we are: set Settings.token or Settings.certificate".to_owned(),
            _ => format!("it knows us but forbids this to {who}: look at the rights there, or at a firewall before it"),
        }
    }
}

/// A client certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, with intermediate ones behind it.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whom we believe about the server's name.
#[derive(Debug, Clone)]
pub enum Ca {
    /// Those the system trusts.
    System,
    /// Only those in this PEM file.
    File(PathBuf),
}
