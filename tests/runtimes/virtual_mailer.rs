//! Mailers on a clock that stands still while anything moves, over streams in memory: delays, rates, idle connections, and
//! messages that are dropped at any point.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::{self, Drives, Reads, System, Task};
use smtp_proto::adapter::serving::Handle;
use smtp_proto::adapter::tls::ClientTls;
use smtp_proto::client::{Client, Transfer, Verdict};
use smtp_proto::delivery::{Policies, RateLimit, Url};
use smtp_proto::server::{CloseReason, Connection, Decision, Handler, Mail, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tokio::Tokio;
use tokio::io::{DuplexStream, ReadBuf};
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
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Every task takes its turn between two polls of the test.
    let runtime = runtime.enable_all().start_paused(true).event_interval(1).build().unwrap();
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
fn who_gives_up_waiting_holds_nobody_up() {
    limited(|| {
        on_virtual_time(ROOM, Duration::from_secs(1), Duration::ZERO, async |start, told| {
            let mut policies = Policies::default();
            policies.pool.connections = 1;
            let mailer = mailer(policies);
            let mut sending: Vec<_> = (1..=4)
                .map(|number| {
                    let mailer = mailer.clone();
                    let envelope = envelope(&format!("number{number}"), &["joe"]);
                    tokio::spawn(async move { mailer.send(envelope, "Hi\r\n").await })
                })
                .collect();
            sleep(Duration::from_millis(500)).await;
            sending.remove(1).abort();
            // The first has the connection, which goes with it.
            sending.remove(0).abort();
            for sending in sending {
                assert!(sending.await.unwrap().unwrap().outcome.is_delivered());
            }
            let arrived: Vec<_> = told
                .try_iter()
                .filter_map(|(at, told)| match told {
                    Told::Message(sender, _) => Some(((at - start).as_millis(), sender)),
                    _ => None,
                })
                .collect();
            // The server had the first message, and nobody to answer.
            let expected = [(1000, 1), (1500, 3), (2500, 4)];
            let expected = expected.map(|(at, number)| (at, format!("number{number}@example.org")));
            assert_eq!(arrived, expected);
        });
    });
}

#[test]
fn many_messages_go_on_where_their_runtime_has_ended() {
    const COUNT: usize = 20;
    limited(|| {
        let kept: RefCell<Option<sending::Reports<Virtual, _>>> = RefCell::new(None);
        let told_of = RefCell::new(BTreeMap::new());
        let sent = RefCell::new(Vec::new());
        for last in [false, true] {
            on_virtual_time(ROOM, Duration::from_secs(1), Duration::ZERO, async |_, told| {
                let mut reports = kept.take().unwrap_or_else(|| {
                    let mut policies = Policies::default();
                    policies.pool.connections = 2;
                    let messages = (0..COUNT).map(|number| (envelope(&format!("number{number}"), &["joe"]), "Hi\r\n"));
                    mailer(policies).send_all(messages)
                });
                while let Some((index, report)) = reports.next().await {
                    assert!(told_of.borrow_mut().insert(index, report.unwrap().outcome).is_none());
                    if !last && told_of.borrow().len() == 5 {
                        break;
                    }
                }
                kept.replace(Some(reports));
                let senders = told.try_iter().filter_map(|(_, told)| match told {
                    Told::Message(sender, _) => Some(sender),
                    _ => None,
                });
                sent.borrow_mut().extend(senders);
            });
        }
        let (told_of, sent) = (told_of.into_inner(), sent.into_inner());
        assert_eq!(told_of.len(), COUNT);
        for (index, outcome) in told_of {
            let times = sent.iter().filter(|sender| **sender == format!("number{index}@example.org")).count();
            match outcome.verdict() {
                Verdict::Delivered => assert_eq!(times, 1, "{index}"),
                // It was on its way.
                Verdict::Unknown => assert!(times <= 1, "{index}"),
                other => panic!("{index}: {other:?}"),
            }
        }
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

#[test]
fn a_rate_and_delays_are_kept_by_many_messages() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::from_secs(1), async |start, told| {
            let mut policies = Policies::default();
            policies.rate = Some(RateLimit::new(2, Duration::from_secs(60)));
            let mailer = mailer(policies);
            let mut reports = mailer.send_all((0..3).map(|_| (envelope("jane", &["joe"]), "Hi\r\n")));
            let mut attempts = 0;
            while let Some((_, report)) = reports.next().await {
                let report = report.unwrap();
                assert!(report.outcome.is_delivered());
                attempts += report.attempts;
            }
            // The first two were refused for now; attempts are what the rate is about.
            assert_eq!(attempts, 5);
            let asked: Vec<_> = told.try_iter().filter(|(_, told)| *told == Told::Asked).collect();
            let at: Vec<_> = asked.into_iter().map(|(at, _)| (at - start).as_secs()).collect();
            assert_eq!(at, [0, 0, 60, 60, 120]);
        });
    });
}

