//! What the configured inputs need of GStreamer, told before anything is recorded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::process::Command;

use gstreamer::prelude::*;
use serde_json::Value;

const INPUTS: &str = r#"
[[input]]
name = "camera"
source = "rtsp"
url = "rtsp://camera/1"

[[input]]
name = "distant"
source = "rtsp"
url = "rtsps://camera/1"
audio = false

[[input]]
name = "picture"
source = "test"

[[input]]
name = "hdmi"
source = "v4l2"
device = "/dev/video0"
audio_device = "hw:1"

[[input]]
name = "footage"
source = "file"
path = "/nonexistent/footage.mp4"
"#;

/// What is missing for each input, with GStreamer's plugins looked for in `plugins`, or where they are.
fn missing(plugins: Option<&str>) -> Vec<(String, Vec<Value>)> {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("holdfast.toml");
    std::fs::write(&config, format!("[storage]\nroot = {:?}\n{INPUTS}", dir.path())).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_holdfast-capture"));
    program.arg("--config").arg(&config).args(["probe-elements", "--json"]);
    if let Some(plugins) = plugins {
        let registry = dir.path().join("registry.bin");
        program.env("GST_PLUGIN_SYSTEM_PATH_1_0", plugins).env("GST_REGISTRY", registry);
    }
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row = |row: &Value| (row["input"].as_str().unwrap().to_owned(), row["missing"].as_array().unwrap().clone());
    rows.iter().map(row).collect()
}

/// A box that has all the plugins of this one, but for those of these elements.
fn box_without(elements: &[&str]) -> tempfile::TempDir {
    gstreamer::init().unwrap();
    let file_of =
        |element: &str| gstreamer::ElementFactory::find(element).and_then(|factory| factory.plugin()?.filename());
    let left_out: Vec<_> = elements.iter().filter_map(|element| file_of(element)).collect();
    let plugins = tempfile::tempdir().unwrap();
    for plugin in gstreamer::Registry::get().plugins().iter().filter_map(|plugin| plugin.filename()) {
        if !left_out.contains(&plugin) {
            std::os::unix::fs::symlink(&plugin, plugins.path().join(plugin.file_name().unwrap())).unwrap();
        }
    }
    plugins
}

#[test]
fn each_input_is_told_just_what_it_lacks() {
    let sound = ["fdkaacenc", "avenc_aac", "voaacenc", "opusenc"];
    let plugins = box_without(&[&["alsasrc", "jpegdec", "qtdemux"], &sound[..]].concat());
    let rows = missing(plugins.path().to_str());
    let lacks = |input: &str| -> Vec<[&str; 3]> {
        let (_, missing) = rows.iter().find(|(name, _)| name == input).unwrap();
        missing.iter().map(|row| ["element", "package", "costs"].map(|key| row[key].as_str().unwrap())).collect()
    };
    let good = |element| [element, "gstreamer1.0-plugins-good", "recording"];
    let silent = ["avenc_aac", "gstreamer1.0-libav", "sound"];
    assert_eq!(lacks("hdmi"), [good("jpegdec"), ["alsasrc", "gstreamer1.0-alsa", "recording"], silent]);
    assert_eq!(lacks("picture"), [silent]);
    assert_eq!(lacks("footage"), [good("qtdemux")]);
    // Both read sound that the camera has encoded.
    assert_eq!((lacks("camera"), lacks("distant")), (vec![], vec![]));
}

#[test]
fn what_is_installed_is_not_missing() {
    for (input, missing) in missing(None) {
        assert!(missing.is_empty(), "{input}: {missing:?}");
    }
}

#[test]
fn what_is_missing_is_told_with_its_package() {
    let rows = missing(Some("/nonexistent"));
    let names = |input: &str| -> Vec<String> {
        let (_, missing) = rows.iter().find(|(name, _)| name == input).unwrap();
        missing.iter().map(|missing| missing["element"].as_str().unwrap().to_owned()).collect()
    };
    // Cameras over TCP are read by our own client, others by rtspsrc with its depayloaders.
    let camera = names("camera");
    assert!(camera.contains(&"h265timestamper".to_owned()) && camera.contains(&"opusparse".to_owned()), "{camera:?}");
    assert!(!camera.iter().any(|name| name.contains("depay") || name == "rtspsrc"), "{camera:?}");
    let distant = names("distant");
    assert!(distant.contains(&"rtspsrc".to_owned()) && distant.contains(&"rtph264depay".to_owned()), "{distant:?}");
    assert!(!distant.iter().any(|name| name.contains("opus") || name.contains("aac")), "{distant:?}");
    assert!(names("picture").contains(&"videotestsrc".to_owned()));
    for (_, missing) in &rows {
        for missing in missing {
            // GStreamer's core finds its own elements at the same place as all others.
            assert!(missing["package"].as_str().unwrap().contains("gstreamer1.0"), "{missing}");
        }
    }
}
