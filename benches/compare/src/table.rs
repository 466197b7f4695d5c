//! What is printed.

use std::fmt::Write as _;

use crate::question::{Figure, Reach, Role};

/// One question as a table, a line for each contender, in the order of the question.
pub(crate) fn render(title: &str, figures: &[Figure]) -> String {
    let reference = figures
        .iter()
        .find(|figure| figure.role == Role::Reference)
        .map_or("the reference", |figure| figure.name);
    let mut text = format!("{title}\n");
    line(&mut text, format_args!("{:<42}{:>10}{:>10}{:>9}", "", "median ns", "min ns", "ratio"));
    for figure in figures {
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
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let mut whole = String::new();
    whole.write_fmt(arguments).expect("writing to a String cannot fail");
    text.push_str(whole.trim_end());
    text.push('\n');
}

fn verdict(figure: &Figure, reference: &str) -> String {
    let answer = match figure.part_of_reach() {
        Some(part) if part <= 1.0 => "yes",
        _ => "NO",
    };
    match figure.role {
        Role::Reference => "the reference".to_owned(),
        Role::Shown if figure.ratio > 1.0 => format!("slower than {reference}"),
        Role::Shown => String::new(),
        Role::Judged(Reach::Ratio(most)) => format!("reach <= {most:.2}: {answer}"),
        Role::Judged(Reach::AboveReference(most)) => {
            format!("{:.0} ns above, reach <= {most:.0}: {answer}", figure.above_ns)
        }
        Role::Judged(Reach::Nanoseconds(most)) => format!("reach <= {most:.0} ns: {answer}"),
    }
}

/// The last line: how many bars hold.
pub(crate) fn summary(figures: &[Figure]) -> String {
    let parts: Vec<f64> = figures.iter().filter_map(Figure::part_of_reach).collect();
    let held = parts.iter().filter(|part| **part <= 1.0).count();
    format!("{held} of {} bars hold", parts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &'static str, role: Role, ratio: f64) -> Figure {
        let median_ns = ratio * 100.0;
        Figure { name, role, median_ns, min_ns: median_ns, ratio, above_ns: median_ns - 100.0 }
    }

    #[test]
    fn a_loss_is_printed_as_a_loss() {
        let figures = [
            figure("peer", Role::Reference, 1.0),
            figure("ours", Role::Judged(Reach::Ratio(0.35)), 1.25),
            figure("another", Role::Shown, 2.0),
        ];
        let text = render("a question", &figures);
        assert!(text.contains("1.25  reach <= 0.35: NO"), "{text}");
        assert!(text.contains("slower than peer"), "{text}");
        assert_eq!(summary(&figures), "0 of 1 bars hold");
    }

    #[test]
    fn a_bar_that_holds_says_yes() {
        let ours = figure("ours", Role::Judged(Reach::Ratio(0.35)), 0.35);
        assert!(render("a question", &[ours]).contains("reach <= 0.35: yes"));
    }
}
