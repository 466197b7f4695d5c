//! The order book of one instrument, order by order.
//!
//! Orders live in a hash table by reference number, price levels in one sorted array for each side
//! with the best level at the end. Both keep their capacity: a book whose population stays within
//! what it has held before does not allocate.
//!
//! What a message cannot do is reported, and the rest of it is done: an execution of more than is
//! left takes what is left, an unknown order changes nothing.

use bevy_ecs::component::Component;

use crate::price::{Price, Qty, Side};
use crate::wire::OrderRef;
use crate::wire::itch::{BadSide, Message};

mod change;
mod ladder;
mod table;

pub use change::{Applied, BookError, Change};

use ladder::Ladder;
use table::OrderTable;

/// The book of one instrument.
///
/// ```
/// use onbeat_systems::book::OrderBook;
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let mut book = OrderBook::default();
/// book.add(OrderRef(1), Side::Buy, Price::from_ticks(1_632_400), Qty::new(300));
/// book.add(OrderRef(2), Side::Buy, Price::from_ticks(1_632_400), Qty::new(100));
/// book.execute(OrderRef(1), Qty::new(200));
/// let best = book.best_bid().unwrap();
/// assert_eq!((best.price.ticks(), best.qty.shares(), best.orders), (1_632_400, 200, 2));
/// ```
///
/// All that messages do to it, and all that it says:
///
/// ```
/// use onbeat_systems::book::{Change, OrderBook};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let ticks = Price::from_ticks;
/// let mut book = OrderBook::with_capacity(16, 4);
/// book.add(OrderRef(1), Side::Buy, ticks(1_632_400), Qty::new(300));
/// book.add(OrderRef(2), Side::Buy, ticks(1_632_300), Qty::new(100));
/// book.add(OrderRef(3), Side::Sell, ticks(1_632_600), Qty::new(500));
/// assert_eq!(book.next_arrival().0, 3);
///
/// book.execute_with_price(OrderRef(1), Qty::new(100), ticks(1_632_500));
/// book.cancel(OrderRef(1), Qty::new(50));
/// book.replace(OrderRef(3), OrderRef(4), ticks(1_632_500), Qty::new(400));
/// let applied = book.delete(OrderRef(2));
/// assert!(matches!(applied.change, Change::Deleted { .. }) && applied.error.is_none());
///
/// assert_eq!(book.order(OrderRef(1)).unwrap().qty, Qty::new(150));
/// assert_eq!(book.level_qty(Side::Sell, ticks(1_632_500)), Qty::new(400));
/// assert_eq!(book.levels(Side::Buy).count(), 1);
/// assert_eq!(book.best_ask(), book.bbo().ask);
/// assert!(!book.is_crossed());
/// let (orders, _, _) = book.capacity();
/// assert!(orders >= 16 && book.order_count() == 2);
/// book.clear();
/// assert_eq!(book.order_count(), 0);
/// ```
#[derive(Component, Clone, Debug)]
pub struct OrderBook {
    orders: OrderTable,
    bids: Ladder,
    asks: Ladder,
    arrivals: u64,
}

impl Default for OrderBook {
    /// Room for 4,096 orders and 256 levels a side before anything grows.
    fn default() -> Self {
        Self::with_capacity(4_096, 256)
    }
}

/// A live order.
///
/// ```
/// use onbeat_systems::book::{Arrival, Order, OrderBook};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let mut book = OrderBook::default();
/// book.add(OrderRef(7), Side::Buy, Price::from_ticks(100), Qty::new(5));
/// let order: Order = book.order(OrderRef(7)).unwrap();
/// assert_eq!((order.side, order.qty, order.arrival), (Side::Buy, Qty::new(5), Arrival(0)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
    /// Its shares that are still open; never zero.
    pub qty: Qty,
    /// When it came, compared with the other orders of the book: its place in the queue.
    pub arrival: Arrival,
}

/// The order in which orders came into one book: the later one is greater. A replacement is a new
/// arrival; a partial execution or cancel is none.
///
/// ```
/// use onbeat_systems::book::Arrival;
///
/// assert!(Arrival(3) < Arrival(4), "the smaller one is ahead in the queue");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Arrival(pub u64);

/// All orders of one side at one price.
///
/// ```
/// use onbeat_systems::book::{BookLevel, OrderBook};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let mut book = OrderBook::default();
/// let price = Price::from_ticks(100);
/// book.add(OrderRef(1), Side::Buy, price, Qty::new(5));
/// book.add(OrderRef(2), Side::Buy, price, Qty::new(6));
/// assert_eq!(book.best_bid(), Some(BookLevel { price, qty: Qty::new(11), orders: 2 }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookLevel {
    /// The price.
    pub price: Price,
    /// The sum of their shares.
    pub qty: Qty,
    /// How many they are.
    pub orders: u32,
}

