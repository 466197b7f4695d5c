//! Waiting for a future by putting the thread to sleep.
#![forbid(unsafe_code)]

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Unparks the thread that made it.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

fn this_thread() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

thread_local! {
    static WAKER: Waker = this_thread();
}

/// Polls `future` to its end, and parks the thread in between.
pub(super) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    // A destructor of another thread-local may come here when this one has gone.
    let waker = WAKER.try_with(Waker::clone).unwrap_or_else(|_| this_thread());
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut future).poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
