//! An async runtime whose main loop is a frame loop and whose shared state is a `bevy_ecs` World.
//!
//! Tasks and timers are the asynchronous side of the loop, ECS systems the synchronous side. Both run on
//! one thread, so a task touches typed resources directly, without a channel, a lock or a frame of
//! delay. It is for threads that must not be late: trading engines, game servers, simulators, control
//! loops.
//!
//! ```
//! use bevy_ecs::prelude::*;
//! use onbeat::{Runtime, Tick, WorldCtx, sleep, spawn_boxed};
//! use std::time::Duration;
//!
//! #[derive(Resource, Default)]
//! struct Book { bid: u32, updates: u32 }
//!
//! let mut world = World::new();
//! world.init_resource::<Book>();
//! let mut rt = Runtime::new(&mut world);
//! rt.schedule(Tick).add_systems(|mut book: ResMut<Book>| book.updates += 1);
//! rt.block_on(async {
//!     let feed = spawn_boxed(async {
//!         sleep(Duration::from_micros(200)).await;
//!         WorldCtx::current().with_world(|world| world.resource_mut::<Book>().bid = 101);
//!     });
//!     feed.await;
//! });
//! assert_eq!(rt.world().resource::<Book>().bid, 101);
//! ```
//!
//! # Where to begin
//!
//! - [`Runtime`]: make one over a `World`, add systems with [`Runtime::schedule`], drive it with
//!   [`Runtime::block_on`] (sleeps when there is nothing to do), [`Runtime::block_on_busy`] (never
//!   sleeps) or [`Runtime::tick`] (one tick, for tests and for loops of your own);
//! - [`spawn`](spawn()) and [`JoinHandle`]. `spawn` takes memory where it finds some; [`spawn_boxed`] has memory
//!   of its own for each task, and [`spawn_slab`] takes a slot of a slab that
//!   [`RuntimeBuilder::slab_bounded`] has allocated before;
//! - [`WorldCtx`] inside a task: the World at once, and what can be awaited of it; [`mod@scope`]: several
//!   futures in one task;
//! - [`spawn_on`]: a task that ends with its entity; systems start tasks through [`TaskCommands`] and
//!   [`EntityTaskCommands`], and see them through [`Tasks`];
//! - [`Handle`]: what other threads ask for; [`channel`]s between tasks and between threads;
//! - [`sleep`](sleep()), [`timeout`](timeout()), [`interval`](interval()), [`Backoff`]; sockets are in [`net`];
//! - [`Pacing`]: when a tick starts; [`Idle`]: what the thread does until then;
//!   [`RuntimeBuilder::fixed_step`]: a stage with steps of its own; [`RuntimeBuilder::poller`]: a closure for
//!   what the operating system does not announce;
//! - [`ClockMode::Virtual`] and [`VirtualClock`]: tests and backtests, in which nothing sleeps;
//! - [`CancellationToken`]; [`ShutdownSignal`], and [`Runtime::shutdown_quiesce`] before the end;
//! - [`Runtime::stats`] and [`Runtime::tasks`]: what the loop has done, and what still runs.
//!
//! # The tick
//!
//! A *round* polls the tasks that are ready when it begins, in order, each at most once. Rounds follow one
//! another, so a chain of tasks that wake each other finishes within the turn. A task that wakes itself
//! while it is polled goes behind the *turn mark*: it is polled again in the next turn. So every turn
//! looks at everything once, whoever spins.
//!
//! A tick is:
//!
//! 1. **wait** until there is something to do, then **freeze the clock**: one timestamp for the whole turn
//!    ([`event_time`]). The tick number rises here;
//! 2. **events**: readiness of sockets and wakes of other threads become wakes here, of the latter 4,096 at
//!    most. Where there are sockets, the operating system is asked for events in every turn that found
//!    nothing ready, and otherwise after `event_interval` turns or 10 us, whichever comes first; what the
//!    wait of step 1 was told is not asked again. Then what other threads asked of the runtime through a
//!    [`Handle`] happens, in the order in which it was asked, 256 closures at most. Last, pollers
//!    ([`RuntimeBuilder::poller`]) are called;
//! 3. **ready tasks**: first those that awaited this tick ([`WorldCtx::next_tick`]), in order of call;
//!    then rounds, until only what is behind the mark is ready or the budget (`tasks_per_cycle` polls) is
//!    spent. What the budget cuts off comes first in the next turn;
//! 4. **timers** registered before this turn and due at the frozen time, in the order of (deadline,
//!    registration), 64 of them at most, the others in the next turn; then rounds, with as many polls as
//!    timers fired if the budget has fewer left;
//! 5. **each stage** in order: the loop looks at what is awaited here ([`WorldCtx::at`],
//!    [`WorldCtx::until`], messages, changes) and polls those whom that woke, whatever the budget; then
//!    one round of the other tasks that are ready (`tasks_per_cycle` of them at most), the stage's systems, and
//!    the reaper, which drops the futures of aborted tasks where the World may be used, as after each
//!    poll; for a stage of fixed steps ([`RuntimeBuilder::fixed_step`]) that as often as steps are due, or
//!    not at all. After the last stage a look and a round more: what its systems woke acts, and writes, in
//!    this tick;
//! 6. **end of tick**: message buffers turn over, unless a stage of fixed steps has not run since they
//!    last did; removal trackers are cleared, change ticks checked, statistics written.
//!
//! When a tick starts is its [`Pacing`]: on events (as [`Runtime::block_on`] does), back to back (as
//! [`Runtime::block_on_busy`] does), at a fixed rate, or on events within two bounds. Where ticks wait for
//! the time, whatever happens in between is handled at once all the same, in a *turn between ticks*:
//! steps 1 to 4, and a look and a round as after the last stage. It belongs to the tick before. Only stages
//! wait for the beat. Fixed-rate ticks start at
//! `t0 + k * period` (`t0` is the start of the first tick of a `block_on`) and do not drift; each has the
//! time for which it was due and the time at which it started ([`TickTime`]). How the thread waits is its
//! [`Idle`] strategy. [`Runtime::tick`] never waits.
//!
//! The root future of `block_on` is a task like any other; when it completes, the tick is finished, then
//! `block_on` returns.
//!
//! # The frame rules
//!
//! The tick number changes when a tick begins; a turn between ticks belongs to the tick before it. A waiter
//! of `next_tick`, `ticks`, `at` or `next` keeps a parked loop going: the next tick starts at once, or at the
//! next beat. So does a system through [`TickRequest`], and so does a task behind the mark: the next turn
//! starts at once. Whoever waits for a timer, a socket, a channel, another thread, or for a stage of fixed
//! steps whose step is not due, lets it sleep; so does who waits for a message, a change, an event or
//! `until`, which are looked at in every tick that happens; and so does a task that has ended, whoever on
//! this thread still wakes it. A wake from another thread is a turn, whatever has become of its task.
//!
//! | awaited in a task | resumes |
//! |---|---|
//! | [`yield_now()`](yield_now), any wake of itself | in the next turn, in order |
//! | `sleep(0)` | in the next turn at the earliest |
//! | [`next_tick()`](WorldCtx::next_tick) | in the first round of the next tick, ahead of other ready tasks, in order of call |
//! | anything woken by a timer, or by a task in steps 3 and 4 | in this turn, as far as the budget goes |
//! | anything woken by a system | before the next stage, or after the last one, in this tick |
//! | anything woken by a task in step 5 | before the next stage if there is one, else in the next turn |
//!
//! The rest cell by cell, for two stages, `First` and `Last`. A waker acts in tick T: a timer fires, or
//! readiness and wakes of other threads are seen, before the stages; so does a task; a system and an observer
//! while `First` runs. In the rows down to `until(First, met)` a waker wakes a task, with nothing between the
//! two, and the task then awaits the thing; `met` gives a value at once. In the rows below, the World is
//! changed as the task waits for: by a task (which the timer, or the descriptor, woke), by a closure that
//! another thread sent through a [`Handle`], by the system or by the observer. "T+1 `First`" is just before
//! `First` in the next tick, "tasks" before all stages; what stands behind a comma is what was given. A
//! message of tick T that is read late is read in T+1, and one that is read too late in T+2.
//!
#![doc = include_str!("world/frame_rules.md")]
//!
//! # How it is built
//!
//! *A waker is an integer.* Its data word names a task (runtime, generation, slot); nothing outside the
//! executor holds a pointer into it. Wakers are cloned and dropped for nothing, may be kept for ever, and
//! may be called from any thread, also after the runtime has gone: a stale wake is at worst a spurious
//! poll. What gives rights over a task, a [`JoinHandle`] or a [`Sleep`], holds serial numbers that are
//! never reused.
//!
//! *A wake from another thread sets a bit* in a bitmap that is never freed. It allocates nothing and cannot
//! fill up. Mostly it is one write, of the cache line that the loop looks at; a loop to which nothing came
//! reads that line and no other.
//!
//! *The World is lent, never shared.* While a turn runs, a thread-local slot holds the pointer to it;
//! [`WorldCtx::with_world`] takes it out, runs the closure and puts it back, also when the closure
//! panics. A nested access is an error that names the outer one.
//!
//! *Timers are exact.* A hierarchical wheel, and short runs under a heap for what is near; a timer never
//! fires early, leaves the wheel when its future is dropped, and costs nothing while it waits. Timers that
//! lie in a slot of the wheel in the order of their deadlines fire from there. Others are put in order ahead
//! of need: 128 in each turn, and before the thread sleeps, all that is next, with a look at sockets and
//! other threads after each 128. A thread that comes late to a slot finds it as it is. It puts 128 in order in
//! each turn, two lots when that is all there is to do, and fires what is earlier than all that are left: so
//! no turn is long, nothing fires out of order, and a timer is so many turns later as there are lots in its
//! slot.
//!
//! *One thread, one clock.* All time comes from one place, and is the machine's or virtual. Under
//! [`ClockMode::Virtual`] nothing sleeps: time stands still while a task can run, and jumps to the next
//! timer or beat when none can; [`VirtualClock`] moves it, paces it against real time, stops it. The same
//! program on the same input polls the same tasks at the same times in the same order, and a running hash
//! of all polls ([`RuntimeBuilder::poll_hash`]) says so: a backtest runs the code that trades. Only work
//! that is counted ([`ExternalWork`], [`Handle`], sockets, what is under way on tokio or a pool) holds
//! virtual time still. A program that can never go on, that makes no progress, or that another thread wakes
//! without being counted, ends with an error that names its tasks ([`TickError`]).
//!
//! # Coming from nexus-async-rt
//!
#![doc = include_str!("from_nexus.md")]
//!
//! # Features
//!
//! `bevy_app`: `bevy::OnbeatPlugin`, which runs a headless bevy `App` on this loop.
//!
//! `blocking`: `blocking(closure)`, for what would hold the loop, on a pool of threads.
//!
//! `tracing`: a span for each task, entered at each poll, and one for each tick, of the target `onbeat` and
//! the level trace. Without it nothing of that is compiled.
//!
//! `tokio-compat`: `tokio_compat::with_tokio` and `spawn_on_tokio`, for futures that need tokio.
//!
//! # What is not promised
//!
//! Futures that are leaked with [`std::mem::forget`] keep their memory; nothing else comes of it. A task
//! that does not return from a poll stops the loop: there is one thread. Only Unix systems are supported.
#![cfg(unix)]

