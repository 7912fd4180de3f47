//! Everything together: a camera's chosen streams as placed frames.

use std::time::{Duration, Instant};

use crate::Error;
use crate::client::{self, Client, Packet};
use crate::sdp::{Presentation, Stream};
use crate::track::{Placed, Track};

/// Some cameras stop sending to those who do not report.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// One frame, or several samples of uncompressed sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which of the streams that were asked for.
    pub track: usize,
    /// H.26x as a byte stream with start codes; others as they come.
    pub data: Vec<u8>,
    /// When it was captured, `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
}

/// What a camera gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A frame.
    Frame(Frame),
    /// A frame of which packets are missing, so that it is not handed on.
    Broken {
        /// Which of the streams that were asked for.
        track: usize,
        /// When it was captured, `CLOCK_MONOTONIC` nanoseconds.
        at_ns: u64,
    },
}

/// A camera that plays.
#[derive(Debug)]
pub struct Player {
    client: Client,
    tracks: Vec<Track>,
    /// The first with pictures; sound follows it.
    leader: usize,
    reporter: u32,
    reported: Instant,
}

impl Player {
    /// Sets the chosen streams up and plays them. Streams whose packets are unknown are refused.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn play(mut client: Client, presentation: &Presentation, chosen: &[usize]) -> Result<Self, Error> {
        let streams: Vec<&Stream> = chosen.iter().filter_map(|n| presentation.streams.get(*n)).collect();
        let mut tracks = Vec::new();
        for stream in &streams {
            tracks.push(Track::new(stream).ok_or_else(|| Error::BadDescription {
                why: format!("{} packed in an unknown way", stream.encoding),
            })?);
            client.setup(&stream.control)?;
        }
        client.play()?;
        Ok(Self {
            client,
            tracks,
            leader: streams.iter().position(|stream| stream.media == "video").unwrap_or(0),
            reporter: std::process::id(),
            reported: Instant::now(),
        })
    }

    /// Waits for packets, for a quarter of a second at most, and hands on what they bring to an end. `now_ns` is asked for
    /// the monotonic time once something has come.
    ///
    /// # Errors
    /// The camera is silent, has closed the connection, or has forgotten us.
    pub fn receive(&mut self, now_ns: &dyn Fn() -> u64, out: &mut dyn FnMut(Output)) -> Result<(), Error> {
        let (tracks, leader) = (&mut self.tracks, self.leader);
        let mut now = None;
        let received = self.client.receive(&mut |packet| {
            let now = *now.get_or_insert_with(now_ns);
            take(tracks, leader, &packet, now, out);
        });
        if received.is_err() {
            for (number, track) in self.tracks.iter_mut().enumerate() {
                track.finish(&mut |placed| out(output(number, placed)));
            }
        }
        received?;
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let now = now_ns();
            for (number, track) in self.tracks.iter().enumerate() {
                if let Some(reception) = track.reception(self.reporter, now) {
                    self.client.send_rtcp(number, &reception.to_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Packets that came, and that never came, of a track.
    #[must_use]
    pub fn packets(&self, track: usize) -> (u64, u64) {
        self.tracks.get(track).map_or((0, 0), Track::packets)
    }

    /// Says good-bye.
    pub fn teardown(self) {
        self.client.teardown();
    }
}

fn take(tracks: &mut [Track], leader: usize, packet: &Packet<'_>, now_ns: u64, out: &mut dyn FnMut(Output)) {
    let number = packet.track;
    let Some(track) = tracks.get_mut(number) else { return };
    if !packet.control {
        return track.rtp(packet.bytes, now_ns, &mut |placed| out(output(number, placed)));
    }
    track.rtcp(packet.bytes, now_ns);
    // Reports are rare; following goes on by itself until the next.
    let (before, rest) = tracks.split_at_mut(leader);
    if let Some((leader, after)) = rest.split_first_mut() {
        for follower in before.iter_mut().chain(after) {
            follower.follow(leader);
        }
    }
}

fn output(track: usize, placed: Placed) -> Output {
    match placed {
        Placed::Unit { data, at_ns } => Output::Frame(Frame { track, data, at_ns }),
        Placed::Broken { at_ns } => Output::Broken { track, at_ns },
    }
}

/// Connects and asks what the camera has; see [`client::open`].
pub use client::open;
