//! Every configuration mistake, with the words that tell it. The cases are `mistakes/*.toml`; lines `# env: NAME=value`
//! at their head are the environment. `UPDATE_GOLDEN=1 cargo test -p holdfast-config` writes the golden texts anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use holdfast_config::{Config, ConfigErrors, Loaded, Place, environment_variables};

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 20, "the cases were not found");
    cases
}

fn errors_of(case: &Path) -> ConfigErrors {
    let text = std::fs::read_to_string(case).unwrap();
    let environment: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# env: ")?.split_once('=')).collect();
    // A directory of its own, and a name that is the same everywhere.
    match Loaded::load_with(case, &|name| environment.get(name).map(OsString::from)) {
        Err(errors) => errors,
        Ok(_) => panic!("{} is no mistake", case.display()),
    }
}

#[test]
fn every_mistake_is_told_with_place_and_remedy() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let errors = errors_of(&case);
        let directory = format!("{}/", case.parent().unwrap().display());
        let told = format!("{}\n", errors.to_string().replace(&directory, ""));
        assert!(!told.contains("hunter2") && !told.contains("ter2"), "a password is shown:\n{told}");
        for mistake in errors.mistakes() {
            assert!(!mistake.problem.is_empty() && !mistake.remedy.is_empty(), "{mistake:?}");
            let json = format!("{mistake:?}");
            assert!(!json.contains("ter2"), "a password is in the data: {json}");
            if let (Place::File { line, column, .. }, Some(_)) = (&mistake.place, &mistake.value) {
                assert!(*line > 0 && *column > 0, "{mistake:?}");
            }
        }
        let golden = case.with_extension("txt");
        if update {
            std::fs::write(&golden, &told).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("--- {} is now told as:\n{told}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_key_has_a_case() {
    let told: BTreeSet<String> = cases()
        .iter()
        .flat_map(|case| errors_of(case).mistakes().iter().map(|mistake| mistake.key.clone()).collect::<Vec<_>>())
        .map(|key| key.rsplit('.').next().unwrap().to_owned())
        .collect();
    let all = "[storage]\nroot = \"/r\"\n[[input]]\nname = \"a\"\nsource = \"rtsp\"\nurl = \"rtsp://a\"\n\
               credentials_file = \"/c\"\n[[input]]\nname = \"b\"\nsource = \"v4l2\"\ndevice = \"/dev/video0\"\n\
               audio_device = \"hw:1\"\nwidth = 640\nheight = 480\nframerate = 25\n[[input]]\nname = \"c\"\nsource = \"file\"\n\
               path = \"/f\"\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("all.toml");
    std::fs::write(&file, all).unwrap();
    let loaded = Loaded::load_with(&file, &|_| None).unwrap();
    for (key, _, _) in loaded.values() {
        let name = key.rsplit('.').next().unwrap();
        assert!(told.contains(name), "no case has a mistake in {key}");
    }
}

#[test]
fn every_variable_overrides_its_key_and_is_named_when_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("holdfast.toml");
    std::fs::write(&file, "[storage]\nroot = \"/srv/rec\"\n").unwrap();
    let good = |key: &str| match key {
        "storage.root" | "recorder.runtime_dir" | "recorder.state_dir" => "/elsewhere",
        "recorder.metrics_file" | "recorder.metrics_socket" => "/elsewhere/metrics",
        "storage.filesystem" => "any",
        "storage.warn_percent" => "70",
        "storage.block_percent" => "95",
        "storage.warn_floor_mib" => "6000",
        "storage.start_floor_mib" => "3000",
        "storage.stop_floor_mib" => "0",
        "storage.keep_free_percent" => "15",
        "recorder.bus" => "unix:path=/tmp/bus",
        "recorder.supervisor" => "spawn",
        "protection.resume" => "ask",
        "recorder.capture_program" => "/opt/capture",
        _ => "100",
    };
    assert!(environment_variables().count() >= 15);
    for (variable, key) in environment_variables() {
        let loaded = Loaded::load_with(&file, &|name| (name == variable).then(|| good(&key).into())).unwrap();
        let (_, value, origin) = loaded.values().find(|(shown, _, _)| *shown == key).unwrap();
        assert_eq!(value.trim_matches('"'), good(&key), "{variable}");
        assert_eq!(origin, format!("environment {variable}"));

        let errors = Loaded::load_with(&file, &|name| (name == variable).then(|| "\u{1}".into())).unwrap_err();
        assert_eq!(errors.mistakes()[0].place, Place::Environment { variable: variable.to_owned() });
        assert!(errors.to_string().contains(variable), "{errors}");
        // Empty is not set.
        Loaded::load_with(&file, &|name| (name == variable).then(OsString::new)).unwrap();
    }
}

