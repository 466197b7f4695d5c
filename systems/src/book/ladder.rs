//! The price levels of one side.
//!
//! BEST-LAST: levels stand in one array sorted by rank, the best at the end, each rank once, none
//! empty. Changes near the best then move little, and the best is found without a search.

use crate::price::{Price, Qty, Side};

use super::BookLevel;

/// Levels searched one by one from the best before the search halves: most changes are near the
/// best, where a walk is faster than the jumps of a binary search.
const NEAR: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Ladder {
    side: Side,
    levels: Vec<Level>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    rank: i64,
    qty: Qty,
    orders: u32,
}

impl Ladder {
    pub(super) fn with_capacity(side: Side, levels: usize) -> Self {
        Self { side, levels: Vec::with_capacity(levels) }
    }

    /// Adds one order of `qty` at `price`.
    #[inline]
    pub(super) fn add(&mut self, price: Price, qty: Qty) {
        let rank = self.rank(price);
        match self.find(rank) {
            Ok(at) => {
                let level = &mut self.levels[at];
                level.qty = level.qty.saturating_add(qty);
                level.orders += 1;
            }
            Err(at) => self.levels.insert(at, Level { rank, qty, orders: 1 }),
        }
    }

    /// Takes `qty` off `price`, and the order it belongs to when `whole`.
    #[inline]
    pub(super) fn remove(&mut self, price: Price, qty: Qty, whole: bool) {
        let Ok(at) = self.find(self.rank(price)) else {
            debug_assert!(false, "every order in the table has its level");
            return;
        };
        let level = &mut self.levels[at];
        debug_assert!(level.qty >= qty, "a level holds the sum of its orders");
        level.qty = level.qty.saturating_sub(qty);
        level.orders -= u32::from(whole);
        if level.orders == 0 {
            self.levels.remove(at);
        }
    }

    #[inline]
    pub(super) fn best(&self) -> Option<BookLevel> {
        self.levels.last().map(|level| self.public(level))
    }

    pub(super) fn level(&self, price: Price) -> Option<BookLevel> {
        self.find(self.rank(price)).ok().map(|at| self.public(&self.levels[at]))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = BookLevel> {
        self.levels.iter().rev().map(|level| self.public(level))
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
    }

    pub(super) fn capacity(&self) -> usize {
        self.levels.capacity()
    }

    /// Better prices rank higher. The complement turns the order of asks around for every `i64`,
    /// where a negation would overflow.
    #[inline]
    fn rank(&self, price: Price) -> i64 {
        match self.side {
            Side::Buy => price.ticks(),
            Side::Sell => !price.ticks(),
        }
    }

    fn public(&self, level: &Level) -> BookLevel {
        let ticks = match self.side {
            Side::Buy => level.rank,
            Side::Sell => !level.rank,
        };
        BookLevel { price: Price::from_ticks(ticks), qty: level.qty, orders: level.orders }
    }

    /// Where the level of `rank` is, or where it would go.
    #[inline]
    fn find(&self, rank: i64) -> Result<usize, usize> {
        let far = self.levels.len().saturating_sub(NEAR);
        for (at, level) in self.levels.iter().enumerate().skip(far).rev() {
            if level.rank <= rank {
                return if level.rank == rank { Ok(at) } else { Err(at + 1) };
            }
        }
        self.levels[..far].binary_search_by(|level| level.rank.cmp(&rank))
    }
}
