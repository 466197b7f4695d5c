//! What is printed.

use std::fmt::Write as _;

use crate::question::{Answer, Figure, Reach, Role, Unit};

/// A line of a Markdown table for each contender of a question.
pub(crate) fn markdown(answer: &Answer) -> String {
    let reference = reference(answer);
    let mut text = String::new();
    for figure in &answer.figures {
        line(
            &mut text,
            format_args!(
                "| {} | {} | {:.1} | {:.1} | {:.2} | {} |",
                answer.title,
                figure.name,
                figure.median_ns,
                figure.min_ns,
                figure.ratio,
                verdict(figure, reference)
            ),
        );
    }
    text
}

/// What stands over the lines of [`markdown`].
pub(crate) const MARKDOWN_HEAD: &str = "\
| question | contender | median | least | ratio | |
|---|---|---:|---:|---:|---|";

fn reference(answer: &Answer) -> &'static str {
    let is_reference = |figure: &&Figure| figure.role == Role::Reference;
    answer.figures.iter().find(is_reference).map_or("the reference", |figure| figure.name)
}

/// One question as a table, a line for each contender, in the order of the question.
pub(crate) fn render(answer: &Answer) -> String {
    let reference = reference(answer);
    let mut text = format!("{}\n", answer.title);
    let (median, min) = match answer.unit {
        Unit::Nanoseconds => ("median ns", "min ns"),
        Unit::Bytes => ("bytes", "least"),
    };
    line(&mut text, format_args!("{:<42}{median:>10}{min:>10}{:>9}", "", "ratio"));
    for figure in &answer.figures {
        line(
            &mut text,
            format_args!(
                "  {:<40}{:>10.1}{:>10.1}{:>9.2}  {}",
                figure.name,
                figure.median_ns,
                figure.min_ns,
                figure.ratio,
                verdict(figure, reference)
            ),
        );
    }
    if let Some(note) = answer.note {
        line(&mut text, format_args!("  {note}"));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let mut whole = String::new();
    whole.write_fmt(arguments).expect("writing to a String cannot fail");
    text.push_str(whole.trim_end());
    text.push('\n');
}

fn verdict(figure: &Figure, reference: &str) -> String {
    let answer = |holds| if holds { "yes" } else { "NO" };
    let mut text = match figure.role {
        Role::Reference => "the reference".to_owned(),
        Role::Shown | Role::Peer if figure.ratio > 1.0 => format!("above {reference}"),
        Role::Shown | Role::Peer => String::new(),
        Role::Judged(Reach::Ratio(most)) => {
            format!("reach <= {most:.2}: {}", answer(figure.ratio <= most))
        }
        Role::Judged(Reach::AboveReference(most)) => {
            let above = figure.above_ns;
            format!("{above:.0} ns above, reach <= {most:.0}: {}", answer(above <= most))
        }
        Role::Judged(Reach::Nanoseconds(most)) => {
            format!("reach <= {most:.0} ns: {}", answer(figure.median_ns <= most))
        }
    };
    if let Some((peer, ratio)) = figure.by_peer {
        text += &format!("; {ratio:.2} of {peer}: {}", answer(ratio <= 1.0));
    }
    text
}

/// The last two lines: which bars hold, and which do not, each as a part of its bar.
pub(crate) fn summary(answers: &[Answer]) -> String {
    let (mut held, mut missed) = (Vec::new(), Vec::new());
    for answer in answers {
        for figure in &answer.figures {
            let Some(part) = figure.part_of_reach() else {
                continue;
            };
            let place = if part <= 1.0 { &mut held } else { &mut missed };
            place.push(format!("{}, {} ({part:.2})", answer.title, figure.name));
        }
    }
    let list = |bars: &[String]| if bars.is_empty() { "-".to_owned() } else { bars.join("; ") };
    let all = held.len() + missed.len();
    format!(
        "{} of {all} bars hold (figure / bar): {}\n{} missed: {}",
        held.len(),
        list(&held),
        missed.len(),
        list(&missed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &'static str, role: Role, ratio: f64) -> Figure {
        let median_ns = ratio * 100.0;
        let above_ns = median_ns - 100.0;
        Figure { name, role, median_ns, min_ns: median_ns, ratio, above_ns, by_peer: None }
    }

    fn answer(figures: &[Figure]) -> Answer {
        Answer {
            title: "a question".to_owned(),
            note: Some("a note"),
            unit: Unit::default(),
            figures: figures.to_vec(),
        }
    }

    #[test]
    fn a_note_stands_under_its_table() {
        let text = render(&answer(&[figure("peer", Role::Reference, 1.0)]));
        assert!(text.ends_with("\n  a note\n"), "{text}");
    }

    #[test]
    fn a_loss_is_printed_as_a_loss() {
        let figures = [
            figure("peer", Role::Reference, 1.0),
            figure("ours", Role::Judged(Reach::Ratio(0.35)), 1.25),
            figure("another", Role::Shown, 2.0),
        ];
        let answer = answer(&figures);
        let text = render(&answer);
        assert!(text.contains("1.25  reach <= 0.35: NO"), "{text}");
        assert!(text.contains("above peer"), "{text}");
        assert_eq!(
            summary(&[answer]),
            "0 of 1 bars hold (figure / bar): -\n1 missed: a question, ours (3.57)"
        );
    }

    #[test]
    fn markdown_has_a_line_for_each_contender_and_says_who_lost() {
        let figures = [
            figure("peer", Role::Reference, 1.0),
            figure("ours", Role::Judged(Reach::Ratio(0.35)), 1.25),
        ];
        assert_eq!(
            markdown(&answer(&figures)),
            "| a question | peer | 100.0 | 100.0 | 1.00 | the reference |\n\
             | a question | ours | 125.0 | 125.0 | 1.25 | reach <= 0.35: NO |\n"
        );
    }

    #[test]
    fn a_peer_that_is_better_is_named_and_is_a_loss() {
        let mut ours = figure("ours", Role::Judged(Reach::Ratio(2.0)), 1.25);
        ours.by_peer = Some(("another", 1.10));
        let answer = answer(&[ours]);
        let text = render(&answer);
        assert!(text.contains("reach <= 2.00: yes; 1.10 of another: NO"), "{text}");
        assert!(summary(&[answer]).ends_with("1 missed: a question, ours (1.10)"));
    }

    #[test]
    fn a_bar_that_holds_says_yes() {
        let ours = figure("ours", Role::Judged(Reach::Ratio(0.35)), 0.35);
        let answer = answer(&[ours]);
        assert!(render(&answer).contains("reach <= 0.35: yes"));
        assert_eq!(
            summary(&[answer]),
            "1 of 1 bars hold (figure / bar): a question, ours (1.00)\n0 missed: -"
        );
    }
}
