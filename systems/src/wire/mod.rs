//! Wire codecs as pure functions over byte slices: they do not allocate when they decode, do not
//! panic on any input, and name what is wrong with bad input.
//!
//! - [`itch`]: the market data messages of ITCH 5.0, and the framing of its files;
//! - [`soup`]: the session packets of SoupBinTCP 3.00;
//! - [`ouch`]: the order entry messages of OUCH 5.0.
//!
//! Encoders append to a caller's `Vec<u8>`, which keeps its capacity from message to message. An
//! encoder that fails leaves the buffer as it was.

use core::fmt;
use core::str::FromStr;

use crate::price::{Price, Qty};

pub mod itch;
pub mod ouch;
pub mod soup;

/// A text field of `N` bytes: ASCII, left-justified, padded with spaces.
///
/// ```
/// use onbeat_systems::wire::Alpha;
///
/// let session: Alpha<10> = "DAY1".parse()?;
/// assert_eq!(session.as_bytes(), b"DAY1      ");
/// assert_eq!(session.to_string(), "DAY1");
/// # Ok::<(), onbeat_systems::wire::AlphaError>(())
/// ```
///
/// What it holds is padded to its length:
///
/// ```
/// use onbeat_systems::wire::Alpha;
///
/// let text = Alpha::from_wire(*b"AB  ");
/// assert_eq!((text.as_bytes(), text.trimmed()), (b"AB  ", &b"AB"[..]));
/// assert!(Alpha::<4>::BLANK.is_blank() && !text.is_blank());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alpha<const N: usize>([u8; N]);

impl<const N: usize> Alpha<N> {
    /// A field of spaces.
    pub const BLANK: Self = Self([b' '; N]);

    /// The field as it stands on the wire, padding included. Any bytes are kept as they are.
    #[must_use]
    pub const fn from_wire(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes of the field, padding included.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes of the field without the padding at the end.
    #[must_use]
    pub fn trimmed(&self) -> &[u8] {
        self.0.trim_ascii_end()
    }

    /// Whether the field is all spaces.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.trimmed().is_empty()
    }
}

impl<const N: usize> Default for Alpha<N> {
    fn default() -> Self {
        Self::BLANK
    }
}

impl<const N: usize> FromStr for Alpha<N> {
    type Err = AlphaError;

    fn from_str(text: &str) -> Result<Self, AlphaError> {
        if text.len() > N {
            return Err(AlphaError::TooLong { length: text.len(), limit: N });
        }
        if let Some(at) = text.bytes().position(|byte| !(byte == b' ' || byte.is_ascii_graphic())) {
            return Err(AlphaError::NotPrintable { at });
        }
        let mut bytes = [b' '; N];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }
}

impl<const N: usize> fmt::Display for Alpha<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trimmed().escape_ascii().fmt(f)
    }
}

impl<const N: usize> fmt::Debug for Alpha<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A text that is no [`Alpha`] field.
///
/// ```
/// use onbeat_systems::wire::{Alpha, AlphaError};
///
/// assert_eq!("ABCDE".parse::<Alpha<4>>(), Err(AlphaError::TooLong { length: 5, limit: 4 }));
/// assert_eq!("A\n".parse::<Alpha<4>>(), Err(AlphaError::NotPrintable { at: 1 }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlphaError {
    /// The text has more bytes than the field.
    TooLong {
        /// Bytes in the text.
        length: usize,
        /// Bytes in the field.
        limit: usize,
    },
    /// A byte is not printable ASCII.
    NotPrintable {
        /// Where in the text the byte stands.
        at: usize,
    },
}

impl fmt::Display for AlphaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length, limit } => {
                write!(f, "the text has {length} bytes, the field holds {limit}")
            }
            Self::NotPrintable { at } => write!(f, "byte {at} is not printable ASCII"),
        }
    }
}

impl core::error::Error for AlphaError {}

/// The exchange's number of an order, unique for a day.
///
/// ```
/// use onbeat_systems::wire::OrderRef;
///
/// assert_eq!(OrderRef(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct OrderRef(pub u64);

impl fmt::Display for OrderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The exchange's number of an execution, unique for a day.
///
/// ```
/// use onbeat_systems::wire::MatchNumber;
///
/// assert_eq!(MatchNumber(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct MatchNumber(pub u64);

