//! Batches of the byte channels, their limits in time, and what a plain thread may not do in a runtime.

mod common;

use std::{
    mem::forget,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{Count, LIMIT_SECONDS, block_on, panic_message, watchdog};
use onbeat::channel::{ClaimTimeoutError, RecvTimeoutError, TryClaimError, TryRecvError};

/// Long enough to tell it from a wait without a limit, which the watchdog ends.
const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_secs(LIMIT_SECONDS);

/// The call panics, and says what it would do.
#[track_caller]
fn stops_nobody(call: impl FnOnce()) {
    let message = panic_message(call);
    assert!(message.contains("would stop the onbeat runtime"), "{message}");
}

/// The same tests for both channels.
macro_rules! both {
    ($($test:item)*) => {
        mod spsc {
            use super::*;
            use onbeat::channel::spsc_bytes::channel;
            $($test)*
        }
        mod mpsc {
            use super::*;
            use onbeat::channel::mpsc_bytes::channel;
            $($test)*
        }
    };
}

both! {
    #[test]
    fn a_batch_gives_what_is_there_in_order_and_no_more_than_was_asked_for() {
        let (mut sender, mut receiver) = channel(1024);
        for message in [&b"one"[..], b"", b"three", b"four"] {
            sender.try_send(message).unwrap();
        }
        let batch = receiver.try_recv_many(3).unwrap();
        assert_eq!((batch.len(), batch.iter().len(), batch.is_empty()), (3, 3, false));
        assert!(batch.iter().eq([&b"one"[..], b"", b"three"]));
        assert!(batch.iter().eq([&b"one"[..], b"", b"three"]), "it can be read twice");
        drop(batch);
        let rest = receiver.try_recv_many(8).unwrap();
        assert!((&rest).into_iter().eq([b"four"]));
        drop(rest);
        assert_eq!(receiver.try_recv_many(8).unwrap_err(), TryRecvError::Empty);
        drop(sender);
        assert_eq!(receiver.try_recv_many(8).unwrap_err(), TryRecvError::Disconnected);
    }

    #[test]
    fn batches_of_every_size_pass_the_end_of_the_ring() {
        let (mut sender, mut receiver) = channel(256);
        let (mut sent, mut received) = (0_usize, 0_usize);
        let message = |number: usize| vec![number as u8; number * 7 % 65];
        for size in 0..5_000 {
            while sender.try_send(&message(sent)).is_ok() {
                sent += 1;
            }
            let batch = receiver.try_recv_many(1 + size % 5).unwrap();
            for bytes in &batch {
                assert_eq!(bytes, message(received));
                received += 1;
            }
        }
        assert!(received > 5_000);
    }

    #[test]
    fn a_batch_may_be_the_whole_ring() {
        let (mut sender, mut receiver) = channel(64);
        for round in 0..10_u8 {
            for number in 0..4 {
                sender.try_send(&[round, number]).unwrap();
            }
            assert_eq!(sender.try_send(b""), Err(TryClaimError::Full));
            let batch = receiver.try_recv_many(usize::MAX).unwrap();
            assert!(batch.iter().eq((0..4).map(|number| [round, number])));
        }
    }

    #[test]
    fn a_batch_frees_all_of_it_when_it_is_dropped_and_nothing_before() {
        let (mut sender, mut receiver) = channel(64);
        for number in 0..4 {
            sender.try_send(&[number]).unwrap();
        }
        let batch = receiver.try_recv_many(3).unwrap();
        for _ in &batch {}
        assert_eq!(sender.try_send(b"x"), Err(TryClaimError::Full));
        drop(batch);
        for _ in 0..3 {
            sender.try_send(b"x").unwrap();
        }
        assert_eq!(sender.try_send(b"x"), Err(TryClaimError::Full));
    }

    #[test]
    fn a_batch_that_is_forgotten_is_received_again() {
        let (mut sender, mut receiver) = channel(1024);
        for number in 0..3 {
            sender.try_send(&[number]).unwrap();
        }
        forget(receiver.try_recv_many(2).unwrap());
        forget(receiver.try_recv().unwrap());
        assert!(receiver.try_recv_many(8).unwrap().iter().eq([[0], [1], [2]]));
        assert_eq!(receiver.try_recv_many(8).unwrap_err(), TryRecvError::Empty);
    }

    #[test]
    fn a_batch_of_none_is_there_at_once_and_takes_nothing() {
        let _guard = watchdog(LIMIT_SECONDS);
        block_on(async {
            let (mut sender, mut receiver) = channel(1024);
            assert_eq!(receiver.try_recv_many(0).unwrap().len(), 0);
            assert_eq!(receiver.recv_many(0).await.unwrap().len(), 0);
            sender.try_send(b"bid").unwrap();
            assert!(receiver.recv_many(0).await.unwrap().is_empty());
            assert_eq!(&*receiver.try_recv().unwrap(), b"bid");
            drop(sender);
            assert!(receiver.try_recv_many(0).unwrap().is_empty());
        });
    }

    #[test]
    fn a_batch_is_waited_for_and_ends_with_the_channel() {
        let _guard = watchdog(LIMIT_SECONDS);
        let (mut sender, mut receiver) = channel(64);
        let feed = thread::spawn(move || {
            for number in 0..10_000_u32 {
                sender.blocking_send(&number.to_le_bytes()).unwrap();
            }
        });
        block_on(async move {
            let mut expected = 0_u32;
            while let Some(batch) = receiver.recv_many(3).await {
                assert!((1..=3).contains(&batch.len()));
                for message in &batch {
                    assert_eq!(message, expected.to_le_bytes());
                    expected += 1;
                }
            }
            assert_eq!(expected, 10_000);
        });
        feed.join().unwrap();
    }

    #[test]
    fn a_sender_that_waits_is_woken_when_a_batch_is_dropped() {
        let (mut sender, mut receiver) = channel(32);
        sender.try_send(&[1; 16]).unwrap();
        sender.try_send(&[2; 16]).unwrap();
        let count = Count::new();
        let waker = Waker::from(count.clone());
        let mut sending = Box::pin(sender.send(&[3; 16]));
        assert!(sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let batch = receiver.try_recv_many(2).unwrap();
        assert_eq!(count.wakes(), 0);
        drop(batch);
        assert_eq!(count.wakes(), 1);
        assert_eq!(sending.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_batch_whose_future_is_dropped_is_not_lost() {
        let (mut sender, mut receiver) = channel(32);
        let count = Count::new();
        let waker = Waker::from(count.clone());
        let mut receiving = Box::pin(receiver.recv_many(2));
        assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sender.try_send(b"bid").unwrap();
        assert_eq!(count.wakes(), 1);
        drop(receiving);
        assert!(receiver.try_recv_many(2).unwrap().iter().eq([b"bid"]));
        sender.try_send(b"ask").unwrap();
        assert_eq!(count.wakes(), 1, "who has gone is not woken");
    }

    #[test]
    fn a_message_can_be_polled_for_by_hand() {
        let (mut sender, mut receiver) = channel(32);
        let count = Count::new();
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(receiver.poll_recv(&mut cx).is_pending());
        sender.try_send(b"bid").unwrap();
        assert_eq!(count.wakes(), 1);
        {
            let Poll::Ready(Some(message)) = receiver.poll_recv(&mut cx) else { panic!("it is there") };
            assert_eq!(&*message, b"bid");
        }
        assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(sender);
        assert_eq!(count.wakes(), 1, "the latest waker is woken");
        assert!(matches!(receiver.poll_recv(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn a_receiver_says_whether_a_message_is_there() {
        let (mut sender, mut receiver) = channel(64);
        assert!(receiver.is_empty());
        drop(sender.try_claim(16).unwrap());
        assert!(receiver.is_empty(), "what was given up is no message");
        sender.try_send(b"").unwrap();
        assert!(!receiver.is_empty());
        drop(receiver.try_recv().unwrap());
        assert!(receiver.is_empty());
    }

    #[test]
    fn who_waits_for_a_limited_time_gets_what_comes_or_learns_that_it_is_over() {
        let _guard = watchdog(LIMIT_SECONDS);
        let (mut sender, mut receiver) = channel(32);
        assert_eq!(receiver.blocking_recv_timeout(SHORT).unwrap_err(), RecvTimeoutError::Timeout);
        sender.blocking_send_timeout(&[1; 16], SHORT).unwrap();
        sender.blocking_claim_timeout(16, SHORT).unwrap().commit();
        let late = sender.blocking_send_timeout(&[2; 16], SHORT);
        assert_eq!(late, Err(ClaimTimeoutError::Timeout));
        let late = sender.blocking_claim_timeout(16, SHORT).unwrap_err();
        assert_eq!(late, ClaimTimeoutError::Timeout);
        assert_eq!(
            sender.blocking_claim_timeout(17, SHORT).unwrap_err(),
            ClaimTimeoutError::TooLarge { len: 17, max: 16 }
        );
        let reading = thread::spawn(move || {
            assert_eq!(*receiver.blocking_recv_timeout(LONG).unwrap(), [1; 16]);
            drop(receiver.blocking_recv_timeout(LONG).unwrap());
            assert_eq!(&*receiver.blocking_recv_timeout(LONG).unwrap(), b"bid");
            let end = receiver.blocking_recv_timeout(LONG).unwrap_err();
            assert_eq!(end, RecvTimeoutError::Disconnected);
        });
        sender.blocking_send_timeout(b"bid", LONG).unwrap();
        sender.close();
        let end = sender.blocking_send_timeout(b"ask", LONG);
        assert_eq!(end, Err(ClaimTimeoutError::Closed));
        reading.join().unwrap();
    }

    #[test]
    fn nobody_blocks_the_runtime_that_runs_on_its_thread() {
        let _guard = watchdog(LIMIT_SECONDS);
        let (mut sender, mut receiver) = channel(32);
        block_on(async move {
            stops_nobody(|| drop(receiver.blocking_recv()));
            stops_nobody(|| drop(receiver.blocking_recv_timeout(LONG)));
            stops_nobody(|| drop(sender.blocking_claim(1)));
            stops_nobody(|| drop(sender.blocking_claim_timeout(1, LONG)));
            stops_nobody(|| _ = sender.blocking_send(b""));
            stops_nobody(|| _ = sender.blocking_send_timeout(b"", LONG));
        });
    }
}
