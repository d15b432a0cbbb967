//! Ways to a server: Unix sockets, URLs, an address of one's own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

use smtp_blocking::Handler;
use smtp_proto::adapter::Error;
use smtp_proto::client::RecipientOutcome;
use smtp_proto::delivery::InvalidUrl;
use smtp_proto::server::{self, Connection, Decision, Hello, Recipient, Session};
use smtp_tests::runtime::{Connecting, Options, Runtime, Service, connect, connect_url};

use super::support::{NO_SUCH_USER, PATIENCE, client_config, connecting, envelope, server_config, skip};

/// Tells who comes and by what name; takes back at the end what `jim` gets.
struct Door {
    tell: mpsc::Sender<(Option<IpAddr>, String)>,
    from: Option<IpAddr>,
    recipients: Vec<String>,
}

impl Handler for Door {
    fn hello(&mut self, _: &Session, hello: Hello) -> Decision {
        // A test may not care.
        let _ = self.tell.send((self.from, hello.name.to_string()));
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        self.recipients.push(recipient.forward_path.to_string());
        Decision::Accept
    }

    fn message_end(&mut self, session: &Session, _: u64) -> Decision {
        if !session.is_lmtp() {
            return Decision::Accept;
        }
        let each = |recipient: &String| if recipient.contains("jim") { NO_SUCH_USER.into() } else { Decision::Accept };
        Decision::Each(self.recipients.iter().map(each).collect())
    }
}

fn serve(runtime: Runtime, at: &str, config: server::Config) -> (Service, mpsc::Receiver<(Option<IpAddr>, String)>) {
    let (tell, told) = mpsc::channel();
    let door = move |connection: &Connection| {
        let from = connection.peer.map(|peer| peer.ip());
        Door { tell: tell.clone(), from, recipients: Vec::new() }
    };
    (Service::start_with(runtime, Options::new().at(at, config), door).unwrap(), told)
}

fn lmtp_over_a_unix_socket_has_a_verdict_for_each_recipient(runtime: Runtime) {
    if !cfg!(unix) {
        return skip("there are no Unix sockets here");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a socket");
    let mut config = server_config();
    config.lmtp = true;
    let (service, told) = serve(runtime, &format!("unix:{}", path.display()), config);
    let mut config = client_config();
    config.lmtp = true;
    let by_path = connect(runtime, &format!("unix:{}", path.display()), config, connecting(None)).unwrap();
    let url = format!("lmtp+unix://{}", path.display()).replace(' ', "%20");
    let by_url = connect_url(runtime, &url).unwrap();
    let names = [told.recv_timeout(PATIENCE).unwrap(), told.recv_timeout(PATIENCE).unwrap()];
    assert_eq!(names, [(None, "client.example.org".to_owned()), (None, "[127.0.0.1]".to_owned())]);
    for mut mailer in [by_path, by_url] {
        let outcome = mailer.send(envelope("jane", &["joe", "jim", "ann"]), "Subject: Hi\r\n".into()).unwrap();
        let accepted: Vec<_> = outcome.recipients.iter().map(RecipientOutcome::is_accepted).collect();
        assert_eq!(accepted, [true, false, true]);
        assert_eq!(outcome.recipients[1].reply(), Some(&NO_SUCH_USER));
        mailer.quit().unwrap();
    }
    service.shut_down();
    service.wait();
    match connect_url(runtime, &url).err() {
        Some(error @ Error::ConnectUnix { .. }) => assert!(error.is_transient() && !error.is_permanent()),
        other => panic!("{other:?}"),
    }
}

fn a_url_without_a_name_gives_the_address(runtime: Runtime) {
    let (service, told) = serve(runtime, "127.0.0.1:0", server_config());
    for (option, name) in [("", "[127.0.0.1]"), ("&hello=me.example.org", "me.example.org")] {
        let mut mailer = connect_url(runtime, &format!("smtp://{}?tls=none{option}", service.address())).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (Some(Ipv4Addr::LOCALHOST.into()), name.to_owned()));
        assert!(mailer.send(envelope("jane", &["joe"]), "Subject: Hi\r\n".into()).unwrap().is_delivered());
        mailer.quit().unwrap();
    }
}

