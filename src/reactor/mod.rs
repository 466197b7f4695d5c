//! The reactor: mio's events in, readiness and wakes out.
//!
//! Registrations are edge-triggered. Each keeps what it last heard of either direction, and one waker
//! for each: a reader and a writer in two tasks do not take each other's wake.
//!
//! Invariant **nothing woken here**: the wakers of what became ready are taken out and kept for the loop,
//! which wakes them when nothing of the reactor is borrowed.

pub(crate) mod signals;
mod wait;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, event::Source};
use slab::Slab;

use crate::executor::inbox::Unpark;
use wait::{Happened, Waiter, whole_millis};

/// The token of the waker that other threads use.
const UNPARK: Token = Token(usize::MAX);

/// Names one registration: its place, and how often that place was used before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IoId {
    index: u32,
    generation: u32,
}

impl IoId {
    fn token(self) -> Token {
        Token((self.generation as usize) << 32 | self.index as usize)
    }

    fn from_token(token: Token) -> Self {
        Self { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

/// One of the two ways in which a socket can be ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

#[derive(Debug)]
struct Registration {
    generation: u32,
    /// By direction: whether the last thing heard was that it is ready. Starts as true, so that the
    /// first attempt is made without waiting for an event.
    ready: [bool; 2],
    wakers: [Option<Waker>; 2],
}

#[derive(Debug)]
pub(crate) struct Reactor {
    poll: RefCell<Poll>,
    events: RefCell<Events>,
    waiter: Waiter,
    registrations: RefCell<Slab<Registration>>,
    next_generation: Cell<u32>,
    /// Wakers taken from the registrations that became ready, for the loop to wake, in order.
    woken: RefCell<VecDeque<Waker>>,
    unpark: Arc<mio::Waker>,
    events_seen: Cell<u64>,
    looks: Cell<u64>,
}

struct UnparkPoll(Arc<mio::Waker>);

impl Unpark for UnparkPoll {
    fn unpark(&self) {
        // A failed write means that the event counter is full, and then the wait ends anyway.
        let _ = self.0.wake();
    }
}

impl Reactor {
    pub(crate) fn new(event_capacity: usize, token_capacity: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let unpark = Arc::new(mio::Waker::new(poll.registry(), UNPARK)?);
        Ok(Self {
            poll: RefCell::new(poll),
            events: RefCell::new(Events::with_capacity(event_capacity)),
            waiter: Waiter::new(event_capacity),
            registrations: RefCell::new(Slab::with_capacity(token_capacity)),
            next_generation: Cell::new(0),
            woken: RefCell::new(VecDeque::new()),
            unpark,
            events_seen: Cell::new(0),
            looks: Cell::new(0),
        })
    }

    /// What ends the reactor's wait from another thread.
    pub(crate) fn unpark(&self) -> Box<dyn Unpark> {
        Box::new(UnparkPoll(self.unpark.clone()))
    }

    /// How many sources are registered.
    pub(crate) fn len(&self) -> usize {
        self.registrations.borrow().len()
    }

    /// Differs after a source was registered, whether it still is or not.
    pub(crate) fn registered(&self) -> u32 {
        self.next_generation.get()
    }

    pub(crate) fn events_seen(&self) -> u64 {
        self.events_seen.get()
    }

    /// How often the system was asked for events.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.get()
    }

    pub(crate) fn register(&self, source: &mut impl Source) -> io::Result<IoId> {
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1) & 0x7FFF_FFFF);
        let index = self.registrations.borrow_mut().insert(Registration {
            generation,
            ready: [true; 2],
            wakers: [None, None],
        });
        let id = IoId { index: u32::try_from(index).map_err(io::Error::other)?, generation };
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.borrow().registry().register(source, id.token(), both) {
            self.registrations.borrow_mut().remove(index);
            return Err(error);
        }
        Ok(id)
    }

    /// Ends a registration. Returns its wakers, for the caller to drop where nothing is borrowed.
    pub(crate) fn deregister(&self, id: IoId, source: &mut impl Source) -> [Option<Waker>; 2] {
        // A descriptor that is already closed has left the poll by itself.
        let _ = self.poll.borrow().registry().deregister(source);
        self.forget(id)
    }

