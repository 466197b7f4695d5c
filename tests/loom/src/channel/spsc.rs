//! The files of `channel::spsc`, without the futures.

#[path = "../../../../src/channel/spsc/protocol.rs"]
pub(crate) mod protocol;
#[path = "../../../../src/channel/spsc/ring.rs"]
pub(crate) mod ring;
