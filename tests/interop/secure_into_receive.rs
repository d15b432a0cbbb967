//! Peers that log in to `receive` over TLS and deliver.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::support::messages::{Message, RECIPIENTS, SENDER};
use crate::support::peers;
use crate::support::postfix::{Additions, Postfix, received_field};
use crate::support::process::{Finished, run};
use crate::support::secure::{PASSWORD, Tls, USER, WRONG_PASSWORD, accepted, log_ins, start_receive};
use crate::support::tools::{send, sessions, text, texts};

on_each_runtime!(
    swaks_logs_in_over_tls_and_delivers,
    swaks_with_a_wrong_password_is_refused,
    msmtp_logs_in_over_tls_and_delivers,
    msmtp_with_a_wrong_password_is_refused,
    curl_logs_in_over_tls_and_delivers,
    curl_with_a_wrong_password_is_refused,
    curl_with_tls_1_2_logs_in_and_delivers,
    smtplib_logs_in_over_tls_and_delivers,
    smtplib_with_a_wrong_password_is_refused,
    ruby_logs_in_over_tls_and_delivers,
    nodemailer_logs_in_over_tls_and_delivers,
    perl_logs_in_over_tls_and_delivers,
    gsasl_logs_in_with_channel_binding,
    postfix_logs_in_over_tls_and_relays,
);

/// What every peer but the SCRAM ones knows.
const COMMON: [&str; 3] = ["PLAIN", "LOGIN", "CRAM-MD5"];

/// One run of a peer.
struct Attempt<'a> {
    server: SocketAddr,
    tls: Tls,
    authority: PathBuf,
    mechanism: &'a str,
    password: &'a str,
    message: &'static Message,
    folder: TempDir,
}

impl Attempt<'_> {
    /// The options of the scripts.
    fn options(&self) -> String {
        json!({
            "tls": self.tls.name(),
            "ca": self.authority,
            "mechanism": self.mechanism,
            "user": USER,
            "password": self.password,
        })
        .to_string()
    }

    /// Runs a script: server, message, sender and recipients are its
    /// arguments.
    fn run_script(&self, command: &mut Command) -> Finished {
        run(
            command
                .env("PEER_OPTIONS", self.options())
                .args([self.server.ip().to_string(), self.server.port().to_string()])
                .arg(self.message.write_to(self.folder.path(), b""))
                .arg(SENDER)
                .args(RECIPIENTS),
            Stdio::null(),
        )
    }
}

