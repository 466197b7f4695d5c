//! What no lint covers: layers, length, where `unsafe` may stand, the words of comments, and that
//! everything there is also runs. Rules are data at the top; a violation names its file and line.

#[path = "tidy/source.rs"]
mod source;

use source::{File, Line, all_files, children, has_word, is_name, read, root, rust_files, split};

/// What each module of the library may import, beside itself. The longest name that fits a file is
/// the rule for it; an entry allows what lies under it.
const LAYERS: &[(&str, &[&str])] = &[
    // Layer 0 imports nothing of ours. The reactor implements what ends its own wait.
    ("clock", &[]),
    ("executor", &[]),
    ("machine", &[]),
    ("reactor", &["executor::inbox::Unpark"]),
    ("stats", &[]),
    ("timer::wheel", &[]),
    ("wakers", &[]),
    // The context holds layer 0 and the state of whatever waits for the loop.
    (
        "context",
        &[
            "clock",
            "executor",
            "reactor",
            "stats",
            "timer::wheel",
            "handle::queue::Remote",
            "shutdown::ShutdownState",
            "world::look::Looks",
            "world::wait::TickWaits",
        ],
    ),
    // Layer 1 imports layer 0 and the context, and meets its like only as a `Waker`.
    ("cancel", LAYER_0),
    ("channel", LAYER_0),
    // A handle speaks to other threads for the shutdown and the tasks of its runtime.
    ("handle", &["context", "executor", "shutdown::ShutdownHandle", "task::JoinError"]),
    ("net", LAYER_0),
    // A child of a scope is awaited as a task is, and a budget that is spent waits for a tick.
    (
        "scope",
        &[
            "clock",
            "context",
            "executor::CancelReason",
            "executor::sync",
            "task::JoinError",
            "world::wait::NextTick",
        ],
    ),
    ("shutdown", LAYER_0),
    ("task", LAYER_0),
    ("timer", LAYER_0),
    // What is under way on other threads is work outside of the program.
    ("blocking", &["handle::ExternalWork"]),
    ("tokio_compat", &["handle::ExternalWork"]),
    ("world", LAYER_0),
    // Tasks that belong to an entity are started there, and ended through the handle of their runtime.
    ("world::bound", &["context", "executor", "task", "world"]),
    ("world::tether", &["context", "executor", "handle::queue::Remote"]),
    // The loop imports all; only the plugin, which makes one, and the root import it.
    ("runtime", &[""]),
    ("bevy", &["runtime", "task", "world"]),
    ("", &[""]),
];

const LAYER_0: &[&str] =
    &["clock", "context", "executor", "reactor", "stats", "timer::wheel", "wakers"];

const LINES_MAX: usize = 600;

/// Files that may hold unsafe code. The tests among them count allocations, or make odd wakers.
const UNSAFE_ALLOWED: &[&str] = &[
    "benches/compare/src/counting.rs",
    "benches/compare/src/slab.rs",
    "src/channel/bytes/ring.rs",
    "src/channel/mpsc/queue.rs",
    "src/channel/spsc/ring.rs",
    "src/context.rs",
    "src/executor/inbox.rs",
    "src/executor/memory.rs",
    "src/executor/pool.rs",
    "src/executor/queue.rs",
    "src/executor/ring.rs",
    "src/executor/slab.rs",
    "src/executor/table.rs",
    "src/executor/waker.rs",
    "src/machine.rs",
    "src/reactor/wait.rs",
    "src/world/cached.rs",
    "src/world/change_ticks.rs",
    "src/world/lend.rs",
    "src/world/observe.rs",
    "systems/tests/counting/mod.rs",
    "tests/capacities.rs",
    "tests/change_ticks.rs",
    "tests/token_memory.rs",
    "tests/waker_code.rs",
];

/// What a comment does not say: how things were, and how they may be one day.
const HISTORY: &[&str] = &[
    "no longer",
    "previously",
    "formerly",
    "used to be",
    "for now",
    "todo",
    "fixme",
    "as of now",
    "as of today",
    "as of this",
    "as of version",
    "as of #",
    "as of v#",
    "phase #",
    "milestone",
    "issue ##",
    "issue #",
    "pr ##",
    "bug-#",
];

