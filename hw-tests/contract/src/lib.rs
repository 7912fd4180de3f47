//! A D-Bus contract against the service that keeps it, both ways: for the contract tests of all programs.
#![allow(clippy::panic, reason = "for tests")]

use std::collections::BTreeSet;

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

/// Fails the test unless the interface `name` of the live introspection data is that of the contract, member for member. Returns how
/// many properties it has.
///
/// # Panics
/// It is not, or one of the two is no introspection data.
pub fn hold(contract: &str, live: &str, name: &str) -> usize {
    let parse = |xml: &str| promises_of(xml, name);
    let (promised, kept) = (parse(contract), parse(live));
    let missing: Vec<_> = promised.difference(&kept).collect();
    let extra: Vec<_> = kept.difference(&promised).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{name}:\n promised, not kept: {missing:#?}\n kept, not promised: {extra:#?}"
    );
    promised.iter().filter(|line| line.starts_with("property ")).count()
}

fn promises_of(xml: &str, name: &str) -> BTreeSet<String> {
    let node = Node::from_reader(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}"));
    let found = node.interfaces().iter().find(|interface| interface.name() == name).map(promises);
    found.unwrap_or_else(|| panic!("there is no {name} in {xml}"))
}
