//! Peers that take nothing, or no more.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use smtp_proto::client::{self, Outcome};
use smtp_proto::server::CloseReason;
use smtp_tests::runtime::Runtime;

use super::support::{
    Ear, Heard, Pattern, Raw, client_config, connect, envelope, joined, on_tokio, peer, serve, server_config, stream,
};

const MANY: usize = 2000;

/// An ordinary connection.
pub(super) fn wide() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// A connection whose buffers hold next to nothing.
pub(super) fn tight() -> (TcpStream, TcpStream) {
    buffering(1024)
}

/// The same with buffers of this size. Below a few KiB, what does not fit waits for timers of the system.
pub(super) fn buffering(octets: u32) -> (TcpStream, TcpStream) {
    let socket = || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(octets).unwrap();
        socket.set_recv_buffer_size(octets).unwrap();
        socket
    };
    on_tokio(async {
        let listener = socket();
        listener.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = listener.listen(1).unwrap();
        let one = socket().connect(listener.local_addr().unwrap()).await.unwrap().into_std().unwrap();
        let other = listener.accept().await.unwrap().0.into_std().unwrap();
        for stream in [&one, &other] {
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(false).unwrap();
        }
        (one, other)
    })
}

/// Plays a server that reads nothing while it writes, and has a lot to say.
fn answers_at_length(mut peer: Raw, recipients: usize) {
    peer.welcome(&["PIPELINING"]);
    let reply = format!("250 {}", "x".repeat(400));
    for _ in 0..1 + recipients {
        peer.answer(&reply);
    }
    peer.answer("354 Go ahead");
    while peer.line().expect("content") != "." {}
    peer.say("250 OK\r\n");
}

fn sends_to_all(runtime: Runtime, (stream, other): (TcpStream, TcpStream), recipients: usize, config: client::Config) {
    let server = thread::spawn(move || answers_at_length(Raw::over(other), recipients));
    let names: Vec<_> = (0..recipients).map(|number| format!("recipient-number-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let envelope = envelope("list", &names);
    stream.set_nonblocking(runtime != Runtime::Blocking).unwrap();
    let outcome = match runtime {
        Runtime::Tokio => on_tokio(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut client = smtp_tokio::Connector::new(config).connect_over(stream, "raw").await?;
            client.send(envelope, "To many\r\n").await
        }),
        Runtime::AsyncStd => async_std::task::block_on(async {
            let stream = async_std::net::TcpStream::from(stream);
            let mut client = smtp_async_std::Connector::new(config).connect_over(stream, "raw").await?;
            client.send(envelope, "To many\r\n").await
        }),
        Runtime::Blocking => smtp_blocking::Connector::new(config)
            .connect_over(stream, "raw")
            .and_then(|mut client| client.send(envelope, "To many\r\n")),
    };
    let outcome = outcome.unwrap();
    assert!(outcome.is_delivered(), "{:?}", outcome.error);
    joined(server);
}

fn a_group_of_commands_fits_the_buffers_of_a_connection(runtime: Runtime) {
    sends_to_all(runtime, wide(), MANY, client_config());
}

fn a_client_does_not_wait_for_a_server_that_waits_for_it(runtime: Runtime) {
    let mut config = client_config();
    config.in_flight = usize::MAX;
    // A blocking client has to find out by waiting, again and again.
    let recipients = if runtime == Runtime::Blocking { MANY / 10 } else { MANY };
    sends_to_all(runtime, tight(), recipients, config);
}

fn a_client_that_closes_its_half_before_it_reads_gets_all_replies(runtime: Runtime) {
    const HELLOS: usize = 400;
    let (ours, theirs) = tight();
    let server = thread::spawn(move || {
        let mut config = server_config();
        config.limits.junk_commands = u32::MAX;
        let (tell, heard) = mpsc::channel();
        serve(runtime, theirs, config, Ear::new(1, &tell));
        assert_eq!(heard.recv(), Ok((1, Heard::Closing(CloseReason::Disconnected))));
    });
    let mut client = Raw::over(ours);
    // The replies fill the buffers many times over, the commands do not.
    client.say("EHLO x\r\n".repeat(HELLOS));
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.codes().len(), 1 + HELLOS);
    joined(server);
}

/// What a server says when it has had enough in the middle of the content.
const LAST_WORDS: [&str; 2] = ["421 4.3.0 out of space", "552 5.3.4 too big"];

/// Nothing is accepted, and the reason is known.
fn is_told(outcome: &Outcome, words: &str) {
    let [recipient] = &outcome.recipients[..] else { panic!("{outcome:?}") };
    assert!(!recipient.is_accepted(), "{words}: {outcome:?}");
    let reply = recipient.reply().unwrap_or_else(|| panic!("{words}: the reason is lost: {recipient:?}"));
    assert_eq!(reply.to_string(), words);
    // It may be read as late as the verdict on the message, and then is no error of another kind.
    assert!(outcome.error.as_ref().is_none_or(|error| error.reply() == Some(reply)), "{outcome:?}");
}

/// Sends a large message from memory and another one while it is made.
fn hears_last_words(runtime: Runtime, ending: fn(Raw)) {
    for words in LAST_WORDS {
        for streamed in [false, true] {
            let (address, server) = peer(move |mut peer| {
                peer.go_ahead();
                peer.take(64 * 1024);
                peer.say(format!("{words}\r\n"));
                ending(peer);
            });
            let content = Pattern::new(200);
            let outcome = if streamed {
                stream(runtime, &address, client_config(), content)
            } else {
                connect(runtime, &address).send(envelope("jane", &["joe"]), content.whole().into()).unwrap()
            };
            is_told(&outcome, words);
            joined(server);
        }
    }
}

fn a_server_that_closes_its_half_amid_content_is_understood(runtime: Runtime) {
    hears_last_words(runtime, |mut peer| {
        peer.stream().shutdown(Shutdown::Write).unwrap();
        peer.drain();
    });
}

fn a_server_that_goes_away_amid_content_is_understood(runtime: Runtime) {
    // What it has not read makes the system reset the connection.
    hears_last_words(runtime, drop);
}

on_each_runtime!(
    a_client_that_closes_its_half_before_it_reads_gets_all_replies,
    a_group_of_commands_fits_the_buffers_of_a_connection,
    a_client_does_not_wait_for_a_server_that_waits_for_it,
    a_server_that_closes_its_half_amid_content_is_understood,
    a_server_that_goes_away_amid_content_is_understood,
);