/// What reads the machine's clock.
const CLOCK_READS: &[&str] = &[
    // Of `Instant`, of `SystemTime`, and of either under another name.
    "::now",
    "_rdtsc",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "gettimeofday",
    "monotonic_ns",
    ".elapsed()",
];

/// Files beside src/clock.rs that read it, and why they may: no runtime of ours drives what they time.
const CLOCK_EXCEPTIONS: &[(&str, &str)] = &[
    ("examples/stress/main.rs", "it says how long it ran, and stops after so many seconds"),
    ("examples/stress/round.rs", "its watchdog looks how long a round takes, in real time"),
    ("src/channel/blocking.rs", "limits the wait of a plain thread, where no runtime is"),
    ("examples/trading_engine/engine/mod.rs", "tells how long a run took"),
    ("examples/trading_engine/engine/summary.rs", "copies a duration of that name"),
    ("examples/trading_engine/exchange/mod.rs", "the venue is a thread with a loop of its own"),
    ("examples/trading_engine/exchange/pace.rs", "paces the venue's messages"),
    ("examples/virtual_hour.rs", "tells how little real time an hour took"),
];

#[test]
fn imports_point_one_way() {
    let mut wrong = Violations::default();
    for file in rust_files(&["src"]) {
        let module = module_of(&file.path);
        let (own, allowed) = layer_of(&module);
        let lines = file.lines[..tests_begin(file)].iter();
        for (line, import) in imports(lines, &module) {
            let may = |prefix: &&str| is_under(&import, prefix);
            if !may(&own) && !allowed.iter().any(may) {
                wrong.add(file, line, format!("`{module}` may not import `{import}`: see LAYERS"));
            }
        }
    }
    wrong.report();
}

#[test]
fn every_module_has_its_layer() {
    let mut wrong = Violations::default();
    for file in rust_files(&["src"]) {
        let module = module_of(&file.path);
        if layer_of(&module).0.is_empty() && !module.is_empty() {
            wrong.add(file, 1, format!("give `{module}` a line in LAYERS"));
        }
    }
    wrong.report();
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let mut wrong = Violations::default();
    for file in rust_files(&["src", "systems/src", "examples"]) {
        let length = file.lines.len();
        if length > LINES_MAX {
            wrong.add(file, length, format!("{length} lines, {LINES_MAX} at most: split it"));
        }
    }
    wrong.report();
}

#[test]
fn unsafe_stands_in_few_files() {
    let mut wrong = Violations::default();
    for file in rust_files(&[""]) {
        let found = file.lines_with(|line| has_word(&line.code, "unsafe"));
        let allowed = UNSAFE_ALLOWED.contains(&&*file.path);
        if let Some(line) = found.first().filter(|_| !allowed) {
            wrong.add(file, *line, "unsafe code outside of UNSAFE_ALLOWED".to_owned());
        }
        if allowed && found.is_empty() {
            wrong.add(file, 1, "has no unsafe code: take it out of UNSAFE_ALLOWED".to_owned());
        }
    }
    let missing = UNSAFE_ALLOWED.iter().filter(|path| !root().join(path).exists());
    wrong.0.extend(missing.map(|path| format!("{path}: of UNSAFE_ALLOWED, does not exist")));
    wrong.report();
}

#[test]
fn comments_tell_neither_history_nor_plans() {
    let mut wrong = Violations::default();
    for (file, comments) in commented_files() {
        for (index, comment) in comments.iter().enumerate() {
            let next = comments.get(index + 1).unwrap_or(&"");
            if let Some(words) = tell_tale(comment, next) {
                wrong.add(
                    file,
                    index + 1,
                    format!("a comment says \"{words}\": history is in git"),
                );
            }
        }
    }
    wrong.report();
}

#[test]
fn no_comment_is_a_banner() {
    let mut wrong = Violations::default();
    for (file, comments) in commented_files() {
        for (index, _) in comments.iter().enumerate().filter(|(_, comment)| is_banner(comment)) {
            wrong.add(file, index + 1, "a banner: make it a module, or leave it out".to_owned());
        }
    }
    wrong.report();
}

