//! A client and a server that talk to each other on virtual time, over a link that can be cut and slowed down.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use smtp_proto::client::{self, Client};
use smtp_proto::sasl::ChannelBinding;
use smtp_proto::server::{self, Decision, Server};
use smtp_proto::{Error, Instant, Machine, Step, TlsInfo};

/// A cheap source of numbers, the same for the same seed.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// What happens to the link, and when: after so many reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both sides lose the connection and what is on its way.
    Reset,
    /// The client's octets no longer reach the server, which sees the end of input; later the client sees the same.
    Close,
    /// Nothing arrives any more, in either direction: only deadlines help.
    Silence,
}

/// One direction of the link.
#[derive(Default)]
struct Wire {
    octets: VecDeque<u8>,
}

/// The two sides and the link between them.
pub struct Pair {
    /// The client.
    pub client: Client,
    /// The server.
    pub server: Server,
    /// Answers the server's questions about recipients.
    pub decide_recipient: Box<dyn FnMut(&server::Recipient) -> Decision>,
    /// Answers the server's other questions.
    pub decide: Box<dyn FnMut(&server::Event) -> Decision>,
    /// What happened at the client.
    pub client_events: Vec<client::Event>,
    /// What happened at the server, adjacent pieces of content joined.
    pub server_events: Vec<server::Event>,
    /// How the client ended, if it did.
    pub client_end: Option<Result<(), Error>>,
    /// How often the client had to wait for the server.
    pub round_trips: usize,
    /// Reads and writes so far.
    pub moves: usize,
    now: Instant,
    to_server: Wire,
    to_client: Wire,
    server_rx: BytesMut,
    client_rx: BytesMut,
    server_done: bool,
    fault: Option<(usize, Fault)>,
    silent: bool,
    client_wrote: bool,
    client_upgrades: bool,
    server_upgrades: bool,
}

impl Pair {
    /// A client and a server at the start of a session. Everything is accepted.
    pub fn new(client: client::Config, server: server::Config) -> Self {
        Self {
            client: Client::new(client, Instant::default()),
            server: Server::new(Arc::new(server), Instant::default()),
            decide_recipient: Box::new(|_| Decision::Accept),
            decide: Box::new(|_| Decision::Accept),
            client_events: Vec::new(),
            server_events: Vec::new(),
            client_end: None,
            round_trips: 0,
            moves: 0,
            now: Instant::default(),
            to_server: Wire::default(),
            to_client: Wire::default(),
            server_rx: BytesMut::new(),
            client_rx: BytesMut::new(),
            server_done: false,
            fault: None,
            silent: false,
            client_wrote: false,
            client_upgrades: false,
            server_upgrades: false,
        }
    }

    /// Lets a fault happen after so many reads and writes.
    pub fn fail_after(&mut self, moves: usize, fault: Fault) {
        self.fault = Some((moves, fault));
    }

    /// Runs both sides until neither can go on; `most` octets move at a time at the most.
    ///
    /// # Panics
    /// When a machine does what the contract does not allow.
    pub fn run(&mut self, numbers: &mut Numbers, most: usize) {
        loop {
            let client = self.client_side(numbers, most);
            let server = self.server_side(numbers, most);
            if client || server {
                continue;
            }
            // Both wait for something that is not on its way: time passes, if anybody waits for that.
            let idle = self.client_end.is_some() || self.client.deadline().is_none();
            let deadlines = [
                self.client.deadline().filter(|_| !idle),
                self.server.deadline().filter(|_| !self.server_done && self.silent),
            ];
            let Some(next) = deadlines.into_iter().flatten().min() else { return };
            self.now = next.max(self.now.after(Duration::from_millis(1)));
        }
    }

    fn moved(&mut self) {
        self.moves += 1;
        if self.fault.is_some_and(|(moves, _)| moves == self.moves) {
            match self.fault.take() {
                Some((_, Fault::Reset)) => {
                    self.client.connection_lost();
                    self.server.connection_lost();
                }
                Some((_, Fault::Close)) => {
                    self.to_server.octets.clear();
                    self.server.peer_closed();
                    self.silent = true;
                    self.client.peer_closed();
                }
                _ => self.silent = true,
            }
        }
    }

