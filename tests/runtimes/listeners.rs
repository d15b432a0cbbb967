//! Servers with several listeners: each has its service, and none is in the way of another.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use smtp_blocking::Handler;
use smtp_proto::adapter::serving::LocalAddress;
use smtp_proto::server::{Config, Connection};
use smtp_tests::runtime::{Options, Runtime, Service};

use super::support::{PATIENCE, joined};

/// A handler that does nothing.
struct Idle;

impl Handler for Idle {}

fn service(name: &str) -> Config {
    Config::new(&format!("{name}.example.net")).unwrap()
}

/// Has an idle session, and gives the name that the server goes by.
fn visit(stream: impl Read + Write) -> String {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"QUIT\r\n").unwrap();
    let mut greeting = String::new();
    stream.read_line(&mut greeting).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    let name = greeting.strip_prefix("220 ").and_then(|rest| rest.split_once('.'));
    name.unwrap_or_else(|| panic!("{greeting}")).0.to_owned()
}

fn visit_at(address: &LocalAddress) -> String {
    match address {
        LocalAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            visit(stream)
        }
        #[cfg(unix)]
        LocalAddress::Unix(path) => {
            let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            visit(stream)
        }
        other => panic!("{other}"),
    }
}

fn each_listener_has_its_service(runtime: Runtime) {
    let (tell, told) = mpsc::channel();
    let new_handler = move |connection: &Connection| {
        tell.send(*connection).unwrap();
        Idle
    };
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options =
        Options::new().at("127.0.0.1:0", service("v4")).at("[::1]:0", service("v6")).on_tcp(given, service("given"));
    let mut names = vec!["v4", "v6", "given"];
    #[cfg(unix)]
    let folder = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        let (path, given) = (folder.path().join("path"), folder.path().join("given"));
        let given = std::os::unix::net::UnixListener::bind(given).unwrap();
        options = options.at(&format!("unix:{}", path.display()), service("path")).on_unix(given, service("unix"));
        names.extend(["path", "unix"]);
    }
    let server = Service::start_with(runtime, options, new_handler).unwrap();
    assert_eq!(server.addresses().len(), names.len());
    for (number, (address, name)) in server.addresses().iter().zip(&names).enumerate().rev() {
        assert_eq!(visit_at(address), *name);
        let connection = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(connection.id, (names.len() - number) as u64, "counted over all listeners");
        assert_eq!(connection.listener, number);
        assert_eq!(connection.local, address.tcp());
        assert_eq!(connection.peer.is_some(), address.tcp().is_some());
    }
    server.shut_down();
    server.wait();
    for address in server.addresses().iter().filter_map(LocalAddress::tcp) {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    #[cfg(unix)]
    {
        assert!(!folder.path().join("path").exists(), "what the server made it removes");
        assert!(folder.path().join("given").exists(), "what it was given it does not");
    }
}

fn both_families_can_have_the_same_port(runtime: Runtime) {
    // Another program may take the port in between.
    for _ in 0..20 {
        let first = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let options = Options::new().on_tcp(first, service("v4")).at(&format!("[::]:{port}"), service("v6"));
        match Service::start_with(runtime, options, |_| Idle) {
            Ok(server) => {
                assert_eq!(visit_at(&LocalAddress::Tcp(([127, 0, 0, 1], port).into())), "v4");
                assert_eq!(visit_at(&LocalAddress::Tcp(format!("[::1]:{port}").parse().unwrap())), "v6");
                server.shut_down();
                server.wait();
                return;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    }
    panic!("no port is free for both families");
}

/// LMTP-005: refused before the port is asked for.
fn lmtp_is_not_spoken_on_port_25(runtime: Runtime) {
    let mut config = service("lmtp");
    config.lmtp = true;
    for address in ["127.0.0.1:25", "[::1]:25"] {
        let options = Options::new().at("127.0.0.1:0", config.clone()).at(address, config.clone());
        let error = Service::start_with(runtime, options, |_| Idle).err().expect("no service");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
    }
}

#[cfg(unix)]
fn a_socket_file_is_replaced_when_nobody_listens(runtime: Runtime) {
    use std::fs;
    use std::os::unix::net::UnixListener;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lmtp");
    let at_path = || Options::new().at(&format!("unix:{}", path.display()), service("path"));
    let start = |options| Service::start_with(runtime, options, |_| Idle);

    // One that was left behind.
    drop(UnixListener::bind(&path).unwrap());
    let server = start(at_path()).unwrap();
    assert_eq!(server.address().to_string(), format!("unix:{}", path.display()));
    assert_eq!(visit_at(server.address()), "path");

    // One that is in use.
    assert_eq!(start(at_path()).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
    assert_eq!(visit_at(server.address()), "path", "it still is");

    // One that is another's by the time the server ends.
    fs::remove_file(&path).unwrap();
    let successor = UnixListener::bind(&path).unwrap();
    server.shut_down();
    server.wait();
    assert!(path.exists());
    drop(successor);

    // One that is no socket.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    assert_eq!(start(at_path()).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[cfg(not(unix))]
fn a_socket_file_is_replaced_when_nobody_listens(_: Runtime) {}

fn sessions_that_run_outlast_their_listener(runtime: Runtime) {
    let server = Service::start_with(
        runtime,
        Options::new().at("127.0.0.1:0", service("one")).at("127.0.0.1:0", service("two")),
        |_| Idle,
    )
    .unwrap();
    let [one, two] = server.addresses() else { panic!("two listeners") };
    let mut clients = [one, two].map(|address| super::support::Raw::connect(&address.to_string()));
    for client in &mut clients {
        assert!(client.reply().starts_with("220"));
        for command in ["EHLO client.example.org", "MAIL FROM:<>"] {
            assert!(client.ask(command).starts_with("250"));
        }
    }
    server.shut_down();
    let waiting = std::thread::spawn(move || server.wait());
    let [mut first, mut second] = clients;
    for client in [&mut first, &mut second] {
        assert!(!waiting.is_finished());
        assert!(client.ask("RSET").starts_with("250"));
        assert_eq!(client.line().as_deref(), Some("421 4.3.2 Service shutting down"));
        assert_eq!(client.line(), None);
    }
    drop((first, second));
    joined(waiting);
}

on_each_runtime!(
    each_listener_has_its_service,
    both_families_can_have_the_same_port,
    lmtp_is_not_spoken_on_port_25,
    a_socket_file_is_replaced_when_nobody_listens,
    sessions_that_run_outlast_their_listener,
);
