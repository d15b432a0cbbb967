//! `receive` behind proxies that say who the client is.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::{self, Certificates};
use crate::support::haproxy::HaProxy;
use crate::support::messages::{self, Message, RECIPIENTS, SENDER};
use crate::support::nginx::Nginx;
use crate::support::peers;
use crate::support::process::run;
use crate::support::secure::Tls;
use crate::support::smtplib::Smtplib;
use crate::support::tools::{Receive, sessions, text, texts};

on_each_runtime!(
    haproxy_tells_by_proxy_header_who_the_client_is,
    haproxy_tells_by_proxy_header_who_the_client_is_in_front_of_tls,
    haproxy_asks_by_proxy_header_for_itself_whether_receive_is_there,
    nginx_tells_by_xclient_who_the_client_is,
    nginx_tells_by_proxy_header_and_xclient_who_the_client_is,
    swaks_says_by_xclient_that_it_is_somebody_else,
);

/// Both versions of the header.
const HEADERS: [&str; 2] = ["send-proxy", "send-proxy-v2"];

/// Where the client connects from, and the proxy does not.
const CLIENT: &str = "127.0.0.2";

/// Sends a message from the client and gives its address and what `receive` says of the transaction.
fn deliver(
    smtplib: &Smtplib,
    proxy: SocketAddr,
    receive: &mut Receive,
    message: &Message,
    mut options: Value,
) -> (SocketAddr, Value) {
    options["source"] = CLIENT.into();
    let sent = smtplib.send(proxy, message, SENDER, &RECIPIENTS, &options).expect_success();
    let client: SocketAddr = sent.stdout[0].parse().expect("an address");
    assert_eq!(client.ip().to_string(), CLIENT);
    let event = receive.next_message();
    assert_eq!(text(&event, "reverse_path"), SENDER);
    assert_eq!(texts(&event, "recipients"), RECIPIENTS);
    message.assert_same(&receive.stored(&event));
    let [connect] = &receive.before(&event, "connect")[..] else { panic!("no connection of {event}") };
    assert!(text(connect, "peer").starts_with("127.0.0.1:"), "{connect}");
    let mail = receive.before(&event, "mail");
    (client, mail[0].clone())
}

fn haproxy_tells_by_proxy_header_who_the_client_is(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &["--proxy-protocol"]);
    for header in HEADERS {
        let Some(haproxy) = HaProxy::start(receive.address(), header) else { return };
        for message in messages::all() {
            let (client, mail) = deliver(&smtplib, haproxy.address, &mut receive, message, json!({}));
            let proxied = json!({ "source": client.to_string(), "destination": haproxy.address.to_string() });
            assert_eq!(mail["proxied"], proxied, "{header}");
        }
    }
    let events = receive.stop();
    assert_eq!(sessions(&events, "message").len(), HEADERS.len() * messages::all().len());
}

fn haproxy_tells_by_proxy_header_who_the_client_is_in_front_of_tls(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate(), certificates.key());
    let common = ["--proxy-protocol", "--tls-cert", certificates::text(&certificate), "--tls-key"];
    for (tls, option) in [(Tls::Implicit, "--implicit-tls"), (Tls::StartTls, "--require-tls")] {
        let mut receive = Receive::start(runtime, &[&common[..], &[certificates::text(&key), option]].concat());
        for (header, message) in HEADERS.into_iter().zip(tls.messages()) {
            let Some(haproxy) = HaProxy::start(receive.address(), header) else { return };
            let options = json!({ "tls": tls.name(), "ca": certificates.authority() });
            let (client, mail) = deliver(&smtplib, haproxy.address, &mut receive, message, options);
            let proxied = json!({ "source": client.to_string(), "destination": haproxy.address.to_string() });
            assert_eq!(mail["proxied"], proxied, "{tls:?} {header}");
        }
        let events = receive.stop();
        let encrypted = events.iter().filter(|event| event["event"] == "message" && event["tls"] == "TLSv1.3");
        assert_eq!(encrypted.count(), HEADERS.len());
    }
}

