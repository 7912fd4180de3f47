//! Making a bundle.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::keys::Signer;
use crate::tool::{Error, Tools, as_a_box, file_error, run};

/// How a bundle's contents are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Checked block by block while it is read: the only one that Holdfast's boxes take.
    #[default]
    Verity,
    /// Signed as a whole. For tests of its refusal.
    Plain,
}

/// One image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The class of slots it is for, such as `rootfs`.
    pub class: String,
    /// Where it lies now. Its name must end as RAUC knows images: `.img`, `.ext4`, `.squashfs`, …
    pub file: PathBuf,
    /// Whether a box may fetch only the blocks it does not have (`adaptive=block-hash-index`). The image must then be a
    /// whole number of 4 KiB blocks.
    pub adaptive: bool,
}

/// What goes into a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// For which kind of box.
    pub compatible: String,
    /// Its version (semantic, for the downgrade guard).
    pub version: String,
    /// How its contents are protected.
    pub format: Format,
    /// The images.
    pub images: Vec<Image>,
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Verity => "verity",
            Self::Plain => "plain",
        })
    }
}

impl Recipe {
    /// The manifest, as RAUC's `manifest.raucm` has it.
    fn manifest(&self) -> Result<String, Error> {
        let line = |what: &str, text: &str| {
            if text.is_empty() || text.chars().any(|c| c.is_control() || "[]=;".contains(c)) {
                return Err(Error::Wrong(format!("\"{text}\" can't be a bundle's {what}")));
            }
            Ok(())
        };
        line("compatible", &self.compatible)?;
        line("version", &self.version)?;
        let mut text = format!("[update]\ncompatible={}\nversion={}\n", self.compatible, self.version);
        // RAUC 1.8 does not know plain as a word of its own: it is what is not said.
        if self.format == Format::Verity {
            text += "[bundle]\nformat=verity\n";
        }
        for image in &self.images {
            let name = image.name()?;
            line("class of slots", &image.class)?;
            line("image", name)?;
            text += &format!("[image.{}]\nfilename={name}\n", image.class);
            if image.adaptive {
                text += "adaptive=block-hash-index\n";
            }
        }
        Ok(text)
    }
}

impl Image {
    fn name(&self) -> Result<&str, Error> {
        let name = self.file.file_name().and_then(|name| name.to_str());
        name.ok_or_else(|| Error::Wrong(format!("{} has no name that a bundle can hold", self.file.display())))
    }

    fn check(&self) -> Result<(), Error> {
        let size = fs::metadata(&self.file).map_err(file_error(&self.file))?.len();
        if size == 0 {
            return Err(Error::Wrong(format!("{} is empty", self.file.display())));
        }
        if self.adaptive && size % 4096 != 0 {
            return Err(Error::Wrong(format!(
                "{} has {size} bytes, no whole number of 4 KiB blocks: pad it, or leave adaptive out",
                self.file.display()
            )));
        }
        Ok(())
    }
}

/// Makes and signs a bundle. With a keyring, RAUC then checks it as a box would. `out` must not exist.
///
/// # Errors
/// The recipe makes no sense, a file can't be read, or RAUC fails.
pub fn make(tools: &Tools, recipe: &Recipe, signer: &Signer, keyring: Option<&Path>, out: &Path) -> Result<(), Error> {
    let manifest = recipe.manifest()?;
    if out.exists() {
        return Err(Error::Wrong(format!("{} is there already", out.display())));
    }
    // Beside the bundle: images can then be linked instead of copied, and there is room for them.
    let beside = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = tempfile::Builder::new().prefix(".bundle-").tempdir_in(beside).map_err(file_error(beside))?;
    for image in &recipe.images {
        image.check()?;
        let file = dir.path().join(image.name()?);
        // Not linked where RAUC would then write beside it: an adaptive image's index is a file of its own.
        if fs::hard_link(&image.file, &file).is_err() {
            fs::copy(&image.file, &file).map_err(file_error(&image.file))?;
        }
    }
    let path = dir.path().join("manifest.raucm");
    fs::write(&path, manifest).map_err(file_error(&path))?;
    let mut command = Command::new(&tools.rauc);
    let conf = keyring.map(as_a_box).transpose()?;
    if let Some(conf) = &conf {
        command.arg("--conf").arg(conf.path());
    }
    for intermediate in &signer.intermediates {
        command.arg("--intermediate").arg(intermediate);
    }
    command.arg("--cert").arg(&signer.cert).arg("--key").arg(&signer.key).arg("bundle").arg(dir.path()).arg(out);
    run(&format!("making {}", out.display()), &mut command)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Format, Image, Recipe};

    fn recipe(compatible: &str, version: &str, file: &str) -> Recipe {
        let image = Image { class: "rootfs".into(), file: file.into(), adaptive: true };
        Recipe { compatible: compatible.into(), version: version.into(), format: Format::Verity, images: vec![image] }
    }

    #[test]
    fn a_manifest_is_as_rauc_reads_it() {
        let text = recipe("holdfast-virtual", "1.2.3", "/a/rootfs.img").manifest().unwrap();
        assert_eq!(
            text,
            "[update]\ncompatible=holdfast-virtual\nversion=1.2.3\n[bundle]\nformat=verity\n[image.rootfs]\nfilename=rootfs.img\nadaptive=block-hash-index\n"
        );
    }

    #[test]
    fn what_would_break_out_of_its_line_is_refused() {
        for (compatible, version, file) in
            [("a\n[hooks]", "1", "a.img"), ("a", "", "a.img"), ("a", "1", "a=b.img"), ("a", "1", "/")]
        {
            recipe(compatible, version, file).manifest().unwrap_err();
        }
    }
}
