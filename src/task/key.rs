//! [`TaskKey`]: which task is which.

use std::fmt;

use crate::executor::key::TaskIdentity;

/// The name of a task: no other task of this process has it, now or later.
///
/// It gives no right over the task: to end or to await it takes its [`JoinHandle`](crate::JoinHandle). As
/// text it is `runtime:task`, two numbers that count from 1.
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
    task: u64,
}

impl TaskKey {
    pub(crate) fn new(runtime: u64, task: TaskIdentity) -> Self {
        Self { runtime, task: task.serial.get() }
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
