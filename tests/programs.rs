//! Random programs of tasks, under onbeat and under a reference executor: every poll, its tick and its
//! time, every outcome and every drop are the same.
//!
//! `ONBEAT_PROGRAMS` says how many programs run, in place of the default.

mod common;
mod reference;

use common::{rounds, watchdog};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use reference::run_program;

/// A few seconds of programs.
const PROGRAMS: usize = 1_000;

#[test]
fn a_program_does_what_the_contract_says() {
    let cases = std::env::var("ONBEAT_PROGRAMS").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(rounds(PROGRAMS) as u32);
    let _guard = watchdog(120 + u64::from(cases / 10));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let programs = prop::collection::vec(any::<u8>(), 0..200);
    let ran = TestRunner::new(config).run(&programs, |bytes| {
        run_program(&bytes);
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}
