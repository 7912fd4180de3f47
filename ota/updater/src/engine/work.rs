//! What takes time: each command in a task of its own, its end as an event.

use std::ops::ControlFlow;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_rauc::{Access, Digest, Mark, Options, Progress, ReadBackError, Status, Target, verify_slot};
use holdfast_update_plan::{Bundle, Command, Event, Offer, Origin, Reason};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::facts::identity;
use super::{Site, path_of};
use crate::beside::Watch;
use crate::brake::Brake;
use crate::downloads::{Ticket, Wanted};
use crate::fleet::Artifact;
use crate::sticks::{News, Original, RETURN};
use crate::surroundings::Surroundings;
use crate::valve::Ticket as Turn;
use crate::{files, gate, preflight, reboot};

/// How long a boot that is no trial may take to work, before it is looked again.
const CONFIRM: Duration = Duration::from_secs(120);
/// Before what failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

type Done<T> = Result<T, Reason>;

/// Does what one command says. What stops a download that is wanted now stops it, also before this has begun.
pub(super) fn run(site: Arc<Site>, turn: Turn, command: Command) -> impl Future<Output = ()> + Send {
    let ticket = site.downloads.ticket();
    carry_out(site, command, ticket, turn)
}

async fn carry_out(site: Arc<Site>, command: Command, ticket: Ticket, turn: Turn) {
    let event = match command {
        Command::Check => return,
        Command::Fetch(offer) => match &offer.origin {
            Origin::Url(_) | Origin::Fleet(_) | Origin::Usb(_) | Origin::Channel { .. } => {
                match fetch(&site, &offer.origin, ticket).await {
                    Ok(true) => Event::Fetched,
                    // Stopped by the engine, which knows.
                    Ok(false) => return,
                    Err(reason) => Event::FetchFailed(reason),
                }
            }
            Origin::File(_) => match path_of(&site, &offer) {
                Some(path) if !files::is_gone(&path) => Event::Fetched,
                path => {
                    let text = format!("{} is no longer there", path.unwrap_or_default().display());
                    Event::FetchFailed(Reason::new("gone", text))
                }
            },
        },
        Command::Inspect(offer) => Event::Inspected(inspect(&site, &offer).await),
        Command::Install { offer, bundle, .. } => Event::InstallEnded(install(&site, turn, &offer, &bundle).await),
        Command::ReadBack { .. } => match compare(&site, turn).await {
            Some(compared) => Event::ReadBack(compared),
            // Nobody waits for it any more.
            None => return,
        },
        Command::Activate { .. } => Event::Activated(activate(&site).await),
        Command::Deactivate => Event::Deactivated(deactivate(&site).await),
        Command::Forsake => Event::Activated(forsake(&site).await),
        Command::Reboot { why } => {
            info!("rebooting: {why}");
            match reboot::now(&site.connection, site.config.reboot_program.as_deref()).await {
                Ok(()) => return,
                Err(error) => {
                    warn!("the box does not reboot: {error:#}");
                    Event::RebootFailed(Reason::new("reboot", format!("{error:#}")))
                }
            }
        }
        Command::Prove => {
            // The plan has its own deadline, and judges by it. A tenth before it the gate gives up, to say what it has waited for in vain:
            // the plan would only know that time is up.
            let until = Instant::now() + Duration::from_nanos(site.config.policy.trial_ns).mul_f64(0.9);
            Event::Proven(gate::prove(&site.connection, site.config.probe, until).await)
        }
        Command::MarkGood => Event::MarkedGood(mark(&site, Mark::Good, &site.booted_slot).await),
        Command::Confirm => confirm(&site).await,
        // The engine's own.
        Command::Save(_)
        | Command::Ask(_)
        | Command::Release(_)
        | Command::Freeze(_)
        | Command::StopFetching
        | Command::Tell(_)
        | Command::Discard => return,
    };
    // The engine has ended: so will we.
    let _ = site.events.send(event).await;
}

async fn fetch(site: &Site, origin: &Origin, mut ticket: Ticket) -> Done<bool> {
    let wanted = match (origin, site.shelf.clone()) {
        (Origin::Url(url), _) => Wanted::Url(url.clone()),
        (Origin::Channel { url, sha256 }, _) => Wanted::Published(url.clone(), *sha256),
        (Origin::Usb(key), _) => return copy(site, key, ticket).await,
        // After a restart the fleet has to be asked first where it is.
        (Origin::Fleet(action), Some(mut shelf)) => {
            let is_it = |artifact: &Option<Artifact>| artifact.as_ref().is_some_and(|known| known.action == *action);
            let found = tokio::select! {
                () = ticket.stopped() => return Ok(false),
                found = shelf.wait_for(is_it) => found.ok().and_then(|artifact| artifact.clone()),
            };
            match found {
                Some(artifact) => Wanted::Artifact(artifact),
                None => return Ok(false),
            }
        }
        _ => return Err(Reason::new("fleet", "no fleet is configured any more: [update] fleet_url")),
    };
    site.downloads.fetch(&wanted, &site.config, &site.progress, ticket).await
}

