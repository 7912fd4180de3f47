//! What the demo records: a simulated camera and a test picture, or what the user has.

use std::path::Path;

use anyhow::{Context, bail};

use crate::rig::{Camera, Settings, quoted};
use crate::workspace::Programs;

/// The inputs, and the camera behind one of them.
pub struct Sources {
    pub settings: Settings,
    /// The input whose capture is killed.
    pub victim: String,
    /// Whether pictures carry numbers.
    pub numbered: bool,
    camera: Option<Camera>,
}

impl Sources {
    /// A simulated camera (RTSP, H.264, AAC) and test pictures.
    pub fn simulated(programs: &Programs) -> anyhow::Result<Self> {
        let camera = Camera::start(programs, ["--size=1280x720", "--fps=30", "--bitrate-kbps=4000", "--audio=aac"])?;
        let url = camera.url()?.to_owned();
        let inputs = vec![
            ("cam0".to_owned(), vec!["source = \"rtsp\"".to_owned(), format!("url = \"{url}\"")]),
            (
                "test0".to_owned(),
                ["source = \"test\"", "width = 640", "height = 360", "framerate = 30", "bitrate_kbps = 1000"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
        ];
        let settings = Settings { inputs, ..Settings::default() };
        Ok(Self { settings, victim: "cam0".to_owned(), numbered: true, camera: Some(camera) })
    }

    /// `rtsp://…`, a V4L2 device, or a file.
    pub fn of_user(source: &str) -> anyhow::Result<Self> {
        let lines = if source.starts_with("rtsp://") || source.starts_with("rtsps://") {
            vec!["source = \"rtsp\"".to_owned(), format!("url = {}", serde_json::to_string(source)?)]
        } else {
            let path = Path::new(source).canonicalize().with_context(|| {
                format!("--source {source}: there is no such file; give rtsp://…, a device such as /dev/video0, or a media file")
            })?;
            let key = match std::fs::metadata(&path)? {
                data if data.is_file() => "path",
                data if data.is_dir() => bail!("--source {source} is a directory"),
                _ => "device",
            };
            let kind = if key == "path" { "file" } else { "v4l2" };
            vec![format!("source = \"{kind}\""), format!("{key} = {}", quoted(&path)?)]
        };
        let settings = Settings { inputs: vec![("input0".to_owned(), lines)], ..Settings::default() };
        Ok(Self { settings, victim: "input0".to_owned(), numbered: false, camera: None })
    }

    /// An error if the camera has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        self.camera.as_mut().map_or(Ok(()), Camera::must_run)
    }
}
