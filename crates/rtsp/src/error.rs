//! Everything that can go wrong between a URL and its frames.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a camera does not deliver. The texts end with a remedy, and name no URL: the caller knows it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is none of a camera.
    #[error("this is no address of a camera: {why}. It should look like rtsp://host:554/path")]
    BadUrl {
        /// What is wrong with it.
        why: String,
    },
    /// The host name has no address.
    #[error("the name {host} cannot be resolved. Check the host in the URL and the network's DNS")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("{address} cannot be reached: {source}. Check the address, the cable and the camera's power")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Something answers that does not speak RTSP.
    #[error("{address} answers, but not as an RTSP server. Check the port in the URL")]
    NotRtsp {
        /// Who.
        address: SocketAddr,
    },
    /// The camera wants to know who we are.
    #[error("the camera refuses access (401). Put user and password into a file and name it as credentials_file")]
    NeedsCredentials,
    /// The camera does not accept who we are.
    #[error("the camera refuses access (401). Check user and password")]
    WrongPassword,
    /// The camera wants a proof that we cannot give.
    #[error("the camera asks for a password in a way we do not know ({why}). Set it to Digest or Basic")]
    UnknownAuthentication {
        /// What the challenge says.
        why: String,
    },
    /// 403
    #[error("the camera forbids this user the stream (403). Give the user the right to view it")]
    Forbidden,
    /// 404 and 410
    #[error("the camera has no such stream ({status}). Check the path in the URL")]
    NotFound {
        /// 404 or 410.
        status: u16,
    },
    /// 453 and 503
    #[error("the camera serves no more viewers ({status}). Close others, or raise the camera's limit")]
    Full {
        /// Which.
        status: u16,
    },
    /// 454
    #[error("the camera has forgotten the session (454). It is opened again")]
    SessionLost,
    /// 461
    #[error("the camera does not send over TCP (461). Set transport = \"udp\"")]
    NoTcp,
    /// 3xx more often than is sensible, or to somewhere we cannot go.
    #[error("the camera sends us on to {location}, where we cannot follow. Put the right URL into the configuration")]
    Redirected {
        /// Where to.
        location: String,
    },
    /// Any other refusal.
    #[error("the camera refuses {method}: {status} {reason}. Look into the camera's log")]
    Refused {
        /// What we asked.
        method: &'static str,
        /// Its answer.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// The answer to DESCRIBE makes no sense.
    #[error("the camera's description of its streams cannot be read: {why}. Update the camera's firmware")]
    BadDescription {
        /// What the parser says.
        why: String,
    },
    /// An answer lacks something.
    #[error("the camera's answer to {method} cannot be used: {why}. Update the camera's firmware")]
    BadAnswer {
        /// What we asked.
        method: &'static str,
        /// What is wrong with the answer.
        why: String,
    },
    /// No answer in time.
    #[error("the camera did not answer {method} within {} s. Check the camera", after.as_secs())]
    NoAnswer {
        /// What we asked.
        method: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// A connection that says nothing.
    #[error("the camera has sent nothing for {} s. Check the camera and the network", after.as_secs())]
    Silent {
        /// How long.
        after: Duration,
    },
    /// What comes is no RTSP any more.
    #[error("the camera sends what is no RTSP: {bytes} bytes without a message. Update the camera's firmware")]
    Garbage {
        /// How much was skipped.
        bytes: usize,
    },
    /// The camera closed the connection.
    #[error("the camera ended the stream. Check the camera")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {source}. Check the network")]
    Io {
        /// Why.
        #[from]
        source: io::Error,
    },
}
