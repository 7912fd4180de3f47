//! The requests of the DDI API, one method each.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;
use url::Url;

use crate::deployment::{self, Deployment};
use crate::feedback::{CancelAnswer, Confirmation, Feedback};
use crate::http::shown;
use crate::poll::{self, ActionId, ActionRef, Cancel, Poll};
use crate::{Error, Settings, SettingsError, tls};

/// How many of the last messages of an action are asked for: enough to find one sent just before a crash.
const HISTORY: &str = "20";

/// A client of one server, for one device. Cheap to clone.
///
/// All requests go to [`Settings::url`]: of the links that the server sends only ids and checksums are taken, so that
/// neither a server behind a proxy that does not know its own name nor a malicious answer can lead a token elsewhere.
///
/// Nothing is retried in here, and nothing sleeps: [`Pace`](crate::Pace) says when to come again. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) settings: Arc<Settings>,
    pub(crate) authorization: Option<HeaderValue>,
    tls: Arc<rustls::ClientConfig>,
}

/// What [`Client::config_data`] does with attributes that the server has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// New ones are added, known ones changed, the rest stays.
    Merge,
    /// What is not named goes.
    Replace,
    /// What is named goes.
    Remove,
}

impl Client {
    /// Reads the files that the settings name. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting and what is wrong with it.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let tls = tls::config(&settings)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            // What was sent twice by a retry inside would be reported twice.
            .retry(reqwest::retry::never())
            .user_agent(concat!("holdfast-hawkbit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SettingsError::Value { name: "url", reason: error.to_string() })?;
        let authorization = settings.token.header()?;
        Ok(Self { http, settings: Arc::new(settings), authorization, tls: Arc::new(tls) })
    }

    /// Asks what there is to do. The server takes it as a sign of life.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Gone`] here means that the server knows no such tenant or path.
    pub async fn poll(&self) -> Result<Poll, Error> {
        let url = self.address(&[])?;
        let wire: poll::Wire = self.get(url.clone()).await?;
        wire.into_poll().map_err(|reason| Error::Malformed { url: shown(&url), reason })
    }

    /// What is to be installed, how, and what the server has heard of it so far.
    ///
    /// # Errors
    /// [`Error::Gone`] when the action is over, or was cancelled.
    pub async fn deployment(&self, action: &ActionRef) -> Result<Deployment, Error> {
        self.described("deploymentBase", action).await
    }

    /// What was installed last, as the server sees it.
    ///
    /// # Errors
    /// As [`deployment`](Self::deployment).
    pub async fn installed(&self, action: &ActionRef) -> Result<Deployment, Error> {
        self.described("installedBase", action).await
    }

    /// What the server wants us to agree to before it becomes a deployment (hawkBit 0.4 and newer, where switched on).
    ///
    /// # Errors
    /// As [`deployment`](Self::deployment).
    pub async fn confirmation(&self, action: &ActionRef) -> Result<Deployment, Error> {
        self.described("confirmationBase", action).await
    }

    /// Which action is to be stopped.
    ///
    /// # Errors
    /// [`Error::Gone`] when there is nothing to stop any more.
    pub async fn cancel(&self, cancel: &ActionRef) -> Result<Cancel, Error> {
        let url = self.address(&["cancelAction", cancel.id.as_str()])?;
        let wire: poll::WireCancel = self.get(url.clone()).await?;
        wire.into_cancel().map_err(|reason| Error::Malformed { url: shown(&url), reason })
    }

    /// Tells how an action goes. For what must not get lost use an [`Outbox`](crate::Outbox).
    ///
    /// # Errors
    /// [`Error::Gone`] when the action is over: also when the same final result was taken before.
    pub async fn feedback(&self, action: &ActionId, feedback: &Feedback) -> Result<(), Error> {
        let url = self.address(&["deploymentBase", action.as_str(), "feedback"])?;
        self.send(Method::POST, url, &feedback.json(action)).await
    }

    /// Answers a [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cancel_feedback(
        &self,
        cancel: &ActionId,
        answer: CancelAnswer,
        details: &[String],
    ) -> Result<(), Error> {
        let url = self.address(&["cancelAction", cancel.as_str(), "feedback"])?;
        self.send(Method::POST, url, &answer.json(cancel, details)).await
    }

    /// Answers a [`confirmation`](Self::confirmation).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn confirm(&self, action: &ActionId, answer: Confirmation, details: &[String]) -> Result<(), Error> {
        let url = self.address(&["confirmationBase", action.as_str(), "feedback"])?;
        self.send(Method::POST, url, &answer.json(details)).await
    }

    /// Sends the device's attributes: after [`Poll::config_data_wanted`], or when they change.
    ///
    /// hawkBit takes keys up to 128 and values up to 128 characters, and 100 of them.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them is too long.
    pub async fn config_data(&self, data: &BTreeMap<String, String>, mode: UpdateMode) -> Result<(), Error> {
        let mode = match mode {
            UpdateMode::Merge => "merge",
            UpdateMode::Replace => "replace",
            UpdateMode::Remove => "remove",
        };
        // `status` is for servers before 0.3, which want it.
        let status = json!({ "execution": "closed", "result": { "finished": "success" }, "details": [] });
        let body = json!({ "mode": mode, "data": data, "id": "", "time": "", "status": status });
        self.send(Method::PUT, self.address(&["configData"])?, &body).await
    }

    /// What a download from `url` must carry: the token for our own server and for [`Settings::download_hosts`] over the
    /// same protocol, nothing for others.
    pub fn download_headers(&self, url: &Url) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let ours = url.origin() == self.settings.url.origin();
        let trusted = || {
            let secure = url.scheme() == "https" || self.settings.plain_http && url.scheme() == "http";
            secure && url.host().is_some_and(|host| self.settings.download_hosts.contains(&host.to_owned()))
        };
        if let Some(token) = &self.authorization
            && (ours || trusted())
        {
            headers.insert(AUTHORIZATION, token.clone());
        }
        headers
    }

    /// The TLS set-up, with trusted authorities and our certificate, for a downloader to use as well.
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    async fn described(&self, base: &str, action: &ActionRef) -> Result<Deployment, Error> {
        let mut url = self.address(&[base, action.id.as_str()])?;
        if let Some(checksum) = &action.checksum {
            url.query_pairs_mut().append_pair("c", checksum);
        }
        url.query_pairs_mut().append_pair("actionHistory", HISTORY);
        let wire: deployment::Wire = self.get(url.clone()).await?;
        wire.into_deployment().map_err(|reason| Error::Malformed { url: shown(&url), reason })
    }

    /// `{url}/{tenant}/controller/v1/{controllerId}/…`, everything escaped.
    fn address(&self, rest: &[&str]) -> Result<Url, Error> {
        let mut url = self.settings.url.clone();
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty();
                path.extend([&self.settings.tenant, "controller", "v1", &self.settings.controller_id]);
                path.extend(rest);
            }
            Err(()) => {
                let reason = "Settings.url is no base for paths".to_owned();
                return Err(Error::Malformed { url: shown(&self.settings.url), reason });
            }
        }
        Ok(url)
    }
}
