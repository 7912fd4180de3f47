//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A simulated RTSP camera with numbered pictures.
#[derive(Debug, Clone, Parser)]
#[command(name = "holdfast-simcam", version, args_override_self = true)]
pub struct Args {
    /// Address to listen on; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where the stream is. With --count its number is appended.
    #[arg(long, default_value = "/cam0", value_parser = absolute)]
    pub path: String,
    /// How many cameras: /cam0, /cam1, … All carry the same pictures from one encoder.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub count: u16,
    /// Video codec.
    #[arg(long, value_enum, default_value_t = Video::H264)]
    pub codec: Video,
    /// Audio codec; `none` for a camera without a microphone.
    #[arg(long, value_enum, default_value_t = Audio::Aac)]
    pub audio: Audio,
    /// What is heard: ticks are kind to people, in noise no two packets are alike.
    #[arg(long, value_enum, default_value_t = Sound::Ticks)]
    pub sound: Sound,
    /// Picture size in pixels.
    #[arg(long, default_value = "1280x720", value_parser = size)]
    pub size: (u32, u32),
    /// Pictures per second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub fps: u32,
    /// Video bit rate.
    #[arg(long, default_value_t = 4000)]
    pub bitrate_kbps: u32,
    /// Time from keyframe to keyframe.
    #[arg(long, default_value_t = 1000)]
    pub gop_ms: u32,
    /// B-frames between reference frames (H.264, H.265).
    #[arg(long, default_value_t = 0)]
    pub bframes: u32,
    /// Do not send a keyframe when a client begins to play: it is thrown into the middle of a GOP.
    #[arg(long)]
    pub no_keyframe_on_play: bool,
    /// Ask for this user with Digest authentication.
    #[arg(long, requires = "password")]
    pub user: Option<String>,
    /// And this password.
    #[arg(long, requires = "user")]
    pub password: Option<String>,
    /// Play this MP4 in a loop instead of encoding: cheap, for measurements. Its pictures keep the numbers they have.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Close all connections every so many seconds.
    #[arg(long)]
    pub drop_after_s: Option<u32>,
    /// Change the picture's size, and with it the SPS, every so many seconds.
    #[arg(long)]
    pub sps_change_after_s: Option<u32>,
    /// End when standard input closes, and obey the words drop, mute, unmute, switch on it.
    #[arg(long)]
    pub end_with_stdin: bool,
}

/// Video codecs the camera speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Video {
    /// H.264
    H264,
    /// H.265
    H265,
    /// Motion JPEG, which Holdfast does not record.
    Mjpeg,
}

/// Audio codecs the camera speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audio {
    /// AAC-LC
    Aac,
    /// G.711 A-law
    Pcma,
    /// G.711 µ-law
    Pcmu,
    /// Opus
    Opus,
    /// No audio.
    None,
}

/// What the microphone hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sound {
    /// A tick every second.
    Ticks,
    /// Noise.
    Noise,
}

fn absolute(path: &str) -> Result<String, String> {
    if path.starts_with('/') { Ok(path.to_owned()) } else { Err("a path begins with /".to_owned()) }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let parse = |text: &str| text.parse().ok().filter(|pixels| (16..=7680).contains(pixels) && pixels % 2 == 0);
    text.split_once('x')
        .and_then(|(width, height)| Some((parse(width)?, parse(height)?)))
        .ok_or_else(|| "expected WIDTHxHEIGHT in even pixels, like 1280x720".to_owned())
}
