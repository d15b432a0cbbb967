//! What is secret stays secret: everything that both machines print, log or show in a session of each mechanism is
//! collected and searched (P14, AUTH-019, H-LG-2, H-LG-3).

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use smtp_proto::client::{self, Client, Envelope};
use smtp_proto::sasl::{self, ChannelBinding, Login, Mechanism};
use smtp_proto::server::{self, Decision, Server};
use smtp_proto::{Instant, Machine, Secret, Step, TlsInfo};
use smtp_tests::certificates::Authority;
use smtp_tests::recorder::hexadecimal;
use smtp_tests::runtime::Runtime;
use smtp_tests::secrets::occurs;

const PASSWORD: &str = "Vieux-Montmartre";
const TOKEN: &str = "ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg";

/// All that was shown, and all that is not to be shown.
#[derive(Default)]
struct Collected {
    shown: Arc<Mutex<String>>,
    /// Responses of the client, decoded.
    responses: Vec<Vec<u8>>,
    authenticated: bool,
}

impl Collected {
    fn show(&self, thing: &dyn Debug) {
        let mut shown = self.shown.lock().unwrap();
        shown.push_str(&format!("{thing:?}\n{thing:#?}\n"));
    }

    fn say(&self, thing: &dyn std::fmt::Display) {
        self.shown.lock().unwrap().push_str(&format!("{thing}\n"));
    }

    /// Takes note of what the client said in clear to the server, as the test sees it behind TLS.
    fn overhear(&mut self, line: &str) {
        let encoded = match line.strip_prefix("AUTH ") {
            Some(rest) => rest.split(' ').nth(1),
            // It happens to be base64.
            None if line == "STARTTLS" => None,
            None => Some(line),
        };
        let response = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        self.responses.extend(response.filter(|response| response.len() > 4));
    }
}

fn login(mechanism: &'static dyn Mechanism, password: &str) -> Login {
    let login = match mechanism.name() {
        "XOAUTH2" | "OAUTHBEARER" => Login::token("jane", password),
        "EXTERNAL" => Ok(Login::external()),
        "ANONYMOUS" => Login::anonymous("guest"),
        _ => Login::password("jane", password),
    };
    login.unwrap().mechanisms([mechanism])
}

/// A session by one mechanism that sends one message, with `given` for the password or token and `kept` at the server.
fn session(mechanism: &'static dyn Mechanism, given: &str, kept: &str) -> Collected {
    let mut collected = Collected::default();
    let mut config = client::Config::new("client.example.org").unwrap();
    config.authentication = client::Authentication::Required(login(mechanism, given));
    let mut server_config = server::Config::new("mail.example.net").unwrap();
    server_config.tls = server::TlsPolicy::Required;
    server_config.mechanisms = vec![mechanism];
    collected.show(&config);
    collected.show(&server_config);
    let now = Instant::default();
    let mut client = Client::new(config, now);
    let mut server = Server::new(Arc::new(server_config), now);
    let tap = || {
        let shown = Arc::clone(&collected.shown);
        Box::new(move |entry: smtp_proto::transcript::Entry<'_>| {
            shown.lock().unwrap().push_str(&format!("{entry}\n{entry:?}\n"));
        })
    };
    client.set_transcript(tap());
    server.set_transcript(tap());
    client.send(Envelope::new("jane@example.org", ["joe@example.net"]).unwrap(), "Hi\r\n").unwrap();
    let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
    for _ in 0..1000 {
        collected.show(&client);
        collected.show(&server);
        let client_step = client.step(now, &mut to_client);
        if let Ok(Step::Write) = client_step {
            collected.show(client.output());
            let output = client.output();
            let line = output.copy_to_bytes(output.remaining());
            for line in std::str::from_utf8(&line).unwrap().lines() {
                collected.overhear(line);
            }
            to_server.extend_from_slice(&line);
        }
        collected.show(&client_step);
        if let Err(error) = &client_step {
            collected.say(error);
            return collected;
        }
        if let Ok(Step::Event(client::Event::Outcome { outcome, .. })) = &client_step {
            assert!(outcome.is_delivered() || given != kept, "{outcome:?}");
            collected.say(&format!("{outcome:?}"));
            collected.authenticated = outcome.is_delivered();
            client.quit().ok();
        }
        if matches!(client_step, Ok(Step::Close)) {
            return collected;
        }
        let step = server.step(now, &mut to_server).unwrap();
        collected.show(&step);
        match step {
            Step::Event(event) => {
                let decision = match &event {
                    server::Event::Authenticate(credentials) => {
                        collected.show(credentials.evidence());
                        let kept = Secret::from(kept);
                        let verdict = match credentials.evidence() {
                            sasl::Evidence::Token(_) => credentials.verify_token(&kept),
                            sasl::Evidence::External | sasl::Evidence::Anonymous(_) => sasl::Verdict::Accepted,
                            _ => credentials.verify_password(&kept),
                        };
                        collected.show(&verdict);
                        Decision::Verdict(verdict)
                    }
                    _ => Decision::Accept,
                };
                collected.show(&decision);
                if event.is_question() {
                    server.decide(decision).unwrap();
                }
            }
            Step::Write => {
                let output = server.output();
                to_client.extend_from_slice(&output.copy_to_bytes(output.remaining()));
            }
            Step::UpgradeTls if matches!(client_step, Ok(Step::UpgradeTls)) => {
                let mut facts = TlsInfo::new("TLSv1.3", "TLS_AES_256_GCM_SHA384");
                facts.verified = true;
                facts.peer_certificates.push(vec![0x30]);
                facts.channel_bindings.push(ChannelBinding::tls_exporter([0xA5; 32]));
                collected.show(&facts);
                server.tls_established(&mut to_server, facts.clone()).unwrap();
                client.tls_established(&mut to_client, facts).unwrap();
            }
            _ => {}
        }
    }
    panic!("{} does not come to an end", mechanism.name());
}

