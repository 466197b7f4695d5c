//! The keys that are not in a list any more: near deadlines, in runs that are sorted when their turn comes.
//!
//! Keys that are moved here together are spread over *buckets*, each a stretch of time, and a bucket is sorted
//! in one go when its first key is asked for: a hundred thousand keys cost some hundreds of sorts of what
//! lies in a near cache. A heap orders the first keys of the runs, and the keys that came alone.
//!
//! A run goes from *open* through *closed* to *sorted*:
//!
//! ```text
//!        gather            close             pop_any
//! vacant ------> open ----------------> closed ----> sorted ----> vacant
//!            in a bucket    its first key is in the heap     its last is taken
//! ```
//!
//! Invariants, by name:
//!
//! - *First*: `first` of a run that is open or closed is the earliest of its keys, and one of them.
//! - *Latest first*: a sorted run is without its head, and its next key is its last, which is taken out
//!   without moving another.
//! - *First of all*: no head and no key of an open run is earlier than the head that is `first`.
//! - *Buckets in order*: each key of an open run is earlier than all of the next.
//! - *Live top*: the earliest key is a live one, so it can be trusted without a look at the entries.
//! - *Half dead*: the dead never outnumber the living, which bounds memory and makes a sweep constant in
//!   amortised time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::lists::Key;
use super::sort::Sorter;

const BUCKETS: usize = 128;
/// A run with so many keys is closed: to sort it is the most that one pop does beside its own work.
const RUN_MAX: usize = 1024;
/// How many keys a new run has room for.
const RUN_MIN: usize = 32;
/// The run of a key that came alone.
const ALONE: u32 = u32::MAX;

/// Keys in their order, some of which may belong to cancelled timers.
#[derive(Debug)]
pub(super) struct Near {
    /// The earliest head. See *first of all*.
    first: Head,
    /// The other heads.
    heads: BinaryHeap<Head>,
    runs: Vec<Run>,
    vacant: Vec<u32>,
    /// Runs that were full when they were closed; some may have been sorted since.
    full: Vec<u32>,
    /// The open run of each bucket, or [`ALONE`].
    open: [u32; BUCKETS],
    /// Buckets with an open run.
    used: u128,
    /// The earliest deadline in an open run; later than all if there is none.
    open_ns: u64,
    /// The start of the first bucket.
    from_ns: u64,
    /// log2 of the width of a bucket.
    shift: u32,
    len: usize,
    dead: usize,
    sorter: Sorter,
}

#[derive(Debug)]
struct Run {
    keys: Vec<Key>,
    /// See *first*.
    first: Key,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Also of a vacant run.
    Open,
    Closed,
    Sorted,
}

/// The first key of a run. The earliest is the greatest, for a heap has that at its top.
#[derive(Clone, Copy, Debug)]
struct Head {
    deadline_ns: u64,
    serial: u64,
    index: u32,
    run: u32,
}

impl Near {
    pub(super) fn new() -> Self {
        Self {
            first: Head::NONE,
            heads: BinaryHeap::new(),
            runs: Vec::new(),
            vacant: Vec::new(),
            full: Vec::new(),
            open: [ALONE; BUCKETS],
            used: 0,
            open_ns: u64::MAX,
            from_ns: 0,
            shift: 0,
            len: 0,
            dead: 0,
            sorter: Sorter::default(),
        }
    }

    /// Puts one key here.
    pub(super) fn push(&mut self, key: Key) {
        self.push_head(Head::new(key, ALONE));
        self.len += 1;
    }

    /// Says between which deadlines the keys lie that are gathered next, and how wide a bucket is at
    /// least, as log2.
    pub(super) fn aim(&mut self, from_ns: u64, until_ns: u64, shift_min: u32) {
        let width_ns = until_ns.saturating_sub(from_ns) / BUCKETS as u64;
        let shift = shift_min.max(u64::BITS - width_ns.leading_zeros());
        let last = until_ns.saturating_sub(self.from_ns) >> self.shift;
        if from_ns >= self.from_ns && last < BUCKETS as u64 && self.shift <= shift {
            return;
        }
        self.close_all();
        self.shift = shift.min(u64::BITS - 1);
        self.from_ns = from_ns;
    }

    /// Puts a key here that comes with others. What `aim` does not know of goes to the first bucket or to the
    /// last.
    #[inline(always)]
    pub(super) fn gather(&mut self, key: Key) {
        if key < self.first.key() {
            return self.push(key);
        }
        let bucket = key.deadline_ns.saturating_sub(self.from_ns) >> self.shift;
        let bucket = bucket.min(BUCKETS as u64 - 1) as usize;
        if self.open[bucket] == ALONE {
            self.open(bucket, key);
        }
        self.len += 1;
        self.open_ns = self.open_ns.min(key.deadline_ns);
        let run = &mut self.runs[self.open[bucket] as usize];
        if key < run.first {
            run.first = key;
        }
        run.keys.push(key);
        if run.keys.len() >= RUN_MAX {
            self.close_full(bucket);
        }
    }

    /// Gives the bucket a run without keys, of which this is to be the first.
    #[inline(never)]
    fn open(&mut self, bucket: usize, first: Key) {
        let run = self.vacant.pop().unwrap_or_else(|| {
            let keys = Vec::with_capacity(RUN_MIN);
            self.runs.push(Run { keys, first, state: State::Open });
            self.runs.len() as u32 - 1
        });
        self.runs[run as usize].first = first;
        self.open[bucket] = run;
        self.used |= 1 << bucket;
    }

