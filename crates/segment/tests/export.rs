//! Export: segments become one ordinary MP4 with every frame, at its time, whatever happened while they were recorded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "tests")]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use common::media::{self, Footage, footage, probe, run};
use common::{SECOND_NS, START_NS, chunk, identity, tracks};
use holdfast_segment::export::{Export, ExportError, Exported, Gaps, Options, Progress, find_segments};
use holdfast_segment::{CloseReason, Frame, Gap, GapCause, Identity, Mark, Track, WriteOptions, Writer, recover};

type Chunks = Vec<Vec<Frame<Vec<u8>>>>;

const X264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-bf", "2"];
const X265: &[&str] = &["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error"];
const AAC: &[&str] = &["-c:a", "aac", "-ac", "2", "-ar", "48000"];

fn writer(dir: &Path, identity: Identity, tracks: &[Track]) -> Writer {
    let name = format!("{:06}_20261121T071503Z.mp4", identity.sequence);
    let options = WriteOptions { preallocate_bytes: 0, recycle: None, sync: false };
    Writer::create(dir, &name, identity, tracks.to_vec(), &options).unwrap()
}

fn segment(dir: &Path, identity: Identity, tracks: &[Track], chunks: &Chunks) -> PathBuf {
    let mut writer = writer(dir, identity, tracks);
    for chunk in chunks {
        writer.append(chunk).unwrap();
    }
    writer.close(CloseReason::Rotation).unwrap().path
}

/// Moves all times.
fn later(chunks: &Chunks, by_ns: u64) -> Chunks {
    let mut chunks = chunks.clone();
    for frame in chunks.iter_mut().flatten() {
        frame.dts_ns += by_ns;
        frame.pts_ns += by_ns;
    }
    chunks
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn export(dir: &Path, options: &Options) -> (Export, PathBuf) {
    let export = Export::plan(&find_segments(dir).unwrap(), options).unwrap();
    let out = dir.parent().unwrap().join("out.mp4");
    let done = export.write(&out, go_on).unwrap();
    assert_eq!(done, Exported { bytes: std::fs::metadata(&out).unwrap().len(), resumed_bytes: 0 });
    assert_eq!(done.bytes, export.summary().bytes);
    (export, out)
}

/// `(pts, dts)` of every packet of a stream in seconds, by ffprobe.
fn times(path: &Path, stream: &str) -> Vec<(f64, f64)> {
    let args =
        ["-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time,dts_time", "-of", "csv=p=0"];
    let lines = run("ffprobe", &[&args[..], &[path.to_str().unwrap()]].concat());
    lines
        .lines()
        // Side data of a packet makes a line of its own.
        .filter(|line| !line.trim_matches(',').is_empty())
        .map(|line| {
            let mut numbers = line.split(',').map(|number| number.parse::<f64>().unwrap());
            (numbers.next().unwrap(), numbers.next().unwrap())
        })
        .collect()
}

fn session() -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("cam0");
    std::fs::create_dir(&dir).unwrap();
    (base, dir)
}

fn split(footage: &Footage, dir: &Path) {
    let chunks = footage.chunks();
    // At a keyframe: one per second, two chunks per second.
    let (first, second) = chunks.split_at(2);
    segment(dir, identity(1), &footage.tracks, &first.to_vec());
    segment(dir, identity(2), &footage.tracks, &second.to_vec());
}

#[test]
fn pictures_and_sound_arrive_whole_and_in_time() {
    for video in [X264, X265] {
        let (base, dir) = session();
        let Some(footage) = footage(base.path(), video, AAC) else {
            return;
        };
        split(&footage, &dir);
        let (export, out) = export(&dir, &Options::default());
        assert_eq!(export.summary().segments, 2);
        assert!(export.summary().gaps.is_empty() && export.summary().damaged.is_empty());

        // Every decoded picture and block of sound is the one that ffmpeg made.
        let counts = probe(&out);
        assert_eq!(counts.len(), 2);
        assert!(media::decoded(&out, "v") == media::decoded(&footage.source, "v"));
        // ffmpeg hides the encoder's first block from players of its file; a capture hands over what it gets.
        assert!(media::decoded(&out, "a")[1..] == media::decoded(&footage.source, "a"));
        // And shown at the same time, sound relative to pictures too.
        for stream in ["v", "a"] {
            let (ours, source) = (times(&out, stream), times(&footage.source, stream));
            assert_eq!(ours.len(), source.len(), "{stream}");
            let shift = times(&out, "v")[0].0 - times(&footage.source, "v")[0].0;
            for (ours, source) in ours.iter().zip(&source) {
                assert!((ours.0 - source.0 - shift).abs() < 0.0005, "{stream}: {ours:?} {source:?} {shift}");
            }
        }
        media::gstreamer(&out);
        if let Some(packets) = media::mkvmerge(&out, false) {
            assert_eq!(packets, [footage.count(0), footage.count(1)]);
        }
        // The index stands in front.
        let head = std::fs::read(&out).unwrap();
        assert_eq!((&head[4..8], &head[36..40]), (&b"ftyp"[..], &b"moov"[..]));
    }
}