#[test]
fn every_test_and_every_doctest_runs() {
    let mut wrong = Violations::default();
    for file in rust_files(&[""]) {
        for line in file.lines_with(|line| fence_skips(&line.comment)) {
            wrong.add(file, line, "a doctest that does not run".to_owned());
        }
        let skips = |line: &Line| line.code.contains("#[") && has_word(&line.code, "ignore");
        for line in file.lines_with(skips) {
            wrong.add(file, line, "a test that does not run".to_owned());
        }
    }
    for file in all_files().filter(|file| file.path.ends_with(".md")) {
        for line in file.lines_with(|line| fence_skips(&line.text)) {
            wrong.add(file, line, "an example that does not run".to_owned());
        }
    }
    wrong.report();
}

#[test]
fn nothing_sleeps_to_wait_for_something() {
    let mut wrong = Violations::default();
    for file in rust_files(&["src", "tests", "systems"]) {
        let sleeps = |line: &Line| {
            line.code.contains("thread::sleep")
                || (line.code.contains("thread::{") && has_word(&line.code, "sleep"))
        };
        for line in file.lines_with(sleeps) {
            wrong.add(file, line, "wait for the event itself, or use the virtual clock".to_owned());
        }
    }
    wrong.report();
}

#[test]
fn only_the_clock_reads_the_clock() {
    let mut wrong = Violations::default();
    for file in rust_files(&["src", "systems/src", "examples"]) {
        if file.path == "src/clock.rs" {
            continue;
        }
        let lines = file.lines_with(|line| CLOCK_READS.iter().any(|read| line.code.contains(read)));
        let excepted = CLOCK_EXCEPTIONS.iter().any(|(path, _)| *path == file.path);
        for line in lines.iter().filter(|_| !excepted) {
            wrong.add(file, *line, "reads the clock, which only src/clock.rs does".to_owned());
        }
        if excepted && lines.is_empty() {
            wrong.add(file, 1, "reads no clock: take it out of CLOCK_EXCEPTIONS".to_owned());
        }
    }
    let missing = CLOCK_EXCEPTIONS.iter().filter(|(path, _)| !root().join(path).exists());
    wrong.0.extend(missing.map(|(path, _)| format!("{path}: of CLOCK_EXCEPTIONS, does not exist")));
    wrong.report();
}

#[test]
fn every_example_is_run_by_ci() {
    let ci = read(".ci/run");
    assert!(ci.contains("in examples/*.rs examples/*/main.rs;"), ".ci/run runs what these find");
    let manifest = read("Cargo.toml");
    let mut found = Vec::new();
    for entry in children("examples") {
        let name = entry.file_stem().expect("an entry has a name").to_string_lossy().into_owned();
        if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push((name.clone(), format!("examples/{name}.rs")));
        } else if entry.join("main.rs").exists() {
            found.push((name.clone(), format!("examples/{name}/main.rs")));
        }
    }
    assert!(!found.is_empty(), "no example found");
    for (name, path) in tables(&manifest, "[[example]]") {
        let usual = found.iter().any(|(stem, file)| *stem == name && Some(file) == path.as_ref());
        assert!(path.is_none() || usual, "Cargo.toml: .ci/run does not find the example `{name}`");
    }
}

#[test]
fn every_bench_has_an_entry_in_its_manifest() {
    let mut wrong = Violations::default();
    for (manifest, folder) in [("Cargo.toml", "benches"), ("systems/Cargo.toml", "systems/benches")]
    {
        let entries = tables(&read(manifest), "[[bench]]");
        for file in children(folder).iter().filter(|path| path.extension().is_some()) {
            let stem = file.file_stem().expect("an entry has a name").to_string_lossy();
            if file.extension().is_some_and(|is| is == "rs")
                && !entries.iter().any(|(name, _)| *name == stem)
            {
                wrong.0.push(format!("{folder}/{stem}.rs: no [[bench]] entry in {manifest}"));
            }
        }
        for (name, _) in entries {
            if !root().join(folder).join(format!("{name}.rs")).exists() {
                wrong.0.push(format!("{manifest}: [[bench]] `{name}` has no file in {folder}"));
            }
        }
    }
    wrong.report();
}

