//! Delivery to mail exchangers, without a relay.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use smtp_proto::adapter::{Error, sending};
use smtp_proto::client::{Envelope, RecipientOutcome};
use smtp_proto::delivery::{NoMailExchanger, Policies};
use smtp_proto::{Error as SessionError, Phase, Unsendable};
use smtp_tests::mailer::Mailer;
use smtp_tests::runtime::Runtime;

use super::connecting::nobody;
use super::support::{Heard, PATIENCE, Raw, Server, client_config, peer, server_config};

/// What there is in the world.
#[derive(Clone, Default)]
struct World {
    /// Domains, and hosts by preference.
    exchangers: BTreeMap<&'static str, Vec<(u16, &'static str)>>,
    hosts: BTreeMap<&'static str, SocketAddr>,
}

impl smtp_blocking::Resolver for World {
    fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        if domain == "nobody-knows.test" {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let records = self.exchangers.get(domain).cloned().unwrap_or_default();
        Ok(records.into_iter().map(|(preference, host)| (preference, host.to_owned())).collect())
    }

    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(port, 25);
        Ok(self.hosts.get(host).copied().into_iter().collect())
    }
}

impl sending::Resolver for World {
    async fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        smtp_blocking::Resolver::mail_exchangers(self, domain)
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        smtp_blocking::Resolver::addresses(self, host, port)
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn policies(attempts: u32) -> Policies {
    let mut policies = Policies::default();
    (policies.retry.attempts, policies.retry.first_delay) = (attempts, Duration::from_millis(1));
    policies
}

fn each_domain_gets_its_copy_at_the_first_host_that_takes_it(runtime: Runtime) {
    let (good, other) = (Server::start(runtime), Server::start(runtime));
    let (_held, dead) = nobody();
    let (busy, busy_thread) = peer(|raw| raw.say("421 4.3.2 Too busy\r\n"));
    let (closed, closed_thread) = peer(|mut raw| {
        raw.say("554 5.3.2 No mail here\r\n");
        raw.drain();
    });
    let world = World {
        exchangers: BTreeMap::from([
            ("a.test", vec![(30, "good.test"), (10, "dead.test"), (20, "busy.test"), (15, "nameless.test")]),
            ("null.test", vec![(0, ".")]),
            ("loop.test", vec![(10, "client.example.org"), (20, "good.test")]),
            ("final.test", vec![(10, "closed.test"), (20, "good.test")]),
            ("nameless.test", vec![(10, "no-address.test")]),
        ]),
        hosts: BTreeMap::from([
            ("good.test", good.address().parse().unwrap()),
            ("b.test", other.address().parse().unwrap()),
            ("dead.test", local(dead)),
            ("busy.test", busy.parse().unwrap()),
            ("closed.test", closed.parse().unwrap()),
        ]),
    };
    let mailer = Mailer::direct(runtime, client_config(), world, policies(1)).unwrap();
    let to = [
        "one@a.test",
        "two@b.test",
        "three@A.test",
        "four@null.test",
        "five@loop.test",
        "six@final.test",
        "seven@nameless.test",
        "eight@unknown.test",
        "nine@nobody-knows.test",
        "refused@a.test",
        "postmaster",
    ];
    let report = mailer.send(Envelope::new("jane@example.org", to).unwrap(), "Subject: Hi\r\n").unwrap();
    let told: Vec<String> = report.outcome.recipients.iter().map(ToString::to_string).collect();
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let refused = |problem: NoMailExchanger| format!("refused while giving a recipient (RCPT): {}", problem.reply());
    let (null, back, no_address) =
        (refused(NoMailExchanger::NullMx), refused(NoMailExchanger::Loop), refused(NoMailExchanger::NoAddress));
    assert_eq!(
        told,
        [
            "accepted: 250 2.1.5 Recipient OK",
            "accepted: 250 2.1.5 Recipient OK",
            "accepted: 250 2.1.5 Recipient OK",
            &null,
            &back,
            "failed: the server refused the session while waiting for the greeting: 554 5.3.2 No mail here",
            &no_address,
            &no_address,
            "failed: not sent: there was no connection to the server",
            "refused while giving a recipient (RCPT): 550 5.1.1 No such user here",
            &no_address,
        ]
    );
    assert!(report.outcome.recipients[8].is_transient());
    assert!(report.outcome.recipients[3..8].iter().all(|outcome| !outcome.is_transient()));
    assert_eq!(mailer.health().connections, 2);
    mailer.close();
    for (server, recipients) in [(good, &["one@a.test", "three@A.test"][..]), (other, &["two@b.test"])] {
        let messages: Vec<_> = server
            .stop()
            .into_iter()
            .filter_map(|(_, heard)| match heard {
                Heard::Message(message) => Some(message.recipients),
                _ => None,
            })
            .collect();
        assert_eq!(messages, [recipients]);
    }
    busy_thread.join().unwrap();
    closed_thread.join().unwrap();
}

fn a_domain_that_nobody_takes_is_told_with_the_last_reason(runtime: Runtime) {
    let (_held, dead) = nobody();
    let world = World {
        exchangers: BTreeMap::from([("a.test", vec![(10, "one.test"), (20, "two.test")])]),
        hosts: BTreeMap::from([("one.test", local(dead)), ("two.test", local(dead))]),
    };
    let mailer = Mailer::direct(runtime, client_config(), world, policies(2)).unwrap();
    match mailer.send(Envelope::new("jane@example.org", ["joe@a.test"]).unwrap(), "Subject: Hi\r\n") {
        Err(Error::Connect { server, .. }) => assert_eq!(server, "two.test:25"),
        other => panic!("{other:?}"),
    }
    assert_eq!(mailer.health().retried, 1);
    mailer.close();
}

/// The next host is the business of the next attempt when a session fails that had begun.
fn who_has_the_message_does_not_get_it_again(runtime: Runtime) {
    let good = Server::with(runtime, server_config());
    let (cut, thread) = peer(|mut raw| {
        raw.go_ahead();
        while raw.line().unwrap() != "." {}
    });
    let world = World {
        exchangers: BTreeMap::from([("a.test", vec![(10, "cut.test"), (20, "good.test")])]),
        hosts: BTreeMap::from([("cut.test", cut.parse().unwrap()), ("good.test", good.address().parse().unwrap())]),
    };
    let mailer = Mailer::direct(runtime, client_config(), world, policies(3)).unwrap();
    let report = mailer.send(Envelope::new("jane@example.org", ["joe@a.test"]).unwrap(), "Subject: Hi\r\n").unwrap();
    let unknown = RecipientOutcome::Unknown(SessionError::Disconnected { phase: Phase::EndOfData });
    assert_eq!((report.outcome.recipients, report.attempts), (vec![unknown], 1));
    mailer.close();
    thread.join().unwrap();
    assert_eq!(good.stop(), []);
}

/// The first domain's host says nothing before the second's has the message.
fn a_domain_that_takes_its_time_holds_no_other_up(runtime: Runtime) {
    if runtime == Runtime::Blocking {
        // One after the other, as its documentation says.
        return;
    }
    let (taken, is_taken) = mpsc::channel();
    let take = |mut raw: Raw| {
        raw.go_ahead();
        while raw.line().unwrap() != "." {}
        raw.say("250 2.0.0 Taken\r\n");
        raw.answer("221 2.0.0 Bye");
    };
    let (slow, slow_thread) = peer(move |raw| {
        is_taken.recv_timeout(PATIENCE).unwrap();
        take(raw);
    });
    let (quick, quick_thread) = peer(move |raw| {
        take(raw);
        taken.send(()).unwrap();
    });
    let world = World {
        exchangers: BTreeMap::new(),
        hosts: BTreeMap::from([("a.test", slow.parse().unwrap()), ("b.test", quick.parse().unwrap())]),
    };
    let mailer = Mailer::direct(runtime, client_config(), world, policies(1)).unwrap();
    let to = ["joe@a.test", "joe@b.test"];
    let report = mailer.send(Envelope::new("jane@example.org", to).unwrap(), "Subject: Hi\r\n").unwrap();
    assert!(report.outcome.is_delivered(), "{report:?}");
    slow_thread.join().unwrap();
    quick_thread.join().unwrap();
    mailer.close();
}

/// The mailer closes while one domain's host has the message, and the other's turn has not come.
fn what_one_domain_took_is_told_though_the_mailer_closes(runtime: Runtime) {
    let (server, thread) = peer(|mut raw| {
        raw.go_ahead();
        while raw.line().unwrap() != "." {}
        raw
    });
    let host = server.parse().unwrap();
    let world = World { exchangers: BTreeMap::new(), hosts: BTreeMap::from([("a.test", host), ("b.test", host)]) };
    let mut policies = policies(3);
    policies.pool.connections = 1;
    let mailer = Mailer::direct(runtime, client_config(), world, policies).unwrap();
    let to = |to: &[&str]| Envelope::new("jane@example.org", to).unwrap();
    let sending = {
        let (mailer, envelope) = (mailer.clone(), to(&["joe@a.test", "joe@b.test"]));
        thread::spawn(move || mailer.send(envelope, "Subject: Hi\r\n"))
    };
    let mut raw = thread.join().unwrap();
    let waiting = {
        let (mailer, envelope) = (mailer.clone(), to(&["jim@a.test"]));
        thread::spawn(move || mailer.send(envelope, "Subject: Hi\r\n"))
    };
    let closing = {
        let mailer = mailer.clone();
        thread::spawn(move || mailer.close())
    };
    assert!(matches!(waiting.join().unwrap(), Err(Error::MailerClosed)));
    raw.say("250 2.0.0 Taken\r\n");
    raw.answer("221 2.0.0 Bye");
    let report = sending.join().unwrap().unwrap();
    closing.join().unwrap();
    assert!(report.outcome.recipients[0].is_accepted(), "{report:?}");
    let cancelled = RecipientOutcome::Failed(SessionError::Unsendable(Unsendable::Cancelled));
    assert_eq!((&report.outcome.recipients[1], report.attempts), (&cancelled, 1));
    assert_eq!(mailer.health().retried, 0);
}

on_each_runtime!(
    a_domain_that_takes_its_time_holds_no_other_up,
    what_one_domain_took_is_told_though_the_mailer_closes,
    each_domain_gets_its_copy_at_the_first_host_that_takes_it,
    a_domain_that_nobody_takes_is_told_with_the_last_reason,
    who_has_the_message_does_not_get_it_again,
);
