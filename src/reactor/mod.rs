//! The reactor: mio's events in, readiness and wakes out.
//!
//! Registrations are edge-triggered. Each keeps what it last heard of either direction, and one waker
//! for each: a reader and a writer in two tasks do not take each other's wake.
//!
//! Invariant **nothing woken here**: the wakers of what became ready are taken out and kept for the loop,
//! which wakes them when nothing of the reactor is borrowed.

pub(crate) mod signals;
pub(crate) mod wait;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use mio::{Events, Interest, Poll, Registry, Token, event::Source};
use slab::Slab;

use crate::executor::inbox::Unpark;

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
    registry: Registry,
    events: RefCell<Events>,
    registrations: RefCell<Slab<Registration>>,
    next_generation: Cell<u32>,
    /// Wakers taken from the registrations that became ready, for the loop to wake, in order.
    woken: RefCell<VecDeque<Waker>>,
    unpark: Arc<mio::Waker>,
    events_seen: Cell<u64>,
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
        let registry = poll.registry().try_clone()?;
        let unpark = Arc::new(mio::Waker::new(&registry, UNPARK)?);
        Ok(Self {
            poll: RefCell::new(poll),
            registry,
            events: RefCell::new(Events::with_capacity(event_capacity)),
            registrations: RefCell::new(Slab::with_capacity(token_capacity)),
            next_generation: Cell::new(0),
            woken: RefCell::new(VecDeque::new()),
            unpark,
            events_seen: Cell::new(0),
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

    pub(crate) fn events_seen(&self) -> u64 {
        self.events_seen.get()
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
        if let Err(error) = self.registry.register(source, id.token(), both) {
            self.registrations.borrow_mut().remove(index);
            return Err(error);
        }
        Ok(id)
    }

    /// Ends a registration. Returns its wakers, for the caller to drop where nothing is borrowed.
    pub(crate) fn deregister(&self, id: IoId, source: &mut impl Source) -> [Option<Waker>; 2] {
        // A descriptor that is already closed has left the poll by itself.
        let _ = self.registry.deregister(source);
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
        self.collect(Some(Duration::ZERO))
    }

    /// Waits for events at most `timeout`, then takes them.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<usize> {
        if self.wait_precisely(timeout)? { self.drain() } else { Ok(0) }
    }

    /// The next of those who are to be woken.
    #[inline]
    pub(crate) fn pop_woken(&self) -> Option<Waker> {
        self.woken.borrow_mut().pop_front()
    }

    fn wait_precisely(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait::readable(&self.poll.borrow(), timeout)
    }

    fn collect(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut events = self.events.borrow_mut();
        match self.poll.borrow_mut().poll(&mut events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error),
        }
        let mut seen = 0;
        let mut woken = self.woken.borrow_mut();
        for event in events.iter().filter(|event| event.token() != UNPARK) {
            seen += 1;
            let read = event.is_readable() || event.is_read_closed() || event.is_error();
            let write = event.is_writable() || event.is_write_closed() || event.is_error();
            self.with(IoId::from_token(event.token()), |registration| {
                for (direction, happened) in [read, write].into_iter().enumerate() {
                    if happened {
                        registration.ready[direction] = true;
                        woken.extend(registration.wakers[direction].take());
                    }
                }
            });
        }
        self.events_seen.set(self.events_seen.get() + seen as u64);
        Ok(seen)
    }
}
