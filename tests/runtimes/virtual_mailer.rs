//! Mailers on a clock that stands still while anything moves, over streams in memory: delays, rates, idle connections, and
//! messages that are dropped at any point.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smtp_proto::adapter::sending::{self, Drives, System, Task};
use smtp_proto::adapter::serving::Handle;
use smtp_proto::adapter::tls::ClientTls;
use smtp_proto::client::{Client, Transfer};
use smtp_proto::delivery::{Policies, RateLimit, Url};
use smtp_proto::server::{CloseReason, Connection, Decision, Handler, Mail, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tokio::Tokio;
use tokio::io::DuplexStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cancelling::polled;
use super::support::{client_config, envelope, limited, server_config};

/// The timers of tokio tick once in a millisecond.
const TICK: Duration = Duration::from_millis(1);

thread_local! {
    /// How large the buffer of a connection is, and what its server does.
    static SERVER: RefCell<Option<(usize, Clerk)>> = const { RefCell::new(None) };
    static OPENED: Cell<u64> = const { Cell::new(0) };
}

/// tokio, with servers in memory behind every address.
#[derive(Debug, Clone, Copy)]
struct Virtual;

impl System for Virtual {
    type Socket = DuplexStream;

    fn now() -> std::time::Instant {
        Tokio::now()
    }

    fn sleep_until(until: Option<std::time::Instant>) -> impl Future<Output = ()> + Send {
        Tokio::sleep_until(until)
    }

    async fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![server.parse().unwrap()])
    }

    async fn open(_: SocketAddr, _: Option<IpAddr>, _: Duration) -> io::Result<DuplexStream> {
        let (room, clerk) = SERVER.with_borrow(Clone::clone).unwrap();
        let (ours, theirs) = tokio::io::duplex(room);
        OPENED.set(OPENED.get() + 1);
        let connection = Connection::new(OPENED.get(), None);
        tokio::spawn(async move {
            smtp_tokio::serve_connection(theirs, connection, server_config(), clerk, &Handle::new()).await.unwrap();
        });
        Ok(ours)
    }

    #[cfg(unix)]
    async fn open_unix(_: &std::path::Path) -> io::Result<DuplexStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn local_address(_: &DuplexStream) -> Option<IpAddr> {
        None
    }
}

impl Drives<DuplexStream> for Virtual {
    type Driver = <Tokio as Drives<DuplexStream>>::Driver;

    fn drive(stream: DuplexStream, tls: Option<ClientTls>, machine: Client, peer: &str) -> Self::Driver {
        Tokio::drive(stream, tls, machine, peer)
    }
}

impl sending::Runtime for Virtual {
    fn spawn(task: Task<Self>) {
        tokio::spawn(task.run());
    }
}

type Mailer = sending::Mailer<Virtual>;

/// What a server tells, and when.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// Somebody asked for a recipient.
    Asked,
    Message(String, Bytes),
    Closed(CloseReason),
}

/// Answers as it is told, and tells what happens.
#[derive(Clone)]
struct Clerk {
    tell: Sender<(Instant, Told)>,
    /// How long a message takes.
    takes: Duration,
    /// Recipients are refused for so long since the beginning.
    busy_until: Instant,
    sender: String,
    content: BytesMut,
}

impl Handler for Clerk {
    async fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        (self.sender, self.content) = (mail.reverse_path.to_string(), BytesMut::new());
        Decision::Accept
    }

    async fn recipient(&mut self, _: &Session, _: Recipient) -> Decision {
        self.tell.send((Instant::now(), Told::Asked)).unwrap();
        if Instant::now() < self.busy_until {
            return Reply::from_static("450 4.2.1 Not now").into();
        }
        Decision::Accept
    }

    async fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.content.extend_from_slice(&content);
        Decision::Accept
    }

    async fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        sleep(self.takes).await;
        let message = Told::Message(self.sender.clone(), self.content.clone().freeze());
        self.tell.send((Instant::now(), message)).unwrap();
        Decision::Accept
    }

    async fn closing(&mut self, _: &Session, reason: CloseReason) {
        // The test may be over.
        let _ = self.tell.send((Instant::now(), Told::Closed(reason)));
    }
}

/// Runs a test on a clock that begins to stand still, with servers that know when it began.
fn on_virtual_time(
    room: usize,
    takes: Duration,
    busy: Duration,
    test: impl AsyncFnOnce(Instant, Receiver<(Instant, Told)>),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (tell, told) = mpsc::channel();
        let start = Instant::now();
        let clerk = Clerk { tell, takes, busy_until: start + busy, sender: String::new(), content: BytesMut::new() };
        SERVER.set(Some((room, clerk)));
        test(start, told).await;
    });
}

fn mailer(policies: Policies) -> Mailer {
    let url: Url = "smtp://192.0.2.1".parse().unwrap();
    Mailer::new(sending::Connector::new(client_config()), url.endpoint().clone(), policies)
}

const ROOM: usize = 64 * 1024;

#[test]
fn attempts_are_further_and_further_apart() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::from_secs(4), async |start, told| {
            let report = mailer(Policies::default()).send(envelope("jane", &["joe"]), "Hi\r\n").await.unwrap();
            assert!(report.outcome.is_delivered());
            let asked: Vec<_> = told.try_iter().filter(|(_, told)| *told == Told::Asked).collect();
            let at: Vec<_> = asked.into_iter().map(|(at, _)| at - start).collect();
            assert_eq!(at[0], Duration::ZERO);
            assert_eq!(report.attempts as usize, at.len());
            // A second, four, sixteen; half of each is up to chance.
            for (pair, seconds) in at.windows(2).zip([1, 4, 16]) {
                let (delay, longest) = (pair[1] - pair[0], Duration::from_secs(seconds));
                assert!(longest / 2 <= delay && delay <= longest + TICK, "{at:?}");
            }
            assert!((3..=4).contains(&at.len()), "{at:?}");
        });
    });
}

