//! Position, profit and loss: integers, no fees, and no rounding that gets lost.
//!
//! A position keeps the cost of the shares it holds at their average price. Closing shares releases
//! their part of the cost, rounded toward zero; what the rounding leaves stays in the cost of the
//! shares still held. So at any time realised profit less cost equals the cash that has come in less
//! the cash that has gone out, exactly.

use core::fmt;
use core::ops::{Add, Neg, Sub};

use bevy_ecs::component::Component;
use bevy_ecs::message::MessageReader;
use bevy_ecs::system::Query;

use crate::book::OrderBook;
use crate::order::Fill;
use crate::price::{Price, Qty, Side};

/// An amount of money: ticks times shares, which is 1/10,000 dollar. Arithmetic saturates.
///
/// ```
/// use onbeat_systems::position::Money;
/// use onbeat_systems::price::{Price, Qty};
///
/// let paid = Money::of(Price::from_ticks(1_632_400), Qty::new(100));
/// assert_eq!(paid, Money::from_dollars(16_324));
/// assert_eq!((paid - Money::from_ticks(1)).ticks(), 163_239_999);
/// assert_eq!(paid + -paid, Money::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i128);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `ticks` 1/10,000 dollars.
    #[must_use]
    pub const fn from_ticks(ticks: i128) -> Self {
        Self(ticks)
    }

    /// An amount of whole dollars.
    #[must_use]
    pub const fn from_dollars(dollars: i64) -> Self {
        Self(dollars as i128 * Price::TICKS_PER_DOLLAR as i128)
    }

    /// The value of `qty` shares at `price`.
    #[must_use]
    pub const fn of(price: Price, qty: Qty) -> Self {
        Self((price.ticks() as i128).saturating_mul(qty.shares() as i128))
    }

    /// The amount in 1/10,000 dollars.
    #[must_use]
    pub const fn ticks(self) -> i128 {
        self.0
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Money {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// Dollars with two decimals, rounded toward zero.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.0.unsigned_abs() / 100;
        let sign = if self.0 < 0 && cents > 0 { "-" } else { "" };
        f.pad(&format!("{sign}{}.{:02}", cents / 100, cents % 100))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What we hold of one instrument, and what it earned. It stands on the instrument's entity.
///
/// ```
/// use onbeat_systems::position::{Money, Position};
/// use onbeat_systems::price::{Price, Qty, Side};
///
/// let mut position = Position::default();
/// position.apply(Side::Buy, Price::from_ticks(1_000_000), Qty::new(200));
/// position.apply(Side::Sell, Price::from_ticks(1_000_500), Qty::new(100));
/// assert_eq!(position.shares(), 100);
/// assert_eq!(position.realised(), Money::from_dollars(5));
/// position.mark(Price::from_ticks(1_000_900), Price::from_ticks(1_001_100));
/// assert_eq!(position.open_pnl(), Money::from_dollars(10));
/// ```
///
/// What it says of a position that is open:
///
/// ```
/// use onbeat_systems::position::{Money, Position};
/// use onbeat_systems::price::{Price, Qty, Side};
///
/// let mut position = Position::default();
/// position.apply(Side::Buy, Price::from_ticks(1_000_000), Qty::new(200));
/// position.apply(Side::Sell, Price::from_ticks(1_000_500), Qty::new(100));
/// position.mark(Price::from_ticks(1_000_900), Price::from_ticks(1_001_100));
/// assert_eq!(position.pnl(), Money::from_dollars(15));
/// assert_eq!(position.average_price(), Some(Price::from_ticks(1_000_000)));
/// assert_eq!(position.traded(), (Qty::new(200), Qty::new(100)));
/// assert_eq!(position.fills(), (1, 1));
/// ```
#[derive(Component, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    shares: i64,
    /// What the held shares cost; negative for a short position.
    cost: i128,
    realised: i128,
    /// Bid plus ask at the last mark: twice the mid, so that it is an integer.
    mark_twice_mid: Option<i128>,
    bought: Qty,
    sold: Qty,
    buys: u64,
    sells: u64,
}

impl Position {
    /// Shares held; negative when short.
    #[must_use]
    pub const fn shares(&self) -> i64 {
        self.shares
    }

    /// Profit and loss of the shares that were closed.
    #[must_use]
    pub const fn realised(&self) -> Money {
        Money(self.realised)
    }

    /// Profit and loss of the shares held, at the mid of the last [`mark`](Self::mark); zero before.
    #[must_use]
    pub fn open_pnl(&self) -> Money {
        let Some(twice_mid) = self.mark_twice_mid else { return Money::ZERO };
        let value = i128::from(self.shares).saturating_mul(twice_mid) / 2;
        Money(value.saturating_sub(self.cost))
    }

    /// Realised and open profit and loss together.
    #[must_use]
    pub fn pnl(&self) -> Money {
        self.realised() + self.open_pnl()
    }

    /// The average price of the shares held; nothing when flat.
    #[must_use]
    pub fn average_price(&self) -> Option<Price> {
        let average = self.cost.checked_div(i128::from(self.shares))?;
        i64::try_from(average).ok().map(Price::from_ticks)
    }

    /// Shares bought and shares sold so far.
    #[must_use]
    pub const fn traded(&self) -> (Qty, Qty) {
        (self.bought, self.sold)
    }

    /// Executions that bought and executions that sold so far.
    #[must_use]
    pub const fn fills(&self) -> (u64, u64) {
        (self.buys, self.sells)
    }

    /// Takes an execution into the position.
    pub fn apply(&mut self, side: Side, price: Price, qty: Qty) {
        match side {
            Side::Buy => {
                self.buys += 1;
                self.bought = self.bought.saturating_add(qty);
            }
            Side::Sell => {
                self.sells += 1;
                self.sold = self.sold.saturating_add(qty);
            }
        }
        let shares = i64::try_from(qty.shares()).unwrap_or(i64::MAX);
        let closes = self.shares.signum() == -side.sign();
        let closed = if closes { shares.min(self.shares.saturating_abs()) } else { 0 };
        if closed > 0 {
            self.close(side, price, closed);
        }
        let opened = side.sign() * (shares - closed);
        self.shares = self.shares.saturating_add(opened);
        self.cost = self.cost.saturating_add(value(price, opened));
    }

    /// Values the shares held at the middle of `bid` and `ask`.
    pub fn mark(&mut self, bid: Price, ask: Price) {
        self.mark_twice_mid = Some(i128::from(bid.ticks()) + i128::from(ask.ticks()));
    }

    /// Closes `closed` of the shares held by an execution on `side`.
    fn close(&mut self, side: Side, price: Price, closed: i64) {
        let held = i128::from(self.shares).abs();
        let released = if i128::from(closed) == held {
            self.cost
        } else {
            self.cost.saturating_mul(i128::from(closed)) / held
        };
        let proceeds = -value(price, side.sign() * closed);
        self.cost = self.cost.saturating_sub(released);
        self.realised = self.realised.saturating_add(proceeds).saturating_sub(released);
        self.shares += side.sign() * closed;
    }
}

/// Takes the fills into the positions of their instruments.
///
/// ```
/// use bevy_ecs::{message::MessageRegistry, prelude::*, system::RunSystemOnce};
/// use onbeat_systems::order::{Fill, OrderId};
/// use onbeat_systems::position::{Position, update_positions};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::{MatchNumber, ouch::Liquidity};
///
/// let mut world = World::new();
/// MessageRegistry::register_message::<Fill>(&mut world);
/// let instrument = world.spawn(Position::default()).id();
/// world.write_message(Fill {
///     id: OrderId::from_raw(1),
///     instrument,
///     side: Side::Buy,
///     price: Price::from_ticks(1_632_400),
///     qty: Qty::new(100),
///     liquidity: Liquidity::Added,
///     match_number: MatchNumber(1),
/// });
/// world.run_system_once(update_positions).unwrap();
/// assert_eq!(world.get::<Position>(instrument).unwrap().shares(), 100);
/// ```
pub fn update_positions(mut fills: MessageReader<Fill>, mut positions: Query<&mut Position>) {
    for fill in fills.read() {
        if let Ok(mut position) = positions.get_mut(fill.instrument) {
            position.apply(fill.side, fill.price, fill.qty);
        }
    }
}

/// Marks each position to the mid of its book; a book without both sides leaves the last mark.
///
/// ```
/// use bevy_ecs::{prelude::*, system::RunSystemOnce};
/// use onbeat_systems::book::OrderBook;
/// use onbeat_systems::position::{Money, Position, mark_positions};
/// use onbeat_systems::price::{Price, Qty, Side};
/// use onbeat_systems::wire::OrderRef;
///
/// let (mut book, mut position) = (OrderBook::default(), Position::default());
/// book.add(OrderRef(1), Side::Buy, Price::from_ticks(1_000_000), Qty::new(100));
/// book.add(OrderRef(2), Side::Sell, Price::from_ticks(1_000_200), Qty::new(100));
/// position.apply(Side::Buy, Price::from_ticks(1_000_000), Qty::new(100));
/// let mut world = World::new();
/// let instrument = world.spawn((book, position)).id();
/// world.run_system_once(mark_positions).unwrap();
/// assert_eq!(world.get::<Position>(instrument).unwrap().open_pnl(), Money::from_dollars(1));
/// ```
pub fn mark_positions(mut positions: Query<(&OrderBook, &mut Position)>) {
    for (book, mut position) in &mut positions {
        if let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) {
            position.mark(bid.price, ask.price);
        }
    }
}

fn value(price: Price, shares: i64) -> i128 {
    i128::from(price.ticks()) * i128::from(shares)
}
