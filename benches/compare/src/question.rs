//! A question, its contenders, and how they are measured against each other.

use std::time::Duration;

use crate::watchdog::Watchdog;

/// Something that is measured on several contenders in turn.
pub(crate) struct Question {
    /// What is asked, with its unit: the heading of a table.
    pub(crate) title: String,
    /// Operations in a pass.
    pub(crate) operations: usize,
    /// The contenders; exactly one is the reference.
    pub(crate) contenders: Vec<Contender>,
    /// What a reader of the table must know, printed under it.
    pub(crate) note: Option<&'static str>,
    /// What the figures count.
    pub(crate) unit: Unit,
}

/// What a figure counts. A pass gives bytes as so many nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Unit {
    /// Nanoseconds an operation.
    #[default]
    Nanoseconds,
    /// Bytes an operation.
    Bytes,
}

/// One runtime in one configuration.
pub(crate) struct Contender {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// What its figure is for.
    pub(crate) role: Role,
    /// Sets up, does one pass of the work and gives the time of the work alone.
    pub(crate) pass: Box<dyn FnMut() -> Duration>,
}

impl Contender {
    /// A contender that does a pass by calling `pass`.
    pub(crate) fn new(
        name: &'static str,
        role: Role,
        pass: impl FnMut() -> Duration + 'static,
    ) -> Self {
        Self { name, role, pass: Box::new(pass) }
    }
}

/// What a contender's figure is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    /// The others are divided by it.
    Reference,
    /// Printed beside the others, held to nothing.
    Shown,
    /// Loses no wake and corrupts no memory, and does the same: whoever is held to a bar in this question
    /// must also be below this one.
    Peer,
    /// Held to a bar.
    Judged(Reach),
}

/// The bar that a figure must stay under.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reach {
    /// At most this part of the reference.
    Ratio(f64),
    /// At most so many nanoseconds an operation above the reference.
    AboveReference(f64),
    /// At most so many nanoseconds an operation.
    Nanoseconds(f64),
}

/// What the rounds of one contender gave.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// How the table calls the contender.
    pub(crate) name: &'static str,
    /// What the figure is for.
    pub(crate) role: Role,
    /// Nanoseconds an operation, the median of the rounds.
    pub(crate) median_ns: f64,
    /// Nanoseconds an operation in the fastest round.
    pub(crate) min_ns: f64,
    /// The median over the rounds of this contender's time by the reference's of the same round.
    pub(crate) ratio: f64,
    /// The median over the rounds of the nanoseconds above the reference's of the same round.
    pub(crate) above_ns: f64,
    /// Where it is held to a bar and there are peers: the one that is hardest to be below, and the median
    /// over the rounds of this contender's time by that one's.
    pub(crate) by_peer: Option<(&'static str, f64)>,
}

impl Figure {
    /// The figure by its bar: at most 1 holds it. `None` where there is no bar.
    pub(crate) fn part_of_reach(&self) -> Option<f64> {
        let part = match self.role {
            Role::Reference | Role::Shown | Role::Peer => return None,
            Role::Judged(Reach::Ratio(most)) => self.ratio / most,
            Role::Judged(Reach::AboveReference(most)) => self.above_ns / most,
            Role::Judged(Reach::Nanoseconds(most)) => self.median_ns / most,
        };
        Some(self.by_peer.map_or(part, |(_, by_peer)| part.max(by_peer)))
    }
}

/// A question and what was measured.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What was asked.
    pub(crate) title: String,
    /// What a reader of the table must know.
    pub(crate) note: Option<&'static str>,
    /// What the figures count.
    pub(crate) unit: Unit,
    /// A figure for each contender, in the order of the question.
    pub(crate) figures: Vec<Figure>,
}