#[cfg(feature = "bevy_app")]
pub mod bevy;
#[cfg(feature = "blocking")]
mod blocking;
mod cancel;
pub mod channel;
mod clock;
mod context;
mod executor;
mod handle;
mod machine;
pub mod net;
mod reactor;
mod runtime;
pub mod scope;
mod shutdown;
mod stats;
mod task;
mod timer;
#[cfg(feature = "tokio-compat")]
pub mod tokio_compat;
mod wakers;
mod world;

#[cfg(feature = "blocking")]
pub use self::blocking::{Blocking, blocking};
#[cfg(feature = "bevy_app")]
pub use bevy::OnbeatPlugin;
pub use cancel::{CancellationToken, Cancelled, DropGuard, RunUntilCancelled};
pub use clock::ClockMode;
pub use executor::OnTaskPanic;
pub use handle::{ExternalWork, Handle, RemoteJoin, RuntimeGone};
pub use machine::Refusal;
pub use net::IoHandle;
pub use runtime::{
    CatchUp, FixedRate, Idle, Pacing, Polled, QuiesceTimeout, Runtime, RuntimeBuilder,
    ShutdownStats, Tick, TickError, TickRequest, TickTime,
};
pub use scope::{budget, join, race, scope, shield, try_join};
pub use shutdown::{ShutdownHandle, ShutdownSignal};
pub use stats::{Phase, PhaseDuration, SAMPLE_INTERVAL, Stats, TickStats};
pub use task::{
    CancelReason, Join, JoinError, JoinHandle, Named, SlabClaim, TaskInfo, TaskKey, WaitsFor,
    YieldNow, claim_slab, claim_slab_of, named, spawn, spawn_boxed, spawn_slab, try_claim_slab,
    try_claim_slab_of, yield_now,
};
pub use timer::{
    After, Backoff, BackoffBuilder, Elapsed, Exhausted, Interval, Jitter, MissedTickBehavior,
    Sleep, Timeout, VirtualClock, after, after_delay, event_time, interval, interval_at,
    precise_now, sleep, sleep_until, timeout, timeout_at, utc_now,
};
pub use world::{
    AccessError, BeforeStage, Despawned, EntityChanged, EntityCtx, EntityGone, EntityOccurrence,
    EntityTaskCommands, EntityTasks, Lagged, MessageReceiver, NextTick, Occurrence, ParamClosure,
    Params, Recv, RecvWith, ResChanged, ScheduleError, SpawnTaskError, SystemError, TaskCommands,
    Tasks, Ticks, Until, UntilChanged, WorldCtx, WorldError, WorldTasks, spawn_on,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
