//! What packages must not link, by what cargo has resolved.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// A package, and the names it must never reach. A name that ends in `*` stands for all that begin so.
pub(crate) const NEVER: [(&str, &[&str]); 18] = [
    ("holdfast-recorder", &["gstreamer*", "gst-*", "glib*"]),
    ("holdfast-panel", &["gstreamer*", "gst-*", "glib*"]),
    ("holdfast-ctl", &["gstreamer*", "gst-*", "glib*"]),
    ("holdfast-updater", &["gstreamer*", "gst-*", "glib*", "openssl", "openssl-sys", "native-tls", "aws-lc-sys"]),
    ("holdfast-dbus", &["gstreamer*", "gst-*", "glib*"]),
    ("holdfast-capture", &["zbus*", "tokio*", "rppal", "holdfast-dbus"]),
    ("holdfast-segment", &["tokio*", "gstreamer*", "zbus*"]),
    ("holdfast-journal", &["tokio*", "gstreamer*", "zbus*"]),
    ("holdfast-records", &["tokio*", "gstreamer*", "zbus*"]),
    ("holdfast-link", &["tokio*", "gstreamer*", "zbus*", "rustix", "libc"]),
    ("holdfast-config", &["tokio*", "gstreamer*", "zbus*"]),
    ("holdfast-rauc", &["gstreamer*", "gst-*", "glib*", "openssl*", "holdfast-*"]),
    ("holdfast-bundle", &["tokio*", "zbus*", "gstreamer*", "openssl*", "holdfast-*"]),
    // One TLS, and one provider for it: the names are those of all others.
    ("holdfast-fetch", &["gstreamer*", "gst-*", "glib*", "zbus*", "openssl", "openssl-sys", "native-tls", "aws-lc*"]),
    ("holdfast-settings", &["tokio*", "gstreamer*", "zbus*", "holdfast-*", "rustix", "libc"]),
    ("holdfast-hawkbit", &["gstreamer*", "zbus*", "rauc*", "openssl", "openssl-sys", "native-tls", "aws-lc-sys"]),
    ("holdfast-framemark", &["*"]),
    ("holdfast-update-plan", &["tokio*", "zbus*", "rustix", "libc", "reqwest", "holdfast-*"]),
];

/// Packages of design rooms that are yet to come: their rules wait for them.
pub(crate) const TO_COME: [&str; 1] = ["holdfast-panel"];

/// Who links whom: normal and build dependencies, on all platforms, tests aside.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// What the packages of the workspace declare.
pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(crate::tree::root())
        .no_deps()
        .other_options(["--locked", "--offline"].map(String::from))
        .exec()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The whole graph: our own packages as they declare it, all others as the lock file has it.
///
/// The lock file knows all platforms (a board's too) without downloading their packages, but not which of our own
/// dependencies are for tests only. Versions of one name count as one: that can only find too much.
pub(crate) fn graph(metadata: &Metadata) -> Graph {
    let lock = std::fs::read_to_string(crate::tree::root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let mut graph = Graph::new();
    for package in lock["package"].as_array().unwrap() {
        let links = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        // `name`, or `name version` where there are several.
        let links = links.filter_map(|link| link.as_str()?.split(' ').next()).map(str::to_owned);
        graph.entry(package["name"].as_str().unwrap().to_owned()).or_default().extend(links);
    }
    for package in metadata.workspace_packages() {
        let linked = package.dependencies.iter().filter(|dep| dep.kind != DependencyKind::Development);
        graph.insert(package.name.to_string(), linked.map(|dep| dep.name.clone()).collect());
    }
    graph
}

/// Ways from a package to what it must not link, each as `a → b → c`.
pub(crate) fn offences(graph: &Graph, package: &str, never: &[&str]) -> Vec<String> {
    let matches = |name: &str| {
        never.iter().any(|never| never.strip_suffix('*').map_or(*never == name, |start| name.starts_with(start)))
    };
    let mut ways: Vec<Vec<&str>> = vec![vec![package]];
    let mut seen = BTreeSet::from([package]);
    let mut found = vec![];
    while let Some(way) = ways.pop() {
        let Some(links) = way.last().and_then(|last| graph.get(*last)) else {
            continue;
        };
        for link in links {
            if !seen.insert(link) {
                continue;
            }
            let further = [&way[..], &[link.as_str()]].concat();
            if matches(link) {
                found.push(further.join(" → "));
            } else {
                ways.push(further);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_by_others_is_found_and_what_is_allowed_is_not() {
        let graph: Graph = [("holdfast-recorder", "holdfast-x"), ("holdfast-x", "gstreamer-app"), ("capture", "libc")]
            .map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])))
            .into();
        assert_eq!(
            offences(&graph, "holdfast-recorder", &["gstreamer*"]),
            ["holdfast-recorder → holdfast-x → gstreamer-app"]
        );
        assert!(offences(&graph, "capture", &["zbus", "libcurl*"]).is_empty());
        assert_eq!(offences(&graph, "capture", &["*"]).len(), 1);
    }

    /// The real graph has what is forbidden elsewhere: a rule over an empty graph would hold for ever.
    #[test]
    fn the_real_graph_can_offend() {
        let graph = graph(&metadata());
        assert!(!offences(&graph, "holdfast-capture", &["gstreamer*"]).is_empty());
        assert!(!offences(&graph, "holdfast-dbus", &["zbus*"]).is_empty());
    }
}
