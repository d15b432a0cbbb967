//! A client, a server, and between them a link on virtual time on which one thing goes wrong. What the server says
//! depends on addresses, and what it takes responsibility for is kept.

#![allow(clippy::expect_used, reason = "what is not as it must be fails the test")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use smtp_proto::client::{self, Client, Outcome, RequestId};
use smtp_proto::server::{self, Decision, Event, Server};
use smtp_proto::wire::Reply;
use smtp_proto::{ApiMisuse, Error, Instant, Machine, Step};

use crate::pair::Numbers;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed in good order.
    EndOfFile,
    /// Both sides lose the connection.
    Reset,
    /// Nothing arrives any more: only deadlines help.
    TimeOut,
    /// The client can write no more, and goes on reading.
    FailedWrite,
    /// The server decides so.
    Decision(&'static str),
    /// The reply is one that cannot be.
    WrongReply,
    /// Another reply comes before it.
    ReplyTooMany,
    /// The reply does not come.
    ReplyMissing,
}

/// Where it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All goes well.
    Nowhere,
    /// Instead of, or at, this reply of the server.
    Reply(usize),
    /// Behind so many octets of the client.
    Octet(usize),
    /// At this decision of the server's application.
    Decision(usize),
}

/// Something that the application does with its client. A stream gets its content when the client asks for it.
pub type Act = Box<dyn FnOnce(&mut Client) -> Vec<(RequestId, Bytes)>>;

/// Octets that moved, as the client saw it.
#[derive(Debug)]
pub enum Moved {
    /// It wrote these.
    Written(Vec<u8>),
    /// It was given these, and had nothing left to write.
    Given {
        /// The octets.
        octets: Vec<u8>,
        /// Whether it had nothing left to write.
        silent: bool,
    },
}

/// The two sides and the link.
///
/// Senders that begin with `refused` are refused at MAIL and with `bad` at the end of the content; recipients that begin
/// with `no` or `later` are refused, and `full` ones in LMTP at the end of the content.
pub struct Link {
    /// The client.
    pub client: Client,
    server: Server,
    lmtp: bool,
    fault: Fault,
    place: Place,
    /// So many octets are read or written at a time, at the most.
    most: usize,
    numbers: Numbers,
    now: Instant,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// What the server has written of a reply that has no end yet.
    unended: Vec<u8>,
    client_rx: BytesMut,
    server_rx: BytesMut,
    /// Nothing arrives any more at the client.
    deaf: bool,
    /// Nothing arrives any more at the server.
    cut: bool,
    client_sees_end: bool,
    server_sees_end: bool,
    server_done: bool,
    /// All that the client wrote.
    pub written: Vec<u8>,
    /// All that the client was given.
    pub given: Vec<u8>,
    /// Replies of the server, delivered or not.
    pub replies: usize,
    /// Decisions so far.
    pub decisions: usize,
    /// Content that is handed over piece by piece.
    pub streams: Vec<(RequestId, Bytes)>,
    /// What the application does once the client has written so much.
    pub acts: VecDeque<(usize, Act)>,
    /// All that moved, in order.
    pub moved: Vec<Moved>,
    /// What the client told.
    pub outcomes: Vec<(RequestId, Outcome)>,
    /// How the client came to its end.
    pub end: Option<Result<(), Error>>,
    /// The transaction at the server: sender, accepted recipients, content.
    transaction: (String, Vec<String>, Vec<u8>),
    /// What the server took responsibility for: sender, recipient, content.
    pub taken: Vec<(String, String, Vec<u8>)>,
}

impl Link {
    /// A session that is about to begin. So many octets are moved at a time at the most.
    pub fn new(
        client: client::Config,
        mut server: server::Config,
        (fault, place): (Fault, Place),
        most: usize,
    ) -> Self {
        // The client loses patience first.
        server.timeouts.command = Duration::from_secs(36_000);
        server.timeouts.content = Duration::from_secs(36_000);
        let now = Instant::default();
        Self {
            lmtp: server.lmtp,
            client: Client::new(client, now),
            server: Server::new(Arc::new(server), now),
            fault,
            place,
            most,
            numbers: Numbers::new(most as u64),
            now,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            unended: Vec::new(),
            client_rx: BytesMut::new(),
            server_rx: BytesMut::new(),
            deaf: false,
            cut: false,
            client_sees_end: false,
            server_sees_end: false,
            server_done: false,
            written: Vec::new(),
            given: Vec::new(),
            replies: 0,
            decisions: 0,
            streams: Vec::new(),
            acts: VecDeque::new(),
            moved: Vec::new(),
            outcomes: Vec::new(),
            end: None,
            transaction: Default::default(),
            taken: Vec::new(),
        }
    }

