//! `cargo xtask bundle`: make, sign and look into update bundles, and make throw-away keys for trying it out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use holdfast_bundle::{
    Authority, Format, Image, Inspected, Recipe, Signer, Tools, Validity, inspect, make, write_keyring,
};
use holdfast_update_plan::{Channel, Wave};
use serde_json::json;
use sha2::{Digest as _, Sha256};

#[derive(Debug, Args)]
pub struct BundleArgs {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of words.
    #[arg(long, global = true)]
    json: bool,
    /// The rauc to work with.
    #[arg(long, global = true, default_value = "rauc", env = "HOLDFAST_RAUC")]
    rauc: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make and sign a bundle, and look into it.
    Make(MakeArgs),
    /// Say what is in a bundle, and by whom it is signed.
    Inspect {
        /// The bundle.
        file: PathBuf,
        /// What boxes believe. Without it the signature is not checked.
        #[arg(long)]
        keyring: Option<PathBuf>,
    },
    /// Write the file of a release channel for a bundle: what boxes of the channel are to run, and whose turn it is when.
    Channel(ChannelArgs),
    /// Make a root, an intermediate authority, a key for signing that it has issued, and the keyring of a box that believes them,
    /// with lists of what is revoked. Never for boxes that leave the house.
    TestKeys {
        /// Where to. Not within a repository: private keys are not committed.
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct MakeArgs {
    /// For which board: its system.conf says what its bundles are called.
    #[arg(long)]
    board: Board,
    /// The bundle's version, semantic: boxes compare it.
    #[arg(long)]
    version: String,
    /// The image of the root filesystem. Its name must end as RAUC knows images: .img, .ext4, .squashfs.
    #[arg(long)]
    rootfs: PathBuf,
    /// Certificate to sign with, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Its private key, PEM or a PKCS#11 URL.
    #[arg(long)]
    key: PathBuf,
    /// A certificate between that one and a root of the boxes' keyring, PEM: it goes into the bundle. May be given again.
    #[arg(long, value_name = "CERT")]
    intermediate: Vec<PathBuf>,
    /// What boxes believe (certificates of roots, and each authority's list of what is revoked): the bundle is then checked as a box
    /// would.
    #[arg(long)]
    keyring: Option<PathBuf>,
    /// Let boxes fetch only the blocks they don't have (block-hash-index). The image must be a multiple of 4 KiB.
    #[arg(long)]
    adaptive: bool,
    /// Where the bundle goes; must not exist.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct ChannelArgs {
    /// The bundle.
    bundle: PathBuf,
    /// The channel's name: boxes of another one ([update] channel in updater.toml) do not take it.
    #[arg(long, default_value = "stable")]
    channel: String,
    /// Where boxes find the bundle: an https:// address, or a name beside the channel's file. Default: the bundle's file name.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// From when on how many per cent of all boxes may, as in 2026-12-01T02:00:00Z=1. Any number of times, in order of time; without any
    /// everybody may at once.
    #[arg(long = "wave", value_name = "TIME=PERCENT", value_parser = wave)]
    waves: Vec<Wave>,
    /// Deals the boxes anew, so that others come first. Default: the release.
    #[arg(long)]
    campaign: Option<String>,
    /// The certificate that boxes trust: the signature is checked before anything is published.
    #[arg(long)]
    keyring: Option<PathBuf>,
    /// Where the file goes; replaced whole if it is there.
    #[arg(long)]
    out: PathBuf,
}

fn wave(text: &str) -> Result<Wave, String> {
    let (from, percent) = text.split_once('=').ok_or("write it as in 2026-12-01T02:00:00Z=1")?;
    Wave::read(from, percent)
}

/// A kind of box.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Board {
    /// With a Rockchip RK3588.
    Rk3588,
    /// Of NVIDIA.
    Jetson,
    /// QEMU.
    Virtual,
}

impl Board {
    /// As it is called on the command line and in file names.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its configuration of RAUC, within the repository.
    pub fn system_conf(self) -> String {
        format!("ota/system.conf/{}.conf", self.name())
    }

    /// As the board's system.conf has it: said there, and nowhere else.
    pub fn compatible(self) -> anyhow::Result<String> {
        let path = crate::workspace::root().join(self.system_conf());
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("compatible="));
        line.map(|line| line.trim().to_owned()).with_context(|| format!("{} says no compatible=", path.display()))
    }
}

pub fn run(args: &BundleArgs) -> anyhow::Result<()> {
    let tools = Tools { rauc: args.rauc.clone(), ..Tools::default() };
    let (object, words) = match &args.command {
        Command::Make(make) => made(&tools, make)?,
        Command::Inspect { file, keyring } => inspected(&tools, file, keyring.as_deref())?,
        Command::Channel(args) => channel(&tools, args)?,
        Command::TestKeys { dir } => keys(&tools, dir)?,
    };
    if args.json {
        println!("{object}")
    } else {
        println!("{words}")
    }
    Ok(())
}

type Told = (serde_json::Value, String);

fn made(tools: &Tools, args: &MakeArgs) -> anyhow::Result<Told> {
    semantic(&args.version)?;
    let image = Image { class: "rootfs".into(), file: args.rootfs.clone(), adaptive: args.adaptive };
    let recipe = Recipe {
        compatible: args.board.compatible()?,
        version: args.version.clone(),
        format: Format::Verity,
        images: vec![image],
    };
    let signer = Signer { cert: args.cert.clone(), key: args.key.clone(), intermediates: args.intermediate.clone() };
    make(tools, &recipe, &signer, args.keyring.as_deref(), &args.out)?;
    inspected(tools, &args.out, args.keyring.as_deref())
}

