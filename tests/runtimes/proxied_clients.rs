//! Clients that go through a SOCKS5 proxy.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::Socks5;
use smtp_proto::client::Outcome;
use smtp_proto::delivery::Policies;
use smtp_tests::runtime::Runtime;

use super::support::{PATIENCE, Server, client_config, envelope, on_tokio};

/// What a proxy was asked for.
#[derive(Debug, PartialEq)]
struct Asked {
    credentials: Option<(String, String)>,
    host: String,
    port: u16,
}

/// A proxy that wants a password, by one way of asking (RFC 1928, RFC 1929), and connects everybody to one server. Without
/// a server it refuses.
fn proxy(server: Option<String>, wants_password: bool) -> (String, JoinHandle<Option<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        let mut client = listener.accept().unwrap().0;
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let [5, count] = octets(&mut client) else { panic!("not SOCKS5") };
        let mut methods = vec![0; count.into()];
        client.read_exact(&mut methods).unwrap();
        let method = if wants_password { 2 } else { 0 };
        assert!(methods.contains(&method), "{methods:?}");
        client.write_all(&[5, method]).unwrap();
        let mut credentials = None;
        if wants_password {
            let [1] = octets(&mut client) else { panic!("not RFC 1929") };
            credentials = Some((text(&mut client), text(&mut client)));
            let wrong = credentials.as_ref().is_some_and(|(_, password)| password != "s3cret");
            client.write_all(&[1, u8::from(wrong)]).unwrap();
            if wrong {
                return None;
            }
        }
        let [5, 1, 0, 3] = octets(&mut client) else { panic!("not a connection to a name") };
        let host = text(&mut client);
        let port = u16::from_be_bytes(octets(&mut client));
        let asked = Asked { credentials, host, port };
        let Some(server) = server else {
            client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            return Some(asked);
        };
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 25]).unwrap();
        let server = TcpStream::connect(server).unwrap();
        let copies = [(&client, &server), (&server, &client)].map(|(from, to)| {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || {
                // Whichever end is gone: all is said.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            })
        });
        copies.into_iter().for_each(|copy| copy.join().unwrap());
        Some(asked)
    };
    (address, thread::spawn(serve))
}

fn octets<const N: usize>(client: &mut TcpStream) -> [u8; N] {
    let mut octets = [0; N];
    client.read_exact(&mut octets).unwrap();
    octets
}

fn text(client: &mut TcpStream) -> String {
    let [length] = octets(client);
    let mut text = vec![0; length.into()];
    client.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Sends a message to a server whose name is known to the proxy alone.
fn send(runtime: Runtime, proxy: Socks5) -> Result<Outcome, Error> {
    let (envelope, content) = (envelope("jane", &["joe"]), "Subject: Hi\r\n");
    macro_rules! sent {
        ($adapter:ident $($wait:tt)*) => {{
            let connector = $adapter::Connector::new(client_config()).proxy(proxy).connect_timeout(Duration::from_secs(20));
            let mut client = connector.connect("mail.invalid:2525")$($wait)*?;
            let outcome = client.send(envelope, content)$($wait)*?;
            client.quit()$($wait)*?;
            Ok(outcome)
        }};
    }
    match runtime {
        Runtime::Tokio => on_tokio(async { sent!(smtp_tokio.await) }),
        Runtime::AsyncStd => async_std::task::block_on(async { sent!(smtp_async_std.await) }),
        Runtime::Blocking => sent!(smtp_blocking),
    }
}

fn a_proxy_finds_the_server(runtime: Runtime) {
    let server = Server::start(runtime);
    for login in [None, Some(("jane", "s3cret"))] {
        let (address, thread) = proxy(Some(server.address()), login.is_some());
        let mut proxy = Socks5::new(address);
        if let Some((username, password)) = login {
            proxy = proxy.login(username, password);
        }
        assert!(send(runtime, proxy).unwrap().is_delivered());
        let credentials = login.map(|(username, password)| (username.to_owned(), password.to_owned()));
        let asked = Asked { credentials, host: "mail.invalid".to_owned(), port: 2525 };
        assert_eq!(thread.join().unwrap(), Some(asked));
    }
    server.stop();
}

fn what_a_proxy_refuses_is_told(runtime: Runtime) {
    let (address, thread) = proxy(None, false);
    match send(runtime, Socks5::new(&address)) {
        Err(error @ Error::Proxy { .. }) => {
            assert!(error.is_transient());
            let text = error.to_string();
            assert!(text.starts_with(&format!("cannot connect to mail.invalid:2525 through {address}: ")), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(thread.join().unwrap().is_some());
    let (address, thread) = proxy(None, true);
    let login = Socks5::new(address).login("jane", "wrong");
    assert!(!format!("{login:?}").contains("wrong"));
    match send(runtime, login) {
        Err(error @ Error::Proxy { .. }) => assert!(!error.to_string().contains("wrong")),
        other => panic!("{other:?}"),
    }
    assert_eq!(thread.join().unwrap(), None);
}

/// The DNS as it is seen from here: it knows the mail exchanger, and not where that is.
struct Exchangers;

impl smtp_blocking::Resolver for Exchangers {
    fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        assert_eq!(domain, "example.net");
        Ok(vec![(10, "mx.example.net".to_owned())])
    }

    fn addresses(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        panic!("{host} is the proxy's to find");
    }
}

impl smtp_tokio::Resolver for Exchangers {
    async fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        smtp_blocking::Resolver::mail_exchangers(self, domain)
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        smtp_blocking::Resolver::addresses(self, host, port)
    }
}

fn direct_delivery_goes_through_the_proxy(runtime: Runtime) {
    let server = Server::start(runtime);
    let (address, thread) = proxy(Some(server.address()), false);
    let proxy = Socks5::new(address);
    macro_rules! sent {
        ($adapter:ident $($wait:tt)*) => {{
            let connector = $adapter::Connector::new(client_config()).proxy(proxy);
            let mailer = $adapter::Mailer::direct(connector, Exchangers, Policies::default());
            let report = mailer.send(envelope("jane", &["joe"]), "Subject: Hi\r\n")$($wait)*;
            mailer.close()$($wait)*;
            report
        }};
    }
    let report = match runtime {
        Runtime::Tokio => on_tokio(async { sent!(smtp_tokio.await) }),
        Runtime::AsyncStd => async_std::task::block_on(async { sent!(smtp_async_std.await) }),
        Runtime::Blocking => sent!(smtp_blocking),
    };
    assert!(report.unwrap().outcome.is_delivered());
    let asked = Asked { credentials: None, host: "mx.example.net".to_owned(), port: 25 };
    assert_eq!(thread.join().unwrap(), Some(asked));
    server.stop();
}

on_each_runtime!(a_proxy_finds_the_server, what_a_proxy_refuses_is_told, direct_delivery_goes_through_the_proxy);
