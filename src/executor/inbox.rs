//! Wakes from other threads: a bit for each task, which any thread may set at any time.
//!
//! What may be asked for is announced in one of the words of the inbox's first cache line: a *near* slot by
//! its own bit there; the *lone* far slot by its number; any other far slot by its bit in a leaf word and the
//! bit of that word in the summary. So a wake mostly is one write, of the line that the owner looks at.
//!
//! ```text
//!                 near slot                          far slot
//!                     |                                  | is `lone` free, or this slot's?
//!                     |                     yes +--------+--------+ no
//!                     v                         v                 v
//!   first line:  near[..]                     lone             summary <-- then -- leaf word
//!                     |                         |                 |                   |
//!   owner:        swap 0                     swap 0            swap 0 ---- then ---> swap 0
//! ```
//!
//! Invariants:
//!
//! - **never freed**: an inbox and its pages, once allocated, live as long as the process. So a waker
//!   may reach an inbox by its runtime's number whenever it likes, also after that runtime has gone;
//! - **always a write**: a wake announces by a read-modify-write of its own, and a test never stands for it,
//!   also where the word says already what it is to say. So the owner's swap that takes the announcement
//!   reads what this wake, or a later one, wrote, and sees all that came before the wake;
//! - **leaf, then summary**: a wake that announces in a leaf word sets the leaf bit, then the summary bit,
//!   both always. The owner swaps the summary, then the leaf words of its bits. A skipped summary would lose
//!   the wake that races with the owner between its two swaps;
//! - **one line before sleep**: whatever another thread wants of the runtime is announced in the first line.
//!   The owner stores `parked`, then looks at every word of it; a wake writes one of them, then looks at
//!   `parked`. Writes and looks are in the one order of `SeqCst`, so one of the two looks comes last and sees;
//! - **in rounds**: a drain looks at the near words, the lone slot and the far words once each before it looks
//!   at any again, over as many calls as its limit makes of it. So none of them, woken however often, keeps
//!   another one from its turn.

#![expect(unsafe_code, reason = "pages that are never freed are reached by pointer")]

use std::{cell::Cell, ptr};

use super::sync::{AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering, fence, look_after_write};

/// Wakes the owner out of its wait for events.
pub(crate) trait Unpark: Send + Sync {
    /// Makes the wait that is going on, or the next one, end at once.
    fn unpark(&self);
}

/// Slots that answer to one leaf word.
const WORD: u32 = 64;
/// Words whose slots are near: all that the first cache line has room for. Fewer in a model, where each is
/// looked at in every order.
const NEAR: usize = if cfg!(loom) { 2 } else { 5 };
/// Where a drain stands that has come to the far words: behind the near words and the lone slot.
const FAR: usize = NEAR + 1;
/// Leaf words of the first page, where the near ones would be too; page `k > 0` has `PAGE_0 << (k - 1)`, so
/// that the pages double what is there.
const PAGE_0: u32 = 64;
/// Pages that are enough for 2^24 slots: 2^18 leaf words.
const PAGES: usize = 13;

/// The page that holds leaf word `word`, which is not a near one, and the place of the word in it.
fn place(word: u32) -> (usize, usize) {
    if word < PAGE_0 {
        (0, word as usize)
    } else {
        let page = (word / PAGE_0).ilog2() + 1;
        (page as usize, (word - (PAGE_0 << (page - 1))) as usize)
    }
}

fn page_words(page: usize) -> usize {
    if page == 0 { PAGE_0 as usize } else { (PAGE_0 as usize) << (page - 1) }
}

type Page = Box<[AtomicU64]>;

/// The foreign wakes of one runtime.
///
/// What a wake writes comes first, on a cache line of its own; two, because processors fetch them in pairs.
/// Each line more that a wake writes is a journey between two cores, and so is each that the owner takes back.
#[repr(C, align(128))]
pub(crate) struct Inbox {
    /// The bits of the first slots.
    near: [AtomicU64; NEAR],
    /// A far slot, plus 1; 0 for none.
    lone: AtomicU64,
    /// Bit `i % 64` is set after leaf word `i` was.
    summary: AtomicU64,
    /// The owner sleeps, or is about to.
    parked: AtomicBool,
    /// Doubling pages of leaf words; null until the owner has that many slots.
    pages: [AtomicPtr<Page>; PAGES],
    /// What ends the owner's sleep. `None` in an inbox that no runtime owns.
    unpark: Mutex<Option<Box<dyn Unpark>>>,
    /// The thread of an owner that wants to know who wakes its tasks from other threads; 0 for none.
    watched_by: AtomicU64,
    /// The first key that was woken so since the owner last asked; 0 for none.
    stranger: AtomicU64,
}

