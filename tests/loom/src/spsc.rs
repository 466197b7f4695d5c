//! One sends and one receives, each on a thread of its own.

use std::task::Poll;

use loom::thread;

use crate::{
    channel::{
        SendError, TryRecvError,
        spsc::{
            protocol::{
                Consumer, Producer, close_by_receiver, close_by_sender, drop_rest, open, poll_recv,
                poll_send, receiver_leaves, sender_leaves, try_recv, try_recv_many, try_send,
            },
            ring,
        },
    },
    support::{check, poll_once, wait},
};

fn send(producer: &mut Producer<u32>, value: u32) -> Result<(), SendError<u32>> {
    let (mut value, mut waits) = (Some(value), false);
    wait(|cx| poll_send(producer, &mut value, &mut waits, cx))
}

fn recv(consumer: &mut Consumer<u32>) -> Option<u32> {
    let mut waits = false;
    wait(|cx| poll_recv(consumer, &mut waits, cx, ring::Consumer::pop))
}

/// All that comes until the channel is closed.
fn recv_all(consumer: &mut Consumer<u32>) -> Vec<u32> {
    std::iter::from_fn(|| recv(consumer)).collect()
}

/// Through `capacity` places, while either end waits for the other.
fn all_arrive(capacity: usize, values: u32) {
    check(2, move || {
        let (mut producer, mut consumer) = open(capacity);
        let sending = thread::spawn(move || {
            for value in 0..values {
                send(&mut producer, value).unwrap();
            }
            close_by_sender(&producer);
        });
        assert_eq!(recv_all(&mut consumer), (0..values).collect::<Vec<_>>());
        sending.join().unwrap();
    });
}

#[test]
fn a_value_wakes_who_waits_for_it_and_its_place_wakes_who_waits_for_that() {
    all_arrive(1, 3);
}

#[test]
fn two_places_are_enough_for_who_caches_where_the_other_is() {
    all_arrive(2, 4);
}

#[test]
fn the_end_wakes_who_waits_for_a_value() {
    check(3, || {
        let (producer, mut consumer) = open::<u32>(1);
        let closing = thread::spawn(move || close_by_sender(&producer));
        assert_eq!(recv(&mut consumer), None);
        closing.join().unwrap();
    });
}

#[test]
fn what_was_sent_before_the_receiver_closed_is_received_and_nothing_after() {
    check(3, || {
        let (mut producer, mut consumer) = open(2);
        let sending = thread::spawn(move || {
            let first = try_send(&mut producer, 0).is_ok();
            let second = try_send(&mut producer, 1).is_ok();
            assert!(first || !second, "closing lasts");
            u32::from(first) + u32::from(second)
        });
        close_by_receiver(&consumer);
        let mut received = 0;
        while let Ok(value) = try_recv(&mut consumer) {
            assert_eq!(value, received);
            received += 1;
        }
        assert_eq!(try_recv(&mut consumer), Err(TryRecvError::Disconnected));
        assert_eq!(sending.join().unwrap(), received);
        assert_eq!(try_recv(&mut consumer), Err(TryRecvError::Disconnected), "and it is the end");
    });
}

#[test]
fn a_receiver_that_goes_gives_a_waiting_sender_its_value_back() {
    check(3, || {
        let (mut producer, mut consumer) = open(1);
        try_send(&mut producer, 0).unwrap();
        let sending = thread::spawn(move || send(&mut producer, 1));
        close_by_receiver(&consumer);
        drop_rest(&mut consumer);
        drop(consumer);
        assert!(matches!(sending.join().unwrap(), Err(SendError(1))));
    });
}

#[test]
fn who_gives_up_waiting_waits_again_as_well_as_ever() {
    check(3, || {
        let (mut producer, mut consumer) = open(1);
        try_send(&mut producer, 0).unwrap();
        let sending = thread::spawn(move || {
            let (mut value, mut waits) = (Some(1), false);
            if poll_once(|cx| poll_send(&mut producer, &mut value, &mut waits, cx)).is_pending() {
                sender_leaves(&producer);
                send(&mut producer, 1).unwrap();
            }
        });
        let mut received = vec![];
        if let Poll::Ready(value) =
            poll_once(|cx| poll_recv(&mut consumer, &mut false, cx, ring::Consumer::pop))
        {
            received.extend(value);
        } else {
            receiver_leaves(&consumer);
        }
        while received.len() < 2 {
            received.extend(recv(&mut consumer));
        }
        assert_eq!(received, [0, 1]);
        sending.join().unwrap();
    });
}

#[test]
fn places_that_are_freed_together_wake_the_sender() {
    check(3, || {
        let (mut producer, mut consumer) = open(2);
        try_send(&mut producer, 0).unwrap();
        try_send(&mut producer, 1).unwrap();
        let sending = thread::spawn(move || send(&mut producer, 2).unwrap());
        let mut received = vec![];
        assert_eq!(try_recv_many(&mut consumer, &mut received, 2), Ok(2));
        received.extend(recv(&mut consumer));
        assert_eq!(received, [0, 1, 2]);
        sending.join().unwrap();
    });
}

#[test]
fn a_receive_that_is_given_up_leaves_the_waker_of_who_polls_by_hand() {
    check(3, || {
        let (mut producer, mut consumer) = open(1);
        let sending = thread::spawn(move || try_send(&mut producer, 7).unwrap());
        let received = wait(|cx| {
            let by_hand = poll_recv(&mut consumer, &mut false, cx, ring::Consumer::pop);
            if by_hand.is_ready() {
                return by_hand;
            }
            let mut waits = false;
            let polled = poll_recv(&mut consumer, &mut waits, cx, ring::Consumer::pop);
            if waits {
                receiver_leaves(&consumer);
            }
            polled
        });
        assert_eq!(received, Some(7));
        sending.join().unwrap();
    });
}
