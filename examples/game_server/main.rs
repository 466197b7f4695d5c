//! A small authoritative game server: a bevy `App` on onbeat's loop, with players over UDP.
//!
//! ```text
//! cargo run --release --features bevy_app --example game_server
//! cargo run --release --features bevy_app --example game_server -- --help
//! ```
//!
//! Players say where they want to go; the server decides where they are, sixty times a second, and tells
//! everybody. The server is one thread: systems move the players, tasks talk to them. The players are
//! another, and an onbeat runtime too.
//!
//! In reading order:
//!
//! - [`args`]: the command line;
//! - [`game`]: components, resources and systems, which know neither sockets nor tasks;
//! - [`server`]: the `App`, and the tasks that each player entity has;
//! - [`clients`]: the other side of the sockets;
//! - [`packet`]: what is sent.

mod args;
mod clients;
mod game;
mod packet;
mod server;

use std::{
    io::{self, Write},
    net::UdpSocket,
    process::ExitCode,
    sync::mpsc,
    thread,
};

use clap::Parser;

use args::Args;
use clients::Heard;
use game::Report;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // The exit code says it too, where nobody reads.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match play(&args) {
        Ok((report, heard)) => {
            let printed = print(&report, &heard, &mut io::stdout().lock());
            let all_played = heard.iter().all(|heard| heard.saw_itself > 0);
            if printed.is_ok() && all_played { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "the game could not be played: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One game: what the server reports, and what each player heard.
fn play(args: &Args) -> io::Result<(Report, Vec<Heard>)> {
    let lobby = UdpSocket::bind(args.bind).map_err(|error| {
        let advice = "give --bind an address of this machine, with port 0 for any that is free";
        io::Error::new(error.kind(), format!("{} cannot be bound: {error}; {advice}", args.bind))
    })?;
    let addr = lobby.local_addr()?;
    // Where nobody reads, the game is played all the same.
    let Args { players, hertz, seconds, .. } = args;
    let _ = writeln!(io::stdout(), "{players} players at {hertz} Hz for {seconds} s, at {addr}");
    let players = thread::spawn({
        let args = args.clone();
        move || clients::play(addr, &args)
    });
    let (sender, report) = mpsc::channel();
    let exit = server::app(args, lobby, sender).run();
    let heard = players.join().map_err(|_| io::Error::other("the players' thread panicked"))?;
    let report = report.try_recv().ok().filter(|_| exit.is_success());
    Ok((report.ok_or_else(|| io::Error::other("the server ended before the game"))?, heard))
}

fn print(report: &Report, heard: &[Heard], out: &mut impl Write) -> io::Result<()> {
    let us = |quantile: f64| report.lateness_ns.value_at_quantile(quantile) as f64 / 1e3;
    let snapshots: u64 = heard.iter().map(|heard| heard.snapshots).sum();
    let (joined, present) = (report.traffic.joined, report.positions.len());
    let traffic = &report.traffic;
    writeln!(
        out,
        "  frames     {}, {} beats missed, {} steps of the simulation",
        report.frames, report.beats_skipped, report.steps
    )?;
    writeln!(
        out,
        "  lateness   p50 {:.1} us, p99 {:.1} us, max {:.1} us after the beat",
        us(0.5),
        us(0.99),
        report.lateness_ns.max() as f64 / 1e3
    )?;
    writeln!(out, "  players    {joined} joined, {} left, {present} are there", traffic.left)?;
    writeln!(out, "  received   {} inputs, {} too old", traffic.inputs, traffic.stale)?;
    writeln!(
        out,
        "  sent       {} snapshots, {:.1} MB, {} refused by a full socket",
        traffic.snapshots,
        traffic.bytes as f64 / 1e6,
        traffic.refused
    )?;
    writeln!(out, "  heard      {snapshots} snapshots, in all by {} players", heard.len())?;
    for (number, [x, y], walked) in report.positions.iter().take(4) {
        writeln!(out, "  player {number:<3} at ({x:6.2}, {y:6.2}) m, walked {walked:.1} m")?;
    }
    if present > 4 {
        writeln!(out, "  and {} more", present - 4)?;
    }
    Ok(())
}
