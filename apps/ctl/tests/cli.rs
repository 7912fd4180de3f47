//! The real program on real files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Run, SESSION, Shelf, holdfast, json};
use holdfast_segment::{CloseReason, Mark};

#[test]
fn a_wrong_configuration_is_told_with_all_its_mistakes() {
    let shelf = Shelf::new();
    let config = shelf.write(
        "holdfast.toml",
        "[storage]\nroot = \"/srv\"\nwarn_percent = 95\n[recording]\nrotation_minutes = 0\nrotation_minuts = 3\n\
         [[input]]\nname = \"cam0\"\nsource = \"rtsp\"\nurl = \"rtsp://admin:hunter2@cam/1\"\n",
    );
    let Run { code, out, err } = holdfast(&["--config", &config, "config", "check"]);
    assert_eq!((code, out.as_str()), (3, ""));
    for part in [
        "holdfast.toml:3:16",
        "holdfast.toml:5:20",
        "holdfast.toml:6:1",
        "holdfast.toml:10:7",
        "did you mean rotation_minutes?",
        "a whole number of minutes from 1 to 1440",
        "credentials_file",
    ] {
        assert!(err.contains(part), "{part} is missing in:\n{err}");
    }
    assert!(!err.contains("hunter2"), "{err}");

    let Run { code, out, err } = holdfast(&["--config", &config, "config", "check", "--json"]);
    assert_eq!((code, err.as_str()), (3, ""));
    let mistakes = &json(&out)["error"]["mistakes"];
    assert_eq!(mistakes.as_array().unwrap().len(), 4);
    assert_eq!(mistakes[1]["key"], "recording.rotation_minutes");
    assert_eq!(mistakes[1]["place"]["file"]["line"], 5);
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn a_right_configuration_is_shown_with_its_origins() {
    let shelf = Shelf::new();
    let config = shelf.config("");
    let run = holdfast(&["--config", &config, "config", "check"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("the configuration is right"), "{}", run.out);
    let run = common::run_with(&["config", "show", "--config", &config], &[("HOLDFAST_ROTATION_MINUTES", "7")]);
    assert!(run.out.contains("rotation_minutes = 7"), "{}", run.out);
    assert!(run.out.contains("# environment HOLDFAST_ROTATION_MINUTES"), "{}", run.out);
    let run = common::run_with(&["config", "check", "--config", &config], &[("HOLDFAST_ROTATION_MINUTES", "1441")]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("HOLDFAST_ROTATION_MINUTES=1441"), "{}", run.err);
    // A file that is not there says how to have one.
    let run = holdfast(&["config", "check", "--config", "/nonexistent/holdfast.toml"]);
    assert_eq!(run.code, 3);
    assert!(run.err.contains("there is no configuration"), "{}", run.err);
}

#[test]
fn whole_footage_verifies_and_damaged_footage_does_not() {
    let shelf = Shelf::new();
    let files = shelf.record("cam0", 3);
    let session = shelf.session();
    let run = holdfast(&["verify", session.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("what is there is whole"), "{}", run.out);
    // By the session's id, its beginning, or "last".
    for word in [SESSION, "20261121T0715", "last"] {
        let run = holdfast(&["--config", &shelf.config(""), "verify", word, "--json"]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        let report = json(&run.out);
        assert_eq!(report["ok"], true);
        assert_eq!(report["report"]["inputs"][0]["files"].as_array().unwrap().len(), 3);
    }

    // One byte of footage in the second file.
    shelf.flip(&files[1], 5_000);
    let run = holdfast(&["verify", session.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.out.contains("000002_") && run.out.contains("not all is well"), "{}", run.out);
    let run = holdfast(&["verify", files[1].to_str().unwrap(), "--json"]);
    assert_eq!(run.code, 1);
    let report = json(&run.out);
    assert_eq!(report["ok"], false);
    assert!(report["findings"][0]["offset"].as_u64().unwrap() > 0, "{report}");
    // A missing file in the chain is found between the files.
    std::fs::remove_file(&files[1]).unwrap();
    assert_eq!(holdfast(&["verify", session.to_str().unwrap()]).code, 1);
}

#[test]
fn a_journal_that_says_nothing_is_told() {
    let shelf = Shelf::new();
    shelf.record("cam0", 2);
    let session = shelf.session();
    std::fs::write(session.join("session.journal"), "garbage").unwrap();
    let run = holdfast(&["verify", session.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("warning") && run.out.contains("session.journal"), "{}", run.out);
    assert_eq!(holdfast(&["verify", session.to_str().unwrap(), "--strict"]).code, 1);
}

#[test]
fn what_a_crash_left_open_is_recovered_once() {
    let shelf = Shelf::new();
    let part = shelf.crash("cam0");
    let config = shelf.config("");
    let run = holdfast(&["recover", "--config", &config]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("recovered with"), "{}", run.out);
    assert!(!part.exists());
    let run = holdfast(&["recover", shelf.root().to_str().unwrap(), "--json"]);
    assert_eq!((run.code, json(&run.out)["recovered"].as_array().unwrap().len()), (0, 0));
    let run = holdfast(&["verify", shelf.session().to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.out);
}

#[test]
fn a_file_that_is_being_written_is_left_alone() {
    let shelf = Shelf::new();
    let mut writer = shelf.writer("cam0", 1);
    writer.append(&common::chunk(0)).unwrap();
    let run = holdfast(&["recover", shelf.root().to_str().unwrap(), "--json"]);
    let report = json(&run.out);
    assert_eq!((run.code, report["busy"].as_array().unwrap().len()), (0, 1), "{report}");
    assert!(writer.part_path().exists());
    writer.append(&common::chunk(1)).unwrap();
    writer.close(CloseReason::Stop).unwrap();
}

#[test]
fn an_export_is_one_file_and_is_never_overwritten() {
    let shelf = Shelf::new();
    shelf.record("cam0", 2);
    let out = shelf.path("out.mp4");
    let session = shelf.session();
    let arguments = ["export", session.to_str().unwrap(), "-o", out.to_str().unwrap(), "--json"];
    let run = holdfast(&arguments);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    let report = json(&run.out);
    assert_eq!(report[0]["summary"]["segments"], 2);
    assert_eq!(report[0]["bytes"], std::fs::metadata(&out).unwrap().len());
    let run = holdfast(&arguments);
    assert_eq!(run.code, 7);
    assert!(json(&run.out)["error"]["message"].as_str().unwrap().contains("exists already"), "{}", run.out);
    assert!(json(&run.out)["error"]["remedy"].as_str().is_some());
}

#[test]
fn a_session_of_several_inputs_asks_which_one() {
    let shelf = Shelf::new();
    shelf.record("cam0", 1);
    shelf.record("cam1", 1);
    let config = shelf.config("");
    let export = |more: &[&str]| holdfast(&[&["--config", &config, "export", "last"], more].concat());
    let run = export(&["-o", shelf.path("x.mp4").to_str().unwrap()]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("cam0, cam1") && run.err.contains("--input"), "{}", run.err);
    let run = export(&["-o", shelf.path("x.mp4").to_str().unwrap(), "--input", "cam7"]);
    assert_eq!(run.code, 5);
    assert!(run.err.contains("[-1002]") && run.err.contains("cam7"), "{}", run.err);
    let run = export(&["-o", shelf.path("x.mp4").to_str().unwrap(), "--input", "cam1"]);
    assert_eq!(run.code, 0, "{}", run.err);
    // Into a directory: all of them.
    let directory = shelf.path("exports");
    std::fs::create_dir(&directory).unwrap();
    let run = export(&["-o", directory.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    for input in ["cam0", "cam1"] {
        assert!(directory.join(format!("{SESSION}_{input}.mp4")).exists());
    }
}

#[test]
fn marks_become_chapters() {
    let shelf = Shelf::new();
    let mut writer = shelf.writer("cam0", 1);
    writer.append(&common::chunk(0)).unwrap();
    writer.note_mark(Mark { mono_ns: common::START_NS + 500_000_000, wall_ns: 0, text: "goal".into() });
    writer.append(&common::chunk(1)).unwrap();
    writer.close(CloseReason::Stop).unwrap();
    let out = shelf.path("out.mp4");
    let run = holdfast(&["export", shelf.session().to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert!(run.out.contains("chapter at 0:00:00: goal"), "{}{}", run.out, run.err);
}

#[test]
fn a_session_that_is_not_there_is_told() {
    let shelf = Shelf::new();
    let config = shelf.config("");
    let run = holdfast(&["--config", &config, "verify", "last"]);
    assert_eq!(run.code, 5);
    assert!(run.err.contains("there are no sessions"), "{}", run.err);
    shelf.record("cam0", 1);
    let run = holdfast(&["--config", &config, "verify", "2031"]);
    assert!(run.code == 5 && run.err.contains("[-1003] there is no session 2031"), "{}", run.err);
    let run = holdfast(&["verify", "/nonexistent/file.mp4"]);
    assert!(run.code == 2 && run.err.contains("does not exist"), "{}", run.err);
    let run = holdfast(&["--config", "/nonexistent", "verify", "last"]);
    assert!(run.code == 3 && run.err.contains("--config"), "{}", run.err);
    // Some other program's file.
    let text = shelf.write("text.mp4", "no footage in here, but long enough to look at");
    let run = holdfast(&["verify", &text]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
}

#[test]
fn completions_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let run = holdfast(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.out.contains("unprotect") && run.out.contains("cut-gaps"), "{shell}");
    }
    let run = holdfast(&["man"]);
    assert!(run.code == 0 && run.out.contains(".TH holdfast 1") && run.out.contains("Exit codes"), "{}", run.out);
    let shelf = Shelf::new();
    let directory = shelf.path("man");
    assert_eq!(holdfast(&["man", "--out", directory.to_str().unwrap()]).code, 0);
    assert!(directory.join("holdfast-export.1").exists());
}

#[test]
fn a_reader_that_went_away_is_no_crash() {
    let status = std::process::Command::new("sh")
        .args(["-c", "\"$0\" completions bash | head -c 10 >/dev/null", env!("CARGO_BIN_EXE_holdfast")])
        .output()
        .unwrap();
    assert!(status.stderr.is_empty(), "{}", String::from_utf8_lossy(&status.stderr));
}

#[test]
fn usage_is_told() {
    for arguments in [&["verify"][..], &["watch", "--interval", "-1"], &["start", "--wait", "x"], &["nonsense"]] {
        assert_eq!(holdfast(arguments).code, 2, "{arguments:?}");
    }
}

/// What doctor says of one thing; the level first.
fn check(report: &serde_json::Value, name: &str) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().unwrap();
    let of = checks.iter().filter(|check| check["name"] == name);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    of.map(|check| (text(&check["level"]), format!("{} → {}", text(&check["message"]), text(&check["remedy"]))))
        .collect()
}

#[test]
fn doctor_finds_what_keeps_a_box_from_recording() {
    let shelf = Shelf::new();
    let nobus = "unix:path=/nonexistent/bus";
    let doctor = |config: &str| {
        let run = holdfast(&["doctor", "--json", "--bus", nobus, "--config", config]);
        assert_eq!(run.code, 1, "{}{}", run.out, run.err);
        json(&run.out)
    };
    // A box on which everything is wrong, and each thing is told with what to do.
    let open = shelf.write("open.credentials", "admin\nhunter2\n");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let inputs = format!(
        "[recorder]\ncapture_program = \"/nonexistent/capture\"\n\
         [[input]]\nname = \"a\"\nsource = \"rtsp\"\nurl = \"rtsp://cam/1\"\ncredentials_file = \"{open}\"\n\
         [[input]]\nname = \"b\"\nsource = \"v4l2\"\ndevice = \"/dev/video77\"\n\
         [[input]]\nname = \"c\"\nsource = \"file\"\npath = \"/nonexistent/footage.mp4\"\n"
    );
    let part = shelf.crash("a");
    let report = doctor(&shelf.config(&inputs));
    let told = check(&report, "inputs");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].0 == "fail" && told[0].1.contains("chmod o="), "{told:?}");
    assert!(told[1].1.contains("/dev/video77 is not there"), "{told:?}");
    assert!(told[2].1.contains("footage.mp4 is not there"), "{told:?}");
    assert!(!report.to_string().contains("hunter2"));
    assert!(check(&report, "encoders")[0].1.contains("recorder.capture_program"), "{report}");
    assert!(check(&report, "bus")[0].1.contains("--bus"), "{report}");
    assert_eq!(check(&report, "recorder")[0].0, "skipped");
    let recovery = check(&report, "recovery");
    assert!(recovery[0].0 == "warning" && recovery[0].1.contains("holdfast recover"), "{recovery:?}");

    // A file that is being written needs no recovery.
    std::fs::remove_file(part).unwrap();
    let mut writer = shelf.writer("a", 2);
    writer.append(&common::chunk(0)).unwrap();
    let recovery = check(&doctor(&shelf.config(&inputs)), "recovery").remove(0).1;
    assert!(recovery.contains("1 file being written"), "{recovery}");
    drop(writer);

    // The root is missing; or it is on the system's disk and must not be.
    let root = shelf.root();
    std::fs::rename(&root, shelf.path("away")).unwrap();
    let storage = check(&doctor(&shelf.config("")), "storage").remove(0);
    assert!(storage.0 == "fail" && storage.1.contains("does not exist") && storage.1.contains("Mount"), "{storage:?}");
    let no_inputs = check(&doctor(&shelf.config("")), "inputs").remove(0);
    assert!(no_inputs.0 == "fail" && no_inputs.1.contains("[[input]]"), "{no_inputs:?}");

    // A wrong configuration: told whole, the rest waits for it.
    let report = doctor(&shelf.write("wrong.toml", "[storage]\nroot = 3\n"));
    assert!(check(&report, "config")[0].1.contains("wrong.toml:2:8"), "{report}");
    assert_eq!(check(&report, "storage")[0].0, "skipped");
}

#[test]
fn doctor_believes_what_the_capture_program_found_out() {
    let shelf = Shelf::new();
    // Stands for the capture program on boxes of all kinds; what it prints has the real one's form.
    let program = |text: &str| {
        let path = shelf.write("capture", &format!("#!/bin/sh\ncat <<'END'\n{text}\nEND\n"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    let ask_all = |program: &str, input: &str, name: &str| {
        let more =
            format!("[recorder]\ncapture_program = \"{program}\"\n[[input]]\nname = \"a\"\nsource = \"test\"\n{input}");
        let arguments = ["doctor", "--json", "--bus", "unix:path=/nonexistent/bus", "--config", &shelf.config(&more)];
        check(&json(&holdfast(&arguments).out), name)
    };
    let ask = |program: &str, input: &str, name: &str| ask_all(program, input, name).remove(0);
    let lacking = program(
        r#"[{"input":"a","missing":[{"element":"rtspsrc","package":"plugins-good"},{"element":"h264parse","package":"plugins-bad"}]},
            {"input":"b","missing":[]},
            {"input":"c","missing":[{"element":"h264parse","package":"plugins-bad","costs":"recording"},
                                    {"element":"avenc_aac","package":"libav","costs":"sound"}]}]"#,
    );
    let told = ask_all(&lacking, "", "elements");
    let [(a, of_a), (c, of_c), (sound, of_sound)] = &told[..] else { panic!("{told:?}") };
    assert!(
        a == "fail" && of_a.contains("a needs") && of_a.contains("rtspsrc (plugins-good), h264parse (plugins-bad)"),
        "{of_a}"
    );
    assert!(of_a.ends_with("apt install plugins-bad plugins-good"), "{of_a}");
    assert!(c == "fail" && of_c.contains("c needs") && of_c.ends_with("apt install plugins-bad"), "{of_c}");
    // It records all the same.
    assert!(sound == "warning" && of_sound.contains("c needs") && of_sound.contains("without sound"), "{of_sound}");
    assert!(of_sound.ends_with("apt install libav"), "{of_sound}");
    let (level, told) = ask(&program(r#"[{"input":"a","missing":[]}]"#), "", "elements");
    assert!(level == "ok", "{told}");

    let encoders = |program: &str, input: &str| ask(program, input, "encoders");
    let found = program(
        r#"[{"codec":"H264","encoder":"x264enc","evidence":{"frames":30,"decoder":"d","error":null},"installed":true,"package":"ugly","works":true},
            {"codec":"H264","encoder":"vah264enc","evidence":{"frames":0,"decoder":null,"error":"no VA display"},"installed":true,"package":"bad","works":false},
            {"codec":"H265","encoder":"x265enc","evidence":null,"installed":false,"package":"the x265 package","works":false}]"#,
    );
    let (level, told) = encoders(&found, "");
    assert!(level == "ok" && told.contains("x264enc"), "{told}");
    let (level, told) = encoders(&found, "encoder = \"vah264enc\"\n");
    assert!(level == "fail" && told.contains("no VA display") && told.contains("working: x264enc"), "{told}");
    let (level, told) = encoders(&found, "encoder = \"nvenc\"\n");
    assert!(level == "fail" && told.contains("there is no encoder nvenc"), "{told}");
    let (level, told) = encoders(&found, "codec = \"h265\"\n");
    assert!(level == "fail" && told.contains("the x265 package"), "{told}");
    let (level, told) = encoders(&program("not at all JSON"), "");
    assert!(level == "fail" && told.contains("gstreamer1.0-plugins"), "{told}");
}

/// An encoder that keeps up with small pictures may not with large ones.
#[test]
fn doctor_has_encoders_tried_with_what_each_input_gives() {
    let shelf = Shelf::new();
    // Stands for the capture program on a box whose encoder can't do 2160 lines.
    let script = r#"#!/bin/sh
case "$*" in *"--width 3840 --height 2160 --bitrate-kbps 9000"*) works=false ;; *) works=true ;; esac
echo '[{"codec":"H264","encoder":"x264enc","evidence":{"frames":0,"decoder":null,"error":"too slow"},"installed":true,"package":"ugly","works":'$works'}]'
"#;
    let program = shelf.write("capture", script);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ask = |inputs: &str| {
        let config = shelf.config(&format!("[recorder]\ncapture_program = \"{program}\"\n{inputs}"));
        check(
            &json(&holdfast(&["doctor", "--json", "--bus", "unix:path=/nonexistent/bus", "--config", &config]).out),
            "encoders",
        )
    };
    let input = |name: &str, more: &str| format!("[[input]]\nname = \"{name}\"\nsource = \"test\"\n{more}");
    let (large, small) = ("width = 3840\nheight = 2160\nbitrate_kbps = 9000\n", "width = 640\nheight = 360\n");
    let told = ask(&[input("a", small), input("b", large), input("c", small)].concat());
    let [(failed, of_b), (ok, of_others)] = &told[..] else { panic!("{told:?}") };
    assert!(failed == "fail" && of_b.contains("b: no encoder for H.264 works here"), "{of_b}");
    assert!(ok == "ok" && of_others.contains("working for a, c: x264enc"), "{of_others}");
    // What a camera has encoded nobody encodes again.
    let told = ask("[[input]]\nname = \"d\"\nsource = \"rtsp\"\nurl = \"rtsp://camera/\"\n");
    assert!(told.len() == 1 && told[0].0 == "ok" && told[0].1.contains("working: x264enc"), "{told:?}");
}

#[test]
fn verify_decodes_when_it_is_asked_to() {
    let Some(capture) = common::built("holdfast-capture") else { return };
    let shelf = Shelf::new();
    let files = shelf.record("cam0", 2);
    let file = files[0].to_str().unwrap();
    // Its digests are right, and what is in it was never a picture.
    assert_eq!(holdfast(&["verify", file]).code, 0);
    let config = shelf.config(&format!("[recorder]\ncapture_program = {capture:?}\n"));
    let run = holdfast(&["--config", &config, "verify", "--decode", file]);
    assert!(run.code == 1 && run.out.contains("decoded (undecodable"), "{}{}", run.out, run.err);
    let run = holdfast(&["--config", &config, "verify", "--decode", file, "--json"]);
    let report = json(&run.out);
    assert_eq!((run.code, &report["ok"]), (1, &serde_json::Value::Bool(false)), "{report:#}");
    let decoded = &report["decoded"][0];
    assert!(decoded["frames"].as_u64() > Some(0) && decoded["fault"]["kind"] == "undecodable", "{decoded:#}");
    // Without the program that decodes nothing is said of pictures.
    let config = shelf.config("[recorder]\ncapture_program = \"/no/such/program\"\n");
    let run = holdfast(&["--config", &config, "verify", "--decode", file]);
    assert!(run.code == 7 && run.err.contains("recorder.capture_program"), "{}{}", run.out, run.err);
}
