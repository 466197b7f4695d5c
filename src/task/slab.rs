//! Tasks in memory that is allocated before the loop runs: [`spawn_slab`], [`claim_slab`], [`SlabClaim`].

use std::{fmt, marker::PhantomData, panic::Location};

use super::JoinHandle;
use crate::{
    context,
    executor::{
        CancelReason, NotSpawned,
        key::TaskIdentity,
        memory::{may_stand_in_slab, needs},
    },
};

/// Refuses, while it is compiled, a future that no slot may hold.
struct Check<F, const SIZE: usize>(PhantomData<F>);

impl<F: Future, const SIZE: usize> Check<F, SIZE> {
    const ALIGNED: () = assert!(
        may_stand_in_slab::<F>(),
        "a slot of the slab is aligned to 64 bytes, and this future, or its output, to more: \
         spawn_boxed places it right"
    );
    const FITS: () = assert!(
        SIZE == 0 || needs::<F>() <= SIZE,
        "this future, or its output, needs more bytes than a slot of the slab has"
    );
}

/// Starts a task in a slot of the slab, which the builder's
/// [`slab_bounded`](crate::RuntimeBuilder::slab_bounded) or
/// [`slab_unbounded`](crate::RuntimeBuilder::slab_unbounded) makes. Nothing is allocated.
///
/// Beside its memory it is a task like any other: see [`spawn_boxed`](crate::spawn_boxed). The slot goes
/// back when the task has ended and its output has been taken, or its handle dropped.
///
/// # Panics
///
/// Outside a runtime; when the runtime has no slab; when a slot is too small for the future or its output,
/// with both sizes; when the slab is bounded and all its slots are taken; and when the runtime has
/// 16,777,215 tasks already. The future is dropped.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, spawn_slab};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(64).build();
/// let sum = rt.block_on(async {
///     let seven = spawn_slab(async { 3 + 4 });
///     seven.await + 1
/// });
/// assert_eq!(sum, 8);
/// ```
///
/// What is aligned to more than a cache line does not compile (`over_aligned_future_in_slab`):
///
/// ```compile_fail,E0080
/// #[repr(align(128))]
/// struct Wide;
///
/// let mut world = bevy_ecs::world::World::new();
/// let mut rt = onbeat::Runtime::builder(&mut world).slab_bounded::<256>(64).build();
/// rt.block_on(async {
///     let wide = Wide;
///     onbeat::spawn_slab(async move {
///         onbeat::yield_now().await;
///         drop(wide);
///     })
///     .await
/// });
/// ```
#[track_caller]
pub fn spawn_slab<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    const { Check::<F, 0>::ALIGNED };
    let spawned_at = Location::caller();
    context::current("spawn_slab()", |core| {
        JoinHandle::of(core, core.executor.spawn_slab(future, spawned_at), "spawn_slab()")
    })
}

/// Starts a task in a slot of the slab if it fits and one is free, else in memory of its own.
///
/// See [`spawn_boxed`](crate::spawn_boxed) for what a task is. An unbounded slab always has a free slot; a
/// runtime without a slab has none.
///
/// # Panics
///
/// Outside a runtime, and when the runtime has 16,777,215 tasks already.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, spawn};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<64>(1).build();
/// let sum: u32 = rt.block_on(async {
///     let tasks = [1, 2, 3].map(|number| spawn(async move { number }));
///     let mut sum = 0;
///     for task in tasks {
///         sum += task.await;
///     }
///     sum
/// });
/// assert_eq!(sum, 6);
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_at(future, Location::caller())
}

/// As [`spawn`], for the caller at `spawned_at`.
#[track_caller]
pub(crate) fn spawn_at<F>(
    future: F,
    spawned_at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    context::current("spawn()", |core| {
        let spawned = core.executor.spawn_anywhere(future, spawned_at);
        JoinHandle::of(core, spawned, "spawn()")
    })
}

