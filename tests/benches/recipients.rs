//! A hundred pipelined recipients, about each of whom the application takes ten milliseconds: decided together, and one
//! after the other. Over a real connection, from the first RCPT to the last reply.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing bench is to fail")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use smtp_proto::server::{Config, Decision, Handler, Recipient, Recipients, Session};
use smtp_tokio::Server;
use tokio::task::JoinSet;

const RECIPIENTS: usize = 100;
const TIME: Duration = Duration::from_millis(10);

/// Asks about one after the other.
struct OneByOne;

impl Handler for OneByOne {
    async fn recipient(&mut self, _: &Session, _: Recipient) -> Decision {
        tokio::time::sleep(TIME).await;
        Decision::Accept
    }
}

/// Asks about all at the same time.
struct Together;

impl Handler for Together {
    async fn recipients(&mut self, _: &Session, recipients: Recipients) -> Vec<Decision> {
        let mut asking: JoinSet<()> = recipients.iter().map(|_| tokio::time::sleep(TIME)).collect();
        while asking.join_next().await.is_some() {}
        vec![Decision::Accept; recipients.len()]
    }
}

/// Serves on a thread of its own for as long as the process lives.
fn serve<H: Handler + 'static>(handler: fn() -> H) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let server = Server::new().bind("127.0.0.1:0", Config::new("mx.example.net").unwrap()).await.unwrap();
            tell.send(server.local_addresses().first().and_then(smtp_tokio::LocalAddress::tcp).unwrap()).unwrap();
            server.serve(|_| handler()).await;
        });
    });
    told.recv().unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self(BufReader::new(stream));
        client.replies(1);
        client.say("EHLO client.example.org\r\n", 1);
        client
    }

    fn say(&mut self, commands: &str, replies: usize) {
        self.0.get_mut().write_all(commands.as_bytes()).unwrap();
        self.replies(replies);
    }

    fn replies(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert!(line.starts_with('2'), "{line}");
            left -= usize::from(line.as_bytes()[3] == b' ');
        }
    }
}

fn recipients(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("100 recipients that take 10 ms each");
    group.sample_size(10);
    let commands: String = (0..RECIPIENTS).map(|number| format!("RCPT TO:<joe{number}@example.net>\r\n")).collect();
    for (name, server) in [("together", serve(|| Together)), ("one by one", serve(|| OneByOne))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| {
                        let mut client = Client::new(server);
                        client.say("MAIL FROM:<jane@example.org>\r\n", 1);
                        let begun = std::time::Instant::now();
                        client.say(&commands, RECIPIENTS);
                        begun.elapsed()
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, recipients);
criterion_main!(benches);