    /// Forgets who waits for what; the registrations stay until their sources are dropped. The caller
    /// drops the wakers, where nothing is borrowed.
    pub(crate) fn clear(&self) -> Vec<Waker> {
        let mut wakers: Vec<Waker> = self.woken.borrow_mut().drain(..).collect();
        for (_, registration) in &mut *self.registrations.borrow_mut() {
            wakers.extend(registration.wakers.iter_mut().filter_map(Option::take));
        }
        wakers
    }

    fn forget(&self, id: IoId) -> [Option<Waker>; 2] {
        let mut registrations = self.registrations.borrow_mut();
        match registrations.get(id.index as usize) {
            Some(registration) if registration.generation == id.generation => {
                registrations.remove(id.index as usize).wakers
            }
            _ => [None, None],
        }
    }

    fn with<R>(&self, id: IoId, f: impl FnOnce(&mut Registration) -> R) -> Option<R> {
        let mut registrations = self.registrations.borrow_mut();
        let registration = registrations.get_mut(id.index as usize)?;
        (registration.generation == id.generation).then(|| f(registration))
    }

    /// Whether an attempt in this direction is worth making.
    pub(crate) fn is_ready(&self, id: IoId, direction: Direction) -> bool {
        self.with(id, |registration| registration.ready[direction as usize]).unwrap_or(true)
    }

    /// An attempt would block: the next one waits for an event, which wakes `waker`. Returns the waker
    /// that was stored before, for the caller to drop.
    pub(crate) fn wait_for(&self, id: IoId, direction: Direction, waker: Waker) -> Option<Waker> {
        let mut waker = Some(waker);
        let before = self.with(id, |registration| {
            registration.ready[direction as usize] = false;
            std::mem::replace(&mut registration.wakers[direction as usize], waker.take())
        });
        before.unwrap_or(waker)
    }

    /// Whether the stored waker of this direction would wake the same task.
    pub(crate) fn will_wake(&self, id: IoId, direction: Direction, waker: &Waker) -> bool {
        self.with(id, |registration| {
            registration.wakers[direction as usize]
                .as_ref()
                .is_some_and(|stored| stored.will_wake(waker))
        })
        .unwrap_or(false)
    }

    /// Notes that an attempt would block, where the waker is already stored.
    pub(crate) fn not_ready(&self, id: IoId, direction: Direction) {
        self.with(id, |registration| registration.ready[direction as usize] = false);
    }

    /// Takes what mio has, without waiting. Whom it concerns is in [`pop_woken`](Self::pop_woken)
    /// afterwards. Returns how many events came.
    pub(crate) fn drain(&self) -> io::Result<usize> {
        self.looks.set(self.looks.get() + 1);
        self.collect(Some(Duration::ZERO))
    }

