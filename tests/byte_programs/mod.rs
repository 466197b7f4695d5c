//! Programs of everything that can be done to a byte channel, against a queue of vectors.
//!
//! [`run_program`] reads them from bytes, any bytes, so that a fuzzer can write them.

use std::{collections::VecDeque, mem::forget};

use onbeat::channel::{
    TryClaimError, TryRecvError,
    mpsc_bytes::{Receiver, WriteClaim},
};

/// Runs the program that these bytes say on both kinds of channel and on their model.
///
/// # Panics
///
/// When they differ.
pub(crate) fn run_program(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    let capacity = 1 + reader.number();
    let steps: Vec<Step> = std::iter::from_fn(|| reader.step()).collect();
    run_spsc(capacity, &steps);
    run_mpsc(capacity, &steps);
}

/// What is left to read; zeros behind the end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    fn step(&mut self) -> Option<Step> {
        let kind = self.byte()? % 32;
        let sender = usize::from(kind % 3);
        // Now and then longer than the longest message.
        let mut len = || self.number() % 72;
        Some(match kind {
            0..8 => Step::Commit { sender, len: len() },
            8..12 => {
                let len = len();
                Step::CommitPart { sender, len, part: self.number().min(len) }
            }
            12..14 => Step::Abandon { sender, len: len() },
            14..16 => Step::Forget { sender, len: len() },
            16..18 => Step::Replace { sender },
            18..20 => Step::ForgetRead,
            20 if self.number().is_multiple_of(8) => Step::Close,
            21..24 => Step::ReadMany { max: self.number() % 5, drops: true },
            24 => Step::ReadMany { max: self.number() % 5, drops: false },
            _ => Step::Read,
        })
    }
}

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
    ReadMany { max: usize, drops: bool },
    Close,
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
fn read(receiver: &mut Receiver, model: &mut Model, drops: bool) {
    match (receiver.try_recv(), model.entries.front()) {
        (Ok(message), Some(Entry::Message(expected))) => {
            assert_eq!(&*message, &**expected);
            if drops {
                drop(message);
                model.entries.pop_front();
            } else {
                forget(message);
            }
        }
        (Err(TryRecvError::Empty), Some(Entry::Forgotten(..))) => {}
        (Err(TryRecvError::Empty), None) => assert!(!model.closed),
        (Err(TryRecvError::Disconnected), None) => assert!(model.closed),
        (got, expected) => panic!("{got:?} for {expected:?}"),
    }
}

/// Receives `max` messages at most, and compares with the model. The batch is dropped, or forgotten.
fn read_many(receiver: &mut Receiver, model: &mut Model, max: usize, drops: bool) {
    let expected: Vec<_> = model
        .entries
        .iter()
        .map_while(|entry| match entry {
            Entry::Message(bytes) => Some(&**bytes),
            Entry::Forgotten(..) => None,
        })
        .take(max)
        .collect();
    match receiver.try_recv_many(max) {
        Ok(batch) => {
            assert!(batch.iter().eq(expected.iter().copied()), "{batch:?} for {expected:?}");
            assert_eq!(batch.len(), expected.len());
            if drops {
                let count = expected.len();
                drop(batch);
                model.entries.drain(..count);
            } else {
                forget(batch);
            }
        }
        Err(TryRecvError::Empty) => assert!(max > 0 && expected.is_empty()),
        Err(TryRecvError::Disconnected) => assert!(max > 0 && model.closed && expected.is_empty()),
    }
}

/// Runs programs on one of the channels. `clone` makes a sender in place of another one, or gives that
/// back, and `many` says whether forgotten claims hold a place.
macro_rules! runner {
    ($name:ident, $module:ident, many: $many:expr, senders: |$sender:ident| $senders:expr, $replace:expr) => {
        fn $name(capacity: usize, steps: &[Step]) {
            let ($sender, mut receiver) = onbeat::channel::$module::channel(capacity);
            let mut senders = $senders;
            let mut model = Model::default();
            let max = senders[0].len_max();
            for (number, step) in steps.iter().enumerate() {
                let count = senders.len();
                match *step {
                    Step::Commit { sender, len }
                    | Step::CommitPart { sender, len, .. }
                    | Step::Abandon { sender, len }
                    | Step::Forget { sender, len } => {
                        let sender = sender % count;
                        let expected = model.claims(sender, len, max);
                        assert!(len <= max || expected.is_err());
                        let full = match (senders[sender].try_claim(len), expected) {
                            (Ok(claim), Ok(at)) => {
                                let mut entry = use_claim(claim, step, number);
                                if !$many && matches!(entry, Some(Entry::Forgotten(..))) {
                                    entry = None;
                                }
                                model.put(at, entry);
                                false
                            }
                            (Err(error), Err(expected)) => {
                                assert_eq!(error, expected);
                                false
                            }
                            // Room depends on how the ring lies; an empty ring always has some, when
                            // the receiver has skipped what was given up.
                            (Err(error), Ok(at)) => {
                                assert_eq!(error, TryClaimError::Full);
                                assert_eq!(at, model.entries.len());
                                true
                            }
                            (Ok(_), Err(error)) => panic!("no error: {error}"),
                        };
                        if full && model.entries.is_empty() {
                            assert!(receiver.try_recv().is_err());
                            assert!(senders[sender].try_claim(len).is_ok());
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
                    Step::ReadMany { max, drops } => {
                        read_many(&mut receiver, &mut model, max, drops);
                    }
                    Step::Read | Step::ForgetRead => {
                        read(&mut receiver, &mut model, matches!(step, Step::Read));
                    }
                }
            }
            // All senders go, and with them what they forgot.
            drop(senders);
            for entry in model.entries {
                if let Entry::Message(expected) = entry {
                    assert_eq!(&*receiver.try_recv().unwrap(), &*expected);
                }
            }
            assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Disconnected);
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
