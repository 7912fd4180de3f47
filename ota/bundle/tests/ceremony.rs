//! The key ceremony of `ota/README.md`, as it stands there: run by a shell, and judged by a real rauc.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_bundle::{Format, Image, Inspected, Recipe, Signer, Tools, inspect, make};
use tempfile::TempDir;

struct Safe {
    dir: TempDir,
    tools: Tools,
    /// What a script has defined is known to those after it.
    before: String,
}

impl Safe {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&mut self, script: &str) {
        let output = Command::new("sh")
            .args(["-euc", &format!("{}\n{script}", self.before)])
            .current_dir(self.dir.path())
            .env("HOLDFAST", Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .envs([("ROOT_PASSPHRASE", "correct horse"), ("DEPUTY_PASSPHRASE", "battery staple")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        let functions = script.lines().filter(|line| line.contains("() {"));
        self.before += &functions.fold(String::new(), |text, line| text + line + "\n");
    }

    fn signer(&self, name: &str, deputies: &[&str]) -> Signer {
        let at = |file: &str| self.at(name).join(file);
        let intermediates = deputies.iter().map(|deputy| self.at(deputy).join("authority.pem")).collect();
        Signer { cert: at("signer.pem"), key: at("signer.key"), intermediates }
    }

    fn bundle(&self, name: &str, signer: &Signer) -> PathBuf {
        let image = Image { class: "rootfs".into(), file: self.at("rootfs.img"), adaptive: true };
        let recipe = Recipe {
            compatible: "holdfast-virtual".into(),
            version: "2026.12.0".into(),
            format: Format::Verity,
            images: vec![image],
        };
        let out = self.at(name);
        make(&self.tools, &recipe, signer, None, &out).unwrap();
        out
    }

    fn judge(&self, bundle: &Path, keyring: &str) -> Result<Inspected, String> {
        inspect(&self.tools, bundle, Some(&self.at(keyring))).map_err(|error| error.to_string())
    }
}

/// The scripts of the page's chapter, in their order.
fn scripts() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let chapter = page.split("\n## ").find(|chapter| chapter.starts_with("Keys\n")).unwrap();
    let blocks = chapter.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_ceremony_revocation_and_rotation_work_as_written() {
    let tools = Tools { rauc: std::env::var_os("HOLDFAST_RAUC").map_or("rauc".into(), Into::into), ..Tools::default() };
    for program in [tools.rauc.as_path(), tools.openssl.as_path(), "mksquashfs".as_ref()] {
        if Command::new(program).arg("--version").output().is_err() {
            return holdfast_aloud::skip(format_args!("{} is not installed: no ceremony is held", program.display()));
        }
    }
    let [ceremony, revocation, rotation] = scripts().try_into().unwrap();
    let mut safe = Safe { dir: tempfile::tempdir().unwrap(), tools, before: String::new() };
    let noise: Vec<u8> = (0..65536_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(safe.at("rootfs.img"), noise).unwrap();

    safe.run(&ceremony);
    for key in ["root-1/authority.key", "deputy-2026/authority.key"] {
        assert!(fs::read_to_string(safe.at(key)).unwrap().contains("ENCRYPTED"), "{key} lies open");
    }
    let signer = safe.signer("build-server", &["deputy-2026"]);
    let first = safe.bundle("first.raucb", &signer);
    let told = safe.judge(&first, "keyring.pem").unwrap();
    assert!(told.verified && told.signer.unwrap().contains("Build server"));
    assert_eq!(told.images[0].adaptive, ["block-hash-index"]);
    // Without the deputy's certificate no box can tell who that is.
    let alone = safe.bundle("alone.raucb", &Signer { intermediates: vec![], ..signer.clone() });
    let refused = safe.judge(&alone, "keyring.pem").unwrap_err();
    assert!(refused.contains("unable to get local issuer certificate"), "{refused}");
    // A keyring without lists trusts nobody.
    fs::copy(safe.at("root-1/authority.pem"), safe.at("bare.pem")).unwrap();
    let refused = safe.judge(&first, "bare.pem").unwrap_err();
    assert!(refused.contains("unable to get certificate CRL"), "{refused}");

    fs::copy(safe.at("keyring.pem"), safe.at("before.pem")).unwrap();
    safe.run(&revocation);
    let refused = safe.judge(&first, "keyring.pem").unwrap_err();
    assert!(refused.contains("certificate revoked"), "{refused}");
    safe.judge(&first, "before.pem").unwrap();
    // Another signer, made as the first was.
    let again = ceremony.split("# A signer.").nth(1).unwrap().replace("build-server", "build-server-2");
    safe.run(&format!("#{again}"));
    let second = safe.bundle("second.raucb", &safe.signer("build-server-2", &["deputy-2026"]));
    safe.judge(&second, "keyring.pem").unwrap();
    safe.judge(&first, "keyring.pem").unwrap_err();

    fs::copy(safe.at("keyring.pem"), safe.at("old.pem")).unwrap();
    safe.run(&rotation);
    let again = again.replace("build-server-2", "build-server-3").replace("deputy-2026", "deputy-2027");
    let again = again.split("# What goes into the image").next().unwrap();
    safe.run(&format!("#{again}\ncat root-2/authority.pem root-2/crl.pem deputy-2027/crl.pem >new.pem"));
    let third = safe.bundle("third.raucb", &safe.signer("build-server-3", &["deputy-2027"]));
    for (bundle, keyring, is_taken) in [
        (&second, "old.pem", true),
        (&third, "old.pem", false),
        (&second, "keyring.pem", true),
        (&third, "keyring.pem", true),
        (&second, "new.pem", false),
        (&third, "new.pem", true),
        (&first, "keyring.pem", false),
    ] {
        let judged = safe.judge(bundle, keyring);
        assert_eq!(judged.is_ok(), is_taken, "{} with {keyring}: {judged:?}", bundle.display());
    }
}
