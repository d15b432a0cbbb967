//! Limits on connections: the last that fits and the first that does not.

use std::net::TcpStream;
use std::time::Instant;

use smtp_proto::adapter::serving::ConnectionLimits;
use smtp_proto::server::{Config, TlsPolicy};
use smtp_tests::runtime::{Options, Runtime, Service};

use super::secured::{Secure, server_tls};
use super::support::{PATIENCE, Raw, server_config};

const FULL: &str = "421 Too many connections; try again later";

/// A handler that does nothing, but for one client.
struct Idle;

impl smtp_blocking::Handler for Idle {
    fn verify(&mut self, _: &smtp_proto::server::Session, _: smtp_proto::wire::Query) -> smtp_proto::server::Decision {
        std::panic::resume_unwind(Box::new("the handler panics"));
    }
}

fn limits(total: usize, per_address: usize) -> ConnectionLimits {
    let mut limits = ConnectionLimits::default();
    (limits.total, limits.per_address) = (total, per_address);
    limits
}

fn server(runtime: Runtime, limits: ConnectionLimits, mut options: Options) -> Service {
    options.limits = limits;
    Service::start_with(runtime, options, |_| Idle).unwrap()
}

fn is_let_in(mut client: Raw) -> Raw {
    let greeting = client.reply();
    assert!(greeting.starts_with("220"), "{greeting}");
    client
}

fn is_turned_away(mut client: Raw) {
    assert_eq!(client.line().as_deref(), Some(FULL));
    assert_eq!(client.line(), None);
}

/// Comes again and again until there is room: a place is given back a moment after the client saw the end.
fn gets_in(connect: impl Fn() -> Raw) -> Raw {
    let start = Instant::now();
    loop {
        let mut client = connect();
        match client.reply() {
            reply if reply.starts_with("220") => return client,
            reply => assert_eq!(reply, FULL),
        }
        assert!(start.elapsed() < PATIENCE, "places are not given back");
    }
}

fn as_many_as_there_may_be_in_all(runtime: Runtime) {
    let options = Options::new().at("127.0.0.1:0", server_config()).at("[::1]:0", server_config());
    let service = server(runtime, limits(3, 100), options);
    let [four, six] = service.addresses() else { panic!("two listeners") };
    let (four, six) = (four.to_string(), six.to_string());
    let first = is_let_in(Raw::connect(&four));
    let _others = [is_let_in(Raw::connect(&six)), is_let_in(Raw::connect(&four))];
    for address in [&four, &six] {
        is_turned_away(Raw::connect(address));
    }
    let counts = service.handle().counts();
    assert_eq!((counts.open, counts.sessions, counts.turned_away), (3, 3, 2));
    let mut first = first;
    assert!(first.ask("QUIT").starts_with("221"));
    drop(first);
    let next = gets_in(|| Raw::connect(&six));
    is_turned_away(Raw::connect(&four));

    // What panics gives its place back as well.
    let mut next = next;
    assert!(next.ask("EHLO client.example.org").starts_with("250"));
    assert!(next.ask("VRFY joe").starts_with("421"));
    drop(next);
    gets_in(|| Raw::connect(&four));
}

/// Connects from an address of one's own.
#[cfg(target_os = "linux")]
fn connect_from(own: [u8; 4], server: &str) -> Raw {
    let stream: TcpStream = super::support::on_tokio(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((own, 0).into()).unwrap();
        socket.connect(server.parse().unwrap()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    Raw::over(stream)
}

// Elsewhere the loopback has one address only.
#[cfg(target_os = "linux")]
fn as_many_as_there_may_be_from_one_address(runtime: Runtime) {
    let service = server(runtime, limits(100, 2), Options::new().at("127.0.0.1:0", server_config()));
    let address = service.address().to_string();
    let from = |last: u8| connect_from([127, 0, 0, last], &address);
    let first = is_let_in(from(1));
    let _second = is_let_in(from(1));
    is_turned_away(from(1));
    let _third = is_let_in(from(2));
    let _fourth = is_let_in(from(2));
    is_turned_away(from(2));
    drop(first);
    let _fifth = gets_in(|| from(1));
    is_turned_away(from(1));
    assert_eq!(service.handle().counts().open, 4);
}

#[cfg(not(target_os = "linux"))]
fn as_many_as_there_may_be_from_one_address(_: Runtime) {}

fn nothing_is_said_in_clear_where_tls_comes_first(runtime: Runtime) {
    let mut config = server_config();
    config.tls = TlsPolicy::Implicit;
    let tls = smtp_proto::adapter::Service::new(config).tls(server_tls());
    let service = server(runtime, limits(1, 1), Options::new().at("127.0.0.1:0", tls));
    let address = service.address().to_string();
    let mut first = Secure::connect(&address);
    assert!(first.reply().starts_with("220"));
    assert_eq!(Raw::connect(&address).rest(), b"");
    assert_eq!(service.handle().counts().turned_away, 1);
}

fn behind_proxy() -> Config {
    let mut config = server_config();
    config.proxy_protocol = true;
    config
}

fn a_proxy_is_limited_in_all_only(runtime: Runtime) {
    let service = server(runtime, limits(3, 1), Options::new().at("127.0.0.1:0", behind_proxy()));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let client = Raw::connect(&service.address().to_string());
            client.say("PROXY TCP4 192.0.2.1 192.0.2.2 1024 25\r\n");
            is_let_in(client)
        })
        .collect();
    is_turned_away(Raw::connect(&service.address().to_string()));
    drop(clients);
}

#[cfg(unix)]
fn unix_sockets_count_in_the_total_only(runtime: Runtime) {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let options = Options::new().at(&format!("unix:{}", path.display()), server_config());
    let service = server(runtime, limits(2, 1), options.at("127.0.0.1:0", server_config()));
    let greeting = || {
        let mut stream = BufReader::new(UnixStream::connect(&path).unwrap());
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        (stream, line)
    };
    let (first, second, third) = (greeting(), greeting(), greeting());
    assert!(first.1.starts_with("220") && second.1.starts_with("220"));
    assert_eq!(third.1.trim_end(), FULL);
    is_turned_away(Raw::connect(&service.addresses()[1].to_string()));
}

#[cfg(not(unix))]
fn unix_sockets_count_in_the_total_only(_: Runtime) {}

on_each_runtime!(
    as_many_as_there_may_be_in_all,
    as_many_as_there_may_be_from_one_address,
    nothing_is_said_in_clear_where_tls_comes_first,
    a_proxy_is_limited_in_all_only,
    unix_sockets_count_in_the_total_only,
);
