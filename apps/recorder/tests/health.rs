//! What goes wrong with a capture is seen in time, told as an alert, and mended without anybody.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Box, DEADLINE, capture_program, kill, none, test_input};
use futures_util::{Stream, StreamExt as _};
use holdfast_dbus::{AlertInfo, AlertsProxy};
use holdfast_segment::verify::verify_session;
use rustix::process::{Pid, Signal, kill_process};

async fn alerts(holdfast: &Box) -> AlertsProxy<'static> {
    AlertsProxy::builder(&holdfast.client).cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
}

async fn active(proxy: &AlertsProxy<'_>) -> Vec<(String, String)> {
    let active = proxy.active().await.unwrap();
    // Of the input alone, and not that the machine which runs the tests is busy or denies a priority.
    let about = active.into_iter().filter(|alert| alert.source == "cam0" && alert.code != "priority-denied");
    about.map(|alert| (alert.code, alert.source)).collect()
}

/// What is raised and cleared from now on: `+` or `-`, the alert, and when it was heard of.
async fn news(proxy: &AlertsProxy<'static>) -> impl Stream<Item = (char, AlertInfo, Instant)> + use<> {
    let raised = proxy.receive_alert_raised().await.unwrap();
    let cleared = proxy.receive_alert_cleared().await.unwrap();
    futures_util::stream::select(
        raised.map(|signal| ('+', signal.args().unwrap().alert, Instant::now())).boxed(),
        cleared.map(|signal| ('-', signal.args().unwrap().alert, Instant::now())).boxed(),
    )
}

/// The next news of this kind and code; others are passed over.
async fn next(
    news: &mut (impl Stream<Item = (char, AlertInfo, Instant)> + Unpin),
    holdfast: &Box,
    kind: char,
    code: &str,
) -> (AlertInfo, Instant) {
    let wait = async {
        loop {
            let (sign, alert, at) = news.next().await.unwrap();
            if sign == kind && alert.code == code {
                return (alert, at);
            }
        }
    };
    let found = tokio::time::timeout(DEADLINE, wait).await;
    found.unwrap_or_else(|_| panic!("no {kind}{code}\n{}", holdfast.log()))
}

fn stop_process(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::STOP).unwrap();
}

#[tokio::test]
async fn a_stopped_capture_is_seen_told_and_replaced() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 40).await;
    let (input, proxy) = (holdfast.input("cam0").await, alerts(&holdfast).await);
    let mut news = std::boxed::Box::pin(news(&proxy).await);
    let pid = input.pid().await.unwrap();

    stop_process(pid);
    let stopped = Instant::now();
    let (silent, at) = next(&mut news, &holdfast, '+', "capture-silent").await;
    println!("silence was told after {:?}", at - stopped);
    assert_eq!((silent.source.as_str(), silent.level.as_str(), silent.active), ("cam0", "warning", true));
    assert!(active(&proxy).await.contains(&("capture-silent".into(), "cam0".into())));
    let (_, at) = next(&mut news, &holdfast, '+', "capture-died").await;
    println!("it was replaced after {:?}", at - stopped);
    holdfast
        .until("another capture that records", || async {
            input.pid().await.unwrap() != pid && input.state().await.unwrap() == "recording"
        })
        .await;
    println!("it recorded again after {:?}", stopped.elapsed());
    let active_now = active(&proxy).await;
    assert!(!active_now.iter().any(|(code, _)| code == "capture-silent"), "{active_now:?}");
    // Well for a stretch: nothing is wrong any more, and the history knows what was.
    let (died, _) = next(&mut news, &holdfast, '-', "capture-died").await;
    assert!(died.cleared > died.since && !died.active);
    assert_eq!(active(&proxy).await, []);
    let listed = proxy.list_alerts(none()).await.unwrap();
    assert!(listed.iter().any(|alert| alert.code == "capture-silent" && !alert.active), "{listed:?}");
    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.gaps, totals.incomplete.len()), (path.clone(), 1, 0));
    let dir = holdfast.session(&path).await.path().await.unwrap();
    let report = verify_session(Path::new(&dir)).unwrap();
    assert!(report.is_ok(), "{report}");
}

