//! The entries, and the doubly linked lists that hold most of them.
//!
//! Links lie apart from the entries: cancelling touches two neighbours, and eight bytes each keep
//! them in a near cache. Each list is a ring that begins and ends at its *sentinel*, a link of
//! its own before those of the entries, so that linking and unlinking have no special ends.
//!
//! *Sorted*: a list whose `unsorted` bit is clear ascends by [`Key`]; its head is its minimum.
//! Appending a key that is later than all before it keeps a list sorted, which covers equal deadlines and
//! equal durations; anything else marks it unsorted until it is empty again.
//!
//! *Newest*: [`Lists::link`] takes the timer that was registered last, so an equal deadline is appended
//! without a look at the serials. [`Lists::relink`], which takes any, compares it with the tail.
//!
//! *Vacancy*: an entry without a timer has the serial [`VACANT`], which no timer gets, and in the
//! place of its deadline the index of the next vacant entry: the link of a fired entry is far
//! away and need not be fetched.

use std::cmp::Ordering;

/// Lists in a bank: one for each bit of its occupancy bitmap.
const SLOTS: usize = 64;
/// A power of two, so that the index of a list needs no check.
const BANKS: usize = 16;
const SENTINELS: usize = BANKS * SLOTS;
const VACANT: u64 = u64::MAX;
/// No timer has this serial either.
const NO_SERIAL: u64 = 0;
/// The end of the chain of vacant entries.
const NONE: u32 = u32::MAX;
/// The `prev` of an entry whose key is in the heap.
const NEAR: u32 = u32::MAX;
/// The `prev` of an entry whose key is put aside.
const DEFERRED: u32 = u32::MAX - 1;

/// What orders timers: the deadline, then the registration number.
///
/// The index only says where the entry is; no two keys of a wheel share a serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) deadline_ns: u64,
    pub(super) serial: u64,
    pub(super) index: u32,
}

impl Key {
    /// No key: it comes after all.
    pub(super) const NONE: Self = Self { deadline_ns: u64::MAX, serial: u64::MAX, index: u32::MAX };

    /// Whether it is [`NONE`](Self::NONE), whose index no entry has.
    #[inline]
    pub(super) fn is_none(self) -> bool {
        self.index == Self::NONE.index
    }

    /// Its deadline; `None` if it is no key.
    pub(super) fn deadline(self) -> Option<u64> {
        (!self.is_none()).then_some(self.deadline_ns)
    }

    /// Compared in one go: a branch on the deadline would be mispredicted by half.
    #[inline]
    fn order(&self) -> u128 {
        u128::from(self.deadline_ns) << 64 | u128::from(self.serial)
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What holds the key of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Listed,
    /// The heap of near deadlines.
    Near,
    /// Put aside by a pop because it was registered at or after the mark.
    Deferred,
}

/// With a waker as the payload two of them fill a cache line, and none lies in two.
#[derive(Debug)]
#[repr(align(32))]
struct Entry<T> {
    deadline_ns: u64,
    serial: u64,
    payload: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    prev: u32,
}

/// Entries that are taken out of a list in one go, which writes no link of any of them.
#[derive(Debug)]
pub(super) struct Cut {
    sentinel: u32,
    next: u32,
}

/// The earliest and the latest deadline of those that were linked into a list since it was empty; it may
/// be that they are there no more.
#[derive(Clone, Copy, Debug)]
struct Span {
    earliest_ns: u64,
    latest_ns: u64,
}

/// What is known of 64 lists, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Bank {
    occupied: u64,
    /// A subset of the occupied ones.
    unsorted: u64,
}

/// A slab of entries and 16 banks of 64 lists of them.
#[derive(Debug)]
pub(super) struct Lists<T> {
    entries: Vec<Entry<T>>,
    /// The first vacant entry.
    vacant: u32,
    len: usize,
    /// The sentinels, then one for each entry; empty until there is one.
    links: Vec<Link>,
    /// Read of occupied lists only.
    spans: Box<[Span; SENTINELS]>,
    banks: [Bank; BANKS],
}

