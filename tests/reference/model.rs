//! The reference executor: the loop contract, in its order, over plain lists.

mod channels;

use std::collections::{BTreeMap, VecDeque};

use super::{
    Event, Outcome, Seen,
    program::{Op, Program, STAGES, TASKS_MAX},
};

/// What an operation that is not over waits with.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Since this turn.
    Yield(u64),
    Sleep(Timer),
    /// Called in this tick.
    NextTick(u64),
    /// Until its stage has woken it.
    Stage {
        woken: bool,
    },
    Send(usize),
    Recv(usize),
    RecvWithin(usize, Timer),
    Join(usize),
}

/// A timer, registered under its number in a turn.
#[derive(Clone, Copy, Debug)]
struct Timer {
    deadline_ns: u64,
    number: u64,
    turn: u64,
}

#[derive(Default)]
struct Task {
    script: usize,
    op: usize,
    wait: Option<Wait>,
    polled: bool,
    /// How it ended: with a panic or without.
    ended: Option<bool>,
    aborted: bool,
    /// Its handle is in the table.
    handle: bool,
    joiner: Option<usize>,
    wakes_on_drop: Vec<usize>,
    /// It has a place in the queue, before or behind the mark.
    queued: bool,
    /// It was polled ahead of its place, which counts for nothing unless it is woken again.
    spent: bool,
    /// After that it woke itself: from its place it goes behind the mark.
    again: bool,
}

#[derive(Default)]
struct Channel {
    capacity: usize,
    values: VecDeque<u32>,
    /// Who waits to send, in order, and who of them was promised a place.
    senders: VecDeque<usize>,
    promised: Vec<usize>,
    receivers: VecDeque<usize>,
    closed: bool,
}

struct Model<'a> {
    program: &'a Program,
    seen: Seen,
    tasks: Vec<Task>,
    channels: Vec<Channel>,
    ready: VecDeque<usize>,
    /// Behind the turn mark.
    behind: VecDeque<usize>,
    running: Option<usize>,
    /// What the reaper is to drop.
    buried: VecDeque<usize>,
    now_ns: u64,
    /// Each turn is a tick.
    tick: u64,
    /// By deadline, then by registration.
    timers: BTreeMap<(u64, u64), usize>,
    next_timer: u64,
    /// Who awaits the next tick, in order of call.
    next_tick: Vec<usize>,
    /// Who waits for a stage, in order of call, and from which tick on.
    at_stage: [Vec<(usize, u64)>; STAGES],
    /// How many stages' looks have begun in this tick.
    looks_begun: usize,
    wakes_in_stage: [Vec<usize>; STAGES],
}

pub(super) fn run(program: &Program) -> Seen {
    let mut model = Model {
        program,
        seen: Seen::default(),
        tasks: vec![Task::default()],
        channels: program
            .capacities
            .iter()
            .map(|&capacity| Channel { capacity, ..Channel::default() })
            .collect(),
        ready: VecDeque::new(),
        behind: VecDeque::new(),
        running: None,
        buried: VecDeque::new(),
        now_ns: 0,
        tick: 0,
        timers: BTreeMap::new(),
        next_timer: 0,
        next_tick: Vec::new(),
        at_stage: Default::default(),
        looks_begun: 0,
        wakes_in_stage: Default::default(),
    };
    model.wake(0);
    while model.tasks[0].ended.is_none() {
        model.tick();
    }
    model.seen.events.push(Event::Ended);
    model.seen.left = model.tasks.iter().filter(|task| task.ended.is_none()).count();
    for task in 0..model.tasks.len() {
        if model.tasks[task].ended.is_none() {
            model.seen.events.push(Event::Dropped { task });
        }
    }
    model.seen
}

