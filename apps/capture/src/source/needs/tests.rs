use std::path::PathBuf;

use holdfast_config::{Codec, Encoding, Input, Picture, RtspTransport, Source};

use super::{Costs, elements, lacking};
use crate::source::packages;

const ANY: Picture = Picture { width: None, height: None, framerate: None };

fn input(source: Source, encoder: Option<&str>, codec: Codec) -> Input {
    let encoding = Encoding { encoder: encoder.map(str::to_owned), codec, bitrate_kbps: 4000 };
    Input { name: "cam0".to_owned(), source, audio: true, armed: true, encoding }
}

fn rtsp(url: &str) -> Source {
    Source::Rtsp { url: url.to_owned(), credentials_file: None, transport: RtspTransport::Tcp }
}

fn hdmi(sound: bool) -> Source {
    let audio_device = sound.then(|| "hw:1".to_owned());
    Source::V4l2 { device: PathBuf::from("/dev/video0"), audio_device, picture: ANY }
}

/// Missing elements and what they cost, on a box that has all but `without`.
fn without(input: &Input, without: &[&str]) -> Vec<(&'static str, &'static str, Costs)> {
    let missing = lacking(input, &|element| !without.contains(&element));
    missing.into_iter().map(|missing| (missing.element, missing.package, missing.costs)).collect()
}

#[test]
fn every_element_that_is_needed_has_its_package_in_the_table() {
    let file = Source::File { path: PathBuf::from("/nonexistent") };
    for source in [rtsp("rtsp://cam/1"), rtsp("rtsps://cam/1"), hdmi(true), Source::Test { picture: ANY }, file] {
        for encoder in crate::encoders::TABLE.iter().map(|row| row.element) {
            let input = input(source.clone(), Some(encoder), Codec::H264);
            for element in elements(&input, &|_| true) {
                assert!(packages::is_known(element), "{element}");
            }
        }
        for (element, ..) in
            without(&input(source, None, Codec::H264), &["fdkaacenc", "avenc_aac", "voaacenc", "opusenc"])
        {
            assert!(packages::is_known(element), "{element}");
        }
    }
}

#[test]
fn each_source_lacks_what_it_needs_and_nothing_else() {
    let all = ["alsasrc", "jpegdec", "matroskademux", "qtdemux", "rtph264depay", "rtspsrc"];
    let good = |element| (element, "gstreamer1.0-plugins-good", Costs::Recording);
    let h264 = |source| input(source, None, Codec::H264);
    assert_eq!(without(&h264(hdmi(false)), &all), [good("jpegdec")]);
    let alsa = ("alsasrc", "gstreamer1.0-alsa", Costs::Recording);
    assert_eq!(without(&h264(hdmi(true)), &all), [good("jpegdec"), alsa]);
    assert_eq!(without(&h264(rtsp("rtsp://cam/1")), &all), [], "our own client takes RTP apart");
    assert_eq!(without(&h264(rtsp("rtsps://cam/1")), &all), [good("rtspsrc"), good("rtph264depay")]);
}

#[test]
fn a_file_needs_the_demuxer_for_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str, head: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, head).unwrap();
        let input = input(Source::File { path }, None, Codec::H264);
        let missing = without(&input, &["qtdemux", "matroskademux"]);
        missing.into_iter().map(|(element, ..)| element).collect::<Vec<_>>()
    };
    assert_eq!(of("a.mkv", b"\0\0\0\x20ftypisom----"), ["qtdemux"], "whatever it is called");
    assert_eq!(of("a.mp4", b"\x1a\x45\xdf\xa3--------"), ["matroskademux"]);
    assert_eq!(of("a.avi", b"RIFF"), ["qtdemux", "matroskademux"], "it has to become one of these");
}

#[test]
fn an_encoder_needs_what_is_around_it() {
    let base = ("videoconvert", "gstreamer1.0-plugins-base", Costs::Recording);
    let bad = ("h264parse", "gstreamer1.0-plugins-bad", Costs::Recording);
    let around = ["videoconvert", "h264parse"];
    let test = |encoder| input(Source::Test { picture: ANY }, encoder, Codec::H264);
    // x264enc writes what a file takes: no parser behind it.
    assert_eq!(without(&test(Some("x264enc")), &around), [base]);
    assert_eq!(without(&test(Some("v4l2h264enc")), &around), [base, bad]);
    // Where none is named, one that has all it needs is enough.
    let software = ["h264parse"];
    assert_eq!(without(&test(None), &software), []);
    let but_one: Vec<_> = crate::encoders::rows(Codec::H264)
        .map(crate::encoders::Row::factory)
        .filter(|name| *name != "v4l2h264enc")
        .collect();
    assert_eq!(without(&test(None), &[&but_one[..], &software].concat()), [bad]);
    // Nothing is asked for encoders that are not installed: which to install is told elsewhere.
    assert_eq!(without(&test(None), &[&but_one[..], &["v4l2h264enc"], &around].concat()), []);
}

#[test]
fn without_an_encoder_for_sound_there_is_no_sound_and_all_else() {
    let test = input(Source::Test { picture: ANY }, Some("x264enc"), Codec::H264);
    let encoders = ["fdkaacenc", "avenc_aac", "voaacenc", "opusenc"];
    let aac = ("avenc_aac", "gstreamer1.0-libav", Costs::Sound);
    assert_eq!(without(&test, &encoders), [aac]);
    assert_eq!(without(&test, &encoders[..3]), [], "one is enough");
    // The parser belongs to the one that is taken.
    let parser = ("aacparse", "gstreamer1.0-plugins-good", Costs::Recording);
    assert_eq!(without(&test, &["aacparse"]), [parser]);
    assert_eq!(without(&test, &["aacparse", "fdkaacenc", "avenc_aac", "voaacenc"]), []);
    assert_eq!(without(&Input { audio: false, ..test }, &encoders), []);
}