fn all() -> Vec<&'static dyn Mechanism> {
    let mut all = sasl::strongest_first().to_vec();
    all.push(sasl::CRAM_MD5);
    all
}

#[test]
fn no_secret_is_shown_whether_it_is_right_or_wrong() {
    for mechanism in all() {
        let secret = if mechanism.name().contains("OAUTH") { TOKEN } else { PASSWORD };
        for kept in [secret, "another"] {
            let collected = session(mechanism, secret, kept);
            let name = mechanism.name();
            let without_secret = matches!(name, "EXTERNAL" | "ANONYMOUS");
            assert_eq!(collected.authenticated, kept == secret || without_secret, "{name}");
            assert!(without_secret || !collected.responses.is_empty(), "{name}: the responses were not seen");
            let shown = collected.shown.lock().unwrap();
            assert!(shown.contains("mail.example.net"), "nothing was collected");
            assert!(shown.contains("***") || name == "EXTERNAL", "{name}: the exchange is not in the transcript");
            assert_eq!(occurs(secret.as_bytes(), &shown), None, "{name}");
            assert_eq!(occurs(&[0xA5; 32], &shown), None, "{name}");
            for response in &collected.responses {
                // The user name alone, as LOGIN sends it, is no secret.
                if response != b"jane" && response != b"guest" {
                    assert_eq!(occurs(response, &shown), None, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_secret_is_found_wherever_it_hides() {
    // The search itself works.
    let secret = PASSWORD.as_bytes();
    for hidden in [
        format!("x{PASSWORD}"),
        STANDARD.encode(secret),
        STANDARD.encode([b"\0jane\0", secret].concat()),
        STANDARD.encode([b"\0joe\0", secret].concat()),
        hexadecimal(secret),
        hexadecimal(secret).to_uppercase(),
        format!("{secret:?}"),
    ] {
        assert!(occurs(secret, &hidden).is_some(), "{hidden}");
    }
    assert_eq!(occurs(secret, "Vieux-Montparnasse"), None);
}

#[test]
fn a_command_that_looks_like_auth_is_not_repeated_in_its_error() {
    let mut client = Client::new(smtp_tests::in_clear("c.test"), Instant::default());
    let encoded = STANDARD.encode(["\0jane\0", PASSWORD].concat());
    for command in [format!("AUTH PLAIN {encoded}"), format!(" auth plain {encoded}")] {
        let error = client.command(&command).unwrap_err();
        assert_eq!(occurs(PASSWORD.as_bytes(), &format!("{error} {error:?} {client:?}")), None);
    }
}

#[test]
fn a_server_that_repeats_what_it_was_told_is_not_quoted() {
    let encoded = STANDARD.encode(["\0jane\0", PASSWORD].concat());
    for repeated in [format!("what is AUTH PLAIN {encoded}"), format!("wrong password {PASSWORD}")] {
        let mut config = smtp_tests::in_clear("c.test");
        config.allow_clear_text_auth = true;
        config.authentication = client::Authentication::Required(login(sasl::PLAIN, PASSWORD));
        let mut client = Client::new(config, Instant::default());
        let collected = Collected::default();
        let shown = Arc::clone(&collected.shown);
        client.set_transcript(Box::new(move |entry| shown.lock().unwrap().push_str(&format!("{entry}\n"))));
        client.send(Envelope::new("jane@example.org", ["joe@example.net"]).unwrap(), "Hi\r\n").unwrap();
        let mut rx = BytesMut::from("220 mx.test\r\n");
        let mut replies = ["250-mx.test\r\n250 AUTH PLAIN\r\n".to_owned(), format!("500 {repeated}\r\n")].into_iter();
        loop {
            let step = client.step(Instant::default(), &mut rx);
            collected.show(&step);
            collected.show(&client);
            match step {
                Ok(Step::Write) => {
                    let count = client.output().remaining();
                    client.output().advance(count);
                }
                Ok(Step::Read) => rx.extend_from_slice(replies.next().unwrap().as_bytes()),
                Ok(_) => {}
                Err(error) => {
                    collected.say(&error);
                    break;
                }
            }
        }
        let shown = collected.shown.lock().unwrap();
        assert!(shown.contains("S: 500 ***"), "{shown}");
        assert_eq!(occurs(PASSWORD.as_bytes(), &shown), None, "{shown}");
    }
}

#[test]
fn what_is_sent_in_vain_is_not_recorded() {
    // Refused mechanisms, lines after the end of an exchange, and lines that are almost AUTH.
    let collected = Collected::default();
    let mut config = server::Config::new("mail.example.net").unwrap();
    config.mechanisms = vec![sasl::PLAIN, sasl::LOGIN];
    let mut server = Server::new(Arc::new(config), Instant::default());
    let shown = Arc::clone(&collected.shown);
    server.set_transcript(Box::new(move |entry| shown.lock().unwrap().push_str(&format!("{entry}\n"))));
    let plain = STANDARD.encode(["\0jane\0", PASSWORD].concat());
    let password = STANDARD.encode(PASSWORD);
    let input = format!(
        "EHLO c.test\r\nAUTH PLAIN {plain}\r\nAUTH LOGIN\r\n{password}\r\nAUTH  PLAIN  {plain} x\r\nauth\t{plain}\r\n\
         AUTH PLAIN{plain}\r\n AUTH PLAIN {plain}\r\nAUTHPLAIN {plain}\r\n{password}\r\nNOOP\r\n\
         AUTH LOGIN {}\r\n{password}\r\nNOOP\r\nQUIT\r\n",
        "A".repeat(13_000)
    );
    let mut rx = BytesMut::from(&*input);
    loop {
        let step = server.step(Instant::default(), &mut rx).unwrap();
        collected.show(&step);
        collected.show(&server);
        match step {
            Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
            Step::Write => {
                let count = server.output().remaining();
                server.output().advance(count);
            }
            Step::Close => break,
            _ => {}
        }
    }
    let shown = collected.shown.lock().unwrap();
    assert_eq!(occurs(PASSWORD.as_bytes(), &shown), None, "{shown}");
    assert!(shown.contains("C: NOOP"), "{shown}");
    assert_eq!(shown.matches("C: AUTH PLAIN ***").count(), 1, "{shown}");
}

/// The output of a program so far, on both streams.
struct Program {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    fn start(path: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let reader = |stream: Box<dyn Read + Send>| {
            let output = Arc::clone(&output);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    output.lock().unwrap().push_str(&format!("{}\n", line.unwrap()));
                }
            })
        };
        let readers = streams.into_iter().map(reader).collect();
        Self { child, output, readers }
    }

    /// All that it prints until it ends.
    fn end(mut self) -> String {
        self.child.wait().unwrap();
        self.readers.into_iter().for_each(|reader| reader.join().unwrap());
        self.output.lock().unwrap().clone()
    }
}

#[test]
fn the_tools_print_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let certificate = authority.server(&["127.0.0.1"]).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, pem) = (file("ca.pem", authority.pem()), file("certificate.pem", &certificate.certificate));
    let key = file("key.pem", &certificate.key);
    let user = format!("jane:{PASSWORD}");
    for runtime in Runtime::ALL.map(Runtime::name) {
        for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"] {
            let mut receive = Program::start(
                env!("CARGO_BIN_EXE_receive"),
                &[
                    &["--runtime", runtime, "--listen", "127.0.0.1:0", "--tls-cert", &pem, "--tls-key", &key][..],
                    &["--require-tls", "--require-auth", "--auth", &user, "--mechanisms", mechanism],
                ]
                .concat(),
            );
            let address = loop {
                let output = receive.output.lock().unwrap().clone();
                match output.lines().next() {
                    Some(line) => {
                        let line: serde_json::Value = serde_json::from_str(line).expect("it listens");
                        break line["address"].as_str().expect("an address").to_owned();
                    }
                    None => assert_eq!(receive.child.try_wait().unwrap(), None, "it has ended"),
                }
            };
            let sent = Program::start(
                env!("CARGO_BIN_EXE_send"),
                &[
                    &["--runtime", runtime, "--server", &address, "--from", "a@a.test", "--to", "b@b.test"][..],
                    &["--tls", "required", "--ca", &ca, "--auth", &user, "--mechanism", mechanism, "--transcript"],
                ]
                .concat(),
            );
            let sent = sent.end();
            let process = receive.child.id().to_string();
            assert!(Command::new("kill").arg(process).status().unwrap().success());
            let received = receive.end();
            assert!(sent.contains("\"outcome\":\"delivered\""), "{sent}");
            assert!(sent.contains(&format!("C: AUTH {mechanism}")) && sent.contains("***"), "{sent}");
            assert!(received.contains("\"accepted\":true"), "{received}");
            assert_eq!(occurs(PASSWORD.as_bytes(), &format!("{sent}{received}")), None, "{mechanism} on {runtime}");
        }
    }
}