    /// Waits for events at most `timeout`, then takes them. Without events it may end up to a
    /// millisecond early, where the system cannot wait more precisely. Returns how many events came.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<usize> {
        self.looks.set(self.looks.get() + 1);
        let before = self.events_seen.get();
        let waited = self.waiter.wait(&self.poll.borrow(), timeout, |event| self.note(event));
        match waited {
            Some(waited) => waited.map(|()| (self.events_seen.get() - before) as usize),
            None => self.collect(timeout.map(whole_millis)),
        }
    }

    /// Whether a [`wait`](Self::wait) of so long would sleep at all, as far as is known.
    pub(crate) fn sleeps_for(&self, timeout: Duration) -> bool {
        self.waiter.is_precise() || timeout >= Duration::from_millis(1)
    }

    /// As on a system that waits for whole milliseconds.
    #[cfg(test)]
    pub(crate) fn wait_coarsely(&self) {
        self.waiter.forget_the_call();
    }

    /// While it lives, a wait may change how precisely the system wakes this thread. Dropping it puts
    /// back what was there before.
    pub(crate) fn keep_precision(&self) -> impl Drop + '_ {
        struct Restore<'a>(&'a Waiter);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.restore_slack();
            }
        }
        Restore(&self.waiter)
    }

    /// The next of those who are to be woken.
    #[inline]
    pub(crate) fn pop_woken(&self) -> Option<Waker> {
        self.woken.borrow_mut().pop_front()
    }

    fn collect(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut events = self.events.borrow_mut();
        match self.poll.borrow_mut().poll(&mut events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        }
        let before = self.events_seen.get();
        for event in &*events {
            self.note(Happened {
                token: event.token(),
                read: event.is_readable() || event.is_read_closed() || event.is_error(),
                write: event.is_writable() || event.is_write_closed() || event.is_error(),
            });
        }
        Ok((self.events_seen.get() - before) as usize)
    }

    /// Takes the wakers whom an event concerns. One that only ends a wait concerns nobody.
    fn note(&self, event: Happened) {
        if event.token == UNPARK {
            return;
        }
        self.events_seen.set(self.events_seen.get() + 1);
        self.with(IoId::from_token(event.token), |registration| {
            for (direction, happened) in [event.read, event.write].into_iter().enumerate() {
                if happened {
                    registration.ready[direction] = true;
                    if let Some(waker) = registration.wakers[direction].take() {
                        self.woken.borrow_mut().push_back(waker);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream as StdStream};

    use mio::net::UnixStream;

    use super::*;
    use crate::clock::{Clock, ClockMode};

    fn reactors() -> [Reactor; 2] {
        let precise = Reactor::new(4, 4).unwrap();
        let mut coarse = Reactor::new(4, 4).unwrap();
        coarse.waiter = Waiter::without_the_call();
        [precise, coarse]
    }

    #[test]
    fn a_wait_ends_with_an_event_and_says_whom_it_concerns() {
        for reactor in reactors() {
            let (mut peer, own) = StdStream::pair().unwrap();
            own.set_nonblocking(true).unwrap();
            let mut own = UnixStream::from_std(own);
            let id = reactor.register(&mut own).unwrap();
            // The socket can be written to from the beginning.
            assert_eq!(reactor.wait(Some(Duration::from_secs(20))).unwrap(), 1);
            reactor.not_ready(id, Direction::Read);
            let old = reactor.wait_for(id, Direction::Read, Waker::noop().clone());
            assert!(old.is_none() && reactor.pop_woken().is_none());
            peer.write_all(b"x").unwrap();
            assert_eq!(reactor.wait(None).unwrap(), 1);
            assert!(reactor.is_ready(id, Direction::Read));
            assert!(reactor.pop_woken().is_some() && reactor.pop_woken().is_none());
            assert_eq!(reactor.wait(Some(Duration::ZERO)).unwrap(), 0, "an event is told once");
            reactor.deregister(id, &mut own);
        }
    }

    #[test]
    fn a_wait_ends_when_it_is_unparked() {
        for reactor in reactors() {
            reactor.unpark().unpark();
            assert_eq!(reactor.wait(None).unwrap(), 0);
        }
    }

    #[test]
    fn a_coarse_wait_leaves_the_rest_and_a_precise_one_does_not() {
        let clock = Clock::new(ClockMode::Real, std::time::SystemTime::UNIX_EPOCH);
        for (reactor, at_least_us) in reactors().into_iter().zip([2_500, 2_000]) {
            let before_ns = clock.precise_ns();
            assert_eq!(reactor.wait(Some(Duration::from_micros(2_500))).unwrap(), 0);
            // A kernel without the call makes the precise one coarse.
            let at_least_us = if reactor.waiter.is_precise() { at_least_us } else { 2_000 };
            assert!(clock.precise_ns() - before_ns >= at_least_us * 1_000);
        }
        assert_eq!(whole_millis(Duration::from_micros(2_500)), Duration::from_millis(2));
        assert_eq!(whole_millis(Duration::from_micros(999)), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_timed_wait_sets_the_threads_timer_slack_until_the_guard_goes() {
        use rustix::thread::current_timer_slack;

        let before = current_timer_slack().unwrap();
        let reactor = Reactor::new(4, 4).unwrap();
        let keep = reactor.keep_precision();
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(current_timer_slack().unwrap(), 1);
        drop(keep);
        assert_eq!(current_timer_slack().unwrap(), before);
    }
}