#[tokio::test]
async fn a_capture_that_was_stopped_before_the_recorder_came_is_replaced_too() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 40).await;
    let pid = holdfast.input("cam0").await.pid().await.unwrap();
    holdfast.kill_recorder();
    stop_process(pid);
    holdfast.start_recorder().await;
    let input = holdfast.input("cam0").await;
    holdfast
        .until("another capture that records", || async {
            let other = input.pid().await.unwrap();
            other != 0 && other != pid && input.state().await.unwrap() == "recording"
        })
        .await;
    assert_eq!(holdfast.recorder().await.current_session().await.unwrap(), path);
    assert!(!active(&alerts(&holdfast).await).await.iter().any(|(code, _)| code == "capture-silent"));
    holdfast.stop().await;
}

#[tokio::test]
async fn a_killed_capture_is_told_and_records_again_at_once() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 60).await;
    let (input, proxy) = (holdfast.input("cam0").await, alerts(&holdfast).await);
    let mut news = std::boxed::Box::pin(news(&proxy).await);
    // As often as the breaker would allow failures, and more: each life yields footage, so each is followed by another at once.
    for life in 1..=6_u32 {
        let (pid, safe) = (input.pid().await.unwrap(), input.safe_frames().await.unwrap());
        holdfast.until_safe_frames("cam0", safe + 60).await;
        kill(pid);
        let killed = Instant::now();
        if life == 1 {
            let (died, at) = next(&mut news, &holdfast, '+', "capture-died").await;
            println!("death was told after {:?}", at - killed);
            assert!(died.text.contains(&pid.to_string()), "{}", died.text);
        }
        holdfast
            .until("it to record again", || async {
                input.pid().await.unwrap() != pid && input.state().await.unwrap() == "recording"
            })
            .await;
        println!("recording again after {:?}", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(4), "that was no start at once\n{}", holdfast.log());
    }
    // That it keeps failing is told all the same, and the deaths are counted, not listed.
    let now = proxy.active().await.unwrap();
    let count = |code: &str| now.iter().find(|alert| alert.code == code).map(|alert| alert.count);
    assert_eq!((count("capture-died"), count("input-failing")), (Some(6), Some(1)), "{now:?}");
    next(&mut news, &holdfast, '-', "input-failing").await;
    holdfast.stop().await;
}

/// A capture program that fails while a certain file is there; its probes don't.
fn fragile(holdfast: &Box) -> std::path::PathBuf {
    let (script, broken) = (holdfast.dir.path().join("capture.sh"), holdfast.dir.path().join("broken"));
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' probe-input '*) ;; *) [ -e {} ] && echo tried >> {} && exit 1;; esac\nexec {} \"$@\"\n",
        broken.display(),
        holdfast.dir.path().join("attempts").display(),
        capture_program().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    holdfast.edit_config(&capture_program().display().to_string(), &script.display().to_string());
    broken
}

#[tokio::test]
async fn what_keeps_failing_is_tried_slowly_and_comes_back_by_itself() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", true)).await;
    let broken = fragile(&holdfast);
    holdfast.start_recorder().await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    let (input, proxy) = (holdfast.input("cam0").await, alerts(&holdfast).await);
    let mut news = std::boxed::Box::pin(news(&proxy).await);
    fs::write(&broken, "").unwrap();
    kill(input.pid().await.unwrap());
    let killed = Instant::now();
    let (failing, at) = next(&mut news, &holdfast, '+', "input-failing").await;
    println!("the breaker opened after {:?}", at - killed);
    assert_eq!((failing.level.as_str(), failing.source.as_str()), ("critical", "cam0"));
    // One attempt at once, three after a cooldown: no hammering.
    let attempts = fs::read_to_string(holdfast.dir.path().join("attempts")).unwrap();
    assert_eq!(attempts.lines().count(), 4, "{}", holdfast.log());
    assert!(at - killed >= Duration::from_secs(15));
    assert_eq!(holdfast.recorder().await.current_session().await.unwrap(), path);

    // Its cause is gone: nobody has to do anything.
    fs::remove_file(&broken).unwrap();
    let safe = input.safe_frames().await.unwrap();
    holdfast.until_safe_frames("cam0", safe + 30).await;
    println!("recording again {:?} after the first death", killed.elapsed());
    next(&mut news, &holdfast, '-', "input-failing").await;
    assert_eq!(active(&proxy).await, []);
    let totals = holdfast.stop().await;
    assert_eq!((totals.session, totals.gaps), (path, 1));
}

