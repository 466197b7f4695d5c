//! The spsc channel on one thread: room, order, waiting on either end, and both ways of closing.

mod common;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use common::{Count, block_on, panic_message};
use futures::StreamExt;
use onbeat::{
    channel::{SendError, TryRecvError, TrySendError, spsc::channel},
    spawn_boxed,
};
use proptest::prelude::*;

#[test]
fn a_channel_without_room_panics() {
    let message = panic_message(|| drop(channel::<u8>(0)));
    assert_eq!(message, "an spsc channel needs room for at least one value");
}

#[test]
fn values_arrive_in_the_order_in_which_they_were_sent_whatever_the_capacity() {
    for capacity in [1, 2, 3, 5, 8, 100] {
        let (mut sender, mut receiver) = channel(capacity);
        assert_eq!((sender.capacity(), receiver.capacity()), (capacity, capacity));
        for round in 0..10 {
            for value in 0..capacity {
                assert_eq!(sender.try_send((round, value)), Ok(()));
            }
            assert_eq!(sender.try_send((99, 99)), Err(TrySendError::Full((99, 99))));
            assert_eq!((sender.len(), receiver.len()), (capacity, capacity));
            for value in 0..capacity {
                assert_eq!(receiver.try_recv(), Ok((round, value)));
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    }
}

#[test]
fn many_are_received_up_to_the_number_that_was_asked_for() {
    let (mut sender, mut receiver) = channel(5);
    let mut values = vec![9];
    assert_eq!(receiver.try_recv_many(&mut values, 3), Err(TryRecvError::Empty));
    assert_eq!(receiver.try_recv_many(&mut values, 0), Ok(0));
    for value in 0..5 {
        sender.try_send(value).unwrap();
    }
    assert_eq!(receiver.try_recv_many(&mut values, 3), Ok(3));
    assert_eq!(receiver.try_recv_many(&mut values, usize::MAX), Ok(2));
    assert_eq!(values, [9, 0, 1, 2, 3, 4]);
    drop(sender);
    assert_eq!(receiver.try_recv_many(&mut values, 3), Err(TryRecvError::Disconnected));
    assert_eq!(futures::executor::block_on(receiver.recv_many(&mut values, 3)), 0);
}

#[test]
fn a_send_that_waits_is_woken_when_there_is_room() {
    let (mut sender, mut receiver) = channel(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let count = Count::new();
    let mut sending = sender.send(3);
    assert!(count.poll(&mut sending).is_pending());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut sending), Poll::Ready(Ok(())));
    drop(sending);
    assert_eq!(count.kept(), 0);
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn a_wait_polled_with_another_waker_wakes_that_one() {
    let (mut sender, mut receiver) = channel(1);
    let (first, second) = (Count::new(), Count::new());
    let mut receiving = receiver.recv();
    assert!(first.poll(&mut receiving).is_pending());
    assert!(second.poll(&mut receiving).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    drop(receiving);
    let mut sending = sender.send(2);
    assert!(first.poll(&mut sending).is_pending());
    assert!(second.poll(&mut sending).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!((first.wakes(), second.wakes()), (0, 2));
    assert_eq!((first.kept(), second.kept()), (0, 0));
}

#[test]
fn a_send_that_is_dropped_has_sent_nothing_and_leaves_no_waker() {
    let (mut sender, mut receiver) = channel(1);
    sender.try_send(1).unwrap();
    let count = Count::new();
    let mut dropped = sender.send(2);
    assert!(count.poll(&mut dropped).is_pending());
    assert_eq!(count.kept(), 1);
    drop(dropped);
    assert_eq!(count.kept(), 0);
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(sender.try_send(3), Ok(()));
}

#[test]
fn forgotten_waits_take_nothing_from_the_next_ones() {
    let (mut sender, mut receiver) = channel(1);
    let (old, new) = (Count::new(), Count::new());
    let mut receiving = receiver.recv();
    assert!(old.poll(&mut receiving).is_pending());
    std::mem::forget(receiving);
    let mut receiving = receiver.recv();
    assert!(new.poll(&mut receiving).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!(new.poll(&mut receiving), Poll::Ready(Some(1)));
    drop(receiving);
    sender.try_send(2).unwrap();
    let mut sending = sender.send(3);
    assert!(old.poll(&mut sending).is_pending());
    std::mem::forget(sending);
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(sender.try_send(4), Ok(()));
    assert_eq!(receiver.try_recv(), Ok(4));
}

#[test]
fn either_end_closes_and_what_was_sent_is_received() {
    for by_sender in [false, true] {
        let (mut sender, mut receiver) = channel(3);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        if by_sender {
            sender.close();
        } else {
            receiver.close();
        }
        assert!(sender.is_closed() && receiver.is_closed());
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    }
}

#[test]
fn a_full_channel_that_is_closed_says_closed() {
    let (mut sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    receiver.close();
    assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
}

#[test]
fn a_waiting_receiver_learns_of_the_end() {
    let (sender, mut receiver) = channel::<u8>(1);
    let count = Count::new();
    let mut receiving = receiver.recv();
    assert!(count.poll(&mut receiving).is_pending());
    drop(sender);
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut receiving), Poll::Ready(None));
}

#[test]
fn a_dropped_receiver_gives_a_waiting_sender_its_value_back() {
    let (mut sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let count = Count::new();
    let mut second = sender.send(2);
    assert!(count.poll(&mut second).is_pending());
    drop(receiver);
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut second), Poll::Ready(Err(SendError(2))));
}

#[test]
fn every_value_that_nobody_received_is_dropped_once() {
    let value = Arc::new(());
    for drops_receiver_first in [false, true] {
        let (mut sender, mut receiver) = channel(3);
        for _ in 0..5 {
            sender.try_send(value.clone()).unwrap();
            receiver.try_recv().unwrap();
        }
        for _ in 0..3 {
            sender.try_send(value.clone()).unwrap();
        }
        assert_eq!(Arc::strong_count(&value), 4);
        if drops_receiver_first {
            drop(receiver);
            assert_eq!(Arc::strong_count(&value), 1, "they do not wait for the sender");
            assert!(sender.try_send(value.clone()).unwrap_err().is_closed());
        } else {
            drop(sender);
            drop(receiver);
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

#[test]
fn a_value_whose_destructor_panics_does_not_keep_the_others() {
    struct Panics(Arc<AtomicUsize>, bool);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(!self.1, "from a destructor");
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let (mut sender, receiver) = channel(4);
    for panics in [false, true, false, false] {
        assert!(sender.try_send(Panics(drops.clone(), panics)).is_ok());
    }
    assert_eq!(panic_message(|| drop(receiver)), "from a destructor");
    assert_eq!(drops.load(Ordering::Relaxed), 4);
    assert!(sender.is_closed());
}

#[test]
fn a_receiver_is_a_stream() {
    block_on(async {
        let (mut sender, receiver) = channel(2);
        let sending = spawn_boxed(async move {
            for value in 0..100 {
                sender.send(value).await.unwrap();
            }
        });
        let received: Vec<_> = receiver.collect().await;
        assert_eq!(received, (0..100).collect::<Vec<_>>());
        sending.await;
    });
}

#[test]
fn ends_and_futures_go_to_other_threads_and_values_need_not_be_shared() {
    fn send<T: Send>(_: &T) {}
    let (mut sender, mut receiver) = channel::<std::cell::Cell<u8>>(1);
    send(&sender);
    send(&receiver);
    send(&sender.send(0.into()));
    send(&receiver.recv());
}

#[derive(Clone, Debug)]
enum Step {
    TrySend,
    /// A `send` that is polled once and dropped if it waits.
    Send,
    TryRecv,
    /// A `recv` that is polled once and dropped if it waits.
    Recv,
    Many(usize),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::TrySend),
        4 => Just(Step::Send),
        4 => Just(Step::TryRecv),
        4 => Just(Step::Recv),
        2 => (0_usize..6).prop_map(Step::Many),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn the_channel_does_what_a_deque_does(capacity in 1_usize..7, steps in steps()) {
        let (mut sender, mut receiver) = channel(capacity);
        let mut model = VecDeque::new();
        let mut closed = false;
        let count = Count::new();
        for (value, step) in (0_u32..).zip(steps) {
            let has_room = model.len() < capacity;
            let none = if closed { TryRecvError::Disconnected } else { TryRecvError::Empty };
            match step {
                Step::TrySend if closed => {
                    assert_eq!(sender.try_send(value), Err(TrySendError::Closed(value)));
                }
                Step::TrySend if has_room => {
                    assert_eq!(sender.try_send(value), Ok(()));
                    model.push_back(value);
                }
                Step::TrySend => assert_eq!(sender.try_send(value), Err(TrySendError::Full(value))),
                Step::Send => {
                    let expected = match (closed, has_room) {
                        (true, _) => Poll::Ready(Err(SendError(value))),
                        (false, true) => Poll::Ready(Ok(())),
                        (false, false) => Poll::Pending,
                    };
                    assert_eq!(count.poll(&mut sender.send(value)), expected);
                    if expected == Poll::Ready(Ok(())) {
                        model.push_back(value);
                    }
                }
                Step::TryRecv => assert_eq!(receiver.try_recv(), model.pop_front().ok_or(none)),
                Step::Recv => {
                    let expected = match model.pop_front() {
                        None if !closed => Poll::Pending,
                        value => Poll::Ready(value),
                    };
                    assert_eq!(count.poll(&mut receiver.recv()), expected);
                }
                Step::Many(max) => {
                    let mut values = Vec::new();
                    let received = receiver.try_recv_many(&mut values, max);
                    let expected: Vec<_> = model.drain(..max.min(model.len())).collect();
                    let is_none = expected.is_empty() && max > 0;
                    assert_eq!(received, if is_none { Err(none) } else { Ok(expected.len()) });
                    assert_eq!(values, expected);
                }
                Step::Close => {
                    receiver.close();
                    closed = true;
                }
            }
            assert_eq!((sender.len(), receiver.len()), (model.len(), model.len()));
        }
        assert_eq!((count.wakes(), count.kept()), (0, 0));
    }
}
