//! Encoders that fail in the middle of a recording: reset, another process, the next encoder; and a clean slate afterwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::frames::numbers;
use common::{Box_, Capture, Client, PATIENCE, start};
use holdfast_link::{self as link, AlertCode, Event, GapCause, ToCapture};

fn input(encoder: &str) -> String {
    format!(
        "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = false\nbitrate_kbps = 500\nencoder = \"{encoder}\""
    )
}

/// The failing encoders are made of this one.
fn has_x264() -> bool {
    gstreamer::init().unwrap();
    let has = gstreamer::ElementFactory::find("x264enc").is_some();
    if !has {
        holdfast_aloud::skip("x264enc is not installed");
    }
    has
}

fn alert(client: &mut Client, wanted: AlertCode) -> String {
    client.event(&format!("{wanted:?}"), |event| match event {
        Event::Alert { code, text } if *code == wanted => Some(text.as_str().to_owned()),
        _ => None,
    })
}

fn cleared(client: &mut Client, wanted: AlertCode) {
    client.event(&format!("{wanted:?} to be cleared"), |event| match event {
        Event::AlertCleared { code } if *code == wanted => Some(()),
        _ => None,
    });
}

fn gap(client: &mut Client) -> link::GapReport {
    client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None })
}

/// As the recorder does: waits for the process to end, starts another and resumes.
fn resume(station: &Box_, mut capture: Capture, told: &link::Status, cause: GapCause) -> Capture {
    assert!(capture.child.wait().unwrap().success(), "it ends in order");
    let mut next = station.capture();
    let resume = link::Resume {
        cause,
        safe_until_mono_ns: told.safe_until_mono_ns,
        frames_lost: 0,
        previous_sequence: told.file_sequence,
        previous_file_id: Some(told.file_id),
        safe_until_wall_ns: 0,
    };
    next.client().start(link::Start { sequence: told.file_sequence + 1, resume: Some(resume), ..start("s1") });
    next.client().started();
    next
}

/// Walks down the whole ladder with one of the failing encoders, and up again after the recording.
fn walks_down(encoder: &str, complaint: &str) {
    if !has_x264() {
        return;
    }
    let station = Box_::new("sync_interval_ms = 100", &input(encoder));
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    assert_eq!((client.status().encoder.as_str(), client.status().encoder_failures), (encoder, 0));

    // First it is reset: the same process, the same file or the next one.
    let text = alert(client, AlertCode::Encoder);
    assert!(text.contains(complaint), "{text}");
    cleared(client, AlertCode::Encoder);
    let first = gap(client);
    assert_eq!(first.cause, GapCause::EncoderFailed, "{first:?}");
    println!("{encoder}: reset leaves a gap of {} ms, {} frames lost", first.duration_ms, first.frames_lost);
    client.until("the reset in the status", PATIENCE, |client| client.status().encoder_failures == 1);
    assert!(!client.status().encoder_fallback);
    let before = client.status().counts.safe;
    client.until_safe(before + 10);

    // Then the process ends, with its files closed and the reason told.
    let (cause, _) = client.event("Leaving", |event| match event {
        Event::Leaving { cause, text } => Some((*cause, text.clone())),
        _ => None,
    });
    assert_eq!(cause, GapCause::EncoderFailed);
    let told = client.status().clone();
    let stopped =
        client.event("Stopped", |event| if let Event::Stopped(stopped) = event { Some(stopped.clone()) } else { None });
    let lost: u64 = told.drops.iter().map(|drop| drop.frames).sum();
    assert_eq!(stopped.request, 0);
    assert!(stopped.counts.source >= stopped.counts.safe + lost, "{stopped:?}, {lost} lost");
    let mut capture = resume(&station, capture, &told, cause);

    // The next process knows; what fails once more is replaced.
    let client = capture.client();
    let second = gap(client);
    assert_eq!(second.cause, GapCause::EncoderFailed, "{second:?}");
    assert_eq!(client.status().encoder.as_str(), encoder);
    alert(client, AlertCode::EncoderFallback);
    let third = gap(client);
    assert_eq!(third.cause, GapCause::EncoderFailed, "{third:?}");
    println!("{encoder}: restart {} ms, replacement {} ms", second.duration_ms, third.duration_ms);
    let status = client.status().clone();
    assert!(status.encoder_fallback && status.encoder_failures == 3, "{status:?}");
    assert_ne!(status.encoder.as_str(), encoder);
    let safe = status.counts.safe;
    client.until_safe(safe + 90);
    let drops: u64 = client.status().drops.iter().map(|drop| drop.frames).sum();
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe + drops, "every frame is safe or lost");

    // The next recording begins with the first choice again, because that shows that it works.
    cleared(client, AlertCode::EncoderFallback);
    client.until("the first choice", PATIENCE, |client| client.status().encoder.as_str() == encoder);
    client.until_armed_with(0);
    client.start(start("s2"));
    client.started();
    assert_eq!((client.status().encoder_failures, client.status().encoder_fallback), (0, false));
    client.stop("s2");

    let report = station.verify("s1");
    assert_eq!(report.inputs[0].frames, station.files("s1").iter().map(|file| numbers(file).len() as u64).sum::<u64>());
}

