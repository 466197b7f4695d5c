//! Running what may panic, several times, and letting the first panic go on when all has run.
#![forbid(unsafe_code)]

use std::{
    any::Any,
    mem::forget,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread::panicking,
};

/// The first panic of several steps. The payloads of others are leaked, since dropping one could panic as
/// well.
#[derive(Default, Debug)]
pub struct Unwound(Option<Box<dyn Any + Send>>);

impl Unwound {
    /// Runs `f`. `None`: it panicked.
    pub(super) fn run<R>(&mut self, f: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => Some(result),
            Err(payload) if self.0.is_none() => {
                self.0 = Some(payload);
                None
            }
            Err(payload) => {
                forget(payload);
                None
            }
        }
    }

    /// For destructors: the panic goes on, unless another is on its way already, which goes on alone.
    pub(super) fn go_on(self) {
        match self.0 {
            Some(payload) if panicking() => forget(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }

    /// Gives what the steps made, or lets the panic go on, without it.
    pub(super) fn end<R>(mut self, made: Option<R>) -> R {
        match (self.0.take(), made) {
            (None, Some(made)) => made,
            (None, None) => unreachable!("what did not panic has made something"),
            (Some(payload), made) => {
                self.run(|| drop(made));
                if let Some(second) = self.0.take() {
                    forget(second);
                }
                resume_unwind(payload)
            }
        }
    }
}
