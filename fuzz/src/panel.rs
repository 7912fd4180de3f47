//! Takes any bytes for what a serial line brings, at both of its ends.

use std::fmt::Debug;

use holdfast_link::panel::{
    About, Board, Decoder, Do, FromPanel, MAX_FRAME_BYTES, SILENCE_MS, ToPanel, WireError, crc, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One input. The first byte is even: what comes over the line. Odd: the content of a frame, version first, made whole
/// here, since no fuzzer guesses a CRC.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let line = if first % 2 == 0 { rest.to_vec() } else { whole(rest) };
    decoder::<ToPanel>(&line, &ToPanel::Heartbeat);
    decoder::<FromPanel>(&line, &FromPanel::Edge { button: 0, pressed: true, age_us: 0 });
    board(&line);
}

/// CRC, COBS, zeros.
fn whole(content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min(200)];
    let body = [content, &crc(content).to_le_bytes()].concat();
    let runs = body.split(|byte| *byte == 0);
    let stuffed = runs.flat_map(|run| [&[u8::try_from(run.len() + 1).expect("short")][..], run].concat());
    [0].into_iter().chain(stuffed).chain([0]).collect()
}

/// What decodes is encoded again and means the same; what does not has a reason and is counted; and a frame behind it
/// is heard.
fn decoder<T: Serialize + DeserializeOwned + PartialEq + Debug>(line: &[u8], next: &T) {
    let mut decoder = Decoder::<T>::default();
    let mut thrown = 0;
    for said in line.iter().filter_map(|byte| decoder.feed(*byte)) {
        match said {
            Ok(message) => {
                let again = encode(&message).expect("what came in a frame fits into a frame");
                assert!(again.len() <= MAX_FRAME_BYTES);
                let mut other = Decoder::<T>::default();
                assert_eq!(again.iter().filter_map(|byte| other.feed(*byte)).collect::<Vec<_>>(), [Ok(message)]);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let counts = !matches!(error, WireError::Version { .. } | WireError::RefusedByPeer { .. });
                thrown += u32::from(counts);
            }
        }
    }
    assert_eq!(decoder.thrown().total(), thrown);
    let frame = encode(next).expect("it fits");
    let last = frame.iter().filter_map(|byte| decoder.feed(*byte)).last();
    assert!(matches!(&last, Some(Ok(message)) if message == next), "{last:?}");
}

/// Whatever a microcontroller hears: a second later it shows its fault pattern, once.
fn board(line: &[u8]) {
    let mut board = Board::new(About::default());
    let mut faulty = false;
    let mut see = |act: Do| match act {
        Do::Show(_) => faulty = false,
        Do::Fault => faulty = true,
        Do::Text(_) => {}
        Do::Write(frame) => assert!(frame.len() <= MAX_FRAME_BYTES),
    };
    for (at_us, byte) in (0..).zip(line) {
        board.receive(*byte, at_us).map(&mut see);
        board.tick(at_us).map(&mut see);
    }
    let later_us = line.len() as u64 + SILENCE_MS * 1000;
    while let Some(act) = board.tick(later_us) {
        see(act);
    }
    assert!(faulty);
}
