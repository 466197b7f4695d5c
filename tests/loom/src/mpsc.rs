//! Two send and one receives, each on a thread of its own.

use std::task::Poll;

use loom::thread;

use crate::{
    channel::{
        SendError, TryRecvError,
        mpsc::{
            protocol::{
                Consumer, Producer, add_sender, close_by_receiver, drop_rest, give_up, open,
                poll_recv, poll_send, remove_sender, stop_waiting, try_recv, try_send,
            },
            queue,
        },
    },
    support::{check, poll_once, wait},
};

/// A sender that leaves the channel when it is dropped, as the library's does.
struct Sender(Producer<u32>);

impl Drop for Sender {
    fn drop(&mut self) {
        // A model that fails unwinds outside of loom's execution, where its atomics may not be touched.
        if !std::thread::panicking() {
            remove_sender(&self.0);
        }
    }
}

impl Sender {
    fn another(&self) -> Self {
        Self(add_sender(&self.0))
    }

    fn send(&self, value: u32) -> Result<(), SendError<u32>> {
        let (mut ticket, mut value) = (None, Some(value));
        wait(|cx| poll_send(&self.0, &mut ticket, &mut value, cx))
    }
}

fn channel(capacity: usize) -> (Sender, Consumer<u32>) {
    let (producer, consumer) = open(capacity);
    (Sender(producer), consumer)
}

fn recv(consumer: &mut Consumer<u32>) -> Option<u32> {
    let mut waits = false;
    wait(|cx| poll_recv(consumer, &mut waits, cx, queue::Consumer::pop))
}

/// All that comes until the channel is closed, in order.
fn recv_all(consumer: &mut Consumer<u32>) -> Vec<u32> {
    let mut received: Vec<_> = std::iter::from_fn(|| recv(consumer)).collect();
    received.sort_unstable();
    received
}

#[test]
fn a_value_wakes_who_waits_for_it_and_its_place_wakes_who_waits_for_that() {
    check(2, || {
        let (sender, mut consumer) = channel(1);
        let sending = thread::spawn(move || (0..3).for_each(|value| sender.send(value).unwrap()));
        assert_eq!(recv_all(&mut consumer), [0, 1, 2]);
        sending.join().unwrap();
    });
}

#[test]
fn the_values_of_two_threads_arrive_through_one_place() {
    check(2, || {
        let (sender, mut consumer) = channel(1);
        let other = sender.another();
        let sending = [
            thread::spawn(move || sender.send(0).unwrap()),
            thread::spawn(move || other.send(1).unwrap()),
        ];
        assert_eq!(recv_all(&mut consumer), [0, 1]);
        sending.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn the_values_of_two_threads_arrive_through_two_places() {
    check(2, || {
        let (sender, mut consumer) = channel(2);
        let other = sender.another();
        let sending = [
            thread::spawn(move || sender.send(0).unwrap()),
            thread::spawn(move || other.send(1).unwrap()),
        ];
        assert_eq!(recv_all(&mut consumer), [0, 1]);
        sending.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn two_that_wait_both_get_the_place_one_after_the_other() {
    check(1, || {
        let (sender, mut consumer) = channel(1);
        try_send(&sender.0, 9).unwrap();
        let other = sender.another();
        let sending = [
            thread::spawn(move || sender.send(0).unwrap()),
            thread::spawn(move || other.send(1).unwrap()),
        ];
        assert_eq!(recv_all(&mut consumer), [0, 1, 9]);
        sending.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_send_that_is_given_up_while_it_is_chosen_passes_its_place_on() {
    check(2, || {
        let (sender, mut consumer) = channel(1);
        try_send(&sender.0, 9).unwrap();
        let (mut ticket, mut value) = (None, Some(0));
        let waits = poll_once(|cx| poll_send(&sender.0, &mut ticket, &mut value, cx));
        assert!(waits.is_pending());
        let other = sender.another();
        let giving_up = thread::spawn(move || give_up(&sender.0, ticket.unwrap()));
        let sending = thread::spawn(move || other.send(1).unwrap());
        assert_eq!([recv(&mut consumer), recv(&mut consumer)], [Some(9), Some(1)]);
        giving_up.join().unwrap();
        sending.join().unwrap();
    });
}

#[test]
fn what_was_sent_before_the_receiver_closed_is_received_and_nothing_after() {
    check(2, || {
        let (sender, mut consumer) = channel(2);
        let other = sender.another();
        let sending = [(sender, 0), (other, 1)].map(|(sender, value)| {
            thread::spawn(move || u32::from(try_send(&sender.0, value).is_ok()))
        });
        close_by_receiver(&consumer);
        let received = recv_all(&mut consumer).len() as u32;
        let sent: u32 = sending.map(|thread| thread.join().unwrap()).into_iter().sum();
        assert_eq!(sent, received);
        assert_eq!(try_recv(&mut consumer), Err(TryRecvError::Disconnected), "and it is the end");
    });
}

#[test]
fn a_receiver_that_goes_gives_waiting_senders_their_values_back() {
    check(2, || {
        let (sender, mut consumer) = channel(1);
        try_send(&sender.0, 9).unwrap();
        let other = sender.another();
        let sending = [(sender, 0), (other, 1)]
            .map(|(sender, value)| thread::spawn(move || sender.send(value).is_err()));
        close_by_receiver(&consumer);
        drop_rest(&mut consumer);
        drop(consumer);
        assert_eq!(sending.map(|thread| thread.join().unwrap()), [true, true]);
    });
}

#[test]
fn the_last_sender_that_goes_wakes_who_waits_for_a_value() {
    check(3, || {
        let (sender, mut consumer) = channel(1);
        let other = sender.another();
        let going = [thread::spawn(move || drop(sender)), thread::spawn(move || drop(other))];
        assert_eq!(recv(&mut consumer), None);
        going.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_receiver_that_gives_up_waiting_waits_again_as_well_as_ever() {
    check(3, || {
        let (sender, mut consumer) = channel(1);
        let sending = thread::spawn(move || sender.send(0).unwrap());
        let polled = poll_once(|cx| poll_recv(&mut consumer, &mut false, cx, queue::Consumer::pop));
        if let Poll::Ready(value) = polled {
            assert_eq!(value, Some(0));
        } else {
            stop_waiting(&consumer);
            assert_eq!(recv(&mut consumer), Some(0));
        }
        sending.join().unwrap();
    });
}

#[test]
fn a_receive_that_is_given_up_leaves_the_waker_of_who_polls_by_hand() {
    check(3, || {
        let (sender, mut consumer) = channel(1);
        let sending = thread::spawn(move || sender.send(7).unwrap());
        let received = wait(|cx| {
            let by_hand = poll_recv(&mut consumer, &mut false, cx, queue::Consumer::pop);
            if by_hand.is_ready() {
                return by_hand;
            }
            let mut waits = false;
            let polled = poll_recv(&mut consumer, &mut waits, cx, queue::Consumer::pop);
            if waits {
                stop_waiting(&consumer);
            }
            polled
        });
        assert_eq!(received, Some(7));
        sending.join().unwrap();
    });
}
