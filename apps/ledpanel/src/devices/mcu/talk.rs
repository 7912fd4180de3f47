//! Telling the panel what to show: at each change, and again and again.

use std::convert::Infallible;
use std::time::Duration;

use holdfast_link::panel::{Lines, SHOW_EVERY_MS, Show, ToPanel, encode};
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{McuConfig, WRITE_DEADLINE, line, shown};
use crate::devices::DeviceError;
use crate::model::Frame;

/// Sooner than must be, for timers are late.
const SHOW_EVERY: Duration = Duration::from_millis(SHOW_EVERY_MS - 50);
/// A display whose text was damaged on the way shows the right one after so long.
const TEXT_EVERY: Duration = Duration::from_secs(1);
/// A byte is ten bits on the line: start, eight, stop.
const BITS_PER_BYTE: u32 = 10;

/// Shows the newest frame until the line breaks or nobody makes frames any more.
pub(super) async fn talk(
    config: &McuConfig,
    writer: &mut (impl AsyncWrite + Unpin),
    frames: &mut watch::Receiver<Frame>,
) -> Result<Infallible, DeviceError> {
    let path = &config.path;
    let mut shown = Told::<Show>::default();
    let mut text = Told::<Lines>::default();
    loop {
        let frame = frames.borrow_and_update().clone();
        let (now, mut bytes) = (Instant::now(), 0);
        if let Some(show) = shown.due(shown::show(config, &frame), SHOW_EVERY, now) {
            bytes += send(path, writer, &ToPanel::Show(show)).await?;
        }
        if config.display
            && let Some(lines) = text.due(shown::lines(&frame), TEXT_EVERY, now)
        {
            bytes += send(path, writer, &ToPanel::Text(lines)).await?;
        }
        // What waits in the kernel is late when it is shown. So the next frame, the newest then, is taken when the line
        // is free.
        sleep_until(Instant::now() + on_the_line(bytes, config.baud)).await;
        let again = shown.at.unwrap_or_else(Instant::now) + SHOW_EVERY;
        tokio::select! {
            changed = frames.changed() => if changed.is_err() {
                let what = "nobody says any more what the panel shows";
                return Err(DeviceError::new(what, "The panel program is ending"));
            },
            () = sleep_until(again) => {}
        }
    }
}

/// What was told last, and when.
#[derive(Debug)]
struct Told<T> {
    what: Option<T>,
    at: Option<Instant>,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { what: None, at: None }
    }
}

impl<T: Clone + PartialEq> Told<T> {
    /// `new`, if it is to be told now: it is another, or the last time is long ago.
    fn due(&mut self, new: T, every: Duration, now: Instant) -> Option<T> {
        if self.what.as_ref() == Some(&new) && self.at.is_some_and(|at| now < at + every) {
            return None;
        }
        *self = Self { what: Some(new.clone()), at: Some(now) };
        Some(new)
    }
}

/// How long the line takes for so many bytes.
fn on_the_line(bytes: usize, baud: u32) -> Duration {
    let bits = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(BITS_PER_BYTE);
    Duration::from_secs(1) * bits / baud.max(1)
}

async fn send<T: Serialize>(
    path: &str,
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<usize, DeviceError> {
    let frame = encode(message).map_err(|error| line::broken(path, error))?;
    write(path, writer, &frame).await?;
    Ok(frame.len())
}

/// Hands bytes to the kernel, which has room for many frames unless the line takes none.
pub(super) async fn write(path: &str, writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), DeviceError> {
    match timeout(WRITE_DEADLINE, writer.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(line::broken(path, error)),
        Err(_) => Err(line::broken(path, "it takes no bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_takes_ten_bits() {
        assert_eq!(on_the_line(96, 9600), Duration::from_millis(100));
        assert_eq!(on_the_line(0, 0), Duration::ZERO);
    }

    #[test]
    fn told_at_a_change_and_again_after_a_while() {
        let (mut told, begin) = (Told::default(), Instant::now());
        assert_eq!(told.due(1, SHOW_EVERY, begin), Some(1));
        assert_eq!(told.due(1, SHOW_EVERY, begin), None);
        assert_eq!(told.due(2, SHOW_EVERY, begin), Some(2));
        assert_eq!(told.due(2, SHOW_EVERY, begin + SHOW_EVERY), Some(2));
    }
}
