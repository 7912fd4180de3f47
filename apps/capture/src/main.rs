//! The data plane of Holdfast: one input, from source to safe bytes.

fn main() {}
