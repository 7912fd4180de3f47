//! The running service against `dbus/org.holdfast.Recorder1.xml`, both ways.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Box, test_input};
use holdfast_dbus::{INTERFACE_XML, LeaseOptions, LeasesProxy, ROOT_PATH, input_path};
use zbus::fdo::{IntrospectableProxy, PropertiesProxy};
use zbus_xml::Node;

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
        let expected = holdfast_contract::hold(INTERFACE_XML, &live, name);

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
