//! The futures of both byte channels. Each keeps its end until it is done, and then gives it to the claim.
#![forbid(unsafe_code)]

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    super::{
        blocking::Attempt,
        budget::{A_VALUE, Courtesy, ROOM},
    },
    ClaimError, ReadClaim, ReadClaims, Receiver, SendEnd, WriteClaim,
};

const DONE: &str = "polled after it was done";

/// The future of `claim`: gives a [`WriteClaim`] when there is room.
///
/// # Cancellation
///
/// Dropping it claims nothing.
///
/// # Panics
///
/// When it is polled after it was done.
///
/// ```
/// use onbeat::channel::spsc_bytes::{self, Claiming};
///
/// # futures::executor::block_on(async {
/// let (mut sender, mut receiver) = spsc_bytes::channel(64);
/// let claiming: Claiming<'_> = sender.claim(3);
/// let mut claim = claiming.await.unwrap();
/// claim.copy_from_slice(b"bid");
/// claim.commit();
/// assert_eq!(*receiver.recv().await.unwrap(), *b"bid");
/// # });
/// ```
#[must_use = "a future does nothing until it is polled"]
pub struct Claiming<'a> {
    end: Option<&'a mut SendEnd>,
    len: usize,
    waits: bool,
    courtesy: Courtesy,
}

impl<'a> Claiming<'a> {
    pub(super) fn new(end: &'a mut SendEnd, len: usize) -> Self {
        Self { end: Some(end), len, waits: false, courtesy: Courtesy::default() }
    }
}

impl<'a> Future for Claiming<'a> {
    type Output = Result<WriteClaim<'a>, ClaimError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let end = this.end.as_mut().expect(DONE);
        ready!(this.courtesy.poll(cx));
        let result = end.poll_reserve(this.len, &mut this.waits, cx);
        let result = ready!(Courtesy::noting(result, ROOM));
        this.courtesy.spend();
        let end = this.end.take().expect("it was there a line ago");
        Poll::Ready(result.map(|()| WriteClaim::new(end)))
    }
}

impl Attempt for Claiming<'_> {
    fn attempt(&mut self) -> Option<Self::Output> {
        let result = self.end.as_mut()?.attempt_reserve(self.len)?;
        let end = self.end.take()?;
        Some(result.map(|()| WriteClaim::new(end)))
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if let Some(end) = &self.end {
            end.wait_no_more(&mut self.waits);
        }
    }
}

impl fmt::Debug for Claiming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claiming").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The future of `send`: copies and sends the bytes when there is room.
///
/// # Cancellation
///
/// Dropping it before it is done sends nothing.
///
/// # Panics
///
/// When it is polled after it was done.
///
/// ```
/// use onbeat::channel::spsc_bytes::{self, Sending};
///
/// # futures::executor::block_on(async {
/// let (mut sender, mut receiver) = spsc_bytes::channel(64);
/// let sending: Sending<'_> = sender.send(b"bid");
/// assert_eq!(sending.await, Ok(()));
/// assert_eq!(*receiver.try_recv().unwrap(), *b"bid");
/// # });
/// ```
#[must_use = "a future does nothing until it is polled"]
pub struct Sending<'a> {
    end: Option<&'a mut SendEnd>,
    bytes: &'a [u8],
    waits: bool,
    courtesy: Courtesy,
}

impl<'a> Sending<'a> {
    pub(super) fn new(end: &'a mut SendEnd, bytes: &'a [u8]) -> Self {
        Self { end: Some(end), bytes, waits: false, courtesy: Courtesy::default() }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), ClaimError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let end = this.end.as_mut().expect(DONE);
        ready!(this.courtesy.poll(cx));
        let result = end.poll_send(this.bytes, &mut this.waits, cx);
        let result = ready!(Courtesy::noting(result, ROOM));
        this.courtesy.spend();
        this.end = None;
        Poll::Ready(result)
    }
}

