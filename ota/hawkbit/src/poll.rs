//! What a poll answers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An action's id. hawkBit's are numbers; only what can stand in a path without harm is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionId(String);

impl ActionId {
    /// As the server writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ActionId> for String {
    fn from(id: ActionId) -> Self {
        id.0
    }
}

impl TryFrom<String> for ActionId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) {
            return Err(format!("{:?} is no id of an action", id.chars().take(80).collect::<String>()));
        }
        Ok(Self(id))
    }
}

/// Where an action can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActionRef {
    /// Its id.
    pub id: ActionId,
    /// The server's checksum over it: when it differs from last time, something in it has changed (`?c=`).
    pub checksum: Option<String>,
}

impl From<ActionId> for ActionRef {
    fn from(id: ActionId) -> Self {
        Self { id, checksum: None }
    }
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Poll {
    /// When to poll next, as the server wants it; [`Pace::after_poll`](crate::Pace::after_poll) makes of it what is done.
    pub sleep: Option<Duration>,
    /// The server has no attributes of ours, or old ones: [`Client::config_data`](crate::Client::config_data).
    pub config_data_wanted: bool,
    /// Something to install. Not there while a [`cancel`](Self::cancel) is.
    pub deployment: Option<ActionRef>,
    /// Something to agree to before it becomes a deployment.
    pub confirmation: Option<ActionRef>,
    /// Something to stop.
    pub cancel: Option<ActionRef>,
    /// The last action that ended well.
    pub installed: Option<ActionRef>,
}

/// What is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// The id to answer to.
    pub id: ActionId,
    /// The action to stop; in hawkBit the same number.
    pub stop: ActionId,
}

#[derive(Deserialize)]
pub(crate) struct Wire {
    #[serde(default)]
    config: Option<WireConfig>,
    #[serde(default, rename = "_links")]
    links: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct WireConfig {
    #[serde(default)]
    polling: Option<WirePolling>,
}

#[derive(Deserialize)]
struct WirePolling {
    #[serde(default)]
    sleep: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct WireCancel {
    #[serde(deserialize_with = "crate::poll::text_or_number")]
    id: String,
    #[serde(rename = "cancelAction")]
    action: WireStop,
}

#[derive(Deserialize)]
struct WireStop {
    #[serde(rename = "stopId", deserialize_with = "crate::poll::text_or_number")]
    stop: String,
}

/// Ids are text in hawkBit; other servers of this API write numbers.
pub(crate) fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

impl Wire {
    pub(crate) fn into_poll(self) -> Result<Poll, String> {
        let sleep = self.config.and_then(|config| config.polling).and_then(|polling| polling.sleep);
        if self.links.is_none() && sleep.is_none() {
            // `{}` is what a wrong server says too, and it must not look like "nothing to do".
            return Err("it has neither config.polling.sleep nor _links".to_owned());
        }
        let links = self.links.unwrap_or_default();
        let action = |name: &str| links.get(name).map(|link| action(name, link)).transpose();
        // Without these two nothing is missed that must be done.
        let lenient = |name: &str| {
            action(name).unwrap_or_else(|reason| {
                tracing::warn!(reason, "a link that can't be used");
                None
            })
        };
        let poll = Poll {
            config_data_wanted: links.contains_key("configData"),
            deployment: action("deploymentBase")?,
            confirmation: lenient("confirmationBase"),
            cancel: action("cancelAction")?,
            installed: lenient("installedBase"),
            sleep: sleep.as_deref().and_then(interval),
        };
        if let (Some(text), None) = (sleep, poll.sleep) {
            tracing::warn!(sleep = text, "the server's polling time is not HH:MM:SS; our own is used");
        }
        Ok(poll)
    }
}

impl WireCancel {
    pub(crate) fn into_cancel(self) -> Result<Cancel, String> {
        Ok(Cancel { id: self.id.try_into()?, stop: self.action.stop.try_into()? })
    }
}

/// Of `https://…/deploymentBase/5?c=-2127183556` only the id and the checksum count.
fn action(name: &str, link: &serde_json::Value) -> Result<ActionRef, String> {
    let href =
        link.get("href").and_then(serde_json::Value::as_str).ok_or_else(|| format!("_links.{name} has no href"))?;
    let (path, query) = href.split_once('?').unwrap_or((href, ""));
    let mut parts = path.split('/').skip_while(|part| *part != name);
    let id = parts.nth(1).unwrap_or_default().to_owned();
    let id = id.try_into().map_err(|reason| format!("_links.{name}: {reason}"))?;
    let checksum = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "c");
    Ok(ActionRef { id, checksum: checksum.map(|(_, value)| value.into_owned()) })
}

/// `HH:MM:SS`; hours may be more than 23.
fn interval(text: &str) -> Option<Duration> {
    let mut parts = text.trim().split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60 + u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("12:00:30"), Some(Duration::from_secs(43_230)));
        assert_eq!(interval("100:00:00"), Some(Duration::from_secs(360_000)));
        for wrong in ["", "12:00", "00:60:00", "00:00:61", "-1:00:00", "a:b:c", "00:00:10:00", "99999999999:00:00"] {
            assert_eq!(interval(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_id_and_the_checksum_of_a_link_count() {
        let of = |href: &str| action("deploymentBase", &serde_json::json!({ "href": href }));
        let found = of("http://internal:8080/x/DEFAULT/controller/v1/d/deploymentBase/5?c=-21%20x&d=1").unwrap();
        assert_eq!((found.id.as_str(), found.checksum.as_deref()), ("5", Some("-21 x")));
        assert_eq!(of("/deploymentBase/7").unwrap().checksum, None);
        for wrong in ["", "/deploymentBase", "/deploymentBase/", "/deploymentBase/..", "/deploymentBase/%2e%2e/x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
