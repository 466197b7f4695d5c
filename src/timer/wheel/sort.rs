//! Sorts the keys of a run, whose deadlines are mostly spread evenly.
//!
//! Each key goes to the *bin* in which its deadline lies, of about as many bins as keys, in one pass; what
//! shares a bin is ordered by insertion. Where many keys share one, the standard library's sort does it all.

use super::lists::Key;

/// Fewer keys than these are sorted at once.
const SMALL: usize = 24;
const BINS_MAX: usize = 1024;
/// What insertion may have to step over.
const BIN_MAX: u16 = 16;

/// What sorting needs beside the keys, kept from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    sorted: Vec<Key>,
    /// How many keys lie in each bin, then where the next of each bin goes.
    bins: Vec<u16>,
    /// What tests count.
    #[cfg(test)]
    pub(super) count: usize,
}

impl Sorter {
    /// Sorts the keys, the latest first.
    pub(super) fn sort(&mut self, keys: &mut Vec<Key>) {
        #[cfg(test)]
        {
            self.count += keys.len();
        }
        if keys.len() < SMALL || keys.len() > BINS_MAX || !self.spread(keys) {
            keys.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// False, and nothing is done: the deadlines are not spread.
    fn spread(&mut self, keys: &mut Vec<Key>) -> bool {
        let (mut earliest_ns, mut latest_ns) = (u64::MAX, 0);
        for key in &*keys {
            earliest_ns = earliest_ns.min(key.deadline_ns);
            latest_ns = latest_ns.max(key.deadline_ns);
        }
        let count = keys.len().next_power_of_two();
        let span_bits = u64::BITS - (latest_ns - earliest_ns).leading_zeros();
        let shift = span_bits.saturating_sub(count.ilog2());
        let bin_of = |key: &Key| ((latest_ns - key.deadline_ns) >> shift) as usize;
        self.bins.clear();
        self.bins.resize(count, 0);
        for key in &*keys {
            self.bins[bin_of(key)] += 1;
        }
        let mut from = 0;
        for bin in &mut self.bins {
            if *bin > BIN_MAX {
                return false;
            }
            from += std::mem::replace(bin, from);
        }
        self.sorted.clear();
        self.sorted.resize(keys.len(), keys[0]);
        for key in &*keys {
            let next = &mut self.bins[bin_of(key)];
            self.sorted[*next as usize] = *key;
            *next += 1;
        }
        std::mem::swap(&mut self.sorted, keys);
        insert(keys);
        true
    }
}

/// Sorts keys that are near their places.
fn insert(keys: &mut [Key]) {
    for from in 1..keys.len() {
        let key = keys[from];
        let mut to = from;
        while to > 0 && keys[to - 1] < key {
            keys[to] = keys[to - 1];
            to -= 1;
        }
        keys[to] = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(deadlines_ns: impl Iterator<Item = u64>) {
        let key = |(number, deadline_ns)| {
            // Registered in another order than they come.
            let serial = number as u64 * 7_919 % 10_007;
            Key { deadline_ns, serial, index: number as u32 }
        };
        let mut keys: Vec<_> = deadlines_ns.enumerate().map(key).collect();
        let mut expected = keys.clone();
        expected.sort();
        expected.reverse();
        let mut sorter = Sorter::default();
        sorter.sort(&mut keys);
        assert!(keys == expected);
    }

    #[test]
    fn deadlines_spread_evenly_or_not_are_sorted_by_deadline_and_registration() {
        for count in [0, 1, 23, 24, 25, 500, 1_000, 1_024, 1_025] {
            check((0..count).map(|number| number * 37 % 1_009 * 50));
            check((0..count).map(|number| number * 37 % 13));
            check((0..count).map(|_| 5));
            check((0..count).map(|number| u64::MAX << (number % 64)));
            check((0..count).rev());
        }
    }
}