#[test]
fn drop_ins_merge_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("holdfast.toml");
    std::fs::write(
        &file,
        "[storage]\nroot = \"/srv/rec\"\n[[input]]\nname = \"cam0\"\nsource = \"test\"\nwidth = 640\nheight = 480\n",
    )
    .unwrap();
    let drop_ins = directory.path().join("holdfast.toml.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("20-b.toml"), "[recording]\nrotation_minutes = 20\n").unwrap();
    std::fs::write(
        drop_ins.join("10-a.toml"),
        "[recording]\nrotation_minutes = 10\npreroll_seconds = 1\n[[input]]\nname = \"cam0\"\nwidth = 1280\n\
         [[input]]\nname = \"cam1\"\nsource = \"test\"\n",
    )
    .unwrap();
    std::fs::write(drop_ins.join("30-c.toml.bak"), "this is not read").unwrap();

    let loaded = Loaded::load_with(&file, &|_| None).unwrap();
    assert_eq!(loaded.config.recording.rotation.as_secs(), 20 * 60);
    assert_eq!(loaded.config.recording.preroll.as_secs(), 1);
    let holdfast_config::Source::Test { picture } = &loaded.config.inputs[0].source else { panic!("another source") };
    assert_eq!((picture.width, picture.height), (Some(1280), Some(480)));
    assert_eq!(loaded.config.inputs[1].name, "cam1");

    // A mistake in a drop-in names the drop-in.
    std::fs::write(drop_ins.join("20-b.toml"), "\n[recording]\nrotation_minutes = 1441\n").unwrap();
    let errors = Loaded::load_with(&file, &|_| None).unwrap_err();
    assert!(errors.to_string().contains("20-b.toml:3:20"), "{errors}");
}

#[test]
fn show_is_itself_a_configuration_and_holds_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("holdfast.toml");
    let text = "[storage]\nroot = \"/srv/\\\"rec\\\"\"\nfilesystem = \"label:Re C\"\n[[input]]\nname = \"cam0\"\nsource = \"rtsp\"\n\
                url = \"rtsp://cam/1?user=a&password=hunter2\"\n[[input]]\nname = \"cam1\"\nsource = \"test\"\nframerate = 25\n";
    std::fs::write(&file, text).unwrap();
    let loaded = Loaded::load_with(&file, &|name| (name == "HOLDFAST_ROTATION_MINUTES").then(|| "7".into())).unwrap();
    let shown = loaded.show();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("rotation_minutes = 7    # environment HOLDFAST_ROTATION_MINUTES"), "{shown}");
    assert!(shown.contains(&format!("framerate = 25       # {}:11", file.display())), "{shown}");
    assert!(shown.contains("block_percent = 90         # default"), "{shown}");

    let mut again = Config::from_toml(&shown, "shown").unwrap();
    let holdfast_config::Source::Rtsp { url, .. } = &mut again.inputs[0].source else { panic!("another source") };
    *url = url.replace("***", "hunter2");
    assert_eq!(again, loaded.config);
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.toml");
    let errors = Config::load(&missing).unwrap_err().to_string();
    assert!(errors.contains("there is no configuration at") && errors.contains("HOLDFAST_CONFIG"), "{errors}");
    let errors = Config::load(directory.path()).unwrap_err().to_string();
    assert!(errors.contains("is a directory"), "{errors}");
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, b"[storage]\nroot = \"\xff\xfe\"\n").unwrap();
    let errors = Config::load(&binary).unwrap_err().to_string();
    assert!(errors.contains("line 2 is not UTF-8"), "{errors}");
}

proptest::proptest! {
    /// Whatever is in the file: no panic, and the password of a URL is never shown.
    #[test]
    fn no_text_panics_or_leaks(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..24)) {
        let text = pieces.concat();
        if let Err(errors) = Config::from_toml(&text, "random.toml") {
            let told = errors.render(true);
            proptest::prop_assert!(!told.contains("hunter2"), "{text}\n->\n{told}");
            proptest::prop_assert!(!errors.mistakes().is_empty());
        }
    }
}

const PIECES: &[&str] = &[
    "[storage]\n",
    "[[input]]\n",
    "[input]\n",
    "[recording]\n",
    "[",
    "]",
    "\n",
    "\r\n",
    " = ",
    "\"",
    "'",
    "\"\"\"",
    "{",
    "}",
    ", ",
    "é",
    "\t",
    "#",
    "root = \"/srv\"\n",
    "name = \"a\"\n",
    "name = 3\n",
    "source = \"rtsp\"\n",
    "url = \"rtsp://u:hunter2@h/1\"\n",
    "url = \"rtsp:\\u002f/u:hunter2@h\"\n",
    "password = \"hunter2\"\n",
    "storage.root = \"x\"\n",
    "input = [{url = \"rtsp://u:hunter2@h\"}]\n",
    "rotation_minutes = 99999999999999999999999\n",
    "warn_percent",
    "0x_",
    "-1",
    "2026-11-21",
    "width = nan\n",
];
