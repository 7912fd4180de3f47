//! Footage checked by decoding, over the real bus, by the real capture program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Box, code, test_input};
use holdfast_dbus::{CheckOptions, ErrorCode, InputProxy, input_path};

fn within() -> CheckOptions {
    CheckOptions { within_ms: Some(60_000), numbered: Some(true), ..CheckOptions::default() }
}

#[tokio::test]
async fn footage_is_decoded_while_it_is_recorded_and_afterwards() {
    let holdfast = Box::new(&(test_input("cam0", false) + &test_input("cam-1", false))).await;
    let path = holdfast.start("checked").await;
    for input in ["cam0", "cam-1"] {
        holdfast.until_safe_frames(input, 40).await;
    }
    let session = holdfast.session(&path).await;
    let running = session.check(CheckOptions { last_seconds: Some(60), ..within() }).await.unwrap();
    assert!(running.complete && running.failure.is_empty() && running.pictures >= 80, "{running:?}");
    assert_eq!((running.files.len(), running.frames), (2, running.pictures));
    assert!(running.files.iter().all(|file| file.path.ends_with(".part") && file.extent == "part"), "{running:?}");
    let input = InputProxy::builder(&holdfast.client).path(input_path("cam0")).unwrap().build().await.unwrap();
    assert_eq!((input.restarts().await.unwrap(), input.state().await.unwrap().as_str()), (0, "recording"));

    let totals = holdfast.stop().await;
    assert_eq!(totals.lost_frames, 0, "a check cost the recording frames");
    let info = session.check(within()).await.unwrap();
    assert!(info.complete && info.failure.is_empty(), "{info:?}");
    assert_eq!((info.frames, info.pictures), (totals.safe_frames, totals.safe_frames), "{info:?}");
    for file in &info.files {
        assert_eq!((file.extent.as_str(), file.fault.as_str(), file.numbered), ("whole", "", file.frames), "{file:?}");
        assert!(file.keyframes > 0 && !file.decoders.is_empty() && file.undecoded.is_empty(), "{file:?}");
    }

    let zero = CheckOptions { last_seconds: Some(0), ..CheckOptions::default() };
    assert_eq!(code(session.check(zero).await), ErrorCode::InvalidArgument.number());
    let endless = CheckOptions { within_ms: Some(600_001), ..CheckOptions::default() };
    assert_eq!(code(session.check(endless).await), ErrorCode::InvalidArgument.number());
}

#[tokio::test]
async fn damage_that_no_digest_knows_of_is_found() {
    let input = test_input("cam0", false).replace("x264enc", "sim-smear");
    assert!(input.contains("sim-smear"), "{input}");
    let holdfast = Box::new(&input).await;
    let path = holdfast.start("smeared").await;
    holdfast.until_safe_frames("cam0", 120).await;
    holdfast.stop().await;
    let info = holdfast.session(&path).await.check(within()).await.unwrap();
    assert!(info.complete && info.files.iter().any(|file| file.fault == "undecodable" && file.faults > 0), "{info:?}");
}