    /// Runs until both sides have come to an end.
    ///
    /// # Panics
    /// When a machine does what the contract does not allow, or waits for ever.
    pub fn run(&mut self) {
        while !(self.end.is_some() && self.server_done) {
            let client = self.client_side();
            let server = self.server_side();
            if client || server {
                continue;
            }
            let next = match self.end {
                None => self.client.deadline().expect("the client waits for ever"),
                Some(_) => self.server.deadline().expect("the server waits for ever"),
            };
            self.now = next.max(self.now.after(Duration::from_millis(1)));
        }
    }

    fn some(&mut self) -> usize {
        if self.most == usize::MAX { usize::MAX } else { 1 + self.numbers.below(self.most) }
    }

    /// True when something was done.
    fn client_side(&mut self) -> bool {
        let mut busy = false;
        while self.end.is_none() {
            while self.acts.front().is_some_and(|(written, _)| *written <= self.written.len()) {
                self.act();
            }
            match self.client.step(self.now, &mut self.client_rx) {
                Ok(Step::Event(client::Event::Outcome { id, outcome })) => self.outcomes.push((id, outcome)),
                Ok(Step::Event(client::Event::WantContent(id))) => self.supply(id),
                Ok(Step::Event(_)) => {}
                Ok(Step::Write) => {
                    self.write();
                    if self.most != usize::MAX && self.numbers.below(3) == 0 {
                        return true;
                    }
                }
                Ok(Step::Read) => {
                    let count = self.some().min(self.to_client.len());
                    if count > 0 {
                        let piece: Vec<u8> = self.to_client.drain(..count).collect();
                        self.client_rx.extend_from_slice(&piece);
                        self.given.extend_from_slice(&piece);
                        let silent = !self.client.output().has_remaining();
                        self.moved.push(Moved::Given { octets: piece, silent });
                    } else if self.client_sees_end {
                        self.client.peer_closed();
                        self.client_sees_end = false;
                    } else {
                        return busy;
                    }
                }
                Ok(Step::Close) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
                Ok(Step::Decide) if !self.acts.is_empty() => self.act(),
                Ok(step) => panic!("the client has nothing to do: {step:?}"),
            }
            if self.end.is_some() {
                self.server_sees_end = true;
            }
            busy = true;
        }
        busy
    }

    fn act(&mut self) {
        if let Some((_, act)) = self.acts.pop_front() {
            self.streams.extend(act(&mut self.client));
        }
    }

    fn supply(&mut self, id: RequestId) {
        let (_, content) = self.streams.iter_mut().find(|(stream, _)| *stream == id).expect("a stream");
        let supplied = match content.split_to(content.len().min(20)) {
            piece if piece.is_empty() => self.client.end_content(id),
            piece => self.client.content(id, piece),
        };
        // It may have been withdrawn since it was asked for.
        assert!(matches!(supplied, Ok(()) | Err(ApiMisuse::NoContentExpected)), "{supplied:?}");
    }

    fn write(&mut self) {
        let most = self.some();
        let output = self.client.output();
        let mut piece = output.chunk()[..output.chunk().len().min(most)].to_vec();
        assert!(!piece.is_empty(), "a write of nothing");
        let left = match self.place {
            Place::Octet(octet) => octet.saturating_sub(self.written.len()),
            _ => usize::MAX,
        };
        let arrives = left.min(piece.len());
        if arrives < piece.len() && self.fault == Fault::FailedWrite {
            piece.truncate(arrives);
        }
        self.client.output().advance(piece.len());
        self.written.extend_from_slice(&piece);
        self.moved.push(Moved::Written(piece.clone()));
        if !self.cut {
            self.to_server.extend(&piece[..arrives.min(piece.len())]);
        }
        if left == arrives && self.place != Place::Nowhere && matches!(self.place, Place::Octet(_)) {
            self.place = Place::Nowhere;
            match self.fault {
                Fault::FailedWrite => {
                    self.client.write_failed();
                    self.server_sees_end = true;
                }
                _ => self.breaks(),
            }
            self.cut = true;
        }
    }

    /// The connection breaks.
    fn breaks(&mut self) {
        self.deaf = true;
        match self.fault {
            Fault::EndOfFile => (self.client_sees_end, self.server_sees_end) = (true, true),
            Fault::Reset => {
                self.to_client.clear();
                self.client.connection_lost();
                self.server_sees_end = true;
            }
            _ => self.cut = true,
        }
    }

    /// A reply of the server, on its way to the client.
    fn deliver(&mut self, reply: &[u8]) {
        let number = self.replies;
        self.replies += 1;
        if self.deaf {
            return;
        }
        if self.place != Place::Reply(number) {
            return self.to_client.extend(reply);
        }
        match self.fault {
            Fault::WrongReply if reply.starts_with(b"354") => self.to_client.extend(b"250 what\r\n"),
            Fault::WrongReply => self.to_client.extend(b"354 what\r\n"),
            Fault::ReplyTooMany => self.to_client.extend([b"250 more\r\n", reply].concat()),
            Fault::ReplyMissing => {}
            _ => self.breaks(),
        }
    }

