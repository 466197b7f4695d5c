//! Random programs of everything that can be done to a byte channel, against a queue of vectors.

use std::{collections::VecDeque, mem::forget};

use onbeat::channel::{
    TryClaimError, TryRecvError,
    mpsc_bytes::{Receiver, WriteClaim},
};
use proptest::prelude::*;

/// One step. `sender` names one of the senders, where there are several.
#[derive(Clone, Debug)]
enum Step {
    Commit { sender: usize, len: usize },
    CommitPart { sender: usize, len: usize, part: usize },
    Abandon { sender: usize, len: usize },
    Forget { sender: usize, len: usize },
    Replace { sender: usize },
    Read,
    ForgetRead,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let sender = 0..3_usize;
    // Now and then longer than the longest message.
    let len = 0..72_usize;
    prop_oneof![
        4 => (sender.clone(), len.clone()).prop_map(|(sender, len)| Step::Commit { sender, len }),
        2 => (sender.clone(), len.clone(), 0..=72_usize)
            .prop_map(|(sender, len, part)| Step::CommitPart { sender, len, part: part.min(len) }),
        1 => (sender.clone(), len.clone()).prop_map(|(sender, len)| Step::Abandon { sender, len }),
        1 => (sender.clone(), len).prop_map(|(sender, len)| Step::Forget { sender, len }),
        1 => sender.prop_map(|sender| Step::Replace { sender }),
        9 => Just(Step::Read),
        1 => Just(Step::ForgetRead),
    ]
}

fn program() -> impl Strategy<Value = Vec<Step>> {
    let steps = prop::collection::vec(step(), 0..150);
    (steps, prop::option::of(0..150_usize)).prop_map(|(mut steps, close)| {
        if let Some(at) = close {
            steps.insert(at.min(steps.len()), Step::Close);
        }
        steps
    })
}

/// What the channel should hold: entries in the order of their claims.
#[derive(Debug, Default)]
struct Model {
    entries: VecDeque<Entry>,
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Message(Vec<u8>),
    /// A claim that was forgotten, of the sender of that number, with its units.
    Forgotten(usize, usize),
}

fn units(len: usize) -> usize {
    len.div_ceil(16).max(1)
}

impl Model {
    /// A sender claims: the place of the claim, or the error that does not depend on how the ring lies.
    fn claims(&mut self, sender: usize, len: usize, max: usize) -> Result<usize, TryClaimError> {
        if len > max {
            return Err(TryClaimError::TooLarge { len, max });
        }
        let forgotten = self
            .entries
            .iter()
            .position(|entry| matches!(entry, Entry::Forgotten(by, _) if *by == sender));
        if let Some(at) = forgotten {
            let Entry::Forgotten(_, has) = self.entries[at] else { unreachable!() };
            if !self.closed && units(len) <= has {
                return Ok(at);
            }
            self.entries.remove(at);
        }
        if self.closed { Err(TryClaimError::Closed) } else { Ok(self.entries.len()) }
    }

    /// Puts `entry` where a claim of `sender` was made.
    fn put(&mut self, at: usize, entry: Option<Entry>) {
        let before = if at < self.entries.len() { self.entries.remove(at) } else { None };
        match (entry, before) {
            // A shorter claim does not give up a part of the place.
            (Some(Entry::Forgotten(..)), Some(before)) => self.entries.insert(at, before),
            (Some(entry), _) => self.entries.insert(at, entry),
            (None, _) => {}
        }
    }
}

/// The bytes of message `number`.
fn content(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 37 + at * 11 + 1) as u8).collect()
}

/// Does with a claim what `step` says; gives what it leaves in the order of claims.
fn use_claim(mut claim: WriteClaim<'_>, step: &Step, number: usize) -> Option<Entry> {
    let bytes = content(number, claim.len());
    claim.copy_from_slice(&bytes);
    match *step {
        Step::Commit { .. } => {
            claim.commit();
            Some(Entry::Message(bytes))
        }
        Step::CommitPart { part, .. } => {
            claim.commit_len(part);
            Some(Entry::Message(bytes[..part].to_vec()))
        }
        Step::Forget { sender, len } => {
            forget(claim);
            Some(Entry::Forgotten(sender, units(len)))
        }
        _ => None,
    }
}

