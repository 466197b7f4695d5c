//! The options of a runtime. Those that say when its thread runs what are in [`driving`], those of
//! the virtual clock in [`timing`].

mod driving;
mod timing;

use std::{fmt, io, panic::Location, sync::Arc, time::SystemTime};

use bevy_ecs::{schedule::InternedScheduleLabel, schedule::ScheduleLabel, world::World};

use super::{
    Held, Runtime,
    fixed_step::FixedStep,
    idle::Idle,
    margin::Margin,
    pacing::{Pacer, Pacing},
    poller::Pollers,
    request::TickRequest,
    stage::{EndOfTick, Stages, Tick},
    tick::{Before, Budgets, FrameLoop},
    tick_time::{TickTime, Times},
    virtually::{TURNS_WITHOUT_PROGRESS, Virtually},
};
use crate::{
    clock::{Clock, ClockMode},
    context::{Core, OwnedCore},
    executor::{
        Executor, OnTaskPanic,
        agenda::Items,
        pool::Pool,
        registry::Registration,
        slab::{Growth, SlabOptions},
    },
    machine::{Granted, Wishes},
    reactor::Reactor,
    stats::TickStats,
    world::{change_ticks, lend},
};

const TASKS_PER_CYCLE: usize = 4_096;
const EVENT_INTERVAL: u32 = 61;
const QUEUE_CAPACITY: usize = 255;
const EVENT_CAPACITY: usize = 1_024;
const TOKEN_CAPACITY: usize = 64;
const TASKS_MAX: usize = (1 << 24) - 1;
const EVENTS_MAX: usize = 1 << 20;
const TOKENS_MAX: usize = 1 << 24;
const FOREIGN_WAKES: usize = 4_096;
/// Each wakes a task whose memory nobody has touched for a while: 0.4 to 0.9 us with its poll.
const TIMERS: u64 = 64;

/// The options of a runtime, and what makes it.
///
/// ```
/// use bevy_ecs::world::World;
/// use onbeat::Runtime;
///
/// let mut world = World::new();
/// let mut rt = Runtime::builder(&mut world).tasks_per_cycle(256).event_interval(1).build();
/// assert_eq!(rt.block_on(async { 7 }), 7);
/// ```
#[must_use = "a builder makes a runtime when `build` is called"]
pub struct RuntimeBuilder<'w> {
    world: Held<'w>,
    stages: Vec<InternedScheduleLabel>,
    /// How many of the stages run in the first tick only: the first ones.
    startup: usize,
    /// Whether the end of a tick turns messages over, or a system of the World does.
    turns_messages_over: bool,
    fixed_steps: Vec<(InternedScheduleLabel, FixedStep)>,
    tasks_per_cycle: usize,
    event_interval: u32,
    queue_capacity: usize,
    slab: Option<SlabOptions>,
    event_capacity: usize,
    token_capacity: usize,
    signal_handlers: bool,
    task_details: bool,
    on_task_panic: OnTaskPanic,
    clock: ClockMode,
    utc_epoch: SystemTime,
    progress_limit: u64,
    poll_hash: bool,
    pacing: Option<Pacing>,
    idle: Option<Idle>,
    pollers: Pollers,
    wishes: Wishes,
}

impl<'w> RuntimeBuilder<'w> {
    pub(super) fn new(world: Held<'w>) -> Self {
        Self {
            world,
            stages: vec![Tick.intern()],
            startup: 0,
            turns_messages_over: true,
            fixed_steps: Vec::new(),
            tasks_per_cycle: TASKS_PER_CYCLE,
            event_interval: EVENT_INTERVAL,
            queue_capacity: QUEUE_CAPACITY,
            slab: None,
            event_capacity: EVENT_CAPACITY,
            token_capacity: TOKEN_CAPACITY,
            signal_handlers: false,
            task_details: false,
            on_task_panic: OnTaskPanic::default(),
            clock: ClockMode::default(),
            utc_epoch: SystemTime::UNIX_EPOCH,
            progress_limit: TURNS_WITHOUT_PROGRESS,
            poll_hash: false,
            pacing: None,
            idle: None,
            pollers: Pollers::default(),
            wishes: Wishes::default(),
        }
    }