#[test]
fn no_file_names_a_machine() {
    // Put together here, so that this file does not hold them.
    let machine = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["index.crates", ".io"]];
    let more = [["static.crates", ".io"], ["arti", "factory"], ["registry+", "http"]];
    let banned: Vec<String> = machine.iter().chain(&more).map(|parts| parts.concat()).collect();
    let mut wrong = Violations::default();
    for file in all_files() {
        for (index, line) in file.lines.iter().enumerate() {
            if let Some(found) = banned.iter().find(|name| line.text.contains(*name)) {
                wrong.add(file, index + 1, format!("names \"{found}\", which is one machine's"));
            }
        }
    }
    wrong.report();
}

#[test]
fn the_checks_see_code_and_comments_apart() {
    let lines = split(
        "let a = \"unsafe // \\\" x\"; // b 'c\nlet d = '\"'; /* e\nf */ g::<'h>(r#\"i\"j\"#)",
    );
    let code: Vec<_> = lines.iter().map(|line| line.code.as_str()).collect();
    let comments: Vec<_> = lines.iter().map(|line| line.comment.trim()).collect();
    assert_eq!(code, ["let a = \"\"; ", "let d = ''; ", " g::<'h>(\"\")"]);
    assert_eq!(comments, ["b 'c", "e", "f"]);
}

#[test]
fn the_checks_see_nested_and_relative_imports() {
    let lines =
        split("use crate::{\n  a::{self, b as c},\n  d,\n};\nuse super::e;\nf(crate::g::H)");
    let found: Vec<_> = imports(lines.iter(), "x::y").collect();
    let expected = [(1, "a::self"), (1, "a::b"), (1, "d"), (5, "x::e"), (6, "g::H")];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn the_checks_see_words_of_history() {
    let check = |comment, next, expected| {
        assert_eq!(tell_tale(comment, next), expected, "{comment} {next}");
    };
    check(" It is no", " longer so.", Some("no longer"));
    check(" as of the end of the tick", "", None);
    check(" as of 0.2", "", Some("as of #"));
    check(" See issue #12", "", Some("issue ##"));
    check(" a mastodon", "", None);
}

/// What was found wrong, one line each.
#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    fn add(&mut self, file: &File, line: usize, message: String) {
        self.0.push(format!("{}:{line}: {message}", file.path));
    }

    #[track_caller]
    fn report(&self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}

/// The module that a file of `src` is; the root is "".
fn module_of(path: &str) -> String {
    let path = path.strip_prefix("src/").expect("a file of src").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { String::new() } else { path.replace('/', "::") }
}

/// Where the module of tests at the end of `file` begins. Its `super` is the file itself.
fn tests_begin(file: &File) -> usize {
    let is_begin = |pair: &[Line]| {
        pair[0].code == "#[cfg(test)]"
            && pair[1].code.starts_with("mod ")
            && pair[1].code.ends_with('{')
    };
    file.lines.windows(2).position(is_begin).unwrap_or(file.lines.len())
}

fn is_under(path: &str, prefix: &str) -> bool {
    prefix.is_empty()
        || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn layer_of(module: &str) -> (&'static str, &'static [&'static str]) {
    let fitting = LAYERS.iter().filter(|(prefix, _)| is_under(module, prefix));
    *fitting.max_by_key(|(prefix, _)| prefix.len()).expect("the root fits every module")
}

/// Every path of this crate that is named in the code of `module`, with the line where it begins.
fn imports<'a>(
    lines: impl Iterator<Item = &'a Line>,
    module: &str,
) -> impl Iterator<Item = (usize, String)> {
    let code: Vec<&str> = lines.map(|line| line.code.as_str()).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            if before.ends_with(|c| is_name(c) || c == ':') {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let mut rest = &code[at..];
            let mut base = if start == "crate::" { "" } else { module };
            rest = rest.strip_prefix("crate::").unwrap_or(rest);
            while let Some(further) = rest.strip_prefix("super::") {
                base = base.rsplit_once("::").map_or("", |(parent, _)| parent);
                rest = further;
            }
            let mut paths = Vec::new();
            expand(rest, base, &mut paths);
            found.extend(paths.into_iter().map(|path| (line, path)));
        }
    }
    found.sort_by_key(|(line, _)| *line);
    found.into_iter()
}

