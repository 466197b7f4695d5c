//! Who waits for what, in order of call.
//!
//! An entry belongs to the future that made it, from [`Waiters::enter`] to [`Waiters::leave`]: what is
//! awaited marks it as fired and takes its waker, and the future finds that out when it is polled. So an
//! entry's number is never somebody else's while its future lives.
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    task::Waker,
};

use slab::Slab;

/// Entries in lists, one list for each `K`, each list in order of call.
pub(crate) struct Waiters<K, T, S = RandomState> {
    nodes: Slab<Node<K, T>>,
    lists: HashMap<K, Ends, S>,
    /// Entries that have not been fired.
    pending: usize,
    /// Of these, those whose future was polled and that keep the loop awake.
    awake: usize,
}

struct Node<K, T> {
    key: K,
    value: T,
    waker: Option<Waker>,
    keeps_awake: bool,
    /// The neighbours in the list; `None` once fired.
    place: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    before: Option<usize>,
    behind: Option<usize>,
}

#[derive(Clone, Copy)]
struct Ends {
    first: usize,
    last: usize,
    /// Entries of this list that keep the loop awake.
    awake: usize,
}

impl<K, T, S: Default> Default for Waiters<K, T, S> {
    fn default() -> Self {
        Self { nodes: Slab::new(), lists: HashMap::default(), pending: 0, awake: 0 }
    }
}

impl<K: Copy + Eq + Hash, T, S: BuildHasher> Waiters<K, T, S> {
    /// Entries that wait.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Those of them that keep the loop awake.
    pub(crate) fn awake(&self) -> usize {
        self.awake
    }

    /// Those under `key` that keep the loop awake.
    pub(crate) fn awake_under(&self, key: K) -> usize {
        self.lists.get(&key).map_or(0, |ends| ends.awake)
    }

    /// Entries, fired ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A place behind those given before. `keeps_awake`: the loop does not sleep once a waker is there.
    pub(crate) fn enter(&mut self, key: K, value: T, keeps_awake: bool) -> usize {
        let before = self.lists.get(&key).map(|ends| ends.last);
        let place = Some(Place { before, behind: None });
        let id = self.nodes.insert(Node { key, value, waker: None, keeps_awake, place });
        match before {
            Some(last) => {
                self.place(last).behind = Some(id);
                self.ends(key).last = id;
            }
            None => {
                self.lists.insert(key, Ends { first: id, last: id, awake: 0 });
            }
        }
        self.pending += 1;
        id
    }

    /// Whether what is awaited has come.
    pub(crate) fn is_fired(&self, id: usize) -> bool {
        self.nodes[id].place.is_none()
    }

    pub(crate) fn value(&self, id: usize) -> &T {
        &self.nodes[id].value
    }

    pub(crate) fn value_mut(&mut self, id: usize) -> &mut T {
        &mut self.nodes[id].value
    }

    /// Stores who is woken. Returns the waker that is not needed, to be dropped by the caller, where
    /// nothing is borrowed.
    pub(crate) fn park(&mut self, id: usize, waker: Waker) -> Option<Waker> {
        let node = &mut self.nodes[id];
        if node.waker.as_ref().is_some_and(|stored| stored.will_wake(&waker)) {
            return Some(waker);
        }
        let old = node.waker.replace(waker);
        if old.is_none() && node.keeps_awake && node.place.is_some() {
            let key = node.key;
            self.awake += 1;
            self.ends(key).awake += 1;
        }
        old
    }

    /// Takes an entry out, fired or not. What is returned is dropped by the caller, where nothing is
    /// borrowed.
    pub(crate) fn leave(&mut self, id: usize) -> (T, Option<Waker>) {
        self.unlink(id);
        let node = self.nodes.remove(id);
        (node.value, node.waker)
    }

