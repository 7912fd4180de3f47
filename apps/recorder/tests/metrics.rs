//! The figures as they are told: against docs/metrics.md, against what D-Bus says, and to readers that never read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Box, DEADLINE, kill, test_input};
use holdfast_dbus::{BUS_NAME, INTERFACE_XML, LeaseOptions, LeasesProxy, input_path};
use zbus::zvariant::{StructureBuilder, Value};
use zbus_xml::Node;

fn read(holdfast: &Box) -> String {
    let mut stream = UnixStream::connect(holdfast.dir.path().join("run/metrics.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
}

/// The sum of all samples of this name whose labels hold these words.
fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Name, type and labels as the text has them. Labels of samples only: a family without any has none.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let is_sample = |line: &&str| {
            let of = |suffix: &&str| {
                let rest = line.strip_prefix(&format!("{name}{suffix}"));
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            suffixes.iter().any(of)
        };
        let mut labels = BTreeSet::new();
        for sample in text.lines().filter(is_sample) {
            let inside =
                sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
            let names =
                inside.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(label, _)| label.to_owned());
            labels.extend(names.filter(|label| label != "le"));
        }
        families.insert(name.to_owned(), (kind.to_owned(), labels));
    }
    families
}

#[tokio::test]
async fn the_page_is_what_is_told_and_the_figures_are_those_of_the_bus() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", true)).await;
    let file = holdfast.dir.path().join("holdfast.prom");
    holdfast.set_environment("HOLDFAST_METRICS_FILE", file.to_str().unwrap());
    holdfast.set_environment("HOLDFAST_METRICS_INTERVAL_SECONDS", "1");
    holdfast.start_recorder().await;
    let leases = LeasesProxy::new(&holdfast.client).await.unwrap();
    leases.request_lease("download", "metrics", LeaseOptions::default()).await.unwrap();
    let patience = LeaseOptions { queue: Some(false), ..LeaseOptions::default() };
    leases.request_lease("download", "metrics", patience).await.unwrap_err();

    holdfast.start("metrics").await;
    holdfast.until_safe_frames("cam0", 20).await;
    let input = holdfast.input("cam0").await;
    let pid = input.pid().await.unwrap();
    kill(pid);
    holdfast.until("a gap", || async { holdfast.recorder().await.gap_count().await.unwrap() == 1 }).await;
    holdfast.until_safe_frames("cam0", 60).await;
    let while_recording = read(&holdfast);
    assert_eq!(sum(&while_recording, "holdfast_recorder_state", &["state=\"recording\""]), 1.0, "{while_recording}");
    assert!(sum(&while_recording, "holdfast_session_duration_seconds", &[]) > 0.0);
    let totals = holdfast.stop().await;
    holdfast
        .until("the end to be told", || async { sum(&read(&holdfast), "holdfast_sessions_stopped_total", &[]) == 1.0 })
        .await;

    let text = read(&holdfast);
    let exactly = |name: &str, labels: &[&str]| {
        let sum = sum(&text, name, labels);
        assert!(sum.fract() == 0.0 && sum >= 0.0, "{name}: {sum}");
        format!("{sum}").parse::<u64>().unwrap()
    };
    assert_eq!(exactly("holdfast_input_frames_total", &["stage=\"safe\""]), totals.safe_frames, "{text}");
    assert_eq!(exactly("holdfast_input_safe_bytes_total", &["cam0"]), totals.safe_bytes);
    assert_eq!(exactly("holdfast_input_dropped_frames_total", &[]), totals.lost_frames);
    assert_eq!(exactly("holdfast_files_closed_total", &["cam0"]), totals.files);
    assert_eq!(exactly("holdfast_gaps_total", &["cause=\"capture-died\""]), 1);
    assert_eq!(exactly("holdfast_capture_restarts_total", &["cam0"]), 1);
    assert_eq!(exactly("holdfast_sessions_started_total", &["resumed=\"false\""]), 1);
    assert_eq!(exactly("holdfast_leases", &["kind=\"download\"", "state=\"granted\""]), 1);
    assert_eq!(exactly("holdfast_leases_granted_total", &["download"]), 1);
    assert_eq!(exactly("holdfast_dbus_calls_refused_total", &["RequestLease", "-1017"]), 1);
    assert_eq!(exactly("holdfast_dbus_call_duration_seconds_count", &["method=\"Start\""]), 1);
    assert_eq!(exactly("holdfast_recorder_state", &[]), 1);
    let stages = input.counts().await.unwrap();
    for (stage, frames) in &stages {
        assert_eq!(
            exactly("holdfast_input_frames_total", &[&format!("stage=\"{stage}\"")]),
            *frames,
            "{stage}: {text}"
        );
    }
    assert!(stages.len() == 4 && stages["source"] >= stages["safe"], "{stages:?}");
    let gaps = holdfast.session(&totals.session).await.gaps().await.unwrap();
    let gap_usec: u64 = gaps.iter().map(|gap| gap.duration_usec).sum();
    let told = sum(&text, "holdfast_gap_duration_seconds_total", &["cause=\"capture-died\""]);
    assert!(gap_usec > 0 && (told * 1e6 - gap_usec as f64).abs() < 1e3, "{told} s, {gaps:?}");
    let level = holdfast.recorder().await.storage_level().await.unwrap();
    assert_eq!(exactly("holdfast_storage_level", &[&format!("level=\"{level}\"")]), 1);
    assert_eq!(exactly("holdfast_storage_level", &[]), 1);
    assert_eq!(exactly("holdfast_alerts_active", &[]), exactly("holdfast_alert", &[]), "{text}");
    assert!(exactly("holdfast_alert", &["code=\"capture-died\"", "source=\"cam0\"", "level=\"warning\""]) <= 1);
    let told = sum(&text, "holdfast_storage_size_bytes", &[]);
    assert!(told > 1e6 && sum(&text, "holdfast_process_resident_memory_bytes", &[]) > 1e6, "{text}");

    // The file has the same, and nobody ever finds half of one.
    let in_file = || std::fs::read_to_string(&file).unwrap_or_default();
    holdfast
        .until("the file to follow", || async { sum(&in_file(), "holdfast_sessions_stopped_total", &[]) == 1.0 })
        .await;
    assert!(in_file().ends_with("# EOF\n"));

    // The page names what is told, and nothing else.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
    let mut told = families(&text);
    for line in page.lines().filter(|line| line.starts_with("| `holdfast_")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels: BTreeSet<String> =
            cells[2].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        let Some((kind, found)) = told.remove(&cells[0]) else {
            // What appears with its first event: nothing was slow, we hope.
            assert_eq!(cells[0], "holdfast_dbus_calls_slow", "docs/metrics.md names what is not told: {line}");
            continue;
        };
        assert_eq!(kind, cells[1], "{line}");
        // A family without samples shows no labels.
        assert!(found == labels || found.is_empty() && !labels.is_empty(), "{line}: {found:?}");
    }
    assert!(told.is_empty(), "docs/metrics.md does not name: {:?}", told.keys());
}

