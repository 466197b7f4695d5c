//! [`TaskKey`]: which task is which.

use std::{fmt, num::NonZeroU64};

use crate::executor::key::{SlotIndex, TaskIdentity};

/// The name of a task: no other task of this process has it, now or later.
///
/// By it a system ends the task, or learns about it: see [`Tasks`](crate::Tasks). To await the task takes
/// its [`JoinHandle`](crate::JoinHandle). As text it is `runtime:task`, two numbers that count from 1.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::{Runtime, spawn_boxed};
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let task = spawn_boxed(async {});
///     let id = task.id();
///     task.await;
///     println!("task {id} has ended");
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    runtime: u64,
    task: NonZeroU64,
    /// Where to look for it.
    slot: SlotIndex,
}

impl TaskKey {
    pub(crate) fn new(runtime: u64, task: TaskIdentity) -> Self {
        Self { runtime, task: task.serial, slot: task.slot }
    }

    /// The serial of the runtime.
    pub(crate) fn runtime(self) -> u64 {
        self.runtime
    }

    pub(crate) fn identity(self) -> TaskIdentity {
        TaskIdentity { slot: self.slot, serial: self.task }
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.runtime, self.task)
    }
}

impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskKey({self})")
    }
}
