//! The control plane of Holdfast: sessions, supervision, storage, D-Bus.

fn main() {}
