//! Debian packages of another release and architecture than this machine's, by this machine's apt, which keeps its own lists
//! for that below the cache. Nothing here needs root, and no maintainer script is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};

use super::tools::{output, pipe, run};

/// The release that the appliance is made of: GStreamer 1.26, RAUC 1.13, Linux 6.12.
pub const RELEASE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Names another archive than the one that this machine's apt uses.
const MIRROR: &str = "HOLDFAST_DEBIAN_MIRROR";
/// Lists older than this are fetched anew, if there is a network.
const LISTS_LIVE: Duration = Duration::from_secs(24 * 3600);

/// An apt of our own.
#[derive(Debug)]
pub struct Apt {
    place: PathBuf,
    architecture: &'static str,
}

/// One package to install, as the resolver has chosen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// The name of its file.
    pub file: String,
    /// Its line of the plan: address, file, size, digest.
    pub line: String,
}

impl Apt {
    /// Sets it up below a directory, and fetches the lists.
    pub fn open(place: &Path, architecture: &'static str) -> anyhow::Result<Self> {
        let apt = Self { place: place.join(architecture), architecture };
        for directory in ["state/lists/partial", "cache/archives/partial", "none/partial"] {
            fs::create_dir_all(apt.place.join(directory)).context("no directory for apt")?;
        }
        let mirror = mirror()?;
        let signed = format!("signed-by={KEYRING}");
        let sources = format!(
            "deb [arch={architecture} {signed}] {mirror} {RELEASE} main\ndeb-src [{signed}] {mirror} {RELEASE} main\n"
        );
        let list = apt.place.join("sources.list");
        let fresh = fs::read_to_string(&list).is_ok_and(|text| text == sources);
        fs::write(&list, sources)?;
        fs::write(apt.place.join("status"), "")?;
        fs::write(apt.config(), apt.configuration())?;
        let stamp = apt.place.join("updated");
        let age = fs::metadata(&stamp).and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if !fresh || age.is_none_or(|age| age > LISTS_LIVE) {
            let updated = run(apt.get().args(["update", "-o", "APT::Update::Error-Mode=any"]));
            if age.is_none() || !fresh {
                updated.context("Debian's lists can't be fetched")?;
            } else if let Err(error) = updated {
                crate::terminal::note(&format!("yesterday's package lists will do: {error:#}"));
            }
            fs::write(&stamp, "")?;
        }
        Ok(apt)
    }

    /// All that installing these packages takes, from nothing.
    pub fn plan(&self, packages: &[&str]) -> anyhow::Result<Vec<Deb>> {
        let none = format!("Dir::Cache::archives={}", self.place.join("none").display());
        let said =
            output(self.get().args(["-o", &none, "install", "--print-uris", "--quiet=2", "--yes"]).args(packages))?;
        let debs: Vec<Deb> = said.lines().filter_map(deb).collect();
        if debs.is_empty() {
            bail!("apt has no plan for {}", packages.join(" "));
        }
        Ok(debs)
    }

    /// Fetches what [`Apt::plan`] has planned for the same packages.
    pub fn fetch(&self, packages: &[&str]) -> anyhow::Result<()> {
        run(self.get().args(["install", "--download-only", "--quiet=2", "--yes"]).args(packages))
    }

    /// Fetches packages alone, without what they need, into a directory.
    pub fn fetch_alone(&self, packages: &[&str], into: &Path) -> anyhow::Result<()> {
        run(self.get().current_dir(into).args(["download", "--quiet=2"]).args(packages))
    }

    /// The version that would be installed.
    pub fn version(&self, package: &str) -> anyhow::Result<String> {
        let mut show = Command::new("apt-cache");
        show.env("APT_CONFIG", self.config()).env("LC_ALL", "C").args(["show", "--no-all-versions", package]);
        let said = output(&mut show)?;
        let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
        version.map(str::to_owned).with_context(|| format!("{RELEASE} has no {package}"))
    }

    /// The version of a source package.
    pub fn source_version(&self, package: &str) -> anyhow::Result<String> {
        let mut show = Command::new("apt-cache");
        show.env("APT_CONFIG", self.config()).env("LC_ALL", "C").args(["showsrc", "--only-source", package]);
        let said = output(&mut show)?;
        let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
        version.map(str::to_owned).with_context(|| format!("{RELEASE} has no source of {package}"))
    }

