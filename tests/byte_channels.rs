//! The byte channels: claims, order, room, waiting on either end, what is forgotten, and closing.

mod common;

use std::{
    mem::forget,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use common::{Count, LIMIT_SECONDS, panic_message, watchdog};
use onbeat::channel::{ClaimError, TryClaimError, TryRecvError};

/// A message of `len` bytes that tells its number.
fn message(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at) as u8).collect()
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// The same tests for both channels.
macro_rules! both {
    ($($test:item)*) => {
        mod spsc {
            use super::*;
            use onbeat::channel::spsc_bytes::{self as this, Receiver, Sender, channel};
            $($test)*
        }
        mod mpsc {
            use super::*;
            use onbeat::channel::mpsc_bytes::{self as this, Receiver, Sender, channel};
            $($test)*
        }
    };
}

both! {
    /// Reads all that is there.
    fn read_all(receiver: &mut Receiver) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Ok(message) = receiver.try_recv() {
            all.push(message.to_vec());
        }
        all
    }

    /// Sends empty messages until there is no room for one more.
    fn fill(sender: &mut Sender) -> usize {
        (0..).take_while(|_| sender.try_send(b"").is_ok()).count()
    }

    #[test]
    fn messages_of_every_length_arrive_in_order_at_every_place_of_the_ring() {
        let (mut sender, mut receiver) = channel(256);
        for number in 0..20_000 {
            let sent = message(number, (number * 7) % 129);
            sender.try_send(&sent).unwrap();
            assert_eq!(*receiver.try_recv().unwrap(), sent);
        }
    }

    #[test]
    fn an_empty_message_is_a_message() {
        let (mut sender, mut receiver) = channel(32);
        for _ in 0..10 {
            sender.try_claim(0).unwrap().commit();
            sender.try_send(b"").unwrap();
            assert_eq!(read_all(&mut receiver), [b"", b""]);
        }
    }

    #[test]
    fn the_longest_message_has_room_wherever_the_last_one_ended() {
        let (mut sender, mut receiver) = channel(1024);
        for number in 0..200 {
            let sent = message(number, 512);
            sender.try_send(&sent).unwrap();
            assert_eq!(*receiver.try_recv().unwrap(), sent);
            sender.try_send(&sent[..number]).unwrap();
            assert_eq!(*receiver.try_recv().unwrap(), sent[..number]);
        }
    }

    #[test]
    fn a_message_that_never_has_room_is_refused_with_the_longest_that_has() {
        let (mut sender, _receiver) = channel(1000);
        assert_eq!((sender.capacity(), sender.len_max()), (1024, 512));
        let refused = TryClaimError::TooLarge { len: 513, max: 512 };
        assert_eq!(sender.try_claim(513).unwrap_err(), refused);
        assert!(!sender.try_claim(usize::MAX).map(drop).unwrap_err().is_full());
        let error = ClaimError::TooLarge { len: 513, max: 512 };
        assert_eq!(sender.blocking_claim(513).unwrap_err(), error);
        assert_eq!(sender.blocking_send(&[0; 513]), Err(error));
        assert!(error.to_string().contains("513") && error.to_string().contains("512"));
        sender.try_claim(512).unwrap().commit();
    }

    #[test]
    fn the_whole_ring_is_used() {
        let (mut sender, mut receiver) = channel(256);
        assert_eq!(fill(&mut sender), 16);
        assert_eq!(sender.try_claim(0).unwrap_err(), TryClaimError::Full);
        drop(receiver.try_recv().unwrap());
        assert_eq!(fill(&mut sender), 1);
        assert_eq!(read_all(&mut receiver).len(), 16);
    }

    #[test]
    fn a_capacity_has_its_bounds() {
        assert!(panic_message(|| drop(channel(0))).contains("at least one byte"));
        let message = panic_message(|| drop(channel(this::CAPACITY_MAX + 1)));
        assert!(message.contains("1073741825") && message.contains("at most"), "{message}");
        assert_eq!(channel(1).0.capacity(), 32);
        assert_eq!(channel(1).0.len_max(), 16);
        assert_eq!(channel(33).1.capacity(), 64);
    }

    #[test]
    fn messages_begin_at_a_multiple_of_16_bytes() {
        let (mut sender, mut receiver) = channel(512);
        for len in 0..200 {
            let claim = sender.try_claim(len).unwrap();
            assert_eq!(claim.as_ptr().addr() % 16, 0);
            claim.commit();
            assert_eq!(receiver.try_recv().unwrap().as_ptr().addr() % 16, 0);
        }
    }

    #[test]
    fn a_claim_shows_old_bytes_and_sends_what_it_shows() {
        let (mut sender, mut receiver) = channel(64);
        assert_eq!(*sender.try_claim(16).unwrap(), [0; 16]);
        for number in 0..8 {
            sender.try_send(&message(number, 16)).unwrap();
            drop(receiver.try_recv().unwrap());
        }
        let claim = sender.try_claim(16).unwrap();
        let shown = claim.to_vec();
        claim.commit();
        assert_eq!(*receiver.try_recv().unwrap(), *shown);
    }

    #[test]
    fn a_part_of_a_claim_is_committed() {
        let (mut sender, mut receiver) = channel(256);
        for number in 0..1000 {
            let sent = message(number, 100);
            let len = number % 101;
            let mut claim = sender.try_claim(100).unwrap();
            claim.copy_from_slice(&sent);
            claim.commit_len(len);
            sender.try_send(b"behind").unwrap();
            assert_eq!(read_all(&mut receiver), [&sent[..len], b"behind"]);
        }
    }

    #[test]
    fn committing_more_than_was_claimed_panics_and_gives_the_claim_up() {
        let (mut sender, mut receiver) = channel(256);
        let message = panic_message(|| sender.try_claim(3).unwrap().commit_len(4));
        assert!(message.contains("4 bytes of a claim of 3"), "{message}");
        sender.try_send(b"next").unwrap();
        assert_eq!(read_all(&mut receiver), [b"next"]);
    }

    #[test]
    fn a_dropped_claim_sends_nothing_and_leaves_no_hole() {
        let (mut sender, mut receiver) = channel(256);
        for number in 0..100 {
            sender.try_claim(number).unwrap().fill(1);
            sender.try_send(b"one").unwrap();
            assert_eq!(read_all(&mut receiver), [b"one"]);
        }
    }

    #[test]
    fn a_forgotten_claim_is_handed_out_again() {
        let (mut sender, mut receiver) = channel(256);
        for number in 0..1000 {
            let mut claim = sender.try_claim(40).unwrap();
            claim.fill(7);
            let place = claim.as_ptr();
            forget(claim);
            assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
            let claim = sender.try_claim(number % 41).unwrap();
            if number % 41 > 32 {
                assert_eq!((claim.as_ptr(), claim[0]), (place, 7));
            }
            let shown = claim.to_vec();
            claim.commit();
            assert_eq!(read_all(&mut receiver), [shown]);
        }
    }

    #[test]
    fn a_claim_longer_than_the_forgotten_one_is_made_elsewhere_or_again() {
        let (mut sender, mut receiver) = channel(512);
        for number in 0..1000 {
            forget(sender.try_claim(number % 20).unwrap());
            sender.try_send(&message(number, 100)).unwrap();
            sender.try_send(b"behind").unwrap();
            assert_eq!(read_all(&mut receiver), [&message(number, 100)[..], b"behind"]);
        }
    }

    #[test]
    fn a_forgotten_message_is_received_again_and_keeps_its_room() {
        let (mut sender, mut receiver) = channel(32);
        sender.try_send(b"first").unwrap();
        sender.try_send(b"second").unwrap();
        for _ in 0..3 {
            forget(receiver.try_recv().unwrap());
            assert_eq!(sender.try_claim(1).unwrap_err(), TryClaimError::Full);
        }
        assert_eq!(read_all(&mut receiver), [&b"first"[..], b"second"]);
    }

    #[test]
    fn read_claim_frees_then_wakes() {
        struct Claims(std::sync::Mutex<Option<Sender>>, Arc<Count>);
        impl Wake for Claims {
            fn wake(self: Arc<Self>) {
                let mut sender = self.0.lock().unwrap();
                assert!(sender.as_mut().unwrap().try_claim(16).is_ok(), "woken before there was room");
                self.1.clone().wake();
            }
        }
        let (mut sender, mut receiver) = channel(32);
        fill(&mut sender);
        let claims = Arc::new(Claims(None.into(), Count::new()));
        let waker = Waker::from(claims.clone());
        let mut claiming = sender.claim(16);
        assert!(std::pin::Pin::new(&mut claiming).poll(&mut Context::from_waker(&waker)).is_pending());
        // The entry stays, as that of a task does that was moved elsewhere with its sender.
        forget(claiming);
        *claims.0.lock().unwrap() = Some(sender);
        let message = receiver.try_recv().unwrap();
        assert_eq!(claims.1.wakes(), 0);
        drop(message);
        assert_eq!(claims.1.wakes(), 1);
        // Breaks the circle of the sender that the waker owns.
        claims.0.lock().unwrap().take();
    }

    #[test]
    fn a_waiting_receiver_is_woken_by_a_commit_and_by_the_end() {
        let (mut sender, mut receiver) = channel(64);
        let count = Count::new();
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
        let claim = sender.try_claim(3).unwrap();
        assert_eq!(count.wakes(), 0);
        claim.commit();
        assert_eq!(count.wakes(), 1);
        assert!(matches!(count.poll(&mut receiving), Poll::Ready(Some(message)) if message.len() == 3));
        drop(receiving);
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
        drop(sender);
        assert_eq!(count.wakes(), 2);
        assert!(matches!(count.poll(&mut receiving), Poll::Ready(None)));
        assert_eq!(count.kept(), 0);
    }

    #[test]
    fn a_waiting_sender_is_woken_by_room_and_by_the_end() {
        let (mut sender, mut receiver) = channel(32);
        fill(&mut sender);
        let count = Count::new();
        let mut claiming = sender.claim(16);
        assert!(count.poll(&mut claiming).is_pending());
        drop(receiver.try_recv().unwrap());
        assert_eq!(count.wakes(), 1);
        assert!(matches!(count.poll(&mut claiming), Poll::Ready(Ok(_))));
        drop(claiming);
        fill(&mut sender);
        let mut sending = sender.send(b"last");
        assert!(count.poll(&mut sending).is_pending());
        drop(receiver);
        assert_eq!(count.wakes(), 2);
        assert_eq!(count.poll(&mut sending), Poll::Ready(Err(ClaimError::Closed)));
        assert_eq!(count.kept(), 0);
    }

    #[test]
    fn a_poll_replaces_the_waker_of_the_one_before() {
        let (mut sender, mut receiver) = channel(64);
        let (first, second) = (Count::new(), Count::new());
        let mut receiving = receiver.recv();
        assert!(first.poll(&mut receiving).is_pending());
        assert!(second.poll(&mut receiving).is_pending());
        assert_eq!((first.kept(), second.kept()), (0, 1));
        sender.try_send(b"one").unwrap();
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
    }

    #[test]
    fn a_dropped_future_leaves_no_waker() {
        let (mut sender, mut receiver) = channel(32);
        let count = Count::new();
        assert!(count.poll(&mut receiver.recv()).is_pending());
        assert_eq!(count.kept(), 0);
        fill(&mut sender);
        assert!(count.poll(&mut sender.claim(16)).is_pending());
        assert!(count.poll(&mut sender.send(b"more")).is_pending());
        assert_eq!(count.kept(), 0);
        assert_eq!(read_all(&mut receiver), [b"", b""]);
        assert_eq!(count.wakes(), 0);
    }

    #[test]
    fn a_forgotten_future_leaves_one_waker_until_its_end_goes() {
        let (mut sender, mut receiver) = channel(32);
        let count = Count::new();
        fill(&mut sender);
        for _ in 0..3 {
            let mut claiming = sender.claim(16);
            assert!(count.poll(&mut claiming).is_pending());
            forget(claiming);
        }
        assert_eq!(count.kept(), 1);
        drop(sender);
        assert_eq!((count.kept(), count.wakes()), (0, 0));
        assert_eq!(read_all(&mut receiver), [b"", b""]);
    }

    #[test]
    fn a_future_that_is_done_says_so_when_it_is_polled_again() {
        let (mut sender, mut receiver) = channel(32);
        let count = Count::new();
        let mut sending = sender.send(b"one");
        assert!(count.poll(&mut sending).is_ready());
        assert!(panic_message(|| _ = count.poll(&mut sending)).contains("after it was done"));
        drop(sending);
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_ready());
        assert!(panic_message(|| drop(count.poll(&mut receiving))).contains("after it was done"));
    }

    #[test]
    fn a_waker_that_panics_loses_neither_message_nor_room() {
        let (mut sender, mut receiver) = channel(32);
        let panics = Waker::from(Arc::new(Panics));
        let cx = &mut Context::from_waker(&panics);
        let mut receiving = receiver.recv();
        assert!(std::pin::Pin::new(&mut receiving).poll(cx).is_pending());
        assert!(panic_message(|| sender.try_send(b"one").unwrap()).contains("a waker that panics"));
        drop(receiving);
        sender.try_send(b"two").unwrap();
        let mut claiming = sender.claim(16);
        assert!(std::pin::Pin::new(&mut claiming).poll(cx).is_pending());
        let one = receiver.try_recv().unwrap();
        assert_eq!(*one, *b"one");
        assert!(panic_message(|| drop(one)).contains("a waker that panics"));
        let Poll::Ready(Ok(claim)) = std::pin::Pin::new(&mut claiming).poll(cx) else {
            panic!("there is room");
        };
        claim.commit_len(0);
        assert_eq!(read_all(&mut receiver), [&b"two"[..], b""]);
    }

    #[test]
    fn a_waker_that_panics_while_a_message_is_dropped_by_a_panic_does_not_abort() {
        let (mut sender, mut receiver) = channel(32);
        fill(&mut sender);
        let panics = Waker::from(Arc::new(Panics));
        let mut claiming = sender.claim(1);
        let cx = &mut Context::from_waker(&panics);
        assert!(std::pin::Pin::new(&mut claiming).poll(cx).is_pending());
        let message = panic_message(|| {
            let _message = receiver.try_recv().unwrap();
            panic!("while it is read");
        });
        assert_eq!(message, "while it is read");
    }

    #[test]
    fn what_was_sent_is_received_after_the_sender_has_gone() {
        let (mut sender, mut receiver) = channel(64);
        sender.try_send(b"one").unwrap();
        sender.try_send(b"two").unwrap();
        drop(sender);
        assert!(receiver.is_closed());
        assert_eq!(read_all(&mut receiver), [b"one", b"two"]);
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
        assert!(receiver.blocking_recv().is_none());
    }

    #[test]
    fn what_was_sent_is_received_after_either_end_has_closed() {
        for by_sender in [true, false] {
            let (mut sender, mut receiver) = channel(64);
            sender.try_send(b"one").unwrap();
            if by_sender { sender.close() } else { receiver.close() }
            assert!(sender.is_closed() && receiver.is_closed());
            assert_eq!(sender.try_send(b"two"), Err(TryClaimError::Closed));
            assert_eq!(sender.blocking_claim(1).unwrap_err(), ClaimError::Closed);
            assert_eq!(read_all(&mut receiver), [b"one"]);
            assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
        }
    }

    #[test]
    fn ends_wake_threads_that_sleep() {
        let _guard = watchdog(LIMIT_SECONDS);
        let (mut sender, mut receiver) = channel(64);
        let sending = std::thread::spawn(move || {
            for number in 0..2000 {
                sender.blocking_send(&message(number, number % 33)).unwrap();
            }
        });
        for number in 0..2000 {
            assert_eq!(*receiver.blocking_recv().unwrap(), message(number, number % 33));
        }
        assert!(receiver.blocking_recv().is_none());
        sending.join().unwrap();
    }

    #[test]
    fn a_thread_that_waits_for_room_gets_an_error_when_the_receiver_goes() {
        let _guard = watchdog(LIMIT_SECONDS);
        let (mut sender, receiver) = channel(64);
        fill(&mut sender);
        let sending = std::thread::spawn(move || sender.blocking_send(b"more"));
        drop(receiver);
        assert_eq!(sending.join().unwrap(), Err(ClaimError::Closed));
    }

    #[test]
    fn the_ends_may_go_to_other_threads_with_their_claims() {
        fn send<T: Send>(_: &T) {}
        let (mut sender, mut receiver) = channel(64);
        send(&sender);
        send(&sender.claim(1));
        send(&sender.send(b""));
        let claim = sender.try_claim(1).unwrap();
        send(&claim);
        claim.commit();
        send(&receiver.recv());
        send(&receiver.try_recv());
        send(&receiver);
    }

    #[test]
    fn nothing_shows_the_bytes_by_debug() {
        let (mut sender, mut receiver) = channel(64);
        let mut claim = sender.try_claim(6).unwrap();
        claim.copy_from_slice(b"secret");
        assert_eq!(format!("{claim:?}"), "WriteClaim { len: 6 }");
        claim.commit();
        assert_eq!(format!("{:?}", receiver.try_recv()), "Ok(ReadClaim { len: 6 })");
        assert!(format!("{sender:?}{receiver:?}").contains("capacity: 64"));
    }
}