#[test]
fn an_encoder_that_hangs_is_reset_restarted_and_replaced() {
    walks_down("sim-hang", "nothing has come out");
}

#[test]
fn an_encoder_that_posts_errors_is_reset_restarted_and_replaced() {
    walks_down("sim-error", "on purpose");
}

#[test]
fn an_encoder_that_gives_garbage_is_reset_restarted_and_replaced() {
    walks_down("sim-garbage", "damaged");
}

/// The thread is somewhere in a driver and does not come back: no pipeline of this process can help.
#[test]
fn an_encoder_that_does_not_come_back_costs_the_process() {
    if !has_x264() {
        return;
    }
    let station = Box_::new("sync_interval_ms = 100", &input("sim-block"));
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.event("Leaving", |event| matches!(event, Event::Leaving { .. }).then_some(()));
    let told = client.status().clone();
    let mut capture = resume(&station, capture, &told, GapCause::EncoderFailed);
    let client = capture.client();
    assert_eq!(gap(client).cause, GapCause::EncoderFailed);
    // It blocks again, and its pipeline is left behind: no third process.
    alert(client, AlertCode::EncoderFallback);
    let safe = client.status().counts.safe;
    client.until_safe(safe + 30);
    client.stop("s1");
    assert!(capture.shut_down().success(), "what hangs does not keep the process from ending");
    station.verify("s1");
}

/// Nobody is there who would start it again: then it stays.
#[test]
fn without_a_recorder_the_process_stays() {
    if !has_x264() {
        return;
    }
    let station = Box_::new("sync_interval_ms = 100", &input("sim-error"));
    let mut capture = station.capture();
    capture.client().start(start("s1"));
    capture.client().started();
    capture.leave();
    let first = capture.child.id();
    // Twice the life of the encoder, and more: reset, then replaced.
    let until = std::time::Instant::now() + Duration::from_secs(8);
    while std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        assert!(capture.child.try_wait().unwrap().is_none(), "it has ended");
    }
    let mut client = Client::connect_within(&station.socket(), PATIENCE);
    assert_eq!(client.hello.as_ref().unwrap().pid, first);
    // Whoever comes later is told what holds.
    alert(&mut client, AlertCode::EncoderFallback);
    assert_eq!(client.status().session.as_deref(), Some("s1"));
    client.stop("s1");
    station.verify("s1");
}