impl<T> Lists<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacant: NONE,
            len: 0,
            links: Vec::new(),
            spans: Box::new([Span { earliest_ns: 0, latest_ns: 0 }; SENTINELS]),
            banks: [Bank::default(); BANKS],
        }
    }

    /// How many entries are not vacant.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry whose key nothing holds yet, and returns its index.
    ///
    /// # Panics
    ///
    /// With about 2^32 entries already there.
    #[inline]
    pub(super) fn allocate(&mut self, deadline_ns: u64, serial: u64, payload: T) -> u32 {
        self.len += 1;
        let index = self.vacant;
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return self.grow(deadline_ns, serial, payload);
        };
        self.vacant = entry.deadline_ns as u32;
        entry.deadline_ns = deadline_ns;
        entry.serial = serial;
        entry.payload = Some(payload);
        index
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, deadline_ns: u64, serial: u64, payload: T) -> u32 {
        if self.links.is_empty() {
            self.links.extend(sentinels());
        }
        let link = u32::try_from(self.links.len()).unwrap_or(DEFERRED);
        assert!(link < DEFERRED, "a wheel holds fewer than 2^32 timers");
        self.links.push(Link { next: NONE, prev: NEAR });
        self.entries.push(Entry { deadline_ns, serial, payload: Some(payload) });
        link - SENTINELS as u32
    }

    /// Makes an entry whose key nothing holds vacant, and returns its payload.
    #[inline]
    pub(super) fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.serial != VACANT, "an entry is released once");
        entry.serial = VACANT;
        entry.deadline_ns = u64::from(self.vacant);
        self.vacant = index;
        self.len -= 1;
        entry.payload.take()
    }

    #[inline]
    pub(super) fn is_live(&self, index: u32, serial: u64) -> bool {
        self.entries.get(index as usize).is_some_and(|entry| entry.serial == serial)
    }

    /// What holds the key of a live entry.
    #[inline]
    pub(super) fn place(&self, index: u32) -> Place {
        let prev = self.links[link_of(index)].prev;
        if prev < DEFERRED {
            Place::Listed
        } else if prev == NEAR {
            Place::Near
        } else {
            Place::Deferred
        }
    }

    /// Notes that the heap holds the key.
    pub(super) fn set_near(&mut self, index: u32) {
        self.links[link_of(index)].prev = NEAR;
    }

    /// Notes that the key is put aside.
    pub(super) fn set_deferred(&mut self, index: u32) {
        self.links[link_of(index)].prev = DEFERRED;
    }

    /// Takes the key of an entry away: whoever holds it finds it dead.
    pub(super) fn disown(&mut self, index: u32) {
        self.entries[index as usize].serial = NO_SERIAL;
    }

    /// Gives an entry whose key nothing holds a new one.
    pub(super) fn rekey(&mut self, index: u32, deadline_ns: u64, serial: u64) {
        let entry = &mut self.entries[index as usize];
        entry.deadline_ns = deadline_ns;
        entry.serial = serial;
    }

    pub(super) fn payload_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.payload.as_mut()
    }

    /// Which slots of a bank hold entries.
    #[inline]
    pub(super) fn occupied(&self, bank: u8) -> u64 {
        self.banks[bank as usize % BANKS].occupied
    }

    /// Which slots of a bank are not *sorted*; a subset of the occupied ones.
    #[inline]
    pub(super) fn unsorted(&self, bank: u8) -> u64 {
        self.banks[bank as usize % BANKS].unsorted
    }

    #[inline]
    pub(super) fn head(&self, bank: u8, slot: u8) -> Option<Key> {
        let occupied = self.occupied(bank) >> slot & 1 != 0;
        occupied.then(|| self.key_of(self.links[sentinel(bank, slot)].next))
    }

    /// A lower bound of the deadlines of an occupied list; the earliest itself if the list is *sorted*, or
    /// if the earliest of those linked since it was empty is still there.
    pub(super) fn bound_ns(&self, bank: u8, slot: u8) -> Option<u64> {
        if self.unsorted(bank) >> slot & 1 != 0 {
            return Some(self.spans[sentinel(bank, slot)].earliest_ns);
        }
        self.head(bank, slot).map(|key| key.deadline_ns)
    }

    /// The earliest and the latest deadline of those linked into an occupied list since it was empty.
    pub(super) fn span_ns(&self, bank: u8, slot: u8) -> (u64, u64) {
        let Span { earliest_ns, latest_ns } = self.spans[sentinel(bank, slot)];
        (earliest_ns, latest_ns)
    }

    /// Puts an entry whose key nothing holds into this list. Its serial is the highest there is.
    #[inline(always)]
    pub(super) fn link(&mut self, index: u32, deadline_ns: u64, bank: u8, slot: u8) {
        let sentinel = sentinel(bank, slot);
        let bits = &mut self.banks[bank as usize % BANKS];
        // All ones if the list is empty: a branch on that would be mispredicted wherever timers are few.
        let empty = !((bits.occupied << (63 - (slot & 63))) as i64 >> 63) as u64;
        let span = &mut self.spans[sentinel];
        let latest_ns = span.latest_ns & !empty;
        span.earliest_ns = (span.earliest_ns | empty).min(deadline_ns);
        span.latest_ns = latest_ns.max(deadline_ns);
        bits.occupied |= 1 << (slot & 63);
        bits.unsorted |= u64::from(deadline_ns < latest_ns) << (slot & 63);
        debug_assert!(
            empty != 0
                || self.unsorted(bank) >> slot & 1 != 0
                || self.key_of(self.links[sentinel].prev) < self.key(index),
            "a list is sorted, or says that it is not"
        );
        self.link_before(index, sentinel);
    }

    /// As `link`, for an entry of any serial.
    pub(super) fn relink(&mut self, index: u32, deadline_ns: u64, bank: u8, slot: u8) {
        let sentinel = sentinel(bank, slot);
        if self.occupied(bank) >> slot & 1 != 0
            && self.spans[sentinel].latest_ns == deadline_ns
            && self.key(index) < self.key_of(self.links[sentinel].prev)
        {
            self.banks[bank as usize % BANKS].unsorted |= 1 << slot;
        }
        self.link(index, deadline_ns, bank, slot);
    }

    #[inline(always)]
    fn link_before(&mut self, index: u32, next: usize) {
        let link = link_of(index);
        let prev = self.links[next].prev;
        self.links[link] = Link { next: next as u32, prev };
        self.links[prev as usize].next = link as u32;
        self.links[next].prev = link as u32;
    }

    /// Takes an entry out of its list. Nothing holds its key then.
    #[inline]
    pub(super) fn unlink(&mut self, index: u32) {
        let Link { next, prev } = self.links[link_of(index)];
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        // Only the sentinel of an emptied list can be both neighbours. A branch on that would be
        // mispredicted wherever timers are few, so the other case clears no bit of any bank.
        let bits = &mut self.banks[next as usize / SLOTS % BANKS];
        let kept = !(u64::from(next == prev) << (next as usize % SLOTS));
        bits.occupied &= kept;
        bits.unsorted &= kept;
    }

    /// Where to begin taking entries out of a list from its head on.
    #[inline]
    pub(super) fn cut_begin(&self, bank: u8, slot: u8) -> Cut {
        let sentinel = sentinel(bank, slot) as u32;
        Cut { sentinel, next: self.links[sentinel as usize].next }
    }

    /// The next entry of the list. Nothing holds its key then; until [`cut_end`](Self::cut_end) the list
    /// itself must not be looked at.
    #[inline]
    pub(super) fn cut_next(&self, cut: &mut Cut) -> Option<Key> {
        let link = cut.next;
        if link == cut.sentinel {
            return None;
        }
        cut.next = self.links[link as usize].next;
        Some(self.key_of(link))
    }

    /// The list begins with what has not been taken out. Whether there is anything.
    pub(super) fn cut_end(&mut self, Cut { sentinel, next }: Cut) -> bool {
        self.links[sentinel as usize].next = next;
        self.links[next as usize].prev = sentinel;
        let is_left = next != sentinel;
        if !is_left {
            let bits = &mut self.banks[sentinel as usize / SLOTS % BANKS];
            let kept = !(1 << (sentinel as usize % SLOTS));
            bits.occupied &= kept;
            bits.unsorted &= kept;
        }
        is_left
    }

    /// Empties everything; returns the payloads in no particular order.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.banks = [Bank::default(); BANKS];
        self.vacant = NONE;
        self.len = 0;
        self.links.clear();
        self.entries.drain(..).filter_map(|entry| entry.payload).collect()
    }

    #[inline]
    pub(super) fn key(&self, index: u32) -> Key {
        let entry = &self.entries[index as usize];
        Key { deadline_ns: entry.deadline_ns, serial: entry.serial, index }
    }

    /// The key of the entry that this link belongs to.
    #[inline]
    fn key_of(&self, link: u32) -> Key {
        self.key(link - SENTINELS as u32)
    }
}

fn sentinels() -> impl Iterator<Item = Link> {
    (0..SENTINELS as u32).map(|own| Link { next: own, prev: own })
}

fn sentinel(bank: u8, slot: u8) -> usize {
    bank as usize % BANKS * SLOTS + slot as usize % SLOTS
}

fn link_of(index: u32) -> usize {
    SENTINELS + index as usize
}
