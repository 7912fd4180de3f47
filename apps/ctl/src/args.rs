//! The words of the command line. Help, completions and the man page are made from these.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Control a Holdfast recorder, and look after its footage.
///
/// Commands that control or watch talk to the recorder over D-Bus. verify, recover, export, doctor and config work on
/// files and need no recorder.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

pub const EXIT_CODES: &str = "Exit codes:
  0  done, and all is well
  1  done, and something was found (verify, doctor, recover)
  2  wrong usage
  3  the configuration is wrong
  4  the recorder or its bus can't be reached
  5  refused; the message has its number, as in [-1006]. So is a session or an input that is not there ([-1003], [-1002]),
     whether the recorder was asked or only the files
  6  not permitted
  7  something else failed: a file, a disk, a program";

#[derive(Debug, Args)]
pub struct Global {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", env = "HOLDFAST_CONFIG", default_value = holdfast_config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// The bus: system, session or a D-Bus address. Default: as configured (recorder.bus or HOLDFAST_BUS), else system.
    #[arg(long, global = true, value_name = "BUS")]
    pub bus: Option<String>,
    /// One JSON document on standard output instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What the recorder is doing: state, what is safe, storage, inputs.
    Status,
    /// The same, live: redrawn whenever something changes. In a pipe, a line per change; with --json, a document per line.
    Watch {
        /// Stop after this many updates.
        #[arg(long, short = 'n', value_name = "N")]
        count: Option<u64>,
        /// Show at least every so many seconds, even if nothing changes.
        #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
        interval: f64,
    },
    /// Start recording.
    Start(Start),
    /// Stop recording; returns once all files are durable under their final names.
    Stop {
        /// Only if this is the session being recorded.
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
    },
    /// Set a chapter mark, now.
    Mark {
        /// What for.
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Keep inputs running between recordings, so that a start is immediate and reaches into the past.
    Arm {
        /// Names of inputs; all if none is named.
        inputs: Vec<String>,
    },
    /// Let inputs rest between recordings.
    Disarm {
        /// Names of inputs; all if none is named.
        inputs: Vec<String>,
    },
    /// List sessions, newest first.
    Sessions {
        /// At most this many.
        #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// All about one session: files, gaps, marks.
    Show {
        /// A session id, the beginning of one, or "last".
        session: String,
    },
    /// Guard a session against automatic deletion.
    Protect {
        /// A session id, the beginning of one, or "last".
        session: String,
    },
    /// Take that guard away.
    Unprotect {
        /// A session id, the beginning of one, or "last".
        session: String,
    },
    /// Check footage: structure, digests, chain and continuity. Works on files, without the recorder.
    Verify {
        /// Segment files, directories, or a session (id, beginning of one, "last").
        #[arg(required = true, value_name = "PATH|SESSION")]
        what: Vec<String>,
        /// Warnings count as findings too.
        #[arg(long)]
        strict: bool,
        /// Decode every picture, too, in a process of its own, and compare it with the index. Takes much longer.
        #[arg(long)]
        decode: bool,
    },
    /// Close what a crash left open. The recorder does this by itself when it starts.
    Recover {
        /// A .part file or a directory; the storage root if none is named.
        path: Option<PathBuf>,
    },
    /// What was interrupted by a crash or a power cut, what was recovered and set aside, and what is to become of it.
    Recovery {
        #[command(subcommand)]
        command: Option<RecoveryCommand>,
    },
    /// Make one ordinary MP4 of an input's segments, without re-encoding. A run that was interrupted goes on where it stopped.
    Export(Export),
    /// List inputs and how they are.
    Inputs,
    /// What is wrong, and what to do about it.
    Alerts {
        /// What was wrong, too: the last 100, newest first.
        #[arg(long, short = 'a')]
        all: bool,
        /// Go on, and tell each as it comes and goes; with --json, a document per line.
        #[arg(long, short = 'f', conflicts_with = "codes")]
        follow: bool,
        /// Explain all codes there are. Needs no recorder.
        #[arg(long, conflicts_with = "all")]
        codes: bool,
    },
    /// Who has leave for heavy work, and who waits for it. Without more words: list them.
    Leases {
        #[command(subcommand)]
        command: Option<LeasesCommand>,
    },
    /// Run a command while the recorder gives leave for heavy work; end it when a recording begins.
    Lease(Lease),
    /// Updates of the box: how the present one is, or what is to be done.
    Update {
        #[command(subcommand)]
        command: Option<UpdateCommand>,
    },
    /// Find out what is missing on this box, and what to do about it.
    Doctor,
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
    /// Print the man page, or write all of them.
    Man {
        /// Write a page per command into this directory.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RecoveryCommand {
    /// List interrupted sessions, recovered files, gaps, and what was set aside. The default.
    List,
    /// All about one interruption: reason and evidence, files, gaps, what was set aside.
    Show {
        /// A session id, the beginning of one, or "last".
        session: String,
    },
    /// Let a session that waits go on (protection.resume = "ask").
    Resume {
        /// Its id; the one that waits if none is named.
        session: Option<String>,
    },
    /// Close a session that waits. Its footage stays.
    Dismiss {
        /// Its id; the one that waits if none is named.
        session: Option<String>,
    },
    /// Keep an interrupted session: guard it against automatic deletion.
    Keep {
        /// A session id, the beginning of one, or "last".
        session: String,
    },
    /// Take an interrupted session, or what was set aside, out of the way. It is moved, not deleted.
    Discard {
        /// Whole session ids, or paths as they are listed.
        #[arg(required = true, value_name = "SESSION|PATH")]
        what: Vec<String>,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Bring a discarded session back.
    Restore {
        /// Its whole id.
        session: String,
    },
    /// Delete what was discarded, for good.
    Purge {
        /// Paths as they are listed.
        #[arg(required = true, value_name = "PATH")]
        what: Vec<String>,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct Start {
    /// Record this input; may be given several times. All inputs if none is named.
    #[arg(long = "input", short = 'i', value_name = "NAME")]
    pub inputs: Vec<String>,
    /// A text for people, kept with the session.
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Idempotency token: the same token always means the same session, however often the command is repeated.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Wait so many seconds for the first footage to be safe; 0 returns at once.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = wait)]
    pub wait: f64,
}

#[derive(Debug, Args)]
pub struct Export {
    /// A session (id, beginning of one, "last"), or a directory of a session or of one of its inputs.
    #[arg(value_name = "SESSION|DIR")]
    pub what: String,
    /// The result: a file, or a directory in which to make it. Default: <session>_<input>.mp4 here.
    #[arg(long, short = 'o', value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
    /// Which input, if the session has several. With an output directory: all of them if none is named.
    #[arg(long = "input", short = 'i', value_name = "NAME")]
    pub inputs: Vec<String>,
    /// Cut gaps out, instead of letting the last picture stand until the footage goes on.
    #[arg(long)]
    pub cut_gaps: bool,
    /// No chapters from marks.
    #[arg(long)]
    pub no_chapters: bool,
}

#[derive(Debug, Subcommand)]
pub enum LeasesCommand {
    /// Tell its owner to end; a second time: take it away at once.
    Revoke {
        /// Its number, as the list shows it.
        lease: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum UpdateCommand {
    /// How the present update is, and how the last one ended. The default.
    Status,
    /// Look now whether there is an update.
    Check,
    /// Install a bundle. A recording is never touched: it waits for a time at which nothing is recorded.
    Install {
        /// A file, as made by cargo xtask bundle, or its https:// address.
        bundle: String,
        /// How far it goes without another word: download, install or reboot.
        #[arg(long, default_value = "reboot", value_name = "STEP", value_parser = ["download", "install", "reboot"])]
        until: String,
        /// Also if it did not prove itself on this box before.
        #[arg(long)]
        force: bool,
        /// Do not wait for what becomes of it.
        #[arg(long)]
        no_wait: bool,
    },
    /// Let the present update go as far as this: download, install or reboot (the default).
    Approve {
        #[arg(default_value = "reboot", value_name = "STEP", value_parser = ["download", "install", "reboot"])]
        until: String,
    },
    /// Give the present update up.
    Cancel,
    /// Go back to the other system, as soon as nothing is recorded.
    Rollback,
    /// How the last updates ended.
    History,
}

/// The command ends with its own exit code; with 5 when the lease was refused or revoked.
#[derive(Debug, Args)]
pub struct Lease {
    /// heavy-cpu, heavy-io, download, install, install-beside or reboot.
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// The command. It runs in a process group of its own and can't read from the terminal.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// What for, for those who look at the list. Default: the command.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// For how long at most.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u32>,
    /// Give up instead of waiting for the lease.
    #[arg(long)]
    pub now: bool,
    /// Whatever is being recorded. For root.
    #[arg(long = "override")]
    pub overrides: bool,
    /// How long the command may take to end after SIGTERM before it is killed.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS", value_parser = seconds)]
    pub grace: f64,
}

impl Lease {
    pub fn wait(&self) -> bool {
        !self.now
    }
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is right; if not, all that is wrong, and where.
    Check,
    /// Print the configuration that holds, with the origin of each value.
    Show,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0 to 86400 is wanted".to_owned()),
    }
}

/// Less than a call on the bus may take.
fn wait(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=50.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0 to 50 is wanted".to_owned()),
    }
}
