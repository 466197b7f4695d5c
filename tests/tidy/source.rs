//! The project's text files, and Rust taken apart into code and comments.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// A text file, by its path from the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
}

impl File {
    /// The numbers, from 1, of the lines that `pick` picks.
    pub(crate) fn lines_with(&self, pick: impl Fn(&Line) -> bool) -> Vec<usize> {
        let numbered = self.lines.iter().enumerate();
        numbered.filter(|(_, line)| pick(line)).map(|(index, _)| index + 1).collect()
    }
}

#[derive(Default)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Without comments, and with nothing in its strings.
    pub(crate) code: String,
    /// What stands behind `//`, `///`, `//!`, or in a block comment.
    pub(crate) comment: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What lies in `folder`, in order of name.
pub(crate) fn children(folder: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths
}

/// Every text file of the project, in order of path.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let mut found = Vec::new();
    let mut left = vec![root().to_owned()];
    while let Some(path) = left.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !["target", ".git"].contains(&&*name) {
                let entries = fs::read_dir(&path).expect("a folder of this project is readable");
                left.extend(entries.map(|entry| entry.expect("readable").path()));
            }
        } else if name != "Cargo.lock"
            // What is not UTF-8 is data, and holds no words.
            && let Ok(text) = fs::read_to_string(&path)
        {
            let lines = if name.ends_with(".rs") { split(&text) } else { plain(&text) };
            let path = path.strip_prefix(root()).expect("found under the root");
            found.push(File { path: path.to_string_lossy().into_owned(), lines });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
});

pub(crate) fn all_files() -> impl Iterator<Item = &'static File> {
    FILES.iter()
}

/// The files under one of `folders`; "" is the whole project.
pub(crate) fn rust_files(folders: &[&str]) -> impl Iterator<Item = &'static File> {
    FILES.iter().filter(|file| {
        let under = |folder: &&str| folder.is_empty() || Path::new(&file.path).starts_with(folder);
        file.path.ends_with(".rs") && folders.iter().any(under)
    })
}

fn plain(text: &str) -> Vec<Line> {
    text.lines().map(|line| Line { text: line.to_owned(), ..Line::default() }).collect()
}

/// Where [`split`] stands.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Code,
    LineComment,
    BlockComment,
    /// A string, with the number of `#` that end it; `None` where `\` escapes.
    Text(Option<usize>),
}

/// Takes Rust apart into code and comments.
pub(crate) fn split(source: &str) -> Vec<Line> {
    let mut lines = plain(source);
    let mut inside = Inside::Code;
    for line in &mut lines {
        let text = line.text.clone();
        let mut rest = text.as_str();
        if inside == Inside::LineComment {
            inside = Inside::Code;
        }
        while let Some(next) = rest.chars().next() {
            let (taken, then) = step(rest, inside, line.code.chars().last());
            match (inside, then) {
                (Inside::Code, Inside::Code) if taken > next.len_utf8() => line.code += "''",
                (Inside::Code, Inside::Code) => line.code.push(next),
                (Inside::Code, Inside::Text(_)) => line.code.push('"'),
                (Inside::Text(_), Inside::Code) => line.code.push('"'),
                (Inside::LineComment | Inside::BlockComment, then) if then == inside => {
                    line.comment.push(next);
                }
                _ => {}
            }
            inside = then;
            rest = &rest[taken..];
        }
        let doc = line.comment.strip_prefix(['/', '!']).map(str::to_owned);
        line.comment = doc.unwrap_or(std::mem::take(&mut line.comment));
    }
    lines
}

/// How many bytes to take from `rest`, and where that leads. `before` is the last character of code.
fn step(rest: &str, inside: Inside, before: Option<char>) -> (usize, Inside) {
    let first = rest.chars().next().map_or(0, char::len_utf8);
    match inside {
        Inside::Code => start(rest, before).unwrap_or((first, Inside::Code)),
        Inside::BlockComment if rest.starts_with("*/") => (2, Inside::Code),
        Inside::Text(None) if rest.starts_with('\\') => {
            (1 + rest[1..].chars().next().map_or(0, char::len_utf8), inside)
        }
        Inside::Text(None) if rest.starts_with('"') => (1, Inside::Code),
        Inside::Text(Some(hashes)) => {
            let end = format!("\"{}", "#".repeat(hashes));
            if rest.starts_with(&end) { (end.len(), Inside::Code) } else { (first, inside) }
        }
        _ => (first, inside),
    }
}

/// The comment, string or character that begins here, if one does.
fn start(rest: &str, before: Option<char>) -> Option<(usize, Inside)> {
    if rest.starts_with("//") {
        return Some((2, Inside::LineComment));
    }
    if rest.starts_with("/*") {
        return Some((2, Inside::BlockComment));
    }
    if rest.starts_with('"') {
        return Some((1, Inside::Text(None)));
    }
    if let Some(raw) =
        rest.strip_prefix('r').filter(|_| !before.is_some_and(|c| is_name(c) && c != 'b'))
    {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return Some((hashes + 2, Inside::Text(Some(hashes))));
        }
    }
    // A character, as apart from a lifetime.
    let quoted = rest.strip_prefix('\'')?;
    let mut characters = quoted.char_indices().skip(1);
    let from = if quoted.starts_with('\\') { characters.nth(1)?.0 } else { characters.next()?.0 };
    if quoted.starts_with('\\') || quoted[from..].starts_with('\'') {
        return Some((from + quoted[from..].find('\'')? + 2, Inside::Code));
    }
    None
}

pub(crate) fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `word` stands in `text` by itself.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_name) && !text[at + word.len()..].starts_with(is_name)
    })
}
