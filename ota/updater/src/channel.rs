//! A release channel: a file on a server that says which release its boxes are to run, and whose turn it is when. Asked now and then,
//! and judged here: the server knows none of the boxes.

use std::cmp::Ordering;
use std::time::Duration;

use holdfast_fetch::{Roots, Source as Address, Tls, small};
use holdfast_update_plan::{Channel, Event, Offer, Origin, Reason, Source, Wish, compare};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::config::{ChannelConfig, Config};
use crate::engine::now_unix_s;
use crate::files;

/// No channel file is larger, bytes.
const MAX_BYTES: usize = 64 << 10;
/// Nor takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first question comes some time within this after the start: boxes that got their power back together don't ask together.
const SPREAD: Duration = Duration::from_secs(300);
/// How often what is known is judged again: a turn comes, or the clock is set.
const LOOK: Duration = Duration::from_secs(30);
/// After a question that failed; doubled each time, up to the interval.
const RETRY: Duration = Duration::from_secs(60);

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turn {
    /// Nothing is offered, or it is this box's turn.
    #[default]
    Now,
    /// It will be then, Unix time in seconds.
    At(i64),
    /// No wave that is planned takes this box in.
    Never,
    /// The clock is older than this system: nobody knows.
    NoClock,
}

/// How the engine reaches it.
#[derive(Debug)]
pub struct Handle {
    /// Somebody wants to know now. Full (1): it is being asked already.
    pub checks: mpsc::Sender<()>,
    /// Of what is offered.
    pub turn: watch::Receiver<Turn>,
    /// For people: what is wrong with the channel.
    pub notice: watch::Receiver<String>,
}

/// Waits for something new to be shown, where there is a channel.
pub async fn changed(handle: Option<&mut Handle>) {
    let changed = match handle {
        Some(handle) => tokio::select! {
            changed = handle.turn.changed() => changed,
            changed = handle.notice.changed() => changed,
        },
        None => return std::future::pending().await,
    };
    // It has ended, and nothing new comes of it.
    if changed.is_err() {
        std::future::pending::<()>().await;
    }
}

/// See the module.
pub struct Follower {
    config: ChannelConfig,
    /// What deals this box into waves.
    seed: String,
    /// The release that runs, where that is known.
    runs: Option<String>,
    built_unix_s: i64,
    known: Option<(Channel, String)>,
    /// What the plan was told last.
    told: Option<Offer>,
    failures: u32,
    /// Full (64): the engine is busy; this task waits.
    events: mpsc::Sender<Event>,
    checks: mpsc::Receiver<()>,
    turn: watch::Sender<Turn>,
    notice: watch::Sender<String>,
}

impl Follower {
    /// Ready to [`run`](Self::run). `None`: no channel is configured.
    pub fn new(
        config: &Config,
        seed: String,
        runs: Option<String>,
        built_unix_s: i64,
        events: mpsc::Sender<Event>,
    ) -> Option<(Self, Handle)> {
        let config = config.channel_source()?;
        // Full: see `Handle`.
        let (check_sender, checks) = mpsc::channel(1);
        let (turn, turn_receiver) = watch::channel(Turn::Now);
        let (notice, notice_receiver) = watch::channel(String::new());
        let (known, told, failures) = (None, None, 0);
        let follower = Self { config, seed, runs, built_unix_s, known, told, failures, events, checks, turn, notice };
        Some((follower, Handle { checks: check_sender, turn: turn_receiver, notice: notice_receiver }))
    }

    /// Runs until the engine is gone.
    pub async fn run(mut self) {
        let first = self.config.interval.min(SPREAD).mul_f64(fastrand::f64());
        let mut poll_at = Instant::now() + first;
        while !self.events.is_closed() {
            let look_at = Instant::now() + LOOK.min(self.until_turn());
            tokio::select! {
                asked = self.checks.recv() => {
                    if asked.is_none() {
                        return;
                    }
                    poll_at = Instant::now() + self.poll().await;
                }
                () = sleep_until(poll_at) => poll_at = Instant::now() + self.poll().await,
                () = sleep_until(look_at) => self.judge(false).await,
            }
        }
    }

    fn until_turn(&self) -> Duration {
        match *self.turn.borrow() {
            Turn::At(unix_s) => Duration::from_secs(u64::try_from(unix_s - now_unix_s()).unwrap_or(0)),
            _ => LOOK,
        }
    }

    /// Asks the server. When to ask again.
    async fn poll(&mut self) -> Duration {
        match self.ask().await {
            Ok(known) => {
                self.known = Some(known);
                self.failures = 0;
                self.notice.send_replace(String::new());
                self.judge(true).await;
                // A tenth earlier or later.
                self.config.interval.mul_f64(0.9 + 0.2 * fastrand::f64())
            }
            Err(reason) => {
                // What it said before still holds.
                self.failures = self.failures.saturating_add(1);
                let wait = RETRY.saturating_mul(2_u32.saturating_pow(self.failures - 1)).min(self.config.interval);
                warn!(wait_s = wait.as_secs(), "the channel: {}", reason.text);
                self.notice.send_replace(format!("the channel: {}", reason.text));
                let _ = self.events.send(Event::CheckFailed(reason)).await;
                wait.mul_f64(0.9 + 0.2 * fastrand::f64())
            }
        }
    }

