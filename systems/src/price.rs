//! Fixed-point prices, quantities and money: integers only, so that results are the same everywhere.

use core::fmt;

/// A price in ticks of 1/10,000 dollar (four decimals, as ITCH and OUCH carry it).
///
/// ```
/// use onbeat_systems::price::Price;
///
/// let price = Price::from_ticks(1_632_400);
/// assert_eq!(price.ticks() / Price::TICKS_PER_DOLLAR, 163);
/// assert_eq!(price.to_string(), "163.2400");
/// assert!(price > Price::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(i64);

impl Price {
    /// Ticks in one dollar.
    pub const TICKS_PER_DOLLAR: i64 = 10_000;
    /// The price of zero ticks.
    pub const ZERO: Self = Self(0);

    /// A price of `ticks` 1/10,000 dollars.
    #[must_use]
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// The price in 1/10,000 dollars.
    #[must_use]
    pub const fn ticks(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ticks = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:04}", ticks / 10_000, ticks % 10_000)
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number of shares.
///
/// ```
/// use onbeat_systems::price::Qty;
///
/// let (asked, left) = (Qty::new(300), Qty::new(100));
/// assert_eq!(asked.min(left).shares(), 100);
/// assert_eq!(asked.saturating_add(left), Qty::new(400));
/// assert!(left.saturating_sub(asked).is_zero());
/// assert_eq!(Qty::ZERO.shares(), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Qty(u64);

impl Qty {
    /// No shares.
    pub const ZERO: Self = Self(0);

    /// `shares` shares.
    #[must_use]
    pub const fn new(shares: u64) -> Self {
        Self(shares)
    }

    /// The number of shares.
    #[must_use]
    pub const fn shares(self) -> u64 {
        self.0
    }

    /// Whether this is zero shares.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, held at the largest representable quantity.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The smaller of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The side of an order or of the book.
///
/// ```
/// use onbeat_systems::price::Side;
///
/// assert_eq!(Side::Buy.opposite(), Side::Sell);
/// assert_eq!((Side::Buy.sign(), Side::Sell.sign()), (1, -1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// To buy; the bid side.
    Buy,
    /// To sell; the ask side.
    Sell,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// +1 for a buy, -1 for a sell.
    #[must_use]
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }
}

/// Nanoseconds since midnight of the trading day: the market's time, as the wire carries it.
///
/// ```
/// use onbeat_systems::price::MarketTime;
///
/// let open = MarketTime::from_ns(34_200_000_000_000);
/// assert_eq!(open.ns() / 3_600_000_000_000, 9);
/// assert!(open.to_string().starts_with("09:30:00"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct MarketTime(u64);

/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400_000_000_000;

impl MarketTime {
    /// `ns` nanoseconds since midnight.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since midnight.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.0
    }

    /// Whether this is a moment of the day: before the next midnight. The feed's field holds more than
    /// three days, so a wrong timestamp can lie outside.
    ///
    /// ```
    /// use onbeat_systems::price::MarketTime;
    ///
    /// assert!(MarketTime::from_ns(86_399_999_999_999).is_within_day());
    /// assert!(!MarketTime::from_ns(86_400_000_000_000).is_within_day());
    /// ```
    #[must_use]
    pub const fn is_within_day(self) -> bool {
        self.0 < DAY_NS
    }
}

impl fmt::Display for MarketTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let millis = self.0 / 1_000_000 % 1_000;
        write!(f, "{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}
