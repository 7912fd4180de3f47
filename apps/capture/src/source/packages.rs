//! Which Debian package has an element. `packages/debian.txt` lists the same packages; a test holds this to both.

/// Packages, and those of their elements that sources, or the chains around encoders, are made of.
const PACKAGES: &[(&str, &[&str])] = &[
    ("libgstreamer1.0-0", &["capsfilter", "filesrc"]),
    (
        "gstreamer1.0-plugins-base",
        &[
            "appsink",
            "appsrc",
            "audioconvert",
            "audioresample",
            "audiotestsrc",
            "opusenc",
            "videoconvert",
            "videotestsrc",
        ],
    ),
    ("gstreamer1.0-alsa", &["alsasrc"]),
    (
        "gstreamer1.0-plugins-good",
        &[
            "aacparse",
            "jpegdec",
            "matroskademux",
            "qtdemux",
            "rtph264depay",
            "rtph265depay",
            "rtpmp4adepay",
            "rtpmp4gdepay",
            "rtpopusdepay",
            "rtppcmadepay",
            "rtppcmudepay",
            "rtspsrc",
            "v4l2src",
        ],
    ),
    (
        "gstreamer1.0-plugins-bad",
        &["h264parse", "h264timestamper", "h265parse", "h265timestamper", "opusparse", "voaacenc"],
    ),
    ("gstreamer1.0-libav", &["avenc_aac"]),
    ("gstreamer1.0-fdkaac", &["fdkaacenc"]),
    ("nvidia-l4t-gstreamer", &["nvvidconv"]),
];

/// The package of an element.
pub fn package_of(element: &str) -> &'static str {
    let has_it = |(_, elements): &&(&str, &[&str])| elements.contains(&element);
    // Whoever adds an element to a source adds it above, or a test fails.
    PACKAGES.iter().find(has_it).map_or("gstreamer1.0-plugins-good", |(package, _)| package)
}

/// Whether the table knows the element.
#[cfg(test)]
pub fn is_known(element: &str) -> bool {
    PACKAGES.iter().any(|(_, elements)| elements.contains(&element))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use gst::prelude::*;
    use gstreamer as gst;

    use super::PACKAGES;

    /// What dpkg says of every element that is installed here. It knows files by the names that packages gave them, which may be
    /// another than that under which a plugin was found: /lib is /usr/lib.
    #[test]
    fn debian_has_them_where_the_table_says() {
        gst::init().unwrap();
        if Command::new("dpkg").arg("--version").output().is_err() {
            holdfast_aloud::skip("no dpkg here: nothing says which package has which element");
            return;
        }
        let mut seen = 0;
        for (package, elements) in PACKAGES {
            for element in *elements {
                let factory = gst::ElementFactory::find(element);
                let Some(file) = factory.and_then(|factory| factory.plugin()?.filename()) else { continue };
                let name = file.file_name().unwrap().to_str().unwrap();
                let said =
                    Command::new("dpkg").args(["--search", &format!("*/gstreamer-1.0/{name}")]).output().unwrap();
                let said = String::from_utf8(said.stdout).unwrap();
                // Built by hand: none of Debian's.
                if said.is_empty() {
                    continue;
                }
                let owners: Vec<_> = said.lines().filter_map(|line| line.split(':').next()).collect();
                assert!(owners.contains(package), "{element} is in {owners:?}, not in {package}");
                seen += 1;
            }
        }
        println!("{seen} elements are in the packages that the table says");
    }

    #[test]
    fn what_a_setup_installs_is_all_that_doctor_asks_for() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages/debian.txt");
        let list = std::fs::read_to_string(list).unwrap();
        let listed: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
        for (package, _) in PACKAGES {
            // GStreamer itself comes with every plugin; the others are not Debian's own, and needed for nothing that has no other way.
            let comes_otherwise =
                ["libgstreamer1.0-0", "gstreamer1.0-fdkaac", "nvidia-l4t-gstreamer"].contains(package);
            assert!(comes_otherwise || listed.contains(package), "{package}");
        }
    }
}
