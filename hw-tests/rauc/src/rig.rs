//! The rig: a bus, a RAUC, two slots.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_bundle::{Format, Tools};
use tempfile::TempDir;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;

use crate::bundles::{Keys, Wrap, cut, noise};
use crate::files::{self, Config};

const NAME: &str = "de.pengutronix.rauc";
/// However slow a machine is, by then something is wrong.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the box is set up.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// `bundle-formats`. `None`: RAUC's default, which is all.
    pub formats: Option<&'a str>,
    /// `activate-installed`.
    pub activate: bool,
    /// `check-crl` and `check-purpose`, as Holdfast's boxes have them, and in the keyring each authority's list of what is revoked.
    pub strict: Strict,
    /// Size of each slot in bytes.
    pub slot_bytes: u64,
    /// Whether slots are block devices (loop devices) that end where they end. Otherwise files, which grow.
    pub block_devices: bool,
    /// Where its files lie, such as on the disk that is also recorded to. `None`: among temporary files.
    pub directory: Option<&'a Path>,
    /// The address of a bus that others are on, too. `None`: it gets one of its own.
    pub bus: Option<&'a str>,
}

impl Default for Plan<'_> {
    /// As Holdfast's boxes are, but for the formats.
    fn default() -> Self {
        Self {
            formats: None,
            activate: false,
            strict: Strict::No,
            slot_bytes: 4 << 20,
            block_devices: false,
            directory: None,
            bus: None,
        }
    }
}

/// How closely the box looks at certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strict {
    /// As RAUC does by itself.
    No,
    /// As Holdfast's boxes do.
    Yes,
    /// The same, but the keyring lacks the lists.
    Unlisted,
}

/// A box with a RAUC, booted from slot `rootfs.0` (boot name A). Ends all it has started when it is dropped.
pub struct Rig {
    tools: Tools,
    keys: Keys,
    /// `None`: somebody else's.
    bus: Option<Child>,
    address: String,
    service: Option<Child>,
    /// Boot name of the slot the box runs from.
    booted: String,
    devices: [PathBuf; 2],
    loops: Vec<PathBuf>,
    dir: TempDir,
    /// Last, so that it is let go when all else is.
    _alone: Option<File>,
}

impl Rig {
    /// Starts one. `None`, aloud, where that can't be.
    pub async fn start(plan: Plan<'_>) -> Option<Self> {
        let tools =
            Tools { rauc: std::env::var_os("HOLDFAST_RAUC").map_or("rauc".into(), PathBuf::from), ..Tools::default() };
        if let Some(why) = missing(&tools) {
            holdfast_aloud::skip(why);
            return None;
        }
        let alone = alone();
        let parent = plan.directory.map_or_else(std::env::temp_dir, Path::to_owned);
        let dir = tempfile::Builder::new().prefix("rauc-rig-").tempdir_in(parent).unwrap();
        let keys = Keys::make(&tools, dir.path(), plan.strict == Strict::Yes);
        let mut devices = ["A", "B"].map(|name| dir.path().join(format!("slot.{name}")));
        let mut loops = vec![];
        for (seed, device) in (1..).zip(&mut devices) {
            noise(device, plan.slot_bytes, seed);
            if plan.block_devices {
                *device = attach(device);
                loops.push(device.clone());
            }
        }
        files::write(
            dir.path(),
            &Config {
                compatible: "holdfast-rig",
                formats: plan.formats,
                activate: plan.activate,
                strict: plan.strict != Strict::No,
                keyring: &keys.keyring,
                devices: [&devices[0], &devices[1]],
                at: dir.path(),
            },
        );
        let (bus, address) = match plan.bus {
            Some(address) => (None, address.to_owned()),
            None => {
                let (bus, address) = bus();
                (Some(bus), address)
            }
        };
        let mut rig = Self {
            tools,
            keys,
            bus,
            address,
            service: None,
            booted: "A".to_owned(),
            devices,
            loops,
            dir,
            _alone: alone,
        };
        rig.start_service().await;
        Some(rig)
    }

    /// The private bus.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new connection to the private bus.
    pub async fn connection(&self) -> Connection {
        zbus::connection::Builder::address(self.address()).unwrap().build().await.unwrap()
    }

