//! SCRAM with an implementation by others at the far end, well-behaved and
//! not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::support::messages::{self, Message, RECIPIENTS, SENDER};
use crate::support::peers;
use crate::support::process::{Process, run};
use crate::support::secure::{
    PASSWORD, Tls, USER, WRONG_PASSWORD, accepted, error_in, local, log_in, log_ins, start_receive,
};
use crate::support::tools::{reports, send};

on_each_runtime!(
    receive_takes_scram_with_and_without_channel_binding,
    receive_prepares_passwords_as_saslprep_says,
    receive_refuses_a_wrong_password,
    receive_refuses_another_channel,
    receive_refuses_a_binding_that_it_does_not_have,
    receive_refuses_a_client_that_was_told_of_no_channel_binding,
    receive_takes_a_client_that_could_bind_where_nothing_is_bound,
    send_logs_in_by_scram_with_and_without_channel_binding,
    send_prefers_channel_binding_where_it_is_offered,
    send_says_that_it_could_bind_where_that_is_not_offered,
    send_prepares_passwords_as_saslprep_says,
    send_refuses_a_server_that_does_not_know_the_password,
    send_refuses_a_server_that_lets_it_in_without_proof,
    send_refuses_the_nonce_of_another_exchange,
    send_refuses_too_few_iterations,
    send_refuses_absurdly_many_iterations,
    send_says_that_the_password_is_wrong,
);

const PLAIN: [&str; 2] = ["SCRAM-SHA-1", "SCRAM-SHA-256"];
const PLUS: [&str; 2] = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"];
const ALL: [&str; 4] = [PLUS[1], PLUS[0], PLAIN[1], PLAIN[0]];
const BINDING: &str = "tls-exporter";

/// The same password to SASLprep (RFC 4013 section 3): it takes out the soft
/// hyphen and takes the Roman numeral apart.
const UNPREPARED: &str = "I\u{ad}X-\u{2168}-p\u{e4}ss";
const PREPARED: &str = "IX-IX-p\u{e4}ss";

fn python() -> Option<PathBuf> {
    peers::python("scramp, OpenSSL", "PyPI packages scramp and pyOpenSSL")
}

fn message() -> &'static Message {
    // Lines that begin with dots, as this SMTP is written by hand.
    &messages::all()[1]
}

fn script(python: &Path, options: &Value) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", include_str!("scram_peer.py")]).env("PEER_OPTIONS", options.to_string());
    command
}

/// Lets scramp log in to a `receive` that knows these mechanisms, and
/// deliver. Gives what it reported, after a check that `receive` saw the same.
fn log_in_to_receive(
    runtime: &str,
    python: &Path,
    tls: Tls,
    passwords: (&str, &str),
    mechanisms: &[&str],
    client: &Value,
) -> Value {
    let (known, used) = passwords;
    let certificates = Certificates::new();
    let mut receive = start_receive(runtime, tls, &certificates, known, mechanisms);
    let folder = TempDir::new().expect("a folder");
    let mut options = json!({
        "role": "client",
        "tls": tls.name(),
        "port": receive.address().port(),
        "ca": certificates.authority(),
        "user": USER,
        "password": used,
        "file": message().write_to(folder.path(), b""),
    });
    let members = options.as_object_mut().expect("an object");
    members.extend(client.as_object().expect("an object").clone());
    let finished = run(&mut script(python, &options), Stdio::null()).expect_success();
    let report: Value = serde_json::from_str(&finished.stdout[0]).expect("JSON");
    if report["accepted"] == true {
        let event = receive.next_message();
        assert_eq!((&event["user"], &event["tls"]), (&json!(USER), &json!("TLSv1.3")), "{event}");
        message().assert_same(&receive.stored(&event));
    }
    let events = receive.stop();
    let mechanism = client["mechanism"].as_str().expect("a mechanism");
    if report["accepted"] == true {
        assert_eq!(log_ins(&events), [accepted(mechanism)]);
    } else {
        let attempts = log_ins(&events);
        assert!(matches!(&attempts[..], [(_, _, false)]), "{attempts:?}");
        assert!(events.iter().all(|event| event["event"] != "message"), "{events:?}");
    }
    report
}

fn receive_takes_scram_with_and_without_channel_binding(runtime: &str) {
    let Some(python) = python() else { return };
    let unbound = PLAIN.iter().map(|mechanism| json!({ "mechanism": mechanism }));
    let bound = PLUS.iter().map(|mechanism| json!({ "mechanism": mechanism, "binding": BINDING }));
    for (client, tls) in unbound.chain(bound).zip(Tls::ALL.into_iter().cycle()) {
        let report = log_in_to_receive(runtime, &python, tls, (PASSWORD, PASSWORD), &ALL, &client);
        assert_eq!(report["accepted"], true, "{client}: {report}");
    }
}

