//! A wheel beside the obvious model of it, a sorted map, and programs that run on both.
//!
//! [`run_program`] reads operations from bytes, any bytes, so that a fuzzer can write them.

use std::collections::BTreeMap;

use super::{IsDue, TICK_BITS, TimerId, Wheel, tick_start};

pub(super) const TICK_NS: u64 = 1 << TICK_BITS;
pub(super) const CENTURY_NS: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// A wheel and the obvious model of it, kept in step.
pub(super) struct Pair {
    wheel: Wheel<u64>,
    /// The payload of a timer is the serial of its first registration.
    model: BTreeMap<(u64, u64), u64>,
    ids: Vec<(TimerId, u64)>,
    pub(super) gone: Vec<TimerId>,
    now_ns: u64,
    /// The latest deadline that the wheel has named as the first.
    seen_ns: u64,
    mark: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Past(u64),
    Ahead(u64),
    /// That many ticks ahead, on the boundary, and a little more.
    Boundary(u64, u64),
    /// The deadline of a living timer.
    Same(usize),
    Never,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Insert(When),
    Burst(When, u64, u64),
    Cancel(usize),
    Reset(usize, When),
    Turn { jump_ns: u64, budget: usize, pops: usize },
    JumpToNext(usize),
    JumpToFirst(usize),
    LookAtFirst,
    LookAtDue,
    Pop,
}

impl Pair {
    pub(super) fn new(now_ns: u64) -> Self {
        let wheel = Wheel::new(now_ns);
        Self {
            wheel,
            model: BTreeMap::new(),
            ids: vec![],
            gone: vec![],
            now_ns,
            seen_ns: 0,
            mark: 0,
        }
    }

    pub(super) fn deadline(&self, when: When) -> u64 {
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

    pub(super) fn insert(&mut self, deadline_ns: u64) {
        let serial = self.wheel.next_serial();
        let id = self.wheel.insert(deadline_ns, serial);
        assert_eq!(id.serial.get(), serial);
        self.model.insert((deadline_ns, serial), serial);
        self.ids.push((id, deadline_ns));
    }

    pub(super) fn cancel(&mut self, pick: usize) {
        let Some((id, deadline_ns)) = self.pick(pick) else { return };
        let expected = self.model.remove(&(deadline_ns, id.serial.get()));
        assert_eq!(self.wheel.cancel(id), expected);
        self.gone.push(id);
    }

    pub(super) fn reset(&mut self, pick: usize, when: When) {
        let to_ns = self.deadline(when);
        let Some((id, deadline_ns)) = self.pick(pick) else { return };
        let payload = self.model.remove(&(deadline_ns, id.serial.get()));
        let reset = self.wheel.reset(id, to_ns);
        assert_eq!(reset.is_some(), payload.is_some());
        self.gone.push(id);
        if let (Some(id), Some(payload)) = (reset, payload) {
            assert_eq!(self.wheel.payload_mut(id).copied(), Some(payload));
            self.model.insert((to_ns, id.serial.get()), payload);
            self.ids.push((id, to_ns));
        }
    }

    /// Takes an identity out of the list; its timer may have fired.
    fn pick(&mut self, pick: usize) -> Option<(TimerId, u64)> {
        let len = self.ids.len();
        (len > 0).then(|| self.ids.swap_remove(pick % len))
    }

    pub(super) fn turn(&mut self, jump_ns: u64, budget: usize, pops: usize) {
        self.now_ns = self.now_ns.saturating_add(jump_ns);
        self.mark = self.wheel.next_serial();
        self.advance(budget);
        for _ in 0..pops {
            if !self.pop() {
                break;
            }
        }
    }

    fn advance(&mut self, budget: usize) {
        if budget == usize::MAX {
            self.wheel.prepare(self.now_ns, budget);
        } else {
            self.wheel.advance(self.now_ns, budget);
        }
    }

    fn pop(&mut self) -> bool {
        let due = self.model.range(..=(self.now_ns, u64::MAX));
        let expected = due.map(|(key, _)| *key).find(|(_, serial)| *serial < self.mark);
        let expected = expected.and_then(|key| self.model.remove(&key));
        let mut popped = self.wheel.pop_due(self.now_ns, self.mark);
        let mut turns = 0;
        while popped.is_none() && expected.is_some() {
            // What was left of the budget did not do to find it. Each turn of one entry brings it nearer;
            // an entry is moved once a level.
            assert_ne!(self.wheel.has_due(self.now_ns), IsDue::No);
            self.wheel.advance(self.now_ns, 1);
            popped = self.wheel.pop_due(self.now_ns, self.mark);
            turns += 1;
            assert!(turns <= 9 * (self.model.len() + 1), "{turns} turns without a timer");
        }
        assert_eq!(popped, expected);
        expected.is_some()
    }

    fn first_deadline(&mut self) -> Option<u64> {
        let first_ns = self.model.first_key_value().map(|((deadline_ns, _), _)| *deadline_ns);
        assert_eq!(self.wheel.first_deadline(), first_ns);
        self.seen_ns = self.seen_ns.max(first_ns.unwrap_or(0));
        first_ns
    }

    fn look_at_due(&mut self) {
        let first = self.model.first_key_value();
        let is_due = first.is_some_and(|((deadline_ns, _), _)| *deadline_ns <= self.now_ns);
        let mut answer = self.wheel.has_due(self.now_ns);
        while answer == IsDue::Unknown {
            self.wheel.advance(self.now_ns, 1);
            answer = self.wheel.has_due(self.now_ns);
        }
        assert_eq!(answer == IsDue::Yes, is_due);
        let next_ns = self.wheel.next_deadline();
        assert!(is_due || next_ns.is_none_or(|next_ns| next_ns > self.now_ns));
    }

    pub(super) fn apply(&mut self, op: Op) {
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
            Op::JumpToFirst(pops) => {
                let first_ns = self.first_deadline();
                let fires = first_ns.is_some();
                self.turn(first_ns.unwrap_or(0).saturating_sub(self.now_ns), 8, 0);
                assert_eq!(self.pop(), fires, "time stands where a timer is due");
                (1..pops).all(|_| self.pop());
            }
            Op::LookAtFirst => {
                self.first_deadline();
            }
            Op::LookAtDue => self.look_at_due(),
            Op::Pop => {
                self.pop();
            }
        }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        let earliest_ns = self.model.first_key_value().map(|((deadline_ns, _), _)| *deadline_ns);
        let next_ns = self.wheel.next_deadline();
        assert_eq!(next_ns.is_some(), earliest_ns.is_some());
        assert!(next_ns <= earliest_ns, "a lower bound: {next_ns:?} <= {earliest_ns:?}");
        assert!(self.wheel.earliest_ns <= earliest_ns.unwrap_or(u64::MAX));
        assert!(self.wheel.position_ns <= self.now_ns.max(self.seen_ns));
        let slot_ns = self.wheel.first_slot().map_or(u64::MAX, |slot| slot.start_ns);
        assert!(self.wheel.slots_from_ns <= slot_ns);
        for (live, dead) in [self.wheel.near.counts(), self.wheel.deferred.counts()] {
            assert!(dead <= live, "{dead} dead, {live} live");
        }
    }

