//! How many messages of the bundled file are decoded, and booked, in a second.

use std::hint::black_box;

use bevy_ecs::message::Messages;
use bevy_ecs::schedule::{Schedule, SingleThreadedExecutor};
use bevy_ecs::world::World;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onbeat_systems::book::OrderBook;
use onbeat_systems::feed::{
    BboChanged, BookEvent, FeedEvent, FeedInbox, InstrumentIndex, apply_feed, install,
};
use onbeat_systems::instrument::Locate;
use onbeat_systems::wire::itch::{Frames, Message};

const FEED: &[u8] = include_bytes!("../../examples/data/aapl-20190130.itch");
const AAPL: Locate = Locate::new(14);
/// Events that one run of the system finds in its inbox.
const BATCH: usize = 64;

fn messages() -> impl Iterator<Item = (u64, Message)> {
    Frames::new(FEED).map(|frame| {
        let frame = frame.expect("the bundled file is well framed");
        (frame.index, frame.decode().expect("the bundled file is ITCH 5.0"))
    })
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("book");
    group.throughput(Throughput::Elements(messages().count() as u64));
    group.bench_function("decode", |b| {
        b.iter(|| {
            for message in messages() {
                black_box(message);
            }
        });
    });
    group.bench_function("decode_and_book", |b| {
        let mut book = OrderBook::default();
        b.iter(|| {
            book.clear();
            for (_, message) in messages() {
                let _ = black_box(book.apply(&message));
                black_box(book.bbo());
            }
        });
    });
    group.finish();
}

fn feed(c: &mut Criterion) {
    let mut world = World::new();
    install(&mut world);
    let entity = world.spawn(OrderBook::default()).id();
    world.resource_mut::<InstrumentIndex>().insert(AAPL, entity);
    let mut schedule = Schedule::default();
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.add_systems(apply_feed);

    let mut group = c.benchmark_group("book");
    group.throughput(Throughput::Elements(messages().count() as u64));
    group.bench_function("decode_and_apply_feed_64", |b| {
        b.iter(|| {
            world.get_mut::<OrderBook>(entity).expect("the entity has a book").clear();
            let mut rest = messages().peekable();
            while rest.peek().is_some() {
                let mut inbox = world.resource_mut::<FeedInbox>();
                for (index, message) in rest.by_ref().take(BATCH) {
                    inbox.push(FeedEvent { index, message, stamp_ns: index });
                }
                schedule.run(&mut world);
                world.resource_mut::<Messages<BookEvent>>().update();
                world.resource_mut::<Messages<BboChanged>>().update();
                world.clear_trackers();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode, feed);
criterion_main!(benches);
