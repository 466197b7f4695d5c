//! The mpsc channel on one thread: room, order, the line of those who wait, and both ways of closing.

#[path = "common/channel_model.rs"]
mod channel_model;
mod common;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use channel_model::{Model, Step, steps};
use common::{Count, block_on, panic_message};
use futures::StreamExt;
use onbeat::{
    channel::{
        SendError, TryRecvError, TrySendError,
        mpsc::{Receiver, Sender, Sending, channel},
    },
    spawn_boxed,
};
use proptest::prelude::*;

#[test]
fn a_channel_without_room_panics() {
    let message = panic_message(|| drop(channel::<u8>(0)));
    assert_eq!(message, "an mpsc channel needs room for at least one value");
}

#[test]
fn values_arrive_in_the_order_in_which_they_were_sent_whatever_the_capacity() {
    for capacity in [1, 2, 3, 5, 8, 100] {
        let (sender, mut receiver) = channel(capacity);
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
    let (sender, mut receiver) = channel(5);
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
fn places_that_are_freed_together_wake_as_many_senders() {
    let (sender, mut receiver) = channel(2);
    sender.try_send(0).unwrap();
    sender.try_send(1).unwrap();
    let count = Count::new();
    let mut sends: Vec<_> = (2..5).map(|value| sender.send(value)).collect();
    assert!(sends.iter_mut().all(|send| count.poll(send).is_pending()));
    assert_eq!(receiver.try_recv_many(&mut Vec::new(), 8), Ok(2));
    assert_eq!(count.wakes(), 2);
    assert_eq!(count.poll(&mut sends[0]), Poll::Ready(Ok(())));
    assert_eq!(count.poll(&mut sends[1]), Poll::Ready(Ok(())));
    assert!(count.poll(&mut sends[2]).is_pending());
}

#[test]
fn waiting_senders_are_served_in_order() {
    let (sender, mut receiver) = channel(1);
    sender.try_send(0).unwrap();
    let counts: Vec<_> = (0..3).map(|_| Count::new()).collect();
    let mut sends: Vec<_> = (1..4).map(|value| sender.send(value)).collect();
    for (count, send) in counts.iter().zip(&mut sends) {
        assert!(count.poll(send).is_pending());
    }
    for turn in 0..3 {
        assert_eq!(receiver.try_recv(), Ok(turn));
        let wakes: Vec<_> = counts.iter().map(|count| count.wakes()).collect();
        assert_eq!(wakes, [1, usize::from(turn > 0), usize::from(turn > 1)]);
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)), "nobody overtakes");
        assert_eq!(counts[turn].poll(&mut sends[turn]), Poll::Ready(Ok(())));
    }
    assert_eq!(receiver.try_recv(), Ok(3));
    assert_eq!(sender.try_send(4), Ok(()), "the line is empty again");
}