#[test]
fn every_codec_that_cameras_have_is_carried() {
    const OPUS: &[&str] = &["-c:a", "libopus", "-ar", "48000"];
    const PCMA: &[&str] = &["-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"];
    const PCMU: &[&str] = &["-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"];
    for (video, audio) in [(X264, OPUS), (X264, PCMA), (X264, PCMU), (X264, &[]), (&[], AAC)] {
        let (base, dir) = session();
        let Some(footage) = footage(base.path(), video, audio) else {
            return;
        };
        segment(&dir, identity(1), &footage.tracks, &footage.chunks());
        let (export, out) = export(&dir, &Options::default());
        let frames: Vec<u64> = export.summary().tracks.iter().map(|track| track.frames).collect();
        let wanted: Vec<u64> = (0..footage.tracks.len()).map(|n| footage.count(n) as u64).collect();
        assert_eq!(frames, wanted, "{audio:?}");
        assert_eq!(probe(&out).len(), footage.tracks.len());
        for (n, _) in footage.tracks.iter().enumerate() {
            let (ours, source) = (times(&out, &n.to_string()), times(&footage.source, &n.to_string()));
            let shift = times(&out, "0")[0].0 - times(&footage.source, "0")[0].0;
            let close = |a: f64, b: f64| (a - b - shift).abs() < 0.0005;
            // Sound that stands in large blocks is cut into smaller packets by some readers: the ends count.
            let (first, last) = (ours[0].0, ours[ours.len() - 1].0);
            assert!(close(first, source[0].0) && close(last, source[source.len() - 1].0), "{audio:?} {n}");
        }
        if !video.is_empty() {
            assert!(media::decoded(&out, "v") == media::decoded(&footage.source, "v"), "{audio:?}");
        }
        media::gstreamer(&out);
    }
}

#[test]
fn a_gap_is_kept_or_cut() {
    let (base, dir) = session();
    let Some(footage) = footage(base.path(), X264, AAC) else {
        return;
    };
    let chunks = footage.chunks();
    let (first, second) = chunks.split_at(2);
    segment(&dir, identity(1), &footage.tracks, &first.to_vec());
    let gap = Gap {
        cause: GapCause::CaptureDied,
        start_mono_ns: START_NS + SECOND_NS,
        duration_ns: 5 * SECOND_NS,
        frames_lost: 7,
    };
    let mut writer = writer(&dir, Identity { gap_before: Some(gap), ..identity(2) }, &footage.tracks);
    writer.note_mark(Mark { mono_ns: START_NS + 6_500_000_000, wall_ns: 0, text: "goes on — weiter".into() });
    for chunk in later(&second.to_vec(), 5 * SECOND_NS) {
        writer.append(&chunk).unwrap();
    }
    writer.close(CloseReason::Stop).unwrap();

    for gaps in [Gaps::Keep, Gaps::Cut] {
        let (export, out) = export(&dir, &Options { gaps, chapters: true });
        let gap = export.summary().gaps[0].clone();
        assert_eq!(export.summary().gaps.len(), 1);
        assert_eq!((gap.cause, gap.frames_lost), (Some(GapCause::CaptureDied), 7));
        assert!(gap.missing_ns.abs_diff(5 * SECOND_NS) < SECOND_NS / 20, "{gap:?}");
        let video = times(&out, "v");
        assert_eq!(video.len(), footage.count(0));
        let longest = video.windows(2).map(|pair| pair[1].1 - pair[0].1).fold(0.0, f64::max);
        let end = video.iter().map(|time| time.0).fold(0.0, f64::max);
        let chapter = export.summary().chapters[0].clone();
        assert_eq!(chapter.1, "goes on — weiter");
        let listed = run("ffprobe", &["-v", "error", "-show_chapters", out.to_str().unwrap()]);
        assert!(listed.contains("TAG:title=goes on — weiter"), "{listed}");
        match gaps {
            Gaps::Keep => {
                assert!((longest - 5.04).abs() < 0.02, "{longest}");
                assert!((end - 8.0).abs() < 0.1, "{end}");
                assert!(chapter.0.abs_diff(6_500_000_000) < SECOND_NS / 10, "{chapter:?}");
            }
            Gaps::Cut => {
                assert!(longest < 0.1, "{longest}");
                assert!((end - 3.0).abs() < 0.1, "{end}");
                assert!(chapter.0.abs_diff(1_500_000_000) < SECOND_NS / 10, "{chapter:?}");
            }
        }
        media::gstreamer(&out);
        // Sound and pictures go on together behind the gap.
        let after = |times: &[(f64, f64)]| {
            times.iter().map(|time| time.0).find(|at| *at > gap.at_ns as f64 / 1e9 + 0.1).unwrap()
        };
        let kept = gap.kept_ns as f64 / 1e9;
        let (video, audio) = (after(&video), after(&times(&out, "a")));
        assert!((video - audio).abs() < 0.15, "{video} {audio} {kept}");
        std::fs::remove_file(out).unwrap();
    }
}