    /// True when something was done.
    fn client_side(&mut self, numbers: &mut Numbers, most: usize) -> bool {
        let mut busy = false;
        while self.client_end.is_none() {
            match self.client.step(self.now, &mut self.client_rx) {
                Ok(Step::Event(event)) => self.client_events.push(event),
                Ok(Step::Write) => {
                    let wire = (!self.silent).then_some(&mut self.to_server);
                    transfer(self.client.output(), wire, numbers.below(most) + 1);
                    self.client_wrote = true;
                    self.moved();
                }
                Ok(Step::Read) => {
                    self.round_trips += usize::from(std::mem::take(&mut self.client_wrote));
                    if !receive(&mut self.to_client, &mut self.client_rx, numbers.below(most) + 1) {
                        return busy;
                    }
                    self.moved();
                }
                Ok(Step::Decide) => {
                    if self.to_client.octets.is_empty() {
                        return busy;
                    }
                    receive(&mut self.to_client, &mut self.client_rx, numbers.below(most) + 1);
                }
                Ok(Step::UpgradeTls) => {
                    self.client_upgrades = true;
                    if !self.shake_hands() {
                        return busy;
                    }
                }
                Ok(Step::Close) => {
                    self.client_end = Some(Ok(()));
                    self.server.peer_closed();
                }
                Err(error) => {
                    self.client_end = Some(Err(error));
                    self.server.peer_closed();
                }
            }
            busy = true;
        }
        busy
    }

    fn server_side(&mut self, numbers: &mut Numbers, most: usize) -> bool {
        let mut busy = false;
        while !self.server_done {
            match self
                .server
                .step(self.now, &mut self.server_rx)
                .unwrap_or_else(|error| panic!("a server never fails: {error}"))
            {
                Step::Event(event) => {
                    if let server::Event::Recipients(recipients) = &event {
                        // In any order: the replies keep theirs.
                        let mut undecided: Vec<_> = recipients.iter().collect();
                        while !undecided.is_empty() {
                            let recipient = undecided.swap_remove(numbers.below(undecided.len()));
                            let decision = (self.decide_recipient)(recipient);
                            assert_eq!(self.server.decide_recipient(recipient.index, decision), Ok(()));
                        }
                    } else if event.is_question() {
                        let decision = (self.decide)(&event);
                        assert_eq!(self.server.decide(decision), Ok(()));
                    }
                    match (self.server_events.last_mut(), event) {
                        (Some(server::Event::Body(last)), server::Event::Body(more)) => {
                            *last = [&last[..], &more[..]].concat().into();
                        }
                        (_, event) => self.server_events.push(event),
                    }
                }
                Step::Write => {
                    let wire = (!self.silent).then_some(&mut self.to_client);
                    transfer(self.server.output(), wire, numbers.below(most) + 1);
                    self.moved();
                }
                Step::Read => {
                    if !receive(&mut self.to_server, &mut self.server_rx, numbers.below(most) + 1) {
                        return busy;
                    }
                    self.moved();
                }
                Step::Decide => panic!("every question was answered"),
                Step::UpgradeTls => {
                    self.server_upgrades = true;
                    if !self.shake_hands() {
                        return busy;
                    }
                }
                Step::Close => {
                    self.server_done = true;
                    if self.client_end.is_none() && !self.silent {
                        // What is on its way still arrives.
                        self.client_rx.extend(self.to_client.octets.drain(..));
                        self.client.peer_closed();
                    }
                }
            }
            busy = true;
        }
        busy
    }

    /// TLS begins when both sides ask for it. True when it did.
    fn shake_hands(&mut self) -> bool {
        if !(self.client_upgrades && self.server_upgrades) {
            return false;
        }
        (self.client_upgrades, self.server_upgrades) = (false, false);
        assert!(self.to_server.octets.is_empty() && self.to_client.octets.is_empty(), "octets behind STARTTLS");
        let mut facts = TlsInfo::new("TLSv1.3", "TLS_AES_256_GCM_SHA384");
        facts.channel_bindings.push(ChannelBinding::tls_exporter([7; 32]));
        assert_eq!(self.server.tls_established(&mut self.server_rx, facts.clone()), Ok(()));
        facts.verified = true;
        assert_eq!(self.client.tls_established(&mut self.client_rx, facts), Ok(()));
        true
    }

    /// The messages the server took: content and recipients.
    pub fn delivered(&self) -> Vec<(Vec<String>, Bytes)> {
        let (mut delivered, mut recipients, mut content) = (Vec::new(), Vec::new(), Bytes::new());
        for event in &self.server_events {
            match event {
                server::Event::Mail(_) => (recipients, content) = (Vec::new(), Bytes::new()),
                server::Event::Recipients(more) => {
                    recipients.extend(more.iter().map(|recipient| recipient.forward_path.to_string()));
                }
                server::Event::Body(octets) => content = octets.clone(),
                server::Event::MessageEnd { .. } => delivered.push((recipients.clone(), content.clone())),
                _ => {}
            }
        }
        delivered
    }
}

fn transfer(output: &mut smtp_proto::Output, wire: Option<&mut Wire>, most: usize) {
    assert!(output.has_remaining(), "Write with nothing to write");
    let count = output.chunk().len().min(most);
    if let Some(wire) = wire {
        wire.octets.extend(&output.chunk()[..count]);
    }
    output.advance(count);
}

fn receive(wire: &mut Wire, rx: &mut BytesMut, most: usize) -> bool {
    let count = wire.octets.len().min(most);
    rx.extend(wire.octets.drain(..count));
    count > 0
}