#[tokio::test]
async fn what_is_missing_at_the_end_of_a_recording_is_a_gap() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", true)).await;
    let broken = fragile(&holdfast);
    holdfast.start_recorder().await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    fs::write(&broken, "").unwrap();
    let killed = Instant::now();
    kill(holdfast.input("cam0").await.pid().await.unwrap());
    let attempts = holdfast.dir.path().join("attempts");
    holdfast.until("an attempt that fails", || async { attempts.exists() }).await;
    let totals = holdfast.stop().await;
    let without = killed.elapsed();
    // Nobody came after the one that died, who could have told of it in a file.
    assert_eq!(totals.gaps, 1, "{}", holdfast.log());
    let gaps = holdfast.session(&path).await.gaps().await.unwrap();
    assert_eq!((gaps[0].input.as_str(), gaps[0].cause.as_str()), ("cam0", "capture-died"));
    let told = Duration::from_micros(gaps[0].duration_usec);
    assert!(told > Duration::ZERO && told < without + Duration::from_secs(2), "{told:?} of {without:?}");
}

#[tokio::test]
async fn a_new_recording_does_not_wait_for_what_failed_before() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    let broken = fragile(&holdfast);
    holdfast.start_recorder().await;
    fs::write(&broken, "").unwrap();
    let options = holdfast_dbus::StartOptions::default();
    holdfast.recorder().await.start(options).await.unwrap();
    let attempts = holdfast.dir.path().join("attempts");
    let tried = |times: usize| fs::read_to_string(&attempts).unwrap_or_default().lines().count() >= times;
    holdfast.until("two attempts", || async { tried(2) }).await;
    holdfast.stop().await;
    fs::remove_file(&broken).unwrap();
    let began = Instant::now();
    holdfast.start("next").await;
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for the cooldown of the last one");
    holdfast.stop().await;
}

#[tokio::test]
async fn a_directory_that_can_not_be_used_is_tried_until_it_can() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    let input = holdfast.input("cam0").await;
    let dir = Path::new(&holdfast.session(&path).await.path().await.unwrap()).join("cam0");
    let aside = dir.with_file_name("aside");
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "no directory").unwrap();
    kill(input.pid().await.unwrap());
    holdfast
        .until("a refusal", || async {
            let (error, state) = (input.source_error().await.unwrap(), input.state().await.unwrap());
            !error.is_empty() && state != "recording"
        })
        .await;
    // As long as it holds it is told, although the source delivers: over three statuses of the capture.
    let told = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < told {
        assert_ne!(input.source_error().await.unwrap(), "", "{}", holdfast.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    let safe = input.safe_frames().await.unwrap();
    holdfast.until_safe_frames("cam0", safe + 30).await;
    assert_eq!(input.source_error().await.unwrap(), "");
    let totals = holdfast.stop().await;
    assert_eq!((totals.session, totals.incomplete.len()), (path, 0));
}

#[tokio::test]
async fn memory_over_its_limit_is_told_and_recording_goes_on() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", true)).await;
    holdfast.edit_config("[recorder]", "[protection]\nmemory_alert_mib = 16\n[recorder]");
    holdfast.start_recorder().await;
    let proxy = alerts(&holdfast).await;
    let mut news = std::boxed::Box::pin(news(&proxy).await);
    holdfast.start("").await;
    let input = holdfast.input("cam0").await;
    let pid = input.pid().await.unwrap();
    let (alert, _) = next(&mut news, &holdfast, '+', "memory-high").await;
    assert!(alert.text.contains("more than protection.memory_alert_mib = 16"), "{}", alert.text);
    let safe = input.safe_frames().await.unwrap();
    holdfast.until_safe_frames("cam0", safe + 30).await;
    assert_eq!((input.pid().await.unwrap(), input.restarts().await.unwrap()), (pid, 0));
    let totals = holdfast.stop().await;
    assert_eq!((totals.gaps, totals.lost_frames), (0, 0));
    // Gone with the process.
    holdfast.recorder().await.disarm(&[], none()).await.unwrap();
    next(&mut news, &holdfast, '-', "memory-high").await;
}
