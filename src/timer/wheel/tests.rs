//! The wheel against a sorted map.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;

const TICK_NS: u64 = 1 << TICK_BITS;
const CENTURY_NS: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// A wheel and the obvious model of it, kept in step.
struct Pair {
    wheel: Wheel<u64>,
    /// The payload of a timer is the serial of its first registration.
    model: BTreeMap<(u64, u64), u64>,
    ids: Vec<(TimerId, u64)>,
    gone: Vec<TimerId>,
    now_ns: u64,
    mark: u64,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Past(u64),
    Ahead(u64),
    /// That many ticks ahead, on the boundary, and a little more.
    Boundary(u64, u64),
    /// The deadline of a living timer.
    Same(usize),
    Never,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(When),
    Burst(When, u64, u64),
    Cancel(usize),
    Reset(usize, When),
    Turn { jump_ns: u64, budget: usize, pops: usize },
    JumpToNext(usize),
    Pop,
}

impl Pair {
    fn new(now_ns: u64) -> Self {
        let wheel = Wheel::new(now_ns);
        Self { wheel, model: BTreeMap::new(), ids: vec![], gone: vec![], now_ns, mark: 0 }
    }

    fn deadline(&self, when: When) -> u64 {
        match when {
            When::Past(by) => self.now_ns.saturating_sub(by),
            When::Ahead(by) => self.now_ns.saturating_add(by),
            When::Boundary(ticks, more) => {
                (tick_start(self.now_ns)).saturating_add(ticks * TICK_NS).saturating_add(more)
            }
            When::Same(pick) if !self.ids.is_empty() => self.ids[pick % self.ids.len()].1,
            When::Same(_) => self.now_ns,
            When::Never => u64::MAX,
        }
    }

    fn insert(&mut self, deadline_ns: u64) {
        let serial = self.wheel.next_serial();
        let id = self.wheel.insert(deadline_ns, serial);
        assert_eq!(id.serial, serial);
        self.model.insert((deadline_ns, serial), serial);
        self.ids.push((id, deadline_ns));
    }

    fn cancel(&mut self, pick: usize) {
        let Some((id, deadline_ns)) = self.pick(pick) else { return };
        let expected = self.model.remove(&(deadline_ns, id.serial));
        assert_eq!(self.wheel.cancel(id), expected);
        self.gone.push(id);
    }

    fn reset(&mut self, pick: usize, when: When) {
        let to_ns = self.deadline(when);
        let Some((id, deadline_ns)) = self.pick(pick) else { return };
        let payload = self.model.remove(&(deadline_ns, id.serial));
        let reset = self.wheel.reset(id, to_ns);
        assert_eq!(reset.is_some(), payload.is_some());
        self.gone.push(id);
        if let (Some(id), Some(payload)) = (reset, payload) {
            assert_eq!(self.wheel.payload_mut(id).copied(), Some(payload));
            self.model.insert((to_ns, id.serial), payload);
            self.ids.push((id, to_ns));
        }
    }

    /// Takes an identity out of the list; its timer may have fired.
    fn pick(&mut self, pick: usize) -> Option<(TimerId, u64)> {
        let len = self.ids.len();
        (len > 0).then(|| self.ids.swap_remove(pick % len))
    }

    fn turn(&mut self, jump_ns: u64, budget: usize, pops: usize) {
        self.now_ns = self.now_ns.saturating_add(jump_ns);
        self.mark = self.wheel.next_serial();
        self.wheel.advance(self.now_ns, budget);
        for _ in 0..pops {
            if !self.pop() {
                break;
            }
        }
    }

