//! The exchange: it replays a file as the feed, and takes orders against the replayed book.
//!
//! It runs on a thread of its own with plain blocking tools, no runtime: it is the other side of the
//! sockets, and shares nothing with the engine but the wire. One thread serves both connections, so
//! orders fall between two feed messages, never into one.
//!
//! - [`door`]: a listener and the one client that it lets in;
//! - [`session`]: the server's side of SoupBinTCP;
//! - [`order_port`]: OUCH in, reports out;
//! - [`pace`]: when each feed message is due;
//! - [`matching`]: the fill model.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use onbeat_systems::instrument::{Locate, Symbol};
use onbeat_systems::wire::itch::{FileError, Message};
use onbeat_systems::wire::soup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::args::Speed;
use crate::feed_file::{FeedFile, FeedFileError};
use door::Door;
use order_port::OrderPort;
use pace::Pace;

mod door;
mod matching;
mod order_port;
mod pace;
mod session;

pub(crate) use door::ListenError;
pub(crate) use session::{PASSWORD, SESSION, USERNAME};

/// Feed bytes that are queued before they are handed to the socket, when the exchange does not wait.
const FEED_BATCH: usize = 64 * 1024;
/// How long orders are still served after the end of the feed.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// The longest wait, so that a request to stop is seen.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// What the exchange does.
#[derive(Debug)]
pub(crate) struct ExchangeConfig {
    /// What it replays.
    pub(crate) file: FeedFile,
    /// What it takes orders in.
    pub(crate) symbol: Symbol,
    /// The feed's code of that.
    pub(crate) locate: Locate,
    /// How fast it replays.
    pub(crate) speed: Speed,
    /// The port of the feed; 0 lets the system choose.
    pub(crate) feed_port: u16,
    /// The port for orders; 0 lets the system choose.
    pub(crate) order_port: u16,
    /// After this many feed messages it drops both connections.
    pub(crate) stops_after: Option<u64>,
    /// How long after both logins the feed begins.
    pub(crate) opens_after: Duration,
}

/// A running exchange. Dropping it stops it and waits for its thread.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Where the feed is.
    pub(crate) feed: SocketAddr,
    /// Where orders go.
    pub(crate) orders: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Ending>>,
}

/// How a run of the exchange ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The file was sent to its end.
    Complete,
    /// It stopped after as many messages as it was told to.
    Stopped,
    /// The engine left, or nobody wants it any more.
    Abandoned,
    /// The file makes no sense from here on.
    BadFile(FileError),
    /// The operating system refuses something.
    Failed(io::Error),
}

impl Exchange {
    /// Starts to listen, on the loopback address only.
    ///
    /// # Errors
    ///
    /// When a port is not free.
    pub(crate) fn start(config: ExchangeConfig) -> Result<Self, ListenError> {
        let (feed_door, feed) = Door::listen("feed", config.feed_port)?;
        let (order_door, orders) = Door::listen("order", config.order_port)?;
        let stop = Arc::new(AtomicBool::new(false));
        let floor = Floor {
            feed: feed_door,
            orders: order_door,
            port: OrderPort::new(config.symbol),
            phase: Phase::Waiting,
            next: None,
            pace: Pace::new(config.speed),
            sent: 0,
            reports: Vec::new(),
            stop: Arc::clone(&stop),
            config,
        };
        let thread = thread::spawn(move || floor.run());
        Ok(Self { feed, orders, stop, thread: Some(thread) })
    }

    /// Stops the exchange if it still runs, and says how it ended.
    pub(crate) fn finish(mut self) -> Ending {
        self.join()
    }

    fn join(&mut self) -> Ending {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ending::Abandoned };
        let panicked = |_| Ending::Failed(io::Error::other("the exchange's thread panicked"));
        thread.join().unwrap_or_else(panicked)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.join();
    }
}

/// Where a run is.
#[derive(Debug)]
enum Phase {
    /// Not both clients have logged in.
    Waiting,
    /// Both have; the feed is paced from this moment.
    Open(Instant),
    /// No feed message follows. What is queued is sent; orders are served until this moment.
    Closing { until: Instant, ending: Option<Ending> },
}

/// What streaming came to.
#[derive(Debug)]
enum Progress {
    /// There is more to send at once, or as soon as the socket takes it.
    More,
    /// Nothing is due before this moment.
    Wait(Instant),
    /// There is nothing more to send.
    End(Ending),
}

/// Everything on the exchange's thread.
#[derive(Debug)]
struct Floor {
    config: ExchangeConfig,
    feed: Door,
    orders: Door,
    port: OrderPort,
    phase: Phase,
    /// The message that is sent next, and when; its bytes are in the file's buffer.
    next: Option<(Message, Instant)>,
    pace: Pace,
    sent: u64,
    /// Reports on their way to the order session, as packets.
    reports: Vec<u8>,
    stop: Arc<AtomicBool>,
}

