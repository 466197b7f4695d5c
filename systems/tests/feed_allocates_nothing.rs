//! Decoding and booking do not touch the heap once they have seen as much as they see again.

mod counting;

use bevy_ecs::message::Messages;
use bevy_ecs::schedule::{Schedule, SingleThreadedExecutor};
use bevy_ecs::world::World;
use counting::allocations;
use onbeat_systems::book::OrderBook;
use onbeat_systems::feed::{
    BboChanged, BookEvent, FeedEvent, FeedInbox, InstrumentIndex, apply_feed, install,
};
use onbeat_systems::instrument::Locate;
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::wire::OrderRef;
use onbeat_systems::wire::itch::Frames;

const FEED: &[u8] = include_bytes!("../../examples/data/aapl-20190130.itch");

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_book_of_constant_size_allocates_nothing() {
    let mut book = OrderBook::with_capacity(1_000, 200);
    let turn = |book: &mut OrderBook, n: u64| {
        let side = if n.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        let price = Price::from_ticks((n * 7 % 200) as i64);
        let added = book.add(OrderRef(n), side, price, Qty::new(100));
        assert_eq!(added.error, None);
        if let Some(old) = n.checked_sub(1_000) {
            assert_eq!(book.delete(OrderRef(old)).error, None);
        }
    };
    (0..1_000).for_each(|n| turn(&mut book, n));
    let room = book.capacity();
    assert_eq!(allocations(|| (1_000..100_000).for_each(|n| turn(&mut book, n))), 0);
    assert_eq!(book.capacity(), room);
}

#[test]
fn decoding_and_booking_the_file_allocates_nothing_in_a_book_with_room() {
    let mut book = OrderBook::with_capacity(10_000, 1_000);
    let count = allocations(|| {
        for frame in Frames::new(FEED) {
            let _ = book.apply(&frame.unwrap().decode().unwrap());
        }
    });
    assert_eq!((count, book.order_count() > 0), (0, true));
}

#[test]
fn the_feed_system_allocates_nothing_once_its_buffers_have_grown() {
    let mut world = World::new();
    install(&mut world);
    let entity = world.spawn(OrderBook::default()).id();
    world.resource_mut::<InstrumentIndex>().insert(Locate::new(14), entity);
    let mut schedule = Schedule::default();
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.add_systems(apply_feed);
    let mut replay = || {
        world.get_mut::<OrderBook>(entity).unwrap().clear();
        for frame in Frames::new(FEED) {
            let frame = frame.unwrap();
            let (index, message) = (frame.index, frame.decode().unwrap());
            world.resource_mut::<FeedInbox>().push(FeedEvent { index, message, stamp_ns: 0 });
            if index % 32 == 31 {
                schedule.run(&mut world);
                world.resource_mut::<Messages<BookEvent>>().update();
                world.resource_mut::<Messages<BboChanged>>().update();
                world.clear_trackers();
            }
        }
    };
    // A message type has two buffers that take turns: each sees the whole file once.
    replay();
    replay();
    assert_eq!(allocations(replay), 0);
}
