//! What is known of tasks beside what their slots hold: for those who look, not for the loop.
//!
//! Rows stand beside the table, by slot, and say which task they are of, so nobody clears one when its task
//! ends. With `on`, or the feature `tracing`, every task has a row; else those that were given a name.
#![forbid(unsafe_code)]

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    panic::Location,
    ptr,
};

#[cfg(feature = "tracing")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[cfg(feature = "tracing")]
use super::spans;
use super::{
    Executor,
    key::{SlotIndex, TaskIdentity},
    memory::Stage,
    table::{Flags, Slot},
};

/// What a future of ours noted when it was pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// A time of the runtime's clock, in nanoseconds.
    Until(u64),
    /// The end of a task, of the runtime of this serial.
    Task(u64, TaskIdentity),
    /// Something else, by its name.
    Other(&'static str),
}

#[derive(Default)]
struct Row {
    /// Of the task that it is of; 0 for none.
    serial: u64,
    name: Option<Cow<'static, str>>,
    spawned_ns: u64,
    polls: u64,
    wait: Option<Wait>,
    /// Taken while the task is polled.
    #[cfg(feature = "tracing")]
    span: Option<spans::Span>,
}

/// The side table.
pub(crate) struct Details {
    on: bool,
    rows: RefCell<Vec<Row>>,
    /// What was noted last in the poll that is going on.
    noted: Cell<Option<Wait>>,
}

/// A task that has not ended.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) task: TaskIdentity,
    pub(crate) name: Cow<'static, str>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) spawned_ns: Option<u64>,
    pub(crate) polls: Option<u64>,
    pub(crate) wait: Option<Wait>,
    pub(crate) is_ready: bool,
}

impl Details {
    pub(super) fn new(on: bool) -> Self {
        Self { on, rows: RefCell::default(), noted: Cell::new(None) }
    }

    /// Calls `f` with the row of `slot`, which is made if need be.
    fn row<R>(&self, slot: SlotIndex, f: impl FnOnce(&mut Row) -> R) -> R {
        let mut rows = self.rows.borrow_mut();
        let at = slot.0 as usize;
        if rows.len() <= at {
            rows.resize_with(at + 1, Row::default);
        }
        f(&mut rows[at])
    }
}

impl Executor {
    /// Whether every task has a row.
    #[inline]
    pub(crate) fn has_details(&self) -> bool {
        self.details.on || cfg!(feature = "tracing")
    }

    /// Begins the row of a task that was spawned at `now_ns`.
    pub(crate) fn note_spawn(
        &self,
        task: TaskIdentity,
        now_ns: u64,
        name: Option<Cow<'static, str>>,
    ) {
        let serial = task.serial.get();
        let row = Row { serial, name, spawned_ns: now_ns, ..Row::default() };
        let before = self.details.row(task.slot, |place| std::mem::replace(place, row));
        #[cfg(feature = "tracing")]
        if let Some(span) = before.span {
            // Closing it is a collector's code, and whoever calls this may have the runtime in use.
            self.leave(Box::new(span));
        }
        #[cfg(not(feature = "tracing"))]
        drop(before);
    }

    /// Notes what the task that is polled waits for.
    #[inline]
    pub(crate) fn note_wait(&self, wait: Wait) {
        if self.details.on {
            self.details.noted.set(Some(wait));
        }
    }

    /// As [`poll_before`](Self::poll_before), one by one: each poll is counted, and what it waits for kept.
    #[cold]
    pub(super) fn poll_noting(&self, end: u32) {
        while self.ready.start() != end {
            let slot = self.first(false);
            self.noting(slot, || self.poll_before(self.ready.start().wrapping_add(1)));
        }
    }