/// Receives, and compares with the model. The message is dropped, or forgotten.
fn read(receiver: &mut Receiver, model: &mut Model, drops: bool) -> Result<(), TestCaseError> {
    match (receiver.try_recv(), model.entries.front()) {
        (Ok(message), Some(Entry::Message(expected))) => {
            prop_assert_eq!(&*message, &**expected);
            if drops {
                drop(message);
                model.entries.pop_front();
            } else {
                forget(message);
            }
        }
        (Err(TryRecvError::Empty), Some(Entry::Forgotten(..))) => {}
        (Err(TryRecvError::Empty), None) => prop_assert!(!model.closed),
        (Err(TryRecvError::Disconnected), None) => prop_assert!(model.closed),
        (got, expected) => prop_assert!(false, "{got:?} for {expected:?}"),
    }
    Ok(())
}

/// Runs programs on one of the channels. `clone` makes a sender in place of another one, or gives that
/// back, and `many` says whether forgotten claims hold a place.
macro_rules! runner {
    ($name:ident, $module:ident, many: $many:expr, senders: |$sender:ident| $senders:expr, $replace:expr) => {
        fn $name(capacity: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
            let ($sender, mut receiver) = onbeat::channel::$module::channel(capacity);
            let mut senders = $senders;
            let mut model = Model::default();
            let max = senders[0].len_max();
            for (number, step) in steps.into_iter().enumerate() {
                let count = senders.len();
                match step {
                    Step::Commit { sender, len }
                    | Step::CommitPart { sender, len, .. }
                    | Step::Abandon { sender, len }
                    | Step::Forget { sender, len } => {
                        let sender = sender % count;
                        let expected = model.claims(sender, len, max);
                        prop_assert!(len <= max || expected.is_err());
                        let full = match (senders[sender].try_claim(len), expected) {
                            (Ok(claim), Ok(at)) => {
                                let mut entry = use_claim(claim, &step, number);
                                if !$many && matches!(entry, Some(Entry::Forgotten(..))) {
                                    entry = None;
                                }
                                model.put(at, entry);
                                false
                            }
                            (Err(error), Err(expected)) => {
                                prop_assert_eq!(error, expected);
                                false
                            }
                            // Room depends on how the ring lies; an empty ring always has some, when
                            // the receiver has skipped what was given up.
                            (Err(error), Ok(at)) => {
                                prop_assert_eq!(error, TryClaimError::Full);
                                prop_assert_eq!(at, model.entries.len());
                                true
                            }
                            (Ok(_), Err(error)) => panic!("no error: {error}"),
                        };
                        if full && model.entries.is_empty() {
                            prop_assert!(receiver.try_recv().is_err());
                            prop_assert!(senders[sender].try_claim(len).is_ok());
                        }
                    }
                    Step::Replace { sender } => {
                        let sender = sender % count;
                        if $replace(&mut senders, sender) {
                            model.entries.retain(
                                |entry| !matches!(entry, Entry::Forgotten(by, _) if *by == sender),
                            );
                        }
                    }
                    Step::Close => {
                        model.closed = true;
                        receiver.close();
                    }
                    Step::Read | Step::ForgetRead => {
                        read(&mut receiver, &mut model, matches!(step, Step::Read))?;
                    }
                }
            }
            // All senders go, and with them what they forgot.
            drop(senders);
            for entry in model.entries {
                if let Entry::Message(expected) = entry {
                    prop_assert_eq!(&*receiver.try_recv().unwrap(), &*expected);
                }
            }
            prop_assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
            Ok(())
        }
    };
}

runner!(run_spsc, spsc_bytes, many: false, senders: |sender| [sender], |_: &mut [_; 1], _| false);
runner!(
    run_mpsc,
    mpsc_bytes,
    many: true,
    senders: |sender| [sender.clone(), sender.clone(), sender],
    |senders: &mut [onbeat::channel::mpsc_bytes::Sender; 3], at: usize| {
        senders[at] = senders[(at + 1) % 3].clone();
        true
    }
);

fn config() -> ProptestConfig {
    ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_sender_does_what_a_queue_does(capacity in 1..300_usize, steps in program()) {
        run_spsc(capacity, steps)?;
    }

    #[test]
    fn many_senders_do_what_a_queue_does(capacity in 1..300_usize, steps in program()) {
        run_mpsc(capacity, steps)?;
    }
}