    fn pop(&mut self) -> bool {
        let due = self.model.range(..=(self.now_ns, u64::MAX));
        let expected = due.map(|(key, _)| *key).find(|(_, serial)| *serial < self.mark);
        let expected = expected.and_then(|key| self.model.remove(&key));
        assert_eq!(self.wheel.pop_due(self.now_ns, self.mark), expected);
        expected.is_some()
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(when) => self.insert(self.deadline(when)),
            Op::Burst(when, count, step_ns) => {
                let from_ns = self.deadline(when);
                for i in 0..count {
                    // Neither ascending nor descending, so that lists become unsorted.
                    let offset_ns = (i * 7 % count) * step_ns;
                    self.insert(from_ns.saturating_add(offset_ns));
                }
            }
            Op::Cancel(pick) => self.cancel(pick),
            Op::Reset(pick, when) => self.reset(pick, when),
            Op::Turn { jump_ns, budget, pops } => self.turn(jump_ns, budget, pops),
            Op::JumpToNext(pops) => {
                let next_ns = self.wheel.next_deadline().unwrap_or(0);
                self.turn(next_ns.saturating_sub(self.now_ns), usize::MAX, pops);
            }
            Op::Pop => {
                self.pop();
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        let earliest_ns = self.model.first_key_value().map(|((deadline_ns, _), _)| *deadline_ns);
        let next_ns = self.wheel.next_deadline();
        assert_eq!(next_ns.is_some(), earliest_ns.is_some());
        assert!(next_ns <= earliest_ns, "a lower bound: {next_ns:?} <= {earliest_ns:?}");
        assert!(self.wheel.earliest_ns <= earliest_ns.unwrap_or(u64::MAX));
        assert!(tick_start(self.wheel.position_ns) <= self.now_ns);
        let slot_ns = self.wheel.first_slot().map_or(u64::MAX, |slot| slot.start_ns);
        assert!(self.wheel.slots_from_ns <= slot_ns);
        for (live, dead) in [self.wheel.near.counts(), self.wheel.deferred.counts()] {
            assert!(dead <= live, "{dead} dead, {live} live");
        }
    }

    fn finish(mut self) {
        for id in std::mem::take(&mut self.gone) {
            assert_eq!(self.wheel.payload_mut(id), None);
            assert_eq!(self.wheel.reset(id, 0), None);
            assert_eq!(self.wheel.cancel(id), None);
        }
        self.turn(u64::MAX, 7, usize::MAX);
        self.check();
        assert_eq!(self.wheel.len(), 0);
    }
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        (0..63_u32, any::<u64>()).prop_map(|(e, r)| When::Ahead((1 << e) + (r & ((1 << e) - 1)))),
        (0..40_u32).prop_map(|e| When::Past(1 << e)),
        (0..6 * TICK_NS).prop_map(When::Ahead),
        ((0..4_u32), (0..70_u64), (0..3_u64))
            .prop_map(|(level, n, more)| When::Boundary(n << (6 * level), more)),
        any::<usize>().prop_map(When::Same),
        Just(When::Never),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let jump = prop_oneof![
        Just(0),
        0..3 * TICK_NS,
        (0..62_u32).prop_map(|e| 1 << e),
        (0..5_u64).prop_map(|n| n * CENTURY_NS / 50),
        (0..4_u32, 0..5_u64).prop_map(|(level, n)| n << shift(level as usize)),
    ];
    let budget = prop_oneof![0..20_usize, Just(64), Just(usize::MAX)];
    prop_oneof![
        6 => when().prop_map(Op::Insert),
        2 => (when(), 1..40_u64, 0..500_000_u64).prop_map(|(w, n, step)| Op::Burst(w, n, step)),
        4 => any::<usize>().prop_map(Op::Cancel),
        2 => (any::<usize>(), when()).prop_map(|(pick, when)| Op::Reset(pick, when)),
        4 => (jump, budget, 0..30_usize)
            .prop_map(|(jump_ns, budget, pops)| Op::Turn { jump_ns, budget, pops }),
        2 => (0..10_usize).prop_map(Op::JumpToNext),
        2 => Just(Op::Pop),
    ]
}

proptest! {
    #[test]
    fn fires_like_a_sorted_map(
        start_ns in prop_oneof![Just(0), 0..CENTURY_NS],
        ops in proptest::collection::vec(op(), 1..300),
    ) {
        let mut pair = Pair::new(start_ns);
        for op in ops {
            pair.apply(op);
            pair.check();
        }
        pair.finish();
    }
}

/// A small generator, so that a long run needs no strategy for each operation.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

#[test]
fn a_million_operations_fire_like_a_sorted_map() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut pair = Pair::new(0);
    for step in 0..1_000_000 {
        let pick = random.next(1 << 40) as usize;
        let ahead = 1_u64 << random.next(34);
        let when = When::Ahead(ahead + random.next(ahead));
        let jump_ns_max = 1 << random.next(26);
        match random.next(16) {
            0..6 => pair.insert(pair.deadline(when)),
            6..9 => pair.cancel(pick),
            9..11 => pair.reset(pick, when),
            _ => pair.turn(random.next(jump_ns_max), 8, 6),
        }
        pair.gone.clear();
        if step % 64 == 0 {
            pair.check();
        }
    }
    pair.finish();
}

#[test]
fn nothing_fires_before_its_deadline() {
    for bit in 0..64 {
        let mut wheel = Wheel::new(0);
        let deadline_ns = 1_u64 << bit;
        wheel.insert(deadline_ns, ());
        wheel.advance(deadline_ns - 1, usize::MAX);
        assert_eq!(wheel.pop_due(deadline_ns - 1, u64::MAX), None);
        assert_eq!(wheel.pop_due(deadline_ns, u64::MAX), Some(()));
    }
}

#[test]
fn a_timer_registered_after_the_mark_does_not_block_an_earlier_one() {
    let mut wheel = Wheel::new(0);
    wheel.insert(500, "old");
    let mark = wheel.next_serial();
    wheel.insert(400, "new");
    wheel.insert(300, "newer");
    assert_eq!(wheel.pop_due(1000, mark), Some("old"));
    assert_eq!(wheel.pop_due(1000, mark), None);
    assert_eq!(wheel.next_deadline(), Some(300));
    assert_eq!(wheel.pop_due(1000, wheel.next_serial()), Some("newer"));
    assert_eq!(wheel.pop_due(1000, wheel.next_serial()), Some("new"));
}

