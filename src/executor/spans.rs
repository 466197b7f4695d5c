//! Spans for those who collect them, behind the feature `tracing`; without it, nothing.
//!
//! A task's span lasts as long as the task, and is entered for each poll; a tick's span lasts from the
//! moment at which its clock is frozen to its end. The target of both is `onbeat`, the level is trace.
#![forbid(unsafe_code)]

#[cfg(feature = "tracing")]
mod on {
    use std::panic::Location;

    /// A span, which may be disabled.
    pub(crate) type Span = tracing::Span;

    /// While it lives, a tick's span is entered.
    #[derive(Debug)]
    pub(crate) struct InTick(
        #[expect(dead_code, reason = "dropped at the end")] tracing::span::EnteredSpan,
    );

    /// The span of the tick of this number.
    pub(crate) fn tick(number: u64) -> InTick {
        InTick(tracing::trace_span!(target: "onbeat", "tick", number).entered())
    }

    /// The span of a task: the key as `TaskKey` writes it, and what is known of it.
    pub(crate) fn task(
        (runtime, serial): (u64, u64),
        name: &str,
        spawned_at: &'static Location<'static>,
    ) -> Span {
        tracing::trace_span!(
            target: "onbeat",
            "task",
            key = %format_args!("{runtime}:{serial}"),
            name,
            spawned_at = %spawned_at,
        )
    }
}

#[cfg(not(feature = "tracing"))]
mod on {
    #[derive(Debug)]
    pub(crate) struct InTick;

    #[inline(always)]
    pub(crate) fn tick(_: u64) -> InTick {
        InTick
    }
}

pub(crate) use on::tick;
#[cfg(feature = "tracing")]
pub(crate) use on::{Span, task};