/// Every method of every interface, and whatever is added to the contract: its calls are measured.
#[tokio::test]
async fn every_method_of_the_contract_is_measured() {
    let holdfast = Box::new(&test_input("cam0", false)).await;
    let session = holdfast.start("measured").await;
    holdfast.stop().await;
    let leases = LeasesProxy::new(&holdfast.client).await.unwrap();
    let (lease, _) = leases.request_lease("download", "measured", LeaseOptions::default()).await.unwrap();
    let contract = Node::from_reader(INTERFACE_XML.as_bytes()).unwrap();
    let mut methods = BTreeSet::new();
    for interface in contract.interfaces() {
        let short = interface.name().rsplit('.').next().unwrap().replace("Recorder1", "Recorder");
        let path = match short.as_str() {
            "Session" => session.to_string(),
            "Lease" => lease.to_string(),
            "Input" => input_path("cam0").to_string(),
            _ => holdfast_dbus::ROOT_PATH.to_owned(),
        };
        for method in interface.methods() {
            // An option that nobody knows: nothing is done, but the call is a call.
            let mut body = StructureBuilder::new();
            for arg in method.args().iter().filter(|arg| format!("{:?}", arg.direction()).contains("In")) {
                body = match arg.ty().to_string().as_str() {
                    "a{sv}" => body.add_field(HashMap::from([("no-such-option", Value::from(1_u32))])),
                    "as" => body.add_field(Vec::<String>::new()),
                    "s" => body.add_field("x"),
                    "a(sss)" => body.add_field(Vec::<(String, String, String)>::new()),
                    other => panic!("{}: teach this test the type {other}", method.name()),
                };
            }
            let called = holdfast
                .client
                .call_method(
                    Some(BUS_NAME),
                    path.as_str(),
                    Some(interface.name()),
                    method.name(),
                    &body.build().unwrap(),
                )
                .await;
            let error = called.expect_err("an option that nobody knows was taken");
            let ours = holdfast_dbus::Error::from_zbus(&error).unwrap_or_else(|| panic!("{}: {error}", method.name()));
            assert!(ours.code.number() > -1099, "{}: {error}", method.name());
            methods.insert((short.clone(), method.name().to_string()));
        }
    }
    let text = read(&holdfast);
    for (interface, method) in methods {
        let labels = [format!("interface=\"{interface}\""), format!("method=\"{method}\"")];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let count = sum(&text, "holdfast_dbus_call_duration_seconds_count", &labels);
        assert!(count >= 1.0, "{interface}.{method} is not measured: carry it out by bus/call.rs");
    }
}

#[tokio::test]
async fn readers_that_never_read_keep_nobody_from_reading() {
    let holdfast = Box::new(&test_input("cam0", false)).await;
    let socket = holdfast.dir.path().join("run/metrics.sock");
    let idle: Vec<_> = (0..100).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    assert!(idle.len() > 16);
    let began = Instant::now();
    assert!(sum(&read(&holdfast), "holdfast_recorder_state", &[]) == 1.0);
    println!("read beside {} that do not, in {:?}", idle.len(), began.elapsed());
    // Nor do they keep the recorder from its work, nor their places.
    holdfast.start("beside").await;
    holdfast.stop().await;
    let open = || sum(&read(&holdfast), "holdfast_process_open_fds", &[]);
    holdfast.until("their connections are closed", || async { open() < 60.0 }).await;
    assert!(began.elapsed() < DEADLINE + Duration::from_secs(30));
}
