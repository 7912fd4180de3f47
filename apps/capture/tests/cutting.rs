//! The pure parts: queue, ring and segmenter, with invented packets and no pipeline.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use holdfast_capture::packet::{Item, Medium, Packet};
use holdfast_capture::queue::{Queue, Wake};
use holdfast_capture::record::{Act, Limits, Segmenter};
use holdfast_capture::ring::{From, Ring};
use holdfast_link::DropReason;
use holdfast_segment::{CloseReason, Codec, Media, Track};
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::{prop_assert, prop_assert_eq};

const MS: u64 = 1_000_000;

fn video_track(variant: u8) -> Arc<Track> {
    let media = Media::Video { width: 640, height: 360 };
    Arc::new(Track { codec: Codec::H264 { avcc: vec![1, variant] }, media, timescale: 90_000 })
}

fn audio_track() -> Arc<Track> {
    let media = Media::Audio { channels: 1, sample_rate: 48_000 };
    Arc::new(Track { codec: Codec::Aac { asc: vec![0x11, 0x88] }, media, timescale: 48_000 })
}

fn packet(
    medium: Medium,
    track: &Arc<Track>,
    dts_ns: u64,
    duration_ns: u64,
    sync: bool,
    bytes: usize,
) -> Packet<Vec<u8>> {
    Packet {
        medium,
        track: track.clone(),
        dts_ns,
        pts_ns: dts_ns,
        duration_ns,
        sync,
        source_number: dts_ns,
        encoded_number: dts_ns,
        data: vec![0; bytes],
    }
}

fn picture(dts_ns: u64, sync: bool, bytes: usize) -> Packet<Vec<u8>> {
    packet(Medium::Video, &video_track(0), dts_ns, 40 * MS, sync, bytes)
}

/// Pictures at 25/s with a keyframe every `gop`, sound every 20 ms which comes `lag_ms` late, or early if that
/// is negative; in the order of arrival, from the first picture on.
fn stream(pictures: u64, gop: u64, lag_ms: i64, with_sound: bool) -> Vec<Arc<Packet<Vec<u8>>>> {
    let (video, audio) = (video_track(0), audio_track());
    let mut all: Vec<(u64, Arc<Packet<Vec<u8>>>)> = Vec::new();
    for index in 0..pictures {
        let dts_ns = (1000 + index * 40) * MS;
        let sync = index % gop == 0;
        all.push((dts_ns, Arc::new(packet(Medium::Video, &video, dts_ns, 40 * MS, sync, 1000))));
    }
    for index in 0..pictures * 2 * u64::from(with_sound) {
        let dts_ns = (1000 + index * 20) * MS;
        all.push((
            dts_ns.saturating_add_signed(lag_ms * 1_000_000),
            Arc::new(packet(Medium::Audio, &audio, dts_ns, 20 * MS, true, 100)),
        ));
    }
    all.sort_by_key(|(arrival_ns, _)| *arrival_ns);
    // Sound that comes before any picture has no place in a recording.
    all.into_iter().map(|(_, packet)| packet).skip_while(|packet| !packet.is_video()).collect()
}

struct File {
    start_ns: u64,
    chunks: Vec<Vec<(bool, u64)>>,
    closed: Option<CloseReason>,
}

