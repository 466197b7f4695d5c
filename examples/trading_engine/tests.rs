//! The example from the outside: real sockets, real files, and what a user sees.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{PoisonError, RwLock};
use std::thread;

use onbeat_systems::price::{MarketTime, Price, Qty, Side};
use onbeat_systems::risk::Refusal;
use onbeat_systems::wire::itch::{
    AddOrder, Frames, Header, MatchNumber, Message, OrderDelete, OrderExecuted, OrderRef,
    encode_frame,
};
use onbeat_systems::wire::soup;

use super::*;
use crate::args::{BUNDLED_FEED, Speed};

/// The messages of the bundled file, and those that make a row.
const MESSAGES: u64 = 10_060;
const ROWS: usize = 10_055;

/// Held for writing by the test whose result hangs on the time that orders take, so that no other test
/// takes the processor from it, and for reading by the others.
static MACHINE: RwLock<()> = RwLock::new(());

/// Ends the process when a test takes longer than a minute.
struct Watchdog {
    _done: mpsc::Sender<()>,
}

fn watchdog() -> Watchdog {
    let (done, waits) = mpsc::channel::<()>();
    thread::spawn(move || {
        if waits.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("a test of the trading engine hangs");
            std::process::abort();
        }
    });
    Watchdog { _done: done }
}

/// A file in the system's folder for such, removed in the end.
struct TempFile(PathBuf);

