//! The encoder table: what differs between encoders, as data.
//!
//! Every row fixes the GOP at one second without B-frames. Nothing here depends on forced keyframes: most hardware ignores
//! them, so files are cut at the next keyframe that comes by itself.

use gst::prelude::*;
use gstreamer as gst;
use holdfast_config::Codec;

use crate::source::packages::package_of;

mod faults;

pub use faults::{FAULTY, Fault};

/// Whether the encoder makes a keyframe when asked to. Only told, never relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForcedKeyframe {
    /// The usual event works.
    Works,
    /// It should, but nobody has measured it.
    Expected,
    /// The event is ignored (by some versions at least).
    Ignored,
    /// The event is ignored, but this action signal works.
    Action(&'static str),
}

/// One encoder. In property values, `{bps}`, `{kbps}`, `{peak_bps}`, `{gop}` (frames) and `{h264_level}` are filled in.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The GStreamer element, and the name in `holdfast.toml`.
    pub element: &'static str,
    /// What it encodes to.
    pub codec: Codec,
    /// Elements before it that bring the picture into a form and a memory it takes.
    pub colour_path: &'static str,
    /// The bit rate, in the unit it wants.
    pub bitrate: &'static [(&'static str, &'static str)],
    /// A keyframe every second.
    pub gop: &'static [(&'static str, &'static str)],
    /// What else it needs: no B-frames, low delay, parameter sets with every keyframe.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Caps its output must be asked for; empty: none.
    pub output: &'static str,
    /// It gives length-prefixed frames with the configuration in the caps, so that no parser is needed.
    pub writes_avc: bool,
    /// See [`ForcedKeyframe`].
    pub forced_keyframe: ForcedKeyframe,
    /// Where to get it.
    pub package: &'static str,
    /// What it does wrong on purpose.
    pub fault: Option<Fault>,
}

const SYSTEM_NV12: &str = "videoconvert ! video/x-raw,format=NV12";
const SYSTEM_I420: &str = "videoconvert ! video/x-raw,format=I420";
const NVMM_NV12: &str = "videoconvert ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12";
const H264_AU: &str = "video/x-h264,stream-format=byte-stream,alignment=au";
const H265_AU: &str = "video/x-h265,stream-format=byte-stream,alignment=au";
const ROCKCHIP: &str = "the board's gstreamer1.0-rockchip (gst-rockchip) package";
const JETSON: &str = "NVIDIA's nvidia-l4t-gstreamer package; some Jetsons (Orin Nano) have no encoder";

const X264: Row = Row {
    element: "x264enc",
    codec: Codec::H264,
    colour_path: SYSTEM_I420,
    bitrate: &[("bitrate", "{kbps}")],
    gop: &[("key-int-max", "{gop}")],
    fixed: &[
        ("speed-preset", "ultrafast"),
        ("tune", "zerolatency"),
        ("bframes", "0"),
        ("byte-stream", "false"),
        ("option-string", "scenecut=0"),
    ],
    output: "video/x-h264,stream-format=avc,alignment=au",
    writes_avc: true,
    forced_keyframe: ForcedKeyframe::Works,
    package: "gstreamer1.0-plugins-ugly",
    fault: None,
};

