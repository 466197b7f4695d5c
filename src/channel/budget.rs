//! What channel operations tell the runtime: how many were ready, which keeps a loop over a channel that is
//! always ready from holding the turn for ever, and what the others wait for.
//!
//! In one poll of a task, [`READY_A_POLL`] sends and receives may be ready. Each one after that wakes its
//! task and is pending once; since a task that wakes itself is polled in the next turn, all others, the
//! timers and the stages come first. An operation that has stood back once goes on when it is polled
//! again, whatever was spent: so two loops in one task both go on, and an executor inside of a task does
//! not spin. Outside of a runtime nothing is counted.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    task::{Context, Poll},
};

use crate::{context, executor::details::Wait};

/// How many channel operations may be ready in one poll of a task.
pub(crate) const READY_A_POLL: u32 = 128;

/// What those who receive, and those who send, wait for.
pub(crate) const A_VALUE: &str = "a value in a channel";
pub(crate) const ROOM: &str = "room in a channel";

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent { poll: (0, 0), count: 0 }) };
}

/// A poll: the serial of its runtime, and its number there. What one runtime has spent is nothing to another,
/// so that the same program does the same whatever ran on its thread before.
type PollName = (u64, u64);

/// What was spent in a poll.
#[derive(Clone, Copy)]
struct Spent {
    poll: PollName,
    count: u32,
}

/// The poll that is going on in this thread's runtime.
#[inline]
fn this_poll() -> Option<PollName> {
    context::try_current(|core| (core.serial(), core.executor.poll_number()))
}

/// Whether an operation has stood back.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Courtesy {
    stood_back: bool,
}

impl Courtesy {
    /// Pending, and the task woken, when this poll has spent its budget and the operation has not stood
    /// back yet.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if SPENT.get().count < READY_A_POLL { Poll::Ready(()) } else { self.stand_back(cx) }
    }

    #[cold]
    fn stand_back(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stood_back || this_poll() != Some(SPENT.get().poll) {
            return Poll::Ready(());
        }
        self.stood_back = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The operation is ready.
    #[inline]
    pub(crate) fn spend(&mut self) {
        self.stood_back = false;
        if let Some(poll) = this_poll() {
            let spent = SPENT.get();
            let before = if spent.poll == poll { spent.count } else { 0 };
            SPENT.set(Spent { poll, count: before.saturating_add(1) });
        }
    }

    /// Notes what its task waits for, if the operation is pending.
    #[inline]
    pub(crate) fn noting<R>(polled: Poll<R>, what: &'static str) -> Poll<R> {
        if polled.is_pending() {
            context::try_current(|core| core.executor.note_wait(Wait::Other(what)));
        }
        polled
    }
}
