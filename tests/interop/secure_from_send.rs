//! `send` logging in to peers over TLS and delivering.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::support::dovecot::Dovecot;
use crate::support::messages::{Message, RECIPIENTS, SENDER};
use crate::support::peers;
use crate::support::postfix::{Additions, Postfix, cyrus_sasl, received_field};
use crate::support::process::{Finished, Process};
use crate::support::secure::{PASSWORD, Tls, USER, WRONG_PASSWORD, error_in, local, log_in, start_receive, trust};
use crate::support::tools::{Receive, reports, send, text, texts};

on_each_runtime!(
    postfix_with_cyrus_sasl_takes_every_mechanism,
    postfix_with_dovecot_takes_every_mechanism,
    aiosmtpd_takes_passwords_over_tls,
    smtp_server_takes_passwords_over_tls,
    a_wrong_password_is_wrong_without_a_choice_of_mechanism_too,
    a_certificate_of_an_unknown_authority_is_refused,
    a_certificate_of_a_namesake_of_the_authority_is_refused,
    a_certificate_for_another_name_is_refused,
    an_expired_certificate_is_refused,
    opportunistic_tls_is_verified,
    no_password_is_sent_where_opportunistic_tls_finds_none,
    a_server_without_tls_is_refused,
);

/// The exit code for whoever is not who they should be.
const NOT_PERMITTED: i32 = 77;

/// Sends one message to all recipients.
fn send_one(runtime: &str, server: SocketAddr, message: &Message, mut arguments: Vec<String>) -> Finished {
    let folder = TempDir::new().expect("a folder");
    let file = message.write_to(folder.path(), b"");
    arguments.extend(["--from", SENDER, "--file", file.to_str().expect("a plain name")].map(str::to_owned));
    arguments.extend(RECIPIENTS.iter().flat_map(|recipient| ["--to".to_owned(), (*recipient).to_owned()]));
    send(runtime, server, arguments)
}

fn assert_delivered(finished: Finished) {
    let finished = finished.expect_success();
    for report in reports(&finished) {
        assert_eq!(report["outcome"], "delivered", "{report}");
    }
}

/// Checks that nothing was sent because one side is not who it should be, and
/// gives the error.
fn assert_not_permitted(finished: &Finished) -> String {
    assert_refused(finished, NOT_PERMITTED)
}

fn assert_refused(finished: &Finished, code: i32) -> String {
    let reports = reports(finished);
    let [report] = &reports[..] else {
        panic!("{}: {reports:?}", finished.stderr);
    };
    assert_eq!(report["outcome"], "refused", "{report}");
    assert_eq!(finished.status.code(), Some(code), "{report}");
    error_in(report)
}

/// A wrong password is said to be wrong, in the server's words too.
fn assert_wrong_password(finished: &Finished) {
    let error = assert_not_permitted(finished);
    assert!(error.contains("535") || error.contains("password") || error.contains("authenticat"), "{error}");
    let report = &reports(finished)[0];
    assert_eq!(report["reply"]["code"], 535, "{report}");
}

const MECHANISMS: [&str; 5] = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];

fn postfix_with_cyrus_sasl_takes_every_mechanism(runtime: &str) {
    let mut sasl = None;
    deliver_to_postfix(runtime, |relay, certificates| {
        let postfix = Postfix::start(relay, &RECIPIENTS, |config| {
            sasl = cyrus_sasl(config, USER, PASSWORD, &MECHANISMS.join(" "));
            Additions { main: secure_main(certificates) + &sasl.clone().unwrap_or_default(), implicit: true }
        })?;
        // Skipped without Cyrus SASL.
        sasl.take().map(|_| postfix)
    });
}

fn postfix_with_dovecot_takes_every_mechanism(runtime: &str) {
    let Some(dovecot) = Dovecot::start(USER, PASSWORD, &MECHANISMS.join(" ").to_lowercase()) else { return };
    deliver_to_postfix(runtime, |relay, certificates| {
        Postfix::start(relay, &RECIPIENTS, |_| Additions {
            main: secure_main(certificates) + &dovecot.main(),
            implicit: true,
        })
    });
}

