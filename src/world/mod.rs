//! The World, as tasks reach it.
//!
//! In reading order:
//!
//! - [`lend`]: the slot in which the loop lends the World to its thread;
//! - [`ctx`]: [`WorldCtx`], a task's way to it;
//! - [`error`]: why something was not there;
//! - [`resources`], [`commands`], [`schedules`], [`entity`]: what a task does with it, a call each;
//! - [`params`] and [`run`]: system parameters, over the state in [`cached`];
//! - [`waiters`]: who waits for what, in order of call;
//! - [`wait`]: waiting for a tick;
//! - [`look`]: what the loop looks at before each stage; [`stages`], [`until`]: waiting for a stage, and
//!   for a condition before it; [`changes`], [`messages`]: for what raises nothing when it happens;
//! - [`observe`]: one shared observer a type; [`events`]: waiting for what it hears of;
//! - [`tether`]: how those who wait on it learn that it has gone;
//!   [`component_watch`] and [`entity_waits`]: waiting for what happens to it; [`bound`]: tasks that end with it, and the tasks
//!   that systems start;
//! - [`change_ticks`]: keeping change detection right in schedules that the loop owns.

mod bound;
mod cached;
pub(crate) mod change_ticks;
mod changes;
mod commands;
mod component_watch;
pub(crate) mod ctx;
mod entity;
mod entity_waits;
mod error;
mod events;
pub(crate) mod lend;
pub(crate) mod look;
mod messages;
mod observe;
mod params;
mod resources;
mod run;
pub(crate) mod schedules;
mod stages;
mod tether;
mod until;
pub(crate) mod wait;
mod waiters;

pub use bound::{
    EntityTaskCommands, EntityTasks, SpawnTaskError, TaskCommands, Tasks, WorldTasks, spawn_on,
};
pub use changes::{ResChanged, UntilChanged};
pub use ctx::{WorldCtx, WorldError};
pub use entity::{EntityCtx, EntityGone};
pub use entity_waits::{Despawned, EntityChanged, EntityOccurrence};
pub use error::AccessError;
pub use events::Occurrence;
pub use messages::{Lagged, MessageReceiver, Recv, RecvWith};
pub use params::Params;
pub use run::ParamClosure;
pub use schedules::{ScheduleError, SystemError};
pub use stages::BeforeStage;
pub use until::Until;
pub use wait::{NextTick, Ticks};
