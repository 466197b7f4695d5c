//! What else goes on while the ticks are measured.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::raw::finest_slack;

/// How long each noisy thread waits between two wakes or two messages.
const GAP: Duration = Duration::from_micros(100);

/// Longer than any pass.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// What a thread has to do beside its ticks, and what goes on around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// The part of the period that each tick works, in percent.
    pub(crate) work_percent: u32,
    /// Tasks that sleep all the time.
    pub(crate) sleepers: usize,
    /// Another thread wakes a task every 100 us.
    pub(crate) wakes: bool,
    /// Another thread sends 64 bytes over loopback TCP every 100 us, and a task reads them.
    pub(crate) traffic: bool,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.work_percent > 0 {
            parts.push(format!("{} % work", self.work_percent));
        }
        if self.sleepers > 0 {
            parts.push(format!("{} sleepers", self.sleepers));
        }
        if self.wakes {
            parts.push("foreign wakes".to_owned());
        }
        if self.traffic {
            parts.push("traffic".to_owned());
        }
        if parts.is_empty() {
            parts.push("nothing else to do".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// What a thread rings and a task waits for.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes the task that waits, or lets the next wait end at once.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().expect("no holder of this lock panics").clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until it is rung.
    pub(crate) async fn rung(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        *self.waker.lock().expect("no holder of this lock panics") = Some(cx.waker().clone());
        if self.rung.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Counts the sleeping tasks that have been polled, so that the ticks begin when all of them sleep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asleep(Rc<Cell<usize>>);

impl Asleep {
    /// What a sleeping task does: `sleep` is polled once before it counts.
    pub(crate) fn sleeper<F: Future + 'static>(
        &self,
        sleep: impl FnOnce() -> F + 'static,
    ) -> impl Future<Output = ()> + 'static {
        let count = Rc::clone(&self.0);
        async move {
            let sleep = sleep();
            count.set(count.get() + 1);
            sleep.await;
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.get()
    }
}

/// The threads that disturb, from start to drop. They also run beside contenders that do not listen.
#[derive(Debug)]
pub(crate) struct Noise {
    /// Rung by the thread that wakes.
    pub(crate) bell: Arc<Bell>,
    /// Where the traffic arrives, not blocking; whoever listens takes it.
    pub(crate) incoming: Option<TcpStream>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Noise {
    /// Starts what `load` asks for. Call it before pinning: a thread inherits its parent's cores.
    pub(crate) fn start(load: Load) -> io::Result<Self> {
        let mut noise = Self {
            bell: Arc::default(),
            incoming: None,
            over: Arc::default(),
            threads: Vec::new(),
        };
        if load.wakes {
            let bell = Arc::clone(&noise.bell);
            noise.again_and_again(move || bell.ring());
        }
        if load.traffic {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let mut outgoing = TcpStream::connect(listener.local_addr()?)?;
            let (incoming, _) = listener.accept()?;
            incoming.set_nonblocking(true)?;
            outgoing.set_nodelay(true)?;
            outgoing.set_nonblocking(true)?;
            noise.incoming = Some(incoming);
            noise.again_and_again(move || {
                // Nobody reads beside the bare loops: what does not fit is not sent.
                let _ = outgoing.write(&[7; 64]);
            });
        }
        Ok(noise)
    }

    fn again_and_again(&mut self, mut act: impl FnMut() + Send + 'static) {
        let over = Arc::clone(&self.over);
        self.threads.push(thread::spawn(move || {
            finest_slack();
            while !over.load(Ordering::Relaxed) {
                act();
                thread::sleep(GAP);
            }
        }));
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}
