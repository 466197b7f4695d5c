//! async-executor 1.14 `LocalExecutor`, driven by `run` under futures-lite's `block_on`.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ::async_executor::LocalExecutor;
use futures_lite::future::{block_on, yield_now};

use crate::work::{Host, Work, drive};

/// Does `work`; there is no I/O driver and nothing to configure.
pub(crate) fn run(work: Work) -> Duration {
    let executor = Local(Rc::new(LocalExecutor::new()));
    let driver = executor.spawn(drive(executor.clone(), work));
    block_on(executor.0.run(driver))
}

#[derive(Clone)]
struct Local(Rc<LocalExecutor<'static>>);

impl Host for Local {
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        self.0.spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        yield_now()
    }
}
