//! `status`, `inputs` and `watch`.

use std::time::Duration;

use console::Term;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use zbus::{MatchRule, MessageStream};

use crate::args::Global;
use crate::bus::{self, Link};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::snapshot::{self, Snapshot};

/// Changes that come closer together are shown together.
const QUIET: Duration = Duration::from_millis(200);

pub async fn status(global: &Global, out: &Output) -> Outcome {
    let link = bus::connect(global).await?;
    let recorder = bus::recorder(&link).await?;
    let snapshot = snapshot::take(&link, &recorder).await?;
    out.result(&snapshot, || snapshot.text(out))?;
    Ok(Exit::Ok)
}

pub async fn inputs(global: &Global, out: &Output) -> Outcome {
    let link = bus::connect(global).await?;
    let recorder = bus::recorder(&link).await?;
    let inputs = snapshot::take(&link, &recorder).await?.inputs;
    out.result(&inputs, || {
        if inputs.is_empty() {
            return "no inputs are configured; add an [[input]] to the configuration".to_owned();
        }
        let mut text = snapshot::inputs_table(&inputs, out);
        for input in &inputs {
            let armed =
                if input.armed { format!(", armed with {} ms of pre-roll", input.preroll_ms) } else { String::new() };
            text.push_str(&format!("\n{}: {}{armed}", input.name, input.source));
        }
        text
    })?;
    Ok(Exit::Ok)
}

/// Live: redrawn in place on a terminal, line by line elsewhere.
pub async fn watch(global: &Global, out: &Output, count: Option<u64>, interval: f64) -> Outcome {
    let link = bus::connect(global).await?;
    let fail = |error: zbus::Error| bus::failure(&link, &error);
    // Everything that the recorder tells, and its coming and going.
    let recorder_rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(holdfast_dbus::BUS_NAME)
        .map_err(fail)?
        .build();
    let name_rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender("org.freedesktop.DBus")
        .and_then(|rule| rule.member("NameOwnerChanged"))
        .and_then(|rule| rule.arg(0, holdfast_dbus::BUS_NAME))
        .map_err(fail)?
        .build();
    // A slow terminal may miss messages: each only says "look again", and the next look sees everything.
    let told = MessageStream::for_match_rule(recorder_rule, &link.connection, Some(64)).await.map_err(fail)?;
    let owner = MessageStream::for_match_rule(name_rule, &link.connection, Some(8)).await.map_err(fail)?;
    let mut changes = stream::select(told, owner);
    let interval = Duration::from_secs_f64(interval).max(QUIET);
    let mut screen = Screen::new(out);
    let mut shown = 0;
    loop {
        screen.show(look(&link).await?);
        shown += 1;
        if count.is_some_and(|count| shown >= count) {
            return Ok(Exit::Ok);
        }
        let next = Instant::now() + interval;
        tokio::time::sleep(QUIET).await;
        match tokio::time::timeout_at(next, changes.next()).await {
            Ok(None) => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    format!("{} has gone", link.name),
                    "run it again when the bus is back",
                ));
            }
            Ok(Some(_)) => while futures_util::FutureExt::now_or_never(changes.next()).flatten().is_some() {},
            Err(_) => {}
        }
    }
}

/// `None`: the recorder does not run now; it may come back.
async fn look(link: &Link) -> Result<Option<Snapshot>, Failure> {
    if !bus::is_running(link).await? {
        return Ok(None);
    }
    let recorder = bus::recorder(link).await?;
    match snapshot::take(link, &recorder).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(failure) if failure.exit == Exit::Unreachable => Ok(None),
        Err(failure) => Err(failure),
    }
}

struct Screen<'a> {
    out: &'a Output,
    term: Option<Term>,
    lines: usize,
    last: String,
}

impl<'a> Screen<'a> {
    fn new(out: &'a Output) -> Self {
        let term = Term::stdout();
        let live = !out.json && term.is_term();
        Self { out, term: live.then_some(term), lines: 0, last: String::new() }
    }

    fn show(&mut self, snapshot: Option<Snapshot>) {
        let waiting = "the recorder is not running; waiting for it";
        let Some(term) = &self.term else {
            let line = match &snapshot {
                Some(snapshot) if self.out.json => serde_json::to_string(snapshot).unwrap_or_default(),
                Some(snapshot) => snapshot.line(),
                None if self.out.json => "null".to_owned(),
                None => waiting.to_owned(),
            };
            if line != self.last {
                self.out.say(&line);
                self.last = line;
            }
            return;
        };
        let text = snapshot.map_or_else(|| waiting.to_owned(), |snapshot| snapshot.text(self.out));
        let (height, width) = term.size();
        let lines: Vec<String> = text
            .lines()
            .take(usize::from(height).saturating_sub(1))
            .map(|line| console::truncate_str(line, usize::from(width), "…").into_owned())
            .collect();
        // A terminal that is gone takes the program with it; nothing to do about a failed redraw.
        let _ = term.clear_last_lines(self.lines);
        self.lines = lines.len();
        self.out.say(&lines.join("\n"));
    }
}
