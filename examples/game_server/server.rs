//! The server: a bevy `App` on onbeat's loop, and the tasks that talk to the players.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::mpsc::Sender,
    time::Duration,
};

use bevy_app::prelude::*;
use bevy_ecs::prelude::*;
use bevy_time::TimePlugin;
use onbeat::{
    AccessError, EntityCtx, Idle, OnbeatPlugin, Pacing, WorldCtx, interval, net::UdpSocket,
    spawn_on, timeout,
};

use crate::{
    args::Args,
    game::{GamePlugin, Player, Report, Snapshot, Traffic, Wish},
    packet::{self, LONGEST, ToServer},
};

/// A player who says nothing for so long has gone.
const SILENCE: Duration = Duration::from_millis(500);

/// The whole server. It listens at `lobby`.
pub(crate) fn app(args: &Args, lobby: std::net::UdpSocket, report: Sender<Report>) -> App {
    let idle = if args.spin { Idle::Spin } else { Idle::ParkThenSpin };
    let on_beat = OnbeatPlugin::new(move || {
        let lobby = lobby.try_clone().and_then(UdpSocket::from_std);
        async {
            if welcome_players(lobby).await.is_err() {
                let _ = WorldCtx::current().write_message(AppExit::error());
            }
        }
    });
    let hertz = f64::from(args.hertz);
    let lasts = Duration::from_secs(args.seconds.into());
    let mut app = App::new();
    app.add_plugins((
        on_beat
            // Without a reader the game goes on.
            .task(|| async { drop(say_how_it_goes().await) })
            .pacing(Pacing::hertz(hertz))
            .options(move |runtime| runtime.idle(idle)),
        TimePlugin,
        GamePlugin { hertz, lasts, report },
    ));
    app
}

/// The lobby: who asks to join becomes an entity with a socket and tasks of its own.
async fn welcome_players(lobby: io::Result<UdpSocket>) -> io::Result<()> {
    let lobby = lobby?;
    let mut known: HashMap<SocketAddr, (u16, Weak<UdpSocket>)> = HashMap::new();
    let mut numbers = 0..;
    let mut buf = [0; LONGEST];
    loop {
        let (len, from) = lobby.recv_from(&mut buf).await?;
        if ToServer::decode(&buf[..len]) != Some(ToServer::Join) {
            continue;
        }
        let there =
            known.get(&from).and_then(|(number, socket)| Some((*number, socket.upgrade()?)));
        let (number, socket) = match there {
            Some(there) => there,
            None => {
                let socket = UdpSocket::bind(SocketAddr::new(lobby.local_addr()?.ip(), 0))?;
                socket.connect(from)?;
                let (number, socket) = (numbers.next().unwrap_or(u16::MAX), Rc::new(socket));
                known.insert(from, (number, Rc::downgrade(&socket)));
                admit(number, socket.clone()).map_err(io::Error::other)?;
                (number, socket)
            }
        };
        // A lost answer is a lost packet like any other: who has not heard it asks again.
        let _ = socket.try_send(&packet::welcome(number));
    }
}

/// Makes the player's entity, and two tasks that end with it.
fn admit(number: u16, socket: Rc<UdpSocket>) -> Result<(), AccessError> {
    let ctx = WorldCtx::current();
    let player = ctx.with_world(|world| world.spawn(Player { number }).id());
    ctx.res_mut(|mut traffic: Mut<Traffic>| traffic.joined += 1)?;
    drop(spawn_on(player, |player| listen(player, socket.clone())));
    drop(spawn_on(player, |_| tell(socket)));
    Ok(())
}

/// Prints a line each second, for as long as there is somebody to read it.
async fn say_how_it_goes() -> io::Result<()> {
    let mut beat = interval(Duration::from_secs(1));
    beat.tick().await;
    for second in 1.. {
        beat.tick().await;
        let Ok(Traffic { joined, left, inputs, snapshots, .. }) = WorldCtx::current().get() else {
            break;
        };
        let there = joined - left;
        let line = format!("{there} players, {inputs} inputs, {snapshots} snapshots");
        writeln!(io::stdout(), "{second:4} s: {line}")?;
    }
    Ok(())
}

/// Writes into the player's components what the player sends, as soon as it is there. Whoever leaves, or is
/// silent, is despawned.
async fn listen(player: EntityCtx, socket: Rc<UdpSocket>) -> Result<(), AccessError> {
    let ctx = WorldCtx::current();
    let mut buf = [0; LONGEST];
    while let Ok(Ok(len)) = timeout(SILENCE, socket.recv(&mut buf)).await {
        match ToServer::decode(&buf[..len]) {
            Some(ToServer::Input { sequence, wish }) => {
                let is_new = player.get_mut(|mut last: Mut<Wish>| {
                    let is_new = sequence > last.sequence;
                    if is_new {
                        *last = Wish { sequence, direction: wish };
                    }
                    is_new
                })?;
                ctx.res_mut(|mut traffic: Mut<Traffic>| {
                    *(if is_new { &mut traffic.inputs } else { &mut traffic.stale }) += 1;
                })?;
            }
            Some(ToServer::Leave) => break,
            // The lobby's business, or nobody's.
            Some(ToServer::Join) | None => {}
        }
    }
    ctx.res_mut(|mut traffic: Mut<Traffic>| traffic.left += 1)?;
    player.despawn()
}

/// Sends each frame's snapshot when the systems have made it. A socket that is full misses one.
async fn tell(socket: Rc<UdpSocket>) -> Result<(), AccessError> {
    let ctx = WorldCtx::current();
    loop {
        ctx.next(Last).await;
        let sent = ctx.res(|snapshot: &Snapshot| socket.try_send(&snapshot.0))?;
        ctx.res_mut(|mut traffic: Mut<Traffic>| match sent {
            Ok(len) => {
                traffic.snapshots += 1;
                traffic.bytes += len as u64;
            }
            Err(_) => traffic.refused += 1,
        })?;
    }
}
