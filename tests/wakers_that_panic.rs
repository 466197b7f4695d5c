//! Wakers that panic where a panic is the last thing wanted: in destructors, and while a thread unwinds.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    sync::Arc,
    task::{Context, Wake, Waker},
};

use bevy_ecs::world::World;
use common::panic_message;
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

            #[test]
            fn a_channel_beyond_all_memory_is_refused_by_name() {
                let message = panic_message(|| drop(channel::<()>(usize::MAX)));
                assert!(message.contains("4294967296 at most"), "{message}");
            }
        }
    )*};
}

for_each_channel! {
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
