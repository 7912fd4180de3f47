//! A camera to test against: a real RTSP server with numbered frames.

fn main() {}
