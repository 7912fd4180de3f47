//! `cargo xtask image`: the virtual appliance, from Debian's packages and our programs to a disk that boots, and a bundle.

mod apt;
mod base;
mod cache;
mod cross;
mod disk;
mod elf;
mod initrd;
mod kernel;
mod keys;
mod lists;
mod modules;
mod slot;
mod tools;
mod uboot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;
use holdfast_bundle::{Format, Image, Recipe, Tools, make as make_bundle};

use self::apt::Apt;
use self::base::{Choice, overlay};
use self::cache::{Cache, InUse, Key};
use self::lists::read;
use crate::bundle::Board;
use crate::install;
use crate::terminal::{self, Table};
use crate::workspace::root;

const ARCHITECTURE: &str = "arm64";
/// Names a directory with our programs, stripped, for who has built them elsewhere.
const PROGRAMS: &str = "HOLDFAST_PROGRAMS";
/// Where the appliance's own files are.
const OURS: &str = "hw-tests/appliance";
/// The system around the programs, the same as in the Yocto image.
const SYSTEM: &str = "yocto-layer/recipes-core/holdfast-system";

/// Build the virtual appliance: a disk that boots in QEMU, and an update bundle.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    /// Who the image is for. A release has no way in at all; tests and people want a root shell.
    #[arg(long, value_enum, default_value_t = Variant::Dev)]
    pub variant: Variant,
    /// The version that the bundle bears.
    #[arg(long, value_name = "X.Y.Z", default_value = env!("CARGO_PKG_VERSION"))]
    pub version: String,
    /// Files to lay over the root last, such as a fault to be tried.
    #[arg(long, value_name = "DIR")]
    pub overlay: Vec<PathBuf>,
    /// No disk: only the slot's image and the bundle.
    #[arg(long)]
    pub no_disk: bool,
    /// Make the slot's image a second time, past the cache, and compare the two byte for byte.
    #[arg(long)]
    pub check_reproducible: bool,
    /// One JSON object with the paths on standard output.
    #[arg(long)]
    pub json: bool,
}

impl Default for ImageArgs {
    fn default() -> Self {
        Self {
            variant: Variant::Dev,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            overlay: Vec::new(),
            no_disk: false,
            check_reproducible: false,
            json: false,
        }
    }
}

/// Whether this machine can build programs for the appliance's processor at all, and if not, why.
pub fn can_cross_build() -> anyhow::Result<()> {
    cross::standard_library()
}

/// Where all that is built lies.
pub fn cache_directory() -> anyhow::Result<PathBuf> {
    cache::directory()
}

/// Who an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    /// As on a box: no shell, no login.
    Release,
    /// A root shell on the console and on virtio-serial.
    Dev,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// Where `disk.img`, `env.img` and `flash.img` are; empty with `no_disk`.
    pub disk: PathBuf,
    pub slot: PathBuf,
    pub bundle: PathBuf,
    pub keys: keys::Keys,
    /// All of these stay as long as this lives.
    _in_use: InUse,
}

impl Built {
    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "disk": self.disk, "slot": self.slot, "bundle": self.bundle, "keyring": self.keys.keyring,
            "cert": self.keys.signer.cert, "key": self.keys.signer.key,
        })
    }
}

pub fn run(args: &ImageArgs) -> anyhow::Result<()> {
    let built = build(args)?;
    if args.json {
        println!("{}", built.json());
    } else {
        println!(
            "disk    {}\nslot    {}\nbundle  {}",
            built.disk.display(),
            built.slot.display(),
            built.bundle.display()
        );
    }
    Ok(())
}

/// Builds all of it, as far as it is not in the cache.
pub fn build(args: &ImageArgs) -> anyhow::Result<Built> {
    let mut cache = Cache::open()?;
    let built = steps(&mut cache, args);
    let mut table = Table::new(["step", "time", "CPU"]);
    for told in cache.told() {
        let cpu = told.cpu_s.map_or_else(|| "in the cache".to_owned(), |cpu_s| format!("{cpu_s:.0} s"));
        table.row([told.step.to_owned(), terminal::duration(told.wall), cpu]);
    }
    eprintln!();
    table.print();
    Ok(Built { _in_use: cache.close(), ..built? })
}

