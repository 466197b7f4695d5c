//! A bounded queue between many who send and one who receives, after the bounded queue of Dmitry Vyukov:
//! a place is claimed by moving the tail, and each place says itself when its value is there.
//!
//! Invariants:
//!
//! - **claimed once**: `head <= tail <= head + capacity`, and both only rise. Whoever moves `tail` from n
//!   to n + 1 claims the place of position n, which is empty and nobody else's, writes it, and then sets
//!   its stamp to n + 1. The compare-exchange that moves it fails once the queue is closed;
//! - **one receives**: there is one [`Consumer`], which is not `Clone` and pops through `&mut self`. The
//!   place of position `head` holds a value, and is the consumer's, when its stamp is `head + 1`. The
//!   consumer is done with a place before it raises `head` past it;
//! - **seen is past**: `head_seen` is an earlier value of `head`, read with acquire order or stronger and
//!   handed on with release order, so what it allows is allowed.
//!
//! A position counts values and never wraps: the highest bit of `tail` says that the queue is closed.
//! The stamp of an earlier round names an earlier position, so it is never mistaken, whatever the
//! capacity.

#![expect(unsafe_code, reason = "places that are written by one thread and read by another")]

use std::mem::MaybeUninit;

use super::super::{
    TryRecvError, TrySendError,
    sync::{Arc, AtomicUsize, Ordering, Padded, UnsafeCell},
};
use crate::wakers::drop_all;

const CLOSED: usize = 1 << (usize::BITS - 1);

struct Place<T> {
    stamp: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// What the senders write.
struct Tail {
    position: AtomicUsize,
    head_seen: AtomicUsize,
}

struct Queue<T, W> {
    /// A power of two of them: position n is at place n modulo their number.
    places: Box<[Place<T>]>,
    capacity: usize,
    /// What else the ends share.
    with: W,
    tail: Padded<Tail>,
    head: Padded<AtomicUsize>,
}

// SAFETY: by *claimed once* and *one receives* a value is touched by one thread at a time, and moves
// between them.
unsafe impl<T: Send, W: Sync> Sync for Queue<T, W> {}
// SAFETY: as above; and the last end drops the values that are left.
unsafe impl<T: Send, W: Send> Send for Queue<T, W> {}

impl<T, W> Queue<T, W> {
    #[inline(always)]
    fn place(&self, position: usize) -> &Place<T> {
        &self.places[position & (self.places.len() - 1)]
    }

    /// Moves the value of `position` out.
    ///
    /// # Safety
    ///
    /// The place holds a value and is the caller's, who treats it as empty from now on.
    #[inline(always)]
    unsafe fn read(&self, position: usize) -> T {
        let value = self.place(position).value.with_mut(|place| {
            // SAFETY: the place is the caller's, so no other thread touches it.
            unsafe { place.read() }
        });
        // SAFETY: it holds a value, and is treated as empty from now on.
        unsafe { value.assume_init() }
    }

    /// Whether the value of `position` is there, once that position is claimed.
    #[inline(always)]
    fn is_there(&self, position: usize) -> bool {
        self.place(position).stamp.load(Ordering::Acquire) == position + 1
    }

    /// How many positions are claimed and not yet received.
    fn len(&self) -> usize {
        // The head first: the tail read after it is not behind it.
        let head = self.head.load(Ordering::SeqCst);
        let tail = self.tail.position.load(Ordering::SeqCst) & !CLOSED;
        (tail - head).min(self.capacity)
    }

    fn is_closed(&self) -> bool {
        self.tail.position.load(Ordering::SeqCst) & CLOSED != 0
    }

