//! The tests: what they say is heard and summed up, those that hang are ended, and one that fails is tried once more, alone and aloud.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::command;
use crate::workspace::cargo;
use crate::{process, terminal};

/// Tests that say nothing for so long hang: the longest one takes two minutes.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// More tests than these that fail are no accident of a busy machine.
const AGAIN: usize = 2;
/// So many suites are told by name, those that took longest.
const SLOWEST: usize = 10;

/// Runs them and sums up their closing lines. A test or two that fail run once more by themselves: what passes then has met a machine that
/// was too busy for it, or a race that is rare. It is told as that, each time, until somebody has mended it.
pub fn run(rest: &[String]) -> anyhow::Result<String> {
    // Compiling says nothing that is heard below.
    command(cargo().args(["test", "--workspace", "--no-run"]))?;
    let mut sum = Sum::default();
    // One run shows all that fails.
    let status = hear(cargo().args(["test", "--workspace", "--no-fail-fast"]).args(rest), &mut sum)?;
    for (suite, took) in sum.slowest() {
        println!("{:>8} {suite}", terminal::duration(took));
    }
    println!("{sum}");
    if status.success() {
        return Ok(sum.to_string());
    }
    let names = sum.failures.join(", ");
    if !rest.is_empty() || !sum.may_be_tried_again() {
        bail!("{sum}; cargo test: {status}");
    }
    terminal::note(&format!("once more, alone: {names}"));
    let mut again = Sum::default();
    for target in &sum.targets {
        let status = hear(
            cargo().arg("test").args(target.split_whitespace()).args(["--", "--exact"]).args(&sum.failures),
            &mut again,
        )?;
        if !status.success() {
            bail!("{sum}, and again: {}; cargo test: {status}", again.failures.join(", "));
        }
    }
    if again.passed < sum.failed {
        bail!("{sum}; of those that failed {} were found again", again.passed);
    }
    terminal::note(&format!("FLAKY: {names} failed among all tests and passed alone; what it said is above"));
    Ok(format!("{sum}; FLAKY: {names} (passed alone)"))
}

/// A line of the tests', on standard output or not.
type Line = (bool, String);
/// What has been said is printed this long after the tests have ended, if a program that they have left behind keeps their output open.
const REST: Duration = Duration::from_secs(2);

