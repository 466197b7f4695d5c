//! The memory of a byte channel, and the protocol by which its ends hand parts of it to each other.
//!
//! The memory is a ring of units of 16 bytes. A message is a run of units that does not pass the ring's
//! end; what is left over before the end, and what is given up, are runs that the consumer skips.
//! Positions count units, and only rise. Each unit has a *mark* beside the memory: zero, but for
//! the first unit of a run that was handed to the consumer, where it says how long the run is.
//!
//! ```text
//!     free   |  unread       a claim   skipped     |  free
//!            |  mark: length mark: 0   mark: SKIP  |
//!            head                                  tail
//! ```
//!
//! Invariants:
//!
//! - **taken once**: a unit between head and tail belongs to the producer that moved the tail over it,
//!   until it stores the mark of the run; from then on to the consumer, until that moves the head over it.
//!   The tail is never further than the whole ring ahead of the head. A single producer has the tail to
//!   itself; many move it by compare and exchange;
//! - **mark last**: a mark is stored, in release order or stronger, after the last byte of its run was
//!   written, and loaded with acquire before the first is read;
//! - **clear, then free**: the consumer clears a mark before it moves the head in release order, and a
//!   producer loads the head in acquire order before it takes what lies behind it. So a unit that is free, or
//!   taken and not handed over, has the mark zero, and a mark is never that of an earlier round. Marks are
//!   not in the memory that users write, so no message can look like one;
//! - **claims stay**: what a producer has taken and what a consumer reads is written down in that producer
//!   or consumer, of which there are no copies, and goes from there only when it is handed over. A claim
//!   that is forgotten changes nothing;
//! - **store, then look**: see `sync`. A mark, the head and the end of the channel are what waits are for,
//!   so each is stored and loaded with `SeqCst`, and whoever stores one then looks who waits;
//! - **always initialised**: every byte is zero at first, and afterwards what somebody wrote.

#![expect(unsafe_code, reason = "both ends of a ring reach its memory, each its own part of it")]

use std::{cell::UnsafeCell, ops::Deref, slice, sync::Arc};

use super::super::{
    sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, Witness},
    waiter::Waiters,
};

/// Bytes of a unit.
const UNIT: usize = 16;
/// The largest ring, in bytes. A length and a mark's flag have room in 32 bits.
pub(crate) const CAPACITY_MAX: usize = 1 << 30;
/// In a mark: the run is skipped, and the other bits are its units. Otherwise they are a length plus one.
const SKIP: u32 = 1 << 31;
/// In the word of the tail: the channel is closed. The position stands in the other bits.
const CLOSED: u64 = 1;

/// A place in the ring, counted in units since the beginning, modulo 2^63.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position(u64);

impl Position {
    fn plus(self, units: usize) -> Self {
        Self(self.0.wrapping_add(units as u64) & (u64::MAX >> 1))
    }

    /// Units from `earlier` to here.
    fn since(self, earlier: Self) -> u64 {
        self.0.wrapping_sub(earlier.0) & (u64::MAX >> 1)
    }
}

#[repr(align(16))]
struct Unit(#[expect(dead_code, reason = "reached by pointer")] [u8; UNIT]);

/// Keeps what one end writes out of the other end's cache lines.
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The units, each of which one end reaches at a time.
struct Units(Box<[UnsafeCell<Unit>]>);

// SAFETY: by *taken once* each unit is reached by one end at a time, and *mark last* and *clear, then
// free* order what one end does before what the next one does.
unsafe impl Sync for Units {}

/// What all ends of a channel share.
pub(super) struct Ring {
    units: Units,
    /// Who moves the tail.
    by: Producers,
    marks: Box<[AtomicU32]>,
    witnesses: Box<[Witness]>,
    /// The first unit that is not free; written by the consumer.
    head: Apart<AtomicU64>,
    /// Twice the first unit that is not taken, plus [`CLOSED`]. The position of a single producer's tail
    /// is its own affair.
    tail: Apart<AtomicU64>,
    /// The producer waits here for room.
    room: Apart<Waiters>,
    /// The consumer waits here for messages.
    messages: Apart<Waiters>,
    producers: AtomicUsize,
    next_id: AtomicU64,
}

/// Who may take units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Producers {
    One,
    Many,
}

/// Makes a ring of at least `capacity` bytes, a power of two of them, and its ends.
pub(super) fn ring(capacity: usize, producers: Producers) -> (Producer, Consumer) {
    ring_at(capacity, producers, Position(0))
}

