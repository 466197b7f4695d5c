//! Random programs of tasks, under onbeat and under a reference executor: every poll, its tick and its
//! time, every outcome and every drop are the same.
//!
//! `ONBEAT_PROGRAMS` says how many programs run, in place of the default.

mod common;
mod reference;

use common::watchdog;
use proptest::prelude::*;
use reference::run_program;

/// How many programs run: a few seconds of them unless somebody asks for more.
fn cases() -> u32 {
    std::env::var("ONBEAT_PROGRAMS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_program_does_what_the_contract_says(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _guard = watchdog(30);
        run_program(&bytes);
    }
}