/// The loop.
impl Model<'_> {
    fn tick(&mut self) {
        // 1: when nothing can run, time goes to the next timer.
        self.drop_void();
        let waited_for = self.ready.iter().chain(&self.behind).any(|task| self.is_work(*task))
            || !self.next_tick.is_empty()
            || self.at_stage.iter().any(|waiting| !waiting.is_empty());
        if !waited_for && let Some(((deadline_ns, _), _)) = self.timers.first_key_value() {
            self.now_ns = self.now_ns.max(*deadline_ns);
        }
        self.tick += 1;
        self.looks_begun = 0;
        let mut budget = self.program.tasks_per_cycle;
        let registered_before = self.next_timer;
        let awaited = std::mem::take(&mut self.next_tick);

        // 3: what was behind the mark comes behind what is ready, who awaited the tick before all.
        self.ready.append(&mut self.behind);
        self.poll_ahead(awaited);
        self.rounds(&mut budget);

        // 4
        let due = (0, 0)..=(self.now_ns, u64::MAX);
        let due: Vec<_> = self.timers.range(due).map(|(key, _)| *key).collect();
        let mut fired = 0;
        for key in due.into_iter().filter(|(_, number)| *number < registered_before) {
            let task = self.timers.remove(&key).expect("it is due");
            self.wake(task);
            fired += 1;
        }
        budget = budget.max(fired);
        self.rounds(&mut budget);

        // 5
        for stage in 0..STAGES {
            self.before_stage(Some(stage));
            self.seen.events.push(Event::Stage { stage, tick: self.tick });
            for task in std::mem::take(&mut self.wakes_in_stage[stage]) {
                self.wake(task);
            }
        }
        self.before_stage(None);
    }

    /// The loop looks whether there is work. Places at the head of the queue that have nothing to do are given
    /// up there: a task whose place that was has its turn where its next wake puts it.
    fn drop_void(&mut self) {
        for behind in [false, true] {
            loop {
                let queue = if behind { &self.behind } else { &self.ready };
                let Some(&task) = queue.front() else { break };
                if self.is_work(task) {
                    return;
                }
                if behind {
                    self.behind.pop_front()
                } else {
                    self.ready.pop_front()
                };
                let state = &mut self.tasks[task];
                (state.queued, state.spent, state.again) = (false, false, false);
            }
        }
    }

    /// Rounds, until nothing is ready before the mark or the budget is spent.
    fn rounds(&mut self, budget: &mut usize) {
        while *budget > 0 && !self.ready.is_empty() {
            *budget -= self.round(*budget);
        }
    }

    /// Whether a place in the queue has something to do: its task has not ended, nor been polled since it
    /// was woken.
    fn is_work(&self, task: usize) -> bool {
        let task = &self.tasks[task];
        task.ended.is_none() && !task.aborted && (!task.spent || task.again)
    }

    /// Returns how many were polled. A place in the queue that has nothing to do costs no poll.
    fn round(&mut self, budget: usize) -> usize {
        let mut polls = 0;
        for _ in 0..self.ready.len() {
            if polls == budget {
                break;
            }
            let task = self.ready.pop_front().expect("a round takes what is there");
            let state = &mut self.tasks[task];
            state.queued = false;
            if std::mem::take(&mut state.spent) {
                if std::mem::take(&mut state.again) {
                    state.queued = true;
                    self.behind.push_back(task);
                }
            } else if self.poll(task) {
                polls += 1;
            }
        }
        polls
    }

    /// Polls tasks before all others, whatever the budget.
    fn poll_ahead(&mut self, tasks: Vec<usize>) {
        for task in tasks {
            if self.tasks[task].queued {
                self.tasks[task].spent = true;
            }
            self.poll(task);
        }
    }

    fn before_stage(&mut self, stage: Option<usize>) {
        self.looks_begun = stage.map_or(STAGES, |stage| stage + 1);
        if let Some(stage) = stage {
            let tick = self.tick;
            let waiting = std::mem::take(&mut self.at_stage[stage]);
            let (over, waiting) = waiting.into_iter().partition(|(_, from)| *from <= tick);
            self.at_stage[stage] = waiting;
            let over: Vec<usize> = over.into_iter().map(|(task, _): (usize, u64)| task).collect();
            for task in &over {
                self.tasks[*task].wait = Some(Wait::Stage { woken: true });
            }
            self.poll_ahead(over);
        }
        self.round(self.program.tasks_per_cycle);
    }
}

