//! The engine's time, and when the feed was read.

use std::time::{Duration, Instant};

use bevy_ecs::resource::Resource;
use onbeat::precise_now;

/// The moment from which the engine's nanoseconds count.
#[derive(Resource, Clone, Copy, Debug)]
pub(crate) struct EngineClock {
    origin: Instant,
}

impl EngineClock {
    pub(super) fn starting_at(origin: Instant) -> Self {
        Self { origin }
    }

    /// Nanoseconds from the origin to `at`.
    pub(super) fn ns(self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.origin))
    }

    /// Nanoseconds from the origin to the moment of the call.
    pub(super) fn now_ns(self) -> u64 {
        self.ns(precise_now())
    }
}

/// A duration in nanoseconds; what does not fit is the largest there is.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When the feed was read.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub(crate) struct FeedReads {
    first: Option<Instant>,
    last: Option<Instant>,
    /// The read whose events the systems of this tick see.
    current: Option<Instant>,
}

impl FeedReads {
    /// A read brought messages.
    pub(super) fn note(&mut self, at: Instant) {
        self.first.get_or_insert(at);
        self.last = Some(at);
        self.current = Some(at);
    }

    /// The read whose events the systems of this tick see, if there was one.
    pub(super) fn current(&self) -> Option<Instant> {
        self.current
    }

    /// The tick is over.
    pub(super) fn forget_current(&mut self) {
        self.current = None;
    }

    /// When messages were last booked: the last read counts until its messages are in the book.
    pub(super) fn booked(&mut self, at: Instant) {
        if self.current.is_some() {
            self.last = Some(at);
        }
    }

    /// From the first read to the booking of the last message.
    pub(crate) fn elapsed(&self) -> Duration {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }
}
