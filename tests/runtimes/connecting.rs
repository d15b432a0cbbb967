//! From a name to a session.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

use smtp_proto::adapter::Error;
use smtp_tests::runtime::Runtime;

use super::support::{Server, client_config, connect, connect_with, server_config, skip};

/// A port where nobody listens, for as long as the connection it belongs to is kept.
pub(super) fn nobody() -> (TcpStream, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    (held, port)
}

fn addresses_of_localhost(port: u16) -> Vec<SocketAddr> {
    ("localhost", port).to_socket_addrs().unwrap().collect()
}

fn a_server_is_found_by_name_at_its_ipv4_address(runtime: Runtime) {
    let server = Server::at("127.0.0.1:0", runtime, server_config());
    connect(runtime, &format!("localhost:{}", server.port())).quit().unwrap();
}

fn a_server_is_found_by_name_at_its_ipv6_address(runtime: Runtime) {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        skip(&format!("there is no ::1 here: {error}"));
        return;
    }
    let server = Server::at("[::1]:0", runtime, server_config());
    connect(runtime, &format!("[::1]:{}", server.port())).quit().unwrap();
    if !addresses_of_localhost(25).iter().any(SocketAddr::is_ipv6) {
        skip("localhost is not ::1 here; a server there cannot be found by name");
        return;
    }
    connect(runtime, &format!("localhost:{}", server.port())).quit().unwrap();
}

fn a_server_that_does_not_listen_is_tried_at_every_address(runtime: Runtime) {
    let (_held, port) = nobody();
    let name = format!("localhost:{port}");
    match connect_with(runtime, &name, client_config()).err() {
        Some(Error::Connect { server, attempts }) => {
            assert_eq!(server, name);
            let tried: Vec<_> = attempts.iter().map(|(address, _)| *address).collect();
            assert_eq!(tried, addresses_of_localhost(port), "{attempts:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn a_name_without_an_address_is_reported(runtime: Runtime) {
    for name in ["name.invalid:25", "a name without a port"] {
        match connect_with(runtime, name, client_config()).err() {
            Some(Error::Resolve { server, .. }) => assert_eq!(server, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

on_each_runtime!(
    a_server_is_found_by_name_at_its_ipv4_address,
    a_server_is_found_by_name_at_its_ipv6_address,
    a_server_that_does_not_listen_is_tried_at_every_address,
    a_name_without_an_address_is_reported,
);
