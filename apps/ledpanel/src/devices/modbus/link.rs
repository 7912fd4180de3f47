//! The way to a module: one request after the other, each with a timeout, and never an answer that belongs to an older
//! request.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::client::{self, Client as _};
use tokio_modbus::{ExceptionCode, Request, Response, Slave};
use tokio_serial::{DataBits, FlowControl, SerialStream};

use super::{ModbusConfig, Parity, StopBits, Transport};

/// After a request that failed a serial line is left alone for so long: what then still comes belongs to that request,
/// and is thrown away before the next. Else one late answer would be followed by nothing but answers to the request
/// before.
const SETTLE: Duration = Duration::from_millis(20);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection is of no use any more.
    #[error("{0}")]
    Closed(String),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// Not an answer to what was asked.
    #[error("an answer that can't be understood ({0})")]
    Spoilt(String),
    /// The module, or a gateway before it, says no.
    #[error("{0}")]
    Refused(ExceptionCode),
}

/// An open connection or port.
pub struct Link<'a> {
    config: &'a ModbusConfig,
    client: client::Context,
    wire: Wire,
    timeout: Duration,
    free_at: Instant,
    /// The last request failed: its answer may still come.
    stale: bool,
}

impl<'a> Link<'a> {
    /// Connects, or opens the port.
    pub async fn open(config: &'a ModbusConfig, within: Duration) -> io::Result<Self> {
        let (wire, client) = match &config.transport {
            Transport::Tcp { host, port } => {
                let connected = timeout(within, TcpStream::connect((host.as_str(), *port)));
                let late =
                    |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} ms", within.as_millis()));
                let stream = connected.await.map_err(late)??;
                // Else the kernel would hold back a request until the one before is acknowledged.
                stream.set_nodelay(true)?;
                let wire = Wire::new(stream);
                (wire.clone(), client::tcp::attach_slave(wire, Slave(config.unit)))
            }
            Transport::Rtu { path, baud, parity, stop_bits } => {
                let port = tokio_serial::new(path.to_string_lossy(), *baud)
                    .data_bits(DataBits::Eight)
                    .flow_control(FlowControl::None)
                    .parity((*parity).into())
                    .stop_bits((*stop_bits).into());
                // Some drivers take their time to open: on a thread, where nobody waits for it.
                let stream = tokio::task::spawn_blocking(move || SerialStream::open(&port));
                let wire = Wire::new(stream.await.map_err(io::Error::other)??);
                (wire.clone(), client::rtu::attach_slave(wire, Slave(config.unit)))
            }
        };
        let timeout = Duration::from_millis(config.timeout_ms);
        Ok(Self { config, client, wire, timeout, free_at: Instant::now(), stale: false })
    }

    /// Asks, and waits for the answer.
    pub async fn call(&mut self, request: Request<'_>) -> Result<Response, Failure> {
        sleep_until(self.free_at).await;
        if self.stale {
            self.renew().await?;
        }
        // Noise between telegrams, or an answer that came too late, must not be taken for the next answer.
        self.wire.discard().map_err(|error| self.closed(&error))?;
        let answered = timeout(self.timeout, self.client.call(request)).await;
        let failure = match answered {
            Err(_) => Failure::Silent(self.timeout),
            Ok(Ok(answer)) => {
                self.free_at = Instant::now() + gap(&self.config.transport);
                return answer.map_err(Failure::Refused);
            }
            Ok(Err(tokio_modbus::Error::Protocol(error))) => Failure::Spoilt(error.to_string()),
            Ok(Err(tokio_modbus::Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Failure::Spoilt(error.to_string())
            }
            Ok(Err(tokio_modbus::Error::Transport(error))) => self.closed(&error),
        };
        self.stale = true;
        self.free_at = Instant::now() + SETTLE;
        Err(failure)
    }

    /// Over TCP a late answer is left behind with its connection: it can come at any time, and the client takes what
    /// comes first. A serial line has only one connection; its client is made anew, since one that has met rubbish says
    /// that the line has ended.
    async fn renew(&mut self) -> Result<(), Failure> {
        match &self.config.transport {
            Transport::Rtu { .. } => {
                self.client = client::rtu::attach_slave(self.wire.clone(), Slave(self.config.unit));
            }
            Transport::Tcp { .. } => {
                *self = Self::open(self.config, self.timeout).await.map_err(|error| match error.kind() {
                    io::ErrorKind::TimedOut => Failure::Silent(self.timeout),
                    _ => Failure::Closed(format!("it can't be reached any more: {error}")),
                })?;
            }
        }
        self.stale = false;
        Ok(())
    }

    /// The client says of an orderly end what happens to stand in `errno`.
    fn closed(&self, error: &io::Error) -> Failure {
        let ended = self.wire.lock().ended;
        Failure::Closed(if ended {
            "the connection was closed by the other side".to_owned()
        } else {
            error.to_string()
        })
    }
}

