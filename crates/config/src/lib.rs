//! The configuration of Holdfast: one file, validated once, errors with file, line, key, value and remedy.

mod types;

pub use types::{
    Bus, Codec, Config, Encoding, Filesystem, Input, Picture, Recorder, Recording, RtspTransport, Source, Storage,
    Supervisor,
};
