//! Our own clients, as processes like all others: this program started again.

use std::process::Command;

use bytes::Bytes;
use smtp_proto::client::{Envelope, Outcome};
use smtp_tests::in_clear;
use smtp_tests::mailer::Mailer;
use smtp_tests::runtime::{Connecting, Runtime, connect};

use super::clients::{Client, Job, SENDER, content, recipients, succeed};

/// The first argument of such a process.
pub(crate) const ARGUMENT: &str = "--client";

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// `send_all`.
    All,
    /// One `send` after the other.
    OneByOne,
    /// `send_all` of a mailer with one connection.
    Mailer,
    /// `send_all`, with LMTP.
    Lmtp,
}

impl How {
    pub(crate) const ALL: [Self; 4] = [Self::All, Self::OneByOne, Self::Mailer, Self::Lmtp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "send_all",
            Self::OneByOne => "send",
            Self::Mailer => "Mailer",
            Self::Lmtp => "send_all, LMTP",
        }
    }
}

pub(crate) fn client(runtime: Runtime, how: How) -> Client {
    Client::new(&format!("smtp-{}, {}", runtime.name(), how.name()), move |job| {
        succeed(&mut command(runtime, how, job));
    })
}

fn command(runtime: Runtime, how: How, job: &Job) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([ARGUMENT, runtime.name(), how.name()]).args(job.arguments());
    command
}

/// What such a process does.
pub(crate) fn send(arguments: &[String]) {
    let [runtime, how, port, numbers @ ..] = arguments else { panic!("arguments are missing") };
    let runtime: Runtime = runtime.parse().unwrap();
    let how = How::ALL.into_iter().find(|known| known.name() == how).unwrap();
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let [messages, count, octets] = numbers.as_slice() else { panic!("numbers are missing") };
    let (envelope, content) = (Envelope::new(SENDER, recipients(*count)).unwrap(), Bytes::from(content(*octets)));
    let mut all = (0..*messages).map(|_| (envelope.clone(), content.clone()));
    let outcomes: Vec<Outcome> = if how == How::Mailer {
        let mailer = Mailer::from_url(runtime, &format!("smtp://127.0.0.1:{port}?tls=none&connections=1")).unwrap();
        let outcomes = mailer.send_all(all).map(|(_, report)| report.unwrap().outcome).collect();
        mailer.close();
        outcomes
    } else {
        let mut config = in_clear("client.example.org");
        config.lmtp = how == How::Lmtp;
        let mut client = connect(runtime, &format!("127.0.0.1:{port}"), config, Connecting::default()).unwrap();
        let outcomes = match how {
            How::OneByOne => all.map(|(envelope, content)| client.send(envelope, content).unwrap()).collect(),
            _ => client.send_all(&mut all).into_iter().map(Result::unwrap).collect(),
        };
        client.quit().unwrap();
        outcomes
    };
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_delivered()).count(), *messages);
}