/// All encoders, best first: what costs the CPU nothing, then what it can bear.
pub const TABLE: &[Row] = &[
    Row {
        element: "mpph264enc",
        codec: Codec::H264,
        colour_path: SYSTEM_NV12,
        bitrate: &[("bps", "{bps}"), ("bps-max", "{peak_bps}")],
        gop: &[("gop", "{gop}")],
        fixed: &[("rc-mode", "vbr"), ("header-mode", "each-idr"), ("profile", "high")],
        output: H264_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Ignored,
        package: ROCKCHIP,
        fault: None,
    },
    Row {
        element: "mpph265enc",
        codec: Codec::H265,
        colour_path: SYSTEM_NV12,
        bitrate: &[("bps", "{bps}"), ("bps-max", "{peak_bps}")],
        gop: &[("gop", "{gop}")],
        fixed: &[("rc-mode", "vbr"), ("header-mode", "each-idr")],
        output: H265_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Ignored,
        package: ROCKCHIP,
        fault: None,
    },
    Row {
        element: "nvv4l2h264enc",
        codec: Codec::H264,
        colour_path: NVMM_NV12,
        bitrate: &[("bitrate", "{bps}"), ("peak-bitrate", "{peak_bps}")],
        // idrinterval is 256 by default: keyframes that are not IDR would come and files could not be cut at them.
        gop: &[("iframeinterval", "{gop}"), ("idrinterval", "{gop}")],
        fixed: &[("control-rate", "0"), ("num-B-Frames", "0"), ("insert-sps-pps", "true"), ("maxperf-enable", "true")],
        output: H264_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Action("force-IDR"),
        package: JETSON,
        fault: None,
    },
    Row {
        element: "nvv4l2h265enc",
        codec: Codec::H265,
        colour_path: NVMM_NV12,
        bitrate: &[("bitrate", "{bps}"), ("peak-bitrate", "{peak_bps}")],
        gop: &[("iframeinterval", "{gop}"), ("idrinterval", "{gop}")],
        fixed: &[("control-rate", "0"), ("num-B-Frames", "0"), ("insert-sps-pps", "true"), ("maxperf-enable", "true")],
        output: H265_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Action("force-IDR"),
        package: JETSON,
        fault: None,
    },
    Row {
        element: "vah264enc",
        codec: Codec::H264,
        colour_path: SYSTEM_NV12,
        bitrate: &[("bitrate", "{kbps}")],
        gop: &[("key-int-max", "{gop}")],
        fixed: &[("rate-control", "cbr"), ("b-frames", "0")],
        output: H264_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Expected,
        package: "gstreamer1.0-plugins-bad (GStreamer ≥ 1.22) and the VA driver of the GPU",
        fault: None,
    },
    Row {
        element: "vah265enc",
        codec: Codec::H265,
        colour_path: SYSTEM_NV12,
        bitrate: &[("bitrate", "{kbps}")],
        gop: &[("key-int-max", "{gop}")],
        fixed: &[("rate-control", "cbr"), ("b-frames", "0")],
        output: H265_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Expected,
        package: "gstreamer1.0-plugins-bad (GStreamer ≥ 1.22) and the VA driver of the GPU",
        fault: None,
    },
    Row {
        element: "v4l2h264enc",
        codec: Codec::H264,
        colour_path: SYSTEM_NV12,
        bitrate: &[(
            "extra-controls",
            "c,video_bitrate={bps},h264_i_frame_period={gop},video_gop_size={gop},video_b_frames=0,repeat_sequence_header=1",
        )],
        gop: &[],
        fixed: &[],
        // Without a level the driver negotiates the lowest, and refuses the picture's size.
        output: "video/x-h264,stream-format=byte-stream,alignment=au,level=(string){h264_level}",
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Ignored,
        package: "gstreamer1.0-plugins-good, and a kernel driver that offers an encoder as /dev/video…",
        fault: None,
    },
    X264,
    Row {
        element: "openh264enc",
        codec: Codec::H264,
        colour_path: SYSTEM_I420,
        bitrate: &[("bitrate", "{bps}"), ("max-bitrate", "{peak_bps}")],
        gop: &[("gop-size", "{gop}")],
        fixed: &[("rate-control", "bitrate"), ("complexity", "low"), ("enable-frame-skip", "false")],
        output: H264_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Works,
        package: "gstreamer1.0-plugins-bad",
        fault: None,
    },
    Row {
        element: "x265enc",
        codec: Codec::H265,
        colour_path: SYSTEM_I420,
        bitrate: &[("bitrate", "{kbps}")],
        gop: &[("key-int-max", "{gop}")],
        fixed: &[
            ("speed-preset", "ultrafast"),
            ("tune", "zerolatency"),
            ("option-string", "bframes=0:scenecut=0:repeat-headers=1"),
        ],
        output: H265_AU,
        writes_avc: false,
        forced_keyframe: ForcedKeyframe::Expected,
        package: "gstreamer1.0-plugins-bad",
        fault: None,
    },
];

/// What is to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second, rounded.
    pub framerate: u32,
    /// Target.
    pub bitrate_kbps: u32,
}

/// An encoder that cannot be built here.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The table has no such row.
    #[error("there is no encoder {name:?}; known are auto, {}", known())]
    Unknown {
        /// As configured.
        name: String,
    },
    /// The element is not installed.
    #[error(
        "the encoder {element} needs the GStreamer element {missing}, which is not installed. Install {package}, or set encoder = \"auto\""
    )]
    Missing {
        /// The encoder.
        element: &'static str,
        /// What is missing.
        missing: &'static str,
        /// Where to get it.
        package: &'static str,
    },
    /// GStreamer refuses the chain.
    #[error("the encoder {element} cannot be set up: {reason}")]
    Build {
        /// The encoder.
        element: &'static str,
        /// Why.
        reason: String,
    },
}

fn known() -> String {
    TABLE.iter().map(|row| row.element).collect::<Vec<_>>().join(", ")
}

/// The row of an encoder, [those that fail on purpose](FAULTY) included.
///
/// # Errors
/// [`EncoderError::Unknown`], naming those that are known.
pub fn row(name: &str) -> Result<&'static Row, EncoderError> {
    TABLE
        .iter()
        .chain(FAULTY)
        .find(|row| row.element == name)
        .ok_or_else(|| EncoderError::Unknown { name: name.to_owned() })
}

/// Rows for a codec, best first.
pub fn rows(codec: Codec) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |row| row.codec == codec)
}

impl Row {
    /// Fills in a property value.
    #[must_use]
    pub fn fill(&self, template: &str, job: &Job) -> String {
        let bps = u64::from(job.bitrate_kbps) * 1000;
        template
            .replace("{bps}", &bps.to_string())
            .replace("{peak_bps}", &(bps + bps / 4).to_string())
            .replace("{kbps}", &job.bitrate_kbps.to_string())
            .replace("{gop}", &job.framerate.max(1).to_string())
            .replace("{h264_level}", h264_level(job))
    }