/// Boxes compare versions by semver.org's rules, and RAUC takes what is none for older than everything.
fn semantic(version: &str) -> anyhow::Result<()> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if numbers.len() != 3 || !numbers.iter().all(number) {
        bail!("\"{version}\" is no semantic version: take one such as 1.4.0 or 1.4.0-rc.1, or boxes can't compare it");
    }
    Ok(())
}

fn inspected(tools: &Tools, file: &Path, keyring: Option<&Path>) -> anyhow::Result<Told> {
    let told = inspect(tools, file, keyring)?;
    let size_bytes = std::fs::metadata(file).with_context(|| file.display().to_string())?.len();
    let mut object = serde_json::to_value(&told)?;
    object["file"] = json!(file);
    object["size_bytes"] = json!(size_bytes);
    Ok((object, words(file, size_bytes, &told)))
}

fn channel(tools: &Tools, args: &ChannelArgs) -> anyhow::Result<Told> {
    let told = inspect(tools, &args.bundle, args.keyring.as_deref())?;
    let release = told.version.with_context(|| format!("{} does not say its release", args.bundle.display()))?;
    semantic(&release)?;
    let name = args.bundle.file_name().context("name the bundle's file")?.to_string_lossy().into_owned();
    let mut file = std::fs::File::open(&args.bundle).with_context(|| args.bundle.display().to_string())?;
    let mut sha256 = Sha256::new();
    let size_bytes = std::io::copy(&mut file, &mut sha256).with_context(|| args.bundle.display().to_string())?;
    let channel = Channel {
        channel: args.channel.clone(),
        campaign: args.campaign.clone().unwrap_or_else(|| release.clone()),
        release,
        bundle: args.address.clone().unwrap_or(name),
        size_bytes,
        sha256: sha256.finalize().into(),
        waves: args.waves.clone(),
    };
    let text = channel.render();
    // As a box will read it: what it would refuse is not written.
    Channel::parse(&text).context("boxes would not take this")?;
    let new = args.out.with_extension("new");
    std::fs::write(&new, &text).with_context(|| new.display().to_string())?;
    std::fs::rename(&new, &args.out).with_context(|| args.out.display().to_string())?;
    let object = json!({
        "file": args.out, "channel": channel.channel, "release": channel.release, "bundle": channel.bundle,
        "size_bytes": size_bytes, "waves": channel.waves.len(),
    });
    Ok((object, format!("{}:\n\n{text}", args.out.display())))
}

fn words(file: &Path, size_bytes: u64, told: &Inspected) -> String {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".into());
    let signature = if told.verified { "good" } else { "not checked: give --keyring" };
    let mut lines = vec![
        format!("{} ({size_bytes} bytes)", file.display()),
        format!("  for        {}, version {}, format {}", told.compatible, or(&told.version), or(&told.format)),
        format!("  manifest   {}", or(&told.manifest_hash)),
        format!("  signature  {signature}; by {}, valid until {}", or(&told.signer), or(&told.signer_valid_until)),
    ];
    for image in &told.images {
        let size = image.size_bytes.map_or_else(|| "?".into(), |size| size.to_string());
        let adaptive =
            if image.adaptive.is_empty() { String::new() } else { format!(", {}", image.adaptive.join(", ")) };
        lines.push(format!(
            "  {}  {} ({size} bytes{adaptive}) {}",
            image.class,
            or(&image.filename),
            or(&image.sha256)
        ));
    }
    lines.join("\n")
}

fn keys(tools: &Tools, dir: &Path) -> anyhow::Result<Told> {
    // A key that lies in a repository is a key that somebody commits.
    let full = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
    if let Some(repository) = full.ancestors().find(|dir| dir.join(".git").exists()) {
        bail!("{} lies in the repository {}: private keys belong elsewhere", dir.display(), repository.display());
    }
    let root = Authority::make(tools, &dir.join("root"), "throw-away root")?;
    let deputy = root.intermediate(&dir.join("deputy"), "throw-away deputy")?;
    let signer = deputy.issue("signer", Validity::Days(365))?;
    let keyring = dir.join("keyring.pem");
    write_keyring(&[&root.certificate(), &root.list_revoked()?, &deputy.list_revoked()?], &keyring)?;
    let intermediate = deputy.certificate();
    let object = json!({ "keyring": keyring, "cert": signer.cert, "key": signer.key, "intermediate": intermediate });
    let words = format!(
        "throw-away keys, good for trying things out only:\n  keyring       {}\n  cert          {}\n  key           {}\n  \
         intermediate  {}",
        keyring.display(),
        signer.cert.display(),
        signer.key.display(),
        intermediate.display()
    );
    Ok((object, words))
}

#[cfg(test)]
mod tests {
    use super::{Board, semantic};

    #[test]
    fn boards_are_called_as_their_system_conf_says() {
        for (board, name) in [
            (Board::Rk3588, "holdfast-rk3588"),
            (Board::Jetson, "holdfast-jetson"),
            (Board::Virtual, "holdfast-virtual"),
        ] {
            assert_eq!(board.compatible().unwrap(), name);
        }
    }

    #[test]
    fn versions_are_semantic() {
        for good in ["1.2.3", "0.0.1-rc.1", "1.2.3+build.5"] {
            semantic(good).unwrap();
        }
        for bad in ["", "1", "1.2", "1.2.x", "v1.2.3", "1..3", "1.2.3.4"] {
            assert!(semantic(bad).unwrap_err().to_string().contains("1.4.0"), "{bad}");
        }
    }
}
