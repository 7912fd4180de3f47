//! hawkBit's management API, as far as tests need it.

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use std::sync::Arc;

/// The operator.
#[derive(Debug, Clone)]
pub struct Manage {
    url: String,
    http: reqwest::Client,
}

/// How software is given to a target.
#[derive(Debug, Clone)]
pub struct Assignment<'a> {
    /// The target's controller id.
    pub controller_id: &'a str,
    /// `forced`, `soft`, `downloadonly`, `timeforced`.
    pub kind: &'a str,
    /// When installing is allowed; any time without.
    pub window: Option<Window<'a>>,
}

/// A maintenance window.
#[derive(Debug, Clone)]
pub struct Window<'a> {
    /// Quartz cron expression of its begin: `0 0 3 * * ? *`.
    pub schedule: &'a str,
    /// How long it is open: `00:30:00`.
    pub duration: &'a str,
    /// Offset from UTC: `+00:00`.
    pub timezone: &'a str,
}

impl Manage {
    pub(crate) fn new(url: String) -> Self {
        // Loopback, in plain text: no one need be trusted.
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
        let builder = reqwest::Client::builder();
        let builder = match tls {
            Ok(tls) => builder.tls_backend_preconfigured(tls),
            Err(_) => builder,
        };
        Self { url, http: builder.build().unwrap_or_default() }
    }

    /// Any request to `/rest/v1{path}`.
    ///
    /// # Errors
    /// With what the server says, when it does not do it.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let request =
            self.http.request(method.clone(), format!("{}/rest/v1{path}", self.url)).basic_auth("admin", Some("admin"));
        let request = match body {
            Some(body) => request.header("Content-Type", "application/json").body(body.to_string()),
            None => request,
        };
        answer(&format!("{method} {path}"), request.send().await?).await
    }

    /// Sets a value of the tenant's configuration.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn configure(&self, key: &str, value: Value) -> anyhow::Result<()> {
        self.request(Method::PUT, &format!("/system/configs/{key}"), Some(&json!({ "value": value }))).await.map(drop)
    }

    /// Makes a target; gives its security token.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn create_target(&self, controller_id: &str) -> anyhow::Result<String> {
        let targets = json!([{ "controllerId": controller_id, "name": controller_id }]);
        let made = self.request(Method::POST, "/targets", Some(&targets)).await?;
        Ok(made[0]["securityToken"].as_str().context("the target has no token")?.to_owned())
    }

    /// Makes a distribution set of one software module with these files; gives its id.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn create_software(&self, name: &str, version: &str, files: &[(&str, &[u8])]) -> anyhow::Result<u64> {
        let module = json!([{ "name": name, "version": version, "type": "os" }]);
        let made = self.request(Method::POST, "/softwaremodules", Some(&module)).await?;
        let module = made[0]["id"].as_u64().context("the module has no id")?;
        for (filename, bytes) in files {
            self.upload(module, filename, bytes).await?;
        }
        let set = json!([{ "name": name, "version": version, "type": "os", "modules": [{ "id": module }] }]);
        let made = self.request(Method::POST, "/distributionsets", Some(&set)).await?;
        made[0]["id"].as_u64().context("the distribution set has no id")
    }

    /// Gives software to a target; gives the action's id.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn assign(&self, set: u64, assignment: &Assignment<'_>) -> anyhow::Result<u64> {
        let mut target = json!({ "id": assignment.controller_id, "type": assignment.kind });
        if let Some(window) = &assignment.window {
            target["maintenanceWindow"] =
                json!({ "schedule": window.schedule, "duration": window.duration, "timezone": window.timezone });
        }
        let path = format!("/distributionsets/{set}/assignedTargets");
        let made = self.request(Method::POST, &path, Some(&json!([target]))).await?;
        made["assignedActions"][0]["id"].as_u64().with_context(|| format!("no action was made: {made}"))
    }

    /// Starts a rollout of one group to all targets whose controller id is matched by `pattern`; it makes their actions
    /// some seconds later.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn create_rollout(&self, name: &str, set: u64, pattern: &str) -> anyhow::Result<u64> {
        let rollout = json!({
            "name": name, "distributionSetId": set, "targetFilterQuery": format!("controllerId=={pattern}"),
            "amountGroups": 1, "type": "forced",
        });
        let made = self.request(Method::POST, "/rollouts", Some(&rollout)).await?;
        made["id"].as_u64().context("the rollout has no id")
    }

    /// What the server knows of an action.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn action(&self, controller_id: &str, action: u64) -> anyhow::Result<Value> {
        self.request(Method::GET, &format!("/targets/{controller_id}/actions/{action}"), None).await
    }

    /// All that was told of an action, oldest first: hawkBit's type, and the messages.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn history(&self, controller_id: &str, action: u64) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let path = format!("/targets/{controller_id}/actions/{action}/status?limit=500&sort=id:ASC");
        let found = self.request(Method::GET, &path, None).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = found["content"].as_array().context("the history has no content")?.iter();
        let messages = |entry: &Value| entry["messages"].as_array().into_iter().flatten().map(text).collect();
        let mut history: Vec<_> =
            entries.map(|entry| (entry["id"].as_u64(), text(&entry["type"]), messages(entry))).collect();
        history.sort();
        Ok(history.into_iter().map(|(_, kind, messages)| (kind, messages)).collect())
    }

    /// Asks for an action to be cancelled.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn cancel(&self, controller_id: &str, action: u64) -> anyhow::Result<()> {
        self.request(Method::DELETE, &format!("/targets/{controller_id}/actions/{action}"), None).await.map(drop)
    }

    async fn upload(&self, module: u64, filename: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let edge = "holdfast-edge-of-a-part";
        let head = format!(
            "--{edge}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), bytes, format!("\r\n--{edge}--\r\n").as_bytes()].concat();
        let request = self
            .http
            .post(format!("{}/rest/v1/softwaremodules/{module}/artifacts", self.url))
            .basic_auth("admin", Some("admin"))
            .header("Content-Type", format!("multipart/form-data; boundary={edge}"))
            .body(body);
        answer(&format!("upload of {filename}"), request.send().await?).await.map(drop)
    }
}

async fn answer(what: &str, answer: reqwest::Response) -> anyhow::Result<Value> {
    let status = answer.status();
    let body = answer.text().await?;
    ensure!(status.is_success(), "{what}: HTTP {status}: {body}");
    Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
}
