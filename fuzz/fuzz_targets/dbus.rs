//! Reads any bytes as the options of D-Bus methods.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holdfast_fuzz::dbus::run(bytes));
