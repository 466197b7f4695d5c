//! The World, as tasks reach it.
//!
//! In reading order:
//!
//! - [`lend`]: the slot in which the loop lends the World to its thread;
//! - [`ctx`]: [`WorldCtx`], a task's way to it;
//! - [`wait`]: waiting for the next tick;
//! - [`change_ticks`]: keeping change detection right in schedules that the loop owns.

pub(crate) mod change_ticks;
pub(crate) mod ctx;
pub(crate) mod lend;
pub(crate) mod wait;

pub use ctx::{WorldCtx, WorldError};
pub use wait::NextTick;
