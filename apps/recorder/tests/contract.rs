//! The running service against `dbus/org.holdfast.Recorder1.xml`, both ways.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{Box, test_input};
use holdfast_dbus::{INTERFACE_XML, LeaseOptions, LeasesProxy, ROOT_PATH, input_path};
use zbus::fdo::{IntrospectableProxy, PropertiesProxy};
use zbus_xml::{Interface, Node};

/// Everything an interface promises, one line each.
fn promises(interface: &Interface<'_>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let args = |args: &[zbus_xml::Arg]| {
        let args = args.iter().map(|arg| {
            let direction = arg.direction().map_or(String::new(), |direction| format!("{direction:?} "));
            format!("{direction}{}: {}", arg.name().unwrap_or("?"), **arg.ty())
        });
        args.collect::<Vec<_>>().join(", ")
    };
    for method in interface.methods() {
        lines.insert(format!("method {}({})", method.name(), args(method.args())));
    }
    for signal in interface.signals() {
        // A signal's arguments have no direction, whether the XML says "out" or nothing.
        let args = args(signal.args()).replace("Out ", "");
        lines.insert(format!("signal {}({args})", signal.name()));
    }
    for property in interface.properties() {
        let emits = property.annotations().iter().find(|annotation| annotation.name().ends_with("EmitsChangedSignal"));
        let emits = emits.map_or("true", |annotation| annotation.value());
        lines.insert(format!(
            "property {}: {} {:?} emits={emits}",
            property.name(),
            **property.ty(),
            property.access()
        ));
    }
    lines
}

async fn live(client: &zbus::Connection, path: &str) -> String {
    let proxy = IntrospectableProxy::builder(client)
        .destination(holdfast_dbus::BUS_NAME)
        .unwrap()
        .path(path)
        .unwrap()
        .build()
        .await
        .unwrap();
    proxy.introspect().await.unwrap()
}

#[tokio::test]
async fn the_service_keeps_its_contract() {
    let holdfast = Box::new(&test_input("cam0", false)).await;
    let session = holdfast.start("contract").await;
    holdfast.stop().await;
    let leases = LeasesProxy::new(&holdfast.client).await.unwrap();
    let (lease, _) = leases.request_lease("download", "contract", LeaseOptions::default()).await.unwrap();

    let contract = Node::from_reader(INTERFACE_XML.as_bytes()).unwrap();
    let objects = [
        ("org.holdfast.Recorder1", ROOT_PATH.to_owned()),
        ("org.holdfast.Recorder1.Alerts", ROOT_PATH.to_owned()),
        ("org.holdfast.Recorder1.Leases", ROOT_PATH.to_owned()),
        ("org.holdfast.Recorder1.Lease", lease.to_string()),
        ("org.holdfast.Recorder1.Storage", ROOT_PATH.to_owned()),
        ("org.holdfast.Recorder1.Pressure", ROOT_PATH.to_owned()),
        ("org.holdfast.Recorder1.Recovery", ROOT_PATH.to_owned()),
        ("org.holdfast.Recorder1.Input", input_path("cam0").to_string()),
        ("org.holdfast.Recorder1.Session", session.to_string()),
    ];
    assert_eq!(contract.interfaces().len(), objects.len(), "an interface that no object here has");
    for (name, path) in objects {
        let live = live(&holdfast.client, &path).await;
        let live = Node::from_reader(live.as_bytes()).unwrap();
        let of = |node: &Node<'_>| {
            let found = node.interfaces().iter().find(|interface| interface.name() == name).map(promises);
            found.unwrap_or_else(|| panic!("{path} has no {name}"))
        };
        let (promised, kept) = (of(&contract), of(&live));
        let missing: Vec<_> = promised.difference(&kept).collect();
        let extra: Vec<_> = kept.difference(&promised).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{name}:\n promised, not kept: {missing:#?}\n kept, not promised: {extra:#?}"
        );

        // What introspection says is there can be read.
        let properties = PropertiesProxy::builder(&holdfast.client)
            .destination(holdfast_dbus::BUS_NAME)
            .unwrap()
            .path(path.clone())
            .unwrap()
            .build()
            .await
            .unwrap();
        let interface = zbus::names::InterfaceName::try_from(name).unwrap();
        let all = properties.get_all(interface.clone()).await.unwrap();
        let expected = promised.iter().filter(|line| line.starts_with("property ")).count();
        assert_eq!(all.len(), expected, "{name}: {:?}", all.keys());
        // And not written.
        let (property, value) = all.iter().next().unwrap();
        let written = properties.set(interface, property, (**value).try_clone().unwrap()).await;
        assert!(written.is_err(), "{property} could be written");
    }

    // The object manager shows them all.
    let manager = zbus::fdo::ObjectManagerProxy::builder(&holdfast.client)
        .destination(holdfast_dbus::BUS_NAME)
        .unwrap()
        .path(ROOT_PATH)
        .unwrap()
        .build()
        .await
        .unwrap();
    let objects = manager.get_managed_objects().await.unwrap();
    assert!(objects.contains_key(&input_path("cam0")) && objects.contains_key(&session), "{:?}", objects.keys());
}
