//! Alerts that other programs report, from real bus clients.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Box, code, none, test_input};
use holdfast_dbus::{AlertInfo, AlertsProxy, Reported};
use zbus::Connection;
use zbus::proxy::CacheProperties;

async fn alerts(client: &Connection) -> AlertsProxy<'static> {
    AlertsProxy::builder(client).cache_properties(CacheProperties::No).build().await.unwrap()
}

fn dead(source: &str, text: &str) -> Reported {
    Reported { code: "panel-device".into(), source: source.into(), text: text.into() }
}

/// Those of panels; the box may have others.
async fn active(holdfast: &Box) -> Vec<AlertInfo> {
    let active = alerts(&holdfast.client).await.active().await.unwrap();
    active.into_iter().filter(|alert| alert.code.starts_with("panel-")).collect()
}

#[tokio::test]
async fn what_a_program_reports_holds_until_it_says_otherwise_or_is_gone() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    holdfast.start_recorder().await;
    let panel = holdfast.bus.connect().await;
    let reporter = alerts(&panel).await;
    let both = [dead("panel/front", "no answer"), dead("panel/side", "no such file")];
    reporter.report_alerts(&both, none()).await.unwrap();
    let shown = active(&holdfast).await;
    let told: Vec<_> = shown.iter().map(|alert| (alert.source.as_str(), alert.text.as_str())).collect();
    assert_eq!(told, [("panel/front", "no answer"), ("panel/side", "no such file")]);
    assert_eq!((shown[0].level.as_str(), shown[0].active), ("warning", true));
    assert!(shown[0].remedy.contains("panel.toml"), "{shown:?}");

    reporter.report_alerts(&both[1..], none()).await.unwrap();
    assert_eq!(active(&holdfast).await.len(), 1);
    // A panel that is killed can't take anything back.
    panel.close().await.unwrap();
    holdfast
        .until("the alert of a program that is gone to be cleared", || async { active(&holdfast).await.is_empty() })
        .await;
}

#[tokio::test]
async fn only_what_makes_sense_is_taken() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    holdfast.start_recorder().await;
    let reporter = alerts(&holdfast.client).await;
    let good = dead("panel/front", "no answer");
    let bad = [
        vec![Reported { code: "capture-died".into(), ..good.clone() }],
        vec![Reported { code: "no-such-code".into(), ..good.clone() }],
        vec![dead("", "no answer")],
        vec![dead(&"x".repeat(65), "no answer")],
        vec![dead("panel/front", &"x".repeat(501))],
        vec![dead("panel/front", "two\nlines")],
        vec![good.clone(); 17],
        // One bad apple: nothing is taken.
        vec![good, dead("", "no answer")],
    ];
    for reported in bad {
        assert_eq!(code(reporter.report_alerts(&reported, none()).await), -1001, "{reported:?}");
    }
    assert_eq!(active(&holdfast).await, []);
}