/// Tasks.
impl Model<'_> {
    /// Names count round the tasks there are.
    fn pick(&self, task: usize) -> usize {
        task % self.tasks.len()
    }

    fn wake(&mut self, task: usize) {
        let running = self.running == Some(task);
        let state = &mut self.tasks[task];
        if state.ended.is_some() {
            return;
        }
        if state.queued {
            if state.spent && running {
                state.again = true;
            } else {
                (state.spent, state.again) = (false, false);
            }
            return;
        }
        state.queued = true;
        if running {
            self.behind.push_back(task);
        } else {
            self.ready.push_back(task);
        }
    }

    /// Wakes through the waker of the first poll, if there was one.
    fn wake_by_name(&mut self, task: usize) {
        let task = self.pick(task);
        if self.tasks[task].polled {
            self.wake(task);
        }
    }

    /// False: there is nothing to poll.
    fn poll(&mut self, task: usize) -> bool {
        if self.tasks[task].ended.is_some() || self.tasks[task].aborted {
            return false;
        }
        self.seen.events.push(Event::Polled { task, tick: self.tick, ns: self.now_ns });
        self.running = Some(task);
        self.tasks[task].polled = true;
        let ended = self.steps(task);
        if ended.is_some() {
            self.drop_future(task);
        }
        self.running = None;
        if let Some(panicked) = ended {
            self.end(task, panicked);
        }
        self.reap();
        true
    }

    fn drop_future(&mut self, task: usize) {
        self.seen.events.push(Event::Dropped { task });
        for other in std::mem::take(&mut self.tasks[task].wakes_on_drop) {
            self.wake_by_name(other);
        }
    }

    fn end(&mut self, task: usize, panicked: bool) {
        self.tasks[task].ended = Some(panicked);
        if let Some(joiner) = self.tasks[task].joiner.take() {
            self.wake(joiner);
        }
    }

    /// Drops the futures of aborted tasks, the first one first.
    fn reap(&mut self) {
        while let Some(task) = self.buried.pop_front() {
            if self.tasks[task].ended.is_none() {
                self.drop_wait(task);
                self.drop_future(task);
                self.end(task, false);
            }
        }
    }

    /// Takes the handle of a task out of the table.
    fn take_handle(&mut self, task: usize) -> Option<usize> {
        let task = self.pick(task);
        std::mem::take(&mut self.tasks[task].handle).then_some(task)
    }

    fn detach(&mut self, task: usize) {
        self.tasks[task].joiner = None;
    }

    /// Steps of the script until one waits: `None`. Else whether it ended by a panic.
    fn steps(&mut self, task: usize) -> Option<bool> {
        loop {
            let Task { script, op, wait, .. } = self.tasks[task];
            let Some(&what) = self.program.scripts[script].get(op) else {
                return Some(false);
            };
            let outcome = match wait {
                Some(wait) => self.go_on(task, wait),
                None if matches!(what, Op::Panic) => return Some(true),
                None => self.begin(task, what),
            };
            let outcome = outcome?;
            self.tasks[task].wait = None;
            self.tasks[task].op += 1;
            self.seen.events.push(Event::Got { task, op, outcome });
        }
    }

    /// Begins an operation. `None`: it waits.
    fn begin(&mut self, task: usize, what: Op) -> Option<Outcome> {
        match what {
            Op::Yield => {
                self.wake(task);
                self.wait(task, Wait::Yield(self.tick))
            }
            Op::Sleep(ns) => {
                let timer = self.register(task, self.now_ns + ns);
                self.wait(task, Wait::Sleep(timer))
            }
            Op::SleepUntil(ns) => {
                let timer = self.register(task, ns);
                self.wait(task, Wait::Sleep(timer))
            }
            Op::NextTick => {
                self.next_tick.push(task);
                self.wait(task, Wait::NextTick(self.tick))
            }
            Op::At(stage) => {
                let begun = self.looks_begun > stage;
                self.wait_for_stage(task, stage, self.tick + u64::from(begun))
            }
            Op::Next(stage) => self.wait_for_stage(task, stage, self.tick + 1),
            Op::Send(channel) => self
                .go_on(task, Wait::Send(channel))
                .or_else(|| self.wait(task, Wait::Send(channel))),
            Op::Recv(channel) => self
                .go_on(task, Wait::Recv(channel))
                .or_else(|| self.wait(task, Wait::Recv(channel))),
            Op::RecvWithin(channel, ns) => self.go_on(task, Wait::Recv(channel)).or_else(|| {
                let timer = self.register(task, self.now_ns + ns);
                self.wait(task, Wait::RecvWithin(channel, timer))
            }),
            Op::Join(other) => match self.take_handle(other) {
                Some(other) => self
                    .go_on(task, Wait::Join(other))
                    .or_else(|| self.wait(task, Wait::Join(other))),
                None => Some(Outcome::Nothing),
            },
            other => Some(self.at_once(task, other)),
        }
    }

    /// An operation that does not wait.
    fn at_once(&mut self, task: usize, what: Op) -> Outcome {
        match what {
            Op::Write => self.seen.written.push(task),
            Op::Wake(other) => self.wake_by_name(other),
            Op::WakeOnDrop(other) => self.tasks[task].wakes_on_drop.push(other),
            Op::WakeInStage(stage, other) => {
                let other = self.pick(other);
                if self.tasks[other].polled {
                    self.wakes_in_stage[stage].push(other);
                }
            }
            Op::Spawn(..) if self.tasks.len() == TASKS_MAX => return Outcome::Refused,
            Op::Spawn(_, script) => {
                let new = Task { script, handle: true, ..Task::default() };
                self.tasks.push(new);
                self.wake(self.tasks.len() - 1);
            }
            Op::Abort(other) | Op::DropHandle(other) => {
                let Some(other) = self.take_handle(other) else {
                    return Outcome::Nothing;
                };
                if matches!(what, Op::Abort(_)) && self.tasks[other].ended.is_none() {
                    self.tasks[other].aborted = true;
                    self.buried.push_back(other);
                }
                self.detach(other);
            }
            Op::TrySend(channel) => return self.try_send(channel, self.value(task)),
            Op::Close(channel) => self.close(channel),
            _ => unreachable!("{what:?} may wait"),
        }
        Outcome::Done
    }

    fn value(&self, task: usize) -> u32 {
        (task * 100 + self.tasks[task].op) as u32
    }

    fn wait(&mut self, task: usize, wait: Wait) -> Option<Outcome> {
        self.tasks[task].wait = Some(wait);
        None
    }

    fn wait_for_stage(&mut self, task: usize, stage: usize, from_tick: u64) -> Option<Outcome> {
        self.at_stage[stage].push((task, from_tick));
        self.wait(task, Wait::Stage { woken: false })
    }

    fn register(&mut self, task: usize, deadline_ns: u64) -> Timer {
        let number = self.next_timer;
        self.next_timer += 1;
        self.timers.insert((deadline_ns, number), task);
        Timer { deadline_ns, number, turn: self.tick }
    }

    /// A timer completes in a later turn than its own, at its deadline.
    fn is_over(&mut self, timer: Timer) -> bool {
        let over = self.tick > timer.turn && self.now_ns >= timer.deadline_ns;
        if over {
            self.timers.remove(&(timer.deadline_ns, timer.number));
        }
        over
    }

    /// Another poll of what waits: it looks at its own condition.
    fn go_on(&mut self, task: usize, wait: Wait) -> Option<Outcome> {
        match wait {
            Wait::Yield(turn) if turn < self.tick => Some(Outcome::Done),
            Wait::Yield(_) => {
                self.wake(task);
                None
            }
            Wait::Sleep(timer) => self.is_over(timer).then_some(Outcome::Done),
            Wait::NextTick(called_in) => (self.tick > called_in).then_some(Outcome::Done),
            Wait::Stage { woken } => woken.then_some(Outcome::Done),
            Wait::Send(channel) => self.send(task, channel),
            Wait::Recv(channel) => self.receive(task, channel),
            Wait::RecvWithin(channel, timer) => {
                if let Some(received) = self.receive(task, channel) {
                    self.timers.remove(&(timer.deadline_ns, timer.number));
                    return Some(received);
                }
                let over = self.is_over(timer);
                if over {
                    self.channels[channel].receivers.retain(|waiting| *waiting != task);
                }
                over.then_some(Outcome::Elapsed)
            }
            Wait::Join(other) => match self.tasks[other].ended {
                Some(true) => Some(Outcome::JoinedPanic(other)),
                Some(false) => Some(Outcome::Joined(other)),
                None => {
                    self.tasks[other].joiner = Some(task);
                    None
                }
            },
        }
    }

    /// What waits is dropped with its task.
    fn drop_wait(&mut self, task: usize) {
        match self.tasks[task].wait.take() {
            Some(Wait::Sleep(timer)) => {
                self.timers.remove(&(timer.deadline_ns, timer.number));
            }
            Some(Wait::NextTick(_)) => self.next_tick.retain(|waiting| *waiting != task),
            Some(Wait::Stage { .. }) => {
                for waiting in &mut self.at_stage {
                    waiting.retain(|(other, _)| *other != task);
                }
            }
            Some(Wait::Send(channel)) => self.give_up(task, channel),
            Some(Wait::Recv(channel)) => {
                self.channels[channel].receivers.retain(|waiting| *waiting != task);
            }
            Some(Wait::RecvWithin(channel, timer)) => {
                self.timers.remove(&(timer.deadline_ns, timer.number));
                self.channels[channel].receivers.retain(|waiting| *waiting != task);
            }
            Some(Wait::Join(other)) => self.detach(other),
            Some(Wait::Yield(_)) | None => {}
        }
    }
}