/// Takes a slot of the slab for a task that is started later.
///
/// # Panics
///
/// Outside a runtime; when the runtime has no slab; when the slab is bounded and all its slots are taken;
/// and when the runtime is being dropped. [`try_claim_slab`] gives `None` for the last two.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, claim_slab};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(64).build();
/// rt.block_on(async {
///     let claim = claim_slab();
///     assert_eq!(claim.spawn(async { 7 }).await, 7);
/// });
/// ```
#[track_caller]
pub fn claim_slab() -> SlabClaim {
    let claimed_at = Location::caller();
    match claim("claim_slab()", 0, claimed_at) {
        Ok(claim) => claim,
        Err(refused) => refuse(refused, "claim_slab()"),
    }
}

/// As [`claim_slab`]; `None` when all slots of a bounded slab are taken, when the runtime has
/// 16,777,215 tasks already, and when it is being dropped.
///
/// # Panics
///
/// Outside a runtime, and when the runtime has no slab.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, try_claim_slab};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(1).build();
/// rt.block_on(async {
///     let claim = try_claim_slab();
///     assert!(claim.is_some());
///     assert!(try_claim_slab().is_none());
///     drop(claim);
///     assert!(try_claim_slab().is_some());
/// });
/// ```
#[track_caller]
#[must_use]
pub fn try_claim_slab() -> Option<SlabClaim> {
    try_claim("try_claim_slab()", 0, Location::caller())
}

/// As [`claim_slab`], for futures of at most `SIZE` bytes: what is larger does not compile.
///
/// # Panics
///
/// As [`claim_slab`], and when a slot of the runtime's slab has fewer than `SIZE` bytes.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, claim_slab_of};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(64).build();
/// rt.block_on(async {
///     let claim = claim_slab_of::<128>();
///     assert_eq!(claim.spawn(async { 7 }).await, 7);
/// });
/// ```
///
/// ```compile_fail,E0080
/// let mut world = bevy_ecs::world::World::new();
/// let mut rt = onbeat::Runtime::builder(&mut world).slab_bounded::<256>(64).build();
/// rt.block_on(async {
///     let large = [7; 200];
///     onbeat::claim_slab_of::<128>().spawn(async move { large.len() }).await
/// });
/// ```
#[track_caller]
pub fn claim_slab_of<const SIZE: usize>() -> SlabClaim<SIZE> {
    match claim("claim_slab_of()", SIZE, Location::caller()) {
        Ok(claim) => claim,
        Err(refused) => refuse(refused, "claim_slab_of()"),
    }
}

/// As [`claim_slab_of`]; `None` where [`try_claim_slab`] gives it.
///
/// # Panics
///
/// As [`try_claim_slab`], and when a slot of the runtime's slab has fewer than `SIZE` bytes.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, try_claim_slab_of};
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(1).build();
/// rt.block_on(async {
///     let claim = try_claim_slab_of::<128>().expect("one slot is free");
///     assert!(try_claim_slab_of::<128>().is_none());
///     assert_eq!(claim.spawn(async { 7 }).await, 7);
/// });
/// ```
#[track_caller]
#[must_use]
pub fn try_claim_slab_of<const SIZE: usize>() -> Option<SlabClaim<SIZE>> {
    try_claim("try_claim_slab_of()", SIZE, Location::caller())
}

#[track_caller]
fn try_claim<const SIZE: usize>(
    what: &str,
    needs: usize,
    claimed_at: &'static Location<'static>,
) -> Option<SlabClaim<SIZE>> {
    match claim(what, needs, claimed_at) {
        Ok(claim) => Some(claim),
        Err(NotSpawned::SlabFull | NotSpawned::Full | NotSpawned::Closing) => None,
        Err(refused) => refuse(refused, what),
    }
}

#[track_caller]
fn claim<const SIZE: usize>(
    what: &str,
    needs: usize,
    claimed_at: &'static Location<'static>,
) -> Result<SlabClaim<SIZE>, NotSpawned> {
    context::current(what, |core| {
        let size = core.executor.slab_size().ok_or(NotSpawned::NoSlab)?;
        if needs > size {
            return Err(NotSpawned::TooLarge { needs, size });
        }
        let task = core.executor.claim(claimed_at)?;
        Ok(SlabClaim { runtime: core.serial(), task: Some(task), size, _not_send: PhantomData })
    })
}