    /// The element that does the work.
    #[must_use]
    pub fn factory(&self) -> &'static str {
        if self.fault.is_some() { X264.element } else { self.element }
    }

    /// Whether the element itself is installed.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        gst::ElementFactory::find(self.factory()).is_some()
    }

    /// It needs nothing but the CPU: where it is installed, it works.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.colour_path == SYSTEM_I420
    }

    /// Gives the encoder of a running [bin](Row::bin) another bit rate. False: it takes effect only with the next pipeline.
    #[must_use]
    pub fn set_bitrate(&self, bin: &gst::Bin, job: &Job) -> bool {
        let Some(encoder) = bin.by_name("encoder") else { return false };
        let mut at_once = true;
        for (property, template) in self.bitrate {
            set(&encoder, property, &self.fill(template, job));
            at_once &= encoder
                .find_property(property)
                .is_some_and(|spec| spec.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING));
        }
        at_once
    }

    /// Raw pictures in, frames that a segment file can hold out.
    ///
    /// # Errors
    /// An element is missing or refuses.
    pub fn bin(&self, job: &Job) -> Result<gst::Bin, EncoderError> {
        let parser = match (self.codec, self.writes_avc) {
            (_, true) => "",
            (Codec::H264, false) => "! h264parse ! capsfilter caps=video/x-h264,stream-format=avc,alignment=au",
            (Codec::H265, false) => "! h265parse ! capsfilter caps=video/x-h265,stream-format=hvc1,alignment=au",
        };
        let output = self.fill(self.output, job);
        let chain =
            format!("{} ! {} name=encoder ! capsfilter caps={output} {parser}", self.colour_path, self.factory());

        let bin = gst::parse::bin_from_description(&chain, true).map_err(|error| match error.kind() {
            Some(gst::ParseError::NoSuchElement) => {
                let (missing, package) = self.missing_element().unwrap_or((self.factory(), self.package));
                EncoderError::Missing { element: self.element, missing, package }
            }
            _ => EncoderError::Build { element: self.element, reason: error.message().to_owned() },
        })?;
        let unbuilt = |reason: &str| EncoderError::Build { element: self.element, reason: reason.to_owned() };
        let encoder = bin.by_name("encoder").ok_or_else(|| unbuilt("it has vanished"))?;
        for (property, template) in self.bitrate.iter().chain(self.gop).chain(self.fixed) {
            set(&encoder, property, &self.fill(template, job));
        }
        if let Some(fault) = self.fault {
            fault.arrange(&encoder);
        }
        Ok(bin)
    }

    /// The elements that it is used with: those of its colour path, and the parser behind it where it needs one.
    #[must_use]
    pub fn helpers(&self) -> Vec<&'static str> {
        let before = self.colour_path.split('!').map(str::trim).filter(|part| !part.contains('/'));
        let parser = if self.codec == Codec::H264 { "h264parse" } else { "h265parse" };
        before.chain((!self.writes_avc).then_some(parser)).collect()
    }

    /// The first element of its [bin](Self::bin) that is not installed, and where to get it.
    fn missing_element(&self) -> Option<(&'static str, &'static str)> {
        let mut all = [(self.factory(), self.package)]
            .into_iter()
            .chain(self.helpers().into_iter().map(|helper| (helper, package_of(helper))));
        all.find(|(name, _)| gst::ElementFactory::find(name).is_none())
    }
}

/// Sets a property from text. Older and newer versions of an element lack some; that is told, and no reason to fail: whether
/// the encoder does what it should is for the probe to see.
pub fn set(element: &gst::Element, property: &str, value: &str) {
    let name = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
    let Some(spec) = element.find_property(property) else {
        tracing::info!(element = name, property, "this version has no such property");
        return;
    };
    let parsed = gst::glib::Value::deserialize(value, spec.value_type());
    match parsed.ok().filter(|value| spec.flags().contains(gst::glib::ParamFlags::WRITABLE) && in_range(&spec, value)) {
        Some(value) => element.set_property_from_value(property, &value),
        None => tracing::warn!(element = name, property, value, "this version does not take this value"),
    }
}

/// Whether the property's bounds allow the value; setting one that they don't would be taken for a programmer's mistake.
fn in_range(spec: &gst::glib::ParamSpec, value: &gst::glib::Value) -> bool {
    macro_rules! within {
        ($($spec:ident: $number:ty),*) => {
            $(if let Some(bounds) = spec.downcast_ref::<gst::glib::$spec>() {
                return value.get::<$number>().is_ok_and(|number| (bounds.minimum()..=bounds.maximum()).contains(&number));
            })*
        };
    }
    within!(ParamSpecInt: i32, ParamSpecUInt: u32, ParamSpecInt64: i64, ParamSpecUInt64: u64);
    true
}

/// The lowest H.264 level for the picture (ITU-T H.264 table A-1, macroblocks per second).
fn h264_level(job: &Job) -> &'static str {
    let macroblocks = u64::from(job.width.div_ceil(16)) * u64::from(job.height.div_ceil(16));
    match macroblocks * u64::from(job.framerate) {
        0..=245_760 => "4",
        245_761..=522_240 => "4.2",
        522_241..=983_040 => "5.1",
        _ => "5.2",
    }
}