    /// The first package that one of these depends on whose name begins so: what a metapackage stands for.
    pub fn dependency(&self, package: &str, prefix: &str) -> anyhow::Result<String> {
        let mut show = Command::new("apt-cache");
        show.env("APT_CONFIG", self.config()).env("LC_ALL", "C").args(["depends", package]);
        let said = output(&mut show)?;
        let name = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let name = name.map(str::trim).find(|name| name.starts_with(prefix));
        name.map(str::to_owned).with_context(|| format!("{package} depends on no {prefix}…"))
    }

    /// Unpacks a package without running its scripts.
    pub fn unpack(&self, deb: &Deb, into: &Path, without: &[String]) -> anyhow::Result<()> {
        unpack(&self.place.join("cache/archives").join(&deb.file), into, without)
    }

    /// Fetches the tarballs of a source package, by the digests of the signed index.
    pub fn fetch_source(&self, package: &str, into: &Path) -> anyhow::Result<Vec<PathBuf>> {
        // In an empty directory: apt leaves out what lies there already.
        let said = output(self.get().current_dir(self.place.join("none")).args([
            "source",
            "--print-uris",
            "--quiet=2",
            package,
        ]))?;
        let mut files = Vec::new();
        for line in said.lines() {
            let Some(deb) = deb(line) else { continue };
            let mut words = line.split_whitespace();
            let address = words.next().unwrap_or_default().trim_matches('\'');
            let digest = words.nth(2).unwrap_or_default();
            // The rest only describes the tarballs, and not every mirror has it.
            if !deb.file.contains(".tar.") || deb.file.ends_with(".asc") {
                continue;
            }
            let target = into.join(&deb.file);
            let mut helper = Command::new("/usr/lib/apt/apt-helper");
            helper.env("APT_CONFIG", self.config()).arg("download-file").arg(address).arg(&target).arg(digest);
            run(&mut helper)?;
            files.push(target);
        }
        Ok(files)
    }

    fn config(&self) -> PathBuf {
        self.place.join("apt.conf")
    }

    fn get(&self) -> Command {
        let mut get = Command::new("apt-get");
        get.env("APT_CONFIG", self.config()).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        get
    }

    fn configuration(&self) -> String {
        let (place, architecture) = (self.place.display(), self.architecture);
        format!(
            "APT::Architecture \"{architecture}\";\n\
             APT::Architectures {{ \"{architecture}\"; }};\n\
             APT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n\
             Dir::State \"{place}/state\";\n\
             Dir::State::status \"{place}/status\";\n\
             Dir::Cache \"{place}/cache\";\n\
             Dir::Etc::sourcelist \"{place}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\n"
        )
    }
}

/// Unpacks a package's files.
pub fn unpack(file: &Path, into: &Path, without: &[String]) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    // Debian's directories /bin, /lib, … are links now; a package that still ships one must not replace it.
    tar.args(["--extract", "--preserve-permissions", "--keep-directory-symlink", "--directory"]).arg(into);
    tar.args(["--wildcards", "--anchored"]);
    tar.args(without.iter().map(|pattern| format!("--exclude=./{pattern}")));
    pipe(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(file), &mut tar)
        .with_context(|| format!("{} can't be unpacked", file.display()))
}

/// A line such as `'http://…/a%3a1_arm64.deb' a_1_arm64.deb 123 SHA256:…`.
fn deb(line: &str) -> Option<Deb> {
    let file = line.strip_prefix('\'')?.split_whitespace().nth(1)?;
    Some(Deb { file: file.to_owned(), line: line.to_owned() })
}

/// The archive: the one that this machine has its own packages from.
fn mirror() -> anyhow::Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR) {
        return Ok(mirror);
    }
    let format = "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)";
    let said = output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    archive(&said).with_context(|| {
        format!(
            "this machine's apt has no Debian archive: name one that has {RELEASE} in {MIRROR}, such as Debian's own"
        )
    })
}

fn archive(targets: &str) -> Option<String> {
    let line = targets.lines().find_map(|line| line.strip_prefix("Debian\tDebian\t"))?;
    Some(line.trim().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::{archive, deb};

    #[test]
    fn plans_are_read() {
        let line = "'http://a/pool/c%3a1_arm64.deb' c_1_arm64.deb 123 SHA256:00";
        assert_eq!(deb(line).unwrap().file, "c_1_arm64.deb");
        assert_eq!(deb("Reading package lists..."), None);
    }

    #[test]
    fn the_archive_is_debian_and_not_its_security() {
        let targets = "Debian\tDebian-Security\thttp://s/\nother\tother\thttp://o/\nDebian\tDebian\thttp://d/debian/\n";
        assert_eq!(archive(targets).unwrap(), "http://d/debian");
        assert_eq!(archive("Ubuntu\tUbuntu\thttp://u/\n"), None);
    }
}
