//! Through a SOCKS5 proxy, which looks up the server's name: `cargo run --example socks`. Needs the feature `socks`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use smtp_blocking::{Connector, Socks5};
use smtp_proto::client::{Config, Envelope, TlsPolicy};
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (proxy, server) = (listener.local_addr()?.to_string(), office.address().tcp().ok_or("no port")?);
    let proxying = thread::spawn(move || relay(&listener, server));

    let mut config = Config::new("client.example.org")?;
    config.tls = TlsPolicy::None;
    let connector = Connector::new(config).proxy(Socks5::new(proxy)); // .login("jane", "s3cret")
    let mut client = connector.connect("mail.example.net:25")?;
    let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
    assert!(client.send(envelope, "Subject: Hi\n\nHello!\n")?.is_delivered());
    client.quit()?;
    proxying.join().map_err(|_| "the proxy panicked")??;
    Ok(())
}

/// As much of a proxy as this example needs: it connects the first client to the server, whichever was asked for.
fn relay(listener: &TcpListener, server: SocketAddr) -> io::Result<()> {
    let mut client = listener.accept()?.0;
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting)?;
    client.write_all(&[5, 0])?;
    let mut request = [0; 5];
    client.read_exact(&mut request)?;
    let mut host_and_port = vec![0; usize::from(request[4]) + 2];
    client.read_exact(&mut host_and_port)?;
    println!("asked for {}", String::from_utf8_lossy(&host_and_port[..usize::from(request[4])]));
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 25])?;
    let server = TcpStream::connect(server)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let there = thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Write)));
    io::copy(&mut &server, &mut client)?;
    client.shutdown(Shutdown::Write)?;
    there.join().map_err(|_| io::Error::other("panicked"))?
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
