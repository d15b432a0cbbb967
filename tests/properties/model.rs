//! A model of the server in few words, and the server against it on random commands (P11).

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use smtp_proto::server::{Config, Decision, Event, Server, Transaction};
use smtp_proto::wire::Reply;
use smtp_proto::{Instant, Machine, Step};
use smtp_tests::pair::Numbers;

/// What a server must do, in as few words as possible: the codes of its replies.
#[derive(Default)]
struct Model {
    lmtp: bool,
    hello: bool,
    mail: bool,
    recipients: usize,
    chunks: bool,
    /// The fate of the message that is coming in chunks.
    content: String,
    /// What became of a message of which more chunks may come, and for how many recipients.
    lost: Option<(u16, usize)>,
}

impl Model {
    /// The one way a transaction ends (H-ST-1).
    fn reset(&mut self) {
        *self = Self { lmtp: self.lmtp, hello: self.hello, ..Self::default() };
    }

    fn reply(&mut self, command: &str) -> Vec<u16> {
        if command != "NOOP" {
            self.lost = None;
        }
        let recipient = self.mail && !self.chunks;
        let code = match command {
            "EHLO a" if self.lmtp => 500,
            "LHLO a" if !self.lmtp => 500,
            "EHLO a" | "LHLO a" => {
                self.reset();
                self.hello = true;
                250
            }
            "RSET" => {
                self.reset();
                250
            }
            "MAIL FROM:<>" if self.hello && !self.mail => {
                self.mail = true;
                250
            }
            "RCPT TO:<b@b.test>" if recipient => {
                self.recipients += 1;
                250
            }
            "RCPT TO:<no@b.test>" if recipient => 550,
            "RCPT TO:<later@b.test>" if recipient => 450,
            "DATA" if self.mail && self.recipients == 0 && self.lmtp => 503,
            "DATA" if self.mail && self.recipients == 0 => {
                self.reset();
                554
            }
            "DATA" if self.mail && !self.chunks && refused(self.recipients) => {
                self.reset();
                452
            }
            "DATA" if self.mail && !self.chunks => 354,
            "NOOP" => 250,
            "JUNK" => 500,
            _ => 503,
        };
        vec![code]
    }

    fn chunk(&mut self, content: &str, last: bool) -> Vec<u16> {
        if let Some((code, recipients)) = self.lost.filter(|_| !self.mail) {
            self.lost = self.lost.filter(|_| !last);
            return vec![code; if self.lmtp && last { recipients } else { 1 }];
        }
        match (self.mail, self.recipients) {
            (false, _) => {
                self.lost = Some((503, 1)).filter(|_| !last);
                return vec![503];
            }
            (true, 0) => {
                self.reset();
                let code = if self.lmtp { 503 } else { 554 };
                self.lost = Some((code, 1)).filter(|_| !last);
                return vec![code];
            }
            (true, recipients) if !self.chunks && refused(recipients) => self.content = "refused".to_owned(),
            _ => self.content.push_str(content),
        }
        self.chunks = true;
        if last || self.content.contains("a\nb") || self.content == "refused" {
            return self.end(last);
        }
        vec![250]
    }

    /// The end of a message, or of the chunk that spoilt it.
    fn end(&mut self, last: bool) -> Vec<u16> {
        let count = if self.lmtp && last { self.recipients } else { 1 };
        let code = |index: usize| match &self.content {
            content if content == "refused" => 452,
            content if content.contains("a\nb") => 554,
            content if content.contains("each") && self.lmtp => [250, 452][index % 2],
            content if content.contains("spam") => 550,
            _ => 250,
        };
        let codes: Vec<u16> = (0..count).map(code).collect();
        let lost = codes.first().map(|code| (*code, self.recipients));
        self.reset();
        self.lost = lost.filter(|_| !last);
        codes
    }
}

/// Whether the application refuses a message to so many recipients before it comes.
fn refused(recipients: usize) -> bool {
    recipients % 4 == 3
}

const COMMANDS: [&str; 12] = [
    "EHLO a",
    "LHLO a",
    "RSET",
    "MAIL FROM:<>",
    "MAIL FROM:<>",
    "RCPT TO:<b@b.test>",
    "RCPT TO:<b@b.test>",
    "RCPT TO:<no@b.test>",
    "RCPT TO:<later@b.test>",
    "DATA",
    "NOOP",
    "JUNK",
];

/// Good, refused at the end, refused for some, refused for its line ends; and what looks like the end of a message.
const CONTENTS: [&str; 6] = ["x\r\n", "spam\r\n", "each\r\n", "a\nb\r\n", "\r\n.\r\nRSET\r\n", ""];

/// The server with an application that decides by what it is told, about recipients in any order.
struct Side {
    server: Server,
    rx: BytesMut,
    content: Vec<u8>,
    lmtp: bool,
}