/// The best bid and the best offer.
///
/// ```
/// use onbeat_systems::book::{Bbo, BookLevel};
/// use onbeat_systems::price::{Price, Qty, Side};
///
/// let level = |ticks, orders| BookLevel { price: Price::from_ticks(ticks), qty: Qty::new(100), orders };
/// let bbo = Bbo { bid: Some(level(100, 1)), ask: Some(level(104, 1)) };
/// assert_eq!(bbo.side(Side::Sell), bbo.ask);
/// assert_eq!(bbo.spread(), Some(Price::from_ticks(4)));
/// assert_eq!(bbo.mid(), Some(Price::from_ticks(102)));
/// assert!(bbo.same_quote(&Bbo { bid: Some(level(100, 2)), ..bbo }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bbo {
    /// The highest bid level.
    pub bid: Option<BookLevel>,
    /// The lowest ask level.
    pub ask: Option<BookLevel>,
}

impl Bbo {
    /// The level of one side.
    #[must_use]
    pub const fn side(&self, side: Side) -> Option<BookLevel> {
        match side {
            Side::Buy => self.bid,
            Side::Sell => self.ask,
        }
    }

    /// The best ask less the best bid; negative while the book is crossed.
    #[must_use]
    pub fn spread(&self) -> Option<Price> {
        let (bid, ask) = (self.bid?.price.ticks(), self.ask?.price.ticks());
        Some(Price::from_ticks(ask.saturating_sub(bid)))
    }

    /// The price half way between, rounded down to a 1/10,000 dollar.
    #[must_use]
    pub fn mid(&self) -> Option<Price> {
        let (bid, ask) = (self.bid?.price.ticks(), self.ask?.price.ticks());
        Some(Price::from_ticks(i64::midpoint(bid, ask)))
    }

    /// Whether prices and sizes are the same, however many orders make them up.
    #[must_use]
    pub fn same_quote(&self, other: &Self) -> bool {
        let quote = |level: BookLevel| (level.price, level.qty);
        self.bid.map(quote) == other.bid.map(quote) && self.ask.map(quote) == other.ask.map(quote)
    }
}

impl OrderBook {
    /// An empty book with room for `orders` orders and `levels` price levels a side.
    #[must_use]
    pub fn with_capacity(orders: usize, levels: usize) -> Self {
        Self {
            orders: OrderTable::with_capacity(orders),
            bids: Ladder::with_capacity(Side::Buy, levels),
            asks: Ladder::with_capacity(Side::Sell, levels),
            arrivals: 0,
        }
    }

    /// Does what the message says, if it is about orders.
    ///
    /// ```
    /// use onbeat_systems::book::OrderBook;
    /// use onbeat_systems::price::Qty;
    /// use onbeat_systems::wire::OrderRef;
    /// use onbeat_systems::wire::itch::{AddOrder, Header, Message};
    /// use onbeat_systems::price::{Price, Side};
    ///
    /// let mut book = OrderBook::default();
    /// let applied = book.apply(&Message::AddOrder(AddOrder {
    ///     header: Header::default(),
    ///     reference: OrderRef(7),
    ///     side: Side::Buy,
    ///     qty: Qty::new(100),
    ///     symbol: "AAPL".parse()?,
    ///     price: Price::from_ticks(1_632_400),
    ///     attribution: None,
    /// }));
    /// assert!(applied.error.is_none());
    /// assert_eq!(book.best_bid().unwrap().qty, Qty::new(100));
    /// # Ok::<(), onbeat_systems::instrument::SymbolError>(())
    /// ```
    #[inline]
    pub fn apply(&mut self, message: &Message) -> Applied {
        match message {
            Message::AddOrder(add) => self.add(add.reference, add.side, add.price, add.qty),
            Message::OrderDelete(delete) => self.delete(delete.reference),
            Message::OrderReplace(replace) => {
                self.replace(replace.original, replace.reference, replace.price, replace.qty)
            }
            Message::OrderExecuted(executed) => self.execute(executed.reference, executed.qty),
            Message::OrderCancel(cancel) => self.cancel(cancel.reference, cancel.qty),
            Message::OrderExecutedWithPrice(executed) => {
                self.execute_with_price(executed.reference, executed.qty, executed.price)
            }
            Message::BadSide(BadSide { reference, byte, .. }) => {
                Applied::refused(BookError::BadSide { reference: *reference, byte: *byte })
            }
            _ => Applied::NOTHING,
        }
    }

    /// Takes a new order.
    pub fn add(&mut self, reference: OrderRef, side: Side, price: Price, qty: Qty) -> Applied {
        if qty.is_zero() {
            return Applied::refused(BookError::NoShares { reference });
        }
        let order = Order { side, price, qty, arrival: Arrival(self.arrivals) };
        if !self.orders.insert(reference, order) {
            return Applied::refused(BookError::DuplicateReference { reference });
        }
        self.arrivals += 1;
        self.ladder_mut(side).add(price, qty);
        Applied::done(Change::Added { reference, order })
    }

