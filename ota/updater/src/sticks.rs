//! Sticks that are plugged in: what one offers becomes an event, and it is let go when nothing of it is needed any more.
//!
//! A task of its own. It has the open bundles and the sockets that `holdfast-updater stick` hands over; what becomes of an offer it sees
//! from what the plan works on. The updater itself mounts nothing and walks through no stick.

use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use holdfast_dbus::{Error, ErrorCode};
use holdfast_update_plan::{Channel, Event, Offer, Origin, Source, compare};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::config::Config;
use crate::stick::{DONE, version_of};

/// No box has more of them at once.
const MAX_STICKS: usize = 8;
/// After a start: how long what was offered from a stick may take to be offered again.
pub const RETURN: Duration = Duration::from_secs(30);

/// A bundle on a stick, as it is handed over.
#[derive(Debug)]
pub struct Plugged {
    /// Its file's name.
    pub name: String,
    /// Open.
    pub file: File,
    /// The other end is at whoever holds the stick.
    pub link: StdStream,
    /// What the channel file beside it says.
    pub channel: Option<String>,
}

/// What the task is told.
#[derive(Debug)]
pub enum News {
    /// A stick with a bundle; and whether it is taken.
    Plugged(Plugged, oneshot::Sender<Result<(), Error>>),
    /// A stick that should have one. Why it is not taken.
    Refused(String),
    /// Whoever held this stick has gone, and the stick with him.
    Gone(u64),
    /// What was to be had of this offer is copied.
    Copied(String),
    /// The plan did not take this offer up: it is no news, or (true) something else is under way and it may come again.
    Passed(String, bool),
}

/// What the plan works on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doing {
    /// Where that is from.
    pub origin: Option<Origin>,
    /// The plan's phase.
    pub phase: &'static str,
}

/// What there is to be copied.
#[derive(Debug, Clone)]
pub struct Original {
    /// As in [`Origin::Usb`].
    pub key: String,
    /// The open bundle.
    pub file: std::sync::Arc<File>,
    /// What it must be, where the stick says so.
    pub sha256: Option<[u8; 32]>,
}

/// How the engine reaches the task.
#[derive(Debug)]
pub struct Handle {
    /// What the plan works on.
    pub doing: watch::Sender<Doing>,
    /// The stick that is looked at.
    pub shelf: watch::Receiver<Option<Original>>,
    /// For people.
    pub notice: watch::Receiver<String>,
}

struct Stick {
    number: u64,
    offer: Offer,
    original: Original,
    link: UnixStream,
    /// The plan knows of it.
    is_offered: bool,
    /// The plan works on it, or did.
    is_taken: bool,
}

/// See the module.
pub struct Sticks {
    config: Config,
    /// The release that runs, where that is known.
    runs: Option<String>,
    sticks: Vec<Stick>,
    next: u64,
    news: mpsc::Receiver<News>,
    /// For tasks that wait for the end of a link. Full (16): they wait.
    told: mpsc::Sender<News>,
    /// Full (64): the engine is busy; this task waits.
    events: mpsc::Sender<Event>,
    doing: watch::Receiver<Doing>,
    shelf: watch::Sender<Option<Original>>,
    notice: watch::Sender<String>,
}

impl Sticks {
    /// Ready to [`run`](Self::run).
    pub fn new(
        config: Config,
        runs: Option<String>,
        (told, news): (mpsc::Sender<News>, mpsc::Receiver<News>),
        events: mpsc::Sender<Event>,
    ) -> (Self, Handle) {
        let (doing_sender, doing) = watch::channel(Doing::default());
        let (shelf, shelf_receiver) = watch::channel(None);
        let (notice, notice_receiver) = watch::channel(String::new());
        let sticks = Self { config, runs, sticks: Vec::new(), next: 0, news, told, events, doing, shelf, notice };
        (sticks, Handle { doing: doing_sender, shelf: shelf_receiver, notice: notice_receiver })
    }