fn what_is_no_url_is_told(runtime: Runtime) {
    match connect_url(runtime, "smtp://mail.example.net/path").err() {
        Some(error @ Error::Url(InvalidUrl::BehindHost)) => assert!(error.is_permanent()),
        other => panic!("{other:?}"),
    }
}

/// All of 127.0.0.0/8 is this host where that is Linux.
fn a_connection_comes_from_the_source_address(runtime: Runtime) {
    if !cfg!(target_os = "linux") {
        return skip("there is one loopback address alone here");
    }
    let (service, told) = serve(runtime, "127.0.0.1:0", server_config());
    let source: IpAddr = [127, 0, 0, 77].into();
    let from = |source| Connecting { source: Some(source), ..connecting(None) };
    let mailer = connect(runtime, &service.address().to_string(), client_config(), from(source)).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().0, Some(source));
    mailer.quit().unwrap();
    // There is no way from IPv6 to an IPv4 address.
    let address = service.address().to_string();
    match connect(runtime, &address, client_config(), from("::1".parse().unwrap())).err() {
        Some(Error::Connect { attempts, .. }) => {
            let [(tried, error)] = &attempts[..] else { panic!("{attempts:?}") };
            assert_eq!((tried.to_string(), error.kind()), (address, std::io::ErrorKind::AddrNotAvailable));
        }
        other => panic!("{other:?}"),
    }
}

/// A socket that listens and has as many connections as it can, so that another one gets no answer.
struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _connections: Vec<TcpStream>,
}

impl Silent {
    fn at(address: &str) -> Option<Self> {
        let listener = TcpListener::bind(address).ok()?;
        let address = listener.local_addr().unwrap();
        let mut connections = Vec::new();
        while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            connections.push(connection);
            if connections.len() > 5000 {
                return None;
            }
        }
        Some(Self { address, _listener: listener, _connections: connections })
    }
}

fn a_server_that_does_not_answer_is_given_up(runtime: Runtime) {
    let Some(silent) = Silent::at("127.0.0.1:0") else {
        return skip("the system takes any number of connections for a server that accepts none");
    };
    let brief = Connecting { timeout: Some(Duration::from_millis(50)), ..connecting(None) };
    match connect(runtime, &silent.address.to_string(), client_config(), brief).err() {
        Some(error @ Error::Connect { .. }) => assert!(error.is_timeout() && error.is_transient(), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// The other is tried long before the first is given up (RFC 8305).
fn a_silent_address_is_in_nobodys_way(runtime: Runtime) {
    let addresses: Vec<_> = ("localhost", 25).to_socket_addrs().unwrap().map(|address| address.ip()).collect();
    let [first, .., last] = &addresses[..] else {
        return skip("localhost has one address alone here");
    };
    let Some(silent) = Silent::at(&SocketAddr::new(*first, 0).to_string()) else {
        return skip("the system takes any number of connections for a server that accepts none");
    };
    let port = silent.address.port();
    let (service, told) = serve(runtime, &SocketAddr::new(*last, port).to_string(), server_config());
    let mailer = connect(runtime, &format!("localhost:{port}"), client_config(), connecting(None)).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().0, Some(*last));
    mailer.quit().unwrap();
    drop(service);
}

on_each_runtime!(
    lmtp_over_a_unix_socket_has_a_verdict_for_each_recipient,
    a_url_without_a_name_gives_the_address,
    what_is_no_url_is_told,
    a_connection_comes_from_the_source_address,
    a_server_that_does_not_answer_is_given_up,
    a_silent_address_is_in_nobodys_way,
);