    /// The stages of a tick, in order, in place of the one stage [`Tick`]. A schedule that the World's
    /// `Schedules` has under one of these labels is taken over, and given back when the runtime goes.
    ///
    /// A label that is named more than once runs in each of its places, unless it has fixed steps
    /// ([`fixed_step`](Self::fixed_step)): then it runs in the first.
    ///
    /// ```
    /// use bevy_ecs::{prelude::*, schedule::ScheduleLabel};
    /// use onbeat::Runtime;
    ///
    /// #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    /// struct Decide;
    /// #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    /// struct Act;
    /// #[derive(Resource, Default)]
    /// struct Plan(Vec<&'static str>);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Plan>();
    /// let mut rt = Runtime::builder(&mut world).stages([Decide.intern(), Act.intern()]).build();
    /// rt.schedule(Act).add_systems(|mut plan: ResMut<Plan>| plan.0.push("act"));
    /// rt.schedule(Decide).add_systems(|mut plan: ResMut<Plan>| plan.0.push("decide"));
    /// rt.tick().unwrap();
    /// assert_eq!(rt.world().resource::<Plan>().0, ["decide", "act"]);
    /// ```
    pub fn stages(mut self, labels: impl IntoIterator<Item = InternedScheduleLabel>) -> Self {
        self.stages = labels.into_iter().collect();
        self
    }

    /// The stages of an `App`, in place of all others: `startup` in the first tick, and `labels` in every
    /// one. A system of the `App` turns messages over.
    #[cfg(feature = "bevy_app")]
    pub(crate) fn stages_of_app(
        mut self,
        startup: Vec<InternedScheduleLabel>,
        labels: Vec<InternedScheduleLabel>,
    ) -> Self {
        self.fixed_steps.clear();
        self.startup = startup.len();
        self.stages = startup;
        self.stages.extend(labels);
        self.turns_messages_over = false;
        self
    }

    /// How many tasks one turn polls at most, from 1; 4,096 by default. What is cut off comes first in
    /// the next turn. Ready tasks that have been aborted are not polled and do not count: letting them go
    /// costs a few nanoseconds each.
    ///
    /// # Panics
    ///
    /// When `polls` is 0.
    pub fn tasks_per_cycle(mut self, polls: usize) -> Self {
        assert!(polls > 0, "tasks_per_cycle must be at least 1, or no task would ever run");
        self.tasks_per_cycle = polls;
        self
    }

    /// After how many turns the operating system is asked for events while tasks are ready, from 1; 61
    /// by default. It is asked after 10 us at the latest, and in every turn that finds nothing ready.
    ///
    /// # Panics
    ///
    /// When `turns` is 0.
    pub fn event_interval(mut self, turns: u32) -> Self {
        assert!(turns > 0, "event_interval must be at least 1");
        self.event_interval = turns;
        self
    }

