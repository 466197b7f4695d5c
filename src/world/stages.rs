//! Waiting for a stage.
#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bevy_ecs::schedule::InternedScheduleLabel;

use super::{until::Condition, waiters::Waiters};
use crate::{
    context::{self, Core},
    executor::details::Wait,
};

/// What an entry waits for: the look for its stage, from a tick on, and then perhaps a condition.
pub(super) struct StageWait {
    from_tick: u64,
    condition: Option<Rc<dyn Condition>>,
}

impl StageWait {
    /// The condition to ask in `tick`.
    pub(super) fn condition(&self, tick: u64) -> Option<Rc<dyn Condition>> {
        self.condition.clone().filter(|condition| self.from_tick <= tick && !condition.is_met())
    }

    /// Whether the wait ends with the look in `tick`.
    pub(super) fn is_over(&self, tick: u64) -> bool {
        self.from_tick <= tick && self.condition.as_ref().is_none_or(|asked| asked.is_met())
    }
}

/// When a wait that is made now may end at the earliest.
#[derive(Clone, Copy)]
pub(super) enum Earliest {
    /// At the next look for the stage.
    NextLook,
    /// In the next tick.
    NextTick,
}

/// An entry among those who wait for a stage.
pub(super) struct StageEntry {
    runtime: u64,
    waiting: Rc<RefCell<Waiters<usize, StageWait>>>,
    /// `None` once the wait is over.
    entry: Option<usize>,
}

impl StageEntry {
    /// # Panics
    ///
    /// When `label` is not a stage of this runtime; `what` was called.
    #[track_caller]
    pub(super) fn new(
        core: &Core,
        what: &str,
        label: InternedScheduleLabel,
        earliest: Earliest,
        condition: Option<Rc<dyn Condition>>,
    ) -> Self {
        let looks = &core.looks;
        let Some(stage) = looks.stage(label) else {
            let stages = looks.stages();
            panic!(
                "{what} awaits {label:?}, which is not a stage of this runtime; its stages are \
                 {stages:?}, and `RuntimeBuilder::stages` names others"
            );
        };
        let from_tick = match earliest {
            Earliest::NextLook => looks.tick_ahead(core, label),
            Earliest::NextTick => core.tick.get() + 1,
        };
        let keeps_awake = condition.is_none();
        let wait = StageWait { from_tick, condition };
        let entry = looks.enter(stage, wait, keeps_awake);
        Self { runtime: core.serial(), waiting: looks.waiting.clone(), entry: Some(entry) }
    }

    /// # Panics
    ///
    /// When the runtime has gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(entry) = self.entry else {
            return Poll::Ready(());
        };
        let fired = self.waiting.borrow().is_fired(entry);
        if fired {
            self.leave();
            return Poll::Ready(());
        }
        context::find(self.runtime, |core| core.executor.note_wait(Wait::Other("a stage")))
            .expect("the runtime whose stage is awaited has gone");
        let waker = cx.waker().clone();
        let old = self.waiting.borrow_mut().park(entry, waker);
        drop(old);
        Poll::Pending
    }

    fn leave(&mut self) {
        if let Some(entry) = self.entry.take() {
            let left = self.waiting.borrow_mut().leave(entry);
            drop(left);
        }
    }
}

impl Drop for StageEntry {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The future of [`WorldCtx::at`](crate::WorldCtx::at) and [`WorldCtx::next`](crate::WorldCtx::next):
/// completes just before a stage.
///
/// # Cancellation
///
/// Dropping it gives up the place in the order.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{BeforeStage, Runtime, Tick, WorldCtx};
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async {
///     let before: BeforeStage = WorldCtx::current().at(Tick);
///     before.await;
/// });
/// assert_eq!(rt.stats().ticks, 1);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct BeforeStage(StageEntry);

impl BeforeStage {
    pub(super) fn new(entry: StageEntry) -> Self {
        Self(entry)
    }
}

impl Future for BeforeStage {
    type Output = ();

    /// # Panics
    ///
    /// When the runtime in which it was made has gone.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

impl fmt::Debug for BeforeStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeforeStage").finish_non_exhaustive()
    }
}