/// Feeds the packets and plays the acts; what is written without an open file fails the test.
fn run(limits: Limits, packets: &[Arc<Packet<Vec<u8>>>], expect_audio: bool) -> (Vec<File>, u64) {
    let mut segmenter = Segmenter::new(limits, expect_audio);
    let mut acts = Vec::new();
    for packet in packets {
        segmenter.packet(packet.clone(), packet.dts_ns, &mut acts);
        segmenter.tick(packet.dts_ns, &mut acts);
    }
    let end_ns = packets.last().map_or(0, |last| last.dts_ns);
    segmenter.stop(CloseReason::Stop, end_ns, &mut acts);
    assert_eq!(segmenter.pending_bytes(), 0);
    let (mut files, mut lost): (Vec<File>, u64) = (Vec::new(), 0);
    for act in acts {
        match act {
            Act::Open { start_ns, .. } => {
                assert!(files.last().is_none_or(|file| file.closed.is_some()), "two files are open");
                files.push(File { start_ns, chunks: Vec::new(), closed: None });
            }
            Act::Append(chunk) => {
                let file = files.last_mut().filter(|file| file.closed.is_none()).expect("an open file");
                file.chunks.push(chunk.iter().map(|packet| (packet.is_video(), packet.dts_ns)).collect());
            }
            Act::Close(reason) => files.last_mut().expect("an open file").closed = Some(reason),
            Act::Lost(_) => lost += 1,
        }
    }
    (files, lost)
}

fn limits(sync_ms: u64, rotation_ms: u64) -> Limits {
    Limits { sync_interval_ns: sync_ms * MS, rotation_ns: rotation_ms * MS, rotation_bytes: u64::MAX }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_or_doubled_whatever_the_limits(
        pictures in 30_u64..400, gop in 1_u64..60, lag_ms in -200_i64..200, sound in any::<bool>(),
        sync_ms in 50_u64..1000, rotation_ms in 500_u64..5000, rotation_kb in 5_u64..500,
    ) {
        let packets = stream(pictures, gop, lag_ms, sound);
        let limits = Limits { rotation_bytes: rotation_kb * 1000, ..limits(sync_ms, rotation_ms) };
        let (files, lost) = run(limits, &packets, sound);
        prop_assert_eq!(lost, 0);
        let written = |video: bool| -> Vec<u64> {
            files.iter().flat_map(|file| file.chunks.iter().flatten()).filter(|(v, _)| *v == video).map(|(_, dts)| *dts).collect()
        };
        let came = |video: bool| -> Vec<u64> {
            packets.iter().filter(|packet| packet.is_video() == video).map(|packet| packet.dts_ns).collect()
        };
        prop_assert_eq!(written(true), came(true));
        prop_assert_eq!(written(false), came(false));
        for file in &files {
            let reason = file.closed.expect("closed");
            let is_last = std::ptr::eq(file, files.last().unwrap());
            prop_assert_eq!(reason, if is_last { CloseReason::Stop } else { CloseReason::Rotation });
            // Begins with the keyframe it was opened for; all tracks were cut at its time.
            let first_picture = file.chunks.iter().flatten().find(|(video, _)| *video).unwrap().1;
            prop_assert_eq!(first_picture, file.start_ns);
            prop_assert!(file.chunks.iter().flatten().all(|(_, dts_ns)| *dts_ns >= file.start_ns));
            prop_assert!(file.chunks.iter().all(|chunk| !chunk.is_empty()));
        }
        for pair in files.windows(2) {
            prop_assert!(pair[0].chunks.iter().flatten().all(|(_, dts_ns)| *dts_ns < pair[1].start_ns));
        }
    }

    #[test]
    fn chunks_are_never_longer_than_the_interval(pictures in 50_u64..300, gop in 1_u64..100, sync_ms in 80_u64..1000) {
        let (files, _) = run(limits(sync_ms, 60_000), &stream(pictures, gop, 0, false), false);
        for chunk in files.iter().flat_map(|file| &file.chunks) {
            let length_ns = chunk.last().unwrap().1 + 40 * MS - chunk.first().unwrap().1;
            prop_assert!(length_ns <= (sync_ms + 20) * MS || chunk.len() == 1, "{} ms", length_ns / MS);
        }
    }
}

#[test]
fn files_are_as_long_as_asked_for() {
    let (files, _) = run(limits(500, 4000), &stream(1000, 25, 30, true), true);
    let starts: Vec<u64> = files.iter().map(|file| file.start_ns / MS).collect();
    assert_eq!(starts, (0..10).map(|index| 1000 + index * 4000).collect::<Vec<_>>());
}

