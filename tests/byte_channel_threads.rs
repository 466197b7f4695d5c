//! The byte channels under load: threads that send, a runtime that receives, and the other way round.

mod common;

use std::thread;

use bevy_ecs::world::World;
use common::{rounds, watchdog};
use onbeat::{
    Runtime,
    channel::{TryRecvError, mpsc_bytes, spsc_bytes},
    yield_now,
};

/// A million, where nothing is slower than usual.
fn messages() -> u64 {
    rounds(1_000_000) as u64
}

const WATCHDOG_SECONDS: u64 = 300;

/// Lengths that put the wrap-around everywhere: the header of a message is 16 bytes, the rest is filler.
fn len(number: u64) -> usize {
    16 + (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize
}

/// Fills a claim: sender and number, then bytes that follow from them.
fn write(claim: &mut [u8], sender: u64, number: u64) {
    claim[..8].copy_from_slice(&number.to_le_bytes());
    claim[8..16].copy_from_slice(&sender.to_le_bytes());
    claim[16..].fill(number as u8 ^ sender as u8);
}

/// Checks a message, and gives its sender and number.
fn read(message: &[u8]) -> (u64, u64) {
    let number = u64::from_le_bytes(message[..8].try_into().unwrap());
    let sender = u64::from_le_bytes(message[8..16].try_into().unwrap());
    assert_eq!(message.len(), len(number), "message {number} of {sender}");
    let filler = number as u8 ^ sender as u8;
    assert!(message[16..].iter().all(|&byte| byte == filler), "message {number} of {sender}");
    (sender, number)
}

#[test]
fn a_million_messages_of_a_thread_reach_a_parked_runtime_whole_and_in_order() {
    let _guard = watchdog(WATCHDOG_SECONDS);
    let (mut sender, mut receiver) = spsc_bytes::channel(4096);
    let feed = thread::spawn(move || {
        for number in 0..messages() {
            let mut claim = sender.blocking_claim(len(number)).unwrap();
            write(&mut claim, 0, number);
            claim.commit();
        }
    });
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        for expected in 0..messages() {
            assert_eq!(read(&receiver.recv().await.unwrap()), (0, expected));
        }
        assert!(receiver.recv().await.is_none());
    });
    feed.join().unwrap();
}

#[test]
fn a_million_messages_of_three_threads_reach_a_parked_runtime_whole_and_in_order() {
    let _guard = watchdog(WATCHDOG_SECONDS);
    let (sender, mut receiver) = mpsc_bytes::channel(2048);
    let feeds: Vec<_> = (0..3)
        .map(|id| {
            let mut sender = sender.clone();
            thread::spawn(move || {
                for number in 0..messages() / 3 {
                    let mut claim = sender.blocking_claim(len(number)).unwrap();
                    write(&mut claim, id, number);
                    claim.commit();
                    // Now and then a claim that comes to nothing.
                    match number % 64 {
                        1 => drop(sender.blocking_claim(10).unwrap()),
                        2 => std::mem::forget(sender.blocking_claim(70).unwrap()),
                        _ => {}
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async {
        let mut next = [0; 3];
        while let Some(message) = receiver.recv().await {
            let (sender, number) = read(&message);
            assert_eq!(number, next[sender as usize]);
            next[sender as usize] += 1;
        }
        assert_eq!(next, [messages() / 3; 3]);
    });
    for feed in feeds {
        feed.join().unwrap();
    }
}

#[test]
fn a_task_that_sends_waits_for_a_thread_that_receives() {
    let _guard = watchdog(WATCHDOG_SECONDS);
    let (mut sender, mut receiver) = spsc_bytes::channel(256);
    let reading = thread::spawn(move || {
        let mut expected = 0;
        while let Some(message) = receiver.blocking_recv() {
            assert_eq!(read(&message), (0, expected));
            expected += 1;
        }
        expected
    });
    let mut world = World::new();
    Runtime::new(&mut world).block_on(async move {
        for number in 0..messages() / 5 {
            let mut claim = sender.claim(len(number)).await.unwrap();
            write(&mut claim, 0, number);
            claim.commit();
        }
    });
    assert_eq!(reading.join().unwrap(), messages() / 5);
}

#[test]
fn a_receiver_that_goes_ends_all_senders_wherever_they_are() {
    let _guard = watchdog(WATCHDOG_SECONDS);
    for round in 0..200 {
        let (sender, mut receiver) = mpsc_bytes::channel(256);
        let feeds: Vec<_> = (0..2)
            .map(|id| {
                let mut sender = sender.clone();
                thread::spawn(move || while sender.blocking_send(&[id; 40]).is_ok() {})
            })
            .collect();
        drop(sender);
        for _ in 0..round {
            assert_eq!(receiver.blocking_recv().unwrap().len(), 40);
        }
        drop(receiver);
        for feed in feeds {
            feed.join().unwrap();
        }
    }
}

#[test]
fn what_is_committed_when_the_receiver_closes_is_received_before_the_end() {
    let _guard = watchdog(WATCHDOG_SECONDS);
    for round in 0..200 {
        let (mut sender, mut receiver) = mpsc_bytes::channel(1024);
        let feed = thread::spawn(move || {
            let mut sent = 0_u64;
            while sender.blocking_send(&[1; 24]).is_ok() {
                sent += 1;
            }
            sent
        });
        let mut received = 0;
        while received < round {
            drop(receiver.blocking_recv().unwrap());
            received += 1;
        }
        receiver.close();
        while receiver.blocking_recv().is_some() {
            received += 1;
        }
        assert_eq!(feed.join().unwrap(), received);
    }
}

#[test]
fn a_busy_runtime_that_only_tries_receives_all() {
    let _guard = watchdog(WATCHDOG_SECONDS);
    let (mut sender, mut receiver) = spsc_bytes::channel(512);
    let feed = thread::spawn(move || {
        for number in 0..messages() / 20 {
            let mut claim = sender.blocking_claim(len(number)).unwrap();
            write(&mut claim, 0, number);
            claim.commit();
        }
    });
    let mut world = World::new();
    let received = Runtime::new(&mut world).block_on_busy(async {
        let mut expected = 0;
        loop {
            match receiver.try_recv() {
                Ok(message) => {
                    assert_eq!(read(&message), (0, expected));
                    expected += 1;
                }
                Err(TryRecvError::Empty) => yield_now().await,
                Err(TryRecvError::Disconnected) => return expected,
            }
        }
    });
    assert_eq!(received, messages() / 20);
    feed.join().unwrap();
}