fn ring_at(capacity: usize, producers: Producers, start: Position) -> (Producer, Consumer) {
    debug_assert!((1..=CAPACITY_MAX).contains(&capacity), "the caller says so to the user");
    let units = capacity.div_ceil(UNIT).next_power_of_two().max(2);
    let ring = Arc::new(Ring {
        units: Units((0..units).map(|_| UnsafeCell::new(Unit([0; UNIT]))).collect()),
        by: producers,
        marks: (0..units).map(|_| AtomicU32::new(0)).collect(),
        witnesses: (0..units).map(|_| Witness::default()).collect(),
        head: Apart(AtomicU64::new(start.0)),
        tail: Apart(AtomicU64::new(start.0 << 1)),
        room: Apart(Waiters::new()),
        messages: Apart(Waiters::new()),
        producers: AtomicUsize::new(1),
        next_id: AtomicU64::new(1),
    });
    let producer = Producer { ring: ring.clone(), id: 0, tail: start, head: start, taken: None };
    (producer, Consumer { ring, head: start, reading: None })
}

impl Ring {
    pub(super) fn capacity(&self) -> usize {
        self.marks.len() * UNIT
    }

    /// The longest message. A run of half the ring fits into an empty one wherever its tail is, with
    /// what is skipped before the end.
    pub(super) fn len_max(&self) -> usize {
        self.capacity() / 2
    }

    pub(super) fn room(&self) -> &Waiters {
        &self.room
    }

    pub(super) fn messages(&self) -> &Waiters {
        &self.messages
    }

    pub(super) fn is_closed(&self) -> bool {
        self.tail.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Nothing is taken from now on, but for what a single producer has claimed.
    pub(super) fn close(&self) {
        if self.tail.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0 {
            self.room.notify_with(&self.messages);
        }
    }

    fn offset(&self, at: Position) -> usize {
        at.0 as usize & (self.marks.len() - 1)
    }

    fn mark(&self, at: Position) -> &AtomicU32 {
        &self.marks[self.offset(at)]
    }

    fn skip(&self, at: Position, units: usize) {
        if units > 0 {
            self.mark(at).store(SKIP | units as u32, Ordering::SeqCst);
        }
    }

    /// Units to skip before a run of `units` that begins at `at` or behind the ring's end.
    fn padding(&self, at: Position, units: usize) -> usize {
        let before_end = self.marks.len() - self.offset(at);
        if units > before_end { before_end } else { 0 }
    }

    /// Where the `len` bytes of a run begin that starts at `at`; `witness` is told of each unit.
    fn bytes(&self, at: Position, len: usize, witness: impl Fn(&Witness)) -> *mut u8 {
        let offset = self.offset(at);
        let units = &self.units.0[offset..];
        assert!(len <= units.len() * UNIT, "a run does not pass the end of the ring");
        if cfg!(loom) {
            self.witnesses[offset..offset + units_of(len)].iter().for_each(witness);
        }
        units.as_ptr().cast_mut().cast::<u8>()
    }
}

/// Units of a message. An empty one needs a mark too.
fn units_of(len: usize) -> usize {
    len.div_ceil(UNIT).max(1)
}

/// A run that a producer has taken, by *taken once*, and not handed over.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Units to skip before it.
    padding: usize,
    start: Position,
    units: usize,
    /// Bytes of it that are shown.
    len: usize,
}

/// Why nothing can be claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// Takes runs, one at a time, and hands them over.
pub(super) struct Producer {
    ring: Arc<Ring>,
    id: u64,
    /// The tail of a single producer.
    tail: Position,
    /// The head when it was last looked at.
    head: Position,
    taken: Option<Taken>,
}

impl Producer {
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Names this producer among those who wait.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// One more producer, of [`Producers::Many`].
    pub(super) fn another(&self) -> Self {
        assert_eq!(self.ring.by, Producers::Many, "a single producer has the tail to itself");
        self.ring.producers.fetch_add(1, Ordering::Relaxed);
        Self {
            ring: self.ring.clone(),
            id: self.ring.next_id.fetch_add(1, Ordering::Relaxed),
            tail: self.tail,
            head: self.head,
            taken: None,
        }
    }

    /// Claims `len` bytes, at most [`Ring::len_max`]. A claim that was forgotten is handed out again where
    /// it is long enough, and otherwise given up first.
    #[inline]
    pub(super) fn claim(&mut self, len: usize) -> Result<(), Refused> {
        debug_assert!(len <= self.ring.len_max(), "the caller says so to the user");
        let units = units_of(len);
        match self.ring.by {
            Producers::One => self.take_alone(units, len),
            Producers::Many => {
                if self.taken.is_some() && self.claim_again(units, len) {
                    return Ok(());
                }
                self.take_among_many(units, len)
            }
        }
    }

    #[cold]
    fn claim_again(&mut self, units: usize, len: usize) -> bool {
        if !self.ring.is_closed()
            && let Some(taken) = &mut self.taken
            && units <= taken.units
        {
            taken.len = len;
            return true;
        }
        self.abandon();
        false
    }