    /// Where the rig's files lie: `system.conf`, `primary`, `state.A`, `state.B`, `rauc.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The programs it uses.
    #[must_use]
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The service's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.service.as_ref().unwrap().id()
    }

    /// The certificate the box trusts.
    #[must_use]
    pub fn keyring(&self) -> &Path {
        &self.keys.keyring
    }

    /// Device or file of slot `rootfs.N`.
    #[must_use]
    pub fn slot(&self, number: usize) -> &Path {
        &self.devices[number]
    }

    /// What the boot backend has in this file: `primary`, `state.A`, `state.B`.
    #[must_use]
    pub fn boot(&self, file: &str) -> String {
        fs::read_to_string(self.dir().join(file)).unwrap().trim().to_owned()
    }

    /// The format that this machine's kernel can install: verity takes the device mapper.
    #[must_use]
    pub fn format(&self) -> Format {
        if has_device_mapper() { Format::Verity } else { Format::Plain }
    }

    /// An image of so many bytes that don't compress.
    #[must_use]
    pub fn image(&self, name: &str, bytes: u64, seed: u64) -> PathBuf {
        let path = self.dir().join(format!("{name}.img"));
        noise(&path, bytes, seed);
        path
    }

    /// A bundle with that image.
    #[must_use]
    pub fn bundle(&self, name: &str, image: &Path, wrap: Wrap<'_>) -> PathBuf {
        let out = self.dir().join(format!("{name}.raucb"));
        self.keys.bundle(&self.tools, image, &wrap, self.format(), &out);
        out
    }

    /// Cuts a bundle to so many bytes.
    pub fn cut(&self, bundle: &Path, bytes: u64) {
        cut(bundle, bytes);
    }

    /// Makes the next installation wait when its bundle is mounted and no slot is touched yet.
    pub fn hold(&self) {
        File::create(self.dir().join("hold")).unwrap();
    }

    /// Waits until an installation waits there.
    pub async fn held(&self) {
        let held = self.dir().join("held");
        let reached = async {
            while !held.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, reached).await.is_err() {
            panic!("no installation came to the gate; RAUC says:\n{}", self.log());
        }
        fs::remove_file(held).unwrap();
    }

    /// Lets it go on.
    pub fn release(&self) {
        fs::remove_file(self.dir().join("hold")).unwrap();
    }

    /// Makes the pre-install handler refuse.
    pub fn refuse(&self) {
        File::create(self.dir().join("refuse")).unwrap();
    }

    /// A byte of slot B gets lost whenever it has been written.
    pub fn spoil(&self) {
        File::create(self.dir().join("spoil")).unwrap();
    }

    /// Makes the boot backend fail.
    pub fn break_boot_loader(&self) {
        File::create(self.dir().join("broken")).unwrap();
    }

    /// Kills the service as it stands (SIGKILL), with whatever it is doing. What it had mounted stays mounted.
    pub fn kill_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().unwrap();
            service.wait().unwrap();
        }
    }

    /// Kills the bus as it stands.
    pub fn kill_bus(&mut self) {
        let bus = self.bus.as_mut().unwrap();
        bus.kill().unwrap();
        bus.wait().unwrap();
    }

    /// Which RAUC it is: 1.8 is (1, 8).
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        let output = Command::new(&self.tools.rauc).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.trim().rsplit(' ').next().unwrap_or_default();
        let mut numbers =
            version.split(['.', '-', '+']).map(|number| number.parse().unwrap_or_else(|_| panic!("{text}")));
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// The box boots what is first in the boot order.
    pub async fn reboot(&mut self) {
        let first = self.boot("primary");
        self.boot_into(&first).await;
    }

    /// The boot loader boots this slot, by its boot name.
    pub async fn boot_into(&mut self, name: &str) {
        self.kill_service();
        name.clone_into(&mut self.booted);
        fs::write(self.dir().join("current"), &self.booted).unwrap();
        self.start_service().await;
    }

    /// Starts the service; it must not be running. Returns when it is on the bus.
    pub async fn start_service(&mut self) {
        assert!(self.service.is_none(), "RAUC is running already");
        let connection = self.connection().await;
        let bus = DBusProxy::new(&connection).await.unwrap();
        let log = File::options().create(true).append(true).open(self.dir().join("rauc.log")).unwrap();
        let mut command = Command::new(&self.tools.rauc);
        command
            .arg("--conf")
            .arg(self.dir().join("system.conf"))
            .arg("service")
            .arg(format!("--override-boot-slot={}", self.booted));
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.service = Some(command.spawn().unwrap());
        let there = async {
            while !bus.name_has_owner(BusName::from_static_str(NAME).unwrap()).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, there).await.is_err() {
            panic!("RAUC does not come to the bus; it says:\n{}", self.log());
        }
    }

    /// What the service has printed.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("rauc.log")).unwrap_or_default()
    }

    /// Unmounts what a RAUC that was killed has left.
    pub fn unmount(&self) {
        for name in ["bundle", "rootfs.0", "rootfs.1"] {
            let path = self.dir().join("mnt").join(name);
            let mounted = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            if mounted.contains(path.to_str().unwrap_or("?")) {
                drop(Command::new("umount").arg("-l").arg(path).status());
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            holdfast_aloud::say(format_args!("RAUC said:\n{}", self.log()));
        }
        if let Some(mut child) = self.service.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(bus) = &mut self.bus {
            drop(bus.kill());
            drop(bus.wait());
        }
        self.unmount();
        for device in &self.loops {
            drop(Command::new("losetup").arg("-d").arg(device).status());
        }
    }
}

/// RAUC's verity device has one name for the whole machine: where there are such devices, rigs take turns.
fn alone() -> Option<File> {
    let lock =
        has_device_mapper().then(|| File::create(std::env::temp_dir().join("holdfast-rauc-rig.lock")).unwrap())?;
    lock.lock().unwrap();
    Some(lock)
}

pub(crate) fn has_device_mapper() -> bool {
    fs::read_to_string("/proc/misc").is_ok_and(|misc| misc.lines().any(|line| line.ends_with(" device-mapper")))
}

/// Why there can be no rig here.
pub(crate) fn missing(tools: &Tools) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("RAUC installs as root only: nothing of it is tested here".into());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices here, and RAUC mounts bundles by them".into());
    }
    let programs =
        [tools.rauc.as_path(), "openssl".as_ref(), "mksquashfs".as_ref(), "dbus-daemon".as_ref(), "losetup".as_ref()];
    for program in programs {
        let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if started.is_err() {
            return Some(format!("{} is not installed: `cargo xtask setup` does that", program.display()));
        }
    }
    if !has_device_mapper() {
        holdfast_aloud::say("this kernel has no device mapper: bundles are installed in the format plain, not verity");
    }
    None
}

fn attach(file: &Path) -> PathBuf {
    let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
    assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

fn bus() -> (Child, String) {
    let mut command = Command::new("dbus-daemon");
    command
        .args(["--session", "--nofork", "--nopidfile", "--print-address"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut bus = command.spawn().unwrap();
    let mut address = String::new();
    BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
    (bus, address.trim().to_owned())
}
