//! Futures that are dropped half-way, after any number of polls.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::client::{self, Authentication, Envelope, Outcome, TlsPolicy, Transfer};
use smtp_proto::sasl::{self, Login};
use smtp_proto::server::{self, CloseReason};
use smtp_proto::transcript::Entry;
use smtp_tests::runtime::Runtime;

use super::secured::{Seen, Watched, client_policy, client_tls, server_policy, server_tls};
use super::support::{Heard, Pattern, Server, client_config, envelope, limited, on_tokio, server_config};

/// A stream that moves a few octets every other time it is asked, so that a future over it has many places to be
/// dropped at.
struct Slow<S> {
    stream: S,
    reading: Turn,
    writing: Turn,
}

#[derive(Default)]
struct Turn(bool);

const STEP: usize = 7;

impl<S> Slow<S> {
    fn new(stream: S) -> Self {
        Self { stream, reading: Turn::default(), writing: Turn::default() }
    }
}

impl Turn {
    /// Ready every other time.
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        self.0 = !self.0;
        if self.0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Slow<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.reading.poll(context));
        let mut part = tokio::io::ReadBuf::new(buffer.initialize_unfilled_to(STEP.min(buffer.remaining())));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let length = part.filled().len();
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: async_std::io::Read + Unpin> async_std::io::Read for Slow<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.reading.poll(context));
        let length = STEP.min(buffer.len());
        Pin::new(&mut self.stream).poll_read(context, &mut buffer[..length])
    }
}

macro_rules! slow_writer {
    ($writer:path, $close:ident) => {
        impl<S: $writer + Unpin> $writer for Slow<S> {
            fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
                ready!(self.writing.poll(context));
                Pin::new(&mut self.stream).poll_write(context, &data[..STEP.min(data.len())])
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(context)
            }

            fn $close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).$close(context)
            }
        }
    };
}

slow_writer!(tokio::io::AsyncWrite, poll_shutdown);
slow_writer!(async_std::io::Write, poll_close);

/// What the asynchronous clients have in common.
trait Client: Sized {
    /// Sets the flag when it says DATA, or BDAT for the last time: from then on a message is sent.
    async fn connect(server: &str, config: client::Config, data: &Arc<AtomicBool>) -> Self;
    async fn send(&mut self, envelope: Envelope, content: Bytes) -> Result<Outcome, Error>;
    async fn send_from(&mut self, envelope: Envelope, content: Pattern) -> Result<Outcome, Error>;
    async fn send_all(&mut self, messages: Vec<(Envelope, Bytes)>) -> Vec<Result<Outcome, Error>>;
    async fn command(&mut self, line: &str) -> u16;
    async fn quit(self) -> Result<(), Error>;
}

macro_rules! client {
    ($adapter:ident, $stream:ty) => {
        impl Client for $adapter::Client<Slow<$stream>> {
            async fn connect(server: &str, config: client::Config, data: &Arc<AtomicBool>) -> Self {
                // At once: a future that is dropped after its first poll has connected.
                let stream = std::net::TcpStream::connect(server).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                let stream = <$stream>::try_from(stream).unwrap();
                let data = Arc::clone(data);
                let tap = move |entry: Entry<'_>| {
                    let said = entry.to_string();
                    data.fetch_or(said == "C: DATA" || said.starts_with("C: BDAT") && said.ends_with("LAST"), Relaxed);
                };
                let connector = $adapter::Connector::new(config).tls(client_tls()).transcript(tap);
                connector.connect_over(Slow::new(stream), server).await.unwrap()
            }

            async fn send(&mut self, envelope: Envelope, content: Bytes) -> Result<Outcome, Error> {
                self.send(envelope, content).await
            }

            async fn send_from(&mut self, envelope: Envelope, content: Pattern) -> Result<Outcome, Error> {
                self.send_from(envelope, content, None).await
            }

            async fn send_all(&mut self, messages: Vec<(Envelope, Bytes)>) -> Vec<Result<Outcome, Error>> {
                let (mut outcomes, mut all) = (self.send_all(messages), Vec::new());
                while let Some(outcome) = outcomes.next().await {
                    all.push(outcome);
                }
                all
            }

            async fn command(&mut self, line: &str) -> u16 {
                self.command(line).await.unwrap().code().value()
            }

            async fn quit(self) -> Result<(), Error> {
                self.quit().await
            }
        }
    };
}

client!(smtp_tokio, tokio::net::TcpStream);
client!(smtp_async_std, async_std::net::TcpStream);

/// Polls a future whenever it is woken, but only so many times; then drops it.
pub(super) async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Whole,
    Streamed,
}

/// Some lines in many pieces, with a wait before each.
fn first_content() -> Pattern {
    let mut content = Pattern::of(15, 1);
    content.piece = 30;
    content.pauses = true;
    content
}

const SECOND: &[u8] = b"Subject: second\r\n";

