//! The World, as tasks reach it.
//!
//! In reading order:
//!
//! - [`lend`]: the slot in which the loop lends the World to its thread;
//! - [`ctx`]: [`WorldCtx`], a task's way to it;
//! - [`error`]: why something was not there;
//! - [`resources`], [`commands`], [`schedules`], [`entity`]: what a task does with it, a call each;
//! - [`params`] and [`run`]: system parameters, over the state in [`cached`];
//! - [`wait`]: waiting for the next tick;
//! - [`change_ticks`]: keeping change detection right in schedules that the loop owns.

mod cached;
pub(crate) mod change_ticks;
mod commands;
pub(crate) mod ctx;
mod entity;
mod error;
pub(crate) mod lend;
mod params;
mod resources;
mod run;
pub(crate) mod schedules;
pub(crate) mod wait;

pub use ctx::{WorldCtx, WorldError};
pub use entity::EntityCtx;
pub use error::AccessError;
pub use params::Params;
pub use run::ParamClosure;
pub use schedules::{ScheduleError, SystemError};
pub use wait::NextTick;
