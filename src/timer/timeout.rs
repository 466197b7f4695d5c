//! [`Timeout`]: a future with a limit in time.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

use super::sleep::{Sleep, sleep_of, sleep_until_of};

/// Gives `future`'s output, or [`Elapsed`] when `duration` has passed without one.
///
/// The future is polled first: one that is ready in the turn of the deadline wins.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, timeout};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     assert_eq!(timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
///     let never = std::future::pending::<()>();
///     assert!(timeout(Duration::from_millis(1), never).await.is_err());
/// });
/// ```
#[track_caller]
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_of("timeout()", duration) }
}

/// As [`timeout`], with the deadline as an instant.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, event_time, sleep, timeout_at};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let close = event_time() + Duration::from_secs(3_600);
///     let late = sleep(Duration::from_secs(3_601));
///     assert!(timeout_at(close, late).await.is_err());
///     assert_eq!(event_time(), close);
/// });
/// ```
#[track_caller]
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until_of("timeout_at()", deadline) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    ///
    /// # Cancellation
    ///
    /// Dropping it drops the inner future and takes the timer out of the wheel at once.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, Timeout, timeout};
    /// use std::{future::{Ready, ready}, time::Duration};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let mut limited: Timeout<Ready<u32>> = timeout(Duration::from_secs(1), ready(7));
    ///     *limited.get_mut() = ready(8);
    ///     assert_eq!(limited.get_ref().clone().into_inner(), 8);
    ///     assert_eq!(limited.await, Ok(8));
    /// });
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The limited future.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The limited future, to change it.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The limited future, without its limit.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, timeout};
    /// use std::{future::pending, pin::Pin, time::Duration};
    ///
    /// let mut world = World::new();
    /// Runtime::new(&mut world).block_on(async {
    ///     let patient: Pin<Box<dyn Future<Output = u32>>> = Box::pin(async { 7 });
    ///     let mut limited = timeout(Duration::ZERO, patient);
    ///     *limited.get_mut() = Box::pin(pending());
    ///     assert!((&mut limited).await.is_err());
    ///     *limited.get_mut() = Box::pin(async { 8 });
    ///     assert_eq!(limited.into_inner().await, 8);
    /// });
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// The time of a [`timeout`] has passed; the future it limited has been dropped or will be with the
/// [`Timeout`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Elapsed, Runtime, timeout};
/// use std::{future::pending, time::Duration};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let late: Result<(), Elapsed> = timeout(Duration::ZERO, pending()).await;
///     let words = "the deadline passed before the future completed";
///     assert_eq!(late.unwrap_err().to_string(), words);
/// });
/// ```
///
/// It is also an [`io::Error`], of the kind [`TimedOut`](io::ErrorKind::TimedOut):
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, timeout};
/// use std::{future::pending, io, time::Duration};
///
/// async fn read() -> io::Result<usize> {
///     timeout(Duration::ZERO, pending::<io::Result<usize>>()).await?
/// }
///
/// let mut world = World::new();
/// let late = Runtime::new(&mut world).block_on(read());
/// assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed before the future completed")
    }
}

impl std::error::Error for Elapsed {}

/// [`io::ErrorKind::TimedOut`], so that `?` works on a limited operation of a socket.
impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
