use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;

use super::InterleavedSource;
use crate::intake::{Feed, Intake};
use crate::queue::Queue;
use crate::source::Source as _;
use crate::state::Shared;

/// Answers OPTIONS and DESCRIBE of one client.
fn camera(sdp: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/stream", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        for (number, body) in ["", sdp].iter().enumerate() {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let head = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\nContent-Length: {}", number + 1, body.len());
            socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        }
        let _ = socket.read(&mut [0]);
    });
    url
}

#[test]
fn what_the_client_does_not_know_is_left_to_rtspsrc() {
    gst::init().unwrap();
    let url = camera(
        "v=0\ns=x\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\nm=audio 0 RTP/AVP 97\na=rtpmap:97 MP4A-LATM/48000\n",
    );
    let intake = Intake { queue: Arc::new(Queue::new(1 << 20)), shared: Arc::new(Shared::new(true).unwrap()) };
    let feed = Feed::new(&intake, 0);
    let mut source = InterleavedSource::new(&url, None, true);
    let factories = |pipeline: &gst::Pipeline| -> Vec<String> {
        let elements = pipeline.iterate_elements().into_iter().flatten();
        elements.filter_map(|element| Some(element.factory()?.name().to_string())).collect()
    };
    let pipeline = source.build(&feed).unwrap().pipeline;
    assert_eq!(factories(&pipeline), Vec::<String>::new());
    let bus = pipeline.bus().unwrap();
    source.started();
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Error]);
    assert!(message.is_some(), "nothing was told");
    let failure = super::lock(&source.failure).take().unwrap();
    assert!(failure.text.contains("MP4A-LATM"), "{failure}");
    source.stop();
    let pipeline = source.build(&feed).unwrap().pipeline;
    assert_eq!(factories(&pipeline), ["rtspsrc"]);
}
