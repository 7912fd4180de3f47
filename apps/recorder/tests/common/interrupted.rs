//! Sessions that are interrupted, and what is said of them afterwards.

use std::path::{Path, PathBuf};

use holdfast_dbus::RecoveryProxy;
use holdfast_segment::GapCause;
use holdfast_segment::verify::verify_session;

use super::{Box, kill, test_input};

pub async fn recovery(holdfast: &Box) -> RecoveryProxy<'static> {
    RecoveryProxy::builder(&holdfast.client).cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
}

/// Names of the alerts that hold, with what they are about.
pub async fn alerts(holdfast: &Box) -> Vec<(String, String, String)> {
    let proxy = zbus::Proxy::new(
        &holdfast.client,
        holdfast_dbus::BUS_NAME,
        holdfast_dbus::ROOT_PATH,
        "org.holdfast.Recorder1.Alerts",
    );
    let none: std::collections::HashMap<&str, zbus::zvariant::Value<'_>> = std::collections::HashMap::new();
    let list: Vec<holdfast_dbus::AlertInfo> = proxy.await.unwrap().call("ListAlerts", &(none,)).await.unwrap();
    list.into_iter().filter(|alert| alert.active).map(|alert| (alert.code, alert.source, alert.text)).collect()
}

pub fn holds(alerts: &[(String, String, String)], code: &str) -> bool {
    alerts.iter().any(|(name, ..)| name == code)
}

/// Everything dies in the same instant, as at a power cut: the recorder first, so that nothing is put down in order.
pub async fn everything_dies(holdfast: &mut Box, inputs: &[&str]) {
    let mut pids = Vec::new();
    for input in inputs {
        pids.push(holdfast.input(input).await.pid().await.unwrap());
    }
    holdfast.kill_recorder();
    pids.into_iter().filter(|pid| *pid > 0).for_each(kill);
    // In another boot the recorder is the child of what was killed, and dies a moment later: the next one would meet its locks.
    holdfast.until("all of them to be gone", || async { !holdfast.runs() }).await;
}

/// Why, where and how long a session has gaps, as its files tell it; they must be whole.
pub fn causes(dir: &Path) -> Vec<(String, GapCause, u64)> {
    let report = verify_session(dir).unwrap();
    assert!(report.is_ok(), "{report}");
    let gaps = |input: &holdfast_segment::verify::InputReport| {
        let name = input.input.clone();
        let gaps = input.files.iter().flat_map(|file| file.gaps.clone()).collect::<Vec<_>>();
        gaps.into_iter().map(move |gap| (name.clone(), gap.cause, gap.duration_ns)).collect::<Vec<_>>()
    };
    report.inputs.iter().flat_map(gaps).collect()
}

pub fn two_inputs() -> String {
    test_input("cam0", true) + &test_input("cam1", true)
}

pub fn session_dir(holdfast: &Box, id: &str) -> PathBuf {
    holdfast.root().join(format!("{}-{}-{}", &id[..4], &id[4..6], &id[6..8])).join(id)
}
