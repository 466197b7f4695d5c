//! Messages of bytes through a channel, claimed, written, committed and read on one thread, in batches.
//!
//! nexus makes its byte channels inside of its runtime only, so its part runs in `block_on`; neither part
//! awaits anything.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::question::{Contender, Question, Role, Unit};

const BATCH: usize = 64;
const CAPACITY: usize = 1 << 16;

/// Sends a batch and reads it, `batches` times, over the ends `$sender` and `$receiver`.
macro_rules! batches {
    ($sender:ident, $receiver:ident, $batches:expr, $len:expr) => {{
        let bytes = vec![7_u8; $len];
        let start = Instant::now();
        for _ in 0..$batches {
            for _ in 0..BATCH {
                let mut claim = $sender.try_claim($len).expect("there is room for a batch");
                claim.copy_from_slice(black_box(&bytes));
                claim.commit();
            }
            for _ in 0..BATCH {
                black_box($receiver.try_recv().expect("a batch was sent")[$len - 1]);
            }
        }
        start.elapsed()
    }};
}

/// A pass on a channel of nexus, inside its runtime.
macro_rules! nexus {
    ($module:ident) => {
        |batches: usize, len: usize| -> Duration {
            let mut world = nexus_rt::WorldBuilder::new().build();
            nexus_async_rt::Runtime::builder(&mut world).build().block_on(async move {
                let (mut sender, mut receiver) =
                    nexus_async_rt::channel::$module::channel(CAPACITY);
                batches!(sender, receiver, batches, len)
            })
        }
    };
}

/// A pass on a channel of onbeat.
macro_rules! onbeat {
    ($module:ident) => {
        |batches: usize, len: usize| -> Duration {
            let (mut sender, mut receiver) = onbeat::channel::$module::channel(CAPACITY);
            batches!(sender, receiver, batches, len)
        }
    };
}

/// A pass on a channel of onbeat that reads what is there in one claim.
macro_rules! onbeat_many {
    ($module:ident) => {
        |batches: usize, len: usize| -> Duration {
            let (mut sender, mut receiver) = onbeat::channel::$module::channel(CAPACITY);
            let bytes = vec![7_u8; len];
            let start = Instant::now();
            for _ in 0..batches {
                for _ in 0..BATCH {
                    let mut claim = sender.try_claim(len).expect("there is room for a batch");
                    claim.copy_from_slice(black_box(&bytes));
                    claim.commit();
                }
                let messages = receiver.try_recv_many(BATCH).expect("a batch was sent");
                assert_eq!(messages.len(), BATCH);
                for message in &messages {
                    black_box(message[len - 1]);
                }
            }
            start.elapsed()
        }
    };
}

/// What there is without a channel of bytes: values that own their bytes.
fn vectors(batches: usize, len: usize) -> Duration {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(BATCH);
    let bytes = vec![7_u8; len];
    let start = Instant::now();
    for _ in 0..batches {
        for _ in 0..BATCH {
            assert!(sender.try_send(black_box(&bytes).clone()).is_ok());
        }
        for _ in 0..BATCH {
            black_box(receiver.try_recv().expect("a batch was sent")[len - 1]);
        }
    }
    start.elapsed()
}

/// The time of so many batches of messages of so many bytes.
type Pass = fn(usize, usize) -> Duration;

const NOTE: &str = "\
nexus has no fence between a commit and its look for a receiver that waits, nor between a read and its
  look for a sender that waits; onbeat has both, so that no wake is lost.";

/// One question for each kind of channel and each length.
pub(crate) fn questions(messages: usize) -> Vec<Question> {
    let kinds: [(&str, Pass, Pass, Pass); 2] = [
        ("spsc_bytes", nexus!(spsc_bytes), onbeat!(spsc_bytes), onbeat_many!(spsc_bytes)),
        ("mpsc_bytes", nexus!(mpsc_bytes), onbeat!(mpsc_bytes), onbeat_many!(mpsc_bytes)),
    ];
    let batches = messages / BATCH;
    let mut questions = Vec::new();
    for (kind, nexus, onbeat, onbeat_many) in kinds {
        for len in [16, 64, 512] {
            questions.push(Question {
                title: format!("channel {kind}, claim to read, {len} bytes, batches of {BATCH}"),
                operations: batches * BATCH,
                contenders: vec![
                    Contender::new("nexus", Role::Reference, move || nexus(batches, len)),
                    Contender::new("onbeat", Role::Shown, move || onbeat(batches, len)),
                    Contender::new("onbeat, read by recv_many", Role::Shown, move || {
                        onbeat_many(batches, len)
                    }),
                    Contender::new("tokio mpsc of vectors", Role::Shown, move || {
                        vectors(batches, len)
                    }),
                ],
                note: Some(NOTE),
                unit: Unit::default(),
            });
        }
    }
    questions
}