    fn close(&self) -> bool {
        self.tail.position.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }
}

/// A queue of `capacity` places, which is not 0.
pub(crate) fn queue<T, W>(capacity: usize, with: W) -> (Producer<T, W>, Consumer<T, W>) {
    let place =
        |_| Place { stamp: AtomicUsize::new(0), value: UnsafeCell::new(MaybeUninit::uninit()) };
    let queue = Arc::new(Queue {
        places: (0..capacity.next_power_of_two()).map(place).collect(),
        capacity,
        with,
        tail: Padded(Tail { position: AtomicUsize::new(0), head_seen: AtomicUsize::new(0) }),
        head: Padded(AtomicUsize::new(0)),
    });
    (Producer { queue: queue.clone() }, Consumer { queue, head: 0 })
}

/// Puts values into the queue.
pub(crate) struct Producer<T, W> {
    queue: Arc<Queue<T, W>>,
}

impl<T, W> Clone for Producer<T, W> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T, W> Producer<T, W> {
    /// Appends a value if there is room.
    #[inline(always)]
    pub(crate) fn push(&self, value: T) -> Result<(), TrySendError<T>> {
        let queue = &*self.queue;
        let mut tail = queue.tail.position.load(Ordering::Relaxed);
        let position = loop {
            if tail & CLOSED != 0 {
                return Err(TrySendError::Closed(value));
            }
            let seen = queue.tail.head_seen.load(Ordering::Acquire);
            // A tail read before `head_seen` may be behind it; then the exchange fails.
            if tail.saturating_sub(seen) >= queue.capacity {
                let head = queue.head.load(Ordering::SeqCst);
                if tail.saturating_sub(head) >= queue.capacity {
                    // The tail may be an old one of a queue that was closed since.
                    return Err(if queue.is_closed() {
                        TrySendError::Closed(value)
                    } else {
                        TrySendError::Full(value)
                    });
                }
                queue.tail.head_seen.store(head, Ordering::Release);
            }
            match queue.tail.position.compare_exchange_weak(
                tail,
                tail + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => break tail,
                Err(now) => tail = now,
            }
        };
        let place = queue.place(position);
        place.value.with_mut(|place| {
            // SAFETY: by *claimed once* the place is this call's until its stamp is set.
            unsafe { place.write(MaybeUninit::new(value)) }
        });
        place.stamp.store(position + 1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn with(&self) -> &W {
        &self.queue.with
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Nothing can be pushed from now on. Whether that is new.
    pub(crate) fn close(&self) -> bool {
        self.queue.close()
    }
}

/// Takes values out of the queue.
pub(crate) struct Consumer<T, W> {
    queue: Arc<Queue<T, W>>,
    /// The queue's own.
    head: usize,
}

/// Why there is no value at the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nothing {
    /// Nobody sends.
    Empty,
    /// A sender has claimed the place and is about to write it.
    Coming,
    /// Nobody will send.
    Closed,
}

impl From<Nothing> for TryRecvError {
    fn from(nothing: Nothing) -> Self {
        match nothing {
            Nothing::Empty | Nothing::Coming => Self::Empty,
            Nothing::Closed => Self::Disconnected,
        }
    }
}

impl<T, W> Consumer<T, W> {
    /// Takes the first value.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Result<T, Nothing> {
        if !self.queue.is_there(self.head) {
            return Err(self.nothing());
        }
        // SAFETY: by *one receives* there is a value, and it is the consumer's.
        let value = unsafe { self.queue.read(self.head) };
        self.head += 1;
        self.queue.head.store(self.head, Ordering::SeqCst);
        Ok(value)
    }

    /// Takes the first values, `max` of them at most, and frees their places at once.
    pub(crate) fn pop_many(&mut self, into: &mut Vec<T>, max: usize) -> Result<usize, Nothing> {
        let there = (self.head..).take(max.min(self.queue.capacity));
        let count = there.take_while(|&position| self.queue.is_there(position)).count();
        if count == 0 && max > 0 {
            return Err(self.nothing());
        }
        // Before anything moves, because it may panic.
        into.reserve(count);
        for position in self.head..self.head + count {
            // SAFETY: by *one receives* there is a value, and it is the consumer's.
            into.push(unsafe { self.queue.read(position) });
        }
        self.head += count;
        self.queue.head.store(self.head, Ordering::SeqCst);
        Ok(count)
    }

    fn nothing(&self) -> Nothing {
        let tail = self.queue.tail.position.load(Ordering::SeqCst);
        if tail & !CLOSED != self.head {
            Nothing::Coming
        } else if tail & CLOSED == 0 {
            Nothing::Empty
        } else {
            Nothing::Closed
        }
    }

    pub(crate) fn with(&self) -> &W {
        &self.queue.with
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Nothing can be pushed from now on. Whether that is new.
    pub(crate) fn close(&self) -> bool {
        self.queue.close()
    }
}

impl<T, W> Drop for Queue<T, W> {
    /// Drops the values that nobody took, also those behind one whose destructor panics.
    fn drop(&mut self) {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.position.load(Ordering::Relaxed) & !CLOSED;
        drop_all((head..tail).map(|position| {
            // SAFETY: by *claimed once* every position before the tail has its value, as no
            // sender is left who could be about to write it; and both ends have gone.
            unsafe { self.read(position) }
        }));
    }
}