mod many_senders {
    use super::*;
    use onbeat::channel::mpsc_bytes::channel;

    #[test]
    fn messages_come_in_the_order_of_their_claims() {
        let (mut first, mut receiver) = channel(256);
        let mut second = first.clone();
        let mut claim = first.try_claim(5).unwrap();
        second.try_send(b"second").unwrap();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        claim.copy_from_slice(b"first");
        claim.commit();
        assert_eq!(*receiver.try_recv().unwrap(), *b"first");
        assert_eq!(*receiver.try_recv().unwrap(), *b"second");
    }

    #[test]
    fn an_abandoned_claim_wakes_the_receiver_that_waits_behind_it() {
        let (mut first, mut receiver) = channel(256);
        let mut second = first.clone();
        let claim = first.try_claim(5).unwrap();
        second.try_send(b"second").unwrap();
        let count = Count::new();
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
        drop(claim);
        assert_eq!(count.wakes(), 1);
        let Poll::Ready(Some(received)) = count.poll(&mut receiving) else {
            panic!("the message behind the claim is there");
        };
        assert_eq!(*received, *b"second");
    }

    #[test]
    fn a_sender_that_goes_takes_its_forgotten_claim_with_it() {
        let (mut first, mut receiver) = channel(256);
        let mut second = first.clone();
        forget(first.try_claim(5).unwrap());
        second.try_send(b"second").unwrap();
        let count = Count::new();
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
        drop(first);
        assert_eq!(count.wakes(), 1);
        assert!(count.poll(&mut receiving).is_ready());
        drop(receiving);
        drop(second);
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
    }