impl fmt::Display for MatchNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value that its field on the wire cannot hold.
///
/// ```
/// use onbeat_systems::price::Qty;
/// use onbeat_systems::wire::ouch::{Appendage, CancelOrder, Inbound, UserRefNum};
///
/// let cancel = CancelOrder { user_ref: UserRefNum(1), qty: Qty::new(u64::MAX), appendage: Appendage::EMPTY };
/// let error = Inbound::Cancel(cancel).encode(&mut Vec::new()).unwrap_err();
/// assert!(!error.field.is_empty() && error.to_string().contains(error.field));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodeError {
    /// The field whose value does not fit.
    pub field: &'static str,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} does not fit its field on the wire", self.field)
    }
}

impl core::error::Error for EncodeError {}

/// Runs `write` on `out` and takes back what it wrote if it fails.
fn append(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Appends a quantity as four bytes.
fn put_qty(out: &mut Vec<u8>, qty: Qty) -> Result<(), EncodeError> {
    let shares = u32::try_from(qty.shares()).map_err(|_| EncodeError { field: "quantity" })?;
    out.extend_from_slice(&shares.to_be_bytes());
    Ok(())
}

/// Appends a price as four bytes.
fn put_price4(out: &mut Vec<u8>, price: Price) -> Result<(), EncodeError> {
    let ticks = u32::try_from(price.ticks()).map_err(|_| EncodeError { field: "price" })?;
    out.extend_from_slice(&ticks.to_be_bytes());
    Ok(())
}

/// Appends a price as eight bytes.
fn put_price8(out: &mut Vec<u8>, price: Price) -> Result<(), EncodeError> {
    let ticks = u64::try_from(price.ticks()).map_err(|_| EncodeError { field: "price" })?;
    out.extend_from_slice(&ticks.to_be_bytes());
    Ok(())
}

/// The `K` bytes at `at` of a message of `N` bytes. Offsets are constants of the field tables, so
/// the bounds check folds away.
#[inline(always)]
fn take<const K: usize, const N: usize>(bytes: &[u8; N], at: usize) -> [u8; K] {
    let mut field = [0; K];
    field.copy_from_slice(&bytes[at..at + K]);
    field
}

/// The two-byte integer at `at`.
#[inline(always)]
fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(take(bytes, at))
}

/// The four-byte integer at `at`.
#[inline(always)]
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(take(bytes, at))
}

/// The eight-byte integer at `at`.
#[inline(always)]
fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_be_bytes(take(bytes, at))
}

/// Defines an enum of one-byte codes that keeps a code it does not list, so that a code that an
/// exchange adds does not end a session.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $byte:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
            /// A code that is not listed, as it stands on the wire.
            Unlisted(u8),
        }

        impl $name {
            /// The meaning of a code.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Self {
                match byte {
                    $($byte => Self::$variant,)*
                    other => Self::Unlisted(other),
                }
            }

            /// The code on the wire.
            #[must_use]
            pub const fn byte(self) -> u8 {
                match self {
                    $(Self::$variant => $byte,)*
                    Self::Unlisted(byte) => byte,
                }
            }
        }
    };
}
use codes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alpha_field_pads_with_spaces_and_prints_without_them() {
        let field: Alpha<6> = "AB C".parse().unwrap();
        assert_eq!(field.as_bytes(), b"AB C  ");
        assert_eq!(field.to_string(), "AB C");
    }

    #[test]
    fn an_alpha_field_names_why_it_refuses_a_text() {
        assert_eq!("ABCDEFG".parse::<Alpha<6>>(), Err(AlphaError::TooLong { length: 7, limit: 6 }));
        assert_eq!("A\nB".parse::<Alpha<6>>(), Err(AlphaError::NotPrintable { at: 1 }));
    }

    #[test]
    fn a_failed_encoder_leaves_the_buffer_as_it_was() {
        let mut out = vec![1, 2];
        let result = append(&mut out, |out| {
            out.push(3);
            put_price4(out, Price::from_ticks(-1))
        });
        assert_eq!(result, Err(EncodeError { field: "price" }));
        assert_eq!(out, [1, 2]);
    }
}
