//! The local channel: order, room, waiting on either end, and closing from either end.

#[path = "common/channel_model.rs"]
mod channel_model;
mod common;

use std::{cell::RefCell, pin::Pin, rc::Rc, sync::Arc, task::Poll};

use bevy_ecs::prelude::*;
use channel_model::{Model, Step, steps};
use common::{Count, LIMIT_SECONDS, block_on, watchdog};
use futures::StreamExt;
use onbeat::{
    Runtime, Tick,
    channel::{
        SendError, TryRecvError, TrySendError,
        local::{Receiver, Sender, Sending, channel},
    },
    spawn_boxed, yield_now,
};
use proptest::prelude::*;

#[test]
fn values_arrive_in_the_order_in_which_they_were_sent() {
    let (sender, receiver) = channel(3);
    for round in 0..10 {
        for value in 0..3 {
            sender.try_send(round * 3 + value).unwrap();
        }
        for value in 0..3 {
            assert_eq!(receiver.try_recv(), Ok(round * 3 + value));
        }
    }
}

#[test]
#[should_panic(expected = "room for at least one value")]
fn a_channel_without_room_panics() {
    let _ = channel::<u8>(0);
}

#[test]
fn the_capacity_is_what_was_asked_for() {
    let (sender, receiver) = channel(3);
    assert_eq!((sender.capacity(), receiver.capacity()), (3, 3));
    for value in 0..3 {
        sender.try_send(value).unwrap();
    }
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!((sender.len(), receiver.len()), (3, 3));
}

#[test]
fn an_empty_channel_is_empty_until_it_is_closed() {
    let (sender, receiver) = channel::<u8>(1);
    assert!(receiver.is_empty());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn what_was_sent_is_received_after_the_last_sender_has_gone() {
    let (sender, receiver) = channel(2);
    let clone = sender.clone();
    sender.try_send(1).unwrap();
    drop(sender);
    assert!(!receiver.is_closed());
    clone.try_send(2).unwrap();
    drop(clone);
    assert!(receiver.is_closed());
    let received: Vec<_> = futures::executor::block_on(receiver.collect());
    assert_eq!(received, [1, 2]);
}

#[test]
fn a_receiver_that_closes_still_receives_what_was_sent() {
    let (sender, receiver) = channel(2);
    sender.try_send(1).unwrap();
    receiver.close();
    assert!(sender.is_closed());
    assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
}

#[test]
fn a_sender_closes_for_all_senders() {
    let (sender, receiver) = channel::<u8>(1);
    let clone = sender.clone();
    let count = Count::new();
    let mut receiving = receiver.recv();
    assert!(count.poll(&mut receiving).is_pending());
    sender.close();
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut receiving), Poll::Ready(None));
    assert!(clone.is_closed());
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
fn a_dropped_receiver_drops_what_was_sent() {
    let value = Rc::new(());
    let (sender, receiver) = channel(4);
    for _ in 0..3 {
        sender.try_send(value.clone()).unwrap();
    }
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_channel_that_carries_its_own_sender_is_freed() {
    struct Carried {
        _sender: Sender<Carried>,
        _value: Rc<()>,
    }
    let value = Rc::new(());
    let (sender, receiver) = channel(2);
    let carried = Carried { _sender: sender.clone(), _value: value.clone() };
    assert!(sender.try_send(carried).is_ok());
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_waiting_receiver_is_woken_by_a_value_and_by_the_end() {
    let (sender, receiver) = channel(1);
    let count = Count::new();
    let mut receiving = receiver.recv();
    assert!(count.poll(&mut receiving).is_pending());
    sender.try_send(7).unwrap();
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut receiving), Poll::Ready(Some(7)));
    let mut receiving = receiver.recv();
    assert!(count.poll(&mut receiving).is_pending());
    drop(sender);
    assert_eq!(count.wakes(), 2);
    assert_eq!(count.poll(&mut receiving), Poll::Ready(None));
}

