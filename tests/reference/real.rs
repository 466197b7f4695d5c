//! Programs under onbeat.

use std::{
    cell::{Cell, RefCell},
    panic::resume_unwind,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bevy_ecs::{
    prelude::*,
    schedule::{InternedScheduleLabel, ScheduleLabel},
};
use onbeat::{
    CancelReason, ClockMode, JoinError, JoinHandle, Runtime, WorldCtx,
    channel::local::{self, Receiver, Sender},
    claim_slab, event_time, sleep, sleep_until, spawn, spawn_boxed, spawn_slab, timeout, yield_now,
};

use super::{
    Event, Outcome, Seen,
    program::{How, Op, Program, STAGES, TASKS_MAX},
};

#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Stage(usize);

/// The tick that goes on, the writes of tasks, and who is woken by which stage.
#[derive(Resource, Default)]
struct Shown {
    written: Vec<usize>,
    wakes: [Vec<Waker>; STAGES],
}

thread_local! {
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

fn log(event: Event) {
    EVENTS.with_borrow_mut(|events| events.push(event));
}

fn tick() -> u64 {
    let ticks = |world: &World| world.resource::<onbeat::TickStats>().get().ticks;
    WorldCtx::current().with_world_ref(ticks) + 1
}

type Ends = (Rc<Sender<u32>>, Rc<Receiver<u32>>);

/// What all tasks of a program share.
struct Shared {
    program: Program,
    channels: Vec<Ends>,
    handles: RefCell<Vec<Option<JoinHandle<Output>>>>,
    wakers: RefCell<Vec<Option<Waker>>>,
    start: Cell<Option<Instant>>,
    /// Outputs that have not been dropped.
    outputs: Rc<Cell<usize>>,
}

impl Shared {
    /// The task of that number, modulo those there are.
    fn pick(&self, task: usize) -> usize {
        task % self.wakers.borrow().len()
    }

    fn wake(&self, task: usize) {
        let waker = self.wakers.borrow()[self.pick(task)].clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn take_handle(&self, task: usize) -> Option<(usize, JoinHandle<Output>)> {
        let task = self.pick(task);
        let handle = self.handles.borrow_mut()[task].take();
        handle.map(|handle| (task, handle))
    }
}

/// What a task gives; the living ones are counted.
struct Output {
    task: usize,
    alive: Rc<Cell<usize>>,
}

impl Drop for Output {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

/// What lives as long as a task's future.
struct Body {
    task: usize,
    shared: Rc<Shared>,
    wakes: RefCell<Vec<usize>>,
}

impl Drop for Body {
    fn drop(&mut self) {
        log(Event::Dropped { task: self.task });
        for task in self.wakes.take() {
            self.shared.wake(task);
        }
    }
}

/// A future whose polls are logged. The waker of the first one is kept.
struct Logged<F> {
    task: usize,
    shared: Rc<Shared>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Logged<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let now = event_time();
        let start = self.shared.start.get().unwrap_or(now);
        self.shared.start.set(Some(start));
        let ns = (now - start).as_nanos() as u64;
        log(Event::Polled { task: self.task, tick: tick(), ns });
        self.shared.wakers.borrow_mut()[self.task].get_or_insert_with(|| cx.waker().clone());
        self.future.as_mut().poll(cx)
    }
}

/// The next task, which runs a script.
fn task(shared: &Rc<Shared>, script: usize) -> Logged<impl Future<Output = Output> + use<>> {
    let task = shared.wakers.borrow().len();
    shared.wakers.borrow_mut().push(None);
    shared.handles.borrow_mut().push(None);
    let body = Body { task, shared: shared.clone(), wakes: RefCell::default() };
    let future = async move {
        for op in 0..body.shared.program.scripts[script].len() {
            let outcome = step(&body, op, body.shared.program.scripts[script][op]).await;
            log(Event::Got { task, op, outcome });
        }
        let alive = body.shared.outputs.clone();
        alive.set(alive.get() + 1);
        Output { task, alive }
    };
    Logged { task, shared: shared.clone(), future: Box::pin(future) }
}

fn start(shared: &Rc<Shared>, how: How, script: usize) -> Outcome {
    if shared.wakers.borrow().len() == TASKS_MAX {
        return Outcome::Refused;
    }
    let future = task(shared, script);
    let task = future.task;
    let handle = match how {
        How::Boxed => spawn_boxed(future),
        How::Slab => spawn_slab(future),
        How::Any => spawn(future),
        How::Claim => claim_slab().spawn(future),
    };
    shared.handles.borrow_mut()[task] = Some(handle);
    Outcome::Done
}

async fn step(body: &Body, op: usize, what: Op) -> Outcome {
    let shared = &body.shared;
    let value = (body.task * 100 + op) as u32;
    match what {
        Op::Yield => yield_now().await,
        Op::Sleep(ns) => sleep(Duration::from_nanos(ns)).await,
        Op::SleepUntil(ns) => {
            let start = shared.start.get().expect("the root was polled");
            sleep_until(start + Duration::from_nanos(ns)).await;
        }
        Op::NextTick => WorldCtx::current().next_tick().await,
        Op::At(stage) => WorldCtx::current().at(Stage(stage)).await,
        Op::Next(stage) => WorldCtx::current().next(Stage(stage)).await,
        Op::Write => {
            let task = body.task;
            WorldCtx::current().with_world(|world| {
                world.resource_mut::<Shown>().written.push(task);
            });
        }
        Op::Panic => resume_unwind(Box::new(body.task)),
        Op::Spawn(how, script) => return start(shared, how, script),
        Op::Wake(task) => shared.wake(task),
        Op::WakeOnDrop(task) => body.wakes.borrow_mut().push(task),
        Op::WakeInStage(stage, task) => {
            let waker = shared.wakers.borrow()[shared.pick(task)].clone();
            WorldCtx::current().with_world(|world| {
                world.resource_mut::<Shown>().wakes[stage].extend(waker);
            });
        }
        Op::Abort(task) => match shared.take_handle(task) {
            Some((_, handle)) => handle.abort(),
            None => return Outcome::Nothing,
        },
        Op::DropHandle(task) => match shared.take_handle(task) {
            Some((_, handle)) => drop(handle),
            None => return Outcome::Nothing,
        },
        Op::Join(task) => return join(shared, task).await,
        Op::Send(_) | Op::TrySend(_) | Op::Recv(_) | Op::RecvWithin(..) | Op::Close(_) => {
            return on_channel(shared, what, value).await;
        }
    }
    Outcome::Done
}

async fn join(shared: &Shared, task: usize) -> Outcome {
    let Some((task, handle)) = shared.take_handle(task) else {
        return Outcome::Nothing;
    };
    match handle.join().await {
        Ok(output) => Outcome::Joined(output.task),
        Err(JoinError::Panicked(payload)) => {
            let of = *payload.downcast::<usize>().expect("what the task panicked with");
            Outcome::JoinedPanic(of)
        }
        Err(error) => panic!("task {task} is joined and was not aborted: {error}"),
    }
}

async fn on_channel(shared: &Shared, what: Op, value: u32) -> Outcome {
    let received = |value: Option<u32>| value.map_or(Outcome::Nothing, Outcome::Value);
    match what {
        Op::Send(channel) => {
            let sender = shared.channels[channel].0.clone();
            let sent = sender.send(value).await;
            if sent.is_ok() { Outcome::Done } else { Outcome::Refused }
        }
        Op::TrySend(channel) => {
            let sent = shared.channels[channel].0.try_send(value);
            if sent.is_ok() { Outcome::Done } else { Outcome::Refused }
        }
        Op::Recv(channel) => {
            let receiver = shared.channels[channel].1.clone();
            received(receiver.recv().await)
        }
        Op::RecvWithin(channel, ns) => {
            let receiver = shared.channels[channel].1.clone();
            let limited = timeout(Duration::from_nanos(ns), receiver.recv());
            limited.await.map_or(Outcome::Elapsed, received)
        }
        Op::Close(channel) => {
            shared.channels[channel].0.close();
            Outcome::Done
        }
        _ => unreachable!("{what:?} is of no channel"),
    }
}

fn add_systems(rt: &mut Runtime<'_>) {
    for stage in 0..STAGES {
        let mut tick = 0;
        rt.schedule(Stage(stage)).add_systems(move |mut shown: ResMut<Shown>| {
            tick += 1;
            log(Event::Stage { stage, tick });
            shown.wakes[stage].drain(..).for_each(Waker::wake);
        });
    }
}

/// Runs a program to its end, and drops the runtime, then the handles.
pub(super) fn run(program: &Program) -> Seen {
    let mut world = World::new();
    world.init_resource::<Shown>();
    EVENTS.take();
    let shared = Rc::new(Shared {
        program: program.clone(),
        channels: program
            .capacities
            .iter()
            .map(|&capacity| {
                let (sender, receiver) = local::channel(capacity);
                (Rc::new(sender), Rc::new(receiver))
            })
            .collect(),
        handles: RefCell::default(),
        wakers: RefCell::default(),
        start: Cell::default(),
        outputs: Rc::default(),
    });
    let stages: [InternedScheduleLabel; STAGES] = std::array::from_fn(|at| Stage(at).intern());
    let mut rt = Runtime::builder(&mut world)
        .clock(ClockMode::Virtual)
        .stages(stages)
        .tasks_per_cycle(program.tasks_per_cycle)
        .slab_unbounded::<64>(4)
        .task_details(program.is_noted)
        .poll_hash(program.is_noted)
        .build();
    add_systems(&mut rt);
    drop(rt.block_on(task(&shared, 0)));
    log(Event::Ended);
    let left = rt.task_count();
    drop(rt);
    for handle in shared.handles.take().into_iter().flatten() {
        assert!(handle.is_finished());
        let joined = pin!(handle.join()).poll(&mut Context::from_waker(Waker::noop()));
        let gone = Err(JoinError::Cancelled(CancelReason::RuntimeGone));
        assert_eq!(
            format!("{:?}", joined.map(|joined| joined.map(drop))),
            format!("{:?}", Poll::Ready(gone as Result<(), _>))
        );
    }
    assert_eq!(shared.outputs.get(), 0, "every output is dropped once");
    shared.wakers.take().into_iter().flatten().for_each(Waker::wake);
    assert_eq!(Rc::strong_count(&shared), 1, "every future is dropped");
    let written = std::mem::take(&mut world.resource_mut::<Shown>().written);
    Seen { events: EVENTS.take(), written, left }
}