#[test]
fn video_is_not_held_back_by_sound_that_does_not_come() {
    let (files, lost) = run(limits(200, 1000), &stream(100, 25, 0, false), true);
    assert_eq!((files.len(), lost), (4, 0));
}

#[test]
fn sound_that_comes_late_finds_its_track_in_the_first_file() {
    let (files, lost) = run(limits(200, 60_000), &stream(200, 25, 600, true), true);
    assert_eq!((files.len(), lost), (1, 0));
    let sound = files[0].chunks.iter().flatten().filter(|(is_video, _)| !is_video).count();
    assert!(sound > 350, "{sound} of 400");
    // A recording that begins while a source runs knows the format from before.
    let mut segmenter = Segmenter::new(limits(200, 60_000), true);
    segmenter.know_audio(audio_track());
    let mut acts = Vec::new();
    segmenter.packet(Arc::new(picture(1000 * MS, true, 100)), 1000 * MS, &mut acts);
    assert!(matches!(&acts[..], [Act::Open { audio: Some(_), .. }]), "{acts:?}");
}

#[test]
fn another_format_is_another_file() {
    let mut packets = stream(50, 25, 0, false);
    let other = video_track(9);
    for index in 50..75 {
        let dts_ns = (1000 + index * 40) * MS;
        packets.push(Arc::new(packet(Medium::Video, &other, dts_ns, 40 * MS, index == 50, 1000)));
    }
    let (files, lost) = run(limits(200, 60_000), &packets, false);
    assert_eq!((files.len(), lost), (2, 0));
    assert_eq!(files[0].closed, Some(CloseReason::FormatChange));
    // Sound that begins late gets a track at the next keyframe.
    let mut late = stream(100, 25, 0, true);
    late.retain(|packet| packet.is_video() || packet.dts_ns >= 2500 * MS);
    let (files, _) = run(limits(200, 60_000), &late, false);
    assert_eq!(files.len(), 2);
    assert_eq!(files[1].start_ns, 3000 * MS);
    assert!(files[1].chunks.iter().flatten().any(|(video, _)| !video));
}

#[test]
fn frames_before_the_first_keyframe_are_told() {
    let packets: Vec<_> = stream(60, 25, 0, false).into_iter().skip(10).collect();
    let (files, lost) = run(limits(200, 60_000), &packets, false);
    assert_eq!((files[0].start_ns, lost), (2000 * MS, 15));
}

#[test]
fn after_a_failure_the_next_keyframe_begins_a_file() {
    let packets = stream(60, 25, 0, false);
    let mut segmenter = Segmenter::new(limits(200, 60_000), false);
    let mut acts = Vec::new();
    for packet in &packets[..30] {
        segmenter.packet(packet.clone(), packet.dts_ns, &mut acts);
    }
    let unwritten = segmenter.abandon();
    assert!(!unwritten.is_empty() && segmenter.pending_bytes() == 0);
    acts.clear();
    for packet in &packets[30..] {
        segmenter.packet(packet.clone(), packet.dts_ns, &mut acts);
    }
    let lost = acts.iter().filter(|act| matches!(act, Act::Lost(DropReason::NoKeyframe))).count();
    let opened = acts.iter().find_map(|act| if let Act::Open { start_ns, .. } = act { Some(*start_ns) } else { None });
    assert_eq!((lost, opened), (20, Some(3000 * MS)));
}

