//! The front panel of the machine that runs, for a person: lamps in this terminal, and keys that press its buttons. Both are
//! lines that the box's kernel simulates; what is between them is all real.

use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use console::{Key, Term, style};

use super::shell::Shell;

/// Where the kernel has the lines, in the order of `hw-tests/appliance/files/usr/lib/holdfast/simulated-panel`.
const LINES: &str = "/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio";
const LAMPS: [(&str, u32); 3] = [("record", 2), ("status", 3), ("buzzer", 4)];
/// Between two looks. A flash is three times as long.
const LOOK: Duration = Duration::from_millis(40);

/// What can be done with the buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Press {
    /// The record button, shortly: starts a recording, or marks in one.
    Record,
    /// The record button, until it has stopped the recording.
    Hold,
    /// Which box is this?
    Identify,
}

impl Press {
    fn of_key(key: char) -> Option<Self> {
        match key {
            'r' | ' ' => Some(Self::Record),
            's' => Some(Self::Hold),
            'i' => Some(Self::Identify),
            _ => None,
        }
    }

    /// For the shell of the box: its clock is the panel's, whatever the time here.
    fn line(self) -> String {
        let (button, seconds) = match self {
            Self::Record => (0, "0.1"),
            Self::Hold => (0, "2"),
            Self::Identify => (1, "0.1"),
        };
        format!(
            "for line in {LINES}{button}; do echo pull-down >$line/pull && sleep {seconds}; echo pull-up >$line/pull; done"
        )
    }
}

/// Presses a button of the machine whose files are in this directory.
pub fn press(place: &Path, press: Press) -> anyhow::Result<()> {
    Shell::open(place)?.run(&press.line()).map(|_| ())
}

/// Shows the lamps and takes keys until somebody quits.
pub fn show(place: &Path) -> anyhow::Result<()> {
    if !Term::stdout().is_term() {
        bail!("the panel takes a terminal; `cargo xtask vm press` presses a button without");
    }
    let mut shell = Shell::open(place)?;
    let keys = keys()?;
    println!("r or space: record, or a mark    s: hold the button, which stops    i: which box is this?    q: quit");
    loop {
        print!("\r  {} ", lamps(&mut shell)?);
        std::io::stdout().flush().context("the terminal is gone")?;
        match keys.recv_timeout(LOOK) {
            Ok(Key::Char('q') | Key::Escape | Key::CtrlC) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Key::Char(key)) => {
                // In the background of the box: the lamps show what a button does while it is down.
                if let Some(press) = Press::of_key(key) {
                    shell.run(&format!("({}) >/dev/null 2>&1 &", press.line()))?;
                }
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
    println!();
    Ok(())
}

fn lamps(shell: &mut Shell) -> anyhow::Result<String> {
    let files: Vec<String> = LAMPS.iter().map(|(_, line)| format!("{LINES}{line}/value")).collect();
    let said = shell.run(&format!("cat {}", files.join(" ")))?;
    let lit: Vec<bool> = said.lines().map(|line| line.trim() == "1").collect();
    if lit.len() != LAMPS.len() {
        bail!("the box has no simulated panel: {}", said.trim());
    }
    let shown = LAMPS.iter().zip(lit).map(|((name, _), lit)| {
        let lamp = if lit { style("●").red().bright().to_string() } else { style("○").dim().to_string() };
        format!("{lamp} {name}")
    });
    Ok(shown.collect::<Vec<_>>().join("   "))
}

fn keys() -> anyhow::Result<Receiver<Key>> {
    // A key more than is read at once waits in the terminal.
    let (sender, receiver) = sync_channel(1);
    let read = move || {
        let terminal = Term::stdout();
        while let Ok(key) = terminal.read_key_raw() {
            if sender.send(key).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("keys".to_owned()).spawn(read).context("no thread for keys")?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::{LAMPS, Press};

    /// The lines that the box makes, in their order.
    fn lines() -> Vec<String> {
        let path = crate::workspace::root().join("hw-tests/appliance/files/usr/lib/holdfast/simulated-panel");
        let script = std::fs::read_to_string(path).unwrap();
        let names = script.lines().find_map(|line| line.strip_prefix("for line in ")).unwrap();
        names.trim_end_matches("; do").split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_lines_are_those_that_the_box_makes() {
        let lines = lines();
        let of = |name: &str| lines.iter().position(|line| line == name).unwrap();
        for (name, file) in
            [(Press::Record, "REC_BUTTON"), (Press::Hold, "REC_BUTTON"), (Press::Identify, "IDENTIFY_BUTTON")]
        {
            assert!(name.line().contains(&format!("sim_gpio{};", of(file))), "{name:?}");
        }
        let lamps = LAMPS.map(|(_, line)| usize::try_from(line).unwrap());
        assert_eq!(lamps, [of("REC_LED"), of("STATUS_LED"), of("BUZZER")]);
    }
}