    pub(super) fn finish(mut self) {
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

/// Runs the operations that these bytes say on a wheel and on its model.
///
/// # Panics
///
/// When the two differ.
pub(crate) fn run_program(bytes: &[u8]) {
    let mut program = Program(bytes);
    let mut pair = Pair::new(program.number());
    while let Some(op) = program.op() {
        pair.apply(op);
        pair.check();
    }
    pair.finish();
}

/// What is left to read.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn op(&mut self) -> Option<Op> {
        Some(match self.byte()? % 12 {
            0..3 => Op::Insert(self.when()),
            3 => Op::Burst(self.when(), self.small() as u64, self.number() >> 40),
            4..6 => Op::Cancel(self.number() as usize),
            6 => Op::Reset(self.number() as usize, self.when()),
            7 => {
                let budget = if self.small() == 0 { usize::MAX } else { self.small() };
                Op::Turn { jump_ns: self.number() >> 2, budget, pops: self.small() }
            }
            8 => Op::JumpToNext(self.small()),
            9 => Op::JumpToFirst(self.small()),
            10 if self.small() == 0 => Op::LookAtFirst,
            10 => Op::LookAtDue,
            _ => Op::Pop,
        })
    }

    fn when(&mut self) -> When {
        match self.small() % 6 {
            0 => When::Past(self.number()),
            1 => When::Boundary(self.number() >> 17, self.small() as u64 % 3),
            2 => When::Same(self.number() as usize),
            3 if self.small() == 0 => When::Never,
            _ => When::Ahead(self.number()),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// 0 to 31; 0 at the end.
    fn small(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0) & 31)
    }

    /// Anything from nothing to `u64::MAX`, small ones as often as large ones; 0 at the end.
    fn number(&mut self) -> u64 {
        let length = self.small() % 9;
        (0..length).fold(0, |number, _| number << 8 | u64::from(self.byte().unwrap_or(0)))
    }
}
