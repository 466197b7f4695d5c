//! What is asked: the list of questions and who answers each.

use std::time::Duration;

use crate::question::{Contender, Question, Reach, Role, Unit};
use crate::systems::{self, Systems};
use crate::work::Work;
use crate::{
    access, async_executor, bytes, channels, compio, firing, floor, foreign, latency, lifecycle,
    nexus, onbeat, passing, sleepers, spawning, tick_rate, tokio, wheels,
};

/// How much work a pass is, so that it takes some ten milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    polls: usize,
    batches: usize,
    ticks: usize,
    timers: usize,
    /// Wakes from another thread, each of them some microseconds.
    foreign: usize,
    /// Messages to another thread and back.
    rounds: usize,
    runtimes: usize,
}

impl Size {
    /// For figures.
    pub(crate) const FULL: Self = Self {
        polls: 400_000,
        batches: 100,
        ticks: 100_000,
        timers: 100_000,
        foreign: 500,
        rounds: 10_000,
        runtimes: 100,
    };
    /// To see that everything runs.
    pub(crate) const QUICK: Self = Self {
        polls: 40_000,
        batches: 10,
        ticks: 10_000,
        timers: 10_000,
        foreign: 50,
        rounds: 20,
        runtimes: 10,
    };
}

const OWN_YIELD: &str = "\
each runtime's own yield_now (async-executor has none: futures-lite's). Only tokio puts the wake off,
  until it has looked at its I/O driver: when nothing else is ready, and after event_interval polls.";

const FLOOR: &str = "\
floor: a VecDeque of indices and a Vec of boxed futures, in safe code, with a waker that does nothing; no
  timer, socket, budget or other thread. Not a proven bound. With 1 task it also makes no turn, which
  the runtimes do for each poll: compare with it where there are more.";
const UNCANCELLED: &str = "\
nexus does not take a timer out when its sleep is dropped: it does less, and what it leaves piles up.";

/// Every question, in the order in which it is asked.
pub(crate) fn all(size: Size) -> Vec<Question> {
    let mut questions = Vec::new();
    for (tasks, reach) in [(1, Some(0.50)), (64, Some(0.30)), (1_024, None)] {
        let work = Work::SelfWake { tasks, wakes: size.polls / tasks };
        let title = format!("poll after a self-wake, {tasks} task{}", plural(tasks));
        for mut question in parking_and_spinning(&title, work, reach) {
            let wakes = size.polls / tasks;
            let pass = move || floor::self_wake(tasks, wakes);
            question.contenders.push(Contender::new(
                "floor: queue and poll alone",
                Role::Shown,
                pass,
            ));
            question.note = Some(FLOOR);
            questions.push(question);
        }
    }
    for tasks in [1, 64, 1_024, 10_000] {
        let work = Work::Yield { tasks, yields: size.polls / tasks };
        let title = format!("yield_now, {tasks} task{}", plural(tasks));
        for mut question in parking_and_spinning(&title, work, None) {
            question.note = Some(OWN_YIELD);
            questions.push(question);
        }
    }
    questions.extend(wakers(size));
    let work = Work::SpawnJoin { batches: size.batches, size: 1_000 };
    questions.extend(parking_and_spinning(
        "spawn, poll, join, boxed, batches of 1,000",
        work,
        Some(0.5),
    ));
    questions.extend(spawning::questions(size.batches));
    questions.extend(memory());
    questions.extend(lifecycle::questions(size.runtimes, size.ticks));
    for (systems, count) in [(Systems::None, 0), (Systems::One, 1), (Systems::Eight, 8)] {
        questions.push(tick(systems, count, size.ticks));
    }
    questions.extend(tick_rate::questions(size.ticks / 4));
    questions.push(sleep(size.timers));
    questions.extend(wheels::questions(size.timers));
    questions.extend(firing::questions());
    questions.extend(sleepers::questions(size.ticks));
    questions.extend(channels::questions(size.polls));
    questions.extend(passing::questions(size.polls, size.rounds));
    questions.extend(bytes::questions(size.polls));
    questions.extend(foreign::questions(size.foreign));
    questions.extend(latency::questions(size.rounds));
    questions.extend(access::questions(size.polls));
    questions
}

/// What is asked of each runtime once.
fn each(title: &str, work: Work, unit: Unit, has_timers: bool) -> Question {
    let contender =
        |name, role, run: fn(Work) -> Duration| Contender::new(name, role, move || run(work));
    let mut contenders = vec![
        contender("nexus", Role::Reference, nexus::parking),
        contender("onbeat", Role::Shown, |work| onbeat::parking(Systems::None, work)),
        contender("tokio LocalRuntime", Role::Shown, tokio::defaults),
    ];
    if !has_timers {
        contenders.extend([
            contender("async-executor LocalExecutor", Role::Shown, async_executor::run),
            contender("compio-executor", Role::Shown, compio::run),
        ]);
    }
    let (title, operations) = (title.to_owned(), work.operations());
    Question { title, operations, contenders, note: None, unit }
}

