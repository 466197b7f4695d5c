//! Wakes from other threads: a bit for each task, which any thread may set at any time.
//!
//! Invariants:
//!
//! - **never freed**: an inbox and its pages, once allocated, live as long as the process. So a waker
//!   may reach an inbox by its runtime's number whenever it likes, also after that runtime has gone;
//! - **always both**: a wake sets the leaf bit, then the summary bit, and tests neither before. A
//!   skipped summary would lose the wake that races with the owner between its two swaps;
//! - **one word before sleep**: whatever another thread wants of the runtime is announced in the
//!   summary, so the owner that stored `parked` has one word to look at again.

#![expect(unsafe_code, reason = "pages that are never freed are reached by pointer")]

use std::{cell::Cell, ptr};

use super::sync::{AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering, fence};

/// Wakes the owner out of its wait for events.
pub(crate) trait Unpark: Send + Sync {
    /// Makes the wait that is going on, or the next one, end at once.
    fn unpark(&self);
}

/// Slots that answer to one leaf word.
const WORD: u32 = 64;
/// Leaf words beside the summary, on its cache line: a wake of these slots takes one line from the owner,
/// and the owner takes one line back. Each line more is a journey between two cores.
const NEAR: usize = 6;
/// Leaf words of the first page, the near ones counted; page `k > 0` has `PAGE_0 << (k - 1)`, so that the
/// pages double what is there.
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
#[repr(C, align(128))]
pub(crate) struct Inbox {
    /// Bit `i % 64` is set after leaf word `i` was.
    summary: AtomicU64,
    /// The first leaf words.
    near: [AtomicU64; NEAR],
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
            summary: AtomicU64::new(0),
            near: std::array::from_fn(|_| AtomicU64::new(0)),
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
    pub(crate) fn wake(&self, slot: u32) {
        let word = slot / WORD;
        let Some(leaf) = self.leaf(word) else {
            return; // No owner of this inbox ever had so many slots.
        };
        leaf.fetch_or(1 << (slot % WORD), Ordering::Release);
        self.summary.fetch_or(1 << (word % 64), Ordering::Release);
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::SeqCst) {
            let unpark = self.unpark.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(unpark) = &*unpark {
                unpark.unpark();
            }
        }
    }

    /// Whether nothing came since the last drain. One load.
    pub(crate) fn is_empty(&self) -> bool {
        self.summary.load(Ordering::Relaxed) == 0
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

    /// Hands the slots whose bits are set to `each`, in the order of the leaf words under each summary
    /// bit, until `limit` slots have been handed out; stops only between words, and `resume` keeps
    /// what is left for the next call. Returns how many were handed out.
    ///
    /// `each` must not call user code.
    pub(crate) fn drain(
        &self,
        resume: &mut Drain,
        limit: usize,
        mut each: impl FnMut(u32),
    ) -> usize {
        let mut handed = 0;
        if resume.pending == 0 {
            resume.pending = self.summary.swap(0, Ordering::Acquire);
            resume.next_word = 0;
        } else {
            // New arrivals join what is left, so that a full inbox cannot postpone a bit for ever.
            let came = self.summary.swap(0, Ordering::Acquire);
            resume.again |= came;
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
                if leaf.load(Ordering::Relaxed) != 0 {
                    let mut bits = leaf.swap(0, Ordering::Acquire);
                    handed += bits.count_ones() as usize;
                    while bits != 0 {
                        each(word * WORD + bits.trailing_zeros());
                        bits &= bits - 1;
                    }
                }
                word += 64;
            }
            resume.pending &= resume.pending - 1;
            resume.next_word = 0;
        }
        resume.pending = std::mem::take(&mut resume.again);
        handed
    }

    #[inline]
    fn leaf(&self, word: u32) -> Option<&AtomicU64> {
        if let Some(near) = self.near.get(word as usize) {
            return Some(near);
        }
        let (page, at) = place(word);
        if page >= PAGES {
            return None;
        }
        self.page(page).map(|page| &page[at])
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// Where a budgeted drain stopped.
#[derive(Default, Debug)]
pub(crate) struct Drain {
    /// Summary bits whose leaf words are still to be looked at.
    pending: u64,
    /// Summary bits that were set again meanwhile.
    again: u64,
    /// The leaf word to go on with, under the lowest pending bit.
    next_word: u32,
}

impl Drain {
    /// Whether a drain stopped before its end.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending != 0
    }
}
