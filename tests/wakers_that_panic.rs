//! Wakers that panic where a panic is the last thing wanted: in destructors, and while a thread unwinds.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bevy_ecs::world::World;
use common::panic_message;
use futures::executor::block_on;
use onbeat::{Runtime, WorldCtx, channel};

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

fn panicking_waker() -> Waker {
    Waker::from(Arc::new(Panics))
}

macro_rules! for_each_channel {
    ($($module:ident;)*) => {$(
        mod $module {
            use super::*;
            use channel::$module::channel;

            #[test]
            fn a_sender_dropped_while_the_thread_unwinds_does_not_end_the_process() {
                let (sender, mut receiver) = channel::<u8>(1);
                let waker = panicking_waker();
                assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _sender = sender;
                    panic_any("the first panic");
                }));
                assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"the first panic"));
            }

            #[test]
            fn a_receiver_drops_what_is_left_also_when_a_senders_waker_panics() {
                #[allow(unused_mut, reason = "some channels are sent to through `&`")]
                let (mut sender, receiver) = channel(1);
                let value = Arc::new(());
                sender.try_send(value.clone()).unwrap();
                let waker = panicking_waker();
                let mut sending = Box::pin(sender.send(value.clone()));
                assert!(sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                catch_unwind(AssertUnwindSafe(|| drop(receiver))).unwrap_err();
                assert_eq!(Arc::strong_count(&value), 2, "ours, and that of the send that waits");
            }

            /// A channel of one place that is taken, with a sender behind it whose waker panics.
            macro_rules! full {
                ($receive:expr) => {{
                    #[allow(unused_mut, reason = "some channels are used through `&`")]
                    let (mut sender, mut receiver) = channel(1);
                    let value = Arc::new(());
                    sender.try_send(value.clone()).unwrap();
                    let waker = panicking_waker();
                    let mut sending = Box::pin(sender.send(value.clone()));
                    assert!(sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                    let received = $receive(&mut receiver);
                    assert_eq!(Arc::strong_count(&value), 3, "nothing is dropped on the way");
                    let polled = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert_eq!(polled, Poll::Ready(Ok(())), "the place is free all the same");
                    received
                }};
            }

            #[test]
            fn a_value_that_is_received_is_not_lost_when_a_senders_waker_panics() {
                full!(|receiver: &mut channel::$module::Receiver<_>| receiver.try_recv()).unwrap();
                full!(|receiver: &mut channel::$module::Receiver<_>| block_on(receiver.recv()))
                    .unwrap();
                full!(|receiver: &mut channel::$module::Receiver<_>| {
                    let mut values = Vec::new();
                    assert_eq!(receiver.try_recv_many(&mut values, 8), Ok(1));
                    values
                });
                full!(|receiver: &mut channel::$module::Receiver<_>| {
                    let mut values = Vec::new();
                    assert_eq!(block_on(receiver.recv_many(&mut values, 8)), 1);
                    values
                });
            }

            #[test]
            fn values_whose_destructors_panic_are_all_dropped_and_the_first_panic_goes_on() {
                struct Bomb(usize, Arc<AtomicUsize>);
                impl Drop for Bomb {
                    fn drop(&mut self) {
                        self.1.fetch_add(1, Ordering::Relaxed);
                        panic_any(self.0);
                    }
                }
                let drops = Arc::new(AtomicUsize::new(0));
                #[allow(unused_mut, reason = "some channels are used through `&`")]
                let (mut sender, receiver) = channel(4);
                for number in 0..3 {
                    assert!(sender.try_send(Bomb(number, drops.clone())).is_ok());
                }
                let panicked = catch_unwind(AssertUnwindSafe(|| drop(receiver)));
                assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&0_usize));
                assert_eq!(drops.load(Ordering::Relaxed), 3);
            }

            #[test]
            fn a_channel_beyond_all_memory_is_refused_by_name() {
                let message = panic_message(|| drop(channel::<()>(usize::MAX)));
                assert!(message.contains("4294967296 at most"), "{message}");
            }
        }
    )*};
}

macro_rules! a_send_that_is_given_up_behind_a_waker_that_panics {
    ($($module:ident, $test:ident;)*) => {$(
        #[test]
        fn $test() {
            #[allow(unused_mut, reason = "some channels are used through `&`")]
            let (sender, mut receiver) = channel::$module::channel(1);
            sender.try_send(1).unwrap();
            let (mut first, mut second) = (Box::pin(sender.send(2)), Box::pin(sender.send(3)));
            let panics = panicking_waker();
            let waits = first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
                && second.as_mut().poll(&mut Context::from_waker(&panics)).is_pending();
            assert!(waits);
            assert_eq!(receiver.try_recv(), Ok(1));
            // The first has the place, and passes it on.
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _first = first;
                panic_any("the first panic");
            }));
            assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"the first panic"));
            assert_eq!(block_on(second), Ok(()));
        }
    )*};
}

a_send_that_is_given_up_behind_a_waker_that_panics! {
    local, a_local_send_that_is_given_up_while_the_thread_unwinds_does_not_end_the_process;
    mpsc, an_mpsc_send_that_is_given_up_while_the_thread_unwinds_does_not_end_the_process;
}

for_each_channel! {
    local;
    mpsc;
    spsc;
}

#[test]
fn the_first_of_two_panics_leaves_block_on_and_none_is_left_behind() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("a payload that panics when it is dropped");
            }
        }
    }
    let mut world = World::new();
    let mut rt = Runtime::new(&mut world);
    let left = catch_unwind(AssertUnwindSafe(|| {
        rt.block_on(async {
            WorldCtx::current()
                .with_world(|world| world.commands().queue(|_: &mut World| panic!("the second")));
            panic_any(Bomb);
        });
    }));
    let first = left.unwrap_err();
    assert!(first.is::<Bomb>(), "the panic of the root future leaves");
    std::mem::forget(first);
    assert_eq!(rt.tick(), Ok(()), "and no other one afterwards");
}