fn wakers(size: Size) -> [Question; 2] {
    let wake = Work::WakeByRef { tasks: 64, rounds: size.polls / 64 };
    let clone = Work::CloneWaker { clones: size.polls };
    [
        each("wake by reference of a parked task", wake, Unit::default(), false),
        each("clone and drop of a waker", clone, Unit::default(), false),
    ]
}

fn memory() -> [Question; 2] {
    let waiting = |sleep| Work::Memory { tasks: 10_000, sleep };
    [
        each("bytes a sleeping task, of 10,000", waiting(true), Unit::Bytes, true),
        each("bytes a task that is pending, of 10,000", waiting(false), Unit::Bytes, false),
    ]
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The bar holds where no stage has a system, because the peers have no stages.
fn judged(reach: Option<f64>) -> Role {
    reach.map_or(Role::Shown, |most| Role::Judged(Reach::Ratio(most)))
}

fn parking_and_spinning(title: &str, work: Work, reach: Option<f64>) -> [Question; 2] {
    let contender =
        |name, role, run: fn(Work) -> Duration| Contender::new(name, role, move || run(work));
    let operations = work.operations();
    let parking = vec![
        contender("nexus block_on", Role::Reference, nexus::parking),
        contender("onbeat block_on", judged(reach), |work| onbeat::parking(Systems::None, work)),
        contender("onbeat block_on, 1 system", Role::Shown, |work| {
            onbeat::parking(Systems::One, work)
        }),
        contender("tokio LocalRuntime", Role::Shown, tokio::defaults),
        contender("async-executor LocalExecutor", Role::Shown, async_executor::run),
        contender("compio-executor, no driver", Role::Shown, compio::run),
    ];
    let spinning = vec![
        contender("nexus block_on_busy", Role::Reference, nexus::spinning),
        contender("onbeat block_on_busy", judged(reach), |work| {
            onbeat::spinning(Systems::None, work)
        }),
        contender("onbeat block_on_busy, 1 system", Role::Shown, |work| {
            onbeat::spinning(Systems::One, work)
        }),
        contender("tokio, event_interval(1)", Role::Shown, tokio::eager),
        contender("tokio, spinner task", Role::Shown, tokio::spinner),
    ];
    [
        Question {
            title: format!("{title}, parking"),
            operations,
            contenders: parking,
            note: None,
            unit: Unit::default(),
        },
        Question {
            title: format!("{title}, spinning"),
            operations,
            contenders: spinning,
            note: None,
            unit: Unit::default(),
        },
    ]
}

fn sleep(sleeps: usize) -> Question {
    let work = Work::Sleep { sleeps };
    let contender =
        |name, role, run: fn(Work) -> Duration| Contender::new(name, role, move || run(work));
    Question {
        title: "sleep created, polled, dropped".to_owned(),
        operations: work.operations(),
        contenders: vec![
            contender("nexus", Role::Reference, nexus::parking),
            contender("onbeat", judged(Some(0.6)), |work| onbeat::parking(Systems::None, work)),
            contender("tokio", Role::Shown, tokio::defaults),
        ],
        note: Some(UNCANCELLED),
        unit: Unit::default(),
    }
}

fn tick(systems: Systems, count: usize, ticks: usize) -> Question {
    let contender = |name, role, run: fn(Systems, usize) -> Duration| {
        Contender::new(name, role, move || run(systems, ticks))
    };
    // 3.3 million ticks a second.
    let polling = match systems {
        Systems::None => Role::Judged(Reach::Nanoseconds(303.0)),
        Systems::One | Systems::Eight => Role::Shown,
    };
    let mut contenders = vec![
        contender("bare Schedule::run", Role::Reference, systems::bare_schedule),
        contender(
            "onbeat tick, no socket",
            Role::Judged(Reach::AboveReference(60.0)),
            onbeat::ticks,
        ),
        contender("onbeat tick, mio in every 61st, 1 task", Role::Shown, onbeat::busy_ticks),
        contender("onbeat tick, mio in every tick", polling, onbeat::polling_ticks),
        contender("bevy App::update", Role::Shown, systems::app_update),
    ];
    if let Systems::None = systems {
        contenders.push(Contender::new("Instant::now alone", Role::Shown, move || {
            floor::clock_read(ticks)
        }));
        contenders
            .push(Contender::new("mio poll alone", Role::Shown, move || floor::mio_poll(ticks)));
    }
    let title = format!("tick with {count} small system{}", plural(count));
    Question { title, operations: ticks, contenders, note: None, unit: Unit::default() }
}
