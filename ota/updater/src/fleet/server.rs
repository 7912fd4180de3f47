//! The way to the fleet's server. It is there once its settings can be used: a token's file may come later than the updater, and a wrong
//! one may be put right.

use std::fs::File;

use anyhow::{Context as _, anyhow};
use holdfast_hawkbit::{Ca, Certificate, Client, Settings, Token};

use crate::config::FleetConfig;
use crate::files;

pub(super) struct Server {
    config: FleetConfig,
    client: Option<Client>,
}

impl Server {
    pub(super) fn new(config: FleetConfig) -> Self {
        Self { config, client: None }
    }

    /// Whom to ask.
    ///
    /// # Errors
    /// Its settings can't be used (yet).
    pub(super) fn client(&mut self) -> anyhow::Result<Client> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = Client::new(settings(&self.config)?).context("[update] fleet_url and what belongs to it")?;
        Ok(self.client.insert(client).clone())
    }

    /// It does not believe who we are: files are read again the next time.
    pub(super) fn denied(&mut self) {
        self.client = None;
    }
}

fn settings(config: &FleetConfig) -> anyhow::Result<Settings> {
    let token = match &config.token_file {
        Some(path) => {
            let token = std::fs::read_to_string(path).map_err(|error| anyhow!(files::unreadable(path, &error)))?;
            let token = token.trim().to_owned().into();
            if config.is_gateway { Token::Gateway(token) } else { Token::Target(token) }
        }
        None => Token::None,
    };
    let certificate = config.certificate.as_ref();
    for path in certificate.iter().flat_map(|(chain, key)| [chain, key]).chain(&config.ca) {
        File::open(path).map_err(|error| anyhow!(files::unreadable(path, &error)))?;
    }
    let url = config.url.parse().with_context(|| format!("fleet_url = {:?}", config.url))?;
    let mut settings = Settings::new(url, &config.tenant, &config.id, token);
    settings.plain_http = config.plain_http;
    if let Some(ca) = &config.ca {
        settings.ca = Ca::File(ca.clone());
    }
    if let Some((chain, key)) = certificate {
        settings.certificate = Some(Certificate { chain: chain.clone(), key: key.clone() });
    }
    Ok(settings)
}
