//! Receivers of channels that are polled by hand, and awaited as well.

mod common;

use std::task::{Context, Waker};

use common::Count;
use onbeat::channel;

macro_rules! channels {
    ($($module:ident $test:ident $value:expr, $sent:expr;)*) => {$(
        mod $test {
            use super::*;

            #[test]
            fn a_receive_that_is_dropped_leaves_the_waker_of_a_poll_by_hand() {
                #[allow(unused_mut, reason = "some channels are used through `&`")]
                let (mut sender, mut receiver) = channel::$module::channel($value);
                let count = Count::new();
                let waker = Waker::from(count.clone());
                assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                assert!(count.poll(&mut receiver.recv()).is_pending());
                sender.try_send($sent).unwrap();
                assert!(count.wakes() > 0);
            }

            #[test]
            fn a_receive_that_is_dropped_leaves_no_waker_where_nobody_polled_by_hand() {
                #[allow(unused_mut, reason = "some channels are used through `&`")]
                let (mut sender, mut receiver) = channel::$module::channel($value);
                let count = Count::new();
                let waker = Waker::from(count.clone());
                assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                sender.try_send($sent).unwrap();
                assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_ready());
                drop(waker);
                let mut receiving = receiver.recv();
                assert!(count.poll(&mut receiving).is_pending());
                assert!(count.poll(&mut receiving).is_pending());
                drop(receiving);
                assert_eq!(count.kept(), 0);
            }

            #[test]
            fn a_receiver_that_goes_takes_the_waker_of_a_poll_by_hand_along() {
                #[allow(unused_mut, reason = "some channels are used through `&`")]
                let (mut sender, mut receiver) = channel::$module::channel($value);
                sender.try_send($sent).unwrap();
                assert!(receiver.try_recv().is_ok());
                let count = Count::new();
                let waker = Waker::from(count.clone());
                assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
                drop((waker, receiver));
                assert_eq!(count.kept(), 0);
            }
        }
    )*};
}

channels! {
    local a_local_channel 2, 7;
    mpsc an_mpsc_channel 2, 7;
    spsc an_spsc_channel 2, 7;
    mpsc_bytes an_mpsc_byte_channel 64, &[7; 32];
    spsc_bytes an_spsc_byte_channel 64, &[7; 32];
}
