//! Running a probe: the seam between a PC (a child) and systemd (a unit). Either way it is `holdfast-capture probe-input`, which
//! puts itself behind everything else and has a deadline of its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::judge::Reach;
use crate::captures::find;

/// An answer is a line of text.
const ANSWER_LIMIT_BYTES: u64 = 64 * 1024;

/// What comes of something that takes its time.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Begins probes.
pub trait Prober: Send + Sync {
    /// Begins to look at an input's source. Waits for nothing.
    fn begin(&self, input: &str) -> Box<dyn Probe>;
}

/// A probe under way.
pub trait Probe: Send {
    /// What it finds; `None` if it was ended for taking too long. Whoever gives up asking ends it.
    fn answer(&mut self) -> Later<'_, Option<Reach>>;

    /// Ends it, if it has not ended, and returns once it has: as a rule at once, and as late as never if it hangs in the kernel.
    fn end(&mut self) -> Later<'_, ()>;
}

/// As `holdfast-capture probe-input` says it; see `apps/capture/src/reach.rs`.
#[derive(Debug, Deserialize)]
struct Answer {
    reachable: Option<bool>,
    text: String,
}

/// Reads an answer.
pub fn read(answer: &[u8]) -> Reach {
    match serde_json::from_slice(answer) {
        Ok(Answer { reachable: Some(true), .. }) => Reach::Yes,
        Ok(Answer { reachable: Some(false), text }) => Reach::No(text),
        Ok(Answer { reachable: None, .. }) => Reach::unknown(),
        Err(_) => {
            Reach::Unknown("the probe ended without an answer; run holdfast-capture probe-input to see why".into())
        }
    }
}

/// Probes as children.
#[derive(Debug)]
pub struct Children {
    program: PathBuf,
    config: PathBuf,
}

impl Children {
    /// `program`: the capture program, as configured. `config`: the file handed on, absolute.
    pub fn new(program: &Path, config: PathBuf) -> Self {
        Self { program: find(program), config }
    }
}

impl Prober for Children {
    fn begin(&self, input: &str) -> Box<dyn Probe> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["probe-input", input]).current_dir("/");
        // It is of no use without a recorder, so it ends with it.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let program = self.program.display().to_string();
        Box::new(Spawned(command.spawn().map_err(|error| format!("cannot start {program}: {error}"))))
    }
}

/// A child, or why there is none.
struct Spawned(Result<Child, String>);

impl Probe for Spawned {
    fn answer(&mut self) -> Later<'_, Option<Reach>> {
        Box::pin(async move {
            let child = match &mut self.0 {
                Ok(child) => child,
                Err(why) => return Some(Reach::Unknown(why.clone())),
            };
            let mut line = Vec::new();
            if let Some(out) = &mut child.stdout {
                // What can't be read is no answer.
                let _ = BufReader::new(out.take(ANSWER_LIMIT_BYTES)).read_until(b'\n', &mut line).await;
            }
            Some(read(&line))
        })
    }

    fn end(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            if let Ok(child) = &mut self.0 {
                // Fails only if it has ended.
                let _ = child.start_kill();
                let _ = child.wait().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Children, Prober as _, Reach, read};
    use std::path::Path;

    #[test]
    fn an_answer_is_read_and_nonsense_is_none() {
        assert_eq!(read(br#"{"reachable":true,"text":""}"#), Reach::Yes);
        assert_eq!(read(b"{\"reachable\":false,\"text\":\"unplugged\"}\n"), Reach::No("unplugged".into()));
        assert_eq!(read(br#"{"reachable":null,"text":"served"}"#), Reach::unknown());
        for nonsense in ["", "{", "{\"reachable\":1}", "[]"] {
            assert!(matches!(read(nonsense.as_bytes()), Reach::Unknown(text) if !text.is_empty()), "{nonsense}");
        }
    }

    #[tokio::test]
    async fn without_the_program_nothing_is_known() {
        let children = Children::new(Path::new("/no/such/program"), "/no/config".into());
        let mut probe = children.begin("cam0");
        let answer = probe.answer().await.unwrap();
        assert!(matches!(&answer, Reach::Unknown(text) if text.contains("/no/such/program")), "{answer:?}");
        probe.end().await;
    }
}