/// What a message that was dropped and one behind it came to.
#[derive(Debug)]
struct Dropped {
    first: Option<Result<Outcome, Error>>,
    /// Whether the client had asked to send the content of the first.
    asked: bool,
    second: Result<Outcome, Error>,
}

/// Sends a message but drops that after some polls, then sends another.
async fn dropped<C: Client>(server: &str, config: client::Config, way: Way, polls: usize) -> Dropped {
    let asked = Arc::default();
    let mut client = C::connect(server, config, &asked).await;
    let to_first = envelope("first", &["joe", "refused", "jim"]);
    let first = match way {
        Way::Whole => polled(client.send(to_first, first_content().whole().into()), polls).await,
        Way::Streamed => polled(client.send_from(to_first, first_content()), polls).await,
    };
    let asked = asked.load(Relaxed);
    let second = client.send(envelope("second", &["joe"]), SECOND.into()).await;
    if second.is_ok() {
        client.quit().await.unwrap();
    }
    Dropped { first, asked, second }
}

/// Drops a message at every point that there is.
async fn dropped_everywhere<C: Client>(server: &Server, config: client::Config, way: Way) {
    let whole = first_content().whole();
    for polls in 0.. {
        let dropped = dropped::<C>(&server.address(), config.clone(), way, polls).await;
        let facts = format!("{way:?}, {polls} polls, {dropped:?}");
        let heard = server.session();
        let arrived = |sender: &str| -> Vec<&[u8]> {
            let messages = heard.iter().filter_map(|heard| match heard {
                Heard::Message(message) if message.sender.contains(sender) => Some(&message.content[..]),
                _ => None,
            });
            messages.collect()
        };
        let (firsts, seconds) = (arrived("first@"), arrived("second@"));
        assert!(firsts.is_empty() || firsts == [&whole[..]], "{facts}: {} messages, or not intact", firsts.len());
        assert!(dropped.asked || firsts.is_empty(), "{facts}: not withdrawn");
        match &dropped.second {
            Ok(outcome) => {
                assert!(outcome.is_delivered(), "{facts}");
                assert_eq!(seconds, [SECOND], "{facts}");
            }
            Err(error) => {
                // Half of the content cannot be taken back; the next message may go over another connection.
                assert!(matches!(error, Error::Over { .. }) && error.is_transient(), "{facts}: {error}");
                assert!(way == Way::Streamed && dropped.asked && dropped.first.is_none(), "{facts}");
                assert!(firsts.is_empty() && seconds.is_empty(), "{facts}");
            }
        }
        if let Some(first) = dropped.first {
            let first = first.unwrap();
            assert_eq!(first.recipients.iter().filter(|one| one.is_accepted()).count(), 2, "{facts}");
            assert_eq!(firsts.len(), 1, "{facts}");
            return;
        }
    }
}

/// Sends three messages one behind the other but drops that at every point that there is, then sends another.
async fn dropped_lists<C: Client>(server: &Server, config: client::Config) {
    let messages = |count| -> Vec<(Envelope, Bytes)> {
        let one = |number| (envelope(&format!("first{number}"), &["joe", "jim"]), format!("{number}\r\n").into());
        (0..count).map(one).collect()
    };
    for polls in 0.. {
        let mut client = C::connect(&server.address(), config.clone(), &Arc::default()).await;
        let firsts = polled(client.send_all(messages(3)), polls).await;
        let second = client.send(envelope("second", &["joe"]), SECOND.into()).await.unwrap();
        assert!(second.is_delivered(), "{polls} polls: {second:?}");
        client.quit().await.unwrap();
        let mut arrived = Vec::new();
        for heard in server.session() {
            if let Heard::Message(message) = heard {
                arrived.push((message.sender, Bytes::from(message.content)));
            }
        }
        assert_eq!(arrived.pop(), Some(("second@example.org".to_owned(), SECOND.into())), "{polls} polls");
        // Those that were sent are the first ones, each once and whole.
        let sent: Vec<_> = messages(arrived.len()).into_iter().map(|(e, c)| (e.reverse_path.to_string(), c)).collect();
        assert_eq!(arrived, sent, "{polls} polls");
        if let Some(firsts) = firsts {
            assert!(arrived.len() == 3 && firsts.iter().flatten().filter(|first| first.is_delivered()).count() == 3);
            assert!(polls > 50, "only {polls} polls: the stream is not slow");
            return;
        }
    }
}

/// The reply to a command that was dropped is not the reply to the next.
async fn dropped_commands<C: Client>(server: &Server) {
    for polls in 0.. {
        let mut client = C::connect(&server.address(), client_config(), &Arc::default()).await;
        let first = polled(client.command("VRFY joe"), polls).await;
        assert_eq!(client.command("NOOP").await, 250, "{polls} polls");
        client.quit().await.unwrap();
        if let Some(code) = first {
            assert_eq!(code, 252);
            return;
        }
    }
}