/// Runs every contender once a round, and starts each round with another one, so that what the
/// machine does meanwhile, and what a contender leaves in the caches, falls on all alike.
pub(crate) fn measure(question: &mut Question, rounds: usize, watchdog: &Watchdog) -> Answer {
    let contenders = question.contenders.len();
    let mut samples = vec![Vec::with_capacity(rounds); contenders];
    for round in 0..rounds {
        for step in 0..contenders {
            let index = (round + step) % contenders;
            let contender = &mut question.contenders[index];
            watchdog.watch(contender.name, &question.title);
            let elapsed = (contender.pass)();
            watchdog.rest();
            samples[index].push(elapsed.as_nanos() as f64 / question.operations as f64);
        }
    }
    let reference = question
        .contenders
        .iter()
        .position(|contender| contender.role == Role::Reference)
        .expect("every question is built with a reference");
    let ratio_to = |own: &[f64], other: usize| {
        median(own.iter().zip(&samples[other]).map(|(own, other)| own / other).collect())
    };
    let figure = |index: usize| {
        let own: &[f64] = &samples[index];
        let pairs = || own.iter().zip(&samples[reference]);
        let Contender { name, role, .. } = question.contenders[index];
        let peers = (0..contenders).filter(|_| matches!(role, Role::Judged(_)));
        let peers = peers.filter(|other| question.contenders[*other].role == Role::Peer);
        let by_peers = peers.map(|other| (question.contenders[other].name, ratio_to(own, other)));
        Figure {
            name,
            role,
            median_ns: median(own.to_vec()),
            min_ns: own.iter().copied().fold(f64::INFINITY, f64::min),
            ratio: ratio_to(own, reference),
            by_peer: by_peers.max_by(|one, other| one.1.total_cmp(&other.1)),
            above_ns: median(pairs().map(|(own, reference)| own - reference).collect()),
        }
    };
    Answer {
        title: question.title.clone(),
        note: question.note,
        unit: question.unit,
        figures: (0..contenders).map(figure).collect(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(role: Role) -> Figure {
        let (median_ns, min_ns, ratio, above_ns) = (40.0, 30.0, 0.5, 20.0);
        Figure { name: "one", role, median_ns, min_ns, ratio, above_ns, by_peer: None }
    }

    #[test]
    fn median_is_the_middle_of_the_sorted_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn each_bar_is_compared_with_its_own_figure() {
        assert_eq!(figure(Role::Shown).part_of_reach(), None);
        assert_eq!(figure(Role::Judged(Reach::Ratio(0.25))).part_of_reach(), Some(2.0));
        assert_eq!(figure(Role::Judged(Reach::AboveReference(40.0))).part_of_reach(), Some(0.5));
        assert_eq!(figure(Role::Judged(Reach::Nanoseconds(80.0))).part_of_reach(), Some(0.5));
    }

    #[test]
    fn who_is_judged_is_held_to_its_bar_and_to_the_best_peer() {
        let pass = |ns| move || Duration::from_nanos(ns);
        let mut question = Question {
            title: "one that is above a peer".to_owned(),
            operations: 1,
            contenders: vec![
                Contender::new("reference", Role::Reference, pass(100)),
                Contender::new("own", Role::Judged(Reach::Ratio(2.0)), pass(150)),
                Contender::new("slow", Role::Peer, pass(300)),
                Contender::new("quick", Role::Peer, pass(120)),
            ],
            note: None,
            unit: Unit::default(),
        };
        let figures = measure(&mut question, 3, &Watchdog::start(Duration::from_secs(60))).figures;
        assert_eq!(figures[1].by_peer, Some(("quick", 1.25)));
        assert_eq!(figures[1].part_of_reach(), Some(1.25));
        assert_eq!(figures[2].by_peer, None);
        assert_eq!(figures[3].part_of_reach(), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut round = 0_u64;
        let mut other = 0_u64;
        let mut question = Question {
            title: "a slow machine in every second round".to_owned(),
            operations: 1,
            contenders: vec![
                Contender::new("reference", Role::Reference, move || {
                    round += 1;
                    Duration::from_nanos(if round.is_multiple_of(2) { 1_000 } else { 100 })
                }),
                Contender::new("half", Role::Shown, move || {
                    other += 1;
                    Duration::from_nanos(if other.is_multiple_of(2) { 500 } else { 50 })
                }),
            ],
            note: None,
            unit: Unit::default(),
        };
        let figures = measure(&mut question, 4, &Watchdog::start(Duration::from_secs(60))).figures;
        assert_eq!(figures[1].ratio, 0.5);
        assert_eq!(figures[1].min_ns, 50.0);
    }
}