impl Side {
    /// Lets it work off what is there; gives the codes of its replies.
    fn codes(&mut self, numbers: &mut Numbers) -> Vec<u16> {
        let mut text = Vec::new();
        loop {
            match self.server.step(Instant::default(), &mut self.rx).unwrap() {
                Step::Event(event) => self.happened(&event, numbers),
                Step::Write => {
                    let count = self.server.output().remaining();
                    text.extend(self.server.output().copy_to_bytes(count));
                }
                Step::Read => break,
                step => panic!("{step:?}"),
            }
        }
        let text = String::from_utf8(text).unwrap();
        let last_lines = text.lines().filter(|line| line.as_bytes()[3] == b' ');
        last_lines.map(|line| line[..3].parse().unwrap()).collect()
    }

    fn happened(&mut self, event: &Event, numbers: &mut Numbers) {
        match event {
            Event::Recipients(recipients) => {
                let mut undecided: Vec<_> = recipients.iter().collect();
                while !undecided.is_empty() {
                    let recipient = undecided.swap_remove(numbers.below(undecided.len()));
                    let decision = match recipient.forward_path.to_string().as_str() {
                        "no@b.test" => Reply::from_static("550 5.1.1 No such user").into(),
                        "later@b.test" => Reply::from_static("450 4.2.1 Later").into(),
                        _ => Decision::Accept,
                    };
                    self.server.decide_recipient(recipient.index, decision).unwrap();
                }
            }
            Event::Mail(_) => {
                self.content.clear();
                self.server.decide(Decision::Accept).unwrap();
            }
            Event::Data => {
                let recipients = self.server.session().transaction().map_or(0, Transaction::recipients);
                let refusal = Reply::from_static("452 4.3.1 Not now").into();
                let decision = if refused(recipients as usize) { refusal } else { Decision::Accept };
                self.server.decide(decision).unwrap();
            }
            Event::Body(piece) => self.content.extend_from_slice(piece),
            Event::MessageEnd { .. } => {
                let content = String::from_utf8_lossy(&self.content).into_owned();
                let full: Decision = Reply::from_static("452 4.2.2 Full").into();
                let recipients = self.server.session().transaction().map_or(0, Transaction::recipients);
                let each = (0..recipients).map(|index| if index % 2 == 0 { Decision::Accept } else { full.clone() });
                self.server
                    .decide(match () {
                        () if content.contains("each") && self.lmtp => Decision::Each(each.collect()),
                        () if content.contains("spam") => Reply::from_static("550 5.7.1 Spam").into(),
                        () => Decision::Accept,
                    })
                    .unwrap();
            }
            event if event.is_question() => self.server.decide(Decision::Accept).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn the_server_equals_the_model_on_random_commands() {
    // P5, P11, P12, STATE-006, STATE-020, H-ST-1, BDAT-002, BDAT-005, BDAT-021, LMTP-002
    for lmtp in [false, true] {
        let mut config = Config::new("mx.test").unwrap();
        config.lmtp = lmtp;
        config.limits.hard_errors = u32::MAX;
        config.limits.junk_commands = u32::MAX;
        config.limits.refusals = u32::MAX;
        let server = Server::new(Arc::new(config), Instant::default());
        let mut side = Side { server, rx: BytesMut::new(), content: Vec::new(), lmtp };
        let mut numbers = Numbers::new(3 + u64::from(lmtp));
        let mut model = Model { lmtp, ..Model::default() };
        assert_eq!(side.codes(&mut numbers), [220]);
        for round in 0..60_000 {
            // A few commands and chunks in one go; DATA is the last of a group.
            let (mut group, mut expected, mut data) = (String::new(), Vec::new(), false);
            for _ in 0..=numbers.below(6) {
                if numbers.below(4) == 0 {
                    let content = CONTENTS[numbers.below(CONTENTS.len())];
                    let last = numbers.below(2) == 0;
                    write!(group, "BDAT {}{}\r\n{content}", content.len(), if last { " LAST" } else { "" }).unwrap();
                    expected.extend(model.chunk(content, last));
                } else {
                    let command = COMMANDS[numbers.below(COMMANDS.len())];
                    write!(group, "{command}\r\n").unwrap();
                    expected.extend(model.reply(command));
                    data = expected.last() == Some(&354);
                    if data {
                        break;
                    }
                }
            }
            side.rx.extend_from_slice(group.as_bytes());
            assert_eq!(side.codes(&mut numbers), expected, "lmtp {lmtp}, round {round}: {group:?}");
            if data {
                let content = CONTENTS[numbers.below(4)];
                side.rx.extend_from_slice(format!("{content}.\r\n").as_bytes());
                model.content = content.to_owned();
                assert_eq!(side.codes(&mut numbers), model.end(true), "lmtp {lmtp}, round {round}: {content:?}");
            }
            let transaction = side.server.session().transaction();
            let recipients = transaction.map(|transaction| transaction.recipients() as usize);
            assert_eq!(recipients, model.mail.then_some(model.recipients), "lmtp {lmtp}, round {round}: {group:?}");
        }
    }
}