impl TempFile {
    fn new(content: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("onbeat-trading-engine-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a user sees of a run.
struct Seen {
    exit: Exit,
    summary: Option<Summary>,
    out: String,
    errors: String,
}

impl Seen {
    fn summary(&self) -> &Summary {
        self.summary.as_ref().expect("the engine has started")
    }
}

fn see(args: &[&str]) -> Seen {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    see_at_once(args)
}

fn see_at_once(args: &[&str]) -> Seen {
    let _watchdog = watchdog();
    let args = Args::try_parse_from([&["trading_engine"], args].concat()).unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let Run { exit, summary } = run(&args, false, &mut out, &mut errors);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Seen { exit, summary, out: text(out), errors: text(errors) }
}

/// A run at the full speed on a file with this content.
fn see_file(content: &[u8], args: &[&str]) -> Seen {
    let file = TempFile::new(content);
    see(&[&["--speed", "max", "--feed", file.path()], args].concat())
}

fn bundled() -> Vec<u8> {
    fs::read(BUNDLED_FEED).unwrap()
}

/// The first messages of the bundled file, framed.
fn bundled_start(messages: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for frame in Frames::new(&bundled()).take(messages) {
        encode_frame(&mut file, frame.unwrap().bytes);
    }
    file
}

fn push(file: &mut Vec<u8>, message: &Message) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).unwrap();
    encode_frame(file, &bytes);
}

/// A header of the bundled file's instrument after its opening.
fn header() -> Header {
    let last = Frames::new(&bundled()).take(60).last().unwrap().unwrap().decode().unwrap();
    Header { locate: onbeat_systems::instrument::Locate::new(14), ..last.header() }
}

fn add(reference: u64, shares: u64) -> Message {
    Message::AddOrder(AddOrder {
        header: header(),
        reference: OrderRef(reference),
        side: Side::Buy,
        qty: Qty::new(shares),
        symbol: "AAPL".parse().unwrap(),
        price: Price::from_ticks(1_600_000),
        attribution: None,
    })
}

fn execute(reference: u64, shares: u64) -> Message {
    Message::OrderExecuted(OrderExecuted {
        header: header(),
        reference: OrderRef(reference),
        qty: Qty::new(shares),
        match_number: MatchNumber(1),
    })
}

fn delete(reference: u64) -> Message {
    Message::OrderDelete(OrderDelete { header: header(), reference: OrderRef(reference) })
}

#[test]
fn the_default_run_trades_on_both_sides_is_refused_and_reports() {
    let alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    let seen = see_at_once(&[]);
    drop(alone);
    assert_eq!((seen.exit, seen.errors.as_str()), (Exit::Success, ""));
    let summary = seen.summary();
    let (buys, sells) = summary.position.fills();
    assert!(buys >= 20 && sells >= 20, "{buys} buys and {sells} sells\n{}", seen.out);
    let in_trading = summary.risk.refused_total() - summary.risk.refused(Refusal::Halted);
    assert!(in_trading >= 1, "{}", seen.out);
    assert_eq!(summary.open_orders, 0, "all orders are taken back at the end");
    assert_eq!(summary.feed.messages, MESSAGES);
    let lines = seen.out.lines().filter(|line| line.ends_with("ticks/s")).count();
    assert!(lines >= 8, "a line every 250 ms for 2.8 s\n{}", seen.out);
    let parts = ["feed ", "book ", "orders ", "fills ", "refusals ", "position ", "p&l ", "ticks "];
    for part in parts {
        assert!(seen.out.lines().any(|line| line.starts_with(part)), "{part}\n{}", seen.out);
    }
    assert_histograms_are_real(summary);
    for histogram in HISTOGRAMS {
        assert!(seen.out.contains(histogram), "{histogram}\n{}", seen.out);
    }
}

/// The names of the histograms, in the report and in the help that explains them.
const HISTOGRAMS: [&str; 3] =
    ["tick duration, to last system ", "feed read to order written ", "decode to book "];

#[track_caller]
fn assert_histograms_are_real(summary: &Summary) {
    let telemetry = &summary.telemetry;
    for histogram in
        [telemetry.tick_duration_ns(), telemetry.feed_to_order_ns(), telemetry.decode_to_book_ns()]
    {
        assert!(histogram.value_at_quantile(0.5) > 0, "{telemetry}");
    }
}

#[test]
fn every_histogram_has_a_p50_at_full_speed_too() {
    let seen = see(&["--speed", "max"]);
    assert_eq!(seen.exit, Exit::Success);
    assert_histograms_are_real(seen.summary());
    assert!(seen.out.contains("vary from run to run"), "{}", seen.out);
}

/// The rows of a CSV file by their first column.
fn rows(csv: &str) -> HashMap<&str, &str> {
    csv.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect()
}

fn bbo_rows(args: &[&str]) -> String {
    let out = TempFile::new(b"");
    let seen = see(&[args, &["--bbo-out", out.path()]].concat());
    assert_eq!(seen.exit, Exit::Success, "{}", seen.errors);
    fs::read_to_string(&out.0).unwrap()
}

#[test]
fn the_book_equals_the_recorded_best_bid_and_ask_after_each_message() {
    let csv = bbo_rows(&["--speed", "max"]);
    let header = "message_index,timestamp_ns,bid_price,bid_size,ask_price,ask_size";
    assert_eq!(csv.lines().next(), Some(header));
    assert_eq!(csv.lines().count(), 1 + ROWS);
    let ours = rows(&csv);
    let recorded_path = Path::new(BUNDLED_FEED).with_file_name("aapl-20190130-bbo.csv");
    let recorded_csv = fs::read_to_string(recorded_path).unwrap();
    let recorded = rows(&recorded_csv);
    assert_eq!(recorded.len(), 10_000);
    for (index, row) in recorded {
        assert_eq!(ours.get(index), Some(&row), "message {index}");
    }
}

#[test]
fn a_spinning_engine_at_full_speed_books_the_same() {
    assert_eq!(bbo_rows(&["--speed", "max", "--spin"]), bbo_rows(&["--speed", "max"]));
}

#[track_caller]
fn assert_set_up_fails(seen: &Seen, names: &str) {
    assert_eq!(seen.exit, Exit::SetUp, "{}", seen.errors);
    assert!(seen.errors.contains(names), "{}", seen.errors);
}

#[test]
fn a_missing_or_empty_file_is_named() {
    assert_set_up_fails(&see(&["--feed", "/nowhere/feed.itch"]), "/nowhere/feed.itch");
    assert_set_up_fails(&see_file(b"", &[]), "it is empty");
    let folder = std::env::temp_dir();
    assert_set_up_fails(&see(&["--feed", folder.to_str().unwrap()]), "is not a regular file");
}

#[test]
fn an_unknown_symbol_is_named() {
    assert_set_up_fails(&see(&["--symbol", "MSFT"]), "no directory message of MSFT; it names AAPL");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_set_up_fails(&see(&["--feed-port", &port]), &format!("feed port {port}"));
    assert_set_up_fails(&see(&["--order-port", &port]), &format!("order port {port}"));
}

#[test]
fn a_feed_that_is_also_the_output_is_refused_and_left_alone() {
    let path = std::env::temp_dir().join(format!("onbeat-own-output-{}.itch", std::process::id()));
    fs::write(&path, bundled()).unwrap();
    let name = path.to_str().unwrap();
    let seen = see(&["--feed", name, "--bbo-out", name]);
    assert_set_up_fails(&seen, "is the feed itself");
    assert_eq!(fs::read(&path).unwrap(), bundled());
    fs::remove_file(&path).unwrap();
}

#[test]
fn an_unwritable_bbo_file_is_named_before_anything_starts() {
    let seen = see(&["--bbo-out", "/nowhere/bbo.csv"]);
    assert_set_up_fails(&seen, "/nowhere/bbo.csv");
    assert!(seen.summary.is_none());
}

#[test]
fn an_exchange_that_goes_in_the_middle_is_named_and_the_rest_reported() {
    for speed in ["max", "100"] {
        let seen = see(&["--speed", speed, "--exchange-stops-after", "5000"]);
        assert_set_up_fails(&seen, "session is lost");
        assert_eq!(seen.summary().feed.messages, 5_000);
        assert!(seen.out.contains("5000 messages"), "{}", seen.out);
    }
}

#[test]
fn an_exchange_that_goes_before_the_first_message_is_named() {
    let seen = see(&["--exchange-stops-after", "0"]);
    assert_set_up_fails(&seen, "after 0 messages");
}

/// A file that is damaged after its first 100 messages.
#[track_caller]
fn assert_damaged(damage: &[u8], says: &str) {
    let good = bundled_start(100);
    let seen = see_file(&[&good, damage].concat(), &[]);
    assert_eq!(seen.exit, Exit::Framing, "{}", seen.errors);
    let place = format!("message 100 at offset {}", good.len());
    assert!(seen.errors.contains(&place) && seen.errors.contains(says), "{}", seen.errors);
    assert_eq!(seen.summary().feed.messages, 100, "what came before is booked");
    assert!(seen.out.contains("100 messages"), "and reported\n{}", seen.out);
}

#[test]
fn a_truncated_file_ends_the_run_with_offset_and_index() {
    assert_damaged(b"\x00", "ends within a length");
    assert_damaged(b"\x00\x13D\x00\x0e", "the length says 19 bytes");
}

#[test]
fn a_length_that_does_not_fit_the_type_ends_the_run_with_offset_and_index() {
    assert_damaged(b"\x00\x02D\x00\x00\x13", "message 'D' has 2 bytes");
    assert_damaged(b"\x00\x00\x00\x13", "length is zero");
}

#[test]
fn a_type_that_is_not_in_itch_ends_the_run_with_offset_and_index() {
    assert_damaged(b"\x00\x01z\x00\x13", "type 'z'");
}

#[test]
fn a_file_that_is_damaged_before_it_names_an_instrument_is_a_damaged_file() {
    let damage: &[u8] = b"\x00\x01?";
    let directory = Frames::new(&bundled())
        .position(|frame| frame.unwrap().bytes[0] == b'R')
        .expect("the bundled file names an instrument");
    for messages in [0, directory] {
        let good = bundled_start(messages);
        let seen = see_file(&[&good, damage].concat(), &[]);
        assert_eq!(seen.exit, Exit::Framing);
        let place = format!("message {messages} at offset {}", good.len());
        assert!(seen.errors.contains(&place), "{}", seen.errors);
        let before = format!("feed       {messages} messages before it");
        assert!(seen.out.contains(&before), "{}", seen.out);
    }
}

#[test]
fn a_file_that_is_damaged_before_it_names_the_symbol_asked_for_says_so() {
    let good = bundled_start(100);
    let seen = see_file(&[&good, b"\x00".as_slice()].concat(), &["--symbol", "MSFT"]);
    assert_eq!(seen.exit, Exit::Framing);
    assert!(seen.errors.contains("no directory message of MSFT"), "{}", seen.errors);
    assert!(seen.out.contains("100 messages before it"), "{}", seen.out);
}

/// The opening of the bundled file and seven messages that the book cannot do, in whole or in part.
fn contradictions() -> Vec<u8> {
    let mut file = bundled_start(60);
    push(&mut file, &add(9_001, 100));
    for message in [
        execute(77, 10),
        execute(9_001, 500),
        delete(9_001),
        add(0x703c15, 5),
        delete(77),
        delete(78),
        delete(79),
    ] {
        push(&mut file, &message);
    }
    file
}

#[test]
fn messages_that_contradict_the_book_are_counted_and_the_first_five_named() {
    let out = TempFile::new(b"");
    let seen = see_file(&contradictions(), &["--bbo-out", out.path()]);
    assert_eq!((seen.exit, seen.errors.as_str()), (Exit::Success, ""));
    let errors = seen.summary().feed.errors;
    assert_eq!((errors.total(), errors.over_execution, errors.duplicate_reference), (7, 1, 1));
    assert!(seen.out.contains("7 messages have wrong content; the first 5:"), "{}", seen.out);
    for (index, says) in [
        (61, "order 77 is unknown"),
        (62, "order 9001 is executed for 500 shares and has 100"),
        (63, "order 9001 is unknown"),
        (64, "lives already"),
        (65, "order 77 is unknown"),
    ] {
        let named = |line: &str| line.contains(&format!("message {index}:")) && line.contains(says);
        assert!(seen.out.lines().any(named), "message {index}\n{}", seen.out);
    }
    let rows = fs::read_to_string(&out.0).unwrap().lines().count() - 1;
    assert_eq!(rows, 55 + 8, "each of them has its row");
}

/// The opening of the bundled file, and a message of each type that has a side, with none.
fn sides_that_are_none() -> Vec<u8> {
    let mut file = bundled_start(60);
    for (kind, length) in [(b'A', 36), (b'F', 40), (b'P', 44)] {
        let mut bytes = Vec::new();
        add(9_001, 100).encode(&mut bytes).unwrap();
        bytes.resize(length, b' ');
        bytes[0] = kind;
        bytes[19] = b'?';
        encode_frame(&mut file, &bytes);
    }
    push(&mut file, &add(9_002, 100));
    file
}

#[test]
fn a_side_that_is_neither_b_nor_s_is_content_and_the_rest_is_read() {
    let out = TempFile::new(b"");
    let seen = see_file(&sides_that_are_none(), &["--bbo-out", out.path()]);
    assert_eq!((seen.exit, seen.errors.as_str()), (Exit::Success, ""));
    let feed = &seen.summary().feed;
    assert_eq!((feed.messages, feed.errors.total(), feed.errors.bad_side), (64, 3, 3));
    for index in 60..63 {
        let says = format!("message {index}: order 9001 has the side '?', neither 'B' nor 'S'");
        assert!(seen.out.contains(&says), "{says}\n{}", seen.out);
    }
    let csv = fs::read_to_string(&out.0).unwrap();
    let indices: Vec<_> = csv.lines().skip(56).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(indices, ["60", "61", "62", "63"], "each has its row");
    assert_eq!(see_file(&sides_that_are_none(), &["--strict"]).exit, Exit::Content);
}

#[test]
fn wrong_timestamps_do_not_stall_a_paced_run_and_those_beyond_the_day_are_content() {
    const DAY_NS: u64 = 86_400_000_000_000;
    let mut file = bundled_start(60);
    let opening_ns = header().timestamp.ns();
    // Two beyond the day, one at its end, one before the opening, and back to it.
    for (place, ns) in [DAY_NS, (1 << 48) - 1, DAY_NS - 1, 1, opening_ns].into_iter().enumerate() {
        let Message::AddOrder(mut bid) = add(9_001 + place as u64, 100) else { unreachable!() };
        bid.header.timestamp = MarketTime::from_ns(ns);
        push(&mut file, &Message::AddOrder(bid));
    }
    let (file, out) = (TempFile::new(&file), TempFile::new(b""));
    let seen = see(&["--speed", "1", "--feed", file.path(), "--bbo-out", out.path()]);
    assert_eq!((seen.exit, seen.errors.as_str()), (Exit::Success, ""));
    let feed = &seen.summary().feed;
    assert_eq!((feed.messages, feed.errors.total(), feed.errors.time_beyond_day), (65, 2, 2));
    assert!(seen.out.contains("message 60: its timestamp of 86400000000000 ns"), "{}", seen.out);
    assert_eq!(fs::read_to_string(&out.0).unwrap().lines().count(), 1 + 55 + 5);
    let strict = see(&["--speed", "1", "--feed", file.path(), "--strict"]);
    assert_eq!(strict.exit, Exit::Content);
}

#[test]
fn with_strict_messages_that_contradict_the_book_exit_with_3() {
    let seen = see_file(&contradictions(), &["--strict"]);
    assert_eq!(seen.exit, Exit::Content);
    assert!(seen.errors.contains("7 messages"), "{}", seen.errors);
    assert_eq!(
        see(&["--speed", "max", "--strict"]).exit,
        Exit::Success,
        "the bundled file is clean"
    );
}

#[test]
fn another_symbol_of_the_file_can_be_traded() {
    let mut file = bundled_start(60);
    let directory = Frames::new(&bundled()).nth(2).unwrap().unwrap().decode().unwrap();
    let Message::StockDirectory(mut other) = directory else { panic!("message 2 is a directory") };
    other.symbol = "MSFT".parse().unwrap();
    other.header.locate = onbeat_systems::instrument::Locate::new(15);
    push(&mut file, &Message::StockDirectory(other));
    let Message::AddOrder(mut bid) = add(9_001, 100) else { panic!("`add` makes an add message") };
    bid.header.locate = other.header.locate;
    push(&mut file, &Message::AddOrder(bid));
    let out = TempFile::new(b"");
    let seen = see_file(&file, &["--symbol", "MSFT", "--bbo-out", out.path()]);
    assert_eq!(seen.exit, Exit::Success, "{}", seen.errors);
    let csv = fs::read_to_string(&out.0).unwrap();
    let row = format!("61,{},1600000,100,0,0", bid.header.timestamp.ns());
    assert_eq!(csv.lines().skip(1).collect::<Vec<_>>(), [row]);
}

#[test]
fn a_parked_engine_without_a_feed_makes_fewer_than_ten_ticks_a_second() {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let _watchdog = watchdog();
    let args = Args::try_parse_from(["trading_engine"]).unwrap();
    let Prepared { directory, file, .. } = prepare(&args, &mut io::sink()).unwrap();
    // Connected and logged in, the engine hears nothing but heartbeats, until the exchange goes.
    let quiet = soup::HEARTBEAT_AFTER * 5 / 2;
    let exchange = Exchange::start(ExchangeConfig {
        file,
        symbol: directory.symbol,
        locate: directory.header.locate,
        speed: Speed::Max,
        feed_port: 0,
        order_port: 0,
        stops_after: Some(0),
        opens_after: quiet,
    })
    .unwrap();
    let config = EngineConfig {
        feed: exchange.feed,
        orders: exchange.orders,
        symbol: directory.symbol,
        locate: directory.header.locate,
        spin: false,
        log_bbo: false,
        handle_signals: false,
    };
    let summary = engine::trade(&config, &mut io::sink());
    let beats: Vec<_> = summary.beats.iter().filter(|beat| beat.at < quiet).collect();
    let [first, .., last] = beats.as_slice() else { panic!("{beats:?}") };
    let seconds = (last.at - first.at).as_secs_f64();
    assert!(seconds >= 1.5, "{beats:?}");
    let rate = (last.ticks - first.ticks) as f64 / seconds;
    assert!(rate < 10.0, "{rate} ticks a second: {beats:?}");
}

#[test]
fn the_help_names_every_argument_and_exit_code() {
    use clap::CommandFactory;
    let help = Args::command().render_long_help().to_string();
    for word in ["--feed", "--symbol", "--speed", "--spin", "--bbo-out", "--strict", "Examples:"] {
        assert!(help.contains(word), "{word}\n{help}");
    }
    for histogram in HISTOGRAMS {
        assert!(help.contains(histogram), "{histogram}\n{help}");
    }
    for exit in 0..=3 {
        assert!(help.contains(&format!("\n  {exit}  ")), "{exit}\n{help}");
    }
}
