//! `race`, `join`, `try_join`: who is polled, who counts, and who is dropped when.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn, ready},
    mem::forget,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bevy_ecs::prelude::*;
use common::{Count, Drops, block_on, log, logged, panic_message};
use onbeat::{ClockMode, Runtime, WorldCtx, channel, join, race, sleep, try_join, yield_now};

/// Logs its polls and its drop, and is ready at the poll of number `ready_at`.
struct Logged<T> {
    name: &'static str,
    ready_at: usize,
    polls: usize,
    output: Option<T>,
}

fn logged_future<T>(name: &'static str, ready_at: usize, output: T) -> Logged<T> {
    Logged { name, ready_at, polls: 0, output: Some(output) }
}

impl<T> Unpin for Logged<T> {}

impl<T> Future for Logged<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        self.polls += 1;
        log(format!("poll {}", self.name));
        if self.polls < self.ready_at {
            return Poll::Pending;
        }
        Poll::Ready(self.output.take().expect("a child is not polled after its end"))
    }
}

impl<T> Drop for Logged<T> {
    fn drop(&mut self) {
        log(format!("drop {}", self.name));
    }
}

/// Panics when it is dropped.
struct PanicsInDrop(&'static str);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        log(format!("drop {}", self.0));
        panic!("{} in its destructor", self.0);
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The message of the panic with which a poll ends.
#[track_caller]
fn panic_of<F: Future + ?Sized>(future: Pin<&mut F>) -> String {
    panic_message(|| {
        let _ = poll(future);
    })
}

fn a<T>(ready_at: usize, output: T) -> Logged<T> {
    logged_future("a", ready_at, output)
}

fn b<T>(ready_at: usize, output: T) -> Logged<T> {
    logged_future("b", ready_at, output)
}

fn c<T>(ready_at: usize, output: T) -> Logged<T> {
    logged_future("c", ready_at, output)
}

const NEVER: usize = usize::MAX;

#[test]
fn a_race_of_ready_children_is_won_by_the_uppermost_and_the_lower_are_not_polled() {
    let raced = pin!(race((a(1, 'a'), b(1, 'b'), c(1, 'c'))));
    assert_eq!(poll(raced), Poll::Ready('a'));
    assert_eq!(logged(), ["poll a", "drop a", "drop b", "drop c"]);
}

#[test]
fn losers_are_dropped_at_once_and_in_order() {
    let mut raced = Box::pin(race((a(NEVER, 'a'), b(2, 'b'), c(NEVER, 'c'))));
    assert!(poll(raced.as_mut()).is_pending());
    assert_eq!(logged(), ["poll a", "poll b", "poll c"]);
    assert_eq!(poll(raced.as_mut()), Poll::Ready('b'));
    assert_eq!(logged(), ["poll a", "poll b", "drop a", "drop b", "drop c"]);
}

#[test]
fn a_race_of_boxed_children_is_as_one_of_a_tuple() {
    let expected = ["poll a", "poll b", "poll c", "poll a", "poll b", "drop a", "drop b", "drop c"];
    let check = |mut raced: Pin<Box<dyn Future<Output = char>>>| {
        assert!(poll(raced.as_mut()).is_pending());
        assert_eq!(poll(raced.as_mut()), Poll::Ready('b'));
        assert_eq!(logged(), expected);
    };
    check(Box::pin(race(vec![a(NEVER, 'a'), b(2, 'b'), c(NEVER, 'c')])));
    check(Box::pin(race([a(NEVER, 'a'), b(2, 'b'), c(NEVER, 'c')])));
}

#[test]
fn a_join_keeps_each_output_and_polls_nothing_twice_after_its_end() {
    let mut joined = Box::pin(join((a(2, 'a'), b(1, 2), c(3, "c"))));
    assert!(poll(joined.as_mut()).is_pending());
    assert_eq!(logged(), ["poll a", "poll b", "drop b", "poll c"]);
    assert!(poll(joined.as_mut()).is_pending());
    assert_eq!(logged(), ["poll a", "drop a", "poll c"]);
    assert_eq!(poll(joined.as_mut()), Poll::Ready(('a', 2, "c")));
    assert_eq!(logged(), ["poll c", "drop c"]);
}

#[test]
fn a_join_of_boxed_children_is_polled_as_one_of_a_tuple() {
    let check = |mut joined: Pin<Box<dyn Future<Output = String>>>| {
        assert!(poll(joined.as_mut()).is_pending());
        assert_eq!(logged(), ["poll a", "poll b", "drop b", "poll c"]);
        assert!(poll(joined.as_mut()).is_pending());
        assert_eq!(logged(), ["poll a", "poll c", "drop c"]);
        assert_eq!(poll(joined.as_mut()), Poll::Ready("abc".to_owned()));
        assert_eq!(logged(), ["poll a", "drop a"]);
    };
    let children = || [a(3, 'a'), b(1, 'b'), c(2, 'c')];
    check(Box::pin(async move { String::from_iter(join(children()).await) }));
    check(Box::pin(async move { String::from_iter(join(Vec::from(children())).await) }));
    let children = || [a(3, Ok::<_, ()>('a')), b(1, Ok('b')), c(2, Ok('c'))];
    check(Box::pin(async move { String::from_iter(try_join(children()).await.unwrap()) }));
}

#[test]
fn the_first_error_of_boxed_children_drops_the_others() {
    let children = vec![a(9, Ok('a')), b(1, Err("b")), c(1, Ok('c'))];
    let mut joined = Box::pin(try_join(children));
    assert_eq!(poll(joined.as_mut()), Poll::Ready(Err("b")));
    assert_eq!(logged(), ["poll a", "poll b", "drop a", "drop b", "drop c"]);
}

#[test]
fn a_join_of_boxed_children_gives_outputs_in_their_shape() {
    let joined = pin!(join(vec![ready(1), ready(2)]));
    assert_eq!(poll(joined), Poll::Ready(vec![1, 2]));
    let joined = pin!(join([ready(1), ready(2), ready(3)]));
    assert_eq!(poll(joined), Poll::Ready([1, 2, 3]));
    let joined = pin!(join(Vec::<std::future::Ready<u8>>::new()));
    assert_eq!(poll(joined), Poll::Ready(Vec::new()));
}

#[test]
fn tuples_of_one_and_of_twelve_are_joined_and_raced() {
    assert_eq!(poll(pin!(join((ready(1),)))), Poll::Ready((1,)));
    assert_eq!(poll(pin!(race((ready(1),)))), Poll::Ready(1));
    let f = ready::<u8>;
    let twelve = (f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), f(8), f(9), f(10), f(11));
    let Poll::Ready(outputs) = poll(pin!(join(twelve))) else { panic!("all are ready") };
    assert_eq!((outputs.0, outputs.11), (0, 11));
}

