//! Loops without a runtime: the control, and what the operating system and a crate offer.

use std::hint::spin_loop;
use std::num::NonZeroU64;
use std::time::Instant;

use rustix::thread::{clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{ClockId, Timespec, clock_gettime};
use spin_sleep::SpinSleeper;

use crate::beat::Beat;

const NS_PER_S: u64 = 1_000_000_000;

/// The control: reads the clock until the time has come. No runtime can be more punctual on this
/// machine, and what disturbs this loop is not the runtime's.
pub(crate) fn spin(mut beat: Beat) -> Beat {
    beat.begin(Instant::now());
    loop {
        let due = beat.next().expect("the pass has begun");
        while Instant::now() < due {
            spin_loop();
        }
        if !beat.tick() {
            return beat;
        }
    }
}

/// `clock_nanosleep` with absolute times.
pub(crate) fn nanosleep(mut beat: Beat) -> Beat {
    let period_ns = beat.period().as_nanos() as u64;
    let zero = clock_gettime(ClockId::Monotonic);
    beat.begin(Instant::now());
    let mut due_ns = zero.tv_sec as u64 * NS_PER_S + zero.tv_nsec as u64;
    loop {
        let due =
            Timespec { tv_sec: (due_ns / NS_PER_S) as i64, tv_nsec: (due_ns % NS_PER_S) as i64 };
        while clock_nanosleep_absolute(ClockId::Monotonic, &due).is_err() {}
        if !beat.tick() {
            return beat;
        }
        due_ns += period_ns;
    }
}

/// The same with the finest timer slack, which onbeat also sets for its thread.
pub(crate) fn nanosleep_finest(beat: Beat) -> Beat {
    finest_slack();
    nanosleep(beat)
}

/// `SpinSleeper::sleep_until` with the crate's defaults.
pub(crate) fn spin_sleep(mut beat: Beat) -> Beat {
    let sleeper = SpinSleeper::default();
    beat.begin(Instant::now());
    loop {
        sleeper.sleep_until(beat.next().expect("the pass has begun"));
        if !beat.tick() {
            return beat;
        }
    }
}

/// Lets the timers of this thread fire when they are due and not up to 50 us later. Where it is refused
/// the thread sleeps as others do.
pub(crate) fn finest_slack() {
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}