/// What must lie between two telegrams on a serial line: 3.5 characters of 11 bits, above 19200 a fixed time, as the
/// standard says. Without it a module takes two for one.
fn gap(transport: &Transport) -> Duration {
    match transport {
        Transport::Tcp { .. } => Duration::ZERO,
        Transport::Rtu { baud: 19_201.., .. } => Duration::from_micros(1750),
        Transport::Rtu { baud, .. } => Duration::from_micros(38_500_000 / u64::from((*baud).max(1))),
    }
}

impl From<Parity> for tokio_serial::Parity {
    fn from(parity: Parity) -> Self {
        match parity {
            Parity::None => Self::None,
            Parity::Even => Self::Even,
            Parity::Odd => Self::Odd,
        }
    }
}

impl From<StopBits> for tokio_serial::StopBits {
    fn from(bits: StopBits) -> Self {
        match bits {
            StopBits::One => Self::One,
            StopBits::Two => Self::Two,
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for T {}

/// What the client writes to and reads from, and what we can empty beside it.
#[derive(Debug, Clone)]
struct Wire(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    stream: Box<dyn Stream>,
    /// The other side has ended it.
    ended: bool,
}

impl Wire {
    fn new(stream: impl Stream + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream: Box::new(stream), ended: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nobody panics while holding it; what is inside is whole at any rate.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Throws away what has come in, without waiting. A line on which it never ends is given up after a while.
    fn discard(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let mut bytes = [0; 256];
        let mut nobody = Context::from_waker(Waker::noop());
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut bytes);
            match inner.poll_read(&mut nobody, &mut buf) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) if inner.ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(read) => read?,
            }
        }
        Ok(())
    }
}

impl Inner {
    fn poll_read(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        self.ended |= matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        read
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(context, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write(context, bytes)
    }

    /// Does nothing: of a serial port it would be `tcdrain`, which blocks the thread until the last bit is out (10 ms
    /// at 9600), and for ever where the line is held.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_three_and_a_half_characters_and_never_too_short() {
        let at = |baud| {
            gap(&Transport::Rtu { path: "/dev/ttyS0".into(), baud, parity: Parity::Even, stop_bits: StopBits::One })
        };
        assert_eq!(at(9600), Duration::from_micros(4010));
        assert_eq!(at(19_200), Duration::from_micros(2005));
        assert_eq!(at(115_200), Duration::from_micros(1750));
        assert_eq!(at(0), Duration::from_micros(38_500_000));
    }

    #[tokio::test]
    async fn what_came_late_is_thrown_away_and_an_end_is_seen() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let wire = Wire::new(ours);
        wire.discard().unwrap();
        {
            let mut theirs = theirs;
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &[7; 1000]).await.unwrap();
            wire.discard().unwrap();
            let mut rest = [0; 1];
            let mut buf = ReadBuf::new(&mut rest);
            let nothing = wire.lock().poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
            assert!(nothing.is_pending());
        }
        assert_eq!(wire.discard().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_line_goes_on_after_more_rubbish_than_the_decoder_puts_up_with() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let (baud, parity, stop_bits) = (115_200, Parity::None, StopBits::One);
        let line = Transport::Rtu { path: "/dev/ttyS0".into(), baud, parity, stop_bits };
        let config = ModbusConfig::new("desk", line, 1);
        let wire = Wire::new(ours);
        let client = client::rtu::attach_slave(wire.clone(), Slave(1));
        let (timeout, free_at) = (Duration::from_secs(60), Instant::now());
        let mut link = Link { config: &config, client, wire, timeout, free_at, stale: false };
        let module = async {
            let mut request = [0; 8];
            tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut request).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0xff; 40]).await.unwrap();
            tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut request).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &[1, 2, 1, 1, 0x60, 0x48]).await.unwrap();
        };
        let asking = async {
            let spoilt = link.call(Request::ReadDiscreteInputs(0, 1)).await;
            assert!(matches!(spoilt, Err(Failure::Spoilt(_))), "{spoilt:?}");
            link.call(Request::ReadDiscreteInputs(0, 1)).await.unwrap()
        };
        let (answer, ()) = tokio::join!(asking, module);
        assert!(matches!(answer, Response::ReadDiscreteInputs(bits) if bits[0]));
    }
}