    /// Runs until the engine is gone.
    pub async fn run(mut self) {
        let returned_by = Instant::now() + RETURN;
        let mut is_settled = false;
        loop {
            tokio::select! {
                news = self.news.recv() => {
                    let Some(news) = news else { return };
                    self.take(news).await;
                }
                changed = self.doing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.follow();
                }
                () = sleep_until(returned_by), if !is_settled => {
                    is_settled = true;
                    // It was offered before a restart, and is not there any more.
                    if self.sticks.is_empty() && matches!(self.doing.borrow().origin, Some(Origin::Usb(_))) {
                        let _ = self.events.send(Event::Nothing(Source::Usb)).await;
                    }
                }
            }
            self.offer().await;
        }
    }

    async fn take(&mut self, news: News) {
        match news {
            News::Plugged(plugged, answer) => {
                let _ = answer.send(self.plugged(plugged));
            }
            News::Refused(why) => self.tell(why),
            News::Copied(key) => {
                if let Some(index) = self.sticks.iter().position(|stick| stick.original.key == key) {
                    let stick = self.sticks.remove(index);
                    let text = format!("release {} is copied; the stick may be pulled out", stick.offer.version);
                    self.let_go(&stick, text);
                }
            }
            News::Passed(key, true) => {
                let offered = self.sticks.iter_mut().find(|stick| stick.original.key == key);
                offered.into_iter().for_each(|stick| stick.is_offered = false);
            }
            News::Passed(key, false) => {
                if let Some(index) = self.sticks.iter().position(|stick| stick.original.key == key) {
                    let stick = self.sticks.remove(index);
                    let text =
                        format!("release {} on the stick runs already; it may be pulled out", stick.offer.version);
                    self.let_go(&stick, text);
                }
            }
            News::Gone(number) => {
                let Some(index) = self.sticks.iter().position(|stick| stick.number == number) else { return };
                let stick = self.sticks.remove(index);
                self.tell(format!("the stick with release {} was pulled out", stick.offer.version));
                if index == 0 {
                    self.show_shelf();
                    let _ = self.events.send(Event::Nothing(Source::Usb)).await;
                }
            }
        }
    }

    fn plugged(&mut self, plugged: Plugged) -> Result<(), Error> {
        let Some(wish) = self.config.usb else {
            let text = "sticks are not looked at here; to change that: [update] usb = \"tell\" in updater.toml";
            return Err(Error::new(ErrorCode::NotPermitted, text));
        };
        if self.sticks.len() >= MAX_STICKS {
            return Err(Error::new(
                ErrorCode::Busy,
                format!("{MAX_STICKS} sticks are plugged in already; pull one out"),
            ));
        }
        let read = || -> std::io::Result<_> {
            plugged.link.set_nonblocking(true)?;
            Ok((plugged.file.metadata()?, UnixStream::from_std(plugged.link.try_clone()?)?))
        };
        let (metadata, link) = read()
            .map_err(|error| Error::new(ErrorCode::InvalidArgument, format!("the stick can't be read: {error}")))?;
        let key = format!("{} ({} bytes, of {})", plugged.name, metadata.len(), metadata.mtime());
        let channel = match plugged.channel.as_deref().map(Channel::parse).transpose() {
            Ok(channel) => channel,
            Err(error) => {
                self.tell(format!("channel.toml on the stick: {error}"));
                return Err(Error::new(ErrorCode::InvalidArgument, error.to_string()));
            }
        };
        let version = match &channel {
            Some(channel) => channel.release.clone(),
            None => version_of(&plugged.name).unwrap_or(plugged.name.trim_end_matches(".raucb")).to_owned(),
        };
        if let Some(why) = self.speaks_against(&version, channel.as_ref(), metadata.len()) {
            warn!("{why}");
            self.tell(format!("{why}. The stick may be pulled out"));
            // With the link it is let go.
            return Err(Error::new(ErrorCode::InvalidArgument, why));
        }
        info!(name = plugged.name, version, ?wish, "a stick offers");
        let number = self.next;
        self.next += 1;
        tokio::spawn(until_gone(number, plugged.link, self.told.clone()));
        let origin = Origin::Usb(key.clone());
        let sha256 = channel.map(|channel| channel.sha256);
        let original = Original { key, file: plugged.file.into(), sha256 };
        let offer = Offer { origin, version, size_bytes: Some(metadata.len()), wish, force: false };
        self.sticks.push(Stick { number, offer, original, link, is_offered: false, is_taken: false });
        self.show_shelf();
        Ok(())
    }

    /// Why it is not offered at all. Its waves don't: who plugs a stick in has said when.
    fn speaks_against(&self, version: &str, channel: Option<&Channel>, size_bytes: u64) -> Option<String> {
        if let Some(channel) = channel {
            if channel.channel != self.config.channel {
                return Some(format!(
                    "the stick is for boxes of the channel {}, and this one is of {}: take another stick, delete its channel.toml, or \
                     change [update] channel in updater.toml",
                    channel.channel, self.config.channel
                ));
            }
            if channel.size_bytes != size_bytes {
                return Some(format!(
                    "the bundle on the stick has {size_bytes} bytes, and channel.toml beside it says {}: write the stick anew",
                    channel.size_bytes
                ));
            }
        }
        let runs = self.runs.as_deref()?;
        match compare(version, runs)? {
            Ordering::Equal => Some(format!("the stick has release {version}, which runs already")),
            Ordering::Less => Some(format!(
                "the stick has release {version}, which is older than {runs}, which runs; to go back all the same, copy the bundle to \
                 the box: holdfast update install FILE --force"
            )),
            Ordering::Greater => None,
        }
    }

    /// One at a time, the one first that was there first, and when the plan can hear it.
    async fn offer(&mut self) {
        let doing = self.doing.borrow().clone();
        let Some(stick) = self.sticks.first_mut() else { return };
        let is_ours = doing.origin.as_ref() == Some(&stick.offer.origin);
        // Also one that an updater before this one had begun with: of that no change is heard.
        stick.is_taken |= is_ours;
        if stick.is_offered || !(is_ours || matches!(doing.phase, "idle" | "available" | "")) {
            return;
        }
        stick.is_offered = true;
        let text = format!("release {} is on the stick; leave it in until it is copied", stick.offer.version);
        let offer = stick.offer.clone();
        self.tell(text);
        let _ = self.events.send(Event::Found(offer)).await;
    }

    /// What the plan has done with it and left is let go.
    fn follow(&mut self) {
        let doing = self.doing.borrow_and_update().clone();
        let Some(stick) = self.sticks.first_mut() else { return };
        if doing.origin.as_ref() == Some(&stick.offer.origin) {
            stick.is_taken = true;
        } else if stick.is_taken {
            let stick = self.sticks.remove(0);
            let text =
                format!("release {} on the stick is no longer needed; it may be pulled out", stick.offer.version);
            self.let_go(&stick, text);
        }
    }

    fn let_go(&mut self, stick: &Stick, text: String) {
        // Who holds it unmounts it; if he has gone, it is so already.
        let _ = stick.link.try_write(&[DONE]);
        self.show_shelf();
        self.tell(text);
    }

    fn show_shelf(&self) {
        self.shelf.send_replace(self.sticks.first().map(|stick| stick.original.clone()));
    }

    fn tell(&self, text: String) {
        info!("{text}");
        self.notice.send_replace(text);
    }
}

/// Waits for the end of whoever holds the stick.
async fn until_gone(number: u64, link: StdStream, told: mpsc::Sender<News>) {
    let Ok(link) = UnixStream::from_std(link) else { return };
    loop {
        if link.readable().await.is_err() {
            break;
        }
        match link.try_read(&mut [0; 16]) {
            Ok(0) => break,
            // Nothing is ever said by him.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let _ = told.send(News::Gone(number)).await;
}
