//! The wheel against a sorted map, and what it promises case by case.
//!
//! `ONBEAT_WHEEL_OPERATIONS` says how many operations the longest run on both does.

use std::rc::Rc;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::model::{CENTURY_NS, Op, Pair, TICK_NS, When, run_program};
use super::*;

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
        2 => (0..10_usize).prop_map(Op::JumpToFirst),
        1 => Just(Op::LookAtFirst),
        1 => Just(Op::LookAtDue),
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

/// How many operations the long run of the model does, in place of a million: a variable of the environment, as
/// in `ONBEAT_WHEEL_OPERATIONS=50000000 cargo test --release --lib a_million_operations`.
const OPERATIONS: &str = "ONBEAT_WHEEL_OPERATIONS";

#[test]
fn a_million_operations_fire_like_a_sorted_map() {
    let operations = std::env::var(OPERATIONS).map_or(1_000_000, |count| {
        count.parse().unwrap_or_else(|_| panic!("{OPERATIONS} is a number, not {count:?}"))
    });
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut pair = Pair::new(0);
    for step in 0..operations {
        let pick = random.next(1 << 40) as usize;
        // From nanoseconds to centuries, but rarely the latter, or none would ever fire.
        let exponent_max = if random.next(64) == 0 { 63 } else { 34 };
        let ahead = 1_u64 << random.next(exponent_max);
        let when = When::Ahead(ahead + random.next(ahead));
        let jump_ns_max = if step % 50_000 == 0 { CENTURY_NS / 100 } else { 1 << random.next(26) };
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
fn programs_of_random_bytes_fire_like_a_sorted_map() {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    for length in 0..600 {
        let bytes: Vec<u8> = (0..length).map(|_| random.next(256) as u8).collect();
        run_program(&bytes);
    }
}

#[test]
fn nothing_fires_before_its_deadline() {
    for bit in 0..64 {
        let mut wheel = Wheel::new(0);
        let deadline_ns = 1_u64 << bit;
        wheel.insert(deadline_ns, ());
        wheel.prepare(deadline_ns - 1, usize::MAX);
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
fn the_next_deadline_is_exact_while_none_is_cancelled() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut wheel = Wheel::new(0);
    let mut first_ns = u64::MAX;
    for _ in 0..10_000 {
        let span_ns = 1 << (17 + random.next(40));
        let deadline_ns = random.next(span_ns);
        wheel.insert(deadline_ns, ());
        first_ns = first_ns.min(deadline_ns);
        assert_eq!(wheel.next_deadline(), Some(first_ns));
    }
    wheel.prepare(0, usize::MAX);
    let mut now_ns = 0;
    while let Some(next_ns) = wheel.next_deadline() {
        assert!(next_ns >= now_ns);
        now_ns = next_ns;
        assert_eq!(wheel.pop_due(now_ns, u64::MAX), Some(()), "nobody wakes up for nothing");
        while wheel.pop_due(now_ns, u64::MAX).is_some() {}
        wheel.prepare(now_ns, usize::MAX);
    }
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
        wheel.prepare(now_ns, usize::MAX);
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
    wheel.settle();
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

/// Fires 100,000 timers that are due within this span, of which the wheel hears late; each turn may fire 64,
/// and move 128 before and after.
fn check_late_slot(span_ns: u64) {
    const COUNT: u64 = 100_000;
    const FIRED_MAX: usize = 64;
    const BUDGET: usize = 128;
    let mut random = Random(0x0DDB_1A5E_5BAD_5EED);
    let mut wheel = Wheel::new(0);
    let mut expected: Vec<_> = (0..COUNT)
        .map(|number| {
            let deadline_ns = (1 << 36) + random.next(span_ns);
            wheel.insert(deadline_ns, (deadline_ns, number));
            (deadline_ns, number)
        })
        .collect();
    expected.sort_unstable();
    let now_ns = (1 << 36) + span_ns;
    let (mut fired, mut turns) = (Vec::new(), 0);
    while fired.len() < expected.len() {
        let (moved, before) = (wheel.work.moved, fired.len());
        assert_ne!(wheel.has_due(now_ns), IsDue::No);
        while fired.len() - before < FIRED_MAX
            && let Some(timer) = wheel.pop_due(now_ns, u64::MAX)
        {
            fired.push(timer);
        }
        wheel.advance(now_ns, BUDGET);
        assert!(
            wheel.work.moved - moved <= 2 * BUDGET,
            "{} entries in one turn",
            wheel.work.moved - moved
        );
        turns += 1;
    }
    assert!(fired == expected, "in the order of deadline, then of registration");
    assert!(wheel.work.moved <= 4 * expected.len(), "{} moves", wheel.work.moved);
    assert!(turns <= 4 * expected.len() / FIRED_MAX, "{turns} turns");
}

#[test]
fn a_slot_of_100_000_that_is_entered_late_is_given_out_a_budget_a_turn_and_fires_in_order() {
    for span_ns in [1_000, 5_000_000, 100_000_000, 1 << 33] {
        check_late_slot(span_ns);
    }
}

#[test]
fn a_wait_is_prepared_by_no_more_moves_than_it_allows() {
    let mut random = Random(0x0DDB_1A5E_5BAD_5EED);
    let mut wheel = Wheel::new(0);
    for _ in 0..10_000 {
        wheel.insert(random.next(30_000_000_000), ());
    }
    for _ in 0..100 {
        let moved = wheel.work.moved;
        wheel.prepare(0, 1_000);
        assert!(wheel.work.moved - moved <= 1_000);
    }
    let moved = wheel.work.moved;
    wheel.prepare(0, 1_000);
    assert_eq!(wheel.work.moved, moved, "what can be done ahead is done at some time");
}

#[test]
fn what_is_earlier_than_a_late_slot_fires_while_that_is_given_out() {
    let mut wheel = Wheel::new(0);
    for offset_ns in [3_000, 2_000, 1_000, 4_000] {
        wheel.insert((1 << 30) + offset_ns, offset_ns);
    }
    wheel.advance(TICK_NS, 2);
    let (late_ns, mark) = ((1 << 30) + 5_000, u64::MAX);
    assert_eq!(wheel.pop_due(late_ns, mark), None, "the first of four cannot be known from two");
    wheel.insert((1 << 30) + 500, 500);
    assert_eq!(wheel.pop_due(late_ns, mark), Some(500));
    wheel.insert((1 << 30) + 1_000, 1_001);
    assert_eq!((wheel.pop_due(late_ns, mark), wheel.has_due(late_ns)), (None, IsDue::Unknown));
    assert!(wheel.next_deadline() <= Some((1 << 30) + 1_000));
    wheel.advance(late_ns, 2);
    for offset_ns in [1_000, 1_001, 2_000, 3_000, 4_000] {
        assert_eq!(wheel.has_due(late_ns), IsDue::Yes);
        assert_eq!(wheel.pop_due(late_ns, mark), Some(offset_ns));
    }
    assert_eq!(wheel.has_due(late_ns), IsDue::No);
}

/// Fires 100,000 timers that are due within this span, by turns of 64 a microsecond apart from this time on.
/// Neither a sort nor the heap may know all of them: either would take longer than a turn has.
fn check_sorts(span_ns: u64, mut now_ns: u64) {
    let mut wheel = Wheel::new(0);
    for number in 0..100_000 {
        wheel.insert((1 << 36) + number * 7_919 % span_ns, number);
    }
    let mut fired = 0;
    while fired < 100_000 {
        let sorted = wheel.near.sorted();
        fired += (0..64).take_while(|_| wheel.pop_due(now_ns, u64::MAX).is_some()).count();
        wheel.advance(now_ns, 128);
        let sorted = wheel.near.sorted() - sorted;
        assert!(sorted <= 4 * 1_024, "{sorted} keys in a turn, {span_ns} ns");
        assert!(wheel.near.heads() <= 512, "{} heads, {span_ns} ns", wheel.near.heads());
        now_ns += 1_000;
    }
}

#[test]
fn a_turn_sorts_a_few_runs_and_not_all_that_is_due() {
    for span_ns in [1_009, 50_021, 5_000_011, 100_000_007] {
        check_sorts(span_ns, (1 << 36) + span_ns);
        check_sorts(span_ns, (1 << 36) - 30_000_000);
    }
}

#[test]
fn a_timer_that_is_given_out_late_fires_before_a_newer_one_with_its_deadline() {
    let mut wheel = Wheel::new(0);
    let at = |ticks: u64| (1 << 30) + ticks * TICK_NS;
    for (ticks, name) in [(200, "last"), (100, "old"), (10, "first")] {
        wheel.insert(at(ticks), name);
    }
    wheel.advance(TICK_NS, 1);
    assert_eq!(wheel.pop_due(at(10), u64::MAX), None, "one of three is given out");
    wheel.insert(at(100), "new");
    wheel.advance(at(10), 10);
    for name in ["first", "old", "new", "last"] {
        assert_eq!(wheel.pop_due(at(200), u64::MAX), Some(name));
    }
}

/// Turns in the middle of a tick of the wheel, a nanosecond apart.
#[test]
fn a_turn_with_nothing_due_is_a_compare_however_many_wait() {
    for sleepers in [0, 1_000, 50_000, 1_000_000] {
        let mut wheel = Wheel::new(0);
        for number in 0..sleepers {
            wheel.insert(3_600_000_000_000 + number * 1_000_003, number);
        }
        wheel.advance(TICK_NS, 128);
        let before = wheel.work;
        for now_ns in TICK_NS..TICK_NS + 1_000 {
            assert_eq!(wheel.pop_due(now_ns, u64::MAX), None);
            wheel.advance(now_ns, 128);
        }
        assert_eq!(wheel.work, before, "with {sleepers} sleepers");
        for tick in 2..100 {
            wheel.advance(tick * TICK_NS, 128);
        }
        assert_eq!(wheel.work.moved, before.moved, "what is far ahead stays where it is");
        assert_eq!(wheel.work.looks, before.looks + 98, "one look a tick of the wheel");
    }
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
