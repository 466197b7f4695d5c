//! The encoder.

use super::{Header, Message};
use crate::instrument::Symbol;
use crate::price::{Price, Qty, Side};
use crate::wire::{EncodeError, append, put_price4, put_qty};

impl Message {
    /// Appends the message to `out`.
    ///
    /// # Errors
    ///
    /// When a field does not fit: quantities and prices have 32 bits, times 48. A
    /// [`Message::Other`] and a [`Message::BadSide`] have no body to write. `out` is then as it was.
    ///
    /// [`Message`] has an example.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        append(out, |out| {
            put_header(out, self.kind(), self.header())?;
            put_body(out, self)
        })
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, header: Header) -> Result<(), EncodeError> {
    let ns = header.timestamp.ns();
    if ns >> 48 != 0 {
        return Err(EncodeError { field: "timestamp" });
    }
    out.push(kind);
    out.extend_from_slice(&header.locate.get().to_be_bytes());
    out.extend_from_slice(&((u64::from(header.tracking) << 48) | ns).to_be_bytes());
    Ok(())
}

fn put_body(out: &mut Vec<u8>, message: &Message) -> Result<(), EncodeError> {
    match message {
        Message::SystemEvent(event) => out.push(event.code.byte()),
        Message::StockDirectory(directory) => {
            out.extend_from_slice(directory.symbol.as_bytes());
            out.extend_from_slice(&[directory.market, directory.financial_status]);
            put_qty(out, directory.round_lot)?;
            out.extend_from_slice(&directory.attributes);
        }
        Message::TradingAction(action) => {
            out.extend_from_slice(action.symbol.as_bytes());
            out.extend_from_slice(&[action.state.byte(), action.reserved]);
            out.extend_from_slice(action.reason.as_bytes());
        }
        Message::AddOrder(add) => {
            put_u64(out, add.reference.0);
            put_shown(out, add.side, add.qty, add.symbol, add.price)?;
            if let Some(attribution) = add.attribution {
                out.extend_from_slice(attribution.as_bytes());
            }
        }
        Message::OrderExecuted(executed) => {
            put_u64(out, executed.reference.0);
            put_qty(out, executed.qty)?;
            put_u64(out, executed.match_number.0);
        }
        Message::OrderExecutedWithPrice(executed) => {
            put_u64(out, executed.reference.0);
            put_qty(out, executed.qty)?;
            put_u64(out, executed.match_number.0);
            out.push(executed.printable);
            put_price4(out, executed.price)?;
        }
        Message::OrderCancel(cancel) => {
            put_u64(out, cancel.reference.0);
            put_qty(out, cancel.qty)?;
        }
        Message::OrderDelete(delete) => put_u64(out, delete.reference.0),
        Message::OrderReplace(replace) => {
            put_u64(out, replace.original.0);
            put_u64(out, replace.reference.0);
            put_qty(out, replace.qty)?;
            put_price4(out, replace.price)?;
        }
        Message::Trade(trade) => {
            put_u64(out, trade.reference.0);
            put_shown(out, trade.side, trade.qty, trade.symbol, trade.price)?;
            put_u64(out, trade.match_number.0);
        }
        Message::BadSide(_) | Message::Other(_) => return Err(EncodeError { field: "body" }),
    }
    Ok(())
}

/// Appends the fields that an add and a trade share.
fn put_shown(
    out: &mut Vec<u8>,
    side: Side,
    qty: Qty,
    symbol: Symbol,
    price: Price,
) -> Result<(), EncodeError> {
    out.push(match side {
        Side::Buy => b'B',
        Side::Sell => b'S',
    });
    put_qty(out, qty)?;
    out.extend_from_slice(symbol.as_bytes());
    put_price4(out, price)
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}
