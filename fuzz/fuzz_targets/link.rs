//! Decodes any bytes as messages between recorder and capture.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holdfast_fuzz::link::run(bytes));