    #[test]
    fn a_longer_claim_lets_the_forgotten_one_go_and_wakes_the_receiver() {
        let (mut first, mut receiver) = channel(256);
        let mut second = first.clone();
        forget(first.try_claim(5).unwrap());
        second.try_send(b"second").unwrap();
        let count = Count::new();
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
        let claim = first.try_claim(100).unwrap();
        assert_eq!(count.wakes(), 1);
        assert!(count.poll(&mut receiving).is_ready());
        drop((receiving, claim));
    }

    #[test]
    fn a_closed_channel_ends_when_the_last_open_claim_does() {
        let (mut first, mut receiver) = channel(256);
        let mut claim = first.try_claim(4).unwrap();
        receiver.close();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        claim.copy_from_slice(b"late");
        claim.commit();
        assert_eq!(*receiver.try_recv().unwrap(), *b"late");
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
    }

    #[test]
    fn a_claim_in_a_closed_channel_gives_up_the_forgotten_one() {
        let (mut first, mut receiver) = channel(256);
        forget(first.try_claim(4).unwrap());
        receiver.close();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(first.try_claim(4).unwrap_err(), TryClaimError::Closed);
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
    }

    #[test]
    fn the_channel_is_open_until_the_last_sender_goes() {
        let (first, mut receiver) = channel(256);
        let mut second = first.clone();
        drop(first);
        assert!(!receiver.is_closed());
        second.try_send(b"one").unwrap();
        drop(second);
        assert!(receiver.is_closed());
        assert_eq!(*receiver.try_recv().unwrap(), *b"one");
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
    }