fn haproxy_asks_by_proxy_header_for_itself_whether_receive_is_there(runtime: &str) {
    for header in HEADERS {
        let receive = Receive::start(runtime, &["--proxy-protocol"]);
        // Version 2 has a command for it; version 1 says UNKNOWN.
        let options = format!("{header} check inter 100ms");
        let Some(mut haproxy) = HaProxy::start(receive.address(), &options) else { return };
        let line = haproxy.logged("Health check for server mail/receive");
        assert!(line.contains(" succeeded, reason: Layer7 check passed, code: 221"), "{line}");
        drop(haproxy);
        let events = receive.stop();
        assert!(events.iter().any(|event| event["name"] == "haproxy.example"), "{events:?}");
    }
}

fn nginx_tells_by_xclient_who_the_client_is(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &["--xclient-from", "127.0.0.1"]);
    let Some(nginx) = Nginx::start(receive.address(), "xclient on;") else { return };
    for message in messages::all() {
        let (_, mail) = deliver(&smtplib, nginx.address, &mut receive, message, json!({}));
        assert_eq!(mail["client"], json!({ "ADDR": CLIENT, "NAME": "[UNAVAILABLE]" }));
        assert_eq!(mail["proxied"], Value::Null);
    }
    drop(nginx);
    let events = receive.stop();
    assert_eq!(sessions(&events, "xclient"), sessions(&events, "message"));
}

fn nginx_tells_by_proxy_header_and_xclient_who_the_client_is(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    // Who is trusted is the proxy, whatever its header says.
    let mut receive = Receive::start(runtime, &["--proxy-protocol", "--xclient-from", "127.0.0.1"]);
    let Some(nginx) = Nginx::start(receive.address(), "xclient on; proxy_protocol on;") else { return };
    let (client, mail) = deliver(&smtplib, nginx.address, &mut receive, &messages::all()[0], json!({}));
    assert_eq!(mail["client"], json!({ "ADDR": CLIENT, "NAME": "[UNAVAILABLE]" }));
    assert_eq!(text(&mail["proxied"], "source"), client.to_string());
    drop(nginx);
    receive.stop();
}

fn swaks_says_by_xclient_that_it_is_somebody_else(runtime: &str) {
    let Some(swaks) = peers::program("swaks", "Debian package swaks") else { return };
    let mut receive = Receive::start(runtime, &["--xclient-from", "127.0.0.1"]);
    let folder = TempDir::new().expect("a folder");
    let message = &messages::all()[1];
    // The final dot: swaks takes a final line with one as the end.
    let file = message.write_to(folder.path(), b".\r\n");
    run(
        Command::new(swaks)
            .env("HOME", folder.path())
            .args(["--server", &receive.address().to_string(), "--helo", "swaks.example"])
            .args(["--xclient-addr", "IPv6:2001:db8::25", "--xclient-port", "4711"])
            .args(["--xclient-name", "client.example", "--xclient-helo", "client+1.example"])
            // Two commands.
            .args(["--xclient-delim", "--xclient-proto", "ESMTP", "--xclient-login", "jane"])
            .args(["--from", SENDER, "--to", &RECIPIENTS.join(",")])
            .args(["--data", &format!("@{}", file.display()), "--silent", "2"]),
        Stdio::null(),
    )
    .expect_success();
    let event = receive.next_message();
    message.assert_same(&receive.stored(&event));
    let mail = &receive.before(&event, "mail")[0];
    let client = json!({
        "ADDR": "IPV6:2001:db8::25",
        "PORT": "4711",
        "NAME": "client.example",
        "HELO": "client+2B1.example",
        "PROTO": "ESMTP",
        "LOGIN": "jane",
    });
    assert_eq!(mail["client"], client);
    assert_eq!(receive.before(&event, "xclient").len(), 2);
    receive.stop();
}
