//! What is traded: the symbol, its locate code of the day, and its steps of price and size.

use core::fmt;
use core::str::FromStr;

use bevy_ecs::component::Component;

use crate::price::{Price, Qty};
use crate::wire::{Alpha, AlphaError};

/// One traded instrument. Its order book is an [`OrderBook`](crate::book::OrderBook) on the same
/// entity.
///
/// ```
/// use onbeat_systems::instrument::{Instrument, Locate};
/// use onbeat_systems::price::{Price, Qty};
///
/// let apple = Instrument::equity("AAPL".parse()?, Locate::new(14));
/// assert!(apple.is_valid_price(Price::from_ticks(1_632_400)));
/// assert!(!apple.is_valid_price(Price::from_ticks(1_632_450)), "half a cent");
/// assert!(apple.is_valid_qty(Qty::new(1)) && !apple.is_valid_qty(Qty::ZERO));
/// # Ok::<(), onbeat_systems::instrument::SymbolError>(())
/// ```
#[derive(Component, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instrument {
    /// The name that order entry uses.
    pub symbol: Symbol,
    /// The code that the feed uses in its place, for one day.
    pub locate: Locate,
    /// The step between valid order prices; prices are multiples of it.
    pub tick: Price,
    /// The step between valid order quantities; quantities are multiples of it.
    pub lot: Qty,
}

impl Instrument {
    /// A US equity above one dollar: prices in whole cents, quantities in single shares.
    #[must_use]
    pub const fn equity(symbol: Symbol, locate: Locate) -> Self {
        Self { symbol, locate, tick: Price::from_ticks(100), lot: Qty::new(1) }
    }

    /// Whether `price` is positive and on a tick.
    #[must_use]
    pub const fn is_valid_price(&self, price: Price) -> bool {
        price.ticks() > 0 && (self.tick.ticks() <= 1 || price.ticks() % self.tick.ticks() == 0)
    }

    /// Whether `qty` is positive and in whole lots.
    #[must_use]
    pub const fn is_valid_qty(&self, qty: Qty) -> bool {
        !qty.is_zero() && (self.lot.is_zero() || qty.shares().is_multiple_of(self.lot.shares()))
    }
}

/// The name of an instrument: up to eight ASCII characters, kept as the wire has them, padded with
/// spaces.
///
/// ```
/// use onbeat_systems::instrument::Symbol;
///
/// let symbol: Symbol = "AAPL".parse()?;
/// assert_eq!(symbol, Symbol::from_wire(*b"AAPL    "));
/// assert_eq!(symbol.to_string(), "AAPL");
/// # Ok::<(), onbeat_systems::instrument::SymbolError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Symbol(Alpha<8>);

impl Symbol {
    /// A symbol from its field on the wire.
    #[must_use]
    pub const fn from_wire(bytes: [u8; 8]) -> Self {
        Self(Alpha::from_wire(bytes))
    }

    /// The eight bytes of the field, padding included.
    ///
    /// ```
    /// use onbeat_systems::instrument::Symbol;
    ///
    /// assert_eq!("AAPL".parse::<Symbol>()?.as_bytes(), b"AAPL    ");
    /// # Ok::<(), onbeat_systems::instrument::SymbolError>(())
    /// ```
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        self.0.as_bytes()
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;

    fn from_str(text: &str) -> Result<Self, SymbolError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SymbolError::Empty);
        }
        text.parse().map(Self).map_err(SymbolError::Text)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is no [`Symbol`].
///
/// ```
/// use onbeat_systems::instrument::{Symbol, SymbolError};
///
/// assert_eq!("".parse::<Symbol>(), Err(SymbolError::Empty));
/// assert!(matches!("TOOLONGNAME".parse::<Symbol>(), Err(SymbolError::Text(_))));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymbolError {
    /// There is nothing but spaces.
    Empty,
    /// The text does not fit the field.
    Text(AlphaError),
}

impl fmt::Display for SymbolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a symbol has at least one character"),
            Self::Text(error) => write!(f, "not a symbol: {error}"),
        }
    }
}

impl core::error::Error for SymbolError {}

/// The feed's code of an instrument for one day: a small dense integer, so that arrays are indexed
/// by it. Messages about the whole market carry zero.
///
/// ```
/// use onbeat_systems::instrument::Locate;
///
/// let locate = Locate::new(14);
/// assert_eq!((locate.get(), locate.index()), (14, 14));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Locate(u16);

impl Locate {
    /// The code `code`.
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The code as an index of an array.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Locate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_ignores_spaces_around_it() {
        assert_eq!(" AAPL ".parse(), Ok(Symbol::from_wire(*b"AAPL    ")));
    }

    #[test]
    fn an_empty_or_long_text_is_no_symbol() {
        assert_eq!("  ".parse::<Symbol>(), Err(SymbolError::Empty));
        assert_eq!(
            "ABCDEFGHI".parse::<Symbol>(),
            Err(SymbolError::Text(AlphaError::TooLong { length: 9, limit: 8 }))
        );
    }

    #[test]
    fn an_equity_trades_in_cents_and_single_shares() {
        let aapl = Instrument::equity("AAPL".parse().unwrap(), Locate::new(14));
        assert!(aapl.is_valid_price(Price::from_ticks(1_632_400)));
        assert!(!aapl.is_valid_price(Price::from_ticks(1_632_450)));
        assert!(!aapl.is_valid_price(Price::ZERO));
        assert!(aapl.is_valid_qty(Qty::new(1)));
        assert!(!aapl.is_valid_qty(Qty::ZERO));
    }
}