    #[inline(never)]
    fn close(&mut self, bucket: usize) {
        let run = std::mem::replace(&mut self.open[bucket], ALONE);
        self.used &= !(1 << bucket);
        self.runs[run as usize].state = State::Closed;
        self.push_head(Head::new(self.runs[run as usize].first, run));
        let next = self.open.get(self.used.trailing_zeros() as usize);
        let next = next.map(|run| self.runs[*run as usize].first.deadline_ns);
        self.open_ns = next.unwrap_or(u64::MAX);
    }

    #[inline(never)]
    fn close_full(&mut self, bucket: usize) {
        self.full.push(self.open[bucket]);
        self.close(bucket);
    }

    /// Sorts one of the runs that were closed because they were full. Where many keys crowd, many runs may
    /// be asked for their first key in one turn: they have been sorted by then, one a turn.
    pub(super) fn sort_full(&mut self) {
        while let Some(run) = self.full.pop() {
            if self.runs[run as usize].state == State::Closed {
                return self.sort(run);
            }
        }
    }

    /// Sorts a closed run. Its first key is in its head.
    #[inline(never)]
    fn sort(&mut self, run: u32) {
        let Run { keys, first, state } = &mut self.runs[run as usize];
        self.sorter.sort(keys);
        *state = State::Sorted;
        let head = keys.pop();
        debug_assert_eq!(head, Some(*first), "the first is the earliest");
    }

    fn close_all(&mut self) {
        while self.used != 0 {
            self.close(self.used.trailing_zeros() as usize);
        }
    }

    fn push_head(&mut self, head: Head) {
        if head > self.first {
            let other = std::mem::replace(&mut self.first, head);
            if other.is_some() {
                self.heads.push(other);
            }
        } else {
            self.heads.push(head);
        }
    }

    /// The earliest key; [`Key::NONE`] if there is none.
    #[inline(always)]
    pub(super) fn peek(&self) -> Key {
        self.first.key()
    }

    #[inline(always)]
    pub(super) fn pop(&mut self, is_live: impl Fn(&Key) -> bool) {
        self.pop_any();
        if self.dead > 0 {
            self.restore(is_live);
        }
    }

    /// Says that one key here has died. `is_live` knows it.
    pub(super) fn bury(&mut self, is_live: impl Fn(&Key) -> bool) {
        self.dead += 1;
        self.restore(is_live);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Takes out the earliest key, dead or alive. There is one.
    #[inline(always)]
    fn pop_any(&mut self) {
        self.len -= 1;
        let run = self.first.run;
        if let Some(Run { keys, state: State::Sorted, .. }) = self.runs.get_mut(run as usize)
            && let Some(next) = keys.pop()
        {
            self.first = Head::new(next, run);
            if let Some(mut top) = self.heads.peek_mut()
                && *top > self.first
            {
                std::mem::swap(&mut *top, &mut self.first);
            }
        } else {
            self.next_run();
        }
        if self.first.deadline_ns >= self.open_ns && self.used != 0 {
            self.close(self.used.trailing_zeros() as usize);
        }
    }

    /// Takes out the first key where it is not that of a sorted run with others.
    #[inline(never)]
    fn next_run(&mut self) {
        let run = self.first.run;
        if run != ALONE {
            if self.runs[run as usize].state == State::Closed {
                self.sort(run);
            }
            let Run { keys, state, .. } = &mut self.runs[run as usize];
            if let Some(next) = keys.pop() {
                self.heads.push(Head::new(next, run));
            } else {
                *state = State::Open;
                self.vacant.push(run);
            }
        }
        self.first = self.heads.pop().unwrap_or(Head::NONE);
    }

    /// Restores *live top* and *half dead*. Nothing to do while none is dead.
    #[inline(never)]
    fn restore(&mut self, is_live: impl Fn(&Key) -> bool) {
        while self.dead > 0 && !is_live(&self.peek()) {
            self.pop_any();
            self.dead -= 1;
        }
        if self.dead > self.len - self.dead {
            self.sweep(is_live);
        }
    }

    /// Forgets the dead.
    #[inline(never)]
    fn sweep(&mut self, is_live: impl Fn(&Key) -> bool) {
        self.close_all();
        let mut heads = std::mem::take(&mut self.heads).into_vec();
        if self.first.is_some() {
            heads.push(self.first);
        }
        heads.retain_mut(|head| {
            let run = head.run;
            if run == ALONE {
                return is_live(&head.key());
            }
            if self.runs[run as usize].state == State::Closed {
                self.sort(run);
            }
            let Run { keys, state, .. } = &mut self.runs[run as usize];
            keys.retain(&is_live);
            if is_live(&head.key()) {
                return true;
            }
            let next = keys.pop();
            match next {
                Some(key) => *head = Head::new(key, run),
                None => {
                    *state = State::Open;
                    self.vacant.push(run);
                }
            }
            next.is_some()
        });
        self.heads = heads.into();
        self.first = self.heads.pop().unwrap_or(Head::NONE);
        self.len -= self.dead;
        self.dead = 0;
    }

    /// How many keys the heap has to order.
    #[cfg(test)]
    pub(super) fn heads(&self) -> usize {
        self.heads.len()
    }

    /// How many keys have been sorted.
    #[cfg(test)]
    pub(super) fn sorted(&self) -> usize {
        self.sorter.count
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.len - self.dead, self.dead)
    }
}

impl Head {
    const NONE: Self = Self::new(Key::NONE, ALONE);

    fn is_some(&self) -> bool {
        !self.key().is_none()
    }

    #[inline]
    const fn new(Key { deadline_ns, serial, index }: Key, run: u32) -> Self {
        Self { deadline_ns, serial, index, run }
    }

    #[inline]
    fn key(&self) -> Key {
        Key { deadline_ns: self.deadline_ns, serial: self.serial, index: self.index }
    }
}

impl Ord for Head {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Head {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
