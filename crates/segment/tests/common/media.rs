//! Real footage, made by ffmpeg, taken apart by ffprobe; and the players that must take our files.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::panic, reason = "tests")]

use holdfast_segment::{Codec, Frame, Media, Track};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SECOND_NS, START_NS};

/// An encoded recording: the file that ffmpeg made, and its frames as a capture would hand them over.
pub struct Footage {
    pub source: PathBuf,
    pub tracks: Vec<Track>,
    /// Ordered by decode time.
    pub frames: Vec<Frame<Vec<u8>>>,
}

impl Footage {
    /// Frames of half a second each.
    pub fn chunks(&self) -> Vec<Vec<Frame<Vec<u8>>>> {
        let slot = |frame: &Frame<Vec<u8>>| (frame.dts_ns - self.frames[0].dts_ns) / (SECOND_NS / 2);
        self.frames.chunk_by(|a, b| slot(a) == slot(b)).map(<[_]>::to_vec).collect()
    }

    pub fn count(&self, track: usize) -> usize {
        self.frames.iter().filter(|frame| frame.track == track).count()
    }
}

pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        holdfast_aloud::skip(format_args!("{program} is not installed"));
    }
    found
}

/// A player that takes longer than this for some seconds of footage hangs, and is to be named instead of waited for.
const SECONDS: &str = "180";

/// A program that is ended if it hangs.
fn player(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", SECONDS, program]);
    command
}

/// Runs a program to its end; its output, or a panic with what it said. Its status is 124 if it did not end by itself.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = player(program).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {}\n{out}\n{err}", output.status);
    out
}

/// 3 s of test picture (25 pictures per second, a GOP per second) and tone. `None` if there is no ffmpeg.
pub fn footage(dir: &Path, video: &[&str], audio: &[&str]) -> Option<Footage> {
    if !have("ffmpeg") || !have("ffprobe") {
        return None;
    }
    // Only QuickTime files take G.711 from this muxer.
    let extension = if audio.iter().any(|word| word.starts_with("pcm_")) { "mov" } else { "mp4" };
    let source = dir.join(format!("source.{extension}"));
    let mut args = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=3"];
    args.extend(["-f", "lavfi", "-i", "sine=frequency=440:duration=3"]);
    args.extend(if video.is_empty() { &["-vn"] } else { video });
    if !video.is_empty() {
        args.extend(["-pix_fmt", "yuv420p", "-g", "25"]);
    }
    args.extend(if audio.is_empty() { &["-an"] } else { audio });
    if video.is_empty() && audio.is_empty() {
        panic!("nothing to record");
    }
    args.push(source.to_str().unwrap());
    run("ffmpeg", &args);
    Some(take_apart(&source))
}

