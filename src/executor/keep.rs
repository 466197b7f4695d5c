//! What tasks keep beside their futures: state that belongs to a task and that its future does not hold.
//!
//! It is dropped by the reaper, after the future, wherever the task comes to its end.

use std::{
    any::{Any, TypeId},
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use super::{
    Executor,
    agenda::Items,
    key::{SlotIndex, TaskIdentity},
    table::Slot,
};

/// What one task keeps, by type.
type Kept = Vec<(TypeId, Box<dyn Any>)>;

/// The things that the tasks of one executor keep.
#[derive(Default)]
pub(super) struct Keeping {
    /// A task has kept something; before that, the end of a task looks at nothing but this.
    any: Cell<bool>,
    /// By slot. A list is emptied as its task ends, so it is always of the task that has the slot.
    lists: RefCell<Vec<Kept>>,
    /// What the reaper is to drop.
    left: RefCell<VecDeque<Box<dyn Any>>>,
}

impl Executor {
    /// The task that is being polled.
    #[inline]
    pub(crate) fn running_task(&self) -> Option<TaskIdentity> {
        self.running().identity()
    }

    /// Takes the `T` that `task` keeps out of its keeping.
    pub(crate) fn take_kept<T: Any>(&self, task: TaskIdentity) -> Option<Box<T>> {
        self.slot(task)?;
        let mut lists = self.keeping.lists.borrow_mut();
        let list = lists.get_mut(task.slot.0 as usize)?;
        let at = list.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, kept) = list.swap_remove(at);
        Some(kept.downcast().expect("it was filed under its type"))
    }

    /// Keeps `kept` for `task`, until it is taken or the task ends.
    pub(crate) fn keep<T: Any>(&self, task: TaskIdentity, kept: Box<T>) {
        if self.slot(task).is_none() {
            self.leave(kept);
            return;
        }
        self.keeping.any.set(true);
        let mut lists = self.keeping.lists.borrow_mut();
        let at = task.slot.0 as usize;
        if lists.len() <= at {
            lists.resize_with(at + 1, Vec::new);
        }
        lists[at].push((TypeId::of::<T>(), kept));
    }

    /// Has the reaper drop `kept`.
    pub(crate) fn leave(&self, kept: Box<dyn Any>) {
        self.keeping.left.borrow_mut().push_back(kept);
        self.agenda.add(Items::REAP);
    }

    /// The task in this slot has ended: what it kept is left to the reaper.
    #[inline]
    pub(super) fn end_keeping(&self, slot: &Slot) {
        if self.keeping.any.get() {
            self.leave_list(slot.index());
        }
    }

    #[cold]
    fn leave_list(&self, index: SlotIndex) {
        let list = self.keeping.lists.borrow_mut().get_mut(index.0 as usize).map(std::mem::take);
        for (_, kept) in list.into_iter().flatten() {
            self.leave(kept);
        }
    }

    /// Drops what was left, in the order in which it was left, each under a guard.
    pub(super) fn drop_left(&self) {
        loop {
            let left = self.keeping.left.borrow_mut().pop_front();
            let Some(kept) = left else {
                return;
            };
            self.guarded(|| drop(kept));
        }
    }

    /// Drops what any task keeps, when the runtime is dropped.
    pub(super) fn drop_all_kept(&self) {
        let lists = self.keeping.lists.take();
        for (_, kept) in lists.into_iter().flatten() {
            self.guarded(|| drop(kept));
        }
    }
}