/// The lines for main.cf with which Postfix wants TLS and a password, and
/// tells in the Received field how it got both.
fn secure_main(certificates: &Certificates) -> String {
    format!(
        "smtpd_tls_security_level = may\n\
         smtpd_tls_cert_file = {}\n\
         smtpd_tls_key_file = {}\n\
         smtpd_tls_auth_only = yes\n\
         smtpd_tls_received_header = yes\n\
         smtpd_sasl_auth_enable = yes\n\
         smtpd_sasl_authenticated_header = yes\n\
         smtpd_sasl_security_options = noanonymous\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject\n",
        certificates.certificate().display(),
        certificates.key().display()
    )
}

fn deliver_to_postfix(runtime: &str, start: impl FnOnce(SocketAddr, &Certificates) -> Option<Postfix>) {
    let certificates = Certificates::new();
    let mut receive = Receive::start(runtime, &[]);
    let Some(mut postfix) = start(receive.address(), &certificates) else { return };
    let implicit = postfix.implicit.expect("an address");
    let over_starttls = MECHANISMS.iter().map(|&mechanism| (Tls::StartTls, postfix.address, mechanism));
    let ways: Vec<_> = over_starttls.chain([(Tls::Implicit, implicit, "PLAIN")]).collect();
    for ((tls, address, mechanism), message) in ways.into_iter().zip(Tls::StartTls.messages()) {
        let log_in = log_in(tls, &certificates, PASSWORD, Some(mechanism));
        assert_delivered(send_one(runtime, address, message, log_in));
        let logged = postfix.logged("sasl_method=");
        assert!(logged.contains(&format!("sasl_method={mechanism}, sasl_username={USER}")), "{logged}");

        let event = receive.next_message();
        // Postfix has an order of its own.
        let mut recipients = texts(&event, "recipients");
        recipients.sort_by_key(|recipient| RECIPIENTS.iter().position(|known| known == recipient));
        assert_eq!(recipients, RECIPIENTS);
        let content = receive.stored(&event);
        let (trace, content) = content.split_at(received_field(&content));
        let trace = std::str::from_utf8(trace).expect("ASCII");
        assert!(trace.contains("(using TLSv1.3 with cipher "), "{trace}");
        assert!(trace.contains(&format!("(Authenticated sender: {USER})")), "{trace}");
        assert!(trace.contains(" with ESMTPSA id "), "{trace}");
        message.assert_same(content);
    }
    for (&mechanism, message) in MECHANISMS.iter().zip(Tls::Implicit.messages()) {
        let log_in = log_in(Tls::StartTls, &certificates, WRONG_PASSWORD, Some(mechanism));
        assert_wrong_password(&send_one(runtime, postfix.address, message, log_in));
    }
    drop(postfix);
    receive.stop();
}

/// A server in Python or Node that takes mail over TLS and from one user.
struct Script {
    process: Process,
    address: SocketAddr,
}

impl Script {
    fn start(command: &mut Command, tls: Tls, certificates: &Certificates, mechanisms: &[&str]) -> Self {
        Self::start_as(tls.name(), command, certificates, mechanisms)
    }

    fn start_as(tls: &str, command: &mut Command, certificates: &Certificates, mechanisms: &[&str]) -> Self {
        let options = json!({
            "tls": tls,
            "cert": certificates.certificate(),
            "key": certificates.key(),
            "user": USER,
            "password": PASSWORD,
            "mechanisms": mechanisms,
        });
        // The open stdin keeps it running.
        let mut process = Process::start(command.env("PEER_OPTIONS", options.to_string()), Stdio::piped());
        let listening = next_event(&mut process);
        Self { address: local(&listening["port"]), process }
    }
}

fn next_event(process: &mut Process) -> Value {
    let Some(line) = process.next_line() else {
        process.fail("ended");
    };
    serde_json::from_str(&line).expect("JSON")
}

