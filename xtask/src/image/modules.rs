//! Modules that Debian's kernel does not have, built beside its headers: `hw-tests/appliance/modules` says which.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::apt::{Apt, unpack};
use super::cache::{file_name, files_below};
use super::tools::{pipe, run};

const CROSS: &str = "aarch64-linux-gnu-";
/// What is taken from the kernel's source, and as what: the modules, and the build's own tools.
const SOURCES: [(&str, &str); 5] = [
    ("drivers/gpio/gpio-sim.c", "modules/gpio-sim-core.c"),
    ("kernel/irq/irq_sim.c", "modules/irq-sim-core.c"),
    ("scripts/basic", "scripts/basic"),
    ("scripts/include", "scripts/include"),
    ("scripts/mod", "scripts/mod"),
];

/// The packages with the source and the headers of a kernel; all of one version, whatever else the archive has.
#[derive(Debug)]
pub struct Packages {
    /// As `uname -r` tells it.
    release: String,
    /// For apt: `name=version`.
    pub wanted: Vec<String>,
}

impl Packages {
    /// Those that go with the package of a kernel.
    pub fn of(apt: &Apt, kernel: &str) -> anyhow::Result<Self> {
        let failed = || format!("{kernel} is no name of a kernel's package");
        let release = kernel.strip_prefix("linux-image-").with_context(failed)?;
        let base = release.rsplit_once('-').with_context(failed)?.0;
        let (major, minor) = base.split_once('.').with_context(failed)?;
        let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
        let version = apt.version(&format!("linux-headers-{release}"))?;
        let names = [
            format!("linux-headers-{release}"),
            format!("linux-headers-{base}-common"),
            format!("linux-kbuild-{base}"),
            format!("linux-source-{major}.{minor}"),
        ];
        Ok(Self { release: release.to_owned(), wanted: names.map(|name| format!("{name}={version}")).to_vec() })
    }
}

/// Makes the modules (`*.ko`).
pub fn make(apt: &Apt, packages: &Packages, ours: &Path, into: &Path) -> anyhow::Result<()> {
    let work = into.join("work");
    fs::create_dir(&work)?;
    let wanted: Vec<&str> = packages.wanted.iter().map(String::as_str).collect();
    apt.fetch_alone(&wanted, &work)?;
    let mut source = None;
    for deb in files_below(&work)? {
        if file_name(&deb).starts_with("linux-source-") {
            source = Some(deb);
        } else {
            unpack(&deb, &work, &[])?;
        }
    }
    take_sources(&source.context("apt has fetched no source of the kernel")?, &work)?;
    let headers = Headers::mend(&work, &packages.release)?;
    headers.make_tools(&work)?;
    let modules = work.join("modules");
    for file in files_below(ours)? {
        fs::copy(&file, modules.join(file_name(&file)))?;
    }
    headers.make(&modules, &["modules"])?;
    for module in files_below(&modules)?.iter().filter(|file| file_name(file).ends_with(".ko")) {
        let target = into.join(file_name(module));
        let mut strip = Command::new(format!("{CROSS}strip"));
        run(strip.args(["--strip-debug", "-o"]).arg(&target).arg(module))?;
    }
    fs::remove_dir_all(&work).context("the kernel's headers can't be removed")
}

/// Takes the few files that are needed out of a package with all of the kernel's source.
fn take_sources(deb: &Path, work: &Path) -> anyhow::Result<()> {
    let all = work.join("source");
    fs::create_dir(&all)?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--directory"]).arg(&all).args(["--wildcards", "./usr/src/*.tar.xz"]);
    pipe(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb), &mut tar)?;
    fs::remove_file(deb)?;
    let tarball = files_below(&all)?.pop().context("the package of the kernel's source has no tarball")?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(&tarball).args(["--wildcards", "--strip-components=1", "--directory"]);
    run(tar.arg(&all).args(SOURCES.map(|(from, _)| format!("*/{from}"))))?;
    for (from, to) in SOURCES {
        let target = work.join(to);
        fs::create_dir_all(target.parent().context("no directory")?)?;
        fs::rename(all.join(from), target).with_context(|| format!("the kernel's source has no {from}"))?;
    }
    fs::remove_dir_all(&all).context("the kernel's source can't be removed")
}

/// The headers of a kernel, unpacked.
struct Headers {
    /// Where modules are built from.
    build: PathBuf,
    /// What is the same for all architectures.
    common: PathBuf,
    /// The build's own scripts and tools.
    scripts: PathBuf,
}

impl Headers {
    /// Headers name each other by where they are installed.
    fn mend(work: &Path, release: &str) -> anyhow::Result<Self> {
        let base = release.rsplit_once('-').map_or(release, |(base, _)| base);
        let src = work.join("usr/src");
        let headers = Self {
            build: src.join(format!("linux-headers-{release}")),
            common: src.join(format!("linux-headers-{base}-common")),
            scripts: work.join("usr/lib").join(format!("linux-kbuild-{base}/scripts")),
        };
        fs::write(headers.build.join("Makefile"), format!("include {}/Makefile\n", headers.common.display()))?;
        Ok(headers)
    }

    /// Builds the tools that run on this machine. Debian has them for its own releases, whose C library may be newer than
    /// the one here.
    fn make_tools(&self, work: &Path) -> anyhow::Result<()> {
        let ours = work.join("scripts");
        let mut cc = Command::new("cc");
        cc.arg("-O1").arg("-I").arg(ours.join("include")).arg("-o").arg(self.scripts.join("basic/fixdep"));
        run(cc.arg(ours.join("basic/fixdep.c")))?;
        // modpost reads headers of the kernel by paths from where it lies in the source.
        symlink(self.common.join("include"), work.join("include"))?;
        fs::write(ours.join("Kbuild"), "obj-m += mod/\n")?;
        self.make(&ours, &[&format!("HOSTCFLAGS=-I{}", ours.join("include").display()), "mod/"])?;
        fs::copy(ours.join("mod/modpost"), self.scripts.join("mod/modpost")).context("modpost was not built")?;
        Ok(())
    }

    fn make(&self, modules: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        let mut make = Command::new("make");
        make.arg("-C").arg(&self.build).arg(format!("M={}", modules.display())).args(["-j2", "-s"]);
        make.args(["ARCH=arm64", &format!("CROSS_COMPILE={CROSS}"), &format!("CC={CROSS}gcc")]);
        // The kernel's compiler is newer than this one may be, and knows one option more. Without it functions may lie where
        // ftrace takes none: nothing of these is traced. Types for BPF take a tool and the whole kernel.
        make.args(["CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=", "CC_FLAGS_FTRACE="]);
        make.args(["CONFIG_DEBUG_INFO_BTF=", "CONFIG_DEBUG_INFO_BTF_MODULES="]);
        run(make.args(arguments))
    }
}
