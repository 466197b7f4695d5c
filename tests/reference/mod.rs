//! Task programs beside a slow reference executor, which is the loop contract in the plainest words.
//!
//! [`run_program`] reads a program from bytes, runs it under onbeat with the virtual clock and in the
//! model, and compares all that can be seen: which task is polled in which tick at which time, what each
//! operation gives, when futures are dropped, what is written into the World.
#![allow(dead_code, reason = "fuzz targets use a part of it")]

mod model;
mod program;
mod real;

/// What can be seen of a program, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    Polled {
        task: usize,
        tick: u64,
        ns: u64,
    },
    /// An operation is over.
    Got {
        task: usize,
        op: usize,
        outcome: Outcome,
    },
    Dropped {
        task: usize,
    },
    Stage {
        stage: usize,
        tick: u64,
    },
    /// The root has ended, and its tick too. What comes behind has no order.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Outcome {
    Done,
    Nothing,
    Value(u32),
    Joined(usize),
    JoinedPanic(usize),
    Elapsed,
    Refused,
}

/// All that can be seen of a program that has ended.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: Vec<Event>,
    /// Who wrote into the World, in order.
    pub(crate) written: Vec<usize>,
    /// The tasks that had not ended when the runtime was dropped.
    pub(crate) left: usize,
}

impl Seen {
    /// Puts what has no order into one.
    fn sort_end(&mut self) {
        let ended = self.events.iter().position(|event| *event == Event::Ended);
        let ended = ended.expect("every program ends");
        self.events[ended..].sort_unstable();
    }
}

/// Runs the program that these bytes say under onbeat and in the model.
///
/// # Panics
///
/// When the two differ.
pub(crate) fn run_program(bytes: &[u8]) {
    let program = program::Program::read(bytes);
    let (mut real, mut model) = (real::run(&program), model::run(&program));
    real.sort_end();
    model.sort_end();
    if let Some(at) = first_difference(&real.events, &model.events) {
        panic!(
            "event {at} differs\nonbeat: {:?}\nmodel: {:?}\nbefore: {:?}\n{program:?}",
            some(&real.events[at..], 8),
            some(&model.events[at..], 8),
            &model.events[at.saturating_sub(40)..at],
        );
    }
    assert_eq!(real, model, "{program:?}");
}

fn first_difference(real: &[Event], model: &[Event]) -> Option<usize> {
    let same = real.iter().zip(model).take_while(|(real, model)| real == model).count();
    (same < real.len().max(model.len())).then_some(same)
}

fn some(events: &[Event], count: usize) -> &[Event] {
    &events[..count.min(events.len())]
}