/// Writes out the path or the group of paths at the start of `text`, and returns what follows.
fn expand<'a>(text: &'a str, base: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    let join =
        |name: &str| if base.is_empty() { name.to_owned() } else { format!("{base}::{name}") };
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest, base, paths);
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            let closed = rest[end..].starts_with('}');
            rest = rest.get(end + 1..).unwrap_or("");
            if closed || rest.is_empty() {
                return rest;
            }
        }
    }
    let end = text.find(|c| !is_name(c) && c != '*').unwrap_or(text.len());
    if end == 0 {
        return text;
    }
    match text[end..].strip_prefix("::") {
        Some(rest) if rest.starts_with(|c| is_name(c) || c == '{' || c == '*') => {
            expand(rest, &join(&text[..end]), paths)
        }
        _ => {
            paths.push(join(&text[..end]));
            &text[end..]
        }
    }
}

/// The files whose comments are read: Rust, and whatever begins a comment with `#`, with the part of
/// each line that is comment.
fn commented_files() -> impl Iterator<Item = (&'static File, Vec<&'static str>)> {
    let scripts = [".toml", ".sh", ".py", ".yml", ".ci/run", ".gitignore"];
    all_files().filter_map(move |file| {
        let after_hash =
            |line: &'static Line| line.text.split_once('#').map_or("", |(_, after)| after);
        if file.path.ends_with(".rs") {
            Some((file, file.lines.iter().map(|line| line.comment.as_str()).collect()))
        } else if scripts.iter().any(|end| file.path.ends_with(end)) {
            Some((file, file.lines.iter().map(after_hash).collect()))
        } else {
            None
        }
    })
}

/// The words of [`HISTORY`] that begin in `comment`; the line after it may complete them.
fn tell_tale(comment: &str, next: &str) -> Option<&'static str> {
    let own = comment.trim();
    let text = format!("{own} {}", next.trim()).to_lowercase();
    let begins = |at: usize| at < own.len() && !text[..at].ends_with(is_name);
    HISTORY.iter().copied().find(|words| {
        // A `#` at the end stands for a digit.
        let (words, digit) = words.strip_suffix('#').map_or((*words, false), |words| (words, true));
        text.match_indices(words).any(|(at, _)| {
            let after = &text[at + words.len()..];
            begins(at)
                && if digit {
                    after.starts_with(|c: char| c.is_ascii_digit())
                } else {
                    !after.starts_with(is_name)
                }
        })
    })
}

/// Whether a comment draws a line, by itself or around a title.
fn is_banner(comment: &str) -> bool {
    let text = comment.trim();
    ['-', '=', '*', '#', '~', '_', '/', '+'].iter().any(|&mark| {
        let bare = text.trim_matches(mark);
        let (before, after) =
            (text.len() - text.trim_start_matches(mark).len(), text.ends_with(mark));
        before >= 4 && (bare.is_empty() || after)
    })
}

/// Whether a line opens a block of code that is compiled but not run, or neither.
fn fence_skips(text: &str) -> bool {
    let info = text.trim().strip_prefix("```");
    info.is_some_and(|info| {
        info.split([',', ' ']).any(|word| word.starts_with("ignore") || word == "no_run")
    })
}

/// The `name` and `path` of every table of `manifest` under this header.
fn tables(manifest: &str, header: &str) -> Vec<(String, Option<String>)> {
    let value = |table: &str, key: &str| {
        let mut lines = table.lines().take_while(|line| !line.starts_with('['));
        let line = lines.find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
        line.map(|value| value.trim().trim_matches('"').to_owned())
    };
    let tables = manifest.split(header).skip(1);
    tables.filter_map(|table| Some((value(table, "name")?, value(table, "path")))).collect()
}
