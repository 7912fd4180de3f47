//! `holdfast-powercut`: the power-cut rig, for tests and for `cargo xtask soak powercut` and `bench powercut`.
//! Its last line on standard output is a JSON object.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use holdfast_powercut::cuts::Plan;
use holdfast_powercut::log::Log;
use holdfast_powercut::peers::{self, Course};
use holdfast_powercut::run::{self, Options, Tally, images, keep, kept};
use holdfast_powercut::sloppy::{self, Mistake};
use holdfast_powercut::station::Programs;
use holdfast_powercut::story::{self, Run};
use holdfast_powercut::{boot, namespace, onto, seals, update};

/// The power-cut rig: records on a disk whose every write is logged, and judges what cuts leave of it.
#[derive(Debug, Parser)]
#[command(name = "holdfast-powercut", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record with a real recorder and judge images of it.
    Soak(Soak),
    /// Update a box and judge images of the updater's state.
    Update {
        /// Where the programs are.
        #[arg(long)]
        programs: PathBuf,
        /// As many images more of a disk that lies: they must not all be good.
        #[arg(long, default_value_t = 0)]
        liar: u64,
        /// Start a real updater with a real RAUC on so many of the images.
        #[arg(long, default_value_t = 0)]
        boots: usize,
        #[command(flatten)]
        plan: PlanArguments,
    },
    /// Cut the power of other people's writers and of ours.
    Bench {
        /// Where the programs are.
        #[arg(long)]
        programs: PathBuf,
        /// How long all record.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// How long a file is.
        #[arg(long, default_value_t = 20)]
        file_seconds: u64,
        /// How many cuts, all after the first file has ended.
        #[arg(long, default_value_t = 9)]
        cuts: u32,
        /// Only writers with this in their name.
        #[arg(long, default_value = "")]
        only: String,
        /// Copy here what each cut leaves of each writer.
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Judge images of a run that was kept; the same seed gives the same images.
    Again {
        /// Where it was kept.
        #[arg(long)]
        run: PathBuf,
        /// Only this image.
        #[arg(long)]
        image: Option<u64>,
        #[command(flatten)]
        plan: PlanArguments,
    },
    /// Make the disk that a power cut at a random moment leaves, of one that `cargo xtask vm --disk-log` wrote down.
    Replay {
        /// The disk's image as the machine found it; it is changed.
        #[arg(long)]
        disk: PathBuf,
        /// What the machine did with it.
        #[arg(long)]
        log: PathBuf,
        /// The power goes behind so many entries of the log, or later.
        #[arg(long)]
        from: usize,
        /// All chances follow from it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Let a writer with a mistake write, and judge images of that.
    Sloppy {
        /// Which mistake.
        #[arg(long, value_enum)]
        mistake: Mistake,
        #[command(flatten)]
        plan: PlanArguments,
    },
}

#[derive(Debug, Args)]
struct Soak {
    /// Where the programs are.
    #[arg(long)]
    programs: PathBuf,
    /// How long each of the two sessions records.
    #[arg(long, default_value_t = 9)]
    seconds: u64,
    /// As many images more of a disk that lies: they must not be good.
    #[arg(long, default_value_t = 0)]
    liar: u64,
    /// As many images more that a thief takes a file from: the judge must notice each.
    #[arg(long, default_value_t = 0)]
    thief: u64,
    /// Start a real recorder on so many of the images.
    #[arg(long, default_value_t = 0)]
    boots: usize,
    /// Keep the run here if anything is wrong.
    #[arg(long)]
    keep: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArguments,
}

#[derive(Debug, Args)]
struct PlanArguments {
    /// How many images.
    #[arg(long, default_value_t = 500)]
    images: u64,
    /// All chances follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A disk that lies: so many flushes before a cut are answered and not done.
    #[arg(long, default_value_t = 0)]
    ignored_flushes: usize,
    /// Decode the files of every so-many-th image.
    #[arg(long, default_value_t = 1)]
    decode_every: u64,
}

fn main() -> ExitCode {
    match begin() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("holdfast-powercut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    // Files only: this takes no namespaces.
    if let Command::Replay { disk, log, from, seed } = &arguments.command {
        let remains = onto::replay(disk, &Log::read(log)?, *from, *seed)?;
        println!("{}", serde_json::to_string(&remains)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(why) = namespace::missing() {
        println!("{}", serde_json::json!({ "skipped": why }));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(directory) = namespace::inside()? else {
        let status = namespace::enter()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    let found = match &arguments.command {
        Command::Soak(soak) => self::soak(soak, &directory)?,
        Command::Update { programs, liar, boots, plan } => update(programs, *liar, *boots, plan, &directory)?,
        Command::Bench { programs, seconds, file_seconds, cuts, only, keep } => {
            let (length, file) = (Duration::from_secs(*seconds), Duration::from_secs(*file_seconds));
            let (only, keep) = (only.clone(), keep.clone());
            let course = Course { length, file, first_cut: file, cuts: *cuts, only, keep };
            let rows = peers::bench(&Programs::in_directory(programs)?, &directory, &course)?;
            serde_json::json!({ "rows": rows })
        }
        Command::Again { run, image, plan } => {
            let logged = kept(run)?;
            let mut options = plan.options(&logged);
            options.only = *image;
            let tally = images(&logged, &directory, &options)?;
            tell(&tally);
            serde_json::to_value(tally)?
        }
        Command::Replay { .. } => anyhow::bail!("it was done before"),
        Command::Sloppy { mistake, plan } => {
            let logged = sloppy::record(*mistake, &directory)?;
            let mut options = plan.options(&logged);
            options.decode_every = 0;
            serde_json::to_value(images(&logged, &directory, &options)?)?
        }
    };
    println!("{found}");
    Ok(ExitCode::SUCCESS)
}

fn soak(soak: &Soak, directory: &Path) -> anyhow::Result<serde_json::Value> {
    let programs = Programs::in_directory(&soak.programs)?;
    eprintln!("  recording twice {} s on a disk that writes everything down", soak.seconds);
    let logged = story::record(&programs, directory, soak.seconds)?;
    let flushes = logged.log.entries.iter().filter(|entry| entry.flush).count();
    let retention = logged.retention;
    eprintln!(
        "  {} writes and {flushes} flushes logged, {} promises heard; retention gave up {} files and {} session(s)",
        logged.log.entries.len() - flushes,
        logged.claims.0.len(),
        retention.files_deleted,
        retention.sessions_deleted
    );
    let options = soak.plan.options(&logged);
    let tally = images(&logged, directory, &options)?;
    tell(&tally);
    let bad = tally.images_bad > 0;
    let mut found = serde_json::to_value(&tally)?;
    found["seed"] = soak.plan.seed.into();
    found["writes"] = (logged.log.entries.len() - flushes).into();
    found["flushes"] = flushes.into();
    found["retention"] = serde_json::to_value(logged.retention)?;
    found["promises"] = logged.claims.0.len().into();
    found["chunks"] = seals::Seals::find(&logged.log).count().into();
    found["boots"] = boot::boots(&logged, &programs, directory, &options.plan, soak.boots)?.into();
    found["liar"] = cheated(&logged, directory, &options, soak.liar, "a disk that lies", |options| {
        options.plan.ignored_flushes = 1;
    })?;
    found["thief"] = cheated(&logged, directory, &options, soak.thief, "a thief", |options| options.thief = true)?;
    if bad && let Some(path) = &soak.keep {
        keep(&logged, path).context("the run can't be kept")?;
        eprintln!(
            "  kept: holdfast-powercut again --run {} --images {} --seed {}",
            path.display(),
            soak.plan.images,
            soak.plan.seed
        );
    }
    Ok(found)
}

fn update(
    programs: &Path,
    liar: u64,
    boots: usize,
    plan: &PlanArguments,
    directory: &Path,
) -> anyhow::Result<serde_json::Value> {
    let programs = update::site::programs(programs)?;
    eprintln!("  starting a fleet's server");
    let server = match update::site::server() {
        Ok(server) => server,
        Err(why) => return Ok(serde_json::json!({ "skipped": why })),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    eprintln!("  updating a box twice on a disk that writes everything down");
    let Some(mut logged) = runtime.block_on(update::story::play(&programs, &server, directory))? else {
        return Ok(serde_json::json!({ "skipped": "there can be no RAUC here" }));
    };
    let (saved, heard) = (logged.told.saved.len(), logged.told.heard.len());
    eprintln!("  {} entries logged, {saved} records saved, {heard} words heard", logged.end - logged.begin);
    let PlanArguments { images, seed, ignored_flushes, .. } = *plan;
    let plan = Plan { images, seed, from: logged.begin, to: logged.end, ignored_flushes };
    // An eighth of them around an installation, and as many in the middle of it, which are a few writes.
    let part = images / 8;
    let at = |(from, to): (usize, usize), more: u64| Plan { images: part, seed: seed + more, from, to, ..plan };
    let plans = [Plan { images: images - 2 * part, ..plan }, at(logged.installing(), 1), at(logged.writing(), 2)];
    let tally = update::images::images(&logged, directory, &plans)?;
    tally.problems.iter().for_each(|(image, problem)| eprintln!("  image {image}: {problem}"));
    let mut found = serde_json::to_value(&tally)?;
    found["seed"] = seed.into();
    found["entries"] = (logged.end - logged.begin).into();
    found["records_saved"] = saved.into();
    found["words_heard"] = heard.into();
    if liar > 0 {
        eprintln!("  the same update on a disk that lies: {liar} images, which must be found wanting");
        let plan = Plan { images: liar, ignored_flushes: 1, ..plan };
        found["liar"] = serde_json::to_value(update::images::images(&logged, directory, &[plan])?)?;
    }
    found["boots"] = runtime.block_on(update::boots::boots(&mut logged, directory, &plan, boots))?.into();
    Ok(found)
}

/// So many images of the same run with somebody who cheats: what the judge makes of them.
fn cheated(
    logged: &Run,
    directory: &Path,
    options: &Options,
    images: u64,
    who: &str,
    cheat: impl FnOnce(&mut Options),
) -> anyhow::Result<serde_json::Value> {
    if images == 0 {
        return Ok(serde_json::Value::Null);
    }
    eprintln!("  the same recording and {who}: {images} images, which must be found wanting");
    let mut options = options.clone();
    (options.plan.images, options.decode_every) = (images, 0);
    cheat(&mut options);
    Ok(serde_json::to_value(run::images(logged, directory, &options)?)?)
}

fn tell(tally: &Tally) {
    for (image, problem) in &tally.problems {
        eprintln!("  image {image}: {problem}");
    }
}

impl PlanArguments {
    fn options(&self, logged: &Run) -> Options {
        let plan = Plan {
            images: self.images,
            seed: self.seed,
            from: logged.begin,
            to: logged.end,
            ignored_flushes: self.ignored_flushes,
        };
        Options { plan, only: None, decode_every: self.decode_every, thief: false, progress: true }
    }
}
