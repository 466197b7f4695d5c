//! Several futures in one task, which end where they began.
//!
//! A task that spawns another must see to its end. What is made here has its end written beside its
//! beginning: the children live in the future that is awaited, are polled in it, and go with it, whichever way
//! it ends; by completing, by a panic, or by being dropped. So they may borrow from around it, and nothing of
//! them is left over.
//!
//! | | gives | the other children |
//! |---|---|---|
//! | [`race`](race()) | the first output | are dropped at once |
//! | [`Scope::rush`] | the first output | go on to the end of the scope |
//! | [`join`](join()) | all outputs | |
//! | [`try_join`](try_join()) | all values, or the first error | are dropped at the error |
//! | [`Scope::spawn`] | a handle | the scope waits for the child |
//! | [`Scope::branch`] | nothing | the child is dropped at the end of the scope |
//!
//! Children are polled, and dropped, top to bottom, in the order in which they are written or started: of two
//! that become ready in the same turn the upper one counts. A panic of one leaves through the whole when the
//! others have been dropped.
//!
//! [`shield`](shield()) lets a future go on that would be dropped, and [`budget`](budget()) bounds what a
//! long work takes of each tick.
//!
//! # Which to take
//!
//! `race`, `join` and `try_join` of a tuple allocate nothing, and cost a poll of each child that has not ended
//! for each wake of the task. They need no runtime, and are `Send` where their children are. Their children
//! have the waker of the task; one that wakes another wakes the task while it is polled, so the other is
//! polled in the next turn.
//!
//! [`scope`](scope()) is for children whose number is not written in the program, that are many, or that talk
//! to each other. A child costs two allocations (three with a handle), a wake of it one lock that nobody else
//! holds, and a wake of the scope a look at a flag for each child and a poll of those that were woken.
//! Children that wake each other, through a channel for instance, go on within the same poll.
//!
//! A scope waits for its `spawn`ed children when its body has completed. What stops it earlier is dropping
//! it:
//!
//! ```
//! use bevy_ecs::prelude::*;
//! use onbeat::{ClockMode, Runtime, WorldCtx, scope, sleep, timeout};
//! use std::time::Duration;
//!
//! #[derive(Resource, Default)]
//! struct Position(i64);
//!
//! let mut world = World::new();
//! world.init_resource::<Position>();
//! let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
//! rt.block_on(async {
//!     let session = scope(async |s| {
//!         for quantity in [100, -30] {
//!             let _fill = s.spawn(async move {
//!                 sleep(Duration::from_millis(1)).await;
//!                 WorldCtx::current().with_world(|world| world.resource_mut::<Position>().0 += quantity);
//!             });
//!         }
//!         let _never = s.spawn(std::future::pending::<()>());
//!     });
//!     assert!(timeout(Duration::from_secs(1), session).await.is_err());
//! });
//! assert_eq!(rt.world().resource::<Position>().0, 70);
//! ```
//!
//! # What is not promised
//!
//! A scope that is leaked with [`std::mem::forget`] leaks its children, which are not polled again; nothing
//! else comes of it. A child that does not return from a poll stops the others, as a task does.
//!
//! In reading order:
//!
//! - `list`: the children of a tuple, an array or a `Vec`; `race` and `join` over them;
//! - `body`: the scope and its handles, over `nursery`, `wakers` and `outcome`;
//! - `unwound`: dropping all, also when some panic;
//! - `shield`, `budget`.
#![forbid(unsafe_code)]

mod body;
mod budget;
mod join;
mod list;
mod nursery;
mod outcome;
mod race;
mod shield;
mod unwound;
mod wakers;

pub use body::{Child, Rush, RushChildren, Scope, scope};
pub use budget::{Budget, Checkpoint, budget};
pub use join::{Join, TryJoin, join, try_join};
pub use list::Children;
pub use race::{Race, race};
pub use shield::{Shield, shield};
