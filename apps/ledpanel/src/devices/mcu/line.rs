//! The tty: opened for us alone, and what is said when it can't be.

use std::fmt::Display;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{ClearBuffer, Error, ErrorKind, SerialPort as _, SerialPortBuilder, SerialStream};

use super::{McuConfig, WRITE_DEADLINE};
use crate::devices::DeviceError;

/// An open line. Dropped: what it has not sent is thrown away, for a close would wait for it, 30 s if the panel takes
/// nothing.
#[derive(Debug)]
pub(super) struct Line(SerialStream);

/// Raw, 8N1, nobody else's.
pub(super) fn builder(config: &McuConfig) -> SerialPortBuilder {
    tokio_serial::new(&config.path, config.baud).timeout(WRITE_DEADLINE)
}

/// Opens it. What it had received before is of another time, and is thrown away.
pub(super) fn open(config: &McuConfig) -> Result<Line, DeviceError> {
    let line = Line(SerialStream::open(&builder(config)).map_err(|error| unopened(&config.path, &error))?);
    line.0.clear(ClearBuffer::All).map_err(|error| broken(&config.path, error))?;
    Ok(line)
}

pub(super) fn unopened(path: &str, error: &Error) -> DeviceError {
    let remedy = match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => {
            "Plug it in, or set its path: `ls /dev/serial/by-id` shows those that are there"
        }
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => "Put the panel's user into the group `dialout`",
        // Its word for a tty that is held exclusively, by `TIOCEXCL` or `flock`.
        ErrorKind::NoDevice => "Another program may hold it: `fuser` with the path shows which",
        ErrorKind::InvalidInput | ErrorKind::Unknown | ErrorKind::Io(_) => {
            "Check that it is a serial port, and that it can do the baud rate"
        }
    };
    DeviceError::new(format!("the panel on {path} can't be opened: {error}"), remedy)
}

/// It was open, and is not any more.
pub(super) fn broken(path: &str, error: impl Display) -> DeviceError {
    DeviceError::new(format!("the line to the panel on {path} is broken: {error}"), "Check its cable and its power")
}

impl Drop for Line {
    fn drop(&mut self) {
        // A line that is gone has nothing to throw away.
        drop(self.0.clear(ClearBuffer::All));
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    /// Nothing: that of `tokio-serial` blocks the thread until the last byte is on the line.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
