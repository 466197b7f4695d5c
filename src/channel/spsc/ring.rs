//! A ring between one who sends and one who receives.
//!
//! Invariants:
//!
//! - **one each**: a ring has one [`Producer`] and one [`Consumer`], which are not `Clone` and push and
//!   pop through `&mut self`;
//! - **in between**: `head <= tail <= head + capacity`. The places of the positions from `head` to `tail`
//!   hold values and are the consumer's; the others are empty and are the producer's. The producer alone
//!   raises `tail`, by a compare-exchange that fails once the ring is closed, and the consumer alone
//!   `head`; each does so after it is done with the place;
//! - **seen is past**: `head_seen` and `tail_seen` are earlier values of `head` and `tail`, which only
//!   rise, so what they allow is allowed. Each was read with acquire order or stronger.
//!
//! A position counts values and never wraps: the highest bit of `tail` says that the ring is closed.

#![expect(unsafe_code, reason = "places that are written by one thread and read by another")]

use std::mem::MaybeUninit;

use super::super::{
    TryRecvError, TrySendError,
    sync::{Arc, AtomicUsize, Ordering, Padded, UnsafeCell},
};
use crate::wakers::drop_all;

const CLOSED: usize = 1 << (usize::BITS - 1);

struct Ring<T, W> {
    /// A power of two of them: position n is at place n modulo their number.
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
    capacity: usize,
    /// What else the ends share.
    with: W,
    tail: Padded<AtomicUsize>,
    head: Padded<AtomicUsize>,
}

// SAFETY: by *in between* a value is touched by one thread at a time, and moves between them.
unsafe impl<T: Send, W: Sync> Sync for Ring<T, W> {}
// SAFETY: as above; and the last end drops the values that are left.
unsafe impl<T: Send, W: Send> Send for Ring<T, W> {}

impl<T, W> Ring<T, W> {
    #[inline(always)]
    fn place(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.places[position & (self.places.len() - 1)]
    }

    /// Writes the place of `position`, which is empty and the caller's.
    #[inline(always)]
    fn write(&self, position: usize, value: T) {
        self.place(position).with_mut(|place| {
            // SAFETY: by *in between* no other thread touches this place until `tail` has passed it.
            unsafe { place.write(MaybeUninit::new(value)) }
        });
    }

    /// Moves the value of `position` out.
    ///
    /// # Safety
    ///
    /// The place holds a value and is the caller's, who treats it as empty from now on.
    #[inline(always)]
    unsafe fn read(&self, position: usize) -> T {
        let value = self.place(position).with_mut(|place| {
            // SAFETY: the place is the caller's, so no other thread touches it.
            unsafe { place.read() }
        });
        // SAFETY: it holds a value, and is treated as empty from now on.
        unsafe { value.assume_init() }
    }

    fn len(&self) -> usize {
        // The head first: the tail read after it is not behind it.
        let head = self.head.load(Ordering::SeqCst);
        let tail = self.tail.load(Ordering::SeqCst) & !CLOSED;
        (tail - head).min(self.capacity)
    }

    fn is_closed(&self) -> bool {
        self.tail.load(Ordering::SeqCst) & CLOSED != 0
    }

    fn close(&self) -> bool {
        self.tail.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }
}

/// A ring of `capacity` places, which is not 0.
pub(crate) fn ring<T, W>(capacity: usize, with: W) -> (Producer<T, W>, Consumer<T, W>) {
    let places =
        (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let ring = Arc::new(Ring {
        places,
        capacity,
        with,
        tail: Padded(AtomicUsize::new(0)),
        head: Padded(AtomicUsize::new(0)),
    });
    let consumer = Consumer { ring: ring.clone(), head: 0, tail_seen: 0 };
    (Producer { ring, tail: 0, head_seen: 0 }, consumer)
}

/// Puts values into the ring.
pub(crate) struct Producer<T, W> {
    ring: Arc<Ring<T, W>>,
    /// The ring's own, without its bit.
    tail: usize,
    head_seen: usize,
}

impl<T, W> Producer<T, W> {
    /// Appends a value if there is room.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: T) -> Result<(), TrySendError<T>> {
        let ring = &*self.ring;
        let tail = self.tail;
        if tail - self.head_seen >= ring.capacity {
            self.head_seen = ring.head.load(Ordering::SeqCst);
            if tail - self.head_seen >= ring.capacity {
                let is_closed = ring.is_closed();
                return Err(if is_closed {
                    TrySendError::Closed(value)
                } else {
                    TrySendError::Full(value)
                });
            }
        }
        ring.write(tail, value);
        match ring.tail.compare_exchange(tail, tail + 1, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => {
                self.tail = tail + 1;
                Ok(())
            }
            Err(_) => {
                // SAFETY: it was written above, and as `tail` has not passed it, it is the producer's.
                let value = unsafe { ring.read(tail) };
                Err(TrySendError::Closed(value))
            }
        }
    }

    pub(crate) fn with(&self) -> &W {
        &self.ring.with
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Nothing can be pushed from now on. Whether that is new.
    pub(crate) fn close(&self) -> bool {
        self.ring.close()
    }
}

/// Takes values out of the ring.
pub(crate) struct Consumer<T, W> {
    ring: Arc<Ring<T, W>>,
    /// The ring's own.
    head: usize,
    /// Without its bit.
    tail_seen: usize,
}

impl<T, W> Consumer<T, W> {
    /// Takes the first value.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Result<T, TryRecvError> {
        if self.head == self.tail_seen {
            self.look()?;
        }
        // SAFETY: by *in between* and *seen is past* there is a value, and it is the consumer's.
        let value = unsafe { self.ring.read(self.head) };
        self.head += 1;
        self.ring.head.store(self.head, Ordering::SeqCst);
        Ok(value)
    }

    /// Takes the first values, `max` of them at most, and frees their places at once.
    pub(crate) fn pop_many(
        &mut self,
        into: &mut Vec<T>,
        max: usize,
    ) -> Result<usize, TryRecvError> {
        if self.tail_seen - self.head < max {
            self.look()?;
        }
        let count = (self.tail_seen - self.head).min(max);
        // Before anything moves, because it may panic.
        into.reserve(count);
        for position in self.head..self.head + count {
            // SAFETY: by *in between* and *seen is past* there is a value, and it is the consumer's.
            into.push(unsafe { self.ring.read(position) });
        }
        self.head += count;
        self.ring.head.store(self.head, Ordering::SeqCst);
        Ok(count)
    }

    /// Looks how far the producer is. An error: there is no value.
    #[inline(always)]
    fn look(&mut self) -> Result<(), TryRecvError> {
        let tail = self.ring.tail.load(Ordering::SeqCst);
        self.tail_seen = tail & !CLOSED;
        if self.tail_seen != self.head {
            Ok(())
        } else if tail & CLOSED == 0 {
            Err(TryRecvError::Empty)
        } else {
            Err(TryRecvError::Disconnected)
        }
    }

    pub(crate) fn with(&self) -> &W {
        &self.ring.with
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Nothing can be pushed from now on. Whether that is new.
    pub(crate) fn close(&self) -> bool {
        self.ring.close()
    }
}

impl<T, W> Drop for Ring<T, W> {
    /// Drops the values that nobody took, also those behind one whose destructor panics.
    fn drop(&mut self) {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed) & !CLOSED;
        drop_all((head..tail).map(|position| {
            // SAFETY: by *in between* there is a value, and both ends have gone.
            unsafe { self.read(position) }
        }));
    }
}
