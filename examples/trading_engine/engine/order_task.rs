//! The order tasks: commands out of the World's systems to the exchange, reports back in.

use std::time::Instant;

use onbeat::channel::local::Receiver;
use onbeat::net::OwnedWriteHalf;
use onbeat::{WorldCtx, precise_now, timeout, yield_now};
use onbeat_systems::order::{
    OrderCommand, OrderId, RejectReason, TimeInForce, VenueInbox, VenueReport,
};
use onbeat_systems::price::Qty;
use onbeat_systems::telemetry::Telemetry;
use onbeat_systems::wire::EncodeError;
use onbeat_systems::wire::ouch::{
    self, Appendage, ClientOrderId, Inbound, OrderMarks, Outbound, UserRefNum,
};
use onbeat_systems::wire::soup::{self, ServerPacket};

use super::clock::nanoseconds;
use super::link::{LinkError, PacketReader};

/// A command on its way to the exchange.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) command: OrderCommand,
    /// When the feed was read that caused it; nothing where a report did.
    pub(super) feed_read: Option<Instant>,
}

/// Writes commands to the exchange, and heartbeats when there are none. Ends with a logout when the
/// systems' end of the channel is gone.
pub(super) async fn write_orders(
    mut writer: OwnedWriteHalf,
    commands: Receiver<Outgoing>,
) -> Result<(), LinkError> {
    let world = WorldCtx::current();
    let mut packets = Vec::new();
    let mut message = Vec::new();
    let mut causes = Vec::new();
    loop {
        packets.clear();
        let mut sent = 0;
        let mut leaves = false;
        match timeout(soup::HEARTBEAT_AFTER, commands.recv()).await {
            Err(_) => soup::encode_client_heartbeat(&mut packets),
            Ok(None) => {
                soup::encode_logout(&mut packets);
                leaves = true;
            }
            Ok(Some(first)) => {
                let mut next = Some(first);
                while let Some(Outgoing { command, feed_read }) = next {
                    message.clear();
                    encode(&command, &mut message).map_err(LinkError::Unsendable)?;
                    soup::encode_unsequenced(&mut packets, &message);
                    causes.extend(feed_read);
                    sent += 1;
                    next = commands.try_recv().ok();
                }
            }
        }
        writer.write_all(&packets).await.map_err(LinkError::Io)?;
        if leaves {
            return Ok(());
        }
        let written = precise_now();
        world.with_world(|world| {
            let mut telemetry = world.resource_mut::<Telemetry>();
            telemetry.commands_sent += sent;
            for read in causes.drain(..) {
                telemetry.record_feed_to_order(nanoseconds(written.duration_since(read)));
            }
        });
    }
}

/// Reads the exchange's reports to the end of the session.
pub(super) async fn read_reports(mut packets: PacketReader) -> Result<(), LinkError> {
    let world = WorldCtx::current();
    let mut batch = Vec::new();
    loop {
        packets.fill().await?;
        let over = loop {
            match packets.next_packet()? {
                Some(ServerPacket::Sequenced(bytes)) => {
                    let report = Outbound::decode(bytes).ok();
                    batch.extend(report.and_then(|report| venue_report(&report)));
                }
                Some(ServerPacket::Heartbeat | ServerPacket::Debug(_)) => {}
                Some(ServerPacket::EndOfSession) => break true,
                Some(_) => return Err(LinkError::Unexpected),
                None => break false,
            }
        };
        if !batch.is_empty() {
            world.with_world(|world| {
                world.resource_mut::<Telemetry>().venue_reports += batch.len() as u64;
                let mut inbox = world.resource_mut::<VenueInbox>();
                for report in batch.drain(..) {
                    inbox.push(report);
                }
            });
        }
        if over {
            return Ok(());
        }
        yield_now().await;
    }
}

/// A command as an OUCH message.
fn encode(command: &OrderCommand, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match command {
        OrderCommand::Enter(approved) => {
            let order = approved.order();
            let enter = ouch::EnterOrder {
                user_ref: UserRefNum(order.id.raw()),
                side: order.side.into(),
                qty: order.qty,
                symbol: order.symbol,
                price: order.price,
                time_in_force: match order.tif {
                    TimeInForce::Day => ouch::TimeInForce::Day,
                    TimeInForce::Ioc => ouch::TimeInForce::ImmediateOrCancel,
                },
                marks: OrderMarks::default(),
                client_id: ClientOrderId::BLANK,
                appendage: Appendage::EMPTY,
            };
            Inbound::Enter(enter).encode(out)
        }
        OrderCommand::Cancel(id) => {
            let cancel = ouch::CancelOrder {
                user_ref: UserRefNum(id.raw()),
                qty: Qty::ZERO,
                appendage: Appendage::EMPTY,
            };
            Inbound::Cancel(cancel).encode(out)
        }
    }
}

/// What an OUCH message says about an order of ours, if it does.
fn venue_report(message: &Outbound<'_>) -> Option<VenueReport> {
    let id = |user_ref: UserRefNum| OrderId::from_raw(user_ref.0);
    Some(match message {
        Outbound::Accepted(order) => {
            VenueReport::Accepted { id: id(order.user_ref), qty: order.qty, price: order.price }
        }
        Outbound::Executed(executed) => VenueReport::Executed {
            id: id(executed.user_ref),
            qty: executed.qty,
            price: executed.price,
            liquidity: executed.liquidity,
            match_number: executed.match_number,
        },
        Outbound::Canceled(canceled) => VenueReport::Cancelled {
            id: id(canceled.user_ref),
            qty: canceled.qty,
            reason: canceled.reason,
        },
        Outbound::Rejected(rejected) => VenueReport::Rejected {
            id: id(rejected.user_ref),
            reason: RejectReason::from_code(rejected.reason),
        },
        Outbound::CancelRejected(notice) => VenueReport::CancelRejected { id: id(notice.user_ref) },
        _ => return None,
    })
}
