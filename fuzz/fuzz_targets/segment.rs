//! Reads, verifies and recovers any bytes as a segment file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holdfast_fuzz::segment::run(bytes));