#[test]
fn one_message_need_not_wait_for_all_of_many() {
    limited(|| {
        on_virtual_time(ROOM, Duration::from_secs(1), Duration::ZERO, async |_, told| {
            let mut policies = Policies::default();
            (policies.pool.connections, policies.pool.messages) = (1, 1000);
            let mailer = mailer(policies);
            let mut reports = mailer.send_all((0..200).map(|_| (envelope("many", &["joe"]), "Hi\r\n")));
            assert!(reports.next().await.is_some());
            let single = tokio::spawn({
                let mailer = mailer.clone();
                async move { mailer.send(envelope("single", &["joe"]), "Hi\r\n").await }
            });
            while reports.next().await.is_some() {}
            assert!(single.await.unwrap().unwrap().outcome.is_delivered());
            let single =
                |(_, told): &(Instant, Told)| matches!(told, Told::Message(sender, _) if sender.contains("single"));
            let messages: Vec<_> = told.try_iter().filter(|(_, told)| matches!(told, Told::Message(..))).collect();
            // Those that were on their way or about to be.
            assert!(messages.iter().position(single).is_some_and(|before| before <= 35), "{messages:?}");
            assert_eq!(messages.len(), 201);
        });
    });
}

#[test]
fn who_waits_for_messages_keeps_no_connection() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::ZERO, async |_, _told| {
            let mut policies = Policies::default();
            policies.pool.connections = 1;
            let mailer = mailer(policies);
            let mut reports = mailer.send_all((0..2000).map(|_| (envelope("many", &["joe"]), "Hi\r\n")));
            assert!(reports.next().await.is_some());
            // Nobody asks for more reports, so that no more messages are taken.
            sleep(Duration::from_secs(1)).await;
            let report = mailer.send(envelope("single", &["joe"]), "Hi\r\n").await.unwrap();
            assert!(report.outcome.is_delivered());
            let mut count = 1;
            while let Some((_, report)) = reports.next().await {
                assert!(report.unwrap().outcome.is_delivered());
                count += 1;
            }
            assert_eq!(count, 2000);
        });
    });
}

#[test]
fn who_waits_for_another_attempt_is_given_up_when_the_mailer_closes() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::from_secs(1000), async |start, _told| {
            let mailer = mailer(Policies::default());
            let single = tokio::spawn({
                let mailer = mailer.clone();
                async move { mailer.send(envelope("single", &["joe"]), "Hi\r\n").await }
            });
            let many = tokio::spawn({
                let mut reports = mailer.send_all((0..3).map(|_| (envelope("many", &["joe"]), "Hi\r\n")));
                async move {
                    let mut all = Vec::new();
                    while let Some((_, report)) = reports.next().await {
                        all.push(report);
                    }
                    all
                }
            });
            // All have been refused once.
            sleep(Duration::from_millis(100)).await;
            mailer.close().await;
            let mut reports = many.await.unwrap();
            reports.push(single.await.unwrap());
            assert_eq!(start.elapsed().as_millis() / 10, 10, "somebody waited on");
            assert_eq!(reports.len(), 4);
            for report in reports {
                // What the server said is what became of it.
                let report = report.unwrap();
                assert_eq!(report.outcome.recipients[0].reply().unwrap().code().value(), 450, "{report:?}");
                assert_eq!(report.attempts, 1);
            }
            assert_eq!((mailer.health().failed, mailer.health().retried), (4, 4));
        });
    });
}

/// Content that cannot be read from some place on.
struct Torn(usize);

impl tokio::io::AsyncRead for Torn {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(Err(io::ErrorKind::InvalidData.into())) };
        self.0 = left;
        buffer.put_slice(b"some of it\r\n");
        Poll::Ready(Ok(()))
    }
}

impl Reads<Torn> for Virtual {
    async fn read(content: &mut Torn, piece: &mut BytesMut) -> io::Result<usize> {
        Tokio::read(content, piece).await
    }
}

impl Reads<&'static [u8]> for Virtual {
    async fn read(content: &mut &'static [u8], piece: &mut BytesMut) -> io::Result<usize> {
        Tokio::read(content, piece).await
    }
}