#[test]
fn a_send_dropped_after_it_was_chosen_passes_its_place_on() {
    let (sender, mut receiver) = channel(1);
    sender.try_send(1).unwrap();
    let (first, second) = (Count::new(), Count::new());
    let mut dropped = sender.send(2);
    let mut next = sender.send(3);
    assert!(first.poll(&mut dropped).is_pending());
    assert!(second.poll(&mut next).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(dropped);
    assert_eq!(second.wakes(), 1);
    assert_eq!(second.poll(&mut next), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(3));
    assert_eq!((first.kept(), second.kept()), (0, 0));
}

#[test]
fn a_forgotten_send_keeps_one_place_and_no_more() {
    let (sender, mut receiver) = channel(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let count = Count::new();
    let mut forgotten = sender.send(3);
    assert!(count.poll(&mut forgotten).is_pending());
    std::mem::forget(forgotten);
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(sender.try_send(4), Ok(()));
    assert_eq!(sender.try_send(5), Err(TrySendError::Full(5)));
}

#[test]
fn a_send_that_waits_is_woken_when_there_is_room() {
    let (sender, mut receiver) = channel(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let count = Count::new();
    let mut sending = sender.send(3);
    assert!(count.poll(&mut sending).is_pending());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut sending), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn a_wait_polled_with_another_waker_wakes_that_one() {
    let (sender, mut receiver) = channel(1);
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
fn a_dropped_wait_leaves_no_waker() {
    let (_sender, mut receiver) = channel::<u8>(1);
    let count = Count::new();
    let mut receiving = receiver.recv();
    assert!(count.poll(&mut receiving).is_pending());
    assert_eq!(count.kept(), 1);
    drop(receiving);
    assert_eq!(count.kept(), 0);
}

#[test]
fn the_last_sender_closes_and_any_sender_may() {
    let (sender, mut receiver) = channel(2);
    let clone = sender.clone();
    sender.try_send(1).unwrap();
    drop(sender);
    assert!(!receiver.is_closed());
    clone.try_send(2).unwrap();
    let last = clone.clone();
    clone.close();
    assert!(receiver.is_closed() && last.is_closed());
    assert_eq!(last.try_send(3), Err(TrySendError::Closed(3)));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
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
fn a_dropped_receiver_gives_waiting_senders_their_values_back() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let count = Count::new();
    let (mut second, mut third) = (sender.send(2), sender.send(3));
    assert!(count.poll(&mut second).is_pending());
    assert!(count.poll(&mut third).is_pending());
    drop(receiver);
    assert_eq!(count.wakes(), 2);
    assert_eq!(count.poll(&mut second), Poll::Ready(Err(SendError(2))));
    assert_eq!(count.poll(&mut third), Poll::Ready(Err(SendError(3))));
    assert_eq!(count.kept(), 0);
}

#[test]
fn every_value_that_nobody_received_is_dropped_once() {
    let value = Arc::new(());
    for drops_receiver_first in [false, true] {
        let (sender, mut receiver) = channel(3);
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
            assert_eq!(Arc::strong_count(&value), 1, "they do not wait for the last sender");
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
    let (sender, receiver) = channel(4);
    for panics in [false, true, false, false] {
        assert!(sender.try_send(Panics(drops.clone(), panics)).is_ok());
    }
    assert_eq!(panic_message(|| drop(receiver)), "from a destructor");
    assert_eq!(drops.load(Ordering::Relaxed), 4);
    assert!(sender.is_closed());
}

#[test]
fn a_channel_that_carries_its_own_sender_is_freed() {
    #[expect(dead_code, reason = "both are kept alive")]
    struct Carried(Sender<Carried>, Arc<()>);
    let value = Arc::new(());
    let (sender, receiver) = channel(2);
    assert!(sender.try_send(Carried(sender.clone(), value.clone())).is_ok());
    assert_eq!(Arc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_receiver_is_a_stream() {
    block_on(async {
        let (sender, receiver) = channel(2);
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
    fn sync<T: Sync>(_: &T) {}
    let (sender, mut receiver) = channel::<std::cell::Cell<u8>>(1);
    send(&sender);
    sync(&sender);
    send(&receiver);
    send(&sender.send(0.into()));
    send(&receiver.recv());
}

struct PendingSend<'a> {
    value: u32,
    count: Arc<Count>,
    future: Sending<'a, u32>,
}

fn check_against_model(capacity: usize, steps: Vec<Step>) {
    let (sender, mut receiver): (Sender<u32>, Receiver<u32>) = channel(capacity);
    let mut model = Model { capacity, ..Model::default() };
    let mut pending: Vec<PendingSend<'_>> = Vec::new();
    for (value, step) in (0..).zip(steps) {
        match step {
            Step::TrySend => assert_eq!(sender.try_send(value), model.try_send(value)),
            Step::TryRecv => assert_eq!(receiver.try_recv(), model.try_recv()),
            Step::Send => {
                let count = Count::new();
                let mut future = sender.send(value);
                let polled = count.poll(&mut future);
                assert_eq!(polled, model.poll(value));
                if polled.is_pending() {
                    pending.push(PendingSend { value, count, future });
                }
            }
            Step::Poll(at) if !pending.is_empty() => {
                let at = at % pending.len();
                let send = &mut pending[at];
                let polled = send.count.poll(&mut send.future);
                assert_eq!(polled, model.poll(send.value));
                if polled.is_ready() {
                    drop(pending.remove(at));
                }
            }
            Step::Drop(at) if !pending.is_empty() => {
                let send = pending.remove(at % pending.len());
                model.forget(send.value);
            }
            Step::Poll(_) | Step::Drop(_) => {}
            Step::Close => {
                receiver.close();
                model.closed = true;
            }
        }
        assert_eq!(receiver.len(), model.values.len());
        // Who can go on has been woken, and nobody else.
        for send in &pending {
            let can_go_on = model.closed || model.promised.contains(&send.value);
            assert_eq!(send.count.wakes(), usize::from(can_go_on));
        }
    }
    // What is pending goes on to its end when somebody receives.
    while !pending.is_empty() || !receiver.is_empty() {
        assert_eq!(receiver.try_recv(), model.try_recv());
        pending.retain_mut(|send| {
            let polled = Pin::new(&mut send.future);
            let polled = send.count.poll(&mut { polled });
            assert_eq!(polled, model.poll(send.value));
            polled.is_pending()
        });
    }
}

proptest! {
    #[test]
    fn the_channel_does_what_the_model_does(capacity in 1_usize..5, steps in steps()) {
        check_against_model(capacity, steps);
    }
}
