//! Lets RAUC go at the valve's pace: a little, then frozen, and what it wrote is made to reach the medium before it goes on. RAUC has no
//! throttle of its own; it writes through the page cache and syncs once, at the end, so that without this hundreds of megabytes
//! would lie between a recording and its disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::{error, warn};
use zbus::Connection;

use crate::freeze::Process;
use crate::throttle::Pace;
use crate::valve::{Ticket, Valve};

/// How often it is looked how much RAUC has moved in its turn: at 1 GB/s it moves half a megabyte meanwhile.
const PEEK: Duration = Duration::from_micros(500);
/// A turn in which it moves nothing much ends after this all the same: then what it did write is synced.
const TURN: Duration = Duration::from_millis(100);

/// RAUC under the brake. It is let go for good when this ends or is dropped.
#[derive(Debug)]
pub struct Brake {
    valve: Arc<Valve>,
    ticket: Ticket,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Brake {
    /// Puts it on, for as long as `ticket` counts.
    ///
    /// # Errors
    /// RAUC is not there.
    pub async fn put_on(connection: &Connection, valve: &Arc<Valve>, ticket: Ticket) -> anyhow::Result<Self> {
        let rauc = Process::find(connection).await?;
        let drives = Arc::clone(valve);
        valve.brake(true);
        let thread = std::thread::Builder::new().name("brake".to_owned()).spawn(move || drive(&drives, ticket, &rauc));
        Ok(Self { valve: Arc::clone(valve), ticket, thread: Some(thread.context("no thread for the brake")?) })
    }

    /// Takes it off. RAUC goes on freely when this returns.
    pub async fn take_off(mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A sync may be under way.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }

    fn end(&self) {
        // Only what is still its own.
        if self.valve.ticket() == self.ticket {
            self.valve.begin();
        }
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.end();
    }
}

/// Freezes RAUC turn by turn; lets it go for good at the end, however that comes.
fn drive(valve: &Valve, ticket: Ticket, rauc: &Process) {
    let mut is_well = rauc.set(true).is_ok();
    let mut outputs = Outputs::default();
    while let Some(bytes) = valve.go(ticket) {
        let moved = turn(valve, ticket, rauc, bytes);
        // In any case: who holds it waits for this.
        let still = rauc.set(true);
        let synced = outputs.sync(rauc);
        valve.back(*moved.as_ref().unwrap_or(&bytes));
        match moved.and(still).and(synced) {
            Ok(()) => is_well = true,
            // It has ended: whoever waits for its end is told so.
            Err(_) if !rauc.is_there() => break,
            Err(failure) => {
                if std::mem::replace(&mut is_well, false) {
                    error!("RAUC can't be throttled, and stands still beside a recording: {failure:#}");
                }
                std::thread::sleep(TURN);
            }
        }
    }
    if !valve.is_to_stay()
        && rauc.is_there()
        && let Err(failure) = rauc.set(false)
    {
        warn!("RAUC was not let go on: {failure:#}");
    }
    valve.brake(false);
}

/// Lets it go until it has moved so much, and says how much it was.
fn turn(valve: &Valve, ticket: Ticket, rauc: &Process, bytes: u64) -> anyhow::Result<u64> {
    let Some(before) = known(valve, moved(rauc))? else {
        rauc.set(false)?;
        std::thread::sleep(TURN);
        return Ok(bytes);
    };
    let began = Instant::now();
    rauc.set(false)?;
    loop {
        std::thread::sleep(PEEK);
        let moved = moved(rauc)?.saturating_sub(before);
        if moved >= bytes || began.elapsed() >= TURN || !valve.may_go_on(ticket) {
            return Ok(moved);
        }
    }
}

/// Where nothing is recorded it matters little how much it was.
fn known(valve: &Valve, moved: anyhow::Result<u64>) -> anyhow::Result<Option<u64>> {
    match moved {
        Err(_) if valve.pace() == Pace::Free => Ok(None),
        moved => moved.map(Some),
    }
}

/// Bytes that it has read from disks and dirtied in memory so far: `read_bytes` and `write_bytes` of proc_pid_io(5).
fn moved(rauc: &Process) -> anyhow::Result<u64> {
    let path = format!("/proc/{}/io", rauc.pid());
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value.with_context(|| format!("{path} has no {name}"))
    };
    Ok(field("read_bytes:")? + field("write_bytes:")?)
}

/// What it has open for writing, opened by us, too.
#[derive(Debug, Default)]
struct Outputs(BTreeMap<PathBuf, File>);

impl Outputs {
    /// Makes what it has written so far reach the medium. One that it has closed it has synced itself; what of that is not
    /// is no more than a turn.
    fn sync(&mut self, rauc: &Process) -> anyhow::Result<()> {
        let directory = format!("/proc/{}/fd", rauc.pid());
        let entries = std::fs::read_dir(&directory).with_context(|| format!("{directory} can't be read"))?;
        let mut open = BTreeMap::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name.to_string_lossy();
            // Its log.
            if ["0", "1", "2"].contains(&number.as_ref()) || !is_writable(rauc, &number) {
                continue;
            }
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let file = match self.0.remove(&target) {
                Some(file) => file,
                None => match std::fs::metadata(&target) {
                    Ok(found) if found.is_file() || found.file_type().is_block_device() => {
                        File::open(&target).with_context(|| format!("{} can't be opened", target.display()))?
                    }
                    _ => continue,
                },
            };
            open.insert(target, file);
        }
        self.0 = open;
        for (path, file) in &self.0 {
            rustix::fs::fdatasync(file).with_context(|| format!("{} can't be synced", path.display()))?;
        }
        Ok(())
    }
}

/// By the flags in proc_pid_fdinfo(5), octal: the lowest two bits are the access mode.
fn is_writable(rauc: &Process, number: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", rauc.pid())).unwrap_or_default();
    let flags = text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0o3 != 0)
}
