//! Channels between threads, runtimes and executors of others, under load.

mod common;

use std::{sync::Arc, thread, time::Duration};

use bevy_ecs::world::World;
use common::{LIMIT_SECONDS, panic_message, rounds, watchdog};
use onbeat::{
    Runtime,
    channel::{RecvTimeoutError, SendTimeoutError, mpsc, spsc},
    spawn_boxed,
};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new(&mut World::new()).block_on(future)
}

/// Sends `values` from each of `threads` threads to a receiver on a runtime that parks.
fn mpsc_under_load(threads: usize, values: usize, capacity: usize) {
    let values = rounds(values);
    let (sender, mut receiver) = mpsc::channel(capacity);
    let sending: Vec<_> = (0..threads)
        .map(|thread| {
            let sender = sender.clone();
            thread::spawn(move || {
                for value in 0..values {
                    sender.blocking_send((thread, Box::new(value))).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let next = block_on(async {
        let mut next = vec![0; threads];
        while let Some((thread, value)) = receiver.recv().await {
            assert_eq!(next[thread], *value, "in the order in which the thread sent");
            next[thread] += 1;
        }
        next
    });
    assert_eq!(next, vec![values; threads]);
    sending.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn cross_thread_mpsc_under_load() {
    let _guard = watchdog(4 * LIMIT_SECONDS);
    for _ in 0..3 {
        mpsc_under_load(1, 500_000, 1_024);
    }
    mpsc_under_load(4, 125_000, 64);
}

#[test]
fn threads_that_wait_for_one_place_all_get_it() {
    let _guard = watchdog(LIMIT_SECONDS);
    mpsc_under_load(4, 2_000, 1);
    mpsc_under_load(3, 2_000, 3);
}

#[test]
fn cross_thread_spsc_under_load() {
    let _guard = watchdog(2 * LIMIT_SECONDS);
    for (capacity, values) in [(1_024, 500_000), (3, 20_000), (1, 20_000)] {
        let values = rounds(values);
        let (mut sender, mut receiver) = spsc::channel(capacity);
        let sending = thread::spawn(move || {
            for value in 0..values {
                sender.blocking_send(Box::new(value)).unwrap();
            }
        });
        block_on(async {
            for value in 0..values {
                assert_eq!(receiver.recv().await.as_deref(), Some(&value));
            }
            assert_eq!(receiver.recv().await, None);
        });
        sending.join().unwrap();
    }
}

#[test]
fn a_runtime_sends_to_a_thread() {
    let _guard = watchdog(LIMIT_SECONDS);
    let values = rounds(10_000);
    let (mut sender, mut receiver) = spsc::channel(2);
    let receiving = thread::spawn(move || {
        let mut values = Vec::new();
        while let Some(value) = receiver.blocking_recv() {
            values.push(value);
        }
        values
    });
    block_on(async move {
        spawn_boxed(async move {
            for value in 0..values {
                sender.send(value).await.unwrap();
            }
        })
        .await;
    });
    assert_eq!(receiving.join().unwrap(), (0..values).collect::<Vec<_>>());
}

#[test]
fn two_runtimes_pass_a_value_back_and_forth() {
    let _guard = watchdog(LIMIT_SECONDS);
    let trips = rounds(5_000);
    let (mut there, mut from_here) = spsc::channel(1);
    let (back, mut from_there) = mpsc::channel(1);
    let other = thread::spawn(move || {
        block_on(async move {
            while let Some(value) = from_here.recv().await {
                back.send(value + 1).await.unwrap();
            }
        });
    });
    let last = block_on(async move {
        let mut value = 0;
        for _ in 0..trips {
            there.send(value).await.unwrap();
            value = from_there.recv().await.unwrap();
        }
        value
    });
    assert_eq!(last, trips);
    other.join().unwrap();
}

#[test]
fn an_executor_of_others_runs_both_ends() {
    use futures::executor::block_on;
    let _guard = watchdog(LIMIT_SECONDS);
    let values = rounds(2_000);
    let (sender, mut receiver) = mpsc::channel(2);
    let sending = [0, 1].map(|thread| {
        let sender = sender.clone();
        thread::spawn(move || {
            block_on(async {
                for value in 0..values {
                    sender.send((thread, value)).await.unwrap();
                }
            });
        })
    });
    drop(sender);
    let mut count = 0;
    block_on(async {
        let mut values = Vec::new();
        while receiver.recv_many(&mut values, 16).await > 0 {
            assert!(values.len() <= 16);
            count += values.len();
            values.clear();
        }
    });
    assert_eq!(count, 2 * values);
    sending.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_was_sent_while_the_receiver_closed_is_received() {
    let _guard = watchdog(LIMIT_SECONDS);
    for _ in 0..rounds(300) {
        let (sender, mut receiver) = mpsc::channel(4);
        let sending = [(); 2].map(|()| {
            let sender = sender.clone();
            thread::spawn(move || (0..).take_while(|_| sender.blocking_send(()).is_ok()).count())
        });
        assert_eq!(receiver.blocking_recv(), Some(()));
        receiver.close();
        let mut received = 1;
        while receiver.blocking_recv().is_some() {
            received += 1;
        }
        let sent: usize = sending.map(|thread| thread.join().unwrap()).into_iter().sum();
        assert_eq!(sent, received);
    }
}

#[test]
fn every_value_has_one_end_when_all_ends_go_at_once() {
    let _guard = watchdog(LIMIT_SECONDS);
    let value = Arc::new(());
    for round in 0..rounds(300) {
        let (sender, mut receiver) = mpsc::channel(2);
        let sending = [(); 2].map(|()| {
            let (sender, value) = (sender.clone(), value.clone());
            thread::spawn(move || while sender.blocking_send(value.clone()).is_ok() {})
        });
        drop(sender);
        for _ in 0..round % 5 {
            receiver.blocking_recv();
        }
        drop(receiver);
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

#[test]
fn a_thread_waits_no_longer_than_it_was_told() {
    let _guard = watchdog(LIMIT_SECONDS);
    let limit = Duration::from_millis(1);
    let (sender, mut receiver) = mpsc::channel(1);
    assert_eq!(receiver.blocking_recv_timeout(limit), Err(RecvTimeoutError::Timeout));
    assert_eq!(sender.blocking_send_timeout(1, limit), Ok(()));
    assert_eq!(sender.blocking_send_timeout(2, limit), Err(SendTimeoutError::Timeout(2)));
    assert_eq!(sender.blocking_send_timeout(2, Duration::ZERO), Err(SendTimeoutError::Timeout(2)));
    assert_eq!(receiver.blocking_recv_timeout(Duration::ZERO), Ok(1));
    assert_eq!(sender.blocking_send_timeout(3, Duration::MAX), Ok(()));
    receiver.close();
    assert_eq!(sender.blocking_send_timeout(4, limit), Err(SendTimeoutError::Closed(4)));
    assert_eq!(receiver.blocking_recv_timeout(Duration::MAX), Ok(3));
    assert_eq!(receiver.blocking_recv_timeout(limit), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn blocking_inside_a_runtime_is_refused_by_name() {
    let _guard = watchdog(LIMIT_SECONDS);
    let (sender, mut receiver) = mpsc::channel(1);
    let message = panic_message(|| {
        block_on(async { sender.blocking_send(1).unwrap() });
    });
    assert!(message.contains("await `send` or `recv`"), "{message}");
    let message = panic_message(|| {
        block_on(async { receiver.blocking_recv() });
    });
    assert!(message.contains("await `send` or `recv`"), "{message}");
}
