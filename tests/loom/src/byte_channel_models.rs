//! The byte channels. loom is told of every unit of the ring that is read or written, so a model fails
//! where one end reaches a unit that the other has not handed over; and a wake that is lost leaves a
//! thread asleep, which is a deadlock.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{sync::Notify, thread};

use crate::byte_channel::{
    TryRecvError,
    bytes::{ClaimError, Receiver, SendEnd, TryClaimError, many, single},
};
use crate::support::check;

struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls `future` to its end; sleeps in between until its waker is woken.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let bell = Arc::new(Bell(Notify::new()));
    let waker = Waker::from(bell.clone());
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.0.wait(),
        }
    }
}

/// Sends `len` bytes of value `byte`, when there is room.
fn send(sender: &mut SendEnd, byte: u8, len: usize) -> Result<(), ClaimError> {
    let mut claim = block_on(sender.claim(len))?;
    claim.fill(byte);
    claim.commit();
    Ok(())
}

/// Waits for the next message: its bytes, all alike, and its length.
fn recv(receiver: &mut Receiver) -> Option<(u8, usize)> {
    let message = block_on(receiver.recv())?;
    let first = message.first().copied().unwrap_or(0);
    assert!(message.iter().all(|&byte| byte == first), "a message is whole");
    Some((first, message.len()))
}

/// Moves both cursors on by `units`.
fn advance(sender: &mut SendEnd, receiver: &mut Receiver, units: usize) {
    for _ in 0..units {
        send(sender, 9, 1).unwrap();
        assert_eq!(recv(receiver), Some((9, 1)));
    }
}

#[test]
fn a_receiver_never_sleeps_on_a_commit_nor_on_the_end() {
    for make in [single, many] {
        check(3, move || {
            let (mut sender, mut receiver) = make(32);
            let sending = thread::spawn(move || send(&mut sender, 1, 3).unwrap());
            assert_eq!(recv(&mut receiver), Some((1, 3)));
            assert_eq!(recv(&mut receiver), None);
            sending.join().unwrap();
        });
    }
}

#[test]
fn a_sender_never_sleeps_on_room() {
    for make in [single, many] {
        check(3, move || {
            let (mut sender, mut receiver) = make(32);
            send(&mut sender, 1, 16).unwrap();
            send(&mut sender, 2, 16).unwrap();
            let sending = thread::spawn(move || send(&mut sender, 3, 16).unwrap());
            for byte in 1..4 {
                assert_eq!(recv(&mut receiver), Some((byte, 16)));
            }
            sending.join().unwrap();
        });
    }
}

#[test]
fn a_run_behind_the_end_of_the_ring_is_reached_over_what_is_skipped() {
    for make in [single, many] {
        check(2, move || {
            let (mut sender, mut receiver) = make(64);
            advance(&mut sender, &mut receiver, 3);
            let sending = thread::spawn(move || {
                send(&mut sender, 1, 32).unwrap();
                send(&mut sender, 2, 32).unwrap();
            });
            assert_eq!(recv(&mut receiver), Some((1, 32)));
            assert_eq!(recv(&mut receiver), Some((2, 32)));
            sending.join().unwrap();
        });
    }
}

#[test]
fn room_that_only_what_is_skipped_holds_wakes_the_sender() {
    check(2, || {
        let (mut sender, mut receiver) = many(32);
        drop(sender.try_claim(16).unwrap());
        drop(sender.try_claim(16).unwrap());
        let sending = thread::spawn(move || send(&mut sender, 1, 16).unwrap());
        assert_eq!(recv(&mut receiver), Some((1, 16)));
        sending.join().unwrap();
    });
}

#[test]
fn a_batch_is_whole_and_wakes_the_sender_that_waits_for_its_room() {
    for make in [single, many] {
        check(2, move || {
            let (mut sender, mut receiver) = make(32);
            let sending = thread::spawn(move || {
                for byte in 1..4 {
                    send(&mut sender, byte, 16).unwrap();
                }
            });
            let mut received = Vec::new();
            while let Some(batch) = block_on(receiver.recv_many(2)) {
                assert!((1..=2).contains(&batch.len()));
                for message in &batch {
                    assert!(message.iter().all(|byte| *byte == message[0]), "a message is whole");
                    received.push((message[0], message.len()));
                }
            }
            assert_eq!(received, [(1, 16), (2, 16), (3, 16)]);
            sending.join().unwrap();
        });
    }
}

#[test]
fn a_sender_that_waits_never_sleeps_on_the_end() {
    for make in [single, many] {
        check(3, move || {
            let (mut sender, receiver) = make(32);
            send(&mut sender, 1, 16).unwrap();
            send(&mut sender, 2, 16).unwrap();
            let sending = thread::spawn(move || send(&mut sender, 3, 16));
            drop(receiver);
            assert_eq!(sending.join().unwrap(), Err(ClaimError::Closed));
        });
    }
}

#[test]
fn a_claim_is_made_again_while_the_other_end_reads() {
    for make in [single, many] {
        check(2, move || {
            let (mut sender, mut receiver) = make(64);
            let sending = thread::spawn(move || {
                let mut claim = sender.try_claim(16).unwrap();
                claim.fill(7);
                std::mem::forget(claim);
                send(&mut sender, 1, 16).unwrap();
                drop(sender.try_claim(16));
                send(&mut sender, 2, 16).unwrap();
            });
            assert_eq!(recv(&mut receiver), Some((1, 16)));
            assert_eq!(recv(&mut receiver), Some((2, 16)));
            sending.join().unwrap();
        });
    }
}

#[test]
fn two_senders_never_have_the_same_room() {
    check(1, || {
        let (mut first, mut receiver) = many(64);
        let mut second = first.another();
        let threads = [
            thread::spawn(move || send(&mut first, 1, 16).unwrap()),
            thread::spawn(move || send(&mut second, 2, 20).unwrap()),
        ];
        let mut both = [recv(&mut receiver).unwrap(), recv(&mut receiver).unwrap()];
        both.sort();
        assert_eq!(both, [(1, 16), (2, 20)]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn what_is_given_up_lets_the_message_behind_it_through() {
    check(2, || {
        let (mut first, mut receiver) = many(64);
        let mut second = first.another();
        std::mem::forget(first.try_claim(16).unwrap());
        let sending = thread::spawn(move || send(&mut second, 2, 16).unwrap());
        let leaving = thread::spawn(move || drop(first));
        assert_eq!(recv(&mut receiver), Some((2, 16)));
        assert_eq!(recv(&mut receiver), None);
        sending.join().unwrap();
        leaving.join().unwrap();
    });
}

#[test]
fn what_is_committed_is_received_though_the_receiver_closes() {
    check(3, || {
        let (mut sender, mut receiver) = many(64);
        let sending = thread::spawn(move || match sender.try_claim(16) {
            Ok(mut claim) => {
                claim.fill(1);
                claim.commit();
                1
            }
            Err(error) => {
                assert_eq!(error, TryClaimError::Closed);
                0
            }
        });
        receiver.close();
        let mut received = 0;
        while recv(&mut receiver).is_some() {
            received += 1;
        }
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
        assert_eq!(sending.join().unwrap(), received);
    });
}