fn steps(cache: &mut Cache, args: &ImageArgs) -> anyhow::Result<Built> {
    let ours = root().join(OURS);
    let apt = Apt::open(&cache.place("apt")?, ARCHITECTURE)?;
    let time = time()?;

    let environment = uboot::environment(&ours.join("u-boot"))?;
    // What a step does is input of its result, too.
    let uboot_key = Key::default()
        .text(include_str!("uboot.rs"))
        .text(apt.source_version(uboot::SOURCE)?)
        .tree(&ours.join("u-boot"))?
        .text(&environment);
    let uboot = cache.step("u-boot", &uboot_key, |into| uboot::make(&apt, &ours.join("u-boot"), &environment, into))?;

    let (package, modules) = (kernel::package(&apt)?, read(&ours.join("modules.txt"))?);
    let (sources, parts) = (ours.join("modules"), modules::Packages::of(&apt, &package)?);
    let modules_key = Key::default().text(include_str!("modules.rs")).text(parts.wanted.join("\n")).tree(&sources)?;
    let added = cache.step("modules", &modules_key, |into| modules::make(&apt, &parts, &sources, into))?;
    let kernel_key = Key::default()
        .text(include_str!("kernel.rs"))
        .text(&package)
        .text(apt.version(&package)?)
        .text(path(&added))
        .text(modules.join("\n"));
    let kernel = cache.step("kernel", &kernel_key, |into| kernel::make(&apt, &package, &added, &modules, into))?;

    let base = base(cache, &apt, &ours)?;
    let programs = programs(cache, &apt)?;
    let keys = keys::get(&cache.place("keys")?.join("with-revocations"))?;

    let (system, init) = (root().join(SYSTEM).join("files"), root().join(SYSTEM).join("initrd/init"));
    let mut layers = vec![system, ours.join("files")];
    if args.variant == Variant::Dev {
        layers.push(ours.join("dev"));
    }
    layers.extend(args.overlay.iter().cloned());
    let code =
        [include_str!("base.rs"), include_str!("slot.rs"), include_str!("initrd.rs"), include_str!("mod.rs")].concat();
    let mut key =
        Key::default().text(code).text(time.to_le_bytes()).text(path(&base)).text(path(&kernel)).file(&keys.keyring)?;
    key = key.file(&init)?.tree(&programs)?;
    for layer in &layers {
        key = key.tree(layer)?;
    }
    for (from, _) in install::FILES {
        key = key.text(from).file(&root().join(from))?;
    }
    for (from, ..) in install::for_board(Board::Virtual) {
        key = key.text(&from).file(&root().join(&from))?;
    }
    let make_slot = |into: &Path| {
        let tree = into.join("root");
        fs::create_dir(&tree)?;
        overlay(&base, &tree)?;
        overlay(&kernel.join("root/usr"), &tree.join("usr"))?;
        fs::create_dir_all(tree.join("etc/rauc"))?;
        fs::copy(&keys.keyring, tree.join("etc/rauc/keyring.pem"))?;
        install::place(&tree, &programs)?;
        install::install_board(&tree, Board::Virtual)?;
        layers.iter().try_for_each(|layer| overlay(layer, &tree))?;
        base::settle(&tree, time)?;
        let parts = slot::Parts { root: &tree, kernel: &kernel, init: &init, time };
        slot::make(&parts, into)?;
        fs::remove_dir_all(&tree).context("the unpacked root can't be removed")
    };
    let slot = cache.step("slot", &key, make_slot)?;
    let slot_image = slot.join("slot.img");
    if args.check_reproducible {
        terminal::step("image: slot, once more");
        let again = tempfile::tempdir().context("no temporary directory")?;
        make_slot(again.path())?;
        same(&slot_image, &again.path().join("slot.img"))?;
        terminal::good("the same input gives the same slot, byte for byte");
    }

    let bundle_key = Key::default().text(path(&slot)).text(&args.version).file(&keys.signer.cert)?;
    let bundle = cache.step("bundle", &bundle_key, |into| {
        let image = Image { class: "rootfs".into(), file: slot_image.clone(), adaptive: true };
        let recipe = Recipe {
            compatible: Board::Virtual.compatible()?,
            version: args.version.clone(),
            format: Format::Verity,
            images: vec![image],
        };
        make_bundle(&Tools::default(), &recipe, &keys.signer, Some(&keys.keyring), &into.join("holdfast.raucb"))?;
        Ok(())
    })?;

    let mut disk = PathBuf::new();
    if !args.no_disk {
        let key = Key::default().text(include_str!("disk.rs")).text(path(&slot)).text(path(&uboot));
        disk = cache.step("disk", &key, |into| disk::make(&slot_image, &uboot.join("u-boot.bin"), into))?;
    }
    let bundle = bundle.join("holdfast.raucb");
    Ok(Built { disk, slot: slot_image, bundle, keys, _in_use: InUse::default() })
}

