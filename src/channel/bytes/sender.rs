//! What the senders of both byte channels do.
#![forbid(unsafe_code)]

use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::super::blocking;
use super::{
    ClaimError, ClaimTimeoutError, TryClaimError,
    claims::WriteClaim,
    futures::{Claiming, Sending},
    ring::{Producer, Refused, Ring},
};

/// The end that sends. The last one to be dropped closes the channel.
pub(crate) struct SendEnd {
    producer: Producer,
}

impl SendEnd {
    pub(super) fn new(producer: Producer) -> Self {
        Self { producer }
    }

    /// One more end, of a channel that may have many.
    pub(crate) fn another(&self) -> Self {
        Self { producer: self.producer.another() }
    }

    fn ring(&self) -> &Ring {
        self.producer.ring()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring().capacity()
    }

    pub(crate) fn len_max(&self) -> usize {
        self.ring().len_max()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ring().is_closed()
    }

    pub(crate) fn close(&self) {
        self.ring().close();
    }

    #[inline]
    pub(crate) fn try_claim(&mut self, len: usize) -> Result<WriteClaim<'_>, TryClaimError> {
        self.reserve(len)?;
        Ok(WriteClaim::new(self))
    }

    pub(crate) fn claim(&mut self, len: usize) -> Claiming<'_> {
        Claiming::new(self, len)
    }

    #[track_caller]
    pub(crate) fn blocking_claim(&mut self, len: usize) -> Result<WriteClaim<'_>, ClaimError> {
        blocking::wait(&mut self.claim(len))
    }

    #[track_caller]
    pub(crate) fn blocking_claim_timeout(
        &mut self,
        len: usize,
        limit: Duration,
    ) -> Result<WriteClaim<'_>, ClaimTimeoutError> {
        let claimed = blocking::wait_for(&mut self.claim(len), limit);
        Ok(claimed.ok_or(ClaimTimeoutError::Timeout)??)
    }

    #[track_caller]
    pub(crate) fn blocking_send(&mut self, bytes: &[u8]) -> Result<(), ClaimError> {
        blocking::wait(&mut self.send(bytes))
    }

    #[track_caller]
    pub(crate) fn blocking_send_timeout(
        &mut self,
        bytes: &[u8],
        limit: Duration,
    ) -> Result<(), ClaimTimeoutError> {
        let sent = blocking::wait_for(&mut self.send(bytes), limit);
        Ok(sent.ok_or(ClaimTimeoutError::Timeout)??)
    }

    #[inline]
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> Result<(), TryClaimError> {
        let mut claim = self.try_claim(bytes.len())?;
        claim.copy_from_slice(bytes);
        claim.commit();
        Ok(())
    }

    pub(crate) fn send<'a>(&'a mut self, bytes: &'a [u8]) -> Sending<'a> {
        Sending::new(self, bytes)
    }

    #[inline]
    fn reserve(&mut self, len: usize) -> Result<(), TryClaimError> {
        let max = self.ring().len_max();
        if len > max {
            return Err(TryClaimError::TooLarge { len, max });
        }
        // A claim that was forgotten and is too short for this one is given up, which the receiver that
        // waits behind it has to know.
        let forgotten = self.producer.has_claim();
        let result = self.producer.claim(len);
        if forgotten {
            self.ring().messages().notify();
        }
        result.map_err(|refused| match refused {
            Refused::Full => TryClaimError::Full,
            Refused::Closed => TryClaimError::Closed,
        })
    }

    /// Claims, or stores who is woken when there may be room. `waits` says whether it did.
    pub(super) fn poll_reserve(
        &mut self,
        len: usize,
        waits: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ClaimError>> {
        let mut result = self.attempt_reserve(len);
        if result.is_none() {
            *waits = true;
            self.ring().room().register(self.producer.id(), cx.waker());
            result = self.attempt_reserve(len);
        }
        let Some(result) = result else {
            return Poll::Pending;
        };
        self.wait_no_more(waits);
        Poll::Ready(result)
    }

    /// Claims. `None`: there is no room.
    pub(super) fn attempt_reserve(&mut self, len: usize) -> Option<Result<(), ClaimError>> {
        Some(match self.reserve(len) {
            Ok(()) => Ok(()),
            Err(TryClaimError::Full) => return None,
            Err(TryClaimError::Closed) => Err(ClaimError::Closed),
            Err(TryClaimError::TooLarge { len, max }) => Err(ClaimError::TooLarge { len, max }),
        })
    }

    /// Takes back what [`poll_reserve`](Self::poll_reserve) stored.
    pub(super) fn wait_no_more(&self, waits: &mut bool) {
        if std::mem::take(waits) {
            self.ring().room().leave(self.producer.id());
        }
    }

    /// The poll of a `send`: the bytes are copied and handed over as soon as there is room.
    pub(super) fn poll_send(
        &mut self,
        bytes: &[u8],
        waits: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ClaimError>> {
        ready!(self.poll_reserve(bytes.len(), waits, cx))?;
        self.hand_over(bytes);
        Poll::Ready(Ok(()))
    }

    /// Copies the bytes and hands them over. `None`: there is no room.
    pub(super) fn attempt_send(&mut self, bytes: &[u8]) -> Option<Result<(), ClaimError>> {
        let reserved = self.attempt_reserve(bytes.len())?;
        Some(reserved.map(|()| self.hand_over(bytes)))
    }

    /// Fills what is claimed, which is as long as `bytes`.
    fn hand_over(&mut self, bytes: &[u8]) {
        self.bytes_mut().copy_from_slice(bytes);
        self.commit();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.producer.bytes()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.producer.bytes_mut()
    }

    /// Hands over no more than the first `len` bytes.
    pub(super) fn shorten(&mut self, len: usize) {
        self.producer.shorten(len);
    }

    /// Hands over, then wakes the receiver.
    #[inline]
    pub(super) fn commit(&mut self) {
        self.producer.commit();
        self.ring().messages().notify();
    }

    /// Gives up what is claimed, if anything is.
    pub(super) fn abandon(&mut self) {
        if self.producer.abandon() {
            self.ring().messages().notify();
        }
    }
}

impl Drop for SendEnd {
    fn drop(&mut self) {
        // All is in order before a waker is called, which may panic.
        let abandoned = self.producer.abandon();
        let last = self.producer.leave();
        self.ring().room().leave(self.producer.id());
        if last {
            self.ring().close();
        } else if abandoned {
            self.ring().messages().notify();
        }
    }
}

impl fmt::Debug for SendEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("capacity", &self.capacity())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
