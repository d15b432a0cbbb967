//! Round trips a message, over a link with a delay.
//!
//! They are the time that passed, counted in round trips of the link. The server says when messages arrived, so that
//! the start of a process does not count.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use smtp_tests::delay;
use smtp_tests::runtime::Runtime;

use super::clients::{self, Client, Job};
use super::ours::{self, How};
use super::server::{Offer, Server};

/// In each direction.
const ONE_WAY: Duration = Duration::from_millis(50);
const OCTETS: usize = 4096;
/// How many round trips of one octet are averaged.
const ECHOES: u32 = 600;
/// Recipients of a message.
const RECIPIENTS: [usize; 2] = [1, 50];

/// How many messages.
#[derive(Clone, Copy)]
enum Amount {
    /// 100, or few where that would take minutes: without PIPELINING.
    Full,
    /// 20 with one recipient, 5 with 50: what takes the same time for each message shows in few.
    Sample,
    /// 3, to see that it works.
    Test,
}

impl Amount {
    /// The delay of the link in each direction.
    fn one_way(self) -> Duration {
        if matches!(self, Self::Test) { Duration::from_millis(1) } else { ONE_WAY }
    }

    fn messages(self, recipients: usize, offer: Offer) -> usize {
        match self {
            Self::Test => 3,
            Self::Full if offer != Offer::Neither => 100,
            Self::Full | Self::Sample => {
                if recipients == 1 {
                    20
                } else {
                    5
                }
            }
        }
    }
}

/// What was measured with one client and one server.
struct Figures {
    messages: usize,
    connections: usize,
    /// Round trips a message, from the connection to the last verdict.
    all: f64,
    /// From the first verdict to the last.
    steady: f64,
}

pub(crate) fn measure(test: bool) {
    let full = if test { Amount::Test } else { Amount::Full };
    let sample = if test { Amount::Test } else { Amount::Sample };
    let mut clients = Vec::new();
    for how in How::ALL {
        for runtime in Runtime::ALL {
            clients.push((ours::client(runtime, how), full, how == How::Lmtp));
        }
    }
    clients.extend(clients::installed().into_iter().map(|client| (client, sample, false)));
    // All at the same time: they wait nearly all of it.
    let (rows, echo): (Vec<_>, _) = thread::scope(|scope| {
        let echo = scope.spawn(|| echo(if test { 1 } else { ECHOES }, full.one_way()));
        let measuring: Vec<_> = clients
            .iter()
            .map(|(client, amount, lmtp)| (client, scope.spawn(|| all_cases(client, *amount, *lmtp))))
            .collect();
        let rows = measuring.into_iter().map(|(client, cases)| (client, cases.join().expect("a figure"))).collect();
        (rows, echo.join().expect("an echo"))
    });
    if test {
        println!("{} clients have sent their messages over a link with a delay", rows.len());
        return;
    }
    println!(
        "\nRound trips a message of {OCTETS} octets over a link with {ONE_WAY:?} each way, by what the server offers:"
    );
    println!("from the first verdict to the last, and (in all, with the session's begin); messages that were sent.");
    println!("One octet and its echo took {echo:.2} meanwhile: what is more than 1 is the machine's and the proxy's.");
    print!("{:<28}{:>11}", "", "recipients");
    Offer::ALL.iter().for_each(|offer| print!("{:>26}", offer.name()));
    println!();
    for (client, cases) in rows {
        for (recipients, figures) in RECIPIENTS.into_iter().zip(cases) {
            print!("{:<28}{recipients:>11}", client.name);
            for figures in figures {
                let Some(Figures { messages, connections, all, steady }) = figures else {
                    print!("{:>26}", "-");
                    continue;
                };
                let many = if connections > 1 { "*" } else { "" };
                print!("{:>26}", format!("{steady:.2} ({all:.2}) {messages}{many}"));
            }
            println!();
        }
    }
    println!("* over several connections");
}

/// The mean of so many round trips that nobody's protocol has a part in, in round trips of the link.
fn echo(times: u32, one_way: Duration) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = delay::before(listener.local_addr().expect("its address"), one_way).expect("a link");
    let mut near = TcpStream::connect(to).expect("a connection");
    let (mut far, _) = listener.accept().expect("a connection");
    thread::spawn(move || io::copy(&mut far.try_clone().expect("the same connection"), &mut far));
    let begin = Instant::now();
    for _ in 0..times {
        near.write_all(b"?").and_then(|()| near.read_exact(&mut [0])).expect("an echo");
    }
    begin.elapsed().div_duration_f64(2 * one_way) / f64::from(times)
}

/// For each number of recipients and each offer. `None`: that is not possible.
fn all_cases(client: &Client, amount: Amount, lmtp: bool) -> Vec<Vec<Option<Figures>>> {
    let case = |recipients, offer| {
        // LMTP is not without PIPELINING (RFC 2033 section 5).
        let possible = !(lmtp && offer == Offer::Neither);
        possible.then(|| case(client, amount, recipients, offer, lmtp))
    };
    RECIPIENTS.map(|recipients| Offer::ALL.map(|offer| case(recipients, offer)).into()).into()
}

fn case(client: &Client, amount: Amount, recipients: usize, offer: Offer, lmtp: bool) -> Figures {
    let (messages, one_way) = (amount.messages(recipients, offer), amount.one_way());
    let server = Server::start(offer, lmtp);
    let to = delay::before(server.address, one_way).expect("a link");
    client.run(&Job { to, messages, recipients, octets: OCTETS, server: Some(&server) });
    let record = server.record();
    assert_eq!((record.arrivals.len(), record.recipients), (messages, messages * recipients), "{}", client.name);
    let (begin, first) = (record.begin.expect("a connection"), record.arrivals[0]);
    let last = *record.arrivals.last().expect("a message");
    let round_trips = |time: Duration, messages: usize| time.div_duration_f64(2 * one_way) / messages as f64;
    Figures {
        messages,
        connections: record.connections,
        all: round_trips(last - begin + one_way, messages),
        steady: round_trips(last - first, messages - 1),
    }
}