fn receive_prepares_passwords_as_saslprep_says(runtime: &str) {
    let Some(python) = python() else { return };
    for passwords in [(UNPREPARED, PREPARED), (PREPARED, UNPREPARED)] {
        let client = json!({ "mechanism": "SCRAM-SHA-256" });
        let report = log_in_to_receive(runtime, &python, Tls::Implicit, passwords, &ALL, &client);
        assert_eq!(report["accepted"], true, "{report}");
    }
}

/// Checks that `receive` refuses scramp.
fn refused_by_receive(runtime: &str, used: &str, mechanisms: &[&str], client: &Value) {
    let Some(python) = python() else { return };
    let report = log_in_to_receive(runtime, &python, Tls::StartTls, (PASSWORD, used), mechanisms, client);
    assert_eq!((&report["accepted"], &report["code"]), (&json!(false), &json!(535)), "{client}: {report}");
}

fn receive_refuses_a_wrong_password(runtime: &str) {
    for mechanism in PLAIN {
        refused_by_receive(runtime, WRONG_PASSWORD, &ALL, &json!({ "mechanism": mechanism }));
    }
    let bound = json!({ "mechanism": PLUS[1], "binding": BINDING });
    refused_by_receive(runtime, WRONG_PASSWORD, &ALL, &bound);
}

/// What somebody between two connections would cause.
fn receive_refuses_another_channel(runtime: &str) {
    let client = json!({ "mechanism": PLUS[1], "binding": BINDING, "fault": "binding" });
    refused_by_receive(runtime, PASSWORD, &ALL, &client);
}

/// tls-unique is not for TLS 1.3 (RFC 9266 section 3).
fn receive_refuses_a_binding_that_it_does_not_have(runtime: &str) {
    let client = json!({ "mechanism": PLUS[1], "binding": "tls-unique" });
    refused_by_receive(runtime, PASSWORD, &ALL, &client);
}

/// What a client does if somebody has taken -PLUS out of the offer
/// (RFC 5802 section 6).
fn receive_refuses_a_client_that_was_told_of_no_channel_binding(runtime: &str) {
    let client = json!({ "mechanism": PLAIN[1], "binding": BINDING });
    refused_by_receive(runtime, PASSWORD, &ALL, &client);
}

fn receive_takes_a_client_that_could_bind_where_nothing_is_bound(runtime: &str) {
    let Some(python) = python() else { return };
    let client = json!({ "mechanism": PLAIN[1], "binding": BINDING });
    let report = log_in_to_receive(runtime, &python, Tls::StartTls, (PASSWORD, PASSWORD), &PLAIN, &client);
    assert_eq!(report["accepted"], true, "{report}");
}

/// A session of `send` with scramp: the report of `send`, its exit code, and
/// the report of scramp.
struct Session {
    sent: Value,
    exit: Option<i32>,
    peer: Value,
}

