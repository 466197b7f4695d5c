//! [`shield()`]: what goes on when nobody waits for it any more.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    fmt,
    panic::Location,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::context;

/// Awaits `future`, which goes on as a task when the shield is dropped before that.
///
/// So what must be done to its end, once begun, may stand in a [`race`](super::race()), under a timeout, in a
/// scope or in a task that is aborted. The shield gives the output while it lives. When it is dropped after a
/// poll and before the end, the future becomes a task of the runtime in which it was last polled, of which no
/// handle is left: its output is dropped, a panic is as that of any task, and it is polled in this turn.
/// A future that was never polled has begun nothing, and is dropped. So it is, begun or not, where its
/// runtime has gone or is being dropped.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Cancellation
///
/// Dropping the shield loses the output, and nothing else.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, shield, sleep, timeout};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// let mut world = World::new();
/// Runtime::builder(&mut world).clock(ClockMode::Virtual).build().block_on(async {
///     let confirmed = Rc::new(Cell::new(false));
///     let shared = confirmed.clone();
///     let cancel_order = async move {
///         sleep(Duration::from_millis(3)).await;
///         shared.set(true);
///     };
///     let limit = Duration::from_millis(1);
///     assert!(timeout(limit, shield(cancel_order)).await.is_err());
///     sleep(Duration::from_millis(5)).await;
///     assert!(confirmed.get());
/// });
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> Shield<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let runtime = context::current("shield()", |core| core.serial());
    let made_at = Location::caller();
    Shield { future: Some(Box::pin(future)), begun: false, runtime, made_at }
}

/// The future of [`shield()`].
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, scope::Shield, shield};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let shielded: Shield<_> = shield(async { 7 });
///     assert_eq!(shielded.await, 7);
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Shield<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    /// `None` while it is polled, and after its end.
    future: Option<Pin<Box<F>>>,
    begun: bool,
    runtime: u64,
    made_at: &'static Location<'static>,
}

impl<F> Unpin for Shield<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
}

impl<F> Future for Shield<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    type Output = F::Output;

    /// # Panics
    ///
    /// With the panic of the future, which is dropped then, and when it is polled again after its end.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut future = self.future.take().expect("shield() is polled again after it has ended");
        if let Some(serial) = context::try_current(|core| core.serial()) {
            self.runtime = serial;
        }
        self.begun = true;
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<F> Drop for Shield<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn drop(&mut self) {
        let Some(future) = self.future.take().filter(|_| self.begun) else {
            return;
        };
        // Kept here too, so that a future that finds no place is not dropped while the runtime is looked up.
        let kept = Rc::new(Cell::new(Some(future)));
        let detached = Detached(kept.clone());
        let spawned = context::find(self.runtime, |core| {
            let task = core.executor.spawn(detached, self.made_at).ok()?;
            core.spawned(task);
            core.executor.detach(task)
        });
        drop(spawned);
        // The task, if there is one, holds the other end.
        drop(kept);
    }
}

/// A future that goes on without its shield.
struct Detached<F>(Rc<Cell<Option<Pin<Box<F>>>>>);

impl<F: Future> Future for Detached<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut future) = self.0.take() else {
            return Poll::Ready(());
        };
        if future.as_mut().poll(cx).is_pending() {
            self.0.set(Some(future));
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl<F> fmt::Debug for Shield<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("begun", &self.begun).finish_non_exhaustive()
    }
}