    fn server_side(&mut self) -> bool {
        let mut busy = false;
        while !self.server_done {
            match self.server.step(self.now, &mut self.server_rx).expect("a server never fails") {
                Step::Event(event) => self.happened(&event),
                Step::Write => {
                    let output = self.server.output();
                    self.unended.extend(output.chunk());
                    let count = output.chunk().len();
                    output.advance(count);
                    while let Some(reply) = first_reply(&mut self.unended) {
                        self.deliver(&reply);
                    }
                }
                Step::Read => {
                    let count = self.some().min(self.to_server.len());
                    self.server_rx.extend(self.to_server.drain(..count));
                    if count == 0 && self.server_sees_end {
                        self.server.peer_closed();
                        self.server_sees_end = false;
                    } else if count == 0 {
                        return busy;
                    }
                }
                Step::Close => {
                    self.server_done = true;
                    self.client_sees_end |= !self.deaf;
                }
                step => panic!("{step:?}"),
            }
            busy = true;
        }
        busy
    }

    /// What the server's application does about an event.
    fn happened(&mut self, event: &Event) {
        match event {
            Event::Mail(mail) => self.transaction = (mail.reverse_path.to_string(), Vec::new(), Vec::new()),
            Event::Body(piece) => self.transaction.2.extend_from_slice(piece),
            _ => {}
        }
        if let Event::Recipients(recipients) = event {
            let names: Vec<String> = recipients.iter().map(|one| one.forward_path.to_string()).collect();
            let mut decisions = Vec::new();
            for name in names {
                let usual = match &name {
                    name if name.starts_with("no") => reply("550 5.1.1 no such user"),
                    name if name.starts_with("later") => reply("450 4.2.1 not now"),
                    _ => Decision::Accept,
                };
                let decision = self.decision(usual);
                if matches!(decision, Decision::Accept) {
                    self.transaction.1.push(name);
                }
                let closes = matches!(decision, Decision::Close(_));
                decisions.push(decision);
                if closes {
                    break;
                }
            }
            self.server.decide(Decision::Each(decisions)).expect("a question");
            return;
        }
        let usual = match event {
            Event::Mail(_) if self.transaction.0.starts_with("refused") => reply("550 5.7.1 not you"),
            Event::MessageEnd { .. } => self.verdict(),
            _ => Decision::Accept,
        };
        if !event.is_question() && !matches!(event, Event::Body(_)) {
            return;
        }
        let decision = self.decision(usual);
        if let Event::MessageEnd { .. } = event {
            let (sender, recipients, content) = &self.transaction;
            for (index, recipient) in recipients.iter().enumerate() {
                let accepted = match &decision {
                    Decision::Each(replies) => matches!(&replies[index], Decision::Reply(reply) if reply.is_positive()),
                    Decision::Reply(reply) => reply.is_positive(),
                    _ => false,
                };
                if accepted {
                    self.taken.push((sender.clone(), recipient.clone(), content.clone()));
                }
            }
        }
        if event.is_question() || !matches!(decision, Decision::Accept) {
            self.server.decide(decision).expect("a question");
        }
    }

    /// The verdict on a message, with its name in it.
    fn verdict(&self) -> Decision {
        let (sender, recipients, _) = &self.transaction;
        let verdict = |recipient: &str| match () {
            () if sender.starts_with("bad") => reply(&format!("554 5.6.0 verdict on {sender} for {recipient}")),
            () if self.lmtp && recipient.starts_with("full") => {
                reply(&format!("452 4.2.2 verdict on {sender} for {recipient}"))
            }
            () => reply(&format!("250 2.0.0 verdict on {sender} for {recipient}")),
        };
        match self.lmtp {
            true => Decision::Each(recipients.iter().map(|recipient| verdict(recipient)).collect()),
            false => verdict(&recipients.join(" and ")),
        }
    }

    fn decision(&mut self, usual: Decision) -> Decision {
        let number = self.decisions;
        self.decisions += 1;
        match self.fault {
            Fault::Decision(text) if self.place == Place::Decision(number) => match text.starts_with("421") {
                true => Decision::Close(text.parse().expect("a reply")),
                false => reply(text),
            },
            _ => usual,
        }
    }
}

fn reply(text: &str) -> Decision {
    Decision::Reply(text.parse::<Reply>().expect("a reply"))
}

/// Takes the first reply off what the server has written.
fn first_reply(written: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut length = 0;
    for line in written.split_inclusive(|octet| *octet == b'\n') {
        length += line.len();
        if line.ends_with(b"\n") && line.get(3) != Some(&b'-') {
            return Some(written.drain(..length).collect());
        }
    }
    None
}
