//! Waiting for a condition that is looked at before a stage.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    thread,
};

use bevy_ecs::world::World;

use super::{lend::Lent, stages::StageEntry};
use crate::{context, executor::details::Wait};

/// What the loop asks before a stage.
pub(super) trait Condition {
    /// Asks, with the World. A panic is kept for the task that waits.
    fn check(&self, lent: &Lent<'_>);

    /// Whether there is an answer.
    fn is_met(&self) -> bool;
}

/// A closure, and its answer.
pub(super) struct Test<F, T> {
    /// Empty while it runs.
    f: Cell<Option<F>>,
    answer: Cell<Option<thread::Result<T>>>,
    met: Cell<bool>,
    /// Where the wait began: the place that a nested access is told of.
    place: &'static Location<'static>,
}

impl<F, T> Test<F, T> {
    pub(super) fn new(f: F, place: &'static Location<'static>) -> Rc<Self> {
        let (answer, met) = (Cell::new(None), Cell::new(false));
        Rc::new(Self { f: Cell::new(Some(f)), answer, met, place })
    }
}

impl<F: FnMut(&mut World) -> Option<T>, T> Condition for Test<F, T> {
    fn check(&self, lent: &Lent<'_>) {
        let Some(mut f) = self.f.take() else {
            return;
        };
        let asked = lent.with_at(self.place, |world| {
            let answer = catch_unwind(AssertUnwindSafe(|| f(world)));
            let flushed = catch_unwind(AssertUnwindSafe(|| world.flush()));
            answer.and_then(|answer| flushed.map(|()| answer))
        });
        self.f.set(Some(f));
        let answer = match asked {
            Ok(Ok(Some(value))) => Ok(value),
            Ok(Err(payload)) => Err(payload),
            // Not yet; or the World was replaced, which the loop finds by itself.
            Ok(Ok(None)) | Err(_) => return,
        };
        self.answer.set(Some(answer));
        self.met.set(true);
    }

    fn is_met(&self) -> bool {
        self.met.get()
    }
}

/// The future of [`WorldCtx::until`](crate::WorldCtx::until): completes before a stage, in the first
/// tick in which a condition gives a value.
///
/// # Cancellation
///
/// Dropping it drops the condition, which is not asked again.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, Tick, Until, WorldCtx};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let until: Until<_, u32> = WorldCtx::current().until(Tick, |_: &mut World| Some(7));
///     assert_eq!(until.await, 7);
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Until<F, T> {
    entry: StageEntry,
    test: Rc<Test<F, T>>,
}

impl<F, T> Until<F, T> {
    pub(super) fn new(entry: StageEntry, test: Rc<Test<F, T>>) -> Self {
        Self { entry, test }
    }
}

impl<F, T> Unpin for Until<F, T> {}

impl<F, T> Future for Until<F, T> {
    type Output = T;

    /// # Panics
    ///
    /// With the panic of the condition; when the runtime in which it was made has gone; when it is
    /// polled after it completed.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if self.entry.poll(cx).is_pending() {
            context::try_current(|core| core.executor.note_wait(Wait::Other("a condition")));
            return Poll::Pending;
        }
        match self.test.answer.take().expect("`Until` is polled after it completed") {
            Ok(value) => Poll::Ready(value),
            Err(payload) => {
                // Half an update may stand in the World, as when a `with_world` closure panics.
                context::try_current(|core| core.executor.note_torn());
                resume_unwind(payload)
            }
        }
    }
}

impl<F, T> fmt::Debug for Until<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Until").field("called_at", &self.test.place).finish_non_exhaustive()
    }
}
