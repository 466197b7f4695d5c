//! Loops without a runtime: the control, and what the operating system and a crate offer.

use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags};
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
        let due = timespec(due_ns);
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

/// `epoll_pwait2` on a descriptor that watches nothing, with the time that is left and the finest timer
/// slack: the call that onbeat parks in.
pub(crate) fn epoll_finest(mut beat: Beat) -> Beat {
    finest_slack();
    let nothing = epoll::create(CreateFlags::CLOEXEC).expect("the process may open a descriptor");
    let mut events = [MaybeUninit::uninit(); 1];
    beat.begin(Instant::now());
    loop {
        let due = beat.next().expect("the pass has begun");
        loop {
            let left_ns = due.saturating_duration_since(Instant::now()).as_nanos() as u64;
            if left_ns == 0 {
                break;
            }
            let left = timespec(left_ns);
            // A signal ends the wait too: who looks at the clock again need not know.
            let _ = epoll::wait(&nothing, &mut events, Some(&left));
        }
        if !beat.tick() {
            return beat;
        }
    }
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / NS_PER_S) as i64, tv_nsec: (ns % NS_PER_S) as i64 }
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