#[test]
fn a_full_queue_drops_whole_gops_at_the_new_end() {
    let queue: Queue<Vec<u8>, ()> = Queue::new(60_000);
    let mut accepted = Vec::new();
    let push =
        |queue: &Queue<Vec<u8>, ()>, index: u64| queue.push(picture(index * 40 * MS, index.is_multiple_of(10), 1000));
    for index in 0..100 {
        if push(&queue, index) {
            accepted.push(index);
        }
    }
    // 39 fit into 60 000 bytes; nothing behind the first refused one is taken while there is no room.
    assert_eq!(accepted, (0..39).collect::<Vec<_>>());
    let batch = queue.take(Wake::ANY);
    assert_eq!(batch.items.len(), 39);
    assert!(!push(&queue, 100), "what the writer has in hand counts as long as it is not safe");
    queue.set_in_hand(0);
    for index in 101..=110 {
        assert_eq!(push(&queue, index), index == 110, "{index}: only a keyframe ends the gap");
    }
    let mut batch = queue.take(Wake::ANY);
    let Some(Item::Lost(lost)) = batch.items.pop_front() else { panic!("the loss stands in its place") };
    assert_eq!((lost.reason, lost.frames, lost.start_ns), (DropReason::DiskStall, 71, 39 * 40 * MS));
    assert!(matches!(&batch.items[0], Item::Packet(packet) if packet.dts_ns == 110 * 40 * MS));
    assert_eq!(queue.level().refused_frames, 71);
}

#[test]
fn the_writer_sleeps_until_a_chunk_is_there() {
    let queue: Arc<Queue<Vec<u8>, u8>> = Arc::new(Queue::new(1 << 20));
    let wake =
        Wake { any: false, video_dts_ns: 400 * MS, keyframe_dts_ns: 300 * MS, bytes: u64::MAX, deadline_ns: None };
    let taker = {
        let queue = queue.clone();
        std::thread::spawn(move || {
            let (mut takes, mut items) = (0, 0);
            loop {
                let batch = queue.take(wake);
                (takes, items) = (takes + 1, items + batch.items.len());
                if !batch.commands.is_empty() {
                    return (takes, items, batch.commands);
                }
            }
        })
    };
    for index in 0..=10 {
        queue.push(picture(index * 40 * MS, index == 0, 100));
    }
    queue.push(picture(320 * MS, true, 100));
    queue.command(7).unwrap();
    let (takes, items, commands) = taker.join().unwrap();
    assert_eq!((items, commands), (12, vec![7]), "nothing is lost between two waits");
    // For the picture at 400 ms, perhaps for the keyframe beside it, and for the command: not for each of the twelve.
    assert!(takes <= 3, "{takes} wake-ups");
}

#[test]
fn the_ring_begins_at_a_keyframe_and_keeps_its_bounds() {
    let mut ring = Ring::new(2000 * MS, 1 << 30);
    for index in 0..200 {
        ring.push(Arc::new(picture(index * 40 * MS, index % 25 == 3, 1000)));
    }
    let all = ring.packets(From::Oldest);
    assert!(all[0].is_keyframe());
    assert!(ring.length_ns() >= 2000 * MS && ring.length_ns() < 3100 * MS, "{}", ring.length_ns());
    assert_eq!(ring.packets(From::NewestKeyframe)[0].dts_ns, 178 * 40 * MS);
    let resumed = ring.packets(From::After(160 * 40 * MS));
    assert_eq!(resumed[0].dts_ns, 178 * 40 * MS, "a resumed recording repeats nothing");
    assert!(ring.packets(From::After(u64::MAX)).is_empty());

    let mut small = Ring::new(60_000 * MS, 50_000);
    for index in 0..200 {
        small.push(Arc::new(picture(index * 40 * MS, index % 25 == 0, 1000)));
        assert!(small.bytes() <= 50_000);
        assert!(small.packets(From::Oldest).first().is_none_or(|first| first.is_keyframe()));
    }
    let mut changed = Ring::new(60_000 * MS, 1 << 30);
    changed.push(Arc::new(picture(0, true, 10)));
    changed.push(Arc::new(packet(Medium::Video, &video_track(5), 40 * MS, 40 * MS, true, 10)));
    assert_eq!(changed.packets(From::Oldest).len(), 1, "one recording cannot begin with two formats");
}