fn aiosmtpd_takes_passwords_over_tls(runtime: &str) {
    let Some(python) = peers::python("aiosmtpd, ssl", "PyPI package aiosmtpd") else { return };
    deliver_to_script(runtime, &["PLAIN", "LOGIN"], || {
        let mut command = Command::new(&python);
        command.args(["-c", include_str!("aiosmtpd_peer.py")]);
        command
    });
}

fn smtp_server_takes_passwords_over_tls(runtime: &str) {
    let Some(command) = smtp_server() else { return };
    deliver_to_script(runtime, &["PLAIN", "LOGIN", "CRAM-MD5"], command);
}

/// What starts smtp-server.
fn smtp_server() -> Option<impl Fn() -> Command> {
    let (node, modules) = peers::node("smtp-server")?;
    Some(move || {
        let mut command = Command::new(&node);
        command.env("NODE_PATH", &modules).args(["-e", include_str!("smtp_server_peer.js")]);
        command
    })
}

fn deliver_to_script(runtime: &str, mechanisms: &[&str], command: impl Fn() -> Command) {
    let certificates = Certificates::new();
    for tls in Tls::ALL {
        let mut script = Script::start(&mut command(), tls, &certificates, mechanisms);
        for (&mechanism, message) in mechanisms.iter().zip(tls.messages()) {
            let log_in = log_in(tls, &certificates, PASSWORD, Some(mechanism));
            assert_delivered(send_one(runtime, script.address, message, log_in));
            let event = next_event(&mut script.process);
            assert_eq!(text(&event, "sender"), SENDER, "{event}");
            assert_eq!(texts(&event, "recipients"), RECIPIENTS, "{event}");
            assert_eq!(event["tls"], true, "{event}");
            assert_eq!(text(&event, "user"), USER, "{event}");
            assert_eq!(text(&event, "mechanism"), mechanism, "{event}");
            assert_eq!(event["size"], message.content.len(), "{event}");
            assert_eq!(text(&event, "sha256"), message.sha256, "{event}");
        }
        for (&mechanism, message) in mechanisms.iter().zip(tls.messages()) {
            let log_in = log_in(tls, &certificates, WRONG_PASSWORD, Some(mechanism));
            assert_wrong_password(&send_one(runtime, script.address, message, log_in));
        }
    }
}

/// Whatever `send` makes of several mechanisms, the password stays wrong.
fn a_wrong_password_is_wrong_without_a_choice_of_mechanism_too(runtime: &str) {
    let Some(command) = smtp_server() else { return };
    let certificates = Certificates::new();
    let mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5"];
    let script = Script::start(&mut command(), Tls::StartTls, &certificates, &mechanisms);
    let message = Tls::Implicit.messages().next().expect("a message");
    let log_in = log_in(Tls::StartTls, &certificates, WRONG_PASSWORD, None);
    assert_wrong_password(&send_one(runtime, script.address, message, log_in));

    let receive = start_receive(runtime, Tls::StartTls, &certificates, PASSWORD, &RECEIVES);
    let log_in = self::log_in(Tls::StartTls, &certificates, WRONG_PASSWORD, None);
    let finished = send_one(runtime, receive.address(), message, log_in);
    receive.stop();
    assert_wrong_password(&finished);
}

/// What a server of today offers.
const RECEIVES: [&str; 4] = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"];

fn a_certificate_of_an_unknown_authority_is_refused(runtime: &str) {
    let others = Certificates::new();
    refuse(runtime, &Certificates::new(), |tls| trust(tls, &others), NOT_PERMITTED, &["no trusted authority"]);
}

/// As when somebody has made a new authority and the client still trusts the
/// old one; or when somebody has made a forged one.
fn a_certificate_of_a_namesake_of_the_authority_is_refused(runtime: &str) {
    let (ours, others) = (Certificates::of("A namesake"), Certificates::of("A namesake"));
    refuse(runtime, &ours, |tls| trust(tls, &others), NOT_PERMITTED, &["no trusted authority"]);
}