#[test]
fn a_reset_timer_goes_behind_those_with_the_same_deadline() {
    let mut wheel = Wheel::new(0);
    let first = wheel.insert(1 << 30, 1);
    wheel.insert(1 << 30, 2);
    let again = wheel.reset(first, 1 << 30).expect("the timer is live");
    assert_eq!(wheel.cancel(first), None);
    assert!(again.serial > first.serial);
    assert_eq!(wheel.pop_due(1 << 30, u64::MAX), Some(2));
    assert_eq!(wheel.pop_due(1 << 30, u64::MAX), Some(1));
}

#[test]
fn the_next_deadline_of_ascending_deadlines_is_exact() {
    let mut wheel = Wheel::new(0);
    for minute in 1..100 {
        wheel.insert(minute * 60_000_000_000 + 7, ());
    }
    assert_eq!(wheel.next_deadline(), Some(60_000_000_007));
}

#[test]
fn an_unbudgeted_advance_leaves_few_lower_bounds_before_the_next_deadline() {
    let mut wheel = Wheel::new(0);
    let first_ns = (1_u64 << 40) + 123_456_789;
    for offset_ns in [5_000_000, 9_000_000, 0, 7_000_000] {
        wheel.insert(first_ns + offset_ns, ());
    }
    let (mut now_ns, mut waits) = (0, 0);
    while wheel.pop_due(now_ns, u64::MAX).is_none() {
        wheel.advance(now_ns, usize::MAX);
        now_ns = wheel.next_deadline().expect("four timers are registered");
        waits += 1;
    }
    assert_eq!(now_ns, first_ns);
    assert!(waits <= LEVELS, "{waits} waits");
}

#[test]
fn cancelling_near_timers_keeps_the_dead_at_most_half() {
    let mut wheel = Wheel::new(0);
    let ids: Vec<_> = (0..1000).map(|i| wheel.insert(1000 - i, i)).collect();
    for id in &ids[..999] {
        wheel.cancel(*id);
        let (live, dead) = wheel.near.counts();
        assert!(dead <= live);
    }
    assert_eq!(wheel.pop_due(TICK_NS, u64::MAX), Some(999));
}

#[test]
fn firing_near_timers_keeps_the_dead_at_most_half() {
    let mut wheel = Wheel::new(0);
    let ids: Vec<_> = (0..100).map(|i| wheel.insert(i, ())).collect();
    for id in &ids[50..] {
        wheel.cancel(*id);
    }
    assert_eq!(wheel.near.counts(), (50, 50));
    for live in (0..50).rev() {
        assert!(wheel.pop_due(TICK_NS, u64::MAX).is_some());
        assert_eq!(wheel.near.counts(), (live, 0));
    }
}

#[test]
fn a_budget_of_entries_is_moved_in_each_advance() {
    let mut wheel = Wheel::new(0);
    let slot_ns = 1 << shift(1);
    for i in 0..100 {
        wheel.insert(slot_ns + 2 * NEAR_NS + (i * 37 % 100) * 1000, i);
    }
    let (live, spare) = (wheel.level_bank[1], wheel.ahead_bank[1]);
    wheel.advance(TICK_NS, 99);
    assert_eq!((wheel.lists.occupied(live), wheel.attend_ns), (0b10, TICK_NS));
    wheel.advance(TICK_NS, 99);
    assert_eq!(wheel.lists.occupied(live), 0);
    wheel.advance(slot_ns, 99);
    assert_eq!(wheel.level_bank[0], spare, "the spare bank takes the place of the level below");
}

#[test]
fn equal_deadlines_are_never_moved() {
    let mut wheel = Wheel::new(0);
    let deadline_ns = 3 << 40;
    for i in 0..1000 {
        wheel.insert(deadline_ns, i);
    }
    wheel.advance(deadline_ns, 64);
    for i in 0..1000 {
        assert_eq!(wheel.pop_due(deadline_ns, u64::MAX), Some(i));
        assert_eq!(wheel.near.counts(), (0, 0));
    }
}

#[test]
fn every_payload_is_handed_back_once_and_never_dropped_inside() {
    let payload = Rc::new(());
    let mut wheel = Wheel::new(0);
    let ids: Vec<_> = (0..100).map(|i| wheel.insert(i << 14, Rc::clone(&payload))).collect();
    let cancelled = wheel.cancel(ids[50]);
    let fired = wheel.pop_due(1 << 20, u64::MAX);
    assert_eq!(wheel.pop_due(1 << 20, 0), None, "puts some aside");
    assert_eq!(Rc::strong_count(&payload), 101);
    let drained = wheel.drain();
    assert_eq!((drained.len(), Rc::strong_count(&payload)), (98, 101));
    assert!(ids.iter().all(|id| wheel.cancel(*id).is_none()));
    assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    wheel.insert(5, Rc::clone(&payload));
    assert!(wheel.pop_due(1 << 20, u64::MAX).is_some(), "a drained wheel works on");
    drop((cancelled, fired, drained));
    assert_eq!(Rc::strong_count(&payload), 1);
}