    /// Calls `poll`, which may poll the task in `slot`.
    pub(super) fn noting(&self, slot: &Slot, poll: impl FnOnce()) {
        let (index, serial) = (slot.index(), slot.serial.get());
        let before = self.polls.get();
        self.details.noted.set(None);
        self.watch_before(index, serial);
        #[cfg(feature = "tracing")]
        self.in_span(index, serial, poll);
        #[cfg(not(feature = "tracing"))]
        poll();
        if self.polls.get() == before {
            return;
        }
        self.watch_after(index, serial);
        if self.has_details() {
            let wait = self.details.noted.take();
            self.details.row(index, |row| {
                if row.serial == serial {
                    row.polls += 1;
                    row.wait = wait;
                }
            });
        }
    }

    /// Calls `poll` in the span of the task in slot `index`. A collector's code runs, so the span is taken
    /// out of its row meanwhile; it goes back if the task is still there. Where that code panics the task is
    /// polled all the same: it would stand at the head of its queue for ever.
    #[cfg(feature = "tracing")]
    fn in_span(&self, index: SlotIndex, serial: u64, poll: impl FnOnce()) {
        let Some(slot) = self.table.get(index).filter(|_| serial != 0) else {
            return poll();
        };
        let (span, name) = self.details.row(index, |row| {
            if row.serial == serial { (row.span.take(), row.name.clone()) } else { (None, None) }
        });
        let mut span = span;
        if span.is_none() {
            let name = name.as_deref().unwrap_or(slot.cell.name());
            let of_task = (self.serial(), serial);
            self.guarded(|| span = Some(spans::task(of_task, name, slot.spawned_at.get())));
        }
        let mut entered = None;
        self.guarded(|| entered = span.as_ref().map(spans::Span::enter));
        let polled = catch_unwind(AssertUnwindSafe(poll));
        self.guarded(|| drop(entered));
        if let Err(payload) = polled {
            self.guarded(|| drop(span));
            resume_unwind(payload);
        }
        let lives = slot.serial.get() == serial && slot.cell.stage() == Stage::Future;
        let left = self.details.row(index, |row| {
            if lives && row.serial == serial {
                std::mem::replace(&mut row.span, span)
            } else {
                span
            }
        });
        self.guarded(|| drop(left));
    }

    /// Closes the span of a task that ended while it was not polled.
    #[cfg(feature = "tracing")]
    pub(super) fn close_span(&self, index: SlotIndex) {
        let span = self.details.row(index, |row| row.span.take());
        drop(span);
    }

    /// The name that the task was given.
    pub(super) fn given_name(&self, slot: SlotIndex, serial: u64) -> Option<Cow<'static, str>> {
        let rows = self.details.rows.borrow();
        rows.get(slot.0 as usize).filter(|row| row.serial == serial)?.name.clone()
    }

    /// The tasks that have not ended, the root future not among them.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let place = |index| self.table.get(index)?.identity();
        let tasks = (1..self.table.len()).filter_map(|index| place(SlotIndex(index)));
        tasks.filter_map(|task| self.listed(task)).collect()
    }

    /// One task, unless it has ended, or is the root future.
    pub(crate) fn listed(&self, task: TaskIdentity) -> Option<Listed> {
        let slot = self.slot(task)?;
        let runs = matches!(slot.cell.stage(), Stage::Future | Stage::Busy | Stage::Ending);
        if !runs || ptr::eq(slot, self.root.get()) {
            return None;
        }
        let rows = self.details.rows.borrow();
        let row = rows.get(task.slot.0 as usize).filter(|row| row.serial == task.serial.get());
        let is_ready = slot.flags().has(Flags::QUEUED.union(Flags::FRONT));
        let name = row.and_then(|row| row.name.clone());
        Some(Listed {
            task,
            name: name.unwrap_or(Cow::Borrowed(slot.cell.name())),
            spawned_at: slot.spawned_at.get(),
            spawned_ns: row.map(|row| row.spawned_ns),
            polls: row.filter(|_| self.details.on).map(|row| row.polls),
            wait: row.and_then(|row| row.wait).filter(|_| !is_ready),
            is_ready,
        })
    }
}