    #[test]
    fn a_close_wakes_both_ends_also_behind_a_waker_that_panics() {
        let (mut first, mut receiver) = channel(32);
        let (mut second, third) = (first.clone(), first.clone());
        let mut claim = first.try_claim(16).unwrap();
        second.try_send(b"behind").unwrap();
        let panics = Waker::from(Arc::new(Panics));
        let mut claiming = second.claim(16);
        let cx = &mut Context::from_waker(&panics);
        assert!(std::pin::Pin::new(&mut claiming).poll(cx).is_pending());
        let count = Count::new();
        let mut receiving = receiver.recv();
        assert!(count.poll(&mut receiving).is_pending());
        assert!(panic_message(|| third.close()).contains("a waker that panics"));
        assert_eq!(count.wakes(), 1);
        claim.fill(1);
        claim.commit();
        assert!(count.poll(&mut receiving).is_ready());
        assert!(matches!(
            std::pin::Pin::new(&mut claiming).poll(cx),
            Poll::Ready(Err(ClaimError::Closed))
        ));
    }

    #[test]
    fn all_who_wait_for_room_are_woken() {
        let (mut first, mut receiver) = channel(32);
        let mut second = first.clone();
        first.try_send(b"").unwrap();
        first.try_send(b"").unwrap();
        let count = Count::new();
        let (mut one, mut two) = (first.claim(1), second.claim(1));
        assert!(count.poll(&mut one).is_pending());
        assert!(count.poll(&mut two).is_pending());
        drop(receiver.try_recv().unwrap());
        assert_eq!(count.wakes(), 2);
        assert!(count.poll(&mut two).is_ready());
        assert!(count.poll(&mut one).is_pending());
    }
}
