//! With real keys, and a real rauc to make and check bundles.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use holdfast_bundle::{Authority, Error, Format, Image, Recipe, Tools, Validity, inspect, make, write_keyring};

fn tools() -> Option<Tools> {
    let rauc = std::env::var_os("HOLDFAST_RAUC").map_or("rauc".into(), Into::into);
    let tools = Tools { rauc, ..Tools::default() };
    for program in [tools.rauc.as_path(), tools.openssl.as_path(), "mksquashfs".as_ref()] {
        if Command::new(program).arg("--version").output().is_err() {
            holdfast_aloud::skip(format_args!("{} is not installed: no bundle is made", program.display()));
            return None;
        }
    }
    Some(tools)
}

#[test]
fn what_goes_in_is_told_and_whose_it_is() {
    let Some(tools) = tools() else { return };
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::make(&tools, &dir.path().join("ours"), "ours").unwrap();
    let others = Authority::make(&tools, &dir.path().join("others"), "others").unwrap();
    let keyrings = [&ours, &others].map(|authority| {
        let keyring = authority.certificate().with_file_name("keyring.pem");
        write_keyring(&[&authority.certificate(), &authority.list_revoked().unwrap()], &keyring).unwrap();
        keyring
    });
    let signer = ours.issue("builder", Validity::Days(30)).unwrap();
    for secret in [&signer.key, &dir.path().join("ours/authority.key")] {
        assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600, "{}", secret.display());
    }
    assert!(matches!(Authority::make(&tools, &dir.path().join("ours"), "again"), Err(Error::Wrong(_))));
    let file = dir.path().join("rootfs.img");
    // Bytes that squashfs can't make small: rauc wants more than one block.
    let mut bytes = vec![0; 8192];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    fs::write(&file, &bytes).unwrap();
    let image = Image { class: "rootfs".into(), file: file.clone(), adaptive: true };
    let recipe =
        Recipe { compatible: "box".into(), version: "1.2.3".into(), format: Format::Verity, images: vec![image] };
    let out = dir.path().join("a.raucb");
    make(&tools, &recipe, &signer, Some(&keyrings[0]), &out).unwrap();
    let told = inspect(&tools, &out, Some(&keyrings[0])).unwrap();
    assert_eq!((told.compatible.as_str(), told.version.as_deref()), ("box", Some("1.2.3")));
    assert_eq!((told.format.as_deref(), told.verified), (Some("verity"), true));
    assert!(told.signer.unwrap().contains("builder"));
    let [image] = told.images.as_slice() else { panic!("{:?}", told.images) };
    assert_eq!((image.class.as_str(), image.size_bytes, image.adaptive.len()), ("rootfs", Some(8192), 1));
    // The image itself is as it was, and nothing is left lying about.
    assert_eq!(fs::read(&file).unwrap(), bytes);
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, ["a.raucb", "others", "ours", "rootfs.img"]);

    let foreign = inspect(&tools, &out, Some(&keyrings[1])).unwrap_err();
    assert!(foreign.to_string().contains("signature verification failed"), "{foreign}");
    assert!(!inspect(&tools, &out, None).unwrap().verified);
    assert!(make(&tools, &recipe, &signer, None, &out).unwrap_err().to_string().contains("there already"));
    fs::write(&file, vec![7; 8191]).unwrap();
    let odd = make(&tools, &recipe, &signer, None, &dir.path().join("b.raucb")).unwrap_err();
    assert!(odd.to_string().contains("8191 bytes") && odd.to_string().contains("pad it"), "{odd}");
}
