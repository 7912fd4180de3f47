//! Decodes what was recorded, as a player would, and reads the numbers burnt into the pictures.

use std::path::Path;

use gst::prelude::*;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

/// The numbers in a file's pictures, in the order they are shown. A picture that cannot be read fails the test.
pub fn numbers(file: &Path) -> Vec<u32> {
    gst::init().unwrap();
    let launch = "filesrc name=file ! qtdemux name=demuxer demuxer.video_0 ! decodebin ! videoconvert ! \
                  video/x-raw,format=I420 ! appsink name=sink sync=false";
    let pipeline = gst::parse::launch(launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("file").unwrap().set_property("location", file.to_str().unwrap());
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut numbers = Vec::new();
    // A file that is none leaves an error on the bus and no end of the stream.
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(60)) {
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer().unwrap(), &info).unwrap();
        let stride = usize::try_from(frame.plane_stride()[0]).unwrap();
        let (width, height) = (info.width() as usize, info.height() as usize);
        let number = holdfast_framemark::read(frame.plane_data(0).unwrap(), stride, width, height);
        numbers.push(number.unwrap_or_else(|| panic!("{}: picture {} cannot be read", file.display(), numbers.len())));
    }
    let error = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(error.is_none(), "{}: {error:?}", file.display());
    numbers
}

/// Fails unless the numbers go up by one from picture to picture, over all files.
pub fn assert_whole<P: AsRef<Path>>(files: &[P]) -> Vec<u32> {
    let numbers: Vec<u32> = files.iter().flat_map(|file| self::numbers(file.as_ref())).collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "lost or doubled between {} and {} of {numbers:?}", pair[0], pair[1]);
    }
    numbers
}