thread_local! {
    static HERE: Cell<u8> = const { Cell::new(0) };
}

/// This thread, among those that run now; never 0.
fn here() -> u64 {
    HERE.with(|here| ptr::from_ref(here).addr() as u64)
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            near: std::array::from_fn(|_| AtomicU64::new(0)),
            lone: AtomicU64::new(0),
            summary: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            pages: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            unpark: Mutex::new(None),
            watched_by: AtomicU64::new(0),
            stranger: AtomicU64::new(0),
        }
    }

    /// Gives the inbox to an owner: `unpark` is what a wake calls when the owner sleeps. Wakes left
    /// over from an earlier owner are discarded.
    pub(crate) fn open(&self, unpark: Box<dyn Unpark>) {
        *self.unpark.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(unpark);
        self.drain(&mut Drain::default(), usize::MAX, |_| {});
    }

    /// The owner, which calls this, wants to know who wakes its tasks from other threads.
    pub(crate) fn watch_strangers(&self) {
        self.stranger.store(0, Ordering::Relaxed);
        self.watched_by.store(here(), Ordering::Relaxed);
    }

    /// `word` is the key of a task that is about to be woken. Noted before the wake, so that an owner that
    /// has seen the wake knows of it.
    pub(crate) fn note_stranger(&self, word: u64) {
        let owner = self.watched_by.load(Ordering::Relaxed);
        if owner != 0 && owner != here() {
            // The first is kept: one is enough to say what is wrong.
            let _ = self.stranger.compare_exchange(0, word, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// The key of a task that another thread has woken, or is about to wake, since the last call.
    pub(crate) fn take_stranger(&self) -> Option<u64> {
        if self.stranger.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(self.stranger.swap(0, Ordering::Acquire))
    }

    /// Takes the inbox from its owner. Wakes may still come; they set bits that nobody reads.
    pub(crate) fn close(&self) {
        self.parked.store(false, Ordering::SeqCst);
        self.watched_by.store(0, Ordering::Relaxed);
        let unpark = self.unpark.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        drop(unpark);
    }

    /// Makes room for `slot`. Called by the owner, before the first key of that slot is given out.
    pub(crate) fn ensure(&self, slot: u32) {
        let word = slot / WORD;
        if (word as usize) < NEAR {
            return;
        }
        let (page, _) = place(word);
        if self.pages[page].load(Ordering::Relaxed).is_null() {
            let words: Page = (0..page_words(page)).map(|_| AtomicU64::new(0)).collect();
            self.pages[page].store(Box::into_raw(Box::new(words)), Ordering::Release);
        }
    }

    fn page(&self, page: usize) -> Option<&Page> {
        let page = self.pages[page].load(Ordering::Acquire);
        // SAFETY: the pointer is null or comes from `Box::into_raw` in `ensure`, and by *never freed*
        // the page lives as long as the process.
        unsafe { page.as_ref() }
    }

    /// Asks the owner to poll `slot`, from any thread.
    #[inline]
    pub(crate) fn wake(&self, slot: u32) {
        let word = slot / WORD;
        match self.near.get(word as usize) {
            Some(near) => _ = near.fetch_or(1 << (slot % WORD), Ordering::SeqCst),
            None => self.announce_far(slot),
        }
        look_after_write();
        if self.parked.load(Ordering::SeqCst) {
            self.end_sleep();
        }
    }

    #[inline]
    fn announce_far(&self, slot: u32) {
        let number = u64::from(slot) + 1;
        let announce =
            |over| self.lone.compare_exchange(over, number, Ordering::SeqCst, Ordering::Relaxed);
        let announced = match announce(0) {
            Err(before) if before == number => announce(number),
            tried => tried,
        };
        if announced.is_err() {
            self.announce_in_leaf(slot);
        }
    }

    fn announce_in_leaf(&self, slot: u32) {
        let word = slot / WORD;
        // Without a leaf, no owner of this inbox ever had so many slots.
        if let Some(leaf) = self.leaf(word) {
            leaf.fetch_or(1 << (slot % WORD), Ordering::Release);
            self.summary.fetch_or(1 << (word % 64), Ordering::SeqCst);
        }
    }

    #[cold]
    fn end_sleep(&self) {
        if self.parked.swap(false, Ordering::SeqCst) {
            let unpark = self.unpark.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(unpark) = &*unpark {
                unpark.unpark();
            }
        }
    }

    /// Whether nothing came since the last drain. Loads of one cache line.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let far = self.lone.load(Ordering::Relaxed) | self.summary.load(Ordering::Relaxed);
        self.near.iter().fold(far, |all, near| all | near.load(Ordering::Relaxed)) == 0
    }

    /// Announces that the owner is about to sleep. False: something came; do not sleep.
    pub(crate) fn park(&self) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.is_empty() {
            true
        } else {
            self.unpark();
            false
        }
    }

    /// Takes the announcement of [`park`](Self::park) back.
    pub(crate) fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Hands what was announced to `each`: near slots, the lone one, then far ones in the order of the leaf
    /// words under each summary bit, until `limit` slots have been handed out. It stops only between words,
    /// and `resume` says where the next call goes on. Returns how many were handed out.
    ///
    /// `each` must not call user code.
    pub(crate) fn drain(
        &self,
        resume: &mut Drain,
        limit: usize,
        mut each: impl FnMut(u32),
    ) -> usize {
        let mut handed = 0;
        for word in resume.near..NEAR {
            let near = &self.near[word];
            if is_clear(near) {
                continue;
            }
            if handed >= limit {
                resume.near = word;
                return handed;
            }
            handed += hand_out(near, word as u32, &mut each);
        }
        if resume.near <= NEAR {
            if !is_clear(&self.lone) {
                if handed >= limit {
                    resume.near = NEAR;
                    return handed;
                }
                handed += 1;
                each((self.lone.swap(0, Ordering::Acquire) - 1) as u32);
            }
            resume.near = FAR;
            resume.pending |= self.take_summary();
        } else {
            // New arrivals join what is left, so that a full inbox cannot postpone a bit for ever.
            resume.again |= self.take_summary();
        }
        while resume.pending != 0 {
            let bit = resume.pending.trailing_zeros();
            let mut word = resume.next_word.max(bit);
            debug_assert_eq!(word % 64, bit, "a drain resumes under the bit where it stopped");
            while let Some(leaf) = self.leaf(word) {
                if handed >= limit {
                    resume.next_word = word;
                    return handed;
                }
                if !is_clear(leaf) {
                    handed += hand_out(leaf, word, &mut each);
                }
                word += 64;
            }
            resume.pending &= resume.pending - 1;
            resume.next_word = 0;
        }
        *resume = Drain { pending: std::mem::take(&mut resume.again), ..Drain::default() };
        handed
    }

    /// Discards what `drain` has taken out of the first line and has not handed out: nobody would look for it
    /// there again, and the next owner's drains would find it behind what was announced to that one.
    pub(crate) fn discard(&self, drain: Drain) {
        let mut bits = drain.pending | drain.again;
        while bits != 0 {
            let mut word = bits.trailing_zeros();
            while let Some(leaf) = self.leaf(word) {
                leaf.store(0, Ordering::Relaxed);
                word += 64;
            }
            bits &= bits - 1;
        }
    }

    fn take_summary(&self) -> u64 {
        if is_clear(&self.summary) { 0 } else { self.summary.swap(0, Ordering::Acquire) }
    }

    /// Leaf word `word`, of far slots.
    #[inline]
    fn leaf(&self, word: u32) -> Option<&AtomicU64> {
        let (page, at) = place(word);
        if page >= PAGES {
            return None;
        }
        self.page(page).map(|page| &page[at])
    }
}