    /// Executes `qty` of an order at its price.
    pub fn execute(&mut self, reference: OrderRef, qty: Qty) -> Applied {
        self.execute_at(reference, qty, None)
    }

    /// Executes `qty` of an order at another price than its own.
    pub fn execute_with_price(&mut self, reference: OrderRef, qty: Qty, price: Price) -> Applied {
        self.execute_at(reference, qty, Some(price))
    }

    fn execute_at(&mut self, reference: OrderRef, asked: Qty, price: Option<Price>) -> Applied {
        let Some(order) = self.take(reference, asked) else {
            return Applied::refused(BookError::UnknownOrder { reference });
        };
        let (qty, left) = (asked.min(order.qty), order.qty);
        let price = price.unwrap_or(order.price);
        Applied {
            change: Change::Executed { reference, order, qty, price },
            error: (asked > left).then_some(BookError::OverExecution { reference, left, asked }),
        }
    }

    /// Takes `qty` off an order.
    pub fn cancel(&mut self, reference: OrderRef, qty: Qty) -> Applied {
        let Some(order) = self.take(reference, qty) else {
            return Applied::refused(BookError::UnknownOrder { reference });
        };
        let (asked, left) = (qty, order.qty);
        Applied {
            change: Change::Reduced { reference, order, qty: asked.min(left) },
            error: (asked > left).then_some(BookError::OverCancel { reference, left, asked }),
        }
    }

    /// Removes an order.
    pub fn delete(&mut self, reference: OrderRef) -> Applied {
        let Some(order) = self.orders.remove(reference) else {
            return Applied::refused(BookError::UnknownOrder { reference });
        };
        self.ladder_mut(order.side).remove(order.price, order.qty, true);
        Applied::done(Change::Deleted { reference, order })
    }

    /// Removes an order and takes a new one of the same side, at the end of its queue. Where the
    /// new one cannot be taken, the old one is gone all the same.
    pub fn replace(
        &mut self,
        original: OrderRef,
        reference: OrderRef,
        price: Price,
        qty: Qty,
    ) -> Applied {
        let deleted = self.delete(original);
        let Change::Deleted { order: before, .. } = deleted.change else { return deleted };
        let added = self.add(reference, before.side, price, qty);
        match added.change {
            Change::Added { order: after, .. } => {
                Applied::done(Change::Replaced { original, before, reference, after })
            }
            _ => Applied { change: deleted.change, error: added.error },
        }
    }

    /// Takes up to `qty` off an order and removes it when nothing is left. The order as it was.
    fn take(&mut self, reference: OrderRef, qty: Qty) -> Option<Order> {
        let order = self.orders.reduce(reference, qty)?;
        self.ladder_mut(order.side).remove(order.price, qty.min(order.qty), qty >= order.qty);
        Some(order)
    }

    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    fn ladder(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// The highest bid level.
    #[must_use]
    pub fn best_bid(&self) -> Option<BookLevel> {
        self.bids.best()
    }

    /// The lowest ask level.
    #[must_use]
    pub fn best_ask(&self) -> Option<BookLevel> {
        self.asks.best()
    }

    /// The best bid and the best offer.
    #[must_use]
    pub fn bbo(&self) -> Bbo {
        Bbo { bid: self.best_bid(), ask: self.best_ask() }
    }

    /// The shares at one price; zero where there is no order.
    #[must_use]
    pub fn level_qty(&self, side: Side, price: Price) -> Qty {
        self.ladder(side).level(price).map_or(Qty::ZERO, |level| level.qty)
    }

    /// The levels of one side, the best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = BookLevel> {
        self.ladder(side).iter()
    }

    /// The order of this number, if it lives.
    #[must_use]
    pub fn order(&self, reference: OrderRef) -> Option<Order> {
        self.orders.get(reference)
    }

    /// How many orders live.
    #[must_use]
    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    /// The place in the queue that the next new order gets: every order that lives came before it.
    #[must_use]
    pub const fn next_arrival(&self) -> Arrival {
        Arrival(self.arrivals)
    }

    /// Whether the best bid is at or above the best ask.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        self.bbo().spread().is_some_and(|spread| spread <= Price::ZERO)
    }

    /// Removes all orders and keeps the room. Arrivals go on from where they are.
    pub fn clear(&mut self) {
        self.orders.clear();
        self.bids.clear();
        self.asks.clear();
    }

    /// What the book can hold before it allocates: orders, bid levels, ask levels.
    #[must_use]
    pub fn capacity(&self) -> (usize, usize, usize) {
        (self.orders.capacity(), self.bids.capacity(), self.asks.capacity())
    }
}
