//! The camera, watched by a player that decodes what it sends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};

const DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// A camera that ends with the test.
struct Camera {
    child: Child,
    stdin: Option<ChildStdin>,
    urls: Vec<String>,
}

impl Camera {
    fn start(args: &[&str]) -> Self {
        gst::init().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast-simcam"))
            .args(["--end-with-stdin", "--size=320x240"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let announced: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(announced["pid"], child.id());
        assert_eq!(announced["url"], announced["urls"][0]);
        let urls = announced["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()).collect();
        let stdin = child.stdin.take();
        Self { child, stdin, urls }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{word}").unwrap();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "{status}");
    }
}

/// Decodes one track of a stream.
struct Player {
    pipeline: gst::Pipeline,
    sink: AppSink,
}

impl Player {
    fn video(location: &str, decode: &str) -> Self {
        Self::open(location, "video", &format!("{decode} ! videoconvert ! video/x-raw,format=GRAY8"))
    }

    fn open(location: &str, media: &'static str, chain: &str) -> Self {
        // The end is told at once, even while pictures wait that nobody looks at.
        let launch = format!(
            "rtspsrc name=camera protocols=tcp latency=100 {location} \
             identity name=entry ! {chain} ! appsink name=sink sync=false wait-on-eos=false"
        );
        let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("sink").unwrap().downcast().unwrap();
        let entry = pipeline.by_name("entry").unwrap().static_pad("sink").unwrap();
        pipeline.by_name("camera").unwrap().connect_pad_added(move |_, pad| {
            let caps = pad.current_caps().unwrap();
            if caps.structure(0).unwrap().get::<&str>("media") == Ok(media) {
                pad.link(&entry).unwrap();
            }
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, sink }
    }

    fn sample(&self) -> Result<gst::Sample, String> {
        self.sink.try_pull_sample(DEADLINE).ok_or_else(|| {
            let error = self.pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]);
            format!("{error:?}")
        })
    }

    /// Picture width and frame number.
    fn picture(&self) -> (usize, u32) {
        let (width, number) = self.look();
        (width, number.unwrap_or_else(|| panic!("a picture {width} wide without a number")))
    }

    /// The first picture with a number, of a player that has come to a mount which others watch already. As with a real
    /// camera it comes in the middle of a group of pictures, or between two slices of one, and its decoder shows grey for
    /// what it has never seen.
    fn first_whole_picture(&self) -> u32 {
        const GROUP: usize = 60;
        (0..GROUP).find_map(|_| self.look().1).unwrap_or_else(|| panic!("{GROUP} pictures without a number"))
    }

    /// Picture width and, where it carries one, frame number.
    fn look(&self) -> (usize, Option<u32>) {
        let sample = self.sample().unwrap();
        let info = gstreamer_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer().unwrap(), &info).unwrap();
        let (width, height) = (info.width() as usize, info.height() as usize);
        let stride = usize::try_from(info.stride()[0]).unwrap();
        let number = holdfast_framemark::read(frame.plane_data(0).unwrap(), stride, width, height);
        (width, number)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

fn number_now(fps: u64) -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()) * fps / 1_000_000_000
}

fn assert_consecutive(player: &Player, pictures: usize) -> u32 {
    assert_consecutive_after(player, player.picture().1, pictures - 1)
}

fn assert_consecutive_after(player: &Player, mut last: u32, pictures: usize) -> u32 {
    for _ in 0..pictures {
        let number = player.picture().1;
        assert_eq!(number, last + 1);
        last = number;
    }
    last
}

#[test]
fn pictures_are_numbered_by_the_clock_without_a_hole() {
    for (args, decode) in [
        (vec![], "rtph264depay ! h264parse ! avdec_h264"),
        (vec!["--bframes", "2"], "rtph264depay ! h264parse ! avdec_h264"),
        (vec!["--codec", "h265"], "rtph265depay ! h265parse ! avdec_h265"),
        (vec!["--codec", "mjpeg"], "rtpjpegdepay ! jpegdec"),
    ] {
        let camera = Camera::start(&args);
        let before = number_now(30);
        let player = Player::video(&format!("location={}", camera.urls[0]), decode);
        let last = assert_consecutive(&player, 75);
        let after = number_now(30);
        assert!((before..=after + 1).contains(&u64::from(last)), "{args:?}: {before} {last} {after}");
    }
}

#[test]
fn speaks_every_audio_codec() {
    for (codec, decode) in [
        ("aac", "rtpmp4gdepay ! aacparse ! avdec_aac"),
        ("pcma", "rtppcmadepay ! alawdec"),
        ("pcmu", "rtppcmudepay ! mulawdec"),
        ("opus", "rtpopusdepay ! opusdec"),
    ] {
        let camera = Camera::start(&["--audio", codec]);
        let player = Player::open(&format!("location={}", camera.urls[0]), "audio", decode);
        for _ in 0..20 {
            player.sample().unwrap_or_else(|error| panic!("{codec}: {error}"));
        }
    }
}

#[test]
fn several_mounts_and_clients_see_the_same_pictures() {
    let camera = Camera::start(&["--count", "3", "--audio", "none"]);
    assert!(camera.urls[2].ends_with("/cam2"), "{:?}", camera.urls);
    let decode = "rtph264depay ! h264parse ! avdec_h264";
    let watch = |url: &String| Player::video(&format!("location={url}"), decode);
    let first: Vec<Player> = camera.urls.iter().map(watch).collect();
    let seen: Vec<u32> = first.iter().map(|player| player.picture().1).collect();
    let late = watch(&camera.urls[1]);
    for (player, seen) in first.iter().zip(seen) {
        assert_consecutive_after(player, seen, 40);
    }
    let joined = late.first_whole_picture();
    assert_consecutive_after(&late, joined, 40);
}

#[test]
fn only_those_who_know_the_password_watch() {
    let camera = Camera::start(&["--user", "anna", "--password", "se cret:1"]);
    let decode = "rtph264depay ! h264parse ! avdec_h264";
    let location = format!("location={} user-id=anna", camera.urls[0]);
    let welcome = Player::video(&format!("{location} user-pw=\"se cret:1\""), decode);
    assert_consecutive(&welcome, 5);
    for stranger in [format!("{location} user-pw=wrong"), format!("location={}", camera.urls[0])] {
        let refused = Player::video(&stranger, decode);
        let error =
            refused.pipeline.bus().unwrap().timed_pop_filtered(DEADLINE, &[gst::MessageType::Error]).expect("an error");
        let gst::MessageView::Error(error) = error.view() else { panic!("{error:?}") };
        assert!(error.error().matches(gst::ResourceError::NotAuthorized), "{error:?}");
    }
}

#[test]
fn a_dropped_client_may_come_back_and_numbers_go_on() {
    let mut camera = Camera::start(&[]);
    let (location, decode) = (format!("location={}", camera.urls[0]), "rtph264depay ! h264parse ! avdec_h264");
    let first = Player::video(&location, decode);
    let last = assert_consecutive(&first, 5);
    camera.say("drop");
    let end =
        first.pipeline.bus().unwrap().timed_pop_filtered(DEADLINE, &[gst::MessageType::Error, gst::MessageType::Eos]);
    assert!(end.is_some(), "the client was not told");
    let second = Player::video(&location, decode);
    assert!(second.picture().1 > last);
}

#[test]
fn the_size_switches_in_mid_stream_without_a_hole() {
    let mut camera = Camera::start(&["--size", "640x480"]);
    let player = Player::video(&format!("location={}", camera.urls[0]), "rtph264depay ! h264parse ! avdec_h264");
    let (width, mut last) = player.picture();
    assert_eq!(width, 640);
    camera.say("switch");
    loop {
        let (width, number) = player.picture();
        assert_eq!(number, last + 1);
        last = number;
        if width == 320 {
            break;
        }
    }
    assert_consecutive(&player, 5);
}

/// Encodes `pictures` pictures numbered from 0, with a second of audio.
fn write_clip(file: &Path, pictures: u32) {
    let launch = format!(
        "mp4mux name=m ! filesink location={} \
         appsrc name=pictures format=time caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
         x264enc bframes=2 ! h264parse ! m. \
         audiotestsrc num-buffers=47 ! audio/x-raw,rate=48000 ! avenc_aac ! m.",
        file.display()
    );
    let writer = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source: AppSrc = writer.by_name("pictures").unwrap().downcast().unwrap();
    writer.set_state(gst::State::Playing).unwrap();
    for number in 0..pictures {
        let mut picture = vec![128; 320 * 240 * 3 / 2];
        assert!(holdfast_framemark::stamp(&mut picture[..320 * 240], 320, 320, 240, number, "clip"));
        let mut buffer = gst::Buffer::from_mut_slice(picture);
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::SECOND * u64::from(number) / 30);
        writable.set_duration(gst::ClockTime::SECOND / 30);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = writer.bus().unwrap().timed_pop_filtered(DEADLINE, &ends).unwrap();
    writer.set_state(gst::State::Null).unwrap();
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
}

#[test]
fn a_file_is_played_in_a_loop() {
    gst::init().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clip.mp4");
    write_clip(&file, 45);
    let camera = Camera::start(&["--file", file.to_str().unwrap()]);
    let player = Player::video(&format!("location={}", camera.urls[0]), "rtph264depay ! h264parse ! avdec_h264");
    let mut last = player.picture().1;
    for _ in 0..75 {
        let number = player.picture().1;
        assert_eq!(number, (last + 1) % 45);
        last = number;
    }
}