/// Whether nothing is announced here. What comes after this look is there at the next one.
#[inline(always)]
fn is_clear(word: &AtomicU64) -> bool {
    word.load(Ordering::Relaxed) == 0
}

/// Hands out the slots of `bits`, which are those of word `word`. Returns how many.
#[inline(always)]
fn hand_out(bits: &AtomicU64, word: u32, each: &mut impl FnMut(u32)) -> usize {
    let mut bits = bits.swap(0, Ordering::Acquire);
    let mut handed = 0;
    while bits != 0 {
        each(word * WORD + bits.trailing_zeros());
        bits &= bits - 1;
        handed += 1;
    }
    handed
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// Where a budgeted drain stopped in its round.
#[derive(Default, Debug)]
pub(crate) struct Drain {
    /// The near word to go on with; or [`NEAR`] for the lone slot, or [`FAR`].
    near: usize,
    /// Summary bits whose leaf words are still to be looked at.
    pending: u64,
    /// Summary bits that were set again meanwhile.
    again: u64,
    /// The leaf word to go on with, under the lowest pending bit.
    next_word: u32,
}

impl Drain {
    /// Whether the drain has taken announcements out of the first line, and not handed them out.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Nobody;
    impl Unpark for Nobody {
        fn unpark(&self) {}
    }

    const NEAR_SLOTS: u32 = NEAR as u32 * WORD;

    /// An open inbox with room for `slots`, and those below.
    fn inbox(slots: &[u32]) -> Inbox {
        let inbox = Inbox::new();
        inbox.open(Box::new(Nobody));
        let end = slots.iter().max().map_or(0, |most| most + 1);
        (0..end).step_by(64).for_each(|slot| inbox.ensure(slot));
        inbox
    }

    /// What calls of `drain` with this limit hand out, until nothing is left.
    fn drained(inbox: &Inbox, limit: usize) -> Vec<Vec<u32>> {
        let (mut resume, mut calls) = (Drain::default(), Vec::new());
        while !inbox.is_empty() || resume.is_pending() {
            let mut call = Vec::new();
            let handed = inbox.drain(&mut resume, limit, |slot| call.push(slot));
            assert_eq!(handed, call.len());
            calls.push(call);
        }
        calls
    }

    #[test]
    fn what_is_woken_is_handed_out_once_wherever_it_is_announced() {
        let first = NEAR_SLOTS;
        let slots = [0, 3, 64, first - 1, first, first + 1, 4_095, 4_096, 5_000, 500_000];
        let inbox = inbox(&slots);
        for _ in 0..3 {
            slots.iter().for_each(|&slot| inbox.wake(slot));
        }
        let mut all = drained(&inbox, usize::MAX).concat();
        assert_eq!(all[..5], slots[..5], "near ones in order, then the first far one");
        all.sort_unstable();
        assert_eq!(all, slots);
    }

    #[test]
    fn a_lone_far_wake_is_one_write_and_needs_no_page() {
        let inbox = inbox(&[]);
        inbox.wake(NEAR_SLOTS + 7);
        assert_eq!(inbox.summary.load(Ordering::Relaxed), 0);
        assert_eq!(drained(&inbox, 1), [[NEAR_SLOTS + 7]]);
    }

    #[test]
    fn a_slot_that_no_owner_had_is_not_announced_behind_another_one() {
        let inbox = inbox(&[]);
        for slot in [NEAR_SLOTS, NEAR_SLOTS + 1, (1 << 24) - 1] {
            inbox.wake(slot);
        }
        assert_eq!(drained(&inbox, usize::MAX), [[NEAR_SLOTS]]);
    }

    #[test]
    fn a_drain_stops_behind_the_word_that_reaches_its_limit_and_goes_on_there() {
        let slots = [1, 2, 70, 1_000, 1_001, 1_002, 2_000];
        let inbox = inbox(&slots);
        slots.iter().for_each(|&slot| inbox.wake(slot));
        // Word 15 has 1,000 and its neighbours, word 31 has 2,000; the lone slot comes before both.
        let expected: [&[u32]; 5] = [&[1, 2], &[70], &[1_000], &[1_001, 1_002], &[2_000]];
        assert_eq!(drained(&inbox, 1), expected);
    }

    #[test]
    fn slots_that_are_always_woken_starve_no_other_one() {
        let far = [NEAR_SLOTS, NEAR_SLOTS + 64, NEAR_SLOTS + 65, 70_000];
        let slots: Vec<u32> = (0..NEAR_SLOTS).step_by(64).chain(far).collect();
        for &waits in &slots {
            let inbox = inbox(&slots);
            let mut resume = Drain::default();
            let again = || {
                let others = slots.iter().filter(|&&slot| slot != waits);
                others.for_each(|&slot| inbox.wake(slot));
            };
            again();
            inbox.wake(waits);
            let mut calls = 0;
            let mut found = false;
            while !found {
                inbox.drain(&mut resume, 1, |slot| found |= slot == waits);
                again();
                calls += 1;
                assert!(calls <= 2 * slots.len(), "slot {waits} starves");
            }
        }
    }
}
