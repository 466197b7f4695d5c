//! [`budget()`]: how long a task works in one tick.
#![forbid(unsafe_code)]

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    clock::duration_ns,
    context::{self, Core},
    world::wait::NextTick,
};

/// What a checkpoint counts for under the virtual clock, on which work takes no time.
const VIRTUAL_NS: u64 = 1_000;

/// Lets a task work for `duration` in each tick: [`Budget::checkpoint`] is free to await until that is spent,
/// and then waits for the next tick.
///
/// # Panics
///
/// Outside a runtime.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, budget};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let mut sum = 0_u64;
///     let mut budget = budget(Duration::from_micros(50));
///     for number in 0..1_000 {
///         sum += number;
///         budget.checkpoint().await;
///     }
///     assert_eq!(sum, 499_500);
/// });
/// ```
#[track_caller]
pub fn budget(duration: Duration) -> Budget {
    let allowed_ns = duration_ns(duration);
    context::current("budget()", |core| {
        let spent_ns = 0;
        Budget { allowed_ns, slice: Slice::begin(core), spent_ns, _not_send: PhantomData }
    })
}

/// How long a task works in one tick; made by [`budget()`].
///
/// It counts the time on the clock from its making, or from its first checkpoint in a tick, whichever is
/// later, also what other tasks use of it while the one that holds it waits for something else. Under the
/// virtual clock, on which work takes no time, each checkpoint counts as a microsecond, so that two runs see
/// the same and no loop holds a tick for ever.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{ClockMode, Runtime, budget, scope::Budget};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
/// rt.block_on(async {
///     let mut budget: Budget = budget(Duration::from_micros(10));
///     for _ in 0..30 {
///         budget.checkpoint().await;
///     }
/// });
/// assert_eq!(rt.stats().ticks, 3, "ten checkpoints of a microsecond a tick");
/// ```
#[derive(Debug)]
pub struct Budget {
    allowed_ns: u64,
    slice: Slice,
    /// What was counted by checkpoints under the virtual clock.
    spent_ns: u64,
    /// It belongs to a runtime, which belongs to a thread.
    _not_send: PhantomData<*const ()>,
}

/// The part of a tick that is being counted.
#[derive(Debug)]
struct Slice {
    runtime: u64,
    tick: u64,
    began_ns: u64,
}

impl Slice {
    fn begin(core: &Core) -> Self {
        Self { runtime: core.serial(), tick: core.tick.get(), began_ns: core.clock.precise_ns() }
    }

    fn is_of_this_tick(&self, core: &Core) -> bool {
        (self.runtime, self.tick) == (core.serial(), core.tick.get())
    }
}

impl Budget {
    /// Completes at once while the budget of this tick is not spent, for the price of a read of the clock;
    /// else in the first round of the next tick, with the whole budget again.
    ///
    /// A budget of zero is always spent.
    ///
    /// # Cancellation
    ///
    /// Dropping it gives up the place in the order; a budget that is spent stays so for this tick.
    pub fn checkpoint(&mut self) -> Checkpoint<'_> {
        Checkpoint { budget: self, waits: None, over: false }
    }

    /// Whether the budget of this tick is spent.
    fn is_spent(&mut self, core: &Core) -> bool {
        if !self.slice.is_of_this_tick(core) {
            self.begin_slice(core);
        }
        if core.clock.is_virtual() {
            self.spent_ns = self.spent_ns.saturating_add(VIRTUAL_NS);
            return self.spent_ns > self.allowed_ns;
        }
        core.clock.precise_ns() - self.slice.began_ns >= self.allowed_ns
    }

    fn begin_slice(&mut self, core: &Core) {
        self.slice = Slice::begin(core);
        self.spent_ns = 0;
    }
}

/// The future of [`Budget::checkpoint`].
///
/// # Cancellation
///
/// Dropping it gives up the place in the order; a budget that is spent stays so for this tick.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, budget, scope::Checkpoint};
/// use std::time::Duration;
///
/// let mut world = World::new();
/// let mut rt = Runtime::new(&mut world);
/// rt.block_on(async {
///     let mut spent = budget(Duration::ZERO);
///     let checkpoint: Checkpoint<'_> = spent.checkpoint();
///     checkpoint.await;
/// });
/// assert_eq!(rt.stats().ticks, 2);
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Checkpoint<'a> {
    budget: &'a mut Budget,
    /// The next tick, once the budget was found spent.
    waits: Option<NextTick>,
    over: bool,
}

impl Future for Checkpoint<'_> {
    type Output = ();

    /// # Panics
    ///
    /// Outside a runtime.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(());
        }
        if this.waits.is_none() {
            this.waits = context::current("Budget::checkpoint()", |core| {
                this.budget.is_spent(core).then(|| NextTick::new(core))
            });
        }
        if let Some(next) = &mut this.waits {
            if Pin::new(next).poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.waits = None;
            context::current("Budget::checkpoint()", |core| this.budget.begin_slice(core));
        }
        this.over = true;
        Poll::Ready(())
    }
}
