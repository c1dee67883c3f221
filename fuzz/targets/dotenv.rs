//! Any bytes for `checks::dotenv`, which says what must hold.

#![no_main]

#[allow(dead_code)]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::dotenv(bytes));
