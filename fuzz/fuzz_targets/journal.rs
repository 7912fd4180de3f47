//! Opens any bytes as a journal, and journals that were spoilt.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holdfast_fuzz::journal::run(bytes));