#[test]
fn a_rate_is_kept() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::ZERO, async |start, told| {
            let mut policies = Policies::default();
            policies.rate = Some(RateLimit::new(2, Duration::from_secs(60)));
            let mailer = mailer(policies);
            let mut sending = JoinSet::new();
            for _ in 0..5 {
                let mailer = mailer.clone();
                sending.spawn(async move { mailer.send(envelope("jane", &["joe"]), "Hi\r\n").await.unwrap() });
            }
            assert!(sending.join_all().await.iter().all(|report| report.outcome.is_delivered()));
            let messages = told.try_iter().filter(|(_, told)| matches!(told, Told::Message(..)));
            let at: Vec<_> = messages.map(|(at, _)| (at - start).as_secs()).collect();
            assert_eq!(at, [0, 0, 60, 60, 120]);
        });
    });
}

#[test]
fn who_asked_first_is_served_first_and_idle_connections_end() {
    limited(|| {
        on_virtual_time(ROOM, Duration::from_secs(1), Duration::ZERO, async |start, told| {
            let mut policies = Policies::default();
            policies.pool.connections = 1;
            let mailer = mailer(policies);
            let mut sending = JoinSet::new();
            for number in 1..=3 {
                let mailer = mailer.clone();
                sending.spawn(async move {
                    mailer.send(envelope(&format!("number{number}"), &["joe"]), "Hi\r\n").await.unwrap()
                });
            }
            sending.join_all().await;
            // Longer than a connection is kept that nobody uses.
            sleep(Duration::from_secs(100)).await;
            let happened: Vec<_> = told
                .try_iter()
                .filter(|(_, told)| *told != Told::Asked)
                .map(|(at, told)| ((at - start).as_secs(), told))
                .collect();
            let message = |number| Told::Message(format!("number{number}@example.org"), "Hi\r\n".into());
            let closed = Told::Closed(CloseReason::Quit);
            assert_eq!(happened, [(1, message(1)), (2, message(2)), (3, message(3)), (63, closed)]);
            assert_eq!(mailer.health().connections, 1);
        });
    });
}

#[test]
fn the_mailer_goes_on_where_its_runtime_has_ended() {
    limited(|| {
        let url: Url = "smtp://192.0.2.1".parse().unwrap();
        let kept = RefCell::new(None);
        for messages in 1..=2 {
            on_virtual_time(ROOM, Duration::ZERO, Duration::ZERO, async |_, _told| {
                let new = || {
                    Mailer::new(sending::Connector::new(client_config()), url.endpoint().clone(), Policies::default())
                };
                let mailer = kept.borrow_mut().get_or_insert_with(new).clone();
                assert!(mailer.send(envelope("jane", &["joe"]), "Hi\r\n").await.unwrap().outcome.is_delivered());
                assert_eq!(mailer.health().connections, messages);
            });
        }
    });
}

/// Sends a message but drops that after some polls, then sends another, which must arrive once and intact. `before`: over
/// a connection that has been used.
async fn dropped_everywhere(told: &Receiver<(Instant, Told)>, transfer: Transfer, before: bool) {
    const SECOND: &[u8] = b"Subject: second\r\n\r\n.\r\n";
    let first: Bytes = "Subject: first\r\n\r\nall of it\r\n".into();
    for polls in 0.. {
        let mut policies = Policies::default();
        policies.pool.connections = 1;
        let mut config = client_config();
        config.transfer = transfer;
        let url: Url = "smtp://192.0.2.1".parse().unwrap();
        let mailer = Mailer::new(sending::Connector::new(config), url.endpoint().clone(), policies);
        if before {
            mailer.send(envelope("before", &["joe"]), "Hi\r\n").await.unwrap();
        }
        let sent = polled(mailer.send(envelope("first", &["joe", "jim"]), first.clone()), polls).await;
        let report = mailer.send(envelope("second", &["joe"]), SECOND).await.unwrap();
        assert!(report.outcome.is_delivered() && report.attempts == 1, "{polls} polls: {report:?}");
        mailer.close().await;
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for (_, told) in told.try_iter() {
            match told {
                Told::Message(sender, content) if sender.starts_with("first") => firsts.push(content),
                Told::Message(sender, content) if sender.starts_with("second") => seconds.push(content),
                _ => {}
            }
        }
        assert_eq!(seconds, [SECOND], "{polls} polls");
        assert!(firsts.is_empty() || firsts == [&first[..]], "{polls} polls: {firsts:?}");
        if let Some(sent) = sent {
            assert!(sent.unwrap().outcome.is_delivered() && firsts.len() == 1);
            assert!(polls > 20, "only {polls} polls");
            return;
        }
    }
}

#[test]
fn a_message_that_is_dropped_at_any_point_leaves_no_half_used_connection() {
    limited(|| {
        for transfer in [Transfer::Auto, Transfer::Data] {
            for before in [false, true] {
                on_virtual_time(7, Duration::from_secs(1), Duration::ZERO, async |_, told| {
                    dropped_everywhere(&told, transfer, before).await;
                });
            }
        }
    });
}