/// Copies a bundle from its stick, and lets that go.
async fn copy(site: &Site, key: &str, mut ticket: Ticket) -> Done<bool> {
    if !site.downloads.has_copied(key) {
        // After a restart the stick has to be offered again first.
        let mut shelf = site.stick.clone();
        let is_it = |original: &Option<Original>| original.as_ref().is_some_and(|known| known.key == key);
        let found = tokio::select! {
            () = ticket.stopped() => return Ok(false),
            found = timeout(RETURN, shelf.wait_for(is_it)) => found,
        };
        let original = found.ok().and_then(Result::ok).and_then(|known| known.clone());
        let Some(original) = original else {
            let text = "the stick was pulled out before its bundle was copied; plug it in again";
            return Err(Reason::new("stick-gone", text));
        };
        if !site.downloads.copy(&original, &site.config, &site.progress, ticket).await? {
            return Ok(false);
        }
    }
    let _ = site.sticks.send(News::Copied(key.to_owned())).await;
    Ok(true)
}

/// Looks at the bundle, and at the box with it.
async fn inspect(site: &Site, offer: &Offer) -> Done<Bundle> {
    let path = path_of(site, offer).ok_or_else(|| Reason::new("gone", "the bundle is no longer there"))?;
    let location = path.to_string_lossy();
    let told = |error: holdfast_rauc::Error| reason(&error);
    let bundle = site.rauc.inspect(&location, &Access::default()).await.map_err(told)?;
    let status = site.rauc.status().await.map_err(told)?;
    look(site, &status, |the_box| preflight::check(the_box, &bundle, offer.force)).await?;
    let absent = gate::lasting_absences(&site.connection).await;
    if !absent.is_empty() && !offer.force {
        let text = format!(
            "{} can't be reached, so the new system could not prove itself; mend it, or take it out of the configuration",
            absent.join(", ")
        );
        return Err(Reason::new("input-silent", text));
    }
    let version = bundle.version.unwrap_or_else(|| offer.version.clone());
    // Else the channel would offer what runs as something new, again and again.
    if matches!(offer.origin, Origin::Channel { .. }) && version != offer.version {
        let text = format!(
            "the channel says that the bundle is release {}, and it says of itself that it is {version}; correct the channel's file",
            offer.version
        );
        return Err(Reason::new("channel-release", text));
    }
    let manifest = identity(bundle.manifest_hash, &version);
    Ok(Bundle { version, manifest })
}

/// What keeps the box from being updated. `None`: RAUC does not tell now.
pub(super) async fn obstacles(site: &Site) -> Option<Vec<Reason>> {
    match site.rauc.status().await {
        // It tells no slots while it installs.
        Ok(status) if status.slots.is_empty() => None,
        Ok(status) => Some(look(site, &status, preflight::obstacles).await),
        Err(error) => Some(vec![reason(&error)]),
    }
}

/// The box as it is now, for whoever judges it.
async fn look<T>(site: &Site, status: &Status, judge: impl FnOnce(&preflight::Box<'_>) -> T) -> T {
    let device = status.slot(&site.other_slot).map(|slot| PathBuf::from(&slot.device)).unwrap_or_default();
    let (roots, state_dir) = (site.roots.clone(), site.config.state_dir.clone());
    let around = move || Surroundings::look(&roots, &device, &state_dir);
    let around = tokio::task::spawn_blocking(around)
        .await
        .unwrap_or_else(|panicked| panic::resume_unwind(panicked.into_panic()));
    judge(&preflight::Box {
        status,
        booted: &site.booted_slot,
        other: &site.other_slot,
        around: &around,
        now_unix_s: super::now_unix_s(),
        built_unix_s: built_unix_s(),
        least_battery_percent: site.config.least_battery_percent,
    })
}

/// When this program was made: images have the date of their sources on every file.
pub(super) fn built_unix_s() -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self/exe").map_or(0, |metadata| metadata.mtime())
}

async fn install(site: &Site, turn: Turn, offer: &Offer, bundle: &Bundle) -> Result<(), (Reason, bool)> {
    let told = |error: holdfast_rauc::Error| (reason(&error), error.kind().may_pass());
    // It may have waited for days.
    powered(site).map_err(|reason| (reason, true))?;
    let path = path_of(site, offer).unwrap_or_default();
    let is_hash = bundle.manifest.len() == 64 && bundle.manifest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let options = Options { manifest_hash: is_hash.then(|| bundle.manifest.clone()), ..Options::default() };
    let watch = site.config.install_beside.then(|| Watch::start(&site.connection, &site.valve));
    if watch.is_some() {
        // Not before it is known what a recording bears.
        let valve = Arc::clone(&site.valve);
        let gone = tokio::task::spawn_blocking(move || valve.go(turn).map(|_| valve.back(0))).await;
        gone.ok().flatten().ok_or_else(|| (Reason::new("over", "the installation is no longer wanted"), false))?;
    }
    let mut installing = site.rauc.install(&path.to_string_lossy(), &options).await.map_err(told)?;
    for degraded in installing.degraded() {
        warn!("{degraded}");
    }
    let brake = match &watch {
        Some(_) => Brake::put_on(&site.connection, &site.valve, turn).await.map(Some),
        None => Ok(None),
    };
    // It has begun already: without a brake it has come to its end, or will be told of as gone.
    let brake = brake.unwrap_or_else(|error| {
        warn!("RAUC is not under the brake: {error:#}");
        None
    });
    while let Some(progress) = installing.progress().await {
        site.progress.send_replace(progress);
    }
    let ended = installing.finished().await;
    if let Some(brake) = brake {
        brake.take_off().await;
    }
    ended.map_err(told)
}

