//! Decodes any bytes as messages between recorder and capture.

use holdfast_link::{FromCapture, MAX_FRAME_BYTES, ToCapture, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One input: as it is, and as the content of a frame that begins as it should.
pub fn run(bytes: &[u8]) {
    both(bytes);
    let mut buffer = [0; MAX_FRAME_BYTES];
    let hello = encode(&ToCapture::Hello, &mut buffer).expect("it fits");
    // Magic and version, then what was given instead of the message.
    let framed = [&hello[..4], bytes].concat();
    both(&framed);
}

fn both(frame: &[u8]) {
    there_and_back::<ToCapture>(frame);
    there_and_back::<FromCapture>(frame);
}

/// What decodes is encoded again, fits into a frame, and means the same.
fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(frame: &[u8]) {
    match decode::<T>(frame) {
        Ok(message) => {
            let mut buffer = [0; MAX_FRAME_BYTES];
            let again = encode(&message, &mut buffer).expect("what came in a frame fits into a frame");
            assert_eq!(decode::<T>(again).expect("what was encoded decodes"), message);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
