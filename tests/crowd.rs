//! Ten thousand clients at once on tokio: sessions that stay open, and sessions that drip.
//!
//! The server is the tool `receive` in a process of its own, so that what it holds can be counted. Every fifty clients
//! share an address of the loopback network.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::fs;
use std::io::{BufRead, BufReader as Lines};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const CROWD: usize = 10_000;
/// Clients of one address.
const NEIGHBOURS: usize = 50;
/// Clients that do something at the same time.
const AT_ONCE: usize = 500;
/// Descriptors that a process needs besides its connections.
const SPARE: u64 = 200;

/// One crowd at a time has enough descriptors.
static TURN: Mutex<()> = Mutex::new(());

/// A server in a process of its own.
struct Receive {
    process: Child,
    address: SocketAddr,
}

impl Receive {
    fn start(options: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_receive"))
            .args(["--runtime", "tokio", "--listen", "127.0.0.1:0", "--sink", "discard", "--max-connections", "15000"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = Lines::new(process.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = listening["address"].as_str().unwrap().parse().unwrap();
        // Somebody has to take what it prints.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { process, address }
    }

    /// Octets of memory.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One of the crowd.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(server: SocketAddr, number: usize) -> Self {
        let neighbourhood = u32::try_from(number / NEIGHBOURS).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + neighbourhood);
        socket.bind(SocketAddr::new(address.into(), 0)).unwrap();
        let mut client = Self(BufReader::with_capacity(256, socket.connect(server).await.unwrap()));
        client.expect("220").await;
        client
    }

    /// Reads a reply with this code.
    async fn expect(&mut self, code: &str) {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            assert!(line.starts_with(code), "{line:?} instead of {code}");
            if line.as_bytes().get(3) == Some(&b' ') {
                return;
            }
        }
    }

    async fn say(&mut self, line: &str, code: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.expect(code).await;
    }

    async fn send_message(&mut self) {
        self.say("MAIL FROM:<a@a.test>", "250").await;
        self.say("RCPT TO:<b@b.test>", "250").await;
        self.say("DATA", "354").await;
        self.say("Subject: one of a crowd\r\n\r\nText.\r\n.", "250").await;
    }
}

/// Does something with every client, with some at a time.
async fn each<F: Future<Output = Client> + Send + 'static>(
    clients: impl IntoIterator<Item = Client>,
    act: impl Fn(Client) -> F,
) -> Vec<Client> {
    let (mut acting, mut done) = (JoinSet::new(), Vec::new());
    for client in clients {
        acting.spawn(act(client));
        if acting.len() >= AT_ONCE {
            done.push(acting.join_next().await.unwrap().unwrap());
        }
    }
    done.extend(acting.join_all().await);
    done
}

async fn crowd(server: SocketAddr) -> Vec<Client> {
    let (mut coming, mut here) = (JoinSet::new(), Vec::new());
    for number in 0..CROWD {
        coming.spawn(Client::connect(server, number));
        if coming.len() >= AT_ONCE {
            here.push(coming.join_next().await.unwrap().unwrap());
        }
    }
    here.extend(coming.join_all().await);
    here
}

/// Makes room for the descriptors of a crowd, here and in processes started from here.
fn raise_descriptors() -> Option<MutexGuard<'static, ()>> {
    let most = getrlimit(Resource::Nofile).maximum;
    let wanted = CROWD as u64 + SPARE;
    if most.is_some_and(|most| most < wanted) {
        let message = format!("a crowd needs {wanted} descriptors (ulimit -Hn); there are {most:?}");
        let required = std::env::var("SMTP_INTEROP").is_ok_and(|value| value == "required");
        assert!(!required, "{message}");
        eprintln!("SKIP {message}");
        return None;
    }
    setrlimit(Resource::Nofile, Rlimit { current: most.or(Some(wanted)), maximum: most }).unwrap();
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

#[test]
fn ten_thousand_sessions_stay_open_while_some_of_them_send() {
    let Some(_turn) = raise_descriptors() else { return };
    let server = Receive::start(&[]);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let before = server.resident();
        let clients = crowd(server.address).await;
        let mut clients = each(clients, async |mut client: Client| {
            client.say("EHLO c.test", "250").await;
            client
        })
        .await;
        let idle = (server.resident() - before) / CROWD as u64;
        println!("{idle} octets of memory for an idle session");
        let others = clients.split_off(CROWD / 10);
        clients = each(clients, async |mut client: Client| {
            for _ in 0..3 {
                client.send_message().await;
            }
            client
        })
        .await;
        clients.extend(others);
        let clients = each(clients, async |mut client: Client| {
            client.say("NOOP", "250").await;
            client.say("QUIT", "221").await;
            client
        })
        .await;
        assert_eq!(clients.len(), CROWD);
    });
}

#[test]
fn ten_thousand_that_drip_are_cut_while_others_are_served() {
    let Some(_turn) = raise_descriptors() else { return };
    let server = Receive::start(&["--command-timeout", "6"]);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let clients = crowd(server.address).await;
        let mut dripping = JoinSet::new();
        for mut client in clients {
            dripping.spawn(async move {
                // An octet a second is not silence, and no command either.
                let mut second = tokio::time::interval(Duration::from_secs(1));
                let (mut said, mut drops) = (Vec::new(), 0);
                loop {
                    tokio::select! {
                        _ = second.tick() => drops += usize::from(client.0.get_mut().write_all(b"N").await.is_ok()),
                        read = client.0.read_buf(&mut said) => if !matches!(read, Ok(1..)) {
                            return (String::from_utf8(said).unwrap(), drops);
                        },
                    }
                }
            });
        }
        let begun = Instant::now();
        let mut honest = Client::connect(server.address, CROWD).await;
        let (mut sent, mut octets, mut slowest) = (0, 0, Duration::ZERO);
        honest.say("EHLO c.test", "250").await;
        while !dripping.is_empty() {
            let sending = Instant::now();
            honest.send_message().await;
            sent += 1;
            slowest = slowest.max(sending.elapsed());
            while let Some(ended) = dripping.try_join_next() {
                let (said, drops) = ended.unwrap();
                assert!(said.starts_with("421 ") && said.lines().count() == 1, "{said:?}");
                octets += drops;
            }
            tokio::task::yield_now().await;
        }
        println!("all cut after {:?}; meanwhile {sent} messages, the slowest in {slowest:?}", begun.elapsed());
        assert!(sent > 1);
        // What never dripped was not cut for it.
        assert!(octets > CROWD, "{octets} octets of {CROWD} clients");
    });
}
