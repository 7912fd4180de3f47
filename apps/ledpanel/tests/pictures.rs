//! The guide shows what the panel does. `cargo run -p holdfast-panel --example draw-patterns` draws it anew.

#[path = "../examples/draw-patterns/chart.rs"]
mod chart;

use std::collections::BTreeSet;
use std::fs;

use holdfast_panel::truth::Condition;

const RENEW: &str = "is not what the panel shows; renew it: cargo run -p holdfast-panel --example draw-patterns";

#[test]
fn the_picture_is_what_the_panel_shows() {
    let path = chart::docs().join(chart::PICTURE);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == chart::picture(), "docs/{} {RENEW}", chart::PICTURE);
}

#[test]
fn the_table_is_what_the_panel_shows() {
    let committed = fs::read_to_string(chart::docs().join(chart::GUIDE)).unwrap();
    let right = chart::with_table(&committed).expect("the guide has a place for the table");
    assert!(committed == right, "docs/{} {RENEW}", chart::GUIDE);
}

#[test]
fn nothing_is_left_out() {
    let shown: BTreeSet<_> = chart::conditions().collect();
    assert_eq!(shown, BTreeSet::from(Condition::ALL));
}