    /// What somebody waits under, each once, in no order.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = K> {
        self.lists.keys().copied()
    }

    /// Calls `each` for those who wait under `key`, in order of call.
    pub(crate) fn each(&self, key: K, mut each: impl FnMut(&T)) {
        let mut at = self.lists.get(&key).map(|ends| ends.first);
        while let Some(id) = at {
            let node = &self.nodes[id];
            each(&node.value);
            at = node.place.and_then(|place| place.behind);
        }
    }

    /// Calls `each` for everybody who waits, in no order.
    pub(crate) fn each_mut(&mut self, mut each: impl FnMut(&mut T)) {
        for (_, node) in self.nodes.iter_mut().filter(|(_, node)| node.place.is_some()) {
            each(&mut node.value);
        }
    }

    /// Fires those under `key` that `accept` accepts, in order of call, and hands their wakers out.
    pub(crate) fn fire(
        &mut self,
        key: K,
        mut accept: impl FnMut(&mut T) -> bool,
        wakers: &mut Vec<Waker>,
    ) {
        let mut at = self.lists.get(&key).map(|ends| ends.first);
        while let Some(id) = at {
            let node = &mut self.nodes[id];
            at = node.place.and_then(|place| place.behind);
            if accept(&mut node.value) {
                self.unlink(id);
                wakers.extend(self.nodes[id].waker.take());
            }
        }
    }

    /// Takes every waker out, when nobody is left to wake them.
    pub(crate) fn drain_wakers(&mut self) -> Vec<Waker> {
        self.awake = 0;
        self.lists.values_mut().for_each(|ends| ends.awake = 0);
        self.nodes.iter_mut().filter_map(|(_, node)| node.waker.take()).collect()
    }

    fn unlink(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        let key = node.key;
        let Some(Place { before, behind }) = node.place.take() else {
            return;
        };
        if node.keeps_awake && node.waker.is_some() {
            self.awake -= 1;
            self.ends(key).awake -= 1;
        }
        self.pending -= 1;
        match (before, behind) {
            (None, None) => {
                self.lists.remove(&key);
            }
            (Some(before), None) => {
                self.place(before).behind = None;
                self.ends(key).last = before;
            }
            (None, Some(behind)) => {
                self.place(behind).before = None;
                self.ends(key).first = behind;
            }
            (Some(before), Some(behind)) => {
                self.place(before).behind = Some(behind);
                self.place(behind).before = Some(before);
            }
        }
    }

    fn place(&mut self, id: usize) -> &mut Place {
        self.nodes[id].place.as_mut().expect("a neighbour is in the list")
    }

    fn ends(&mut self, key: K) -> &mut Ends {
        self.lists.get_mut(&key).expect("a list that holds somebody has two ends")
    }
}

impl<K, T, S> fmt::Debug for Waiters<K, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("pending", &self.pending).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter(u8),
        Leave(usize),
        Fire(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_u8).prop_map(Step::Enter),
            (0..20_usize).prop_map(Step::Leave),
            (0..3_u8, 1..4_u8).prop_map(|(key, every)| Step::Fire(key, every)),
        ]
    }

    proptest! {
        #[test]
        fn lists_keep_the_order_of_call(steps in proptest::collection::vec(step(), 0..200)) {
            let mut waiters = Waiters::<_, _>::default();
            let mut model: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            let mut all: Vec<(usize, u8, u32)> = Vec::new();
            for (serial, step) in steps.into_iter().enumerate() {
                let serial = serial as u32;
                match step {
                    Step::Enter(key) => {
                        all.push((waiters.enter(key, serial, false), key, serial));
                        model.entry(key).or_default().push(serial);
                    }
                    Step::Leave(at) if at < all.len() => {
                        let (id, key, serial) = all.remove(at);
                        let waits = model.get(&key).is_some_and(|list| list.contains(&serial));
                        prop_assert_eq!(waiters.is_fired(id), !waits);
                        prop_assert_eq!(waiters.leave(id).0, serial);
                        model.entry(key).or_default().retain(|other| *other != serial);
                    }
                    Step::Leave(_) => {}
                    Step::Fire(key, every) => {
                        let hit = |serial: u32| serial.is_multiple_of(u32::from(every));
                        let mut fired = Vec::new();
                        let accept = |serial: &mut u32| {
                            if hit(*serial) {
                                fired.push(*serial);
                            }
                            hit(*serial)
                        };
                        waiters.fire(key, accept, &mut Vec::new());
                        let list = model.entry(key).or_default();
                        let expected: Vec<u32> =
                            list.iter().copied().filter(|serial| hit(*serial)).collect();
                        prop_assert_eq!(fired, expected);
                        list.retain(|serial| !hit(*serial));
                    }
                }
                for key in 0..3 {
                    let mut listed = Vec::new();
                    waiters.each(key, |serial| listed.push(*serial));
                    prop_assert_eq!(&listed, model.entry(key).or_default());
                }
                let mut keys: Vec<u8> = waiters.keys().collect();
                keys.sort_unstable();
                let awaited = model.iter().filter(|(_, list)| !list.is_empty());
                prop_assert_eq!(keys, awaited.map(|(key, _)| *key).collect::<Vec<_>>());
                prop_assert_eq!(waiters.pending(), model.values().map(Vec::len).sum::<usize>());
                prop_assert_eq!(waiters.len(), all.len());
            }
        }
    }

    #[test]
    fn only_a_waker_that_keeps_awake_counts() {
        let mut waiters = Waiters::<_, _>::default();
        let kept = waiters.enter(0, (), true);
        let other = waiters.enter(0, (), false);
        assert_eq!(waiters.awake(), 0);
        assert!(waiters.park(kept, Waker::noop().clone()).is_none());
        assert!(waiters.park(other, Waker::noop().clone()).is_none());
        assert!(waiters.park(kept, Waker::noop().clone()).is_some());
        assert_eq!((waiters.awake(), waiters.awake_under(0), waiters.awake_under(1)), (1, 1, 0));
        let mut wakers = Vec::new();
        waiters.fire(0, |()| true, &mut wakers);
        assert_eq!((wakers.len(), waiters.awake(), waiters.pending()), (2, 0, 0));
        assert_eq!(waiters.awake_under(0), 0);
    }
}
