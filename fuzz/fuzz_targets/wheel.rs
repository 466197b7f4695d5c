//! Programs of timers, in the wheel and in a sorted map. The wheel is private, so its files are included.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/timer/wheel/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the loop uses more of the wheel than its model does")]
mod wheel;

// Built without a fuzzer, to see that it compiles, the model is not there.
fuzz_target!(|bytes: &[u8]| {
    #[cfg(fuzzing)]
    wheel::model::run_program(bytes);
    #[cfg(not(fuzzing))]
    let _ = bytes;
});
