//! SIGINT and SIGTERM as an event of the reactor: the handler writes a byte into a socket pair.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{SigId, consts::signal, flag, low_level};

use super::{Direction, IoId, Reactor};

const SIGNALS: [i32; 2] = [signal::SIGINT, signal::SIGTERM];

/// Who listens in this process. While nobody does, a signal does what it did before anybody did: a
/// handler, once installed, is never taken away.
#[derive(Debug)]
struct Listeners {
    count: Mutex<usize>,
    nobody: Arc<AtomicBool>,
}

impl Listeners {
    fn get() -> io::Result<&'static Self> {
        static LISTENERS: Mutex<Option<&'static Listeners>> = Mutex::new(None);
        let mut made = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listeners) = *made {
            return Ok(listeners);
        }
        let nobody = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            flag::register_conditional_default(signal, nobody.clone())?;
        }
        Ok(made.insert(Box::leak(Box::new(Self { count: Mutex::new(0), nobody }))))
    }

    fn change(&self, change: impl FnOnce(&mut usize)) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut count);
        self.nobody.store(*count == 0, Ordering::SeqCst);
    }
}

/// The reading end, and the handlers that write to it. Dropping it takes the handlers away.
#[derive(Debug)]
pub(crate) struct SignalPipe {
    read: mio::net::UnixStream,
    id: IoId,
    handlers: Vec<SigId>,
    listeners: &'static Listeners,
}

impl SignalPipe {
    pub(crate) fn new(reactor: &Reactor) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let mut read = mio::net::UnixStream::from_std(read);
        let id = reactor.register(&mut read)?;
        reactor.not_ready(id, Direction::Read);
        let listeners = Listeners::get().inspect_err(|_| {
            reactor.deregister(id, &mut read);
        })?;
        listeners.change(|count| *count += 1);
        let mut pipe = Self { read, id, handlers: Vec::new(), listeners };
        for signal in SIGNALS {
            pipe.handlers.push(low_level::pipe::register(signal, write.try_clone()?)?);
        }
        Ok(pipe)
    }

    /// Whether a signal came since the last call.
    pub(crate) fn take(&self, reactor: &Reactor) -> bool {
        if !reactor.is_ready(self.id, Direction::Read) {
            return false;
        }
        let mut came = false;
        let mut bytes = [0; 64];
        loop {
            match (&self.read).read(&mut bytes) {
                Ok(read) if read > 0 => came = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        reactor.not_ready(self.id, Direction::Read);
        came
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
        self.listeners.change(|count| *count -= 1);
    }
}
