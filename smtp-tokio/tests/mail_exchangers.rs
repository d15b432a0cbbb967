//! Mail exchangers by the DNS, from a server of our own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use smtp_proto::adapter::sending::Resolver;
use smtp_tokio::DnsResolver;

const A: u16 = 1;
const MX: u16 = 15;
const AAAA: u16 = 28;

/// Answers questions about names in `test.`: `many` has exchangers and an address, `größe` is its own exchanger, `null` has
/// the null MX, `bare` has an address alone, `failing` fails, `half-4` fails for addresses of IPv4 and has none of IPv6,
/// `half-6` the other way round, and nothing else exists.
fn serve(socket: &UdpSocket) {
    let mut packet = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        let question = &packet[12..length];
        let end = question.iter().position(|octet| *octet == 0).unwrap();
        let kind = u16::from_be_bytes([question[end + 1], question[end + 2]]);
        let name = String::from_utf8_lossy(&question[1..=question[0].into()]).to_lowercase();
        let address = vec![192, 0, 2, 1];
        // Hosts in the domain, by pointers to the name that was asked for.
        let host = |preference: u16, name: &[u8]| [&preference.to_be_bytes(), name].concat();
        let (code, records) = match (name.as_str(), kind) {
            ("many", MX) => (0, vec![host(20, b"\x01b\xc0\x0c"), host(10, b"\x01a\xc0\x0c")]),
            ("xn--gre-6ka8i", MX) => (0, vec![host(10, b"\xc0\x0c")]),
            ("null", MX) => (0, vec![host(0, b"\0")]),
            ("many" | "bare", A) => (0, vec![address]),
            ("failing", _) | ("half-4", A) | ("half-6", AAAA) => (2, vec![]),
            ("many" | "null" | "bare" | "half-4" | "half-6", _) => (0, vec![]),
            _ => (3, vec![]),
        };
        // An answer to the question, by who knows.
        let mut answer = [&packet[..2], &[0x84, code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
        answer.extend_from_slice(&question[..end + 5]);
        for record in records {
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            answer.extend_from_slice(&(record.len() as u16).to_be_bytes());
            answer.extend_from_slice(&record);
        }
        socket.send_to(&answer, from).unwrap();
    }
}

fn resolver(port: u16) -> DnsResolver {
    let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
    server.connections.iter_mut().for_each(|connection| connection.port = port);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap().into()
}

#[tokio::test]
async fn what_there_is_not_is_told_from_what_nobody_knows() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || serve(&socket));
    let resolver = resolver(port);
    let mut many = resolver.mail_exchangers("many.test").await.unwrap();
    many.sort_unstable();
    assert_eq!(many, [(10, "a.many.test.".to_owned()), (20, "b.many.test.".to_owned())]);
    assert_eq!(resolver.mail_exchangers("null.test").await.unwrap(), [(0, ".".to_owned())]);
    // Names of other scripts are asked for as A-labels.
    let own = (10, "xn--gre-6ka8i.test.".to_owned());
    assert_eq!(resolver.mail_exchangers("größe.test").await.unwrap(), [own]);
    assert_eq!(resolver.mail_exchangers("bare.test").await.unwrap(), []);
    assert_eq!(resolver.mail_exchangers("nothing.test.").await.unwrap(), []);
    assert!(resolver.mail_exchangers("failing.test").await.is_err());
    assert_eq!(resolver.addresses("bare.test", 25).await.unwrap(), [SocketAddr::from(([192, 0, 2, 1], 25))]);
    assert_eq!(resolver.addresses("null.test", 25).await.unwrap(), []);
    assert_eq!(resolver.addresses("nothing.test", 25).await.unwrap(), []);
    for name in ["failing.test", "half-4.test", "half-6.test"] {
        assert!(resolver.addresses(name, 25).await.is_err(), "{name}");
    }
}