impl Floor {
    fn run(mut self) -> Ending {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(ending)) => return ending,
                Err(error) => return Ending::Failed(error),
            }
        }
    }

    /// Serves both connections once, and waits. `Some` when the run is over.
    fn turn(&mut self) -> io::Result<Option<Ending>> {
        let now = Instant::now();
        if self.stop.load(Ordering::Relaxed) {
            return Ok(Some(self.take_ending()));
        }
        if matches!(self.phase, Phase::Waiting) {
            self.feed.open(now)?;
            self.orders.open(now)?;
            if self.feed.is_live() && self.orders.is_live() {
                self.phase = Phase::Open(now + self.config.opens_after);
            }
        }
        if let Some(feed) = &mut self.feed.session {
            feed.receive(now, |_| {});
        }
        self.serve_orders(now);
        let mut wake = now + WAIT_MAX;
        let mut more = false;
        if let Phase::Open(opened) = self.phase {
            if self.feed.is_gone() {
                return Ok(Some(Ending::Abandoned));
            }
            match self.stream(now, opened) {
                Progress::More => more = true,
                Progress::Wait(due) => wake = wake.min(due),
                Progress::End(ending) => self.close(now, ending),
            }
        }
        self.feed.flush(now);
        self.orders.flush(now);
        if self.is_over(now) {
            return Ok(Some(self.take_ending()));
        }
        for session in [&mut self.feed.session, &mut self.orders.session].into_iter().flatten() {
            wake = wake.min(session.keep_alive(now));
        }
        // What the socket did not take is sent when it has room again.
        if more && self.feed.session.as_ref().is_some_and(|session| !session.has_output()) {
            return Ok(None);
        }
        self.wait(wake)?;
        Ok(None)
    }

    /// Sends the messages that are due, up to a batch.
    fn stream(&mut self, now: Instant, opened: Instant) -> Progress {
        if opened > now {
            return Progress::Wait(opened);
        }
        loop {
            if self.config.stops_after.is_some_and(|count| self.sent >= count) {
                return Progress::End(Ending::Stopped);
            }
            if self.next.is_none() {
                match self.config.file.next() {
                    Ok(Some(message)) => {
                        self.next = Some((message, self.pace.due(message.timestamp(), opened)));
                    }
                    Ok(None) => return Progress::End(Ending::Complete),
                    Err(FeedFileError::Framing(error)) => {
                        return Progress::End(Ending::BadFile(error));
                    }
                    Err(FeedFileError::Io(error)) => return Progress::End(Ending::Failed(error)),
                }
            }
            let Some((message, due)) = self.next else { continue };
            if due > now {
                return Progress::Wait(due);
            }
            let Some(feed) = &mut self.feed.session else { return Progress::More };
            if feed.output_len() >= FEED_BATCH {
                return Progress::More;
            }
            feed.send(self.config.file.bytes());
            self.pace.sent(due, now);
            self.sent += 1;
            self.next = None;
            self.replay(&message);
            self.serve_orders(now);
        }
    }

    /// Moves the exchange's time and its book.
    fn replay(&mut self, message: &Message) {
        if message.timestamp().is_within_day() {
            self.port.set_time(message.timestamp());
        }
        if message.locate() == self.config.locate && message.is_order_flow() {
            let reports = &mut self.reports;
            self.port.apply(message, &mut |report| soup::encode_sequenced(reports, report));
        }
    }

    /// Handles what the order connection has brought, and hands it the reports.
    fn serve_orders(&mut self, now: Instant) {
        let Some(session) = &mut self.orders.session else { return };
        let (port, reports) = (&mut self.port, &mut self.reports);
        session.receive(now, |message| {
            port.handle(message, &mut |report| soup::encode_sequenced(reports, report));
        });
        if session.is_closed() {
            port.client_gone();
            reports.clear();
        } else if !reports.is_empty() {
            session.send_packets(reports);
            reports.clear();
            session.flush(now);
        }
    }

    fn close(&mut self, now: Instant, ending: Ending) {
        let stops = matches!(ending, Ending::Stopped);
        if let Some(feed) = &mut self.feed.session
            && !stops
        {
            feed.send_end();
        }
        self.phase = Phase::Closing { until: now + CLOSING_TIME, ending: Some(ending) };
    }

    /// Whether nothing remains to be done: all is sent, and the order client is done. An exchange that
    /// stops on purpose waits for no client.
    fn is_over(&self, now: Instant) -> bool {
        let Phase::Closing { until, ending } = &self.phase else { return false };
        let sent = self.feed.session.as_ref().is_none_or(|session| !session.has_output());
        let stops = matches!(ending, Some(Ending::Stopped));
        now >= *until || (sent && (stops || self.orders.is_gone()))
    }

    fn take_ending(&mut self) -> Ending {
        match &mut self.phase {
            Phase::Closing { ending, .. } => ending.take().unwrap_or(Ending::Abandoned),
            _ => Ending::Abandoned,
        }
    }

    /// Waits until `wake`, or until a connection has something to do.
    fn wait(&self, wake: Instant) -> io::Result<()> {
        let mut fds = Vec::with_capacity(4);
        for door in [&self.feed, &self.orders] {
            match &door.session {
                Some(session) if !session.is_closed() => {
                    let writes =
                        if session.has_output() { PollFlags::OUT } else { PollFlags::empty() };
                    fds.push(PollFd::from_borrowed_fd(session.fd(), PollFlags::IN | writes));
                }
                None if matches!(self.phase, Phase::Waiting) => {
                    fds.push(PollFd::from_borrowed_fd(door.fd(), PollFlags::IN));
                }
                _ => {}
            }
        }
        let left = wake.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
