//! The real tools that do the work.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs a program; what it says is shown only if it fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(|_| ())
}

/// What a program prints.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = name(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| missing(&name))?;
    if !output.status.success() {
        bail!("{}", failed(&name, &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Feeds a program.
pub fn feed(command: &mut Command, input: &str) -> anyhow::Result<()> {
    let name = name(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| missing(&name))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("{name} does not read"))?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", failed(&name, &output));
    }
    Ok(())
}

/// Runs two programs, the second reading what the first prints.
pub fn pipe(from: &mut Command, to: &mut Command) -> anyhow::Result<()> {
    let name = name(from);
    let mut first = from.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| missing(&name))?;
    let between = first.stdout.take().context("no pipe")?;
    let second_name = self::name(to);
    let output = to.stdin(between).output().with_context(|| missing(&second_name))?;
    let status = first.wait()?;
    if !output.status.success() {
        bail!("{}", failed(&second_name, &output));
    }
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}

/// Puts a file into another at an offset.
pub fn put_at(target: &Path, source: &Path, offset: u64) -> anyhow::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    let failed = || format!("{} can't be put into {}", source.display(), target.display());
    let mut from = File::open(source).with_context(failed)?;
    let mut to = File::options().write(true).open(target).with_context(failed)?;
    to.seek(SeekFrom::Start(offset)).with_context(failed)?;
    std::io::copy(&mut from, &mut to).with_context(failed)?;
    Ok(())
}

/// Makes a sparse file.
pub fn sparse(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let made = File::options().create(true).truncate(false).write(true).open(path).and_then(|file| file.set_len(bytes));
    made.with_context(|| format!("{} can't be made", path.display()))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn missing(name: &str) -> String {
    format!("{name} does not start: is it installed? `cargo xtask setup` does that")
}

fn failed(name: &str, output: &std::process::Output) -> String {
    const LINES: usize = 30;
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    format!("{name} failed ({}):\n{last}", output.status)
}
