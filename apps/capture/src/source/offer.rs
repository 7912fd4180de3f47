//! What a camera offers in its SDP, and what of it is recorded. Pure.

/// Chain from RTP to frames for a segment file, by what the SDP calls the codec.
struct Way {
    media: &'static str,
    /// `encoding-name`, upper case.
    encoding: &'static str,
    elements: &'static [&'static str],
    /// Caps before the sink; empty: whatever comes.
    caps: &'static str,
}

const WAYS: &[Way] = &[
    Way {
        media: "video",
        encoding: "H264",
        elements: &["rtph264depay", "h264parse", "CAPS", "h264timestamper"],
        caps: "video/x-h264,stream-format=avc,alignment=au",
    },
    Way {
        media: "video",
        encoding: "H265",
        elements: &["rtph265depay", "h265parse", "CAPS", "h265timestamper"],
        caps: "video/x-h265,stream-format=hvc1,alignment=au",
    },
    Way {
        media: "audio",
        encoding: "MPEG4-GENERIC",
        elements: &["rtpmp4gdepay", "aacparse", "CAPS"],
        caps: "audio/mpeg,mpegversion=4,stream-format=raw",
    },
    Way {
        media: "audio",
        encoding: "MP4A-LATM",
        elements: &["rtpmp4adepay", "aacparse", "CAPS"],
        caps: "audio/mpeg,mpegversion=4,stream-format=raw",
    },
    Way { media: "audio", encoding: "PCMA", elements: &["rtppcmadepay"], caps: "" },
    Way { media: "audio", encoding: "PCMU", elements: &["rtppcmudepay"], caps: "" },
    Way { media: "audio", encoding: "OPUS", elements: &["rtpopusdepay", "opusparse"], caps: "" },
];

/// Stands for a caps filter in a list of elements.
pub const CAPS: &str = "CAPS";

/// One stream of the SDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// `video`, `audio`, `application`, …
    pub media: String,
    /// `H264`, `JPEG`, …
    pub encoding: String,
    /// It is recorded.
    pub chosen: bool,
}

/// Everything the camera offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    streams: Vec<Stream>,
}

impl Offer {
    /// The camera offers this. Whether it is recorded: the first stream of each medium that can be; sound only if wanted.
    pub fn add(&mut self, media: &str, encoding: &str, audio_wanted: bool) -> bool {
        let encoding = encoding.to_ascii_uppercase();
        let known = way(media, &encoding).is_some();
        let first = !self.streams.iter().any(|stream| stream.media == media && stream.chosen);
        let chosen = known && first && (media != "audio" || audio_wanted);
        self.streams.push(Stream { media: media.to_owned(), encoding, chosen });
        chosen
    }

    /// Whether a stream of this medium is recorded.
    #[must_use]
    pub fn has(&self, media: &str) -> bool {
        self.streams.iter().any(|stream| stream.media == media && stream.chosen)
    }

    /// Whether the camera has said anything yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Why there is no video to record, if there is none.
    #[must_use]
    pub fn no_video(&self) -> Option<String> {
        if self.has("video") {
            return None;
        }
        let sent = self.names("video");
        Some(if sent.is_empty() {
            "the camera sends no video. Check the path in the URL".to_owned()
        } else {
            format!(
                "the camera sends {sent} video; H.264 and H.265 can be recorded. Set the camera's stream to H.264 or H.265"
            )
        })
    }

    /// Sound that the camera has and that can't be recorded.
    #[must_use]
    pub fn unrecordable_audio(&self) -> Option<String> {
        let sent = self.names("audio");
        (!sent.is_empty() && !self.has("audio")).then_some(sent)
    }

    fn names(&self, media: &str) -> String {
        let names = self.streams.iter().filter(|stream| stream.media == media).map(|stream| stream.encoding.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

fn way(media: &str, encoding: &str) -> Option<&'static Way> {
    WAYS.iter().find(|way| way.media == media && way.encoding == encoding)
}

/// The elements from RTP to the sink, with [`CAPS`] where a filter for the caps stands.
#[must_use]
pub fn elements(media: &str, encoding: &str) -> Option<(&'static [&'static str], &'static str)> {
    way(media, &encoding.to_ascii_uppercase()).map(|way| (way.elements, way.caps))
}

/// The same, for frames that have been taken out of RTP already.
#[must_use]
pub fn parsers(media: &str, encoding: &str) -> Option<(&'static [&'static str], &'static str)> {
    let (elements, caps) = elements(media, encoding)?;
    Some((elements.get(1..).unwrap_or_default(), caps))
}

/// All elements for whatever a camera may send; `taken_out` of RTP already, or not.
pub fn all_elements(taken_out: bool, audio: bool) -> impl Iterator<Item = &'static str> {
    WAYS.iter()
        .filter(move |way| audio || way.media != "audio")
        .flat_map(move |way| way.elements.iter().skip(usize::from(taken_out)).copied())
        .filter(|element| *element != CAPS)
}

#[cfg(test)]
mod tests {
    use super::Offer;

    #[test]
    fn takes_the_first_of_each_that_can_be_recorded() {
        let mut offer = Offer::default();
        assert!(!offer.add("video", "JPEG", true));
        assert!(offer.add("video", "h264", true));
        assert!(!offer.add("video", "H265", true));
        assert!(!offer.add("application", "VND.ONVIF.METADATA", true));
        assert!(!offer.add("audio", "G726-32", true));
        assert!(offer.add("audio", "PCMU", true));
        assert!(!offer.add("audio", "PCMA", true));
        assert_eq!(offer.no_video(), None);
        assert_eq!(offer.unrecordable_audio(), None);
    }

    #[test]
    fn says_what_is_wrong_with_the_offer() {
        let mut offer = Offer::default();
        assert!(offer.no_video().unwrap().contains("no video"));
        offer.add("video", "JPEG", true);
        offer.add("audio", "G726-32", true);
        let text = offer.no_video().unwrap();
        assert!(text.contains("JPEG") && text.contains("H.264"), "{text}");
        assert_eq!(offer.unrecordable_audio().unwrap(), "G726-32");
        let mut silent = Offer::default();
        assert!(!silent.add("audio", "PCMA", false), "sound is not wanted");
    }
}
