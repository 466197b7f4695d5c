//! A bounded channel with many senders in the plainest words, and the programs that are run on it.

use std::{collections::VecDeque, task::Poll};

use onbeat::channel::{SendError, TryRecvError, TrySendError};
use proptest::prelude::*;

/// What a program does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    TrySend,
    TryRecv,
    /// Makes a `send` and polls it once.
    Send,
    /// Polls the pending `send` at this place, counted round.
    Poll(usize),
    /// Drops the pending `send` at this place, counted round.
    Drop(usize),
    Close,
}

/// Programs of some length.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::TrySend),
        6 => Just(Step::TryRecv),
        6 => Just(Step::Send),
        4 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..120)
}

/// The channel in the plainest words: values, and a line of those who wait, the first of whom have been
/// promised a place.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) capacity: usize,
    pub(crate) values: VecDeque<u32>,
    pub(crate) promised: Vec<u32>,
    pub(crate) waiting: VecDeque<u32>,
    pub(crate) closed: bool,
}

impl Model {
    pub(crate) fn has_room(&self) -> bool {
        self.values.len() + self.promised.len() < self.capacity
    }

    pub(crate) fn promise(&mut self) {
        while !self.closed && self.has_room() && !self.waiting.is_empty() {
            self.promised.extend(self.waiting.pop_front());
        }
    }

    pub(crate) fn try_send(&mut self, value: u32) -> Result<(), TrySendError<u32>> {
        if self.closed {
            Err(TrySendError::Closed(value))
        } else if self.has_room() {
            self.values.push_back(value);
            Ok(())
        } else {
            Err(TrySendError::Full(value))
        }
    }

    pub(crate) fn try_recv(&mut self) -> Result<u32, TryRecvError> {
        let value = self.values.pop_front();
        self.promise();
        let none = if self.closed { TryRecvError::Disconnected } else { TryRecvError::Empty };
        value.ok_or(none)
    }

    pub(crate) fn poll(&mut self, value: u32) -> Poll<Result<(), SendError<u32>>> {
        if self.closed {
            return Poll::Ready(Err(SendError(value)));
        }
        let before = self.promised.len();
        self.promised.retain(|&promised| promised != value);
        if self.promised.len() < before {
            self.values.push_back(value);
            return Poll::Ready(Ok(()));
        }
        if !self.waiting.contains(&value) {
            if self.try_send(value).is_ok() {
                return Poll::Ready(Ok(()));
            }
            self.waiting.push_back(value);
        }
        Poll::Pending
    }

    pub(crate) fn forget(&mut self, value: u32) {
        self.promised.retain(|&promised| promised != value);
        self.waiting.retain(|&waiting| waiting != value);
        self.promise();
    }
}