/// Fails at the first byte in which two images differ.
fn same(one: &Path, other: &Path) -> anyhow::Result<()> {
    tools::run(Command::new("cmp").arg(one).arg(other))
        .context("two builds of one input differ: the image is not reproducible")
}

/// Our programs for the appliance, alone in a directory.
fn programs(cache: &mut Cache, apt: &Apt) -> anyhow::Result<PathBuf> {
    if let Some(built) = std::env::var_os(PROGRAMS) {
        let built = PathBuf::from(built);
        return built.canonicalize().with_context(|| format!("{PROGRAMS} names {}", built.display()));
    }
    let debs = apt.plan(&cross::PACKAGES)?;
    let key = debs.iter().fold(Key::default(), |key, deb| key.text(&deb.line));
    let sysroot = cache.step("sysroot", &key, |into| {
        apt.fetch(&cross::PACKAGES)?;
        cross::sysroot(apt, &debs, into)
    })?;
    terminal::step("image: programs");
    let directory = cross::build(&sysroot, &install::PROGRAMS.map(|(package, _)| package))?;
    let mut key = Key::default();
    for (_, name) in install::PROGRAMS {
        key = key.file(&directory.join(name))?;
    }
    cache.step("programs", &key, |into| {
        for (_, name) in install::PROGRAMS {
            let target = into.join(name);
            fs::copy(directory.join(name), &target).with_context(|| name.to_owned())?;
            tools::run(Command::new("aarch64-linux-gnu-strip").arg("--strip-unneeded").arg(&target))?;
        }
        Ok(())
    })
}

/// Debian's part of the root.
fn base(cache: &mut Cache, apt: &Apt, ours: &Path) -> anyhow::Result<PathBuf> {
    let choice = Choice {
        leave_out: read(&ours.join("leave-out.txt"))?,
        plugins: read(&ours.join("plugins.txt"))?,
        keep_libraries: read(&ours.join("libraries.txt"))?,
    };
    let packages = read(&ours.join("packages.txt"))?;
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let debs = apt.plan(&packages)?;
    let code = Key::default().text(include_str!("base.rs")).text(include_str!("elf.rs"));
    let key = debs.iter().fold(code, |key, deb| key.text(&deb.line)).text(format!("{choice:?}"));
    cache.step("base", &key, |into| {
        apt.fetch(&packages)?;
        base::make(apt, &debs, &choice, into)
    })
}

/// When what goes into the image was last changed: the date of every file in it.
fn time() -> anyhow::Result<u64> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["log", "-1", "--format=%ct", "--"]);
    git.args(["apps", "crates", "dbus", "ota", "yocto-layer", OURS, "Cargo.lock"]);
    let said = tools::output(&mut git).unwrap_or_default();
    // From an archive without history: the date that the archive gives its files.
    let Ok(time) = said.trim().parse() else {
        let modified = fs::metadata(root().join("Cargo.lock"))?.modified()?;
        return Ok(modified.duration_since(std::time::UNIX_EPOCH)?.as_secs());
    };
    Ok(time)
}

/// A result of the cache stands for its input.
fn path(result: &Path) -> &[u8] {
    cache::file_name(result).as_bytes()
}