#[test]
fn a_new_configuration_gets_a_description_of_its_own() {
    let (base, dir) = session();
    let Some(small) = footage(base.path(), X264, AAC) else {
        return;
    };
    let other = base.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let large = footage(&other, &[X264, &["-vf", "scale=640:360"]].concat(), AAC).unwrap();
    segment(&dir, identity(1), &small.tracks, &small.chunks());
    segment(&dir, identity(2), &large.tracks, &later(&large.chunks(), 3 * SECOND_NS));
    segment(&dir, identity(3), &small.tracks, &later(&small.chunks(), 6 * SECOND_NS));
    let (export, out) = export(&dir, &Options::default());
    assert_eq!(export.summary().tracks[0].configurations, 2);
    assert_eq!(export.summary().tracks[1].configurations, 1);
    // All pictures decode, and those of another size are of another size.
    let frames = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "frame=width",
            "-of",
            "csv=p=0",
            out.to_str().unwrap(),
        ],
    );
    let widths: Vec<&str> = frames.lines().map(|line| line.trim_matches(',')).collect();
    let count = |width| widths.iter().filter(|found| **found == width).count();
    assert_eq!((count("320"), count("640")), (2 * small.count(0), large.count(0)));
    media::gstreamer(&out);
}

#[test]
fn recovered_and_open_segments_are_taken_as_far_as_they_are_safe() {
    let (base, dir) = session();
    let Some(footage) = footage(base.path(), X264, AAC) else {
        return;
    };
    let chunks = footage.chunks();
    // The first died in the middle of a chunk and was recovered.
    let mut first = writer(&dir, identity(1), &footage.tracks);
    first.append(&chunks[0]).unwrap();
    first.append(&chunks[1]).unwrap();
    let part = first.part_path().to_owned();
    drop(first);
    let length = std::fs::metadata(&part).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(length - 10).unwrap();
    recover::recover(&part, None).unwrap();
    // The second is being written: two chunks are safe, a third is torn.
    let mut second = writer(&dir, identity(2), &footage.tracks);
    second.append(&chunks[2]).unwrap();
    second.append(&chunks[3]).unwrap();
    second.append(&chunks[4]).unwrap();
    let part = second.part_path().to_owned();
    let length = std::fs::metadata(&part).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(length - 1).unwrap();

    let (export, out) = export(&dir, &Options::default());
    let frames: usize = [0, 2, 3].iter().map(|n| chunks[*n].iter().filter(|frame| frame.track == 0).count()).sum();
    assert_eq!(export.summary().tracks[0].frames, frames as u64);
    assert_eq!(times(&out, "v").len(), frames);
    drop(second);
}

#[test]
fn a_reboot_stands_on_one_timeline() {
    let (_base, dir) = session();
    let chunks: Chunks = (0..5).map(|n| chunk(n, 1)).collect();
    segment(&dir, identity(1), &tracks(), &chunks);
    // Another boot: its clock begins anew. Without an account of the gap the wall clock tells: 10 s later.
    let boot = holdfast_segment::BootId([1; 16]);
    let start_wall_ns = identity(1).start_wall_ns + 11 * SECOND_NS as i64;
    let early: Chunks = chunks
        .iter()
        .map(|chunk| {
            let moved = |ns: u64| ns - START_NS + SECOND_NS;
            chunk.iter().cloned().map(|f| Frame { dts_ns: moved(f.dts_ns), pts_ns: moved(f.pts_ns), ..f }).collect()
        })
        .collect();
    let second = Identity { boot_id: boot, start_mono_ns: SECOND_NS, start_wall_ns, ..identity(2) };
    segment(&dir, second, &tracks(), &early);
    let export = Export::plan(&find_segments(&dir).unwrap(), &Options::default()).unwrap();
    let summary = export.summary();
    assert_eq!(summary.gaps.len(), 1, "{:?}", summary.gaps);
    assert!(summary.gaps[0].missing_ns.abs_diff(10 * SECOND_NS) < SECOND_NS / 10, "{:?}", summary.gaps);
    assert!(summary.duration_ns.abs_diff(12 * SECOND_NS) < SECOND_NS / 10, "{}", summary.duration_ns);
}

