//! compio-executor 0.1, ticked until the work is done; there is no driver under it.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use compio_executor::{Executor, ExecutorConfig};
use futures_lite::future::yield_now;

use crate::work::{Host, Work, drive};

/// Does `work`, with a budget for a tick that lets every task be polled in each.
pub(crate) fn run(work: Work) -> Duration {
    let local = Local::new(work.tasks_per_cycle() as u32);
    let work = drive(local.clone(), work);
    local.block_on(work)
}

/// An executor that tasks can reach.
#[derive(Clone)]
pub(crate) struct Local(Rc<Executor>);

impl Local {
    pub(crate) fn new(tasks_per_tick: u32) -> Self {
        let config = ExecutorConfig { max_interval: tasks_per_tick, ..ExecutorConfig::default() };
        Self(Rc::new(Executor::with_config(config)))
    }

    /// Starts a task, and gives a future of its output.
    pub(crate) fn start<F: Future + 'static>(
        &self,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let handle = self.0.spawn(future);
        async { handle.await.expect("the work neither panics nor is cancelled") }
    }

    /// Runs `future` as a task, to its end; the other tasks are dropped then.
    pub(crate) fn block_on<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let mut handle = pin!(self.0.spawn(future));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            self.0.tick();
            if let Poll::Ready(result) = handle.as_mut().poll(&mut context) {
                self.0.clear();
                return result.expect("the work neither panics nor is cancelled");
            }
        }
    }
}

impl Host for Local {
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        self.start(future)
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        yield_now()
    }
}
