//! [`After`]: a future that begins later.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

use super::sleep::{Sleep, sleep_of, sleep_until_of};

/// Waits until `deadline`, then runs `future` and gives its output.
///
/// `future` is not polled before the deadline, and first polled in the turn in which the wait ends: in
/// the next one at the earliest.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, after, event_time};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let open = event_time() + Duration::from_secs(3_600);
///     let first_order = after(open, async { event_time() });
///     assert_eq!(first_order.await, open);
/// });
/// ```
#[track_caller]
pub fn after<F: Future>(deadline: Instant, future: F) -> After<F> {
    After { sleep: sleep_until_of("after()", deadline), waited: false, future }
}

/// As [`after`], with the deadline `delay` after this call, by [`precise_now`](crate::precise_now).
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, after_delay, event_time};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let start = event_time();
///     let waited = after_delay(Duration::from_millis(5), async { event_time() - start }).await;
///     assert_eq!(waited, Duration::from_millis(5));
/// });
/// ```
#[track_caller]
pub fn after_delay<F: Future>(delay: Duration, future: F) -> After<F> {
    After { sleep: sleep_of("after_delay()", delay), waited: false, future }
}

pin_project! {
    /// The future of [`after`] and [`after_delay`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future, which may never have been polled, and takes the timer out of
    /// the wheel at once.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{After, Runtime, after_delay};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let later: After<_> = after_delay(Duration::from_micros(10), async { 7 });
    ///     assert_eq!(later.await, 7);
    /// });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct After<F> {
        sleep: Sleep,
        waited: bool,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for After<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !*this.waited {
            if Pin::new(this.sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            *this.waited = true;
        }
        this.future.poll(cx)
    }
}