#[test]
fn the_first_error_ends_a_try_join_and_drops_the_others() {
    let joined = try_join((a(1, Ok::<_, &str>('a')), b(2, Err::<u8, _>("b")), c(NEVER, Ok(()))));
    let mut joined = Box::pin(joined);
    assert!(poll(joined.as_mut()).is_pending());
    logged();
    assert_eq!(poll(joined.as_mut()), Poll::Ready(Err("b")));
    assert_eq!(logged(), ["poll b", "drop b", "drop c"]);
}

#[test]
fn of_two_that_fail_at_once_the_upper_error_is_given_and_the_lower_child_is_not_polled() {
    let joined = pin!(try_join((a(1, Err::<(), _>("a")), b(1, Err::<(), _>("b")))));
    assert_eq!(poll(joined), Poll::Ready(Err("a")));
    assert_eq!(logged(), ["poll a", "drop a", "drop b"]);
}

#[test]
fn a_try_join_without_an_error_gives_all_values() {
    let joined = pin!(try_join((ready(Ok::<_, ()>(1)), ready(Ok("two")))));
    assert_eq!(poll(joined), Poll::Ready(Ok((1, "two"))));
    let joined = pin!(try_join(vec![ready(Ok::<_, ()>(1)), ready(Ok(2))]));
    assert_eq!(poll(joined), Poll::Ready(Ok(vec![1, 2])));
    let joined = pin!(try_join([ready(Ok(1)), ready(Err("two"))]));
    assert_eq!(poll(joined), Poll::Ready(Err("two")));
}

