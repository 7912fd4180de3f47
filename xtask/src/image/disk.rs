//! The disk as it leaves the factory, and the card that U-Boot keeps its environment on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::slot::SLOT_BYTES;
use super::tools::{feed, put_at, run, sparse};

/// The data partition as it is delivered; the first boot lets it take the rest of its disk.
const DATA_BYTES: u64 = 512 << 20;
const SECTOR: u64 = 512;
/// Slots begin here, as on boards whose loader lies in front.
const FIRST_SLOT: u64 = 16 << 20;
/// The table's second copy lies at the very end.
const TAIL: u64 = 1 << 20;
/// U-Boot's environment lies on a card of its own: it finds the disk too late to read it from there.
const ENV_BYTES: u64 = 16 << 20;
/// U-Boot's own flash, which QEMU's machine has in two halves of this size.
pub const FLASH_BYTES: u64 = 64 << 20;

/// Makes `disk.img`, `env.img` and `flash.img`.
pub fn make(slot: &Path, uboot: &Path, into: &Path) -> anyhow::Result<()> {
    let disk = into.join("disk.img");
    let (slot_sectors, first) = (SLOT_BYTES / SECTOR, FIRST_SLOT / SECTOR);
    let data_start = first + 2 * slot_sectors;
    let data_sectors = DATA_BYTES / SECTOR;
    sparse(&disk, data_start * SECTOR + DATA_BYTES + TAIL)?;
    // Fixed identities: two builds of the same are the same, and a box is told apart by its machine-id.
    let table = format!(
        "label: gpt\nlabel-id: 48464400-0000-4000-8000-000000000000\nfirst-lba: 2048\n\
         start={first}, size={slot_sectors}, type=linux, name=rootfs-a, uuid=48464400-0000-4000-8000-00000000000a\n\
         start={}, size={slot_sectors}, type=linux, name=rootfs-b, uuid=48464400-0000-4000-8000-00000000000b\n\
         start={data_start}, size={data_sectors}, type=linux, name=data, uuid=48464400-0000-4000-8000-00000000000d\n",
        first + slot_sectors
    );
    feed(Command::new("/sbin/sfdisk").arg("--quiet").arg(&disk), &table)?;
    put_at(&disk, slot, FIRST_SLOT)?;
    put_at(&disk, slot, FIRST_SLOT + SLOT_BYTES)?;
    // As on boards (yocto-layer/conf/machine/include/holdfast-board.inc says why): a test holds them to each other.
    // Not in a file of its own first: mke2fs writes at an offset, and leaves holes where it has nothing to say.
    let offset = format!("offset={}", data_start * SECTOR);
    run(Command::new("/sbin/mke2fs")
        .args([
            "-q",
            "-t",
            "ext4",
            "-L",
            "holdfast-data",
            "-U",
            "48464400-0000-4000-8000-0000000000dd",
            "-m",
            "1",
            "-b",
            "4096",
            "-i",
            "65536",
            "-J",
            "size=64",
            "-E",
        ])
        .arg(format!("{offset},hash_seed=48464400-0000-4000-8000-0000000000ee"))
        .arg(&disk)
        .arg(format!("{}k", data_sectors * SECTOR / 1024)))?;
    sparse(&into.join("env.img"), ENV_BYTES)?;
    let flash = into.join("flash.img");
    fs::copy(uboot, &flash).with_context(|| uboot.display().to_string())?;
    sparse(&flash, FLASH_BYTES)
}
