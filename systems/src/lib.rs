//! The trading domain as plain `bevy_ecs` components, resources, messages and systems, and the wire
//! codecs it needs as pure functions. No sockets, no clocks (time comes in as a resource), no unsafe.
//!
//! In reading order:
//!
//! - [`price`]: fixed-point prices, quantities, sides, market time;
//! - [`wire`]: ITCH 5.0, SoupBinTCP 3.00 and OUCH 5.0 codecs;
//! - [`book`]: the order book of one instrument;
//! - [`feed`]: decoded feed events in, book changes out;
//! - [`instrument`]: what is traded, and its limits of price and size;
//! - [`strategy`]: quotes around a microprice with inventory skew;
//! - [`risk`]: the gate that every order passes;
//! - [`order`]: the state of our orders, and the outbox;
//! - [`position`]: position, profit and loss;
//! - [`telemetry`]: latency histograms and counters;
//! - [`sets`]: the order in which the systems run.
//!
//! [`order`] has an example of the whole: an order on its way through the gate to the venue, and its fill.
//! The example `trading_engine` of the package `onbeat` puts sockets and a clock around it.
#![forbid(unsafe_code)]

pub mod book;
pub mod feed;
pub mod instrument;
pub mod order;
pub mod position;
pub mod price;
pub mod risk;
pub mod sets;
pub mod strategy;
pub mod telemetry;
pub mod wire;
