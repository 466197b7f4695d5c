//! The feed task: packets in, stamped events into the World.

use onbeat::net::OwnedWriteHalf;
use onbeat::{WorldCtx, interval, precise_now, yield_now};
use onbeat_systems::feed::{FeedEvent, FeedInbox};
use onbeat_systems::telemetry::Telemetry;
use onbeat_systems::wire::itch::{self, ItchError};
use onbeat_systems::wire::soup::{self, ServerPacket};

use super::clock::{EngineClock, FeedReads};
use super::link::{Link, LinkError, PacketReader};

/// How the feed ended.
#[derive(Debug)]
pub(crate) enum FeedEnd {
    /// The exchange ended the session.
    EndOfSession,
    /// The session broke.
    Lost(LinkError),
    /// What came is no message of the feed.
    Damaged {
        /// Which message, from 0.
        index: u64,
        /// What is wrong with it.
        error: ItchError,
    },
}

/// Reads the feed to its end.
///
/// Each read is handed to the systems before the next one: while the exchange sends faster than the
/// engine books, the rest waits in the socket, not in the inbox.
pub(super) async fn read_feed(mut link: Link, clock: EngineClock) -> FeedEnd {
    let world = WorldCtx::current();
    let heartbeats = onbeat::spawn_boxed(send_heartbeats(link.writer));
    // The packet of sequence number 1 is message 0.
    let mut index = link.sequence.saturating_sub(1);
    let mut batch = Vec::new();
    let end = loop {
        if let Err(error) = link.packets.fill().await {
            break FeedEnd::Lost(error);
        }
        let read_at = precise_now();
        let end = decode(&mut link.packets, clock, &mut index, &mut batch);
        if !batch.is_empty() {
            world.with_world(|world| {
                world.resource_mut::<FeedReads>().note(read_at);
                world.resource_mut::<Telemetry>().feed_messages += batch.len() as u64;
                let mut inbox = world.resource_mut::<FeedInbox>();
                for event in batch.drain(..) {
                    inbox.push(event);
                }
            });
        }
        if let Some(end) = end {
            break end;
        }
        yield_now().await;
    };
    heartbeats.abort();
    end
}

/// Decodes the packets that have arrived; `Some` when the feed ends with one of them.
fn decode(
    packets: &mut PacketReader,
    clock: EngineClock,
    index: &mut u64,
    batch: &mut Vec<FeedEvent>,
) -> Option<FeedEnd> {
    loop {
        match packets.next_packet() {
            Ok(Some(ServerPacket::Sequenced(bytes))) => {
                let message = match itch::decode(bytes) {
                    Ok(message) => message,
                    Err(error) => return Some(FeedEnd::Damaged { index: *index, error }),
                };
                batch.push(FeedEvent { index: *index, message, stamp_ns: clock.now_ns() });
                *index += 1;
            }
            Ok(Some(ServerPacket::Heartbeat | ServerPacket::Debug(_))) => {}
            Ok(Some(ServerPacket::EndOfSession)) => return Some(FeedEnd::EndOfSession),
            Ok(Some(_)) => return Some(FeedEnd::Lost(LinkError::Unexpected)),
            Ok(None) => return None,
            Err(error) => return Some(FeedEnd::Lost(error)),
        }
    }
}

/// The engine sends nothing else on the feed's connection, so a heartbeat is due at each interval.
async fn send_heartbeats(mut writer: OwnedWriteHalf) {
    let mut heartbeat = Vec::new();
    soup::encode_client_heartbeat(&mut heartbeat);
    let mut due = interval(soup::HEARTBEAT_AFTER);
    loop {
        due.tick().await;
        // A connection that cannot be written to ends the reading side, which reports it.
        if writer.write_all(&heartbeat).await.is_err() {
            return;
        }
    }
}