fn a_certificate_for_another_name_is_refused(runtime: &str) {
    let certificates = Certificates::new();
    refuse(
        runtime,
        &certificates,
        |tls| {
            let mut arguments = trust(tls, &certificates);
            arguments.extend(["--tls-name", "wrong.example"].map(str::to_owned));
            arguments
        },
        NOT_PERMITTED,
        &["wrong.example"],
    );
}

fn an_expired_certificate_is_refused(runtime: &str) {
    let certificates = Certificates::expired();
    refuse(runtime, &certificates, |tls| trust(tls, &certificates), NOT_PERMITTED, &["expired"]);
}

/// Checks that `send` with these arguments does not go on with a server that
/// has these certificates, and says one of these words.
fn refuse(
    runtime: &str,
    certificates: &Certificates,
    arguments: impl Fn(Tls) -> Vec<String>,
    code: i32,
    words: &[&str],
) {
    refuse_over(&Tls::ALL, runtime, certificates, arguments, code, words);
}

fn refuse_over(
    ways: &[Tls],
    runtime: &str,
    certificates: &Certificates,
    arguments: impl Fn(Tls) -> Vec<String>,
    code: i32,
    words: &[&str],
) {
    let Some(command) = smtp_server() else { return };
    for &tls in ways {
        let script = Script::start(&mut command(), tls, certificates, &["PLAIN"]);
        let message = tls.messages().next().expect("a message");
        let mut arguments = arguments(tls);
        arguments.extend(["--auth".to_owned(), format!("{USER}:{PASSWORD}")]);
        let error = assert_refused(&send_one(runtime, script.address, message, arguments), code);
        assert!(words.iter().any(|word| error.contains(word)), "{tls:?}: none of {words:?} in {error:?}");
        assert!(error.contains("certificate") || error.contains("tls"), "{tls:?}: {error:?}");
    }
}

/// Opportunistic is whether there is TLS, not whom it is with.
fn opportunistic_tls_is_verified(runtime: &str) {
    let others = Certificates::new();
    let opportunistic = |_| {
        let mut arguments = trust(Tls::StartTls, &others);
        arguments[1] = "opportunistic".to_owned();
        arguments
    };
    refuse_over(&[Tls::StartTls], runtime, &Certificates::new(), opportunistic, NOT_PERMITTED, &["certificate"]);
}

fn no_password_is_sent_where_opportunistic_tls_finds_none(runtime: &str) {
    let Some(python) = peers::python("aiosmtpd, ssl", "PyPI package aiosmtpd") else { return };
    let certificates = Certificates::new();
    let mut command = Command::new(&python);
    command.args(["-c", include_str!("aiosmtpd_peer.py")]);
    let mut script = Script::start_as("none", &mut command, &certificates, &["PLAIN", "LOGIN"]);
    for mechanism in [None, Some("PLAIN"), Some("LOGIN")] {
        let mut arguments = log_in(Tls::StartTls, &certificates, PASSWORD, mechanism);
        arguments[1] = "opportunistic".to_owned();
        arguments.push("--transcript".to_owned());
        let message = Tls::Implicit.messages().next().expect("a message");
        let finished = send_one(runtime, script.address, message, arguments);
        assert!(finished.stderr.contains("AUTH"), "is offered: {}", finished.stderr);
        assert!(!finished.stderr.contains("C: AUTH"), "{}", finished.stderr);
        assert_not_permitted(&finished);
    }
    assert!(!script.process.has_ended());
}

fn a_server_without_tls_is_refused(runtime: &str) {
    let certificates = Certificates::new();
    let receive = Receive::start(runtime, &[]);
    let message = Tls::StartTls.messages().next().expect("a message");
    let finished = send_one(runtime, receive.address(), message, trust(Tls::StartTls, &certificates));
    let error = error_in(&reports(&finished)[0]);
    assert!(error.contains("starttls") || error.contains("tls"), "{error}");
    assert!(matches!(finished.status.code(), Some(69 | NOT_PERMITTED)), "{}: {error}", finished.status);
    receive.stop();
}
