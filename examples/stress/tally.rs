//! What was done, and how a violation ends the program.

use std::{
    fmt::Write as _,
    io::{self, Write},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Did {
    Runtimes,
    Cut,
    Tasks,
    Aborts,
    Panics,
    Timers,
    Cancellations,
    Values,
    GivenUp,
    Messages,
    Wakes,
    Closures,
    RemoteTasks,
}

const WORDS: [&str; 13] = [
    "runtimes made and dropped",
    "of them dropped in the middle of everything",
    "tasks spawned by tasks",
    "aborted",
    "tasks that panicked",
    "sleeps and timeouts",
    "tokens cancelled from another thread",
    "values through spsc and mpsc",
    "sends that were given up",
    "byte messages",
    "wakes across threads that were each waited for",
    "closures run with the World",
    "tasks spawned by other threads",
];

static DID: [AtomicU64; WORDS.len()] = [const { AtomicU64::new(0) }; WORDS.len()];

pub(crate) fn did(what: Did, times: u64) {
    DID[what as usize].fetch_add(times, Ordering::Relaxed);
}

fn count(what: Did) -> u64 {
    DID[what as usize].load(Ordering::Relaxed)
}

/// A line of progress.
pub(crate) fn line() -> String {
    format!(
        "{} runtimes, {} tasks, {} values, {} messages, {} wakes, {} closures",
        count(Did::Runtimes),
        count(Did::Tasks) + count(Did::RemoteTasks),
        count(Did::Values),
        count(Did::Messages),
        count(Did::Wakes),
        count(Did::Closures),
    )
}

/// All that was done.
pub(crate) fn table() -> String {
    let mut table = String::new();
    for (words, count) in WORDS.iter().zip(&DID) {
        let _ = writeln!(table, "{:>14} {words}", count.load(Ordering::Relaxed));
    }
    table
}

/// Ends the program, because something is not as it must be.
pub(crate) fn fail(what: &str) -> ! {
    let _ = writeln!(io::stderr(), "stress: {what}");
    process::exit(1)
}

/// Fails if `holds` is false. An assertion in a task would only end that task.
pub(crate) fn check(holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        fail(&what());
    }
}