#[test]
fn waiting_senders_are_served_in_order() {
    let (sender, receiver) = channel(1);
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
        assert_eq!(counts[turn].poll(&mut sends[turn]), Poll::Ready(Ok(())));
    }
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn nobody_overtakes_a_sender_that_was_promised_a_place() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let count = Count::new();
    let mut waiting = sender.send(2);
    assert!(count.poll(&mut waiting).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    let mut later = sender.send(4);
    assert!(count.poll(&mut later).is_pending());
    assert_eq!(count.poll(&mut waiting), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(count.poll(&mut later), Poll::Ready(Ok(())));
}

#[test]
fn a_sender_dropped_before_it_takes_its_place_passes_it_on() {
    let (sender, receiver) = channel(1);
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
}

#[test]
fn a_place_that_nobody_takes_is_free_again() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let count = Count::new();
    let mut dropped = sender.send(2);
    assert!(count.poll(&mut dropped).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    drop(dropped);
    assert_eq!(sender.try_send(3), Ok(()));
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
}

#[test]
fn a_waiting_sender_that_is_dropped_leaves_the_line() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let (first, second) = (Count::new(), Count::new());
    let mut dropped = sender.send(2);
    let mut next = sender.send(3);
    assert!(first.poll(&mut dropped).is_pending());
    assert!(second.poll(&mut next).is_pending());
    drop(dropped);
    assert_eq!((first.kept(), first.wakes()), (0, 0));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(second.poll(&mut next), Poll::Ready(Ok(())));
}

