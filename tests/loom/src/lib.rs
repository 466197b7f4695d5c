//! Loom models of the inbox and of the channels across threads: the library's own files, compiled with
//! loom's atomics, under every interleaving and every value that the memory model lets a load return,
//! up to a bound on preemptions.
//!
//! Run them with `RUSTFLAGS="--cfg loom" cargo test --release` in this folder.
//!
//! - `wakes`: two threads wake while the owner drains; no request is left behind;
//! - `parking`: a wake races the owner's way to sleep; the owner never sleeps on it;
//! - `ownership`: a wake races the runtime's end and the inbox's next owner;
//! - `budget`: a drain that stops half-way meets the wake of a bit that it has just taken;
//! - `shutdown_models`: asking for shutdown races waiting for it, giving up, and the runtime's end;
//! - `spsc`, `mpsc`: sending, receiving, closing and giving up race each other; nobody waits for what is
//!   there, and every value has one end.
//! - `byte_channel_models`: claims, commits, reads, wakes and closing of the byte channels.
//! - `scope_models`: wakes of a scope's children, and aborts, race its poll and its end.
//!
//! Every model of the inbox counts requests, not wakes: a waker counts one up before it wakes, and the owner reads
//! the count when the slot is handed to it. So two wakes may become one, and yet a wake that brings
//! nothing new to light after a later request is a lost one.

#[cfg(all(test, not(loom)))]
compile_error!("the models need loom's atomics: RUSTFLAGS=\"--cfg loom\" cargo test --release");

#[cfg(all(test, loom))]
#[allow(dead_code, reason = "what the virtual clock notes of wakes is no part of the models")]
#[path = "../../../src/executor/inbox.rs"]
mod inbox;
#[cfg(all(test, loom))]
mod sync;

#[cfg(all(test, loom))]
#[expect(dead_code, reason = "the models need a part of what the channels' futures need")]
mod channel;
#[cfg(all(test, loom))]
#[path = "../../../src/wakers.rs"]
mod wakers;

#[cfg(all(test, loom))]
mod support;

/// What the library's own paths name.
#[cfg(all(test, loom))]
mod executor {
    pub(crate) use crate::sync;
}
#[cfg(all(test, loom))]
#[path = "../../../src/shutdown/shared.rs"]
#[expect(dead_code, reason = "wakers that panic are no part of a model")]
mod shutdown;
#[cfg(all(test, loom))]
mod shutdown_models;

#[cfg(all(test, loom))]
#[path = "../../../src/scope/wakers.rs"]
mod scope;
#[cfg(all(test, loom))]
mod scope_models;

#[cfg(all(test, loom))]
mod budget;
#[cfg(all(test, loom))]
mod mpsc;
#[cfg(all(test, loom))]
mod ownership;
#[cfg(all(test, loom))]
mod parking;
#[cfg(all(test, loom))]
mod spsc;
#[cfg(all(test, loom))]
mod wakes;

#[cfg(all(test, loom))]
#[allow(dead_code, unused_imports, reason = "the models use a part of what is included")]
#[allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's cells are not Sync, ours are in a ring that is"
)]
mod byte_channel;
#[cfg(all(test, loom))]
mod byte_channel_models;
