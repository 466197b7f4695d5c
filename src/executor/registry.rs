//! Which runtime ids are taken, and the inbox that belongs to each.
//!
//! Inboxes are made on first use of an id and recycled with it, never freed: a waker may knock at any
//! time, also after its runtime has gone.

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::{inbox::Inbox, key::RuntimeId};

const CHUNK: usize = 256;

type Chunk = [OnceLock<Box<Inbox>>; CHUNK];

static INBOXES: [OnceLock<Box<Chunk>>; CHUNK] = [const { OnceLock::new() }; CHUNK];

/// Ids given back, and the lowest that was never given out.
struct Ids {
    free: Vec<u16>,
    fresh: u32,
}

static IDS: Mutex<Ids> = Mutex::new(Ids { free: Vec::new(), fresh: 0 });

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// Every one of the 65,536 runtime ids is live or leaked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyRuntimes;

/// A runtime's claim on an id, given back on drop.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) id: RuntimeId,
    /// Process-wide and never reused.
    pub(crate) serial: u64,
    pub(crate) inbox: &'static Inbox,
}

impl Registration {
    pub(crate) fn new() -> Result<Self, TooManyRuntimes> {
        let id = {
            let mut ids = IDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(id) = ids.free.pop() {
                id
            } else {
                let id = u16::try_from(ids.fresh).map_err(|_| TooManyRuntimes)?;
                ids.fresh += 1;
                id
            }
        };
        let chunk = INBOXES[usize::from(id) / CHUNK]
            .get_or_init(|| Box::new([const { OnceLock::new() }; CHUNK]));
        let inbox = chunk[usize::from(id) % CHUNK].get_or_init(|| Box::new(Inbox::new()));
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        Ok(Self { id: RuntimeId(id), serial, inbox })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.inbox.close();
        let mut ids = IDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        ids.free.push(self.id.0);
    }
}

/// The inbox of `id`, if a runtime ever had that id.
pub(crate) fn inbox(id: RuntimeId) -> Option<&'static Inbox> {
    let chunk = INBOXES[usize::from(id.0) / CHUNK].get()?;
    chunk[usize::from(id.0) % CHUNK].get().map(|inbox| &**inbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_never_reused_though_ids_are() {
        let first = Registration::new().unwrap();
        let (id, serial) = (first.id, first.serial);
        drop(first);
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(Registration::new().unwrap());
        }
        assert!(seen.iter().all(|other| other.serial > serial));
        assert!(inbox(id).is_some(), "an inbox stays when its runtime has gone");
    }
}
