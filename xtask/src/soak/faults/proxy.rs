//! Between a capture and its camera: passes everything on, or misbehaves.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

/// Between two looks at how to behave.
const LOOK: Duration = Duration::from_millis(20);

/// What becomes of what the camera says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It is passed on.
    Good,
    /// There is no camera: connections break, and new ones with them.
    Gone,
    /// Connections stay open, and nothing comes.
    Silent,
    /// A byte every second: enough to look alive, and never a picture.
    Trickle,
    /// Noise, as much as there would be pictures.
    Garbage,
}

impl Manner {
    const ALL: [Self; 5] = [Self::Good, Self::Gone, Self::Silent, Self::Trickle, Self::Garbage];

    fn now(shared: &AtomicU8) -> Self {
        Self::ALL.get(usize::from(shared.load(Ordering::Relaxed))).copied().unwrap_or(Self::Good)
    }
}

/// A listening proxy. Its threads end with it.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    manner: Arc<AtomicU8>,
    end: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of this camera.
    pub fn before(url: &str) -> anyhow::Result<Self> {
        let (host, path) = url.strip_prefix("rtsp://").and_then(|rest| rest.split_once('/')).context("no RTSP URL")?;
        let camera: SocketAddr = host.parse().with_context(|| format!("{host} is no address"))?;
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for a proxy")?;
        listener.set_nonblocking(true)?;
        let url = format!("rtsp://{}/{path}", listener.local_addr()?);
        let (manner, end) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicBool::new(false)));
        let (manner_too, end_too) = (Arc::clone(&manner), Arc::clone(&end));
        std::thread::spawn(move || listen(&listener, camera, &manner_too, &end_too));
        Ok(Self { url, manner, end })
    }

    /// Where the camera seems to be.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on.
    pub fn behave(&self, manner: Manner) -> anyhow::Result<()> {
        let Some(index) = Manner::ALL.iter().position(|one| *one == manner) else { bail!("no such manner") };
        self.manner.store(u8::try_from(index)?, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn listen(listener: &TcpListener, camera: SocketAddr, manner: &Arc<AtomicU8>, end: &Arc<AtomicBool>) {
    while !end.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        if Manner::now(manner) == Manner::Gone {
            continue;
        }
        let pumps = || -> std::io::Result<()> {
            client.set_nonblocking(false)?;
            let server = TcpStream::connect(camera)?;
            for (from, to, spoil) in
                [(client.try_clone()?, server.try_clone()?, false), (server.try_clone()?, client.try_clone()?, true)]
            {
                from.set_read_timeout(Some(LOOK))?;
                let (manner, end) = (Arc::clone(manner), Arc::clone(end));
                std::thread::spawn(move || pump(from, to, spoil, &manner, &end));
            }
            Ok(())
        };
        // A camera that is gone: the client's connection breaks with it.
        drop(pumps());
    }
}

/// One direction. `spoil`: this is what the camera says.
fn pump(mut from: TcpStream, mut to: TcpStream, spoil: bool, manner: &AtomicU8, end: &AtomicBool) {
    let mut buffer = [0; 1024];
    let mut noise = 1_u32;
    while !end.load(Ordering::Relaxed) && Manner::now(manner) != Manner::Gone {
        let now = if spoil { Manner::now(manner) } else { Manner::Good };
        if now == Manner::Silent {
            std::thread::sleep(LOOK);
            continue;
        }
        let room = if now == Manner::Trickle { 1 } else { buffer.len() };
        let length = match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        // As it is now: it may have changed while nothing came.
        if spoil && Manner::now(manner) == Manner::Garbage {
            for byte in &mut buffer[..length] {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte ^= noise.to_be_bytes()[0] | 1;
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        if now == Manner::Trickle {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::{Manner, Proxy};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_the_camera_says_passes_is_spoilt_or_breaks_off() {
        let camera = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::before(&format!("rtsp://{}/cam0", camera.local_addr().unwrap())).unwrap();
        let address = proxy.url().strip_prefix("rtsp://").unwrap().strip_suffix("/cam0").unwrap().to_owned();
        let mut client = TcpStream::connect(&address).unwrap();
        let (mut server, _) = camera.accept().unwrap();
        let mut said = |client: &mut TcpStream| {
            server.write_all(b"hello").unwrap();
            let mut heard = [0; 5];
            client.read_exact(&mut heard).map(|()| heard)
        };
        assert_eq!(said(&mut client).unwrap(), *b"hello");
        proxy.behave(Manner::Garbage).unwrap();
        assert_ne!(said(&mut client).unwrap(), *b"hello");
        proxy.behave(Manner::Gone).unwrap();
        let mut rest = Vec::new();
        // Broken off: an end or an error, and no wait.
        let _ = client.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}
