//! The files of `channel::mpsc`, without the futures.

#[path = "../../../../src/channel/mpsc/line.rs"]
pub(crate) mod line;
#[path = "../../../../src/channel/mpsc/protocol.rs"]
pub(crate) mod protocol;
#[path = "../../../../src/channel/mpsc/queue.rs"]
pub(crate) mod queue;
