//! What a runtime cannot do without, alone: a queue of boxed futures, a reading of the clock, a look at
//! the sockets.

use std::collections::VecDeque;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::systems::time_ticks;
use crate::work::wake_itself;

/// What a minimal safe executor does for tasks that wake themselves: take an index from the front of
/// a queue, poll the boxed future there, put the index at the back.
///
/// The waker does nothing, so whatever is pending is queued again. There is no wake, no task to tell from
/// another, no budget, no timer and no socket. `tasks` tasks are alive together, each of which wakes
/// itself `wakes` times.
pub(crate) fn self_wake(tasks: usize, wakes: usize) -> Duration {
    poll_in_turn(boxed(tasks, || wake_itself(wakes.div_ceil(16))));
    let futures = boxed(tasks, || wake_itself(wakes));
    let start = Instant::now();
    poll_in_turn(futures);
    start.elapsed()
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

fn boxed<F: Future<Output = ()> + 'static>(tasks: usize, make: impl Fn() -> F) -> Vec<Boxed> {
    (0..tasks).map(|_| -> Boxed { Box::pin(make()) }).collect()
}

fn poll_in_turn(mut futures: Vec<Boxed>) {
    let mut context = Context::from_waker(black_box(Waker::noop()));
    let mut ready: VecDeque<usize> = (0..futures.len()).collect();
    while let Some(index) = ready.pop_front() {
        if futures[index].as_mut().poll(&mut context).is_pending() {
            ready.push_back(index);
        }
    }
}

/// `Instant::now`.
pub(crate) fn clock_read(ticks: usize) -> Duration {
    time_ticks(ticks, || {
        black_box(Instant::now());
    })
}

/// mio's poll that does not wait, with nothing registered.
pub(crate) fn mio_poll(ticks: usize) -> Duration {
    let mut poll = Poll::new().expect("the process may open an epoll descriptor");
    let mut events = Events::with_capacity(64);
    time_ticks(ticks, || {
        poll.poll(&mut events, Some(Duration::ZERO)).expect("a poll that does not wait succeeds");
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::work::SelfWake;

    #[test]
    fn the_floor_polls_its_tasks_in_turn_to_their_ends() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let futures = (0..3)
            .map(|task| -> Boxed {
                let seen = Rc::clone(&seen);
                Box::pin(async move {
                    for _ in 0..task {
                        seen.borrow_mut().push(task);
                        SelfWake::default().await;
                    }
                    seen.borrow_mut().push(task);
                })
            })
            .collect();
        poll_in_turn(futures);
        assert_eq!(*seen.borrow(), [0, 1, 2, 1, 2, 2]);
    }
}