/// Lets `send` log in to scramp and deliver. `mechanism` is the one that the
/// server expects, `offered` all that it announces; with `choose` the
/// mechanism is not left to `send`.
fn log_in_to_scramp(
    runtime: &str,
    tls: Tls,
    passwords: (&str, &str),
    (mechanism, offered, choose): (&str, &[&str], bool),
    fault: &str,
) -> Option<Session> {
    let python = python()?;
    let (known, used) = passwords;
    let certificates = Certificates::new();
    let options = json!({
        "role": "server",
        "tls": tls.name(),
        "cert": certificates.certificate(),
        "key": certificates.key(),
        "user": USER,
        "password": known,
        "mechanism": mechanism,
        "mechanisms": offered,
        "fault": fault,
    });
    let mut server = Process::start(&mut script(&python, &options), Stdio::null());
    let mut next = || {
        let line = server.next_line().unwrap_or_else(|| server.fail("ended"));
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    let address = local(&next()["listening"]);
    let folder = TempDir::new().expect("a folder");
    let file = message().write_to(folder.path(), b"");
    let mut arguments = log_in(tls, &certificates, used, choose.then_some(mechanism));
    arguments.extend(["--from", SENDER, "--to", RECIPIENTS[0]].map(str::to_owned));
    arguments.extend(["--file".to_owned(), file.to_str().expect("a plain name").to_owned()]);
    let finished = send(runtime, address, arguments);
    let [sent] = &reports(&finished)[..] else {
        panic!("{}", finished.stderr);
    };
    Some(Session { sent: sent.clone(), exit: finished.status.code(), peer: next() })
}

fn assert_logged_in(session: &Session, mechanism: &str) {
    let Session { sent, exit, peer } = session;
    assert_eq!((&sent["outcome"], *exit), (&json!("delivered"), Some(0)), "{mechanism}: {sent}; {peer}");
    assert_eq!(peer["accepted"], true, "{mechanism}: {peer}");
    assert_eq!(peer["sha256"], message().sha256, "{mechanism}: {peer}");
}

fn send_logs_in_by_scram_with_and_without_channel_binding(runtime: &str) {
    for mechanism in ALL {
        for tls in Tls::ALL {
            let how = (mechanism, &ALL[..], true);
            let Some(session) = log_in_to_scramp(runtime, tls, (PASSWORD, PASSWORD), how, "") else { return };
            assert_logged_in(&session, mechanism);
            // Without a binding, in spite of the offer, it wants none.
            let flag = if mechanism.ends_with("-PLUS") { "p=tls-exporter" } else { "n" };
            assert_eq!(session.peer["flag"], flag, "{mechanism}: {}", session.peer);
        }
    }
}

fn send_prefers_channel_binding_where_it_is_offered(runtime: &str) {
    let how = ("SCRAM-SHA-256-PLUS", &ALL[..], false);
    let Some(session) = log_in_to_scramp(runtime, Tls::StartTls, (PASSWORD, PASSWORD), how, "") else { return };
    assert_logged_in(&session, "SCRAM-SHA-256-PLUS");
}

/// So that a server from whose offer somebody took -PLUS can tell
/// (RFC 5802 section 6).
fn send_says_that_it_could_bind_where_that_is_not_offered(runtime: &str) {
    for mechanism in PLAIN {
        let how = (mechanism, &[mechanism][..], false);
        let Some(session) = log_in_to_scramp(runtime, Tls::StartTls, (PASSWORD, PASSWORD), how, "") else { return };
        assert_logged_in(&session, mechanism);
        assert_eq!(session.peer["flag"], "y", "{mechanism}: {}", session.peer);
    }
}

fn send_prepares_passwords_as_saslprep_says(runtime: &str) {
    for passwords in [(UNPREPARED, PREPARED), (PREPARED, UNPREPARED)] {
        let how = ("SCRAM-SHA-256", &PLAIN[..], true);
        let Some(session) = log_in_to_scramp(runtime, Tls::Implicit, passwords, how, "") else { return };
        assert_logged_in(&session, "SCRAM-SHA-256");
    }
}

/// Checks that `send` sends nothing to a scramp with this fault, and says one
/// of these words.
fn refused_by_send(runtime: &str, used: &str, fault: &str, words: &[&str]) {
    for mechanism in [PLAIN[0], PLUS[1]] {
        let how = (mechanism, &ALL[..], true);
        let Some(Session { sent, exit, peer }) = log_in_to_scramp(runtime, Tls::StartTls, (PASSWORD, used), how, fault)
        else {
            return;
        };
        assert_eq!((&sent["outcome"], exit), (&json!("refused"), Some(77)), "{mechanism}: {sent}; {peer}");
        let error = error_in(&sent);
        assert!(words.iter().any(|word| error.contains(word)), "{mechanism}: none of {words:?} in {error:?}");
        assert_eq!((&peer["accepted"], &peer["sha256"]), (&json!(false), &Value::Null), "{mechanism}: {peer}");
    }
}

fn send_refuses_a_server_that_does_not_know_the_password(runtime: &str) {
    refused_by_send(runtime, PASSWORD, "signature", &["proof", "is wrong"]);
}

fn send_refuses_a_server_that_lets_it_in_without_proof(runtime: &str) {
    refused_by_send(runtime, PASSWORD, "unproven", &["without proving"]);
}

fn send_refuses_the_nonce_of_another_exchange(runtime: &str) {
    refused_by_send(runtime, PASSWORD, "nonce", &["nonce"]);
}

fn send_refuses_too_few_iterations(runtime: &str) {
    refused_by_send(runtime, PASSWORD, "iterations=100", &["100 iterations"]);
}

/// Each would cost the client seconds of work.
fn send_refuses_absurdly_many_iterations(runtime: &str) {
    refused_by_send(runtime, PASSWORD, "iterations=10000000", &["10000000 iterations"]);
}

fn send_says_that_the_password_is_wrong(runtime: &str) {
    refused_by_send(runtime, WRONG_PASSWORD, "", &["535", "password"]);
}
