//! Ends the process when a contender hangs, and says which one.

use std::process;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The exit status of a run in which a contender hung.
pub(crate) const HUNG: i32 = 3;

/// A thread that looks once a second whether the pass under way has begun too long ago.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pass: Arc<Mutex<Option<Pass>>>,
}

#[derive(Debug)]
struct Pass {
    began: Instant,
    contender: &'static str,
    question: String,
}

impl Watchdog {
    /// Starts the thread. Call it before pinning: a thread inherits its parent's cores, and this
    /// one must not take time from the contenders' core.
    pub(crate) fn start(limit: Duration) -> Self {
        let pass = Arc::new(Mutex::new(None::<Pass>));
        let watched = Arc::clone(&pass);
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                let guard = watched.lock().expect("no holder of this lock panics");
                let hung = guard.as_ref().filter(|pass| pass.began.elapsed() > limit);
                if let Some(Pass { contender, question, .. }) = hung {
                    eprintln!(
                        "onbeat-compare: {contender} hangs: one pass of \"{question}\" has not \
                         ended after {limit:?}. Nothing is measured after this; leave the question \
                         out with --only, or raise --hang-after."
                    );
                    process::exit(HUNG);
                }
            }
        });
        Self { pass }
    }

    /// A pass begins.
    pub(crate) fn watch(&self, contender: &'static str, question: &str) {
        let pass = Pass { began: Instant::now(), contender, question: question.to_owned() };
        *self.lock() = Some(pass);
    }

    /// The pass has ended.
    pub(crate) fn rest(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pass>> {
        self.pass.lock().expect("no holder of this lock panics")
    }
}