impl Attempt for Sending<'_> {
    fn attempt(&mut self) -> Option<Self::Output> {
        let sent = self.end.as_mut()?.attempt_send(self.bytes)?;
        self.end = None;
        Some(sent)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(end) = &self.end {
            end.wait_no_more(&mut self.waits);
        }
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The future of `recv`: gives the next message, or `None` when there will be none.
///
/// # Cancellation
///
/// Dropping it loses nothing.
///
/// # Panics
///
/// When it is polled after it was done.
///
/// ```
/// use onbeat::channel::spsc_bytes::{self, Receiving};
///
/// # futures::executor::block_on(async {
/// let (mut sender, mut receiver) = spsc_bytes::channel(64);
/// sender.try_send(b"bid").unwrap();
/// let receiving: Receiving<'_> = receiver.recv();
/// assert_eq!(*receiving.await.unwrap(), *b"bid");
/// # });
/// ```
#[must_use = "a future does nothing until it is polled"]
pub struct Receiving<'a> {
    receiver: Option<&'a mut Receiver>,
    waits: bool,
    courtesy: Courtesy,
}

impl<'a> Receiving<'a> {
    pub(super) fn new(receiver: &'a mut Receiver) -> Self {
        Self { receiver: Some(receiver), waits: false, courtesy: Courtesy::default() }
    }
}

impl<'a> Receiving<'a> {
    /// The receiver, with a message if that is true; with none, and the end has come, if it is not.
    fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<(&'a mut Receiver, bool)> {
        let receiver = self.receiver.as_mut().expect(DONE);
        ready!(self.courtesy.poll(cx));
        let is_message = receiver.poll_find(&mut self.waits, cx);
        let is_message = ready!(Courtesy::noting(is_message, A_VALUE));
        self.courtesy.spend();
        let receiver = self.receiver.take().expect("it was there a line ago");
        Poll::Ready((receiver, is_message))
    }
}

impl<'a> Future for Receiving<'a> {
    type Output = Option<ReadClaim<'a>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (receiver, is_message) = ready!(self.get_mut().poll_found(cx));
        Poll::Ready(is_message.then(|| ReadClaim::new(receiver)))
    }
}

impl<'a> Attempt for Receiving<'a> {
    fn attempt(&mut self) -> Option<Option<ReadClaim<'a>>> {
        let is_message = self.receiver.as_mut()?.attempt_find()?;
        let receiver = self.receiver.take()?;
        Some(is_message.then(|| ReadClaim::new(receiver)))
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if let Some(receiver) = &self.receiver {
            receiver.wait_no_more(&mut self.waits);
        }
    }
}

impl fmt::Debug for Receiving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").finish_non_exhaustive()
    }
}

/// The future of `recv_many`: gives the messages that are there when there is one, or `None` when there will
/// be none.
///
/// # Cancellation
///
/// Dropping it loses nothing.
///
/// # Panics
///
/// When it is polled after it was done.
///
/// ```
/// use onbeat::channel::spsc_bytes::{self, ReceivingMany};
///
/// # futures::executor::block_on(async {
/// let (mut sender, mut receiver) = spsc_bytes::channel(64);
/// sender.try_send(b"bid").unwrap();
/// sender.try_send(b"ask").unwrap();
/// let receiving: ReceivingMany<'_> = receiver.recv_many(8);
/// assert_eq!(receiving.await.unwrap().len(), 2);
/// # });
/// ```
#[must_use = "a future does nothing until it is polled"]
pub struct ReceivingMany<'a> {
    one: Receiving<'a>,
    max: usize,
}

impl<'a> ReceivingMany<'a> {
    pub(super) fn new(receiver: &'a mut Receiver, max: usize) -> Self {
        Self { one: Receiving::new(receiver), max }
    }
}

impl<'a> Future for ReceivingMany<'a> {
    type Output = Option<ReadClaims<'a>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { one, max } = self.get_mut();
        let (receiver, is_message) = if *max == 0 {
            (one.receiver.take().expect(DONE), true)
        } else {
            ready!(one.poll_found(cx))
        };
        Poll::Ready(is_message.then(|| receiver.claims(*max)))
    }
}

impl fmt::Debug for ReceivingMany<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivingMany").field("max", &self.max).finish_non_exhaustive()
    }
}