/// Lets a peer log in with each mechanism, over STARTTLS and over TLS from the
/// start, and deliver a message each.
fn deliver_all(runtime: &str, mechanisms: &[&str], peer: impl Fn(&Attempt<'_>) -> Finished) {
    deliver(runtime, mechanisms, "TLSv1.3", peer);
}

fn deliver(runtime: &str, mechanisms: &[&str], version: &str, peer: impl Fn(&Attempt<'_>) -> Finished) {
    let certificates = Certificates::new();
    for tls in Tls::ALL {
        let mut receive = start_receive(runtime, tls, &certificates, PASSWORD, mechanisms);
        for (&mechanism, message) in mechanisms.iter().zip(tls.messages()) {
            peer(&Attempt {
                server: receive.address(),
                tls,
                authority: certificates.authority(),
                mechanism,
                password: PASSWORD,
                message,
                folder: TempDir::new().expect("a folder"),
            })
            .expect_success();
            let event = receive.next_message();
            assert_eq!(event["tls"], version, "{tls:?} {mechanism}: {event}");
            assert_eq!(event["user"], USER, "{tls:?} {mechanism}: {event}");
            assert_eq!(text(&event, "reverse_path"), SENDER);
            assert_eq!(texts(&event, "recipients"), RECIPIENTS);
            message.assert_same(&receive.stored(&event));
            assert_eq!(text(&event, "sha256"), message.sha256);
        }
        let events = receive.stop();
        let expected: Vec<_> = mechanisms.iter().map(|mechanism| accepted(mechanism)).collect();
        assert_eq!(log_ins(&events), expected, "{tls:?}");
        assert_eq!(sessions(&events, "message").len(), mechanisms.len());
    }
}

/// Lets a peer try each mechanism with a wrong password. `told` looks for the
/// reply in what the peer printed.
fn refuse_all(
    runtime: &str,
    mechanisms: &[&str],
    peer: impl Fn(&Attempt<'_>) -> Finished,
    told: impl Fn(&Finished) -> bool,
) {
    let certificates = Certificates::new();
    let tls = Tls::StartTls;
    let receive = start_receive(runtime, tls, &certificates, PASSWORD, mechanisms);
    for (&mechanism, message) in mechanisms.iter().zip(tls.messages().skip(2)) {
        let finished = peer(&Attempt {
            server: receive.address(),
            tls,
            authority: certificates.authority(),
            mechanism,
            password: WRONG_PASSWORD,
            message,
            folder: TempDir::new().expect("a folder"),
        });
        let printed = format!("{mechanism}: {}\n{}", finished.stdout.join("\n"), finished.stderr);
        assert!(!finished.status.success(), "{printed}");
        assert!(told(&finished), "{printed}");
    }
    let events = receive.stop();
    let refused: Vec<_> = log_ins(&events).into_iter().map(|(mechanism, _, accepted)| (mechanism, accepted)).collect();
    let expected: Vec<_> = mechanisms.iter().map(|&mechanism| (mechanism.to_owned(), false)).collect();
    assert_eq!(refused, expected);
    assert!(sessions(&events, "message").is_empty());
}

fn swaks_logs_in_over_tls_and_delivers(runtime: &str) {
    let Some(swaks) = secure_swaks() else { return };
    deliver_all(runtime, &COMMON, |attempt| run_swaks(&swaks, attempt));
}

fn swaks_with_a_wrong_password_is_refused(runtime: &str) {
    let Some(swaks) = secure_swaks() else { return };
    refuse_all(
        runtime,
        &COMMON,
        |attempt| run_swaks(&swaks, attempt),
        // It marks refusals of what it said under TLS with <~*.
        |finished| finished.stdout.iter().any(|line| line.starts_with("<~* 535 5.7.8 ")),
    );
}

fn secure_swaks() -> Option<PathBuf> {
    // swaks itself only recommends these.
    peers::perl(&["Net::SSLeay", "Digest::MD5"], "Debian package libnet-ssleay-perl")?;
    peers::program("swaks", "Debian package swaks")
}

fn run_swaks(swaks: &Path, attempt: &Attempt<'_>) -> Finished {
    // The final dot: see the test without TLS.
    let file = attempt.message.write_to(attempt.folder.path(), b".\r\n");
    run(
        Command::new(swaks)
            .env("HOME", attempt.folder.path())
            .args(["--server", &attempt.server.to_string(), "--helo", "swaks.example"])
            .arg(match attempt.tls {
                Tls::StartTls => "--tls",
                Tls::Implicit => "--tls-on-connect",
            })
            .arg("--tls-verify")
            .arg("--tls-ca-path")
            .arg(&attempt.authority)
            .args(["--auth", attempt.mechanism, "--auth-user", USER, "--auth-password", attempt.password])
            .args(["--from", SENDER, "--to", &RECIPIENTS.join(",")])
            .args(["--data", &format!("@{}", file.display())])
            .args(["--silent", "2"]),
        Stdio::null(),
    )
}

/// msmtp is built with GNU SASL, which also has SCRAM.
const MSMTP: [&str; 5] = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];

fn msmtp_logs_in_over_tls_and_delivers(runtime: &str) {
    let Some(msmtp) = peers::program("msmtp", "Debian package msmtp") else { return };
    deliver_all(runtime, &MSMTP, |attempt| run_msmtp(&msmtp, attempt));
}

fn msmtp_with_a_wrong_password_is_refused(runtime: &str) {
    let Some(msmtp) = peers::program("msmtp", "Debian package msmtp") else { return };
    refuse_all(
        runtime,
        &MSMTP,
        |attempt| run_msmtp(&msmtp, attempt),
        |finished| finished.stderr.contains("server message: 535 5.7.8 "),
    );
}

fn run_msmtp(msmtp: &Path, attempt: &Attempt<'_>) -> Finished {
    // msmtp is written to be called as sendmail: it expects LF line ends.
    let file = attempt.message.write_with_lf(attempt.folder.path());
    run(
        Command::new(msmtp)
            .args(["--host", &attempt.server.ip().to_string()])
            .args(["--port", &attempt.server.port().to_string()])
            .args(["--domain=msmtp.example", "--tls=on"])
            .arg(match attempt.tls {
                Tls::StartTls => "--tls-starttls=on",
                Tls::Implicit => "--tls-starttls=off",
            })
            .arg(format!("--tls-trust-file={}", attempt.authority.display()))
            .arg(format!("--auth={}", attempt.mechanism.to_lowercase()))
            .arg(format!("--user={USER}"))
            .arg(format!("--passwordeval=echo {}", attempt.password))
            .args(["--from", SENDER, "--"])
            .args(RECIPIENTS),
        File::open(&file).expect("the message").into(),
    )
}

fn curl_logs_in_over_tls_and_delivers(runtime: &str) {
    let Some(curl) = peers::program("curl", "Debian package curl") else { return };
    deliver_all(runtime, &COMMON, |attempt| run_curl(&curl, attempt, &["--tlsv1.3"]));
}

fn curl_with_tls_1_2_logs_in_and_delivers(runtime: &str) {
    let Some(curl) = peers::program("curl", "Debian package curl") else { return };
    deliver(runtime, &["PLAIN"], "TLSv1.2", |attempt| run_curl(&curl, attempt, &["--tls-max", "1.2"]));
}

fn curl_with_a_wrong_password_is_refused(runtime: &str) {
    let Some(curl) = peers::program("curl", "Debian package curl") else { return };
    refuse_all(
        runtime,
        &COMMON,
        |attempt| run_curl(&curl, attempt, &["--verbose"]),
        |finished| finished.stderr.contains("\n< 535 5.7.8 "),
    );
}

fn run_curl(curl: &Path, attempt: &Attempt<'_>, options: &[&str]) -> Finished {
    let file = attempt.message.write_to(attempt.folder.path(), b"");
    let scheme = match attempt.tls {
        Tls::StartTls => "smtp",
        Tls::Implicit => "smtps",
    };
    run(
        // -q first: no configuration file.
        Command::new(curl)
            .args(["-q", "--silent", "--show-error", "--noproxy", "*", "--ssl-reqd", "--cacert"])
            .arg(&attempt.authority)
            .args(options)
            .args(["--user", &format!("{USER}:{}", attempt.password)])
            .args(["--login-options", &format!("AUTH={}", attempt.mechanism)])
            // The path is the name for EHLO.
            .arg(format!("{scheme}://{}/curl.example", attempt.server))
            .args(["--mail-from", SENDER])
            .args(RECIPIENTS.iter().flat_map(|address| ["--mail-rcpt", address]))
            .arg("--upload-file")
            .arg(file),
        Stdio::null(),
    )
}

fn smtplib_logs_in_over_tls_and_delivers(runtime: &str) {
    let Some(python) = peers::python("smtplib, ssl", "Debian package python3") else { return };
    deliver_all(runtime, &COMMON, |attempt| {
        let sent = run_smtplib(&python, attempt);
        assert_eq!(sent.stdout, ["{}"], "{}", sent.stderr);
        sent
    });
}

fn smtplib_with_a_wrong_password_is_refused(runtime: &str) {
    let Some(python) = peers::python("smtplib, ssl", "Debian package python3") else { return };
    refuse_all(
        runtime,
        &COMMON,
        |attempt| run_smtplib(&python, attempt),
        |finished| finished.stdout.iter().any(|line| line.starts_with(r#"{"refused": [535, "5.7.8 "#)),
    );
}

fn run_smtplib(python: &Path, attempt: &Attempt<'_>) -> Finished {
    attempt.run_script(Command::new(python).args(["-c", include_str!("smtplib_peer.py")]))
}

fn ruby_logs_in_over_tls_and_delivers(runtime: &str) {
    let Some(ruby) = peers::ruby(&["net/smtp", "openssl"], "Debian package ruby") else { return };
    deliver_all(runtime, &COMMON, |attempt| {
        attempt.run_script(Command::new(&ruby).args(["-e", include_str!("net_smtp_peer.rb"), "--"]))
    });
}

fn nodemailer_logs_in_over_tls_and_delivers(runtime: &str) {
    let Some((node, modules)) = peers::node("nodemailer") else { return };
    deliver_all(runtime, &COMMON, |attempt| {
        attempt.run_script(Command::new(&node).env("NODE_PATH", &modules).args([
            "-e",
            include_str!("nodemailer_peer.js"),
            "--",
        ]))
    });
}

fn perl_logs_in_over_tls_and_delivers(runtime: &str) {
    let modules = ["Net::SMTP", "IO::Socket::SSL", "Authen::SASL", "Digest::HMAC_MD5"];
    let packages = "Debian packages libio-socket-ssl-perl, libauthen-sasl-perl, libdigest-hmac-perl";
    let Some(perl) = peers::perl(&modules, packages) else { return };
    deliver_all(runtime, &COMMON, |attempt| {
        attempt.run_script(Command::new(&perl).args(["-e", include_str!("net_smtp_peer.pl"), "--"]))
    });
}

/// The program of GNU SASL logs in and leaves. It knows tls-exporter, and
/// sends nothing of TLS but after STARTTLS.
fn gsasl_logs_in_with_channel_binding(runtime: &str) {
    let mechanisms = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"];
    let Some(gsasl) = peers::program("gsasl", "Debian package gsasl") else { return };
    let certificates = Certificates::new();
    let receive = start_receive(runtime, Tls::StartTls, &certificates, PASSWORD, &mechanisms);
    for mechanism in mechanisms {
        run(
            Command::new(&gsasl)
                .arg(format!("--connect={}", receive.address()))
                .args(["--smtp", "--starttls", "--hostname=127.0.0.1"])
                .arg(format!("--x509-ca-file={}", certificates.authority().display()))
                .args(["--mechanism", mechanism, "--authentication-id", USER, "--password", PASSWORD]),
            Stdio::null(),
        )
        .expect_success();
    }
    assert_eq!(log_ins(&receive.stop()), mechanisms.map(accepted));
}

/// Postfix gets a message without TLS and relays it with; as a client of Cyrus
/// SASL it has SCRAM too.
fn postfix_logs_in_over_tls_and_relays(runtime: &str) {
    let certificates = Certificates::new();
    for (tls, mechanism) in [(Tls::StartTls, "SCRAM-SHA-256"), (Tls::Implicit, "CRAM-MD5")] {
        let mut receive = start_receive(runtime, tls, &certificates, PASSWORD, &[mechanism]);
        let relay = receive.address();
        let Some(postfix) = Postfix::start(relay, &RECIPIENTS, |_| Additions {
            main: format!(
                "smtp_tls_security_level = verify\n\
                 smtp_tls_wrappermode = {}\n\
                 smtp_tls_CAfile = {}\n\
                 smtp_tls_verify_cert_match = localhost\n\
                 smtp_sasl_auth_enable = yes\n\
                 smtp_sasl_security_options = noanonymous\n\
                 smtp_sasl_mechanism_filter = {mechanism}\n\
                 smtp_sasl_password_maps = inline:{{ {{[{}]:{}={USER}:{PASSWORD}}} }}\n",
                if tls == Tls::Implicit { "yes" } else { "no" },
                certificates.authority().display(),
                relay.ip(),
                relay.port(),
            ),
            implicit: false,
        }) else {
            return;
        };
        let message = tls.messages().nth(1).expect("a message");
        let folder = TempDir::new().expect("a folder");
        let file = message.write_to(folder.path(), b"");
        let mut arguments = vec!["--from", SENDER, "--file", file.to_str().expect("a plain name")];
        arguments.extend(RECIPIENTS.iter().flat_map(|recipient| ["--to", recipient]));
        send(runtime, postfix.address, arguments).expect_success();

        let event = receive.next_message();
        assert_eq!(event["tls"], "TLSv1.3", "{tls:?} {mechanism}: {event}");
        assert_eq!(event["user"], USER, "{tls:?} {mechanism}: {event}");
        let content = receive.stored(&event);
        message.assert_same(&content[received_field(&content)..]);
        drop(postfix);
        assert_eq!(log_ins(&receive.stop()), [accepted(mechanism)]);
    }
}
