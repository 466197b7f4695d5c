//! The players: tasks of one onbeat runtime, on a thread of its own.

use std::{
    f32::consts::TAU,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bevy_ecs::world::World;
use onbeat::{Runtime, event_time, interval, net::UdpSocket, spawn_boxed, timeout};

use crate::{
    args::Args,
    packet::{self, LONGEST, ToServer},
};

/// How often a player says what it wants.
const INPUT_PERIOD: Duration = Duration::from_millis(33);
/// How long a player waits for a word of the server.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a player knocks before it gives up.
const KNOCKS: u32 = 10;

/// What one player heard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) snapshots: u64,
    /// In so many of them the player found itself.
    pub(crate) saw_itself: u64,
}

/// All players, until the server is silent.
pub(crate) fn play(server: SocketAddr, args: &Args) -> Vec<Heard> {
    let mut world = World::new();
    let half_time = Duration::from_secs(args.seconds.into()) / 2;
    Runtime::new(&mut world).block_on(async {
        let leaves_at = event_time() + half_time;
        let players: Vec<_> = (0..args.players)
            .map(|number| {
                let leaves_at = (number % 8 == 7).then_some(leaves_at);
                spawn_boxed(async move {
                    let mut heard = Heard::default();
                    // A server that has ended refuses: the game is over.
                    let _ = player(server, number, leaves_at, &mut heard).await;
                    heard
                })
            })
            .collect();
        let mut heard = Vec::new();
        for player in players {
            heard.push(player.await);
        }
        heard
    })
}

/// Joins, and plays until the server is silent or it is time to leave.
async fn player(
    lobby: SocketAddr,
    seed: u16,
    leaves_at: Option<Instant>,
    heard: &mut Heard,
) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(lobby.ip(), 0))?;
    let own = join(&socket, lobby).await?;
    let mut buf = [0; LONGEST];
    let mut beat = interval(INPUT_PERIOD);
    for sequence in 1.. {
        if leaves_at.is_some_and(|time| time <= event_time()) {
            socket.send(&ToServer::Leave.encode()).await?;
            return Ok(());
        }
        // Every player walks a circle; one in five asks for more speed than there is.
        let angle = TAU * (f32::from(seed) / 64.0 + sequence as f32 / 45.0);
        let eagerness = if seed.is_multiple_of(5) { 1.2 } else { 0.9 };
        let wish = [angle.cos() * eagerness, angle.sin() * eagerness];
        socket.send(&ToServer::Input { sequence, wish }.encode()).await?;
        beat.tick().await;
        let Ok(first) = timeout(PATIENCE, socket.recv(&mut buf)).await else {
            break;
        };
        let mut next = first?;
        loop {
            if let Some((_, position)) = packet::decode_snapshot(&buf[..next], own) {
                heard.snapshots += 1;
                heard.saw_itself += u64::from(position.is_some());
            }
            match socket.try_recv(&mut buf) {
                Ok(len) => next = len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Knocks until somebody answers, and talks to that socket from then on.
async fn join(socket: &UdpSocket, lobby: SocketAddr) -> io::Result<u16> {
    let mut buf = [0; LONGEST];
    for _ in 0..KNOCKS {
        socket.send_to(&ToServer::Join.encode(), lobby).await?;
        if let Ok(answer) = timeout(PATIENCE, socket.recv_from(&mut buf)).await {
            let (len, from) = answer?;
            if let Some(number) = packet::decode_welcome(&buf[..len]) {
                socket.connect(from)?;
                return Ok(number);
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