/// Panics with what `what` was refused for.
#[cold]
#[track_caller]
pub(super) fn refuse(refused: NotSpawned, what: &str) -> ! {
    match refused {
        NotSpawned::Full => panic!("a runtime holds at most 16,777,215 tasks, and has them all"),
        NotSpawned::Closing => panic!("{what}: the runtime is being dropped"),
        NotSpawned::NoSlab => panic!(
            "{what} needs a slab: build the runtime with `slab_bounded::<SIZE>(slots)` or \
             `slab_unbounded::<SIZE>(slots)`, or use `spawn` or `spawn_boxed`"
        ),
        NotSpawned::SlabFull => panic!(
            "{what}: all slots of the slab are taken; give `slab_bounded` more, or use `spawn`, \
             `try_claim_slab` or `slab_unbounded`"
        ),
        NotSpawned::TooLarge { needs, size } => panic!(
            "{what}: {needs} bytes are needed, for the future or its output, and a slot of the slab \
             has {size}: give the builder a larger SIZE, or use `spawn` or `spawn_boxed`"
        ),
    }
}

/// A slot of the slab that waits for its task: see [`claim_slab`].
///
/// Dropping it gives the slot back. It belongs to the runtime that it was claimed from, whichever is
/// running, and may outlive it. A claim that is leaked with [`std::mem::forget`] keeps its slot until the
/// runtime goes.
///
/// `SIZE` is the number of bytes that [`claim_slab_of`] asked for; 0 where only the runtime knows.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, SlabClaim, claim_slab, try_claim_slab};
///
/// /// A place that is kept for an urgent task.
/// struct Reserve(SlabClaim);
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(1).build();
/// rt.block_on(async {
///     let reserve = Reserve(claim_slab());
///     assert!(try_claim_slab().is_none());
///     assert_eq!(reserve.0.spawn(async { "hedged" }).await, "hedged");
/// });
/// ```
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// fn claim_is_not_send(claim: onbeat::SlabClaim) {
///     send(claim);
/// }
/// ```
#[must_use = "dropping a claim gives its slot back"]
pub struct SlabClaim<const SIZE: usize = 0> {
    runtime: u64,
    /// `None` once it has been spawned into.
    task: Option<TaskIdentity>,
    /// Bytes of the slot.
    size: usize,
    _not_send: PhantomData<*const ()>,
}

impl<const SIZE: usize> SlabClaim<SIZE> {
    /// Starts a task in the slot.
    ///
    /// If the runtime has gone, the future is dropped, and the handle says so.
    ///
    /// # Panics
    ///
    /// When the slot is too small for the future or its output, with both sizes. The slot goes back, and
    /// the future is dropped. Where `SIZE` is not 0, such a future does not compile.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, claim_slab};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(64).build();
    /// let claim = rt.block_on(async { claim_slab() });
    /// // Between turns too.
    /// let task = claim.spawn(async { 7 });
    /// assert_eq!(rt.block_on(task), 7);
    /// ```
    #[track_caller]
    pub fn spawn<F>(mut self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        const { Check::<F, SIZE>::ALIGNED };
        const { Check::<F, SIZE>::FITS };
        if needs::<F>() > self.size {
            let refused = NotSpawned::TooLarge { needs: needs::<F>(), size: self.size };
            refuse(refused, "SlabClaim::spawn()");
        }
        let spawned_at = Location::caller();
        let Some(task) = self.task.take() else {
            unreachable!("spawn() consumes the claim");
        };
        let filled = context::find(self.runtime, |core| {
            let filled = core.executor.fill(task, future, spawned_at);
            filled.map(|()| JoinHandle::of(core, Ok(task), "SlabClaim::spawn()"))
        });
        // A future that comes back is dropped here, where nothing of the runtime is in use.
        match filled {
            Some(Ok(handle)) => handle,
            Some(Err(_)) | None => JoinHandle::of_none(CancelReason::RuntimeGone),
        }
    }
}

impl<const SIZE: usize> Drop for SlabClaim<SIZE> {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            context::find(self.runtime, |core| core.executor.unclaim(task));
        }
    }
}

impl<const SIZE: usize> fmt::Debug for SlabClaim<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabClaim").field("size", &self.size).finish_non_exhaustive()
    }
}
