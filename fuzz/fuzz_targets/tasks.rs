//! Programs of tasks, under onbeat and under the reference executor.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/reference/mod.rs"]
mod reference;

fuzz_target!(|bytes: &[u8]| reference::run_program(bytes));
