//! Watches an installation until it has ended, one way or the other.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use rauc::InstallerProxy;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use zbus::names::UniqueName;
use zbus::zvariant::{OwnedValue, Value};
use zbus::{MatchRule, Message, MessageStream};

use crate::error::{Error, Kind};
use crate::service::{INTERFACE, NAME};
use crate::status::{Operation, Progress};
use crate::values::text;

/// How often RAUC is asked whether it is still at it, should all signals fail to come.
const CHECK: Duration = Duration::from_secs(5);
/// Messages that may wait for us. When it is full the connection waits, and nothing is lost: this task does nothing but
/// take them.
const WAITING: usize = 256;

pub(crate) struct Watcher {
    proxy: InstallerProxy<'static>,
    /// All that this one RAUC process says, in its order.
    signals: MessageStream,
    /// Who owns RAUC's name.
    owners: MessageStream,
    owner: String,
    doing: String,
    bundle: String,
    progress: watch::Sender<Progress>,
    /// As signals told it: what is left if RAUC dies before it can be asked.
    last_error: String,
}

/// What one message means.
enum Told {
    Completed(i32),
    Idle,
    Nothing,
}

impl Watcher {
    pub(crate) async fn subscribe(
        proxy: &InstallerProxy<'static>,
        owner: &UniqueName<'_>,
        doing: &str,
        bundle: &str,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, Error> {
        let connection = proxy.inner().connection();
        let fail = |error: zbus::Error| Error::call(doing, error);
        let signals = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(owner.to_owned())
            .and_then(|rule| rule.path("/"))
            .map_err(fail)?
            .build();
        let owners = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .and_then(|rule| rule.interface("org.freedesktop.DBus"))
            .and_then(|rule| rule.member("NameOwnerChanged"))
            .and_then(|rule| rule.arg(0, NAME))
            .map_err(fail)?
            .build();
        let stream = |rule| MessageStream::for_match_rule(rule, connection, Some(WAITING));
        Ok(Self {
            proxy: proxy.clone(),
            signals: stream(signals).await.map_err(fail)?,
            owners: stream(owners).await.map_err(fail)?,
            owner: owner.to_string(),
            doing: doing.to_owned(),
            bundle: bundle.to_owned(),
            progress,
            last_error: String::new(),
        })
    }

    /// Until the end. Three things end it: `Completed`, RAUC's going away, and RAUC's being idle without having said so.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut check = interval();
        loop {
            tokio::select! {
                // What RAUC said before it went away counts first.
                biased;
                message = self.signals.next() => match self.told(message)? {
                    Told::Completed(code) => return self.ended(code).await,
                    Told::Idle => check.reset_immediately(),
                    Told::Nothing => {}
                },
                message = self.owners.next() => if let Some(gone) = self.gone(message) {
                    return Err(gone);
                },
                _ = check.tick() => if let Some(end) = self.check().await {
                    return end;
                },
            }
        }
    }

    fn told(&mut self, message: Option<zbus::Result<Message>>) -> Result<Told, Error> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Error::call(&self.doing, error)),
            None => return Err(Error::new(&self.doing, Kind::Bus, "the connection to the bus ended")),
        };
        let header = message.header();
        let member = header.member().map(|name| name.as_str().to_owned()).unwrap_or_default();
        match (header.interface().map_or("", |name| name.as_str()), member.as_str()) {
            (INTERFACE, "Completed") => {
                // A code that can't be read is no success.
                Ok(Told::Completed(message.body().deserialize().unwrap_or(-1)))
            }
            ("org.freedesktop.DBus.Properties", "PropertiesChanged") => Ok(self.changed(&message)),
            _ => Ok(Told::Nothing),
        }
    }

    fn changed(&mut self, message: &Message) -> Told {
        let body = message.body();
        let Ok((interface, changed, _)) = body.deserialize::<(String, HashMap<String, Value<'_>>, Vec<String>)>()
        else {
            return Told::Nothing;
        };
        if interface != INTERFACE {
            return Told::Nothing;
        }
        if let Some(value) = changed.get("LastError") {
            self.last_error = text(value);
        }
        if let Some(value) = changed.get("Progress") {
            self.progress.send_replace(Progress::of(value));
        }
        match changed.get("Operation").map(|value| Operation::of(&text(value))) {
            Some(Operation::Idle) => Told::Idle,
            _ => Told::Nothing,
        }
    }

    fn gone(&self, message: Option<zbus::Result<Message>>) -> Option<Error> {
        let Some(Ok(message)) = message else {
            return Some(Error::new(&self.doing, Kind::Bus, "the connection to the bus ended"));
        };
        let body = message.body();
        let (_, _, now) = body.deserialize::<(String, String, String)>().ok()?;
        if now == self.owner {
            return None;
        }
        let said =
            if now.is_empty() { "RAUC ended before it was done" } else { "RAUC was restarted before it was done" };
        Some(Error::new(&self.doing, Kind::Gone, said))
    }

    /// Asks whether it is still at it. `None`: it is, or can't be asked just now (then its name tells).
    ///
    /// `Operation` alone does not tell: RAUC 1.8 to 1.15 set it to `idle` when they refuse another installation. That they
    /// refuse to name the primary slot does.
    async fn check(&mut self) -> Option<Result<(), Error>> {
        let operation = self.property("Operation").await?;
        if Operation::of(&operation) != Operation::Idle {
            return None;
        }
        let refused = self.proxy.get_primary().await.err().map(|error| Error::call(&self.doing, error).kind());
        if matches!(refused, Some(Kind::Busy | Kind::Gone | Kind::Absent | Kind::Bus)) {
            return None;
        }
        // It may have told its end while it was asked: that came before its answer.
        while let Some(message) = self.signals.next().now_or_never() {
            match self.told(message) {
                Ok(Told::Completed(code)) => return Some(self.ended(code).await),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        tracing::warn!("{}: RAUC is idle and did not tell how it ended: judged by its last error", self.doing);
        let said = self.property("LastError").await?;
        Some(if said.is_empty() { Ok(()) } else { Err(Error::said(&self.doing, &said).about(&self.bundle)) })
    }

    async fn ended(&mut self, code: i32) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        // The thread that installs sets it before the end is told; its signal may come later.
        let said = self.property("LastError").await.filter(|said| !said.is_empty());
        let said = said.unwrap_or_else(|| self.last_error.clone());
        Err(Error::said(&self.doing, &said).about(&self.bundle))
    }

    async fn property(&self, name: &str) -> Option<String> {
        let value: OwnedValue = self.proxy.inner().get_property(name).await.ok()?;
        Some(text(&value))
    }
}

fn interval() -> Interval {
    let mut interval = tokio::time::interval(CHECK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at once: it has only begun.
    interval.reset();
    interval
}
