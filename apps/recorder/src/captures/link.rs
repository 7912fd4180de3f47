//! The socket to one capture.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use holdfast_link::{FromCapture, Hello, MAX_FRAME_BYTES, ToCapture, WireError, decode, encode, encode_refusal};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// A capture that does not take a request or answer a greeting within this time is not talked to any longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection to a capture.
#[derive(Debug)]
pub struct Link {
    socket: AsyncFd<OwnedFd>,
    pid: u32,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other end is closed: the capture died, ended, or threw us out.
    #[error("the capture closed the connection")]
    Closed,
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
    /// The other end is no capture of this release.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// It does not answer.
    #[error("the capture does not answer")]
    Silent,
    /// It answered with something else than a greeting, or serves another input.
    #[error("the peer is no capture of this input: {0}")]
    Stranger(&'static str),
}

impl Link {
    /// Connects, without waiting: a listening Unix socket takes a connection at once or refuses it.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let pid = sockopt::socket_peercred(&socket)?.pid;
        let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
        #[allow(
            deprecated,
            reason = "its replacement is unsafe, for types that may lie about their descriptor; OwnedFd never does"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, pid })
    }

    /// The process at the other end, as the kernel knows it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Greets, and checks who is there.
    pub async fn greet(&self, input: &str) -> Result<Hello, LinkError> {
        self.send(&ToCapture::Hello).await?;
        match timeout(PATIENCE, self.receive()).await.map_err(|_| LinkError::Silent)?? {
            FromCapture::Hello(hello) if hello.input.as_str() == input => Ok(hello),
            FromCapture::Hello(_) => Err(LinkError::Stranger("it serves another input")),
            _ => Err(LinkError::Stranger("it does not greet")),
        }
    }

    /// The next message.
    pub async fn receive(&self) -> Result<FromCapture, LinkError> {
        // One byte more than a message can have, to notice longer ones.
        let mut buffer = [0_u8; MAX_FRAME_BYTES + 1];
        loop {
            let mut ready = self.socket.readable().await?;
            let result = ready.try_io(|socket| {
                Ok(rustix::net::recv(socket, &mut buffer, RecvFlags::empty()).map(|(length, _)| length)?)
            });
            match result {
                Ok(Ok(0)) => return Err(LinkError::Closed),
                Ok(Ok(length)) => return self.decode(&buffer[..length]).await,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => (),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Err(LinkError::Closed),
                Ok(Err(error)) => return Err(error.into()),
                Err(_would_block) => (),
            }
        }
    }

    async fn decode(&self, datagram: &[u8]) -> Result<FromCapture, LinkError> {
        match decode(datagram) {
            Ok(message) => Ok(message),
            Err(error) => {
                if matches!(error, WireError::Version { .. }) {
                    // So that the other end can say it too. If it no longer listens, nothing is lost.
                    let _ = self.send_bytes(&encode_refusal()).await;
                }
                Err(error.into())
            }
        }
    }

    /// Sends a request.
    pub async fn send(&self, message: &ToCapture) -> Result<(), LinkError> {
        let mut buffer = [0_u8; MAX_FRAME_BYTES];
        let frame = encode(message, &mut buffer)?;
        self.send_bytes(frame).await
    }

    async fn send_bytes(&self, bytes: &[u8]) -> Result<(), LinkError> {
        let sending = async {
            loop {
                let mut ready = self.socket.writable().await?;
                match ready.try_io(|socket| Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)) {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => (),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Err(LinkError::Closed),
                    Ok(Err(error)) => return Err(error.into()),
                    Err(_would_block) => (),
                }
            }
        };
        timeout(PATIENCE, sending).await.map_err(|_| LinkError::Silent)?
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, LinkError};
    use holdfast_link::{MAX_FRAME_BYTES, WireError};
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
    use std::os::fd::OwnedFd;
    use std::path::Path;

    fn listen(path: &Path) -> OwnedFd {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        rustix::net::listen(&socket, 4).unwrap();
        socket
    }

    /// What the link makes of a peer that answers the greeting with these bytes, and what the peer gets back.
    async fn peer_says(bytes: Vec<u8>) -> (LinkError, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let listener = listen(&path);
        let peer = tokio::task::spawn_blocking(move || {
            let socket = rustix::net::accept(&listener).unwrap();
            let mut buffer = [0; 64];
            rustix::net::recv(&socket, &mut buffer, RecvFlags::empty()).unwrap();
            rustix::net::send(&socket, &bytes, SendFlags::empty()).unwrap();
            let (length, _) = rustix::net::recv(&socket, &mut buffer, RecvFlags::empty()).unwrap();
            buffer[..length].to_vec()
        });
        let link = Link::connect(&path).unwrap();
        let error = link.greet("cam0").await.unwrap_err();
        drop(link);
        (error, peer.await.unwrap())
    }

    #[tokio::test]
    async fn garbage_is_refused_and_named() {
        let (error, _) = peer_says(b"GET / HTTP/1.1".to_vec()).await;
        assert!(matches!(error, LinkError::Wire(WireError::Foreign { length: 14 })), "{error}");
        let (error, _) = peer_says(vec![b'x'; MAX_FRAME_BYTES * 2]).await;
        assert!(matches!(error, LinkError::Wire(WireError::Foreign { .. })), "{error}");
        let (error, _) = peer_says(b"HF\x04\x00\xff\xff\xff\xff".to_vec()).await;
        assert!(matches!(error, LinkError::Wire(WireError::Malformed { .. })), "{error}");
    }

    #[tokio::test]
    async fn another_version_is_told_ours() {
        let (error, answer) = peer_says(b"HF\x63\x00whatever".to_vec()).await;
        assert!(error.to_string().contains("the peer speaks link version 99"), "{error}");
        assert_eq!(answer, holdfast_link::encode_refusal());
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Link::connect(&dir.path().join("none")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