fn take_apart(source: &Path) -> Footage {
    let bytes = std::fs::read(source).unwrap();
    let path = source.to_str().unwrap();
    let entries = "stream=index,codec_name,width,height,channels,sample_rate,time_base";
    let mut tracks = Vec::new();
    let mut time_bases = Vec::new();
    for line in run("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "compact", path]).lines() {
        let field = |name: &str| field(line, name).unwrap_or_default();
        let number = |name: &str| field(name).parse::<u32>().unwrap();
        let codec = match field("codec_name") {
            "h264" => Codec::H264 { avcc: config(&bytes, b"avcC") },
            "hevc" => Codec::H265 { hvcc: config(&bytes, b"hvcC") },
            "opus" => Codec::Opus { dops: config(&bytes, b"dOps") },
            // AAC-LC at 48 kHz; up to 6 channels have their number as configuration.
            "aac" => Codec::Aac { asc: vec![0x11, 0x80 | u8::try_from(number("channels")).unwrap() << 3] },
            "pcm_alaw" => Codec::Pcma,
            "pcm_mulaw" => Codec::Pcmu,
            other => panic!("codec {other}"),
        };
        let (media, timescale) = if codec.is_video() {
            let side = |name| number(name).try_into().unwrap();
            (Media::Video { width: side("width"), height: side("height") }, 90_000)
        } else {
            let sample_rate = number("sample_rate");
            (Media::Audio { channels: number("channels").try_into().unwrap(), sample_rate }, sample_rate)
        };
        tracks.push(Track { codec, media, timescale });
        let (numerator, denominator) = field("time_base").split_once('/').unwrap();
        time_bases.push((numerator.parse::<i128>().unwrap(), denominator.parse::<i128>().unwrap()));
    }
    let entries = "packet=stream_index,pts,dts,duration,size,pos,flags";
    let mut frames = Vec::new();
    for line in run("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "compact", path])
        .lines()
        // Side data makes lines of its own.
        .filter(|line| line.starts_with("packet|"))
    {
        let field = |name: &str| field(line, name).unwrap_or_default();
        let number = |name: &str| field(name).parse::<i128>().unwrap();
        let place = |name: &str| field(name).parse::<usize>().unwrap();
        let track: usize = field("stream_index").parse().unwrap();
        let (numerator, denominator) = time_bases[track];
        let ns = |name: &str| number(name) * numerator * 1_000_000_000 / denominator;
        let mono = |name: &str| u64::try_from(ns(name) + i128::from(START_NS)).unwrap();
        let (at, size) = (place("pos"), place("size"));
        frames.push(Frame {
            track,
            dts_ns: mono("dts"),
            pts_ns: mono("pts"),
            duration_ns: u64::try_from(ns("duration")).unwrap(),
            sync: field("flags").starts_with('K'),
            data: bytes[at..at + size].to_vec(),
        });
    }
    frames.sort_by_key(|frame| frame.dts_ns);
    Footage { source: source.to_owned(), tracks, frames }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split('|').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Content of the only box of that type.
fn config(file: &[u8], kind: &[u8; 4]) -> Vec<u8> {
    let at = file.windows(4).position(|word| word == kind).unwrap();
    let size = u32::from_be_bytes(file[at - 4..at].try_into().unwrap()) as usize;
    file[at + 4..at - 4 + size].to_vec()
}

/// Digest of every decoded picture or block of sound of the first track of that kind ("v" or "a").
pub fn decoded(path: &Path, kind: &str) -> Vec<String> {
    let map = format!("0:{kind}:0");
    let args = ["-v", "error", "-i", path.to_str().unwrap(), "-map", &map, "-f", "framehash", "-"];
    let lines = run("ffmpeg", &args);
    let digests = lines.lines().filter(|line| !line.starts_with('#'));
    digests.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Decodes all of it without a word of complaint; how many frames per track.
pub fn probe(path: &Path) -> Vec<usize> {
    let args = ["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"];
    let output = player("ffprobe").args(args).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "ffprobe {}: {said}", path.display());
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_matches(',').parse().unwrap()).collect()
}

/// Plays all of it with GStreamer's demuxer and decoders; nothing may be an error.
pub fn gstreamer(path: &Path) {
    if have("gst-launch-1.0") {
        let location = format!("location={}", path.display());
        run("gst-launch-1.0", &["-q", "filesrc", &location, "!", "qtdemux", "!", "fakesink"]);
        // Each track has its sink: beside one that nobody takes, the queues of a bare decodebin may wait for each other for ever.
        let uri = format!("uri=file://{}", path.display());
        run("gst-launch-1.0", &["-q", "playbin", &uri, "video-sink=fakesink", "audio-sink=fakesink"]);
    }
}

/// Remuxes it with mkvmerge; how many packets per track arrive. Of a torn file it may say that the last one is missing.
pub fn mkvmerge(path: &Path, torn: bool) -> Option<Vec<usize>> {
    if !have("mkvmerge") {
        return None;
    }
    let out = path.with_extension("mkv");
    let merge = player("mkvmerge").arg("-q").arg("-o").arg(&out).arg(path).output().unwrap();
    // 1 is "with warnings".
    let code = merge.status.code().unwrap();
    assert!(code == 0 || torn && code == 1, "mkvmerge: {}", String::from_utf8_lossy(&merge.stdout));
    let args = ["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"];
    let lines = run("ffprobe", &[&args[..], &[out.to_str().unwrap()]].concat());
    std::fs::remove_file(out).unwrap();
    Some(lines.lines().map(|line| line.trim_matches(',').parse().unwrap()).collect())
}