#[test]
fn content_is_opened_for_each_attempt() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::from_secs(1), async |_, told| {
            let mailer = mailer(Policies::default());
            let opened = Cell::new(0);
            let open = async || {
                opened.set(opened.get() + 1);
                Ok(&b"Subject: Hi\r\n"[..])
            };
            let report = mailer.send_from(envelope("jane", &["joe"]), None, open).await.unwrap();
            assert!(report.outcome.is_delivered() && report.attempts >= 2);
            assert_eq!(opened.get(), report.attempts);
            let messages: Vec<_> = told.try_iter().filter(|(_, told)| matches!(told, Told::Message(..))).collect();
            let [(_, Told::Message(_, content))] = &messages[..] else { panic!("{messages:?}") };
            assert_eq!(content, "Subject: Hi\r\n");
        });
    });
}

#[test]
fn content_that_cannot_be_read_is_no_fault_of_the_server() {
    limited(|| {
        on_virtual_time(ROOM, Duration::ZERO, Duration::ZERO, async |start, told| {
            let mailer = mailer(Policies::default());
            let missing = async || Err::<Torn, _>(io::ErrorKind::NotFound.into());
            match mailer.send_from(envelope("jane", &["joe"]), None, missing).await {
                Err(Error::Content(error)) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                other => panic!("{other:?}"),
            }
            // The connection is as good as new, and kept.
            mailer.send(envelope("before", &["joe"]), "Hi\r\n").await.unwrap();
            assert_eq!(mailer.health().connections, 1);
            for pieces in [0, 1, 3] {
                match mailer.send_from(envelope("jane", &["joe"]), None, async || Ok(Torn(pieces))).await {
                    Err(error @ Error::Content(_)) => assert!(error.is_permanent()),
                    other => panic!("{other:?}"),
                }
                mailer.send(envelope("between", &["joe"]), "Hi\r\n").await.unwrap();
            }
            let health = mailer.health();
            // Half a message cannot be taken back.
            assert_eq!((health.sent, health.failed, health.retried, health.connections), (4, 0, 0, 4));
            assert_eq!((health.last_error, start.elapsed()), (None, Duration::ZERO));
            let mut senders = Vec::new();
            for (_, told) in told.try_iter() {
                if let Told::Message(sender, content) = told {
                    assert_eq!(content, "Hi\r\n");
                    senders.push(sender);
                }
            }
            let between = "between@example.org";
            assert_eq!(senders, ["before@example.org", between, between, between]);
        });
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

/// Sends messages but drops that after so many turns of everything that runs, then sends another.
async fn dropped_reports(told: &Receiver<(Instant, Told)>, transfer: Transfer) {
    const SECOND: &[u8] = b"Subject: second\r\n\r\n.\r\n";
    const COUNT: usize = 4;
    let content = |number: usize| Bytes::from(format!("Subject: {number}\r\n\r\nall of it\r\n"));
    for turns in 0.. {
        let mut policies = Policies::default();
        policies.pool.connections = 2;
        let mut config = client_config();
        config.transfer = transfer;
        let url: Url = "smtp://192.0.2.1".parse().unwrap();
        let mailer = Mailer::new(sending::Connector::new(config), url.endpoint().clone(), policies);
        let messages = (0..COUNT).map(|number| (envelope(&format!("first{number}"), &["joe", "jim"]), content(number)));
        let mut reports = mailer.send_all(messages);
        let mut accepted = Vec::new();
        for _ in 0..turns {
            if let Some(Some((index, report))) = polled(reports.next(), 1).await {
                assert!(report.unwrap().outcome.is_delivered());
                accepted.push(index);
            }
            tokio::task::yield_now().await;
        }
        drop(reports);
        let report = mailer.send(envelope("second", &["joe"]), SECOND).await.unwrap();
        assert!(report.outcome.is_delivered() && report.attempts == 1, "{turns} turns: {report:?}");
        mailer.close().await;
        let (mut firsts, mut seconds) = (BTreeMap::new(), Vec::new());
        for (_, told) in told.try_iter() {
            match told {
                Told::Message(sender, octets) if sender.starts_with("second") => seconds.push(octets),
                Told::Message(sender, octets) => {
                    let number = sender[5..6].parse().unwrap();
                    assert_eq!(octets, content(number), "{turns} turns: not intact");
                    assert!(firsts.insert(number, ()).is_none(), "{turns} turns: twice");
                }
                _ => {}
            }
        }
        assert_eq!(seconds, [SECOND], "{turns} turns");
        assert!(accepted.iter().all(|index| firsts.contains_key(index)), "{turns} turns: {accepted:?}, {firsts:?}");
        if accepted.len() == COUNT {
            assert!(turns > 50, "only {turns} turns");
            return;
        }
    }
}

#[test]
fn messages_that_are_dropped_at_any_point_leave_no_half_used_connection() {
    limited(|| {
        for transfer in [Transfer::Auto, Transfer::Data] {
            on_virtual_time(7, Duration::ZERO, Duration::ZERO, async |_, told| dropped_reports(&told, transfer).await);
        }
    });
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
