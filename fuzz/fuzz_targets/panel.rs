//! Takes any bytes for what a serial line to a panel brings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holdfast_fuzz::panel::run(bytes));
