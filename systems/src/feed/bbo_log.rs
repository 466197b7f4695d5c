//! The best bid and offer after each message, for a comparison with other books.

use std::io;

use bevy_ecs::resource::Resource;

use super::FeedEvent;
use crate::book::{Bbo, BookLevel};
use crate::instrument::Locate;
use crate::price::{MarketTime, Price, Qty};

/// The best bid and offer after one message; zero price and size where a side is empty.
///
/// [`BboLog`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BboRow {
    /// Which message of the feed this is after, from 0.
    pub message_index: u64,
    /// When it happened at the exchange.
    pub timestamp: MarketTime,
    /// The highest bid.
    pub bid_price: Price,
    /// The shares there.
    pub bid_size: Qty,
    /// The lowest ask.
    pub ask_price: Price,
    /// The shares there.
    pub ask_size: Qty,
}

/// A row for each order message of one instrument, when it is enabled; by default it is not.
///
/// ```
/// use onbeat_systems::book::{Bbo, BookLevel};
/// use onbeat_systems::feed::{BboLog, FeedEvent};
/// use onbeat_systems::instrument::Locate;
/// use onbeat_systems::price::{Price, Qty};
/// use onbeat_systems::wire::itch::{Header, Message, OrderDelete};
/// use onbeat_systems::wire::OrderRef;
///
/// let header = Header { locate: Locate::new(14), ..Header::default() };
/// let message = Message::OrderDelete(OrderDelete { header, reference: OrderRef(7) });
/// let event = FeedEvent { index: 3, message, stamp_ns: 0 };
/// let bid = BookLevel { price: Price::from_ticks(1_632_400), qty: Qty::new(100), orders: 1 };
/// let bbo = Bbo { bid: Some(bid), ask: None };
///
/// let mut log = BboLog::enabled(Locate::new(14));
/// log.record(&event, &bbo);
/// assert_eq!((log.rows().len(), log.rows()[0].bid_size), (1, Qty::new(100)));
/// let mut csv = Vec::new();
/// log.write_csv(&mut csv)?;
/// assert_eq!(String::from_utf8_lossy(&csv).lines().count(), 2, "a heading, and a row");
///
/// let mut off = BboLog::disabled();
/// off.record(&event, &bbo);
/// assert!(off.rows().is_empty());
/// # std::io::Result::Ok(())
/// ```
#[derive(Resource, Clone, Default, Debug)]
pub struct BboLog {
    locate: Option<Locate>,
    rows: Vec<BboRow>,
}

impl BboLog {
    /// A log that takes no row.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { locate: None, rows: Vec::new() }
    }

    /// A log of the instrument that has `locate`. It grows without bound.
    #[must_use]
    pub const fn enabled(locate: Locate) -> Self {
        Self { locate: Some(locate), rows: Vec::new() }
    }

    /// The rows so far.
    #[must_use]
    pub fn rows(&self) -> &[BboRow] {
        &self.rows
    }

    /// Takes the row after `event` where the event is order flow of the logged instrument. Trades
    /// against hidden orders count, although they change nothing.
    #[inline]
    pub fn record(&mut self, event: &FeedEvent, bbo: &Bbo) {
        let Some(locate) = self.locate else { return };
        if event.message.locate() != locate || !event.message.is_order_flow() {
            return;
        }
        let quote =
            |level: Option<BookLevel>| level.map_or((Price::ZERO, Qty::ZERO), |l| (l.price, l.qty));
        let (bid_price, bid_size) = quote(bbo.bid);
        let (ask_price, ask_size) = quote(bbo.ask);
        self.rows.push(BboRow {
            message_index: event.index,
            timestamp: event.message.timestamp(),
            bid_price,
            bid_size,
            ask_price,
            ask_size,
        });
    }

    /// Writes a header line and a line for each row; prices in 1/10,000 dollar.
    ///
    /// # Errors
    ///
    /// When `out` cannot be written.
    pub fn write_csv(&self, mut out: impl io::Write) -> io::Result<()> {
        writeln!(out, "message_index,timestamp_ns,bid_price,bid_size,ask_price,ask_size")?;
        for row in &self.rows {
            writeln!(
                out,
                "{},{},{},{},{},{}",
                row.message_index,
                row.timestamp.ns(),
                row.bid_price.ticks(),
                row.bid_size,
                row.ask_price.ticks(),
                row.ask_size
            )?;
        }
        out.flush()
    }
}
