//! What goes into a slot, as one image: a FAT with the kernel and an initrd that knows the root's hash, then the root, then its
//! hash tree. One
//! image is written, read back and booted as a whole: there is no kernel without its root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::initrd;
use super::tools::{output, put_at, run, sparse};

const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;
/// The boot part, in front of the root. Fixed, as the initrd that lies in it says where the root begins.
const HEAD_BYTES: u64 = 24 * MIB;
/// Salt is no secret: it keeps hashes of equal blocks of different products apart.
const SALT: &str = "686f6c6466617374";
/// In the tree's head; fixed, so that the same content gives the same image.
const UUID: &str = "48464400-0000-4000-8000-0000000000ff";
/// How large a slot is. The promise of the image is 150 MB.
pub const SLOT_BYTES: u64 = 160 * MIB;
const LIMIT_BYTES: u64 = 150_000_000;

/// What a slot is made of.
#[derive(Debug)]
pub struct Parts<'p> {
    pub root: &'p Path,
    /// Where `vmlinuz.gz` and the modules are.
    pub kernel: &'p Path,
    /// The initrd's script.
    pub init: &'p Path,
    /// When all of it was made, in seconds since 1970.
    pub time: u64,
}

/// Makes `slot.img`.
pub fn make(parts: &Parts, into: &Path) -> anyhow::Result<PathBuf> {
    let squashfs = into.join("root.squashfs");
    let time = parts.time.to_string();
    run(Command::new("mksquashfs")
        .arg(parts.root)
        .arg(&squashfs)
        .args(["-noappend", "-quiet", "-no-progress", "-all-root", "-comp", "zstd", "-Xcompression-level", "9"])
        .args(["-b", "128K", "-mkfs-time", &time, "-all-time", &time])
        .env_remove("SOURCE_DATE_EPOCH"))?;
    let verity = verity(&squashfs)?;
    let initrd = initrd::make(
        &initrd::Parts {
            root: parts.root,
            kernel: &parts.kernel.join("root"),
            init: parts.init,
            verity: &format!(
                "ROOT_HASH={}\nHASH_OFFSET={}\nROOT_OFFSET={HEAD_BYTES}\nROOT_BYTES={}\n",
                verity.hash, verity.data_bytes, verity.bytes
            ),
        },
        into,
    )?;
    let slot = into.join("slot.img");
    sparse(&slot, HEAD_BYTES)?;
    let mtools = |program: &str| {
        let mut command = Command::new(program);
        command.env("SOURCE_DATE_EPOCH", &time).env("TZ", "UTC").arg("-i").arg(&slot);
        command
    };
    run(mtools("mformat").args(["-v", "SLOT", "-N", "486f6c64", "::"]))?;
    for (file, name) in [(parts.kernel.join("vmlinuz.gz"), "::Image.gz"), (initrd, "::initrd")] {
        let copy = into.join("copy");
        fs::copy(&file, &copy)?;
        // With "m" a file keeps its date, and without one has that of now.
        fs::File::options().write(true).open(&copy)?.set_modified(UNIX_EPOCH + Duration::from_secs(parts.time))?;
        run(mtools("mcopy").arg("-m").arg(&copy).arg(name))
            .context("kernel and initrd do not fit in front of the root")?;
        fs::remove_file(&copy)?;
    }
    let size = HEAD_BYTES + verity.bytes;
    sparse(&slot, size)?;
    put_at(&slot, &squashfs, HEAD_BYTES)?;
    fs::remove_file(&squashfs)?;
    if size > LIMIT_BYTES {
        bail!("the image has {size} bytes, and {LIMIT_BYTES} is the limit: look through hw-tests/appliance/*.txt");
    }
    crate::terminal::note(&format!("{} MB per slot, root hash {}", size / 1_000_000, verity.hash));
    Ok(slot)
}

/// A filesystem with its hash tree behind it.
#[derive(Debug)]
struct Verity {
    hash: String,
    data_bytes: u64,
    bytes: u64,
}

fn verity(squashfs: &Path) -> anyhow::Result<Verity> {
    let data_bytes = fs::metadata(squashfs)?.size().next_multiple_of(BLOCK);
    sparse(squashfs, data_bytes)?;
    let said = output(
        Command::new("/sbin/veritysetup")
            .args(["format", "--hash=sha256", "--data-block-size=4096", "--hash-block-size=4096"])
            .arg(format!("--data-blocks={}", data_bytes / BLOCK))
            .arg(format!("--hash-offset={data_bytes}"))
            .arg(format!("--salt={SALT}"))
            .arg(format!("--uuid={UUID}"))
            .arg(squashfs)
            .arg(squashfs),
    )?;
    let hash = said.lines().find_map(|line| line.strip_prefix("Root hash:")).context("no root hash")?.trim().to_owned();
    let bytes = fs::metadata(squashfs)?.size().next_multiple_of(BLOCK);
    sparse(squashfs, bytes)?;
    Ok(Verity { hash, data_bytes, bytes })
}
