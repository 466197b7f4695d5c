//! What a collector of traces sees: a span for each task and each tick.

mod common;

use std::{
    fmt::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bevy_ecs::world::World;
use common::{LIMIT_SECONDS, watchdog};
use onbeat::{OnTaskPanic, Runtime, named, spawn, yield_now};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Writes down what happens to spans.
#[derive(Clone, Default)]
struct Collector {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

impl Collector {
    fn add(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    /// The lines of the span whose first line has `text`.
    fn of(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let new = lines.iter().find(|line| line.contains(text)).expect("there is such a span");
        let id = new.split(' ').next().unwrap().to_owned() + " ";
        lines.iter().filter_map(|line| line.strip_prefix(&id)).map(str::to_owned).collect()
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "onbeat"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = Fields(format!("{id} {}", span.metadata().name()));
        span.record(&mut fields);
        self.add(fields.0);
        Id::from_u64(id)
    }

    fn enter(&self, span: &Id) {
        self.add(format!("{} enter", span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        self.add(format!("{} exit", span.into_u64()));
    }

    fn try_close(&self, span: Id) -> bool {
        self.add(format!("{} close", span.into_u64()));
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}
}

/// Panics where it is told to.
struct Panics(&'static str);

impl Panics {
    fn at(&self, place: &str) {
        assert!(self.0 != place, "a collector that panics");
    }
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "onbeat" && metadata.name() == "task"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.at("new_span");
        Id::from_u64(1)
    }

    fn enter(&self, _: &Id) {
        self.at("enter");
    }

    fn exit(&self, _: &Id) {
        self.at("exit");
    }

    fn try_close(&self, _: Id) -> bool {
        self.at("close");
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}
}

/// Runs `f` on a runtime, and gives what was seen of it.
fn collected(f: impl AsyncFnOnce(&Collector)) -> Collector {
    let _guard = watchdog(LIMIT_SECONDS);
    let collector = Collector::default();
    tracing::subscriber::with_default(collector.clone(), || {
        let mut world = World::new();
        Runtime::new(&mut world).block_on(f(&collector));
    });
    collector
}

#[test]
fn a_tasks_span_is_entered_for_each_poll_and_closed_at_its_end() {
    let collector = collected(async |_| {
        let task = named("feed").spawn(async {
            yield_now().await;
            yield_now().await;
        });
        task.await;
        spawn(async {}).await;
    });
    let lines = collector.of("name=\"feed\"");
    assert!(lines[0].contains("spawned_at=") && lines[0].contains("spans.rs"), "{}", lines[0]);
    let polls = ["enter", "exit"].repeat(3);
    assert_eq!(lines[1..lines.len() - 1], polls);
    assert_eq!(lines.last().unwrap(), "close");
}

#[test]
fn a_task_that_panics_or_is_aborted_closes_its_span_too() {
    collected(async |collector| {
        let failing = named("failing").spawn(async { panic!("out of cheese") });
        let _: Result<(), _> = failing.join().await;
        let parked = named("parked").spawn(std::future::pending::<()>());
        yield_now().await;
        parked.abort();
        yield_now().await;
        for name in ["name=\"failing\"", "name=\"parked\""] {
            assert_eq!(collector.of(name)[1..], ["enter", "exit", "close"], "{name}");
        }
    });
}

#[test]
fn the_root_futures_span_is_closed_when_the_panic_of_a_task_leaves_block_on() {
    let _guard = watchdog(LIMIT_SECONDS);
    let collector = Collector::default();
    tracing::subscriber::with_default(collector.clone(), || {
        let mut world = World::new();
        let mut rt = Runtime::builder(&mut world).on_task_panic(OnTaskPanic::Propagate).build();
        let left = catch_unwind(AssertUnwindSafe(|| {
            rt.block_on(async {
                drop(named("failing").spawn(async { panic!("out of cheese") }));
                std::future::pending::<()>().await;
            });
        }));
        assert!(left.is_err());
        let root = collector.of("the_root_futures_span_is_closed");
        assert_eq!(root[1..], ["enter", "exit", "close"]);
    });
}

#[test]
fn each_tick_is_a_span_around_the_polls_in_it() {
    let collector = collected(async |_| yield_now().await);
    for number in [1, 2] {
        let lines = collector.of(&format!("tick number={number}"));
        assert_eq!(lines[1..], ["enter", "exit", "close"]);
    }
}

#[test]
fn a_collector_that_panics_keeps_no_task_from_its_polls() {
    for place in ["new_span", "enter", "exit", "close"] {
        let _guard = watchdog(LIMIT_SECONDS);
        tracing::subscriber::with_default(Panics(place), || {
            let mut world = World::new();
            let mut rt = Runtime::new(&mut world);
            let sum = rt.block_on(async {
                let failing = spawn(async { panic!("out of cheese") });
                let three = spawn(async {
                    yield_now().await;
                    3
                });
                let failed: Result<(), _> = failing.join().await;
                assert_eq!(failed.unwrap_err().panic_message(), Some("out of cheese"));
                three.await + 4
            });
            assert_eq!(sum, 7, "{place}");
            assert_eq!(rt.stats().task_panics, 1, "{place}");
            assert!(rt.stats().forgotten_payloads >= 3, "{place}");
        });
    }
}