/// Prints what it says as it says it, and takes note of it.
fn hear(tests: &mut Command, sum: &mut Sum) -> anyhow::Result<ExitStatus> {
    let mut child = tests.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cargo test does not start")?;
    // Full: the tests wait until what they have said is printed.
    let (said, lines) = mpsc::sync_channel::<Line>(64);
    child.stdout.take().into_iter().for_each(|output| listen(output, true, said.clone()));
    child.stderr.take().into_iter().for_each(|output| listen(output, false, said.clone()));
    drop(said);
    let (mut heard, mut ended) = (Instant::now(), None);
    loop {
        match lines.recv_timeout(REST) {
            Ok((is_output, line)) => {
                sum.add(&line);
                if is_output {
                    heard = Instant::now();
                    println!("{line}");
                } else {
                    eprintln!("{line}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?),
            Err(RecvTimeoutError::Timeout) => {
                // Nothing more has come since.
                if let Some(status) = ended {
                    return Ok(status);
                }
                ended = child.try_wait()?;
            }
        }
        // Programs that tests have started may go on saying something on standard error for ever.
        if heard.elapsed() >= SILENCE {
            return end(&mut child);
        }
    }
}

/// Ends tests that hang, and tells which programs ran.
fn end(child: &mut Child) -> anyhow::Result<ExitStatus> {
    let running = process::tree(child.id());
    let told: Vec<_> = running.iter().map(|(pid, line)| format!("{pid} {line}")).collect();
    // The elder first: they would start others.
    for (pid, _) in &running {
        process::signal(*pid, Signal::KILL);
    }
    child.wait()?;
    bail!("the tests have said nothing for {} s and were ended:\n{}", SILENCE.as_secs(), told.join("\n"));
}

/// Ends with the output, or with the first line that nobody wants any more. Programs say what they like, in whatever bytes.
fn listen(output: impl Read + Send + 'static, is_output: bool, said: SyncSender<Line>) {
    let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
    std::thread::spawn(move || {
        let mut lines = lines.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
        lines.try_for_each(|line| said.send((is_output, line)))
    });
}

/// The sum of the lines "test result: ok. 7 passed; 0 failed; 0 ignored; …; finished in 1.50s", and what else is of use.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    suites: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Suites that ended with a word and were not well.
    failed_suites: usize,
    /// Tests that failed, by name.
    failures: Vec<String>,
    /// What cargo says to have them run again: `-p holdfast-capture --test rtsp`.
    targets: Vec<String>,
    /// The suite that runs, as cargo names it, and how long those before have taken.
    suite: String,
    times: Vec<(String, Duration)>,
}

impl Sum {
    fn add(&mut self, line: &str) {
        let trimmed = line.trim();
        if let Some(suite) = trimmed.strip_prefix("Running ").or_else(|| trimmed.strip_prefix("Doc-tests ")) {
            suite.clone_into(&mut self.suite);
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        if let Some(target) = trimmed.strip_prefix("`-p ").and_then(|rest| rest.strip_suffix('`')) {
            self.targets.push(format!("-p {target}"));
        }
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        self.suites += 1;
        self.failed_suites += usize::from(result.starts_with("FAILED"));
        let took = result.rsplit_once("finished in ").and_then(|(_, took)| took.trim_end_matches('s').parse().ok());
        self.times.push((std::mem::take(&mut self.suite), Duration::from_secs_f64(took.unwrap_or(0.0))));
        for part in result.split([';', '.']) {
            let Some((number, kind)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// They are few, and all known by name; no suite has ended without a word, as one does that crashes.
    fn may_be_tried_again(&self) -> bool {
        let known = self.failures.len();
        (1..=AGAIN).contains(&known)
            && u64::try_from(known) == Ok(self.failed)
            && self.targets.len() == self.failed_suites
    }

    fn slowest(&self) -> Vec<(&str, Duration)> {
        let mut times: Vec<_> = self.times.iter().map(|(suite, took)| (suite.as_str(), *took)).collect();
        times.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        times.truncate(SLOWEST);
        times
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { suites, passed, failed, ignored, .. } = self;
        write!(f, "{passed} tests passed, {failed} failed, {ignored} ignored, in {suites} suites")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Sum;

    fn sum(lines: &[&str]) -> Sum {
        let mut sum = Sum::default();
        lines.iter().for_each(|line| sum.add(line));
        sum
    }

    const OK: &str = "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 1 filtered out; finished in 0.10s";
    const FAILED: &str =
        "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 106.50s";

    #[test]
    fn closing_lines_are_summed_up() {
        let sum =
            sum(&["     Running tests/a.rs (target/a)", "running 9 tests", OK, "   Doc-tests holdfast_b", FAILED]);
        assert_eq!((sum.suites, sum.passed, sum.failed, sum.ignored), (2, 9, 1, 1));
        let slowest =
            [("holdfast_b", Duration::from_millis(106_500)), ("tests/a.rs (target/a)", Duration::from_millis(100))];
        assert_eq!(sum.slowest(), slowest);
    }

    #[test]
    fn a_failure_is_tried_again_where_it_is_known_and_not_one_of_many() {
        let (one, target) = ("test bus::it_answers ... FAILED", "    `-p holdfast-recorder --test bus`");
        let known = sum(&[one, FAILED, "error: 1 target failed:", target]);
        assert_eq!(
            (known.failures.as_slice(), known.targets.as_slice()),
            (["bus::it_answers".to_owned()].as_slice(), ["-p holdfast-recorder --test bus".to_owned()].as_slice())
        );
        assert!(known.may_be_tried_again());
        assert!(!sum(&[OK]).may_be_tried_again());
        // Another suite has crashed.
        assert!(!sum(&[one, FAILED, target, "    `-p holdfast-capture --test rtsp`"]).may_be_tried_again());
        // Mangled by what a program wrote into it; too many.
        assert!(!sum(&["test bus::it_answers ... what?FAILED", FAILED, target]).may_be_tried_again());
        assert!(!sum(&[one, one, one, FAILED, FAILED, FAILED, target]).may_be_tried_again());
    }
}
