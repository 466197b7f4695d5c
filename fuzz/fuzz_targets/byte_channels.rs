//! Programs of claims, commits and reads on byte channels, and on a queue of vectors.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/byte_programs/mod.rs"]
mod byte_programs;

fuzz_target!(|bytes: &[u8]| byte_programs::run_program(bytes));
