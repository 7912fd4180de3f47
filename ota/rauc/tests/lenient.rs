//! A service that says what no RAUC says yet, or nothing where RAUC would: played by the test, on a bus of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_rauc::{Access, BootStatus, Format, Kind, Operation, Options, Rauc, SlotState, SlotStatus};
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{OwnedValue, Value};

struct Bus(Child, String);

impl Drop for Bus {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// How the played RAUC ends an installation: without `Completed`.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Silently,
    SilentlyWith(&'static str),
    Never,
}

struct Strange {
    end: End,
    operation: &'static str,
    last_error: &'static str,
}

fn value<'v>(value: impl Into<Value<'v>>) -> OwnedValue {
    value.into().try_to_owned().unwrap()
}

#[zbus::interface(name = "de.pengutronix.rauc.Installer")]
impl Strange {
    async fn install_bundle(
        &mut self,
        _source: &str,
        args: HashMap<String, OwnedValue>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> zbus::fdo::Result<()> {
        assert!(args.is_empty(), "{args:?}");
        match self.end {
            End::Never => return Ok(()),
            End::Silently => {}
            End::SilentlyWith(error) => self.last_error = error,
        }
        self.operation = "idle";
        self.operation_changed(&emitter).await.map_err(|error| zbus::fdo::Error::Failed(error.to_string()))
    }

    fn inspect_bundle(&self, _source: &str, _args: HashMap<String, OwnedValue>) -> HashMap<String, OwnedValue> {
        let image = HashMap::from([
            ("slot-class", Value::from("rootfs")),
            ("size", Value::from("4096")),
            ("adaptive", Value::from(vec!["block-hash-index"])),
            ("shape", Value::from("round")),
        ]);
        let update = HashMap::from([("compatible", Value::from("box")), ("colour", Value::from(7_u32))]);
        let bundle = HashMap::from([("format", Value::from("origami"))]);
        HashMap::from([
            // RAUC wraps these twice.
            ("update".to_owned(), value(Value::Value(Box::new(Value::from(update))))),
            ("bundle".to_owned(), value(bundle)),
            ("images".to_owned(), value(Value::Value(Box::new(Value::from(vec![image]))))),
            ("manifest-hash".to_owned(), value("ab")),
            ("weather".to_owned(), value(vec![1_u8, 2])),
        ])
    }

    fn get_slot_status(&self) -> Vec<(String, HashMap<String, OwnedValue>)> {
        let odd = HashMap::from([
            ("state".to_owned(), value("hovering")),
            ("boot-status".to_owned(), value("dubious")),
            ("status".to_owned(), value("update")),
            ("size".to_owned(), value(4096_i32)),
            ("installed.count".to_owned(), value("many")),
            ("installed.timestamp".to_owned(), value("2026-01-01T00:00:00Z")),
            ("mood".to_owned(), value(true)),
        ]);
        vec![("z.0".to_owned(), HashMap::new()), ("a.0".to_owned(), odd)]
    }

    fn get_primary(&self) -> zbus::fdo::Result<String> {
        Err(zbus::fdo::Error::Failed("no".into()))
    }

    #[zbus(property)]
    fn operation(&self) -> &str {
        self.operation
    }

    #[zbus(property)]
    fn last_error(&self) -> &str {
        self.last_error
    }

    #[zbus(property)]
    fn progress(&self) -> u64 {
        250
    }

    #[zbus(property)]
    fn compatible(&self) -> u32 {
        7
    }

    #[zbus(property)]
    fn poll_state(&self) -> &str {
        "new in 1.16"
    }
}

/// `None`, aloud, where there is no bus to be had.
async fn strange(end: End, operation: &'static str) -> Option<(Bus, zbus::Connection, Rauc)> {
    let mut command = Command::new("dbus-daemon");
    command
        .args(["--session", "--nofork", "--nopidfile", "--print-address"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        holdfast_aloud::skip("dbus-daemon is not installed");
        return None;
    };
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let bus = Bus(child, address.trim().to_owned());
    let builder = || zbus::connection::Builder::address(bus.1.as_str()).unwrap();
    let service = builder().serve_at("/", Strange { end, operation, last_error: "" }).unwrap();
    let service = service.name("de.pengutronix.rauc").unwrap().build().await.unwrap();
    let rauc = Rauc::connect(&builder().build().await.unwrap()).await.unwrap();
    Some((bus, service, rauc))
}

#[tokio::test]
async fn what_is_not_known_is_kept_as_text() {
    let Some((_bus, _service, rauc)) = strange(End::Never, "polling").await else { return };
    let status = rauc.status().await.unwrap();
    assert_eq!((status.operation, status.compatible.as_str()), (Operation::Other("polling".into()), "7"));
    assert_eq!((status.progress.message.as_str(), status.other["PollState"].as_str()), ("250", "new in 1.16"));
    let [odd, bare] = status.slots.as_slice() else { panic!("{:?}", status.slots) };
    assert_eq!((odd.name.as_str(), bare.name.as_str(), &bare.state), ("a.0", "z.0", &SlotState::Unknown));
    assert_eq!(odd.state, SlotState::Other("hovering".into()));
    assert_eq!(odd.boot_status, Some(BootStatus::Other("dubious".into())));
    assert_eq!(odd.status, Some(SlotStatus::Other("update".into())));
    assert_eq!((odd.size_bytes, odd.installed.as_ref().map(|installed| installed.times)), (Some(4096), Some(0)));
    assert_eq!((odd.other["mood"].as_str(), odd.other["installed.count"].as_str()), ("true", "many"));
    let bundle = rauc.inspect("/x", &Access::default()).await.unwrap();
    assert_eq!((bundle.compatible.as_str(), bundle.format), ("box", Some(Format::Other("origami".into()))));
    assert_eq!((bundle.manifest_hash.as_deref(), bundle.other["colour"].as_str()), (Some("ab"), "7"));
    assert!(bundle.other.contains_key("weather"));
    let [image] = bundle.images.as_slice() else { panic!("{:?}", bundle.images) };
    assert_eq!(
        (image.class.as_str(), image.size_bytes, image.other["shape"].as_str()),
        ("rootfs", Some(4096), "round")
    );
    assert_eq!(image.adaptive, ["block-hash-index"]);
    // Something that is not idle may be anything.
    let busy = rauc.install("/x", &Options::default()).await.unwrap_err();
    assert_eq!(busy.kind(), Kind::Busy, "{busy}");
}

async fn end(end: End) -> Option<Result<(), holdfast_rauc::Error>> {
    let (_bus, _service, rauc) = strange(end, "idle").await?;
    let installing = rauc.install("/x", &Options::default()).await.unwrap();
    Some(tokio::time::timeout(Duration::from_secs(60), installing.finished()).await.expect("the end was missed"))
}

#[tokio::test]
async fn an_end_that_is_not_told_is_noticed() {
    let Some(ended) = end(End::Silently).await else { return };
    ended.unwrap();
    let error = end(End::SilentlyWith("Installation error: No space left on device")).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    // Not even a signal that it is idle: it is asked now and then.
    end(End::Never).await.unwrap().unwrap();
}
