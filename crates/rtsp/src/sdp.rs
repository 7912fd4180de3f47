//! What a camera says it has: the answer to DESCRIBE.

use rtsp_types::Url;

use crate::Error;

/// No camera describes more than this.
const MAX_STREAMS: usize = 32;

/// A camera's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// Where PLAY goes to.
    pub control: Url,
    /// In the camera's order.
    pub streams: Vec<Stream>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// `video`, `audio`, `application`, …
    pub media: String,
    /// `H264`, `MPEG4-GENERIC`, … in upper case; empty where the camera does not say.
    pub encoding: String,
    /// RTP packets of this type belong to it.
    pub payload_type: u8,
    /// RTP ticks per second; not 0.
    pub clock_rate_hz: u32,
    /// Of sound.
    pub channels: u16,
    /// Where SETUP goes to.
    pub control: Url,
    /// Of the codec (`fmtp`), names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl Stream {
    /// A parameter of the codec.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a description that stands at `base`.
///
/// # Errors
/// It makes no sense.
pub fn parse(description: &[u8], base: &Url) -> Result<Presentation, Error> {
    // Some cameras end it with a zero byte.
    let description = description.trim_ascii_end();
    let end = description.iter().position(|byte| *byte == 0).unwrap_or(description.len());
    let session = sdp_types::Session::parse(description.get(..end).unwrap_or_default());
    let session = session.map_err(|error| Error::BadDescription { why: error.to_string() })?;
    let control = session.get_first_attribute_value("control").flatten();
    let whole = control.and_then(|control| resolve(base, control));
    let whole = whole.unwrap_or_else(|| base.clone());
    let streams = session.medias.iter().take(MAX_STREAMS);
    let streams = streams.filter_map(|media| stream(media, base, &whole)).collect();
    Ok(Presentation { control: whole, streams })
}

fn stream(media: &sdp_types::Media, base: &Url, whole: &Url) -> Option<Stream> {
    let payload_type: u8 = media.fmt.split_ascii_whitespace().next()?.parse().ok()?;
    let of_ours = |value: &str| -> Option<String> {
        let (kind, rest) = value.trim().split_once(char::is_whitespace)?;
        (kind.parse() == Ok(payload_type)).then(|| rest.trim().to_owned())
    };
    let all = |name: &'static str| {
        let values = media.attributes.iter().filter(move |known| known.attribute == name);
        values.filter_map(|known| known.value.as_deref())
    };
    let map = all("rtpmap").find_map(of_ours);
    let (encoding, clock_rate_hz, channels) = match &map {
        Some(map) => {
            let mut parts = map.split('/');
            let encoding = parts.next().unwrap_or_default().trim().to_ascii_uppercase();
            let rate = parts.next().and_then(|rate| rate.trim().parse().ok());
            let channels = parts.next().and_then(|channels| channels.trim().parse().ok());
            (encoding, rate, channels)
        }
        // The types that need no map (RFC 3551).
        None => match payload_type {
            0 => ("PCMU".to_owned(), Some(8000), None),
            8 => ("PCMA".to_owned(), Some(8000), None),
            26 => ("JPEG".to_owned(), Some(90_000), None),
            _ => (String::new(), None, None),
        },
    };
    let control = match all("control").next() {
        Some(control) => resolve(base, control)?,
        None => whole.clone(),
    };
    let parameters = all("fmtp").find_map(of_ours).unwrap_or_default();
    let parameters = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Stream {
        media: media.media.clone(),
        encoding,
        payload_type,
        clock_rate_hz: clock_rate_hz.filter(|rate| *rate > 0).unwrap_or(90_000),
        channels: channels.unwrap_or(1),
        control,
        parameters: parameters.collect(),
    })
}

/// Where a `control` attribute points to. Cameras mean it to be put behind the base, with a slash if there is none, even where
/// the base has a query; what RFC 3986 says would cut off their last directory.
fn resolve(base: &Url, control: &str) -> Option<Url> {
    let control = control.trim();
    if control.is_empty() || control == "*" {
        return Some(base.clone());
    }
    if let Ok(absolute) = Url::parse(control)
        && absolute.has_host()
    {
        return Some(absolute);
    }
    if control.starts_with('/') {
        let mut root = base.clone();
        root.set_query(None);
        root.set_path("");
        return Url::parse(&format!("{}{control}", root.as_str().trim_end_matches('/'))).ok();
    }
    Url::parse(&format!("{}/{control}", base.as_str().trim_end_matches('/'))).ok()
}

#[cfg(test)]
mod tests {
    use super::{parse, resolve};
    use rtsp_types::Url;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn resolves_controls_as_cameras_mean_them() {
        let resolved = |base, control| resolve(&url(base), control).unwrap().to_string();
        assert_eq!(resolved("rtsp://a/s", "*"), "rtsp://a/s");
        assert_eq!(resolved("rtsp://a/s", "track1"), "rtsp://a/s/track1");
        assert_eq!(resolved("rtsp://a/s/", "track1"), "rtsp://a/s/track1");
        assert_eq!(resolved("rtsp://a/s?x=1&y=2", "trackID=0"), "rtsp://a/s?x=1&y=2/trackID=0");
        assert_eq!(resolved("rtsp://a:5/s/t", "/u/v"), "rtsp://a:5/u/v");
        assert_eq!(resolved("rtsp://a/s", "rtsp://10.0.0.1/t"), "rtsp://10.0.0.1/t");
    }

    const CAMERA: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0IAH5Y=,aM4=\r\n\
        a=control:trackID=1\r\n\
        m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=fmtp:97 mode=AAC-hbr;config=1190;SizeLength=13\r\n\
        a=control:trackID=2\r\n\
        m=audio 0 RTP/AVP 0\r\na=control:trackID=3\r\n\
        m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n";

    #[test]
    fn reads_what_a_camera_offers() {
        let offer = parse(CAMERA.as_bytes(), &url("rtsp://a/s")).unwrap();
        assert_eq!(offer.control.as_str(), "rtsp://a/s");
        let names: Vec<_> = offer.streams.iter().map(|stream| stream.encoding.as_str()).collect();
        assert_eq!(names, ["H264", "MPEG4-GENERIC", "PCMU", "VND.ONVIF.METADATA"]);
        let video = &offer.streams[0];
        assert_eq!((video.payload_type, video.clock_rate_hz), (96, 90_000));
        assert_eq!(video.parameter("sprop-parameter-sets"), Some("Z0IAH5Y=,aM4="));
        assert_eq!(video.control.as_str(), "rtsp://a/s/trackID=1");
        let sound = &offer.streams[1];
        assert_eq!((sound.clock_rate_hz, sound.channels, sound.parameter("sizelength")), (48_000, 2, Some("13")));
        assert_eq!(offer.streams[3].control.as_str(), "rtsp://a/s");
    }

    #[test]
    fn refuses_nonsense() {
        assert!(parse(b"<html>", &url("rtsp://a/s")).is_err());
        assert!(parse(b"", &url("rtsp://a/s")).is_err());
    }
}