    /// For how many tasks there is room before memory is allocated; 255 by default. Task headers are
    /// allocated 256 at a time. The futures of [`spawn_boxed`](crate::spawn_boxed) are not in it: their
    /// memory is allocated 4 KiB at a time, and kept for the tasks that follow.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let builder = Runtime::builder(&mut world).queue_capacity(4_096);
    /// let mut rt = builder.event_capacity(64).token_capacity(256).signal_handlers(true).build();
    /// rt.tick().unwrap();
    /// ```
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.queue_capacity = tasks;
        self
    }

    /// Gives the runtime a slab: memory for `slots` tasks whose futures and outputs have at most `SIZE`
    /// bytes, allocated by [`build`](Self::build), for [`spawn_slab`](crate::spawn_slab),
    /// [`claim_slab`](crate::claim_slab) and [`spawn`](crate::spawn). Each slot takes up the next multiple of
    /// 64 bytes. There is room for as many tasks beside [`queue_capacity`](Self::queue_capacity).
    ///
    /// A runtime has one slab: the last call counts.
    ///
    /// # Panics
    ///
    /// When `slots` is 0. A `SIZE` of 0 does not compile.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn_slab};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).slab_bounded::<256>(1_024).build();
    /// assert_eq!(rt.block_on(async { spawn_slab(async { 7 }).await }), 7);
    /// ```
    pub fn slab_bounded<const SIZE: usize>(self, slots: usize) -> Self {
        const { assert!(SIZE > 0, "a slot of a slab has at least one byte") };
        self.slab(SlabOptions { size: SIZE, slots, growth: Growth::Bounded })
    }

    /// As [`slab_bounded`](Self::slab_bounded), but when all slots are taken, `slots` more are allocated.
    /// They are kept until the runtime goes.
    ///
    /// # Panics
    ///
    /// When `slots` is 0. A `SIZE` of 0 does not compile.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, spawn_slab};
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).slab_unbounded::<256>(2).build();
    /// let sum: u32 = rt.block_on(async {
    ///     let tasks = [1, 2, 3].map(|number| spawn_slab(async move { number }));
    ///     let mut sum = 0;
    ///     for task in tasks {
    ///         sum += task.await;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 6);
    /// ```
    pub fn slab_unbounded<const SIZE: usize>(self, slots: usize) -> Self {
        const { assert!(SIZE > 0, "a slot of a slab has at least one byte") };
        self.slab(SlabOptions { size: SIZE, slots, growth: Growth::Unbounded })
    }

    fn slab(mut self, options: SlabOptions) -> Self {
        assert!(options.slots > 0, "a slab must have at least 1 slot");
        self.slab = Some(options);
        self
    }

    /// How many events are taken from the operating system at once, from 1; 1,024 by default.
    ///
    /// # Panics
    ///
    /// When `events` is 0.
    ///
    /// [`queue_capacity`](Self::queue_capacity) has an example.
    pub fn event_capacity(mut self, events: usize) -> Self {
        assert!(events > 0, "event_capacity must be at least 1, or no event would ever arrive");
        self.event_capacity = events;
        self
    }

    /// For how many sockets there is room before memory is allocated; 64 by default.
    ///
    /// [`queue_capacity`](Self::queue_capacity) has an example.
    pub fn token_capacity(mut self, sockets: usize) -> Self {
        self.token_capacity = sockets;
        self
    }

    /// Whether SIGINT and SIGTERM ask this runtime to stop, as
    /// [`Runtime::install_signal_handlers`] does; not by default.
    ///
    /// [`ShutdownSignal`](crate::ShutdownSignal) has an example.
    pub fn signal_handlers(mut self, install: bool) -> Self {
        self.signal_handlers = install;
        self
    }

    /// What happens when a task panics; it is contained by default.
    ///
    /// [`OnTaskPanic`] has an example.
    pub fn on_task_panic(mut self, policy: OnTaskPanic) -> Self {
        self.on_task_panic = policy;
        self
    }

    /// Whether [`Runtime::tasks`] knows the age of every task, its polls, and what it waits for; not by
    /// default. It costs a look at the clock for each spawn, and some ten nanoseconds for each poll.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::{Runtime, WaitsFor, sleep, spawn, yield_now};
    /// use std::time::Duration;
    ///
    /// let mut world = World::new();
    /// let mut rt = Runtime::builder(&mut world).task_details(true).build();
    /// rt.block_on(async {
    ///     drop(spawn(sleep(Duration::from_secs(1))));
    ///     yield_now().await;
    /// });
    /// let tasks = rt.tasks();
    /// assert_eq!(tasks[0].polls, Some(1));
    /// assert!(matches!(tasks[0].waits_for, Some(WaitsFor::Time(_))));
    /// ```
    pub fn task_details(mut self, on: bool) -> Self {
        self.task_details = on;
        self
    }

    /// Makes the runtime.
    ///
    /// # Panics
    ///
    /// Where [`try_build`](Self::try_build) gives an error.
    #[must_use]
    #[track_caller]
    pub fn build(self) -> Runtime<'w> {
        match self.try_build() {
            Ok(runtime) => runtime,
            Err(error) => panic!("a runtime could not be made: {error}"),
        }
    }

    /// Makes the runtime.
    ///
    /// # Errors
    ///
    /// When the operating system refuses an event queue or a signal handler, when 65,536 runtimes are
    /// live or leaked, when there is no memory for the slab, or when a capacity is beyond its range:
    /// 16,777,215 tasks, and as many slots of the slab, 1,048,576 events, 16,777,216 sockets.
    ///
    /// ```
    /// use bevy_ecs::world::World;
    /// use onbeat::Runtime;
    ///
    /// let mut world = World::new();
    /// let error = Runtime::builder(&mut world).queue_capacity(1 << 30).try_build().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "queue_capacity is 1073741824, and may be 16777215 at most"
    /// );
    /// ```
    #[track_caller]
    pub fn try_build(mut self) -> io::Result<Runtime<'w>> {
        self.check()?;
        self.name_fixed_steps();
        let machine = Granted::ask(self.wishes);
        let registration = Registration::new().map_err(|_| {
            io::Error::other("65,536 onbeat runtimes are live or leaked, and there are no more ids")
        })?;
        let reactor = Reactor::new(self.event_capacity, self.token_capacity)?;
        registration.inbox.open(reactor.unpark());
        if self.clock == ClockMode::Virtual {
            registration.inbox.watch_strangers();
        }
        let executor = Executor::new(
            registration,
            self.on_task_panic,
            self.pool()?,
            self.task_details,
            self.poll_hash,
        );
        let tasks = self.queue_capacity + self.slab.map_or(0, |slab| slab.slots);
        executor.reserve(tasks.min(TASKS_MAX)).map_err(|_| {
            io::Error::other("queue_capacity is beyond the 16,777,215 tasks of a runtime")
        })?;
        executor.flush_with(lend::flush);
        let core =
            OwnedCore::new(Core::new(executor, Clock::new(self.clock, self.utc_epoch), reactor));
        if self.signal_handlers {
            core.get().install_signal_handlers()?;
        }
        let frame = self.frame_loop(&core);
        Ok(Runtime {
            frame,
            core,
            pacing: self.pacing,
            idle: self.idle,
            machine,
            world: Some(self.world),
            given_out: Location::caller(),
        })
    }

    /// Refuses what could not be allocated before anything is.
    fn check(&self) -> io::Result<()> {
        let capacities = [
            ("queue_capacity", self.queue_capacity, TASKS_MAX),
            ("the number of the slab's slots", self.slab.map_or(0, |slab| slab.slots), TASKS_MAX),
            ("event_capacity", self.event_capacity, EVENTS_MAX),
            ("token_capacity", self.token_capacity, TOKENS_MAX),
        ];
        for (option, wanted, most) in capacities {
            if wanted > most {
                let message = format!("{option} is {wanted}, and may be {most} at most");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }

    /// The memory of tasks.
    fn pool(&self) -> io::Result<Pool> {
        let Some(options) = self.slab else {
            return Ok(Pool::new());
        };
        Pool::with_slab(options).map_err(|_| {
            let SlabOptions { size, slots, .. } = options;
            let message = format!("no memory for a slab of {slots} slots of {size} bytes");
            io::Error::new(io::ErrorKind::OutOfMemory, message)
        })
    }

    /// Puts the stages of fixed steps that are not among the others before them, and leaves each of those
    /// that are in one place: steps are due once.
    fn name_fixed_steps(&mut self) {
        for (label, _) in &self.fixed_steps {
            let mut named = false;
            self.stages.retain(|stage| stage != label || !std::mem::replace(&mut named, true));
        }
        let labels = self.fixed_steps.iter().map(|(label, _)| *label);
        let mut stages: Vec<_> = labels.filter(|label| !self.stages.contains(label)).collect();
        stages.append(&mut self.stages);
        self.stages = stages;
    }

    fn frame_loop(&mut self, core: &OwnedCore) -> FrameLoop {
        let steps_of = |label: &InternedScheduleLabel| {
            let found = self.fixed_steps.iter().find(|(other, _)| other == label);
            found.map(|(_, steps)| steps.clone())
        };
        let steps: Vec<_> = self.stages.iter().map(steps_of).collect();
        let world: &mut World = self.world.get_mut();
        // Another runtime's request is shared: a system does not know which of the two runs it.
        let request = match world.get_resource::<TickRequest>() {
            Some(request) => request.share(),
            None => {
                let request = TickRequest::new();
                world.insert_resource(request.share());
                request
            }
        };
        let before = Before { stats: world.remove_resource(), time: world.remove_resource() };
        world.insert_resource(TickStats(core.get().counters.clone()));
        let time = Arc::<Times>::default();
        world.insert_resource(TickTime::new(time.clone(), core.get()));
        change_ticks::observe(world);
        core.get().looks.set_stages(&self.stages, steps.iter().map(Option::is_some).collect());
        let agenda = core.get().executor.agenda();
        agenda.set(Items::TIMED, !self.fixed_steps.is_empty() || self.poll_hash);
        agenda.set(Items::POLLERS, !self.pollers.is_empty());
        FrameLoop {
            stages: Stages::new(&self.stages, self.startup, steps, world),
            end: EndOfTick::new(world, self.turns_messages_over),
            world: world.id(),
            before,
            awaited: Vec::new(),
            request,
            budgets: Budgets {
                tasks_per_cycle: self.tasks_per_cycle as u64,
                event_interval: self.event_interval,
                foreign_wakes: FOREIGN_WAKES,
                timers: TIMERS,
            },
            pacer: Pacer::ByHand,
            idle: Idle::Park,
            margin: Margin::default(),
            rehearses: false,
            rehearsed: false,
            pollers: std::mem::take(&mut self.pollers),
            timer_mark: 0,
            hashes: self.poll_hash,
            virtually: Virtually::new(self.progress_limit),
            time,
            looked: false,
            waited_ns: None,
            turns_unpolled: 0,
            polled_ns: None,
        }
    }
}

impl fmt::Debug for RuntimeBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("stages", &self.stages)
            .field("fixed_steps", &self.fixed_steps)
            .field("tasks_per_cycle", &self.tasks_per_cycle)
            .field("event_interval", &self.event_interval)
            .field("queue_capacity", &self.queue_capacity)
            .field("slab", &self.slab)
            .field("event_capacity", &self.event_capacity)
            .field("token_capacity", &self.token_capacity)
            .field("signal_handlers", &self.signal_handlers)
            .field("task_details", &self.task_details)
            .field("on_task_panic", &self.on_task_panic)
            .field("clock", &self.clock)
            .field("utc_epoch", &self.utc_epoch)
            .field("progress_limit", &self.progress_limit)
            .field("poll_hash", &self.poll_hash)
            .field("pacing", &self.pacing)
            .field("idle", &self.idle)
            .field("pollers", &self.pollers)
            .field("wishes", &self.wishes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        env,
        process::{Command, Stdio},
    };

    use super::*;

    /// Set in the process that the test starts.
    const CHILD: &str = "ONBEAT_BUILDER_CHILD";

    /// Takes every id, so it runs in a process of its own.
    #[test]
    fn more_runtimes_than_ids_are_an_error_and_ids_come_back() {
        if env::var_os(CHILD).is_some() {
            take_every_id();
            return;
        }
        let child = Command::new(env::current_exe().expect("a program knows where it is"))
            .args([
                "--exact",
                "runtime::builder::tests::more_runtimes_than_ids_are_an_error_and_ids_come_back",
            ])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .status();
        assert!(child.expect("it starts").success());
    }

    fn take_every_id() {
        let mut world = World::new();
        let mut runtime = Runtime::new(&mut world);
        let mut taken: Vec<_> = (1..65_536).map_while(|_| Registration::new().ok()).collect();
        let ids: HashSet<u16> = taken.iter().map(|registration| registration.id.0).collect();
        assert_eq!(ids.len(), 65_535, "each id is given out once");
        let mut second = World::new();
        let error = Runtime::builder(&mut second).try_build().expect_err("there is no id left");
        assert_eq!(
            error.to_string(),
            "65,536 onbeat runtimes are live or leaked, and there are no more ids"
        );
        assert_eq!(runtime.block_on(async { 7 }), 7, "those that live go on");
        let freed = taken.swap_remove(40_000).id;
        let mut reused = Runtime::builder(&mut second).try_build().expect("an id came back");
        assert_eq!(reused.core.get().executor.id(), freed);
        assert_eq!(reused.block_on(async { 8 }), 8);
        drop((runtime, reused));
        for _ in 0..1_000 {
            let mut world = World::new();
            Runtime::new(&mut world).block_on(async {});
        }
        assert!(Registration::new().is_ok());
    }
}