#[test]
fn values_of_a_failed_try_join_are_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    let value = Drops::counted_by(&drops);
    let joined = pin!(try_join((ready(Ok(value)), ready(Err::<(), _>("no")))));
    assert!(matches!(poll(joined), Poll::Ready(Err("no"))));
    assert_eq!(drops.get(), 1);
}

/// Polls `make()` so many times, drops it, and expects the drops of its children and outputs.
#[track_caller]
fn dropped_after<F: Future>(polls: usize, make: impl FnOnce(&Rc<Cell<usize>>) -> F) -> usize {
    let drops = Rc::new(Cell::new(0));
    {
        let mut future = Box::pin(make(&drops));
        for _ in 0..polls {
            assert!(poll(future.as_mut()).is_pending());
        }
    }
    assert_eq!(Rc::strong_count(&drops), 1, "nothing is left");
    drops.get()
}

async fn after<T>(polls: usize, output: T) -> T {
    for _ in 0..polls {
        let mut polled = false;
        poll_fn(
            |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
    }
    output
}

#[test]
fn each_child_and_output_is_dropped_once_wherever_the_whole_is_dropped() {
    for polls in 0..4 {
        let make = |drops: &Rc<Cell<usize>>| {
            let child = |after_polls| after(after_polls, Drops::counted_by(drops));
            (child(1), child(9), child(2))
        };
        assert_eq!(dropped_after(polls, |drops| join(make(drops))), 3);
        assert_eq!(dropped_after(polls.min(1), |drops| race(make(drops))), 3);
        let make = |drops: &Rc<Cell<usize>>| {
            [1, 9, 2].map(|n| after(n, Ok::<_, ()>(Drops::counted_by(drops))))
        };
        assert_eq!(dropped_after(polls, |drops| try_join(make(drops))), 3);
        assert_eq!(dropped_after(polls, |drops| join(Vec::from(make(drops)))), 3);
    }
}

#[test]
fn a_panic_leaves_when_the_others_are_dropped() {
    let panics = async { panic!("out of cheese") };
    let mut raced = Box::pin(race((a(NEVER, ()), panics, c(NEVER, ()))));
    let message = panic_of(raced.as_mut());
    assert_eq!(message, "out of cheese");
    assert_eq!(logged(), ["poll a", "drop a", "drop c"], "before anything else drops the race");
    let again = panic_of(raced.as_mut());
    assert_eq!(again, "race() is polled again after it has ended");
}

#[test]
fn a_panic_in_a_join_drops_outputs_too() {
    let drops = Rc::new(Cell::new(0));
    let done = ready(Drops::counted_by(&drops));
    let mut joined = Box::pin(join((done, async { panic!("out of cheese") }, a(NEVER, ()))));
    assert_eq!(panic_of(joined.as_mut()), "out of cheese");
    assert_eq!(drops.get(), 1);
    assert_eq!(logged(), ["drop a"]);
}

#[test]
fn destructors_that_panic_do_not_keep_others_from_being_dropped() {
    let bad = |name| {
        let bomb = PanicsInDrop(name);
        async move {
            pending::<()>().await;
            drop(bomb);
        }
    };
    let mut raced = Box::pin(race((bad("one"), bad("two"), a(1, ()))));
    let message = panic_of(raced.as_mut());
    assert_eq!(message, "one in its destructor");
    assert_eq!(logged(), ["poll a", "drop one", "drop two", "drop a"]);
}

#[test]
fn the_panic_of_a_child_goes_before_those_of_destructors() {
    let bomb = PanicsInDrop("bomb");
    let bad = async move {
        pending::<()>().await;
        drop(bomb);
    };
    let mut joined = Box::pin(join((bad, async { panic!("out of cheese") })));
    assert_eq!(panic_of(joined.as_mut()), "out of cheese");
}

#[test]
fn polling_after_the_end_panics_by_name() {
    let mut raced = Box::pin(race((ready(1), ready(2))));
    let mut joined = Box::pin(join((ready(1), ready(2))));
    let mut tried = Box::pin(try_join([1, 2].map(|n| ready(Ok::<_, ()>(n)))));
    assert!(poll(raced.as_mut()).is_ready());
    assert!(poll(joined.as_mut()).is_ready());
    assert!(poll(tried.as_mut()).is_ready());
    let again = " is polled again after it has ended";
    assert_eq!(panic_of(raced.as_mut()), format!("race(){again}"));
    assert_eq!(panic_of(joined.as_mut()), format!("join(){again}"));
    assert_eq!(panic_of(tried.as_mut()), format!("try_join(){again}"));
}

#[test]
fn a_race_of_nobody_is_refused() {
    let message = panic_message(|| drop(race(Vec::<std::future::Ready<()>>::new())));
    assert!(message.starts_with("race() needs at least one future"), "{message}");
}

#[test]
fn a_leaked_race_keeps_its_children_and_does_nothing_else() {
    let drops = Rc::new(Cell::new(0));
    let count = Count::new();
    let (sender, receiver) = futures::channel::oneshot::channel::<()>();
    let held = Drops::counted_by(&drops);
    let child = async move {
        let _held = held;
        let _ = receiver.await;
    };
    let mut raced = Box::pin(race((child, pending())));
    assert!(count.poll(&mut raced).is_pending());
    forget(raced);
    sender.send(()).unwrap();
    assert_eq!((count.wakes(), drops.get()), (1, 0));
}

#[test]
fn children_borrow_from_around_them() {
    let log = RefCell::new(Vec::new());
    block_on(async {
        let child = async |name| {
            for _ in 0..2 {
                log.borrow_mut().push(name);
                yield_now().await;
            }
        };
        join((child("a"), child("b"))).await;
    });
    assert_eq!(log.into_inner(), ["a", "b", "a", "b"]);
}

#[test]
fn children_use_the_world() {
    #[derive(Resource)]
    struct Total(u32);
    let mut world = World::new();
    world.insert_resource(Total(0));
    let mut rt = Runtime::builder(&mut world).clock(ClockMode::Virtual).build();
    let add = async |seconds| {
        sleep(Duration::from_secs(seconds)).await;
        WorldCtx::current().with_world(|world| {
            let mut total = world.resource_mut::<Total>();
            total.0 = total.0 * 10 + seconds as u32;
            total.0
        })
    };
    let (joined, raced) = rt.block_on(async {
        let joined = join((add(2), add(1))).await;
        (joined, race((add(5), add(4))).await)
    });
    assert_eq!((joined, raced), ((12, 1), 124));
}

#[test]
fn a_race_is_send_where_its_children_are() {
    fn check<T: Send>(_: &T) {}
    check(&race((ready(1), ready(2))));
    check(&join(vec![ready(1)]));
    check(&try_join([ready(Ok::<_, ()>(1))]));
}

#[test]
fn children_are_woken_from_other_threads_under_any_executor() {
    let talk = || async {
        let (one, other) = (channel::mpsc::channel(1), channel::mpsc::channel(1));
        let threads = [one.0, other.0].map(|sender| {
            thread::spawn(move || {
                for number in 0..200 {
                    futures::executor::block_on(sender.send(number)).unwrap();
                }
            })
        });
        let sum = |mut receiver: channel::mpsc::Receiver<u64>| async move {
            let mut sum = 0;
            while let Some(number) = receiver.recv().await {
                sum += number;
            }
            sum
        };
        assert_eq!(join((sum(one.1), sum(other.1))).await, (19_900, 19_900));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    };
    let _guard = common::watchdog(common::LIMIT_SECONDS);
    futures::executor::block_on(talk());
    block_on(talk());
}

#[test]
fn a_caught_panic_leaves_an_outer_join_as_it_was() {
    let count = Count::new();
    let waker = Waker::from(Arc::clone(&count));
    let mut inner = Box::pin(join((async { panic!("inner") }, ready(()))));
    let contained = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx)));
        Poll::Ready(polled.is_err())
    });
    let outer = pin!(join((contained, ready(7))));
    assert_eq!(outer.poll(&mut Context::from_waker(&waker)), Poll::Ready((true, 7)));
}
