//! `cargo xtask vm`: the virtual appliance in QEMU, for a person or for the test suites. What the machine is made of is said
//! here, once.

mod panel;
mod shell;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::image::{self, ImageArgs, Variant};
use crate::terminal;

const QEMU: &str = "qemu-system-aarch64";
/// The disk grows to this on its first boot. Sparse: it takes what is written to it.
const DISK_BYTES: u64 = 16 << 30;
/// Room for what a disk's log takes. Sparse, too.
const LOG_BYTES: u64 = 64 << 30;
/// Where the files of a person's machine are, below the cache.
const PLACE: &str = "vm";
const FILES: [&str; 3] = ["disk.img", "env.img", "flash.img"];
const MIN_MEMORY_MIB: u32 = 512;

/// Boot the virtual appliance, or be at the front panel of the one that runs.
#[derive(Debug, Args)]
pub struct VmArgs {
    #[command(subcommand)]
    act: Option<Act>,
    /// Begin with a box as it leaves the factory, instead of where the last run ended.
    #[arg(long)]
    fresh: bool,
    /// As on a box: nobody can log in, and the console only shows the boot.
    #[arg(long)]
    release: bool,
    /// Where the machine's disk lies between runs.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// A directory of this machine for the box to read: `mount -t 9p -o ro,trans=virtio share /mnt`.
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// A TCP port of this machine, on loopback only, that leads to one of the box: `2222:22`. Nothing comes in otherwise.
    #[arg(long, value_name = "HERE:BOX", value_parser = forward)]
    forward: Vec<(u16, u16)>,
    /// Memory in MiB.
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Processors. One alone takes the least of this machine's time, two boot faster.
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// For the test suites: no terminal; the serial line is written to DIR/serial.log, and DIR/control, DIR/qmp are sockets.
    #[arg(long, requires = "dir")]
    headless: bool,
    /// With --headless: take this disk for a fresh start, instead of building one.
    #[arg(long, value_name = "DIR", requires = "headless")]
    image: Option<PathBuf>,
    /// With --headless: write every write and flush of the disk down in FILE, as dm-log-writes does. `holdfast-powercut replay` makes
    /// of it the disk that a power cut at any moment would leave.
    #[arg(long, value_name = "FILE", requires = "headless")]
    disk_log: Option<PathBuf>,
}

/// What is done with a machine that runs in another terminal.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Act {
    /// Its lamps in this terminal, and keys for its buttons.
    Panel,
    /// Press a button.
    Press { what: panel::Press },
}

pub fn run(args: &VmArgs) -> anyhow::Result<()> {
    match args.act {
        Some(Act::Panel) => panel::show(&place(args)?),
        Some(Act::Press { what }) => panel::press(&place(args)?, what),
        None => boot(args),
    }
}

/// Where the machine's files are.
fn place(args: &VmArgs) -> anyhow::Result<PathBuf> {
    Ok(match &args.dir {
        Some(place) => place.clone(),
        None => image::cache_directory()?.join(PLACE).join(if args.release { "release" } else { "dev" }),
    })
}

fn boot(args: &VmArgs) -> anyhow::Result<()> {
    if args.memory < MIN_MEMORY_MIB {
        bail!("--memory {}: the box records with {MIN_MEMORY_MIB} MiB or more", args.memory);
    }
    let place = place(args)?;
    fs::create_dir_all(&place).with_context(|| format!("{} can't be made", place.display()))?;
    let place = place.canonicalize()?;
    let used = FILES.iter().all(|file| place.join(file).exists());
    if args.fresh || !used {
        if let Some(image) = &args.image {
            unpack(image, &place)?;
        } else {
            let variant = if args.release { Variant::Release } else { Variant::Dev };
            let built = image::build(&ImageArgs { variant, ..ImageArgs::default() })?;
            unpack(&built.disk, &place)?;
        }
    }
    let mut qemu = machine(&place, args)?;
    if let Some(share) = &args.share {
        let share = share.canonicalize().with_context(|| format!("--share {}", share.display()))?;
        qemu.arg("-virtfs");
        qemu.arg(format!("local,path={},mount_tag=share,security_model=none,readonly=on", share.display()));
    }
    if args.headless {
        for socket in ["serial", "qmp"] {
            fs::remove_file(place.join(socket)).ok();
        }
        let (serial, log) = (place.join("serial"), place.join("serial.log"));
        qemu.arg("-chardev").arg(format!(
            "socket,id=serial,path={},server=on,wait=off,logfile={},logappend=on",
            serial.display(),
            log.display()
        ));
        qemu.args(["-serial", "chardev:serial", "-monitor", "none", "-qmp"]);
        qemu.arg(format!("unix:{},server=on,wait=off", place.join("qmp").display()));
    } else {
        qemu.args(["-serial", "mon:stdio"]);
        terminal::note(
            "the box starts; Ctrl-A X ends it as a power cut does. Its disk is kept; --fresh takes a new one",
        );
        if !args.release {
            terminal::note(&format!(
                "a root shell comes on this console: try `holdfast status`, `holdfast start`, `journalctl -f`; another one is on {}",
                place.join("control").display()
            ));
            terminal::note(
                "its front panel: `cargo xtask vm panel` in another terminal, or `cargo xtask vm press record`",
            );
        }
    }
    // In our place: whoever ends us ends the machine.
    Err(qemu.exec()).with_context(|| format!("{QEMU} does not start: `cargo xtask setup` installs it"))
}

