//! The root shell of a development box, on its port `control` (hw-tests/appliance/dev/usr/lib/holdfast/agent).

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

/// A box that is emulated and busy takes its time for a line; one that still boots takes more.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection; there can be one at a time.
#[derive(Debug)]
pub struct Shell {
    link: BufReader<UnixStream>,
    /// Tells the answer to a line from what an earlier one, whose asker has gone, may still say.
    asked: u32,
}

impl Shell {
    /// Connects to the machine whose files are in this directory.
    pub fn open(place: &Path) -> anyhow::Result<Self> {
        let socket = place.join("control");
        let link = UnixStream::connect(&socket)
            .with_context(|| format!("no machine runs on {}: start it with `cargo xtask vm`", socket.display()))?;
        link.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { link: BufReader::new(link), asked: 0 })
    }

    /// Runs one line as root; what it says.
    pub fn run(&mut self, line: &str) -> anyhow::Result<String> {
        self.asked += 1;
        let begin = format!("@begin={}-{}", std::process::id(), self.asked);
        writeln!(self.link.get_mut(), "echo {begin}; {line}").context("the machine has ended")?;
        while self.line()?.trim_end() != begin {}
        let mut said = String::new();
        loop {
            let line = self.line()?;
            if let Some(status) = line.strip_prefix("@status=") {
                if status.trim() != "0" {
                    bail!("the box says: {}", said.trim());
                }
                // The agent begins a line of its own, whether or not what was said has ended one.
                return Ok(said.strip_suffix('\n').unwrap_or(&said).to_owned());
            }
            said += &line;
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        match self.link.read_line(&mut line) {
            Ok(0) => bail!("the machine has ended"),
            Ok(_) => Ok(line),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the box does not answer: it may still boot; a release has no shell")
            }
            Err(error) => Err(error).context("the box can't be heard"),
        }
    }
}