/// Enough power, as far as anybody can tell.
fn powered(site: &Site) -> Done<()> {
    let refusal = site.roots.power().refusal(site.config.least_battery_percent);
    refusal.map_or(Ok(()), |text| Err(Reason::new("power-low", text)))
}

/// The last step before the reboot. A box that may run out of power in its trial is not sent into one.
async fn activate(site: &Site) -> Done<()> {
    powered(site)?;
    mark(site, Mark::Active, &site.other_slot).await
}

/// Back to the slot that runs. The other one has proven nothing, and making it the first has given it attempts: a boot loader that uses
/// up those of the running slot in a row of power cuts must not come to it.
async fn deactivate(site: &Site) -> Done<()> {
    mark(site, Mark::Active, &site.booted_slot).await?;
    mark(site, Mark::Bad, &site.other_slot).await
}

/// Reads the other slot from its medium. `None`: it is no longer wanted.
async fn compare(site: &Site, turn: Turn) -> Option<Done<()>> {
    let (device, size, wanted) = match written(site).await {
        Ok(written) => written,
        Err(reason) => return Some(Err(reason)),
    };
    let _watch = site.config.install_beside.then(|| Watch::start(&site.connection, &site.valve));
    let (valve, progress) = (Arc::clone(&site.valve), site.progress.clone());
    let reading = tokio::task::spawn_blocking(move || {
        // Its turn has come, and it is back from it after each piece that it has read.
        valve.go(turn)?;
        let mut before = 0;
        let read = verify_slot(&device, size, wanted, |at| {
            valve.back(at - before);
            before = at;
            let percent = u8::try_from(at * 100 / size.max(1)).unwrap_or(100);
            progress.send_replace(Progress { percent, message: "Reading back".to_owned(), depth: 0 });
            if at >= size || valve.go(turn).is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        valve.back(0);
        match read {
            Err(ReadBackError::Stopped { .. }) => None,
            read => Some(read.map(drop)),
        }
    });
    let read = reading.await.map_err(|error| Reason::new("read-back", error.to_string()));
    match read {
        Ok(read) => read.map(|read| read.map_err(|error| Reason::new("read-back", error.to_string()))),
        Err(reason) => Some(Err(reason)),
    }
}

/// What RAUC has written: where, how much, and its digest.
async fn written(site: &Site) -> Done<(PathBuf, u64, Digest)> {
    let status = site.rauc.status().await.map_err(|error| reason(&error))?;
    let slot =
        status.slot(&site.other_slot).ok_or_else(|| Reason::new("slot", "RAUC no longer knows the other slot"))?;
    let (Some(sha256), Some(size)) = (&slot.sha256, slot.size_bytes) else {
        return Err(Reason::new("slot", format!("RAUC does not say what it wrote to {}", slot.name)));
    };
    let wanted: Digest = sha256.parse().map_err(|_| Reason::new("slot", format!("{sha256} is no digest")))?;
    Ok((PathBuf::from(&slot.device), size, wanted))
}

async fn mark(site: &Site, mark: Mark, slot: &str) -> Done<()> {
    let marked = site.rauc.mark(mark, &Target::Named(slot.to_owned())).await.map_err(|error| reason(&error))?;
    info!(slot = marked.slot, "{}", marked.message);
    Ok(())
}

/// Leaves the running slot: marked bad, and the other boots next.
async fn forsake(site: &Site) -> Done<()> {
    mark(site, Mark::Bad, &site.booted_slot).await?;
    mark(site, Mark::Active, &site.other_slot).await
}

/// Tells RAUC that this boot has succeeded, as soon as the box works. Tried until it does.
async fn confirm(site: &Site) -> Event {
    let mut told = false;
    loop {
        let done = match gate::confirm(&site.connection, Instant::now() + CONFIRM).await {
            Ok(()) => mark(site, Mark::Good, &site.booted_slot).await,
            Err(reason) => Err(reason),
        };
        match done {
            Ok(()) => return Event::Confirmed,
            Err(reason) if !std::mem::replace(&mut told, true) => {
                warn!("this boot is not marked good yet: {}", reason.text);
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// Its code is the kind's name in small letters: `WrongCompatible` is `wrong-compatible`.
fn reason(error: &holdfast_rauc::Error) -> Reason {
    let kind = format!("{:?}", error.kind());
    let mut code = String::new();
    for letter in kind.chars() {
        if letter.is_ascii_uppercase() && !code.is_empty() {
            code.push('-');
        }
        code.push(letter.to_ascii_lowercase());
    }
    Reason::new(&code, error.to_string())
}