    async fn ask(&self) -> Result<(Channel, String), Reason> {
        let told = |error: holdfast_fetch::Error| Reason::new("channel", error.to_string());
        let mut tls = Tls::default();
        if let Some(path) = &self.config.ca {
            let pem = tokio::fs::read(path).await;
            tls.roots = Roots::Only(pem.map_err(|error| Reason::new("channel", files::unreadable(path, &error)))?);
        }
        let address = Address::new(&self.config.url).map_err(told)?.tls(tls);
        let shown = address.shown();
        let bytes = small(address, MAX_BYTES, PATIENCE).await.map_err(told)?;
        let bad = |why: String| Reason::new("channel", format!("{shown}: {why}; correct the file on the server"));
        let text = String::from_utf8(bytes).map_err(|_| bad("it is no text".to_owned()))?;
        let channel = Channel::parse(&text).map_err(|error| bad(error.to_string()))?;
        let url = address_of(&self.config.url, &channel.bundle)
            .ok_or_else(|| bad(format!("bundle = {:?} leads to no https:// address", channel.bundle)))?;
        debug!(release = channel.release, url, "the channel says");
        Ok((channel, url))
    }

    /// Holds what is known against this box and the clock. `is_news`: it has just been asked for, and somebody may wait for the answer.
    async fn judge(&mut self, is_news: bool) {
        let (offer, turn) = match self.known.as_ref().and_then(|(channel, url)| self.offer(channel, url)) {
            Some((offer, turn)) => (Some(offer), turn),
            None => (None, Turn::Now),
        };
        self.turn.send_if_modified(|before| std::mem::replace(before, turn) != turn);
        if !is_news && offer == self.told {
            return;
        }
        if let Some(offer) = offer.as_ref().filter(|_| offer != self.told) {
            info!(version = offer.version, ?turn, "the channel offers");
        }
        self.told.clone_from(&offer);
        let event = offer.map_or(Event::Nothing(Source::Channel), Event::Found);
        let _ = self.events.send(event).await;
    }

    /// `None`: it is not for this box, or nothing new.
    fn offer(&self, channel: &Channel, url: &str) -> Option<(Offer, Turn)> {
        if channel.channel != self.config.channel {
            let text = format!(
                "the channel: {} is of the channel {}, and this box is of {}: correct [update] channel_url or channel in updater.toml",
                self.config.url, channel.channel, self.config.channel
            );
            self.notice.send_if_modified(|before| std::mem::replace(before, text.clone()) != text);
            return None;
        }
        let is_newer = match &self.runs {
            // Two names of which none is a number are different releases.
            Some(runs) => {
                compare(&channel.release, runs).map_or(*runs != channel.release, |order| order == Ordering::Greater)
            }
            None => true,
        };
        if !is_newer {
            return None;
        }
        let (campaign, now) = (channel.campaign(), now_unix_s());
        let turn = if now < self.built_unix_s {
            Turn::NoClock
        } else if campaign.includes(&self.config.channel, &self.seed, now) {
            Turn::Now
        } else {
            campaign.turn_unix_s(&self.config.channel, &self.seed).map_or(Turn::Never, Turn::At)
        };
        let offer = Offer {
            origin: Origin::Channel { url: url.to_owned(), sha256: channel.sha256 },
            version: channel.release.clone(),
            size_bytes: Some(channel.size_bytes),
            wish: if turn == Turn::Now { Wish::Reboot } else { Wish::Tell },
            force: false,
        };
        Some((offer, turn))
    }
}

/// Where the bundle is: beside the channel's file, unless that says otherwise.
fn address_of(channel_url: &str, bundle: &str) -> Option<String> {
    let url = url::Url::parse(channel_url).ok()?.join(bundle).ok()?;
    (url.scheme() == "https").then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::address_of;

    #[test]
    fn a_bundle_lies_beside_its_file_or_where_that_says() {
        let of = |bundle| address_of("https://updates.example.org/boxes/stable.toml?box=17", bundle);
        assert_eq!(of("b-1.raucb").unwrap(), "https://updates.example.org/boxes/b-1.raucb");
        assert_eq!(of("old/b-1.raucb").unwrap(), "https://updates.example.org/boxes/old/b-1.raucb");
        assert_eq!(of("https://cdn.example.net/b-1.raucb").unwrap(), "https://cdn.example.net/b-1.raucb");
        assert_eq!(of("http://cdn.example.net/b-1.raucb"), None);
    }
}