#[test]
fn a_send_that_is_dropped_has_sent_nothing() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let count = Count::new();
    let mut dropped = sender.send(2);
    assert!(count.poll(&mut dropped).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    drop(dropped);
    drop(sender.send(3));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_send_that_waits_is_woken_when_there_is_room() {
    let (sender, receiver) = channel(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let count = Count::new();
    let mut sending = sender.send(3);
    assert!(count.poll(&mut sending).is_pending());
    // The channel is drained to the last value before the sender is polled again.
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(count.wakes(), 1);
    assert_eq!(count.poll(&mut sending), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn a_wait_polled_with_another_waker_wakes_that_one() {
    let (sender, receiver) = channel(1);
    let (first, second) = (Count::new(), Count::new());
    let mut receiving = receiver.recv();
    assert!(first.poll(&mut receiving).is_pending());
    assert!(second.poll(&mut receiving).is_pending());
    sender.try_send(1).unwrap();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    let mut sending = sender.send(2);
    assert!(first.poll(&mut sending).is_pending());
    assert!(second.poll(&mut sending).is_pending());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!((first.wakes(), second.wakes()), (0, 2));
    assert_eq!((first.kept(), second.kept()), (0, 0));
}

#[test]
fn two_waits_on_one_receiver_both_get_a_value() {
    block_on(async {
        let (sender, receiver) = channel(4);
        let receiver = Rc::new(receiver);
        let tasks = [(); 2].map(|()| {
            let receiver = receiver.clone();
            spawn_boxed(async move { receiver.recv().await })
        });
        yield_now().await;
        for value in [1, 2] {
            sender.send(value).await.unwrap();
            yield_now().await;
        }
        let mut received = Vec::new();
        for task in tasks {
            received.push(task.await.unwrap());
        }
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
    });
}

#[test]
fn of_three_waits_on_one_receiver_any_may_leave_and_the_others_are_woken() {
    for leaves in 0..3 {
        let (sender, receiver) = channel(3);
        let counts = [(); 3].map(|()| Count::new());
        let mut waits: Vec<_> = counts.iter().map(|_| Some(receiver.recv())).collect();
        // Polled twice: a wait has one place, however often it is polled.
        for _ in 0..2 {
            for (wait, count) in waits.iter_mut().zip(&counts) {
                assert!(count.poll(wait.as_mut().unwrap()).is_pending());
            }
        }
        waits[leaves] = None;
        sender.try_send(7).unwrap();
        sender.try_send(8).unwrap();
        for (index, count) in counts.iter().enumerate() {
            let woken = usize::from(index != leaves);
            assert_eq!((count.wakes(), count.kept()), (woken, 0), "wait {index}, {leaves} left");
        }
    }
}

#[test]
fn a_dropped_wait_leaves_no_waker() {
    let (sender, mut receiver) = channel::<u8>(1);
    let count = Count::new();
    for _ in 0..100 {
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
    }
    assert_eq!(count.kept(), 0);
    let mut next = receiver.next();
    assert!(count.poll(&mut next).is_pending());
    assert!(count.poll(&mut next).is_pending());
    assert_eq!(count.kept(), 1);
    sender.try_send(1).unwrap();
    assert_eq!((count.kept(), count.wakes()), (0, 1));
}

#[test]
fn two_tasks_pass_a_value_back_and_forth() {
    block_on(async {
        let (there, from_here) = channel(1);
        let (back, from_there) = channel(1);
        let other = spawn_boxed(async move {
            while let Some(value) = from_here.recv().await {
                back.send(value + 1).await.unwrap();
            }
        });
        let mut value = 0;
        for _ in 0..1_000 {
            there.send(value).await.unwrap();
            value = from_there.recv().await.unwrap();
        }
        assert_eq!(value, 1_000);
        drop(there);
        other.await;
    });
}

#[test]
fn a_full_channel_slows_its_senders_and_loses_nothing() {
    block_on(async {
        let (sender, receiver) = channel(2);
        for first in 0..5 {
            let sender = sender.clone();
            drop(spawn_boxed(async move {
                for value in 0..100 {
                    sender.send(first * 100 + value).await.unwrap();
                }
            }));
        }
        drop(sender);
        let mut last = [None; 5];
        let mut received = 0;
        while let Some(value) = receiver.recv().await {
            let last: &mut Option<usize> = &mut last[value / 100];
            assert!(last.is_none_or(|last| last < value));
            *last = Some(value);
            received += 1;
        }
        assert_eq!(received, 500);
    });
}

#[test]
fn a_system_hands_work_to_a_task() {
    struct Outbox(Sender<u32>);
    let _guard = watchdog(LIMIT_SECONDS);
    let mut world = World::new();
    let (sender, receiver) = channel(16);
    world.insert_non_send(Outbox(sender));
    let mut rt = Runtime::new(&mut world);
    rt.schedule(Tick).add_systems(|outbox: NonSend<Outbox>, mut count: Local<u32>| {
        *count += 1;
        // A full outbox is the risk that this system takes.
        let _ = outbox.0.try_send(*count);
    });
    let sum = rt.block_on_busy(async {
        let mut sum = 0;
        for _ in 0..10 {
            sum += receiver.recv().await.unwrap();
        }
        sum
    });
    assert_eq!(sum, (1..=10).sum());
}

#[test]
fn a_value_that_uses_the_channel_when_it_is_dropped_finds_it_whole() {
    struct Uses(Rc<RefCell<Option<Sender<Uses>>>>);
    impl Drop for Uses {
        fn drop(&mut self) {
            if let Some(sender) = self.0.take() {
                assert!(sender.is_closed());
                assert!(sender.try_send(Uses(Rc::default())).is_err());
            }
        }
    }
    let (sender, receiver) = channel(1);
    let inside = Rc::new(RefCell::new(None));
    assert!(sender.try_send(Uses(inside.clone())).is_ok());
    inside.replace(Some(sender));
    drop(receiver);
    assert!(inside.borrow().is_none());
}

#[test]
fn errors_say_what_to_do() {
    fn check(error: &dyn std::error::Error, says: &str) {
        assert!(error.to_string().contains(says), "{error}");
    }
    struct NotDebug;
    check(&SendError(NotDebug), "closed");
    check(&TrySendError::Full(NotDebug), "await `send`");
    check(&TrySendError::Closed(NotDebug), "closed");
    check(&TryRecvError::Empty, "await `recv`");
    check(&TryRecvError::Disconnected, "nothing will come");
    assert!(matches!(TrySendError::Full(NotDebug).into_inner(), NotDebug));
    assert!(TrySendError::Full(()).is_full() && TrySendError::from(SendError(())).is_closed());
}

struct PendingSend<'a> {
    value: u32,
    count: Arc<Count>,
    future: Sending<'a, u32>,
}

fn check_against_model(capacity: usize, steps: Vec<Step>) {
    let (sender, receiver): (Sender<u32>, Receiver<u32>) = channel(capacity);
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