#[test]
fn the_bit_rate_goes_down_and_comes_back() {
    if !has_x264() {
        return;
    }
    let noisy = "source = \"test\"\nwidth = 640\nheight = 360\nframerate = 30\naudio = false\nbitrate_kbps = 4000\nencoder = \"x264enc\"";
    let station = Box_::new("sync_interval_ms = 100", noisy);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    assert_eq!(client.status().bitrate_percent, 100);
    // Bytes of 60 pictures, the first of them some time after the change.
    let bytes = |client: &mut Client| {
        let settled = client.status().counts.safe + 45;
        client.until_safe(settled);
        let (from, frames) = (client.status().safe_bytes, client.status().counts.safe);
        client.until_safe(frames + 60);
        let status = client.status();
        (status.safe_bytes - from) / (status.counts.safe - frames)
    };
    let whole = bytes(client);
    client.send(&ToCapture::Bitrate { percent: 10 });
    client.until("the status", PATIENCE, |client| client.status().bitrate_percent == 10);
    let tenth = bytes(client);
    client.send(&ToCapture::Bitrate { percent: 200 });
    client.until("the status", PATIENCE, |client| client.status().bitrate_percent == 100);
    let again = bytes(client);
    println!("bytes per picture: {whole} at 100 %, {tenth} at 10 %, {again} at 100 % again");
    assert!(tenth < whole * 3 / 4 && again > tenth, "{whole}, {tenth}, {again}");
    let stopped = client.stop("s1");
    assert_eq!((stopped.counts.source, stopped.files), (stopped.counts.safe, 1), "without a cut");
    station.verify("s1");
}

/// At most two at a time, over all processes of a box, and below everything else.
#[test]
fn probes_run_two_at_a_time_and_last() {
    let runtime = tempfile::tempdir().unwrap();
    let script = runtime.path().join("program");
    // Says its niceness, waits for a word.
    let text = format!(
        "#!/bin/sh\ncut -d' ' -f19 /proc/$$/stat > {dir}/$$.begun\nwhile [ ! -e {dir}/go ]; do sleep 0.02; done\n",
        dir = runtime.path().display()
    );
    std::fs::write(&script, text).unwrap();
    Command::new("chmod").arg("755").arg(&script).status().unwrap();
    gstreamer::init().unwrap();
    let rows: Vec<_> = holdfast_capture::encoders::TABLE.iter().take(4).collect();
    let job = holdfast_capture::encoders::Job { width: 320, height: 180, framerate: 30, bitrate_kbps: 500 };
    let begun = || {
        let all = std::fs::read_dir(runtime.path()).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "begun")).count()
    };
    std::thread::scope(|scope| {
        for row in rows {
            let probe = holdfast_capture::probe::Probe::new(script.clone(), runtime.path());
            let probe = probe.with_deadline(Duration::from_secs(20));
            scope.spawn(move || probe.evidence(row, &job));
        }
        let until = std::time::Instant::now() + Duration::from_secs(15);
        while begun() < 2 && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Time for the others to begin, if nothing kept them from it.
        std::thread::sleep(Duration::from_millis(500));
        let at_once = begun();
        std::fs::write(runtime.path().join("go"), "").unwrap();
        assert_eq!(at_once, 2);
    });
    assert_eq!(begun(), 4);
}

#[test]
fn what_a_slow_encoder_cannot_keep_up_with_is_dropped_and_told() {
    if !has_x264() {
        return;
    }
    let station = Box_::new("sync_interval_ms = 100", &input("sim-slow"));
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let overload = |client: &Client| {
        let drops = &client.status().drops;
        drops.iter().find(|drop| drop.reason == link::DropReason::Overload).map_or(0, |drop| drop.frames)
    };
    // 30 pictures a second come, 10 are encoded: it falls behind by 3 s, and by no more from then on.
    client.until("pictures that are too old", PATIENCE, |client| overload(client) > 30);
    let status = client.status().clone();
    let behind_ms = (status.mono_ns - status.safe_until_mono_ns) / 1_000_000;
    println!("behind by {behind_ms} ms after {} dropped pictures", overload(client));
    assert!(behind_ms < 8_000, "{behind_ms} ms");
    // Behind the hole it goes on.
    client.until_safe(status.counts.safe + 20);
    let stopped = client.stop("s1");
    let drops: u64 = client.status().drops.iter().map(|drop| drop.frames).sum();
    assert_eq!(stopped.counts.source, stopped.counts.safe + drops, "every frame is safe or lost");
    // Those lost at the very end leave no hole.
    let lost = station.verify("s1").inputs[0].frames_lost;
    assert!(lost > 30 && lost <= drops, "{lost} of {drops}");
}