/// A box from the factory.
fn unpack(image: &Path, place: &Path) -> anyhow::Result<()> {
    for file in FILES {
        let target = place.join(file);
        let mut copy = Command::new("cp");
        let status = copy.args(["--sparse=always", "--reflink=auto"]).arg(image.join(file)).arg(&target).status()?;
        if !status.success() {
            bail!("{} can't be copied to {}", image.join(file).display(), target.display());
        }
    }
    fs::remove_file(place.join("serial.log")).ok();
    // A medium is larger than the image that is written to it.
    fs::File::options()
        .write(true)
        .open(place.join(FILES[0]))?
        .set_len(DISK_BYTES)
        .context("the disk can't be made larger")
}

/// The machine without its console.
fn machine(place: &Path, args: &VmArgs) -> anyhow::Result<Command> {
    let file = |name: &str| place.join(name).display().to_string();
    fs::remove_file(place.join("control")).ok();
    let mut qemu = Command::new(QEMU);
    qemu.args(["-machine", "virt,secure=off", "-cpu", "cortex-a57", "-accel", "tcg,thread=multi"]);
    qemu.args(["-smp", &args.cpus.to_string(), "-m", &args.memory.to_string()]);
    qemu.args(["-display", "none", "-nodefaults"]);
    qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={}", file("flash.img")));
    match &args.disk_log {
        // What the guest has flushed is in this machine's page cache, and survives the end of QEMU: a power cut to the guest.
        None => {
            let disk = format!("if=none,id=disk,format=raw,file={},cache=writeback,discard=unmap", file("disk.img"));
            qemu.arg("-drive").arg(disk);
        }
        Some(log) => logged(&mut qemu, &file("disk.img"), log)?,
    }
    qemu.args(["-device", "virtio-blk-pci,drive=disk"]);
    qemu.args(["-device", "sdhci-pci"])
        .arg("-drive")
        .arg(format!("if=none,id=env,format=raw,file={}", file("env.img")));
    qemu.args(["-device", "sd-card,drive=env"]);
    qemu.args(["-device", "i6300esb", "-action", "watchdog=reset", "-device", "virtio-rng-pci"]);
    qemu.args(["-netdev", &network(&args.forward), "-device", "virtio-net-pci,netdev=net,romfile="]);
    qemu.args(["-device", "virtio-serial-pci", "-chardev"]);
    qemu.arg(format!("socket,id=control,path={},server=on,wait=off", file("control")));
    qemu.args(["-device", "virtserialport,chardev=control,name=holdfast.control"]);
    Ok(qemu)
}

/// A disk that writes down what is asked of it. Its answer goes back after that.
fn logged(qemu: &mut Command, disk: &str, log: &Path) -> anyhow::Result<()> {
    fs::File::create(log)
        .and_then(|file| file.set_len(LOG_BYTES))
        .with_context(|| format!("--disk-log {}: no file can be made there", log.display()))?;
    let log = log.canonicalize()?;
    for node in [
        format!("driver=file,node-name=image,filename={disk},discard=unmap"),
        "driver=raw,node-name=raw,file=image,discard=unmap".to_owned(),
        format!("driver=file,node-name=log,filename={}", log.display()),
        "driver=blklogwrites,node-name=disk,file=raw,log=log,log-sector-size=512,discard=unmap".to_owned(),
    ] {
        qemu.arg("-blockdev").arg(node);
    }
    Ok(())
}

/// QEMU's user network: the box reaches out, and what is forwarded comes in from this machine.
fn network(forward: &[(u16, u16)]) -> String {
    let ports = forward.iter().map(|(here, there)| format!(",hostfwd=tcp:127.0.0.1:{here}-:{there}"));
    ports.fold("user,id=net".to_owned(), |all, port| all + &port)
}

fn forward(text: &str) -> Result<(u16, u16), String> {
    let ports = text.split_once(':').and_then(|(here, there)| Some((here.parse().ok()?, there.parse().ok()?)));
    ports.ok_or_else(|| "two ports, as in 2222:22".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{forward, network};

    #[test]
    fn nothing_comes_in_that_was_not_asked_for() {
        assert_eq!(network(&[]), "user,id=net");
        assert_eq!(network(&[forward("2222:22").unwrap()]), "user,id=net,hostfwd=tcp:127.0.0.1:2222-:22");
        for bad in ["22", "0.0.0.0:22", "2222:", "70000:22"] {
            assert!(forward(bad).is_err(), "{bad}");
        }
    }
}
