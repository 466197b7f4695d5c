//! The command line.

use std::net::SocketAddr;

use clap::Parser;

/// An authoritative game server over UDP, and its players.
///
/// The server is a headless bevy App whose loop is onbeat's. Each player is an entity with two tasks:
/// one receives what the player wants and writes it into the player's components, at once and between
/// frames; the other waits for the end of each frame and sends the snapshot that a system has made. When
/// a player leaves, or is silent for half a second, the entity is despawned, and its tasks end with it.
/// Some players ask for more speed than there is, and some leave at half-time. It prints a line each second,
/// and at the end how late frames started, what was sent, and where the players ended up.
#[derive(Parser, Clone, Debug)]
#[command(name = "game_server", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many players join, from 1 to 200.
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) players: u16,

    /// How many frames a second the server makes, from 1 to 1000. The simulation has steps of the same
    /// length.
    #[arg(long, value_name = "HZ", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) hertz: u16,

    /// How long the game takes, from 1 to 3600.
    #[arg(long, value_name = "S", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) seconds: u16,

    /// Spin instead of sleeping between frames: the server takes a whole core, and is late by less.
    #[arg(long)]
    pub(crate) spin: bool,

    /// Where the server listens; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) bind: SocketAddr,
}

const EXAMPLES: &str = "\
Examples:
  game_server                     64 players for 3 seconds
  game_server --spin              what a core of its own gives
  game_server --hertz 250 --players 16 --seconds 10

Exit codes: 0 the game was played, 1 it was not, 2 the command line was not understood.";
