//! What is known of a source's sound, so that a recording's first file has a track for it. Pure.

use std::sync::Arc;

use holdfast_segment::Track;

use super::segmenter::FORMAT_WAIT_NS;
use crate::packet::Packet;

/// Of a source since it began to deliver.
#[derive(Debug, Clone, Default)]
pub struct Sound {
    announced: bool,
    format: Option<Arc<Track>>,
    /// Decode times of the first and the newest picture.
    pictures: Option<(u64, u64)>,
}

impl Sound {
    /// A packet came. `announced`: the source says that it has sound.
    pub fn saw<D>(&mut self, packet: &Packet<D>, announced: bool) {
        self.announced = announced;
        if packet.is_video() {
            let (first_ns, _) = self.pictures.unwrap_or((packet.dts_ns, 0));
            self.pictures = Some((first_ns, packet.dts_ns));
        } else if !self.format.as_ref().is_some_and(|known| Arc::ptr_eq(known, &packet.track)) {
            self.format = Some(packet.track.clone());
        }
    }

    /// The newest format.
    pub fn format(&self) -> Option<&Arc<Track>> {
        self.format.as_ref()
    }

    /// Whether it is worth waiting for. A source that has been silent for so long, whatever it announced, will not speak now.
    pub fn is_expected(&self) -> bool {
        let young =
            self.pictures.is_none_or(|(first_ns, newest_ns)| newest_ns.saturating_sub(first_ns) < FORMAT_WAIT_NS);
        self.format.is_some() || self.announced && young
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_segment::{Codec, Media, Track};

    use super::Sound;
    use crate::packet::{Medium, Packet};

    fn packet(medium: Medium, ms: u64) -> Packet<Vec<u8>> {
        let (codec, media) = match medium {
            Medium::Video => (Codec::H264 { avcc: Vec::new() }, Media::Video { width: 16, height: 16 }),
            Medium::Audio => (Codec::Pcma, Media::Audio { channels: 1, sample_rate: 8000 }),
        };
        let dts_ns = ms * 1_000_000;
        Packet {
            medium,
            track: Arc::new(Track { codec, media, timescale: 8000 }),
            dts_ns,
            pts_ns: dts_ns,
            duration_ns: 20_000_000,
            sync: true,
            source_number: 0,
            encoded_number: 0,
            data: Vec::new(),
        }
    }

    #[test]
    fn sound_is_waited_for_while_it_may_still_come() {
        let mut sound = Sound::default();
        sound.saw(&packet(Medium::Video, 0), true);
        assert!(sound.is_expected() && sound.format().is_none());
        sound.saw(&packet(Medium::Video, 700), true);
        assert!(sound.is_expected());
        sound.saw(&packet(Medium::Video, 1100), true);
        assert!(!sound.is_expected(), "it was announced and never came");
        sound.saw(&packet(Medium::Audio, 1200), true);
        assert!(sound.is_expected() && sound.format().is_some());
        let mut without = Sound::default();
        without.saw(&packet(Medium::Video, 0), false);
        assert!(!without.is_expected());
    }
}