    fn take_alone(&mut self, units: usize, len: usize) -> Result<(), Refused> {
        self.taken = None;
        if self.ring.is_closed() {
            return Err(Refused::Closed);
        }
        let padding = self.ring.padding(self.tail, units);
        let start = self.tail.plus(padding);
        if !self.has_room(start.plus(units)) {
            self.head = Position(self.ring.head.load(Ordering::SeqCst));
            if !self.has_room(start.plus(units)) {
                return Err(Refused::Full);
            }
        }
        self.taken = Some(Taken { padding, start, units, len });
        Ok(())
    }

    fn take_among_many(&mut self, units: usize, len: usize) -> Result<(), Refused> {
        let mut word = self.ring.tail.load(Ordering::SeqCst);
        loop {
            if word & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            let tail = Position(word >> 1);
            let padding = self.ring.padding(tail, units);
            let start = tail.plus(padding);
            let end = start.plus(units);
            if self.has_room(end) {
                // Relaxed: what lies behind the head was made visible by the load of the head.
                let moved = self.ring.tail.compare_exchange_weak(
                    word,
                    end.0 << 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                match moved {
                    Ok(_) => {
                        self.taken = Some(Taken { padding, start, units, len });
                        return Ok(());
                    }
                    Err(other) => word = other,
                }
                continue;
            }
            // The tail may be older than the head; there is no room only if neither has moved.
            let head = Position(self.ring.head.load(Ordering::SeqCst));
            let again = self.ring.tail.load(Ordering::SeqCst);
            if head == self.head && again == word {
                return Err(Refused::Full);
            }
            self.head = head;
            word = again;
        }
    }

    fn has_room(&self, end: Position) -> bool {
        end.since(self.head) <= self.ring.marks.len() as u64
    }

    /// Whether something is claimed: before a claim, one that was forgotten.
    #[inline]
    pub(super) fn has_claim(&self) -> bool {
        self.taken.is_some()
    }

    /// The claimed bytes; none where nothing is claimed.
    pub(super) fn bytes(&self) -> &[u8] {
        let Some(taken) = self.taken else { return &[] };
        let bytes = self.ring.bytes(taken.start, taken.len, Witness::reads);
        // SAFETY: the run is this producer's by *taken once* and *claims stay*, and its bytes are within
        // the units by the assertion in `Ring::bytes`, *always initialised*, and not written while
        // `self` is borrowed.
        unsafe { slice::from_raw_parts(bytes, taken.len) }
    }

    /// The claimed bytes, to write.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let Some(taken) = self.taken else { return &mut [] };
        let bytes = self.ring.bytes(taken.start, taken.len, Witness::writes);
        // SAFETY: as in `bytes`; `self` is borrowed mutably, so no other slice of the run is alive.
        unsafe { slice::from_raw_parts_mut(bytes, taken.len) }
    }

    /// Shows, and hands over, no more than the first `len` claimed bytes.
    pub(super) fn shorten(&mut self, len: usize) {
        if let Some(taken) = &mut self.taken {
            assert!(len <= taken.len, "committed {len} bytes of a claim of {}", taken.len);
            taken.len = len;
        }
    }

    /// Hands the claimed bytes over. The caller notifies the consumer.
    #[inline]
    pub(super) fn commit(&mut self) {
        // Field by field: they were written so, and a load of two of them would wait for both stores.
        let Some(Taken { padding, start, units: taken, len }) = self.taken else { return };
        self.taken = None;
        let units = units_of(len);
        match self.ring.by {
            Producers::One => self.tail = start.plus(units),
            Producers::Many => self.ring.skip(start.plus(units), taken - units),
        }
        self.ring.mark(start).store(len as u32 + 1, Ordering::SeqCst);
        self.skip_padding(padding);
    }

    /// Gives up what is claimed. True: the consumer has something to skip, and the caller notifies it.
    pub(super) fn abandon(&mut self) -> bool {
        let Some(taken) = self.taken.take() else { return false };
        if self.ring.by == Producers::One {
            return false; // The tail is where it was.
        }
        self.ring.skip(taken.start, taken.units);
        self.skip_padding(taken.padding);
        true
    }

    fn skip_padding(&self, padding: usize) {
        if padding > 0 {
            // The ring's end: the run behind it starts at offset 0.
            let at = self.ring.marks.len() - padding;
            self.ring.marks[at].store(SKIP | padding as u32, Ordering::SeqCst);
        }
    }

