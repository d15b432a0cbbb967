//! Time a message without a delay, over one connection: as long as it took, and the client's own of the processor.
//!
//! A process is measured from its start to its end. Clients take turns, so that all have the same share of a noisy
//! machine.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use smtp_tests::runtime::Runtime;

use super::clients::{self, Client, Job};
use super::ours::{self, How};
use super::server::{Offer, Server};
use super::support::peers::{self, program};
use super::support::process::{Process, start_server};

/// Octets of a message.
const SIZES: [usize; 2] = [4096, 1024 * 1024];
/// Turns of each client; the median counts.
const TURNS: usize = 7;
/// How long a turn is to take, more or less.
const TURN: Duration = Duration::from_millis(500);
/// The least and the most messages in a turn.
const LEAST: usize = 20;
const MOST: usize = 50_000;

/// One client, one server, one size.
#[derive(Default)]
struct Figures {
    /// Messages in a turn.
    messages: usize,
    /// Of each turn.
    time: Vec<Duration>,
    processor: Duration,
}

pub(crate) fn measure(test: bool) {
    let mut clients = Vec::new();
    for how in [How::All, How::OneByOne] {
        clients.extend(Runtime::ALL.map(|runtime| ours::client(runtime, how)));
    }
    clients.extend(clients::of_crates());
    clients.extend(clients::smtp_source());
    let ours = Server::start(Offer::Chunking, false);
    let sink = smtp_sink();
    let servers = [Some(("smtp-tokio", ours.address)), sink.as_ref().map(|(_, address)| ("smtp-sink", *address))];
    for (name, to) in servers.into_iter().flatten() {
        for octets in SIZES {
            let figures = take_turns(&clients, to, octets, test);
            if !test {
                print(name, octets, &clients, figures);
            }
        }
    }
    if test {
        println!("{} clients have sent their messages on loopback", clients.len());
    }
}

fn take_turns(clients: &[Client], to: SocketAddr, octets: usize, test: bool) -> Vec<Figures> {
    let turn = |client: &Client, messages| {
        let begin = Instant::now();
        client.run(&Job { to, messages, recipients: 1, octets, server: None });
        begin.elapsed()
    };
    let begun = |client| {
        let mut messages = if test { 3 } else { LEAST };
        while !test && messages < MOST {
            let turns = TURN.div_duration_f64(turn(client, messages));
            if turns < 2.0 {
                break;
            }
            // The first messages have the start of the process in their time.
            messages = ((messages as f64 * turns.min(20.0)) as usize).min(MOST);
        }
        Figures { messages, ..Figures::default() }
    };
    let mut figures: Vec<Figures> = clients.iter().map(begun).collect();
    for _ in 0..if test { 1 } else { TURNS } {
        for (client, figures) in clients.iter().zip(&mut figures) {
            let before = processor();
            figures.time.push(turn(client, figures.messages));
            figures.processor += processor().saturating_sub(before);
        }
    }
    figures
}

fn print(server: &str, octets: usize, clients: &[Client], figures: Vec<Figures>) {
    println!("\nTime of a message of {octets} octets to {server} on loopback, {TURNS} turns:");
    println!("{:<28}{:>10}{:>13}{:>10}{:>20}", "", "messages", "µs (median)", "ratio", "µs of processor");
    let mut first = None;
    for (client, Figures { messages, mut time, processor }) in clients.iter().zip(figures) {
        time.sort();
        let median = time[time.len() / 2];
        let each = |time: Duration, messages: usize| time.as_secs_f64() * 1e6 / messages as f64;
        let (wall, processor) = (each(median, messages), each(processor, messages * TURNS));
        let ratio = wall / *first.get_or_insert(wall);
        // Of few messages, most is the start of the process.
        let processor = if messages < 100 { "-".to_owned() } else { format!("{processor:.1}") };
        println!("{:<28}{messages:>10}{wall:>13.1}{ratio:>10.2}{processor:>20}", client.name);
    }
}

/// What the kernel has counted of the processor's time for children that have ended; nothing where there is no such
/// file.
fn processor() -> Duration {
    /// `USER_HZ`, the unit of times in that file.
    const TICK: Duration = Duration::from_millis(10);
    let file = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before may hold anything; behind it come the state and numbers, of which these are the 16th and 17th.
    let numbers = file.rsplit_once(')').map(|(_, numbers)| numbers).unwrap_or_default();
    let ticks =
        numbers.split_whitespace().skip(13).take(2).filter_map(|number| number.parse::<u32>().ok()).sum::<u32>();
    TICK * ticks
}

/// Postfix's server that throws everything away.
fn smtp_sink() -> Option<(Process, SocketAddr)> {
    let program = program("smtp-sink", "Debian package postfix")?;
    Some(start_server(|address, hostname| {
        let mut command = Command::new(&program);
        if peers::is_root() {
            // It refuses to run with root's rights.
            command.args(["-u", "nobody"]);
        }
        command.args(["-h", hostname]).arg(address.to_string()).arg("10");
        Process::start(&mut command, Stdio::null())
    }))
}