async fn all<C: Client>(runtime: Runtime) {
    // In groups of commands, and one by one; in chunks, and with DATA.
    for (pipelining, transfer) in [(true, Transfer::Auto), (true, Transfer::Data), (false, Transfer::Data)] {
        let mut config = server_config();
        config.pipelining = pipelining;
        let server = Server::with(runtime, config);
        let mut config = client_config();
        config.transfer = transfer;
        dropped_everywhere::<C>(&server, config.clone(), Way::Whole).await;
        dropped_everywhere::<C>(&server, config.clone(), Way::Streamed).await;
        dropped_lists::<C>(&server, config).await;
        dropped_commands::<C>(&server).await;
    }
}

#[test]
fn a_message_that_is_dropped_half_way_spoils_no_other_on_tokio() {
    limited(|| on_tokio(all::<smtp_tokio::Client<Slow<tokio::net::TcpStream>>>(Runtime::Tokio)));
}

#[test]
fn a_message_that_is_dropped_half_way_spoils_no_other_on_async_std() {
    limited(|| {
        async_std::task::block_on(all::<smtp_async_std::Client<Slow<async_std::net::TcpStream>>>(Runtime::AsyncStd));
    });
}

/// The same under TLS: what has been sealed is sent, and nothing else is lost or sent twice.
async fn all_under_tls<C: Client>(runtime: Runtime) {
    let server = Server::secured(runtime, server_policy(server::TlsPolicy::Implicit), server_tls());
    for way in [Way::Whole, Way::Streamed] {
        dropped_everywhere::<C>(&server, client_policy(TlsPolicy::Implicit), way).await;
    }
}

#[test]
fn a_message_under_tls_that_is_dropped_half_way_spoils_no_other_on_tokio() {
    limited(|| on_tokio(all_under_tls::<smtp_tokio::Client<Slow<tokio::net::TcpStream>>>(Runtime::Tokio)));
}

#[test]
fn a_message_under_tls_that_is_dropped_half_way_spoils_no_other_on_async_std() {
    limited(|| {
        let all = all_under_tls::<smtp_async_std::Client<Slow<async_std::net::TcpStream>>>(Runtime::AsyncStd);
        async_std::task::block_on(all);
    });
}

/// Drops a client at every point of STARTTLS, the handshake and AUTH: the server notices, and has taken nothing for
/// what it was not.
async fn connecting<C: Client>(runtime: Runtime) {
    let mut config = server_policy(server::TlsPolicy::Required);
    config.mechanisms = vec![sasl::PLAIN];
    config.require_auth = true;
    let server = Watched::with(runtime, config, Some(server_tls()));
    let mut config = client_policy(TlsPolicy::Required);
    config.authentication = Authentication::Required(Login::password("jane", "s3cret").unwrap());
    for polls in 0.. {
        let address = server.address();
        let client = polled(C::connect(&address, config.clone(), &Arc::default()), polls).await;
        let connected = client.is_some();
        if let Some(mut client) = client {
            assert!(client.send(envelope("second", &["joe"]), SECOND.into()).await.unwrap().is_delivered());
            client.quit().await.unwrap();
        }
        if polls == 0 {
            // There was no connection.
            continue;
        }
        let seen = server.session();
        let reason = match seen.last() {
            Some(Seen::Closing(reason)) => reason,
            _ => panic!("{polls} polls: {seen:?}"),
        };
        let expected = [CloseReason::Quit, CloseReason::Disconnected, CloseReason::TlsFailed];
        assert!(expected[usize::from(!connected)..].contains(reason), "{polls} polls: {seen:?}");
        let in_clear = seen.iter().filter_map(Seen::hello).filter(|(_, tls)| tls.is_none()).count();
        let under_tls = seen.iter().filter_map(Seen::hello).filter(|(_, tls)| tls.is_some()).count();
        assert!(in_clear <= 1 && under_tls <= 1, "{polls} polls: {seen:?}");
        let authenticated = seen.iter().any(|seen| matches!(seen, Seen::Authenticated(_)));
        assert!(!authenticated || under_tls == 1, "{polls} polls: {seen:?}");
        assert_eq!(seen.contains(&Seen::End(SECOND.len() as u64)), connected, "{polls} polls: {seen:?}");
        if connected {
            assert!(polls > 100, "only {polls} polls: the stream is not slow");
            break;
        }
    }
    assert_eq!(server.stop(), []);
}

#[test]
fn a_client_that_is_dropped_while_it_connects_leaves_nothing_behind_on_tokio() {
    limited(|| on_tokio(connecting::<smtp_tokio::Client<Slow<tokio::net::TcpStream>>>(Runtime::Tokio)));
}

#[test]
fn a_client_that_is_dropped_while_it_connects_leaves_nothing_behind_on_async_std() {
    limited(|| {
        async_std::task::block_on(connecting::<smtp_async_std::Client<Slow<async_std::net::TcpStream>>>(
            Runtime::AsyncStd,
        ));
    });
}