    /// Whether this was the last producer. Called once, by who drops it.
    pub(super) fn leave(&mut self) -> bool {
        self.ring.producers.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// A run that was handed to the consumer.
#[derive(Clone, Copy)]
struct Run {
    start: Position,
    end: Position,
    /// Of a message; `None`: it is skipped.
    len: Option<usize>,
}

impl Run {
    /// Those from `start`, a consumer's head or the end of one, to where nothing is handed over yet.
    fn all(ring: &Ring, start: Position) -> impl Iterator<Item = Self> {
        let mut at = start;
        std::iter::from_fn(move || {
            // Behind a whole ring stands the first mark again.
            if at.since(start) == ring.marks.len() as u64 {
                return None;
            }
            let mark = ring.mark(at).load(Ordering::SeqCst);
            let (units, len) = match mark {
                0 => return None,
                mark if mark & SKIP == 0 => (units_of(mark as usize - 1), Some(mark as usize - 1)),
                mark => ((mark & !SKIP) as usize, None),
            };
            let run = Self { start: at, end: at.plus(units), len };
            at = run.end;
            Some(run)
        })
    }
}

/// What a consumer finds at the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Message,
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

/// Reads runs in their order and frees them.
pub(super) struct Consumer {
    ring: Arc<Ring>,
    head: Position,
    /// The length of the message that is being read; it starts at the head.
    reading: Option<usize>,
}

impl Consumer {
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Looks for a message, the one that is being read first. `freed` is set when room became free; the
    /// caller notifies the producers.
    #[inline]
    pub(super) fn find(&mut self, freed: &mut bool) -> Found {
        if self.reading.is_some() || self.next(freed) {
            return Found::Message;
        }
        let word = self.ring.tail.load(Ordering::SeqCst);
        if word & CLOSED == 0 {
            return Found::Nothing;
        }
        // What was handed over before the channel was closed is visible since that load.
        if self.next(freed) {
            return Found::Message;
        }
        // Where there are many, what was taken before the close is still handed over or given up.
        let done = self.ring.by == Producers::One || Position(word >> 1) == self.head;
        if done { Found::Closed } else { Found::Nothing }
    }

    /// Goes to the next message, over what is to be skipped.
    #[inline]
    fn next(&mut self, freed: &mut bool) -> bool {
        loop {
            match self.ring.mark(self.head).load(Ordering::SeqCst) {
                0 => return false,
                mark if mark & SKIP == 0 => {
                    self.reading = Some(mark as usize - 1);
                    return true;
                }
                mark => {
                    self.free((mark & !SKIP) as usize);
                    *freed = true;
                }
            }
        }
    }

    /// The bytes of the message that is being read; none where none is.
    pub(super) fn bytes(&self) -> &[u8] {
        self.reading.map_or(&[], |len| self.bytes_at(self.head, len))
    }

    fn bytes_at(&self, at: Position, len: usize) -> &[u8] {
        let bytes = self.ring.bytes(at, len, Witness::reads);
        // SAFETY: the run is the consumer's by *taken once* and *mark last*, it stays so while `self` is
        // borrowed by *claims stay*, its bytes are within the units by the assertion in `Ring::bytes`,
        // and *always initialised*.
        unsafe { slice::from_raw_parts(bytes, len) }
    }

    /// Whether a message is there. What is skipped before it stays where it is.
    pub(super) fn is_empty(&self) -> bool {
        Run::all(&self.ring, self.head).all(|run| run.len.is_none())
    }

    /// How many messages are there, the one that is being read counted; stops at `max`.
    pub(super) fn count(&self, max: usize) -> usize {
        Run::all(&self.ring, self.head).filter(|run| run.len.is_some()).take(max).count()
    }

    /// The next message at or behind `at`, which is moved behind it. The first is at the head.
    pub(super) fn next_at(&self, at: &mut Position) -> Option<&[u8]> {
        let (run, len) = Run::all(&self.ring, *at).find_map(|run| Some((run, run.len?)))?;
        *at = run.end;
        Some(self.bytes_at(run.start, len))
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Frees the first `messages`, and what is skipped before them, at once, in the order of *clear, then
    /// free*. True: there was something, and the caller notifies the producers.
    pub(super) fn release_many(&mut self, messages: usize) -> bool {
        let mut left = messages;
        for run in Run::all(&self.ring, self.head) {
            if left == 0 {
                break;
            }
            left -= usize::from(run.len.is_some());
            self.ring.mark(run.start).store(0, Ordering::Relaxed);
            self.head = run.end;
        }
        if messages > 0 {
            self.reading = None;
            self.ring.head.store(self.head.0, Ordering::SeqCst);
        }
        messages > 0
    }

    /// Frees the message that is being read. True: there was one, and the caller notifies the producers.
    #[inline]
    pub(super) fn release(&mut self) -> bool {
        let Some(len) = self.reading.take() else { return false };
        self.free(units_of(len));
        true
    }

    /// Frees the run at the head, in the order of *clear, then free*.
    fn free(&mut self, units: usize) {
        self.ring.mark(self.head).store(0, Ordering::Relaxed);
        self.head = self.head.plus(units);
        self.ring.head.store(self.head.0, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