#[test]
fn footage_that_overlaps_is_kept_behind_what_is_there() {
    let (_base, dir) = session();
    let chunks: Chunks = (0..5).map(|n| chunk(n, 1)).collect();
    segment(&dir, identity(1), &tracks(), &chunks);
    segment(&dir, identity(2), &tracks(), &chunks);
    let summary = Export::plan(&find_segments(&dir).unwrap(), &Options::default()).unwrap().summary().clone();
    assert_eq!(summary.tracks[0].frames, 50);
    assert!(summary.duration_ns.abs_diff(2 * SECOND_NS) < SECOND_NS / 10, "{}", summary.duration_ns);
}

/// Chunks with much in them, for the copy alone.
fn heavy(count: u64) -> Chunks {
    (0..count)
        .map(|n| {
            let mut frames = chunk(n, 7);
            frames[0].data = vec![n as u8; 1 << 20];
            frames
        })
        .collect()
}

#[test]
fn an_interrupted_export_goes_on_and_ends_the_same() {
    let (base, dir) = session();
    let chunks = heavy(60);
    segment(&dir, identity(1), &tracks(), &chunks[..30].to_vec());
    segment(&dir, identity(2), &tracks(), &chunks[30..].to_vec());
    let segments = find_segments(&dir).unwrap();
    let plan = || Export::plan(&segments, &Options::default()).unwrap();
    let whole = base.path().join("whole.mp4");
    let mut told = Vec::new();
    plan()
        .write(&whole, |progress| {
            told.push(progress.done_bytes);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(told.len() > 8 && told.is_sorted() && *told.last().unwrap() == plan().summary().bytes);

    let out = base.path().join("out.mp4");
    let part = base.path().join("out.mp4.part");
    let stop_at = |bytes| {
        move |progress: Progress| {
            if progress.done_bytes >= bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    };
    let error = plan().write(&out, stop_at(40 << 20)).unwrap_err();
    assert!(matches!(error, ExportError::Stopped { .. }), "{error}");
    assert!(!out.exists());
    // What was not synced can be anything after a power cut.
    let length = std::fs::metadata(&part).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&part).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xee; 4 << 20], length - (4 << 20)).unwrap();
    drop(file);
    let done = plan().write(&out, go_on).unwrap();
    assert!(done.resumed_bytes > 10 << 20, "{done:?}");
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&out).unwrap(), "the files differ");
    assert!(!part.exists());

    // The result is never overwritten, nor a `.part` of something else trusted.
    assert!(matches!(plan().write(&out, go_on), Err(ExportError::Exists { .. })));
    std::fs::remove_file(&out).unwrap();
    std::fs::write(&part, vec![0; 80 << 20]).unwrap();
    assert_eq!(plan().write(&out, go_on).unwrap().resumed_bytes, 0);
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&out).unwrap(), "the files differ");
}

#[test]
fn damage_costs_what_is_damaged_only() {
    let (_base, dir) = session();
    let chunks: Chunks = (0..5).map(|n| chunk(n, 1)).collect();
    let path = segment(&dir, identity(1), &tracks(), &chunks);
    let reader = holdfast_segment::Reader::open(&path).unwrap();
    let third = reader.chunks().nth(2).unwrap().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 64], third.offset + 4).unwrap();
    let export = Export::plan(&[path], &Options::default()).unwrap();
    assert_eq!(export.summary().tracks[0].frames, 20);
    assert_eq!(export.summary().damaged.len(), 1, "{:?}", export.summary().damaged);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (base, dir) = session();
    assert!(matches!(
        Export::plan(&find_segments(&dir).unwrap(), &Options::default()),
        Err(ExportError::Nothing { .. })
    ));
    let chunks: Chunks = vec![chunk(0, 1)];
    segment(&dir, identity(1), &tracks(), &chunks);
    segment(&dir, Identity { input: "cam1".into(), ..identity(2) }, &tracks(), &chunks);
    let error = Export::plan(&find_segments(&dir).unwrap(), &Options::default()).unwrap_err();
    assert!(matches!(error, ExportError::Mixed { .. }), "{error}");
    assert!(error.to_string().contains("cam1"), "{error}");
    let text = base.path().join("text.mp4");
    std::fs::write(&text, "not a segment at all, but long enough").unwrap();
    assert!(Export::plan(&[text], &Options::default()).is_err());
}
