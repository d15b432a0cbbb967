//! Our client and our server understand each other: whatever a message holds and however the streams between them
//! are cut, with or without TLS, by whatever mechanism the client authenticates, with DATA or in chunks, by SMTP or LMTP,
//! in one transaction or two, the server receives this message with the client's policy applied, all of it and nothing
//! else. With the wrong password it receives nothing.
//!
//! Input: configuration, pieces, TLS and mechanism, transfer (one octet each), then the content of the message.
#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use smtp_fuzz::{Cuts, PASSWORD, TOKEN, USER, applied, mechanisms, nonce, policy, tls, verdict, write};
use smtp_proto::client::{self, Authentication, Client, Content, Envelope};
use smtp_proto::sasl::{self, Login, Mechanism};
use smtp_proto::server::{self, CloseReason, Decision, ResetReason, Server};
use smtp_proto::wire::{BareNewline, Capability, Notify, Ret};
use smtp_proto::{AuthenticationError, Error, Instant, Machine, Step, Unsendable};

/// One side of the connection, with what is on its way to it.
struct Side<M: Machine> {
    machine: M,
    rx: BytesMut,
    arriving: VecDeque<u8>,
    cuts: Cuts,
    over: bool,
    /// It waits for the handshake.
    upgrades: bool,
}

impl<M: Machine> Side<M> {
    fn new(machine: M, cuts: u8) -> Self {
        let cuts = Cuts::new(cuts);
        Self { machine, rx: BytesMut::new(), arriving: VecDeque::new(), cuts, over: false, upgrades: false }
    }

    /// One step, with the reading and writing it asks for.
    fn step<P: Machine>(&mut self, now: Instant, peer: &mut Side<P>) -> Result<Option<M::Event>, Error> {
        if self.over {
            return Ok(None);
        }
        match self.machine.step(now, &mut self.rx)? {
            Step::Event(event) => return Ok(Some(event)),
            Step::Write => {
                let mut written = Vec::new();
                write(self.machine.output(), self.cuts.length(), &mut written);
                peer.arriving.extend(written);
            }
            Step::Read if self.arriving.is_empty() && peer.over => self.machine.peer_closed(),
            Step::Read => {
                let length = self.cuts.length().min(self.arriving.len());
                self.rx.extend(self.arriving.drain(..length));
            }
            Step::UpgradeTls => self.upgrades = true,
            Step::Decide => {}
            Step::Close => self.over = true,
        }
        Ok(None)
    }

    fn establish(&mut self, verified: bool) {
        assert!(self.arriving.is_empty(), "octets in clear where TLS begins");
        self.upgrades = false;
        self.machine.tls_established(&mut self.rx, tls(verified, true)).expect("it waits for TLS");
    }
}

/// The policies of both sides, and what happens before the hello that counts.
fn policies(way: u8) -> (client::TlsPolicy, server::TlsPolicy, &'static str) {
    match way & 3 {
        0 => (client::TlsPolicy::Opportunistic, server::TlsPolicy::None, "connected hello "),
        1 => (client::TlsPolicy::Opportunistic, server::TlsPolicy::Offered, "connected hello starttls hello "),
        2 => (client::TlsPolicy::Required, server::TlsPolicy::Required, "connected hello starttls hello "),
        _ => (client::TlsPolicy::Implicit, server::TlsPolicy::Implicit, "connected hello "),
    }
}

/// By which mechanism the client authenticates, if it does: those that can be served with this policy.
fn mechanism(way: u8) -> Option<&'static dyn Mechanism> {
    let number = usize::from(way >> 2 & 15).checked_sub(1)?;
    let bound = |mechanism: &'static dyn Mechanism| mechanism.name().ends_with("-PLUS") || mechanism == sasl::EXTERNAL;
    mechanisms().get(number).copied().filter(|mechanism| way & 3 != 0 || !bound(*mechanism))
}

fn login(mechanism: &'static dyn Mechanism, wrong: bool) -> Login {
    let login = match mechanism.name() {
        "OAUTHBEARER" | "XOAUTH2" => Login::token(USER, if wrong { "wrong" } else { TOKEN }),
        "EXTERNAL" => Ok(Login::external()),
        "ANONYMOUS" => Login::anonymous(USER),
        _ => Login::password(USER, if wrong { "wrong" } else { PASSWORD }),
    };
    login.expect("a good login").mechanisms([mechanism])
}

/// How the message goes.
#[derive(Clone, Copy)]
struct Transfer(u8);

impl Transfer {
    fn is_chunked(self) -> bool {
        self.0 & 1 != 0
    }

    fn is_lmtp(self) -> bool {
        self.0 & 2 != 0
    }

    fn is_binary(self) -> bool {
        self.0 & 4 != 0
    }

    /// It has two recipients, and the server takes one at a time.
    fn is_divided(self) -> bool {
        self.0 & 8 != 0
    }

    fn offers_dsn(self) -> bool {
        self.0 & 16 != 0
    }

    /// Why nothing of it is sent.
    fn unsendable(self, streamed: bool, rejected: bool) -> Option<Unsendable> {
        match () {
            () if self.is_divided() && streamed => Some(Unsendable::TooManyRecipients { limit: 1 }),
            () if self.is_binary() && !self.is_chunked() => Some(Unsendable::NeedsExtension("CHUNKING")),
            () if rejected && !streamed => Some(Unsendable::BareNewline),
            () => None,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([config, cuts, way, transfer], content)) = data.split_first_chunk() else {
        return;
    };
    let (clients, servers) = (policy(*config), policy(config >> 2));
    let (streamed, transfer) = (config & 16 != 0, Transfer(*transfer));
    let wanted = if transfer.is_binary() { Some(content.to_vec()) } else { applied(content, clients) };
    let stray = !transfer.is_binary() && applied(content, BareNewline::Reject).is_none();

    let mut now = Instant::default();
    let mut config_of_client = client::Config::new("client.example").expect("a valid name");
    config_of_client.bare_newline = clients;
    config_of_client.text_line = usize::MAX;
    config_of_client.lmtp = transfer.is_lmtp();
    let mechanism = mechanism(*way);
    let wrong = way & 128 != 0;
    let (policy_of_client, policy_of_server, hello) = policies(*way);
    config_of_client.tls = policy_of_client;
    config_of_client.allow_clear_text_auth = true;
    config_of_client.nonces = Some(nonce);
    if let Some(mechanism) = mechanism {
        config_of_client.authentication = Authentication::Required(login(mechanism, wrong));
    }
    let mut config_of_server = server::Config::new("mail.example.org").expect("a valid name");
    config_of_server.bare_newline = servers;
    config_of_server.allow_nul = true;
    config_of_server.pipelining = config & 32 == 0;
    config_of_server.chunking = transfer.is_chunked();
    config_of_server.binary_mime = true;
    config_of_server.lmtp = transfer.is_lmtp();
    config_of_server.dsn = transfer.offers_dsn();
    config_of_server.announce_limits = false;
    if transfer.is_divided() {
        config_of_server.capabilities.push(Capability::new("LIMITS", "RCPTMAX=1").expect("a capability"));
    }
    config_of_server.limits.text_line = usize::MAX;
    config_of_server.tls = policy_of_server;
    config_of_server.mechanisms = mechanisms();
    config_of_server.require_auth = mechanism.is_some();
    config_of_server.allow_clear_text_auth = true;
    config_of_server.nonces = Some(nonce);

    let mut client = Side::new(Client::new(config_of_client, now), *cuts);
    let mut server = Side::new(Server::new(Arc::new(config_of_server), now), cuts.wrapping_mul(7));
    let recipients = ["b@b.example", "c@c.example"];
    let recipients = if transfer.is_divided() { &recipients[..] } else { &recipients[..1] };
    let mut envelope = Envelope::new("a@a.example", recipients).expect("valid addresses");
    envelope.binary = transfer.is_binary();
    envelope.ret = Some(Ret::Headers);
    envelope.recipients.iter_mut().for_each(|recipient| recipient.parameters.notify = Some(Notify::NEVER));
    let size = wanted.as_ref().map(|wanted| wanted.len() as u64);
    let message = match streamed {
        true => Content::Streamed { size },
        false => Content::Whole(Bytes::copy_from_slice(content)),
    };
    let id = client.machine.send(envelope, message).expect("the session is open");
    client.machine.quit().expect("the session is open");

    let (mut dialogue, mut received, mut refusal, mut messages) = (String::new(), Vec::new(), None, Vec::new());
    let (mut rest, mut outcomes, mut failure) = (content, Vec::new(), None);
    let mut steps = 0;
    while !(client.over && server.over) {
        steps += 1;
        assert!(steps < 2000 + 20 * content.len(), "neither side goes on: {dialogue}");
        now = now.after(Duration::from_millis(1));
        match client.step(now, &mut server) {
            Ok(Some(client::Event::WantContent(id))) => {
                let taken = match client.cuts.piece(&mut rest) {
                    Some(piece) => client.machine.content(id, Bytes::copy_from_slice(piece)),
                    None => client.machine.end_content(id),
                };
                taken.expect("content was wanted");
            }
            Ok(Some(client::Event::Outcome { id: told, outcome })) => {
                assert_eq!(told, id);
                outcomes.push(outcome);
            }
            Ok(_) => {}
            Err(error) => {
                client.over = true;
                failure = Some(error);
            }
        }
        if client.upgrades && server.upgrades {
            client.establish(false);
            server.establish(true);
        }
        let Some(event) = server.step(now, &mut client).expect("a server never fails") else {
            continue;
        };
        if event.is_question() {
            let decision = match &event {
                server::Event::Authenticate(credentials) => Decision::Verdict(verdict(credentials)),
                _ => Decision::Accept,
            };
            server.machine.decide(decision).expect("a question");
        }
        dialogue.push_str(match event {
            server::Event::Connected => "connected ",
            server::Event::Hello(_) => "hello ",
            server::Event::StartTls => "starttls ",
            server::Event::Authenticate(_) => "authenticate ",
            server::Event::Authenticated(identity) => {
                assert_eq!(Some(&*identity.mechanism), mechanism.map(|mechanism| mechanism.name()));
                "authenticated "
            }
            server::Event::AuthenticationFailed(_) => "failed ",
            server::Event::Mail(mail) => {
                // What a lenient reader would see may have more dots than the content.
                let exact = clients != BareNewline::Pass || !stray;
                assert!(!exact || mail.parameters.size == size, "{:?} announced, not {size:?}", mail.parameters.size);
                assert_eq!(mail.parameters.ret.is_some(), transfer.offers_dsn());
                "mail "
            }
            server::Event::Recipients(_) => "recipient ",
            server::Event::Data => "data ",
            server::Event::Body(piece) => {
                received.extend_from_slice(&piece);
                ""
            }
            server::Event::MessageEnd { .. } => {
                messages.push(std::mem::take(&mut received));
                "message "
            }
            server::Event::Reset(ResetReason::Refused(reply)) => {
                refusal = Some(reply);
                "refused "
            }
            server::Event::Reset(ResetReason::Command) => "reset ",
            server::Event::Reset(ResetReason::Closing) => "given-up ",
            server::Event::Closing(CloseReason::Quit) => "quit",
            server::Event::Closing(CloseReason::Disconnected) => "disconnected",
            event => panic!("{event:?} behind {dialogue}"),
        });
    }

    let [outcome] = outcomes.as_slice() else {
        panic!("not one outcome: {outcomes:?}");
    };
    let free = mechanism.is_none_or(|mechanism| matches!(mechanism.name(), "ANONYMOUS" | "EXTERNAL"));
    let dialogue = dialogue.strip_prefix(hello).expect("the hello comes first");
    if wrong && !free {
        let refused = |error: &Error| matches!(error, Error::Authentication(AuthenticationError::Refused { .. }));
        assert!(failure.as_ref().is_some_and(refused) && outcome.error == failure, "{outcome:?}, {failure:?}");
        assert_eq!(dialogue, "authenticate failed quit");
        return;
    }
    let authenticated = if mechanism.is_some() { "authenticate authenticated " } else { "" };
    let messaging = dialogue.strip_prefix(authenticated).expect("authentication comes before messages");
    assert_eq!(client.machine.mechanism(), mechanism.map(|mechanism| mechanism.name()));
    if let Some(unsendable) = transfer.unsendable(streamed, wanted.is_none()) {
        assert_eq!((outcome.error.clone(), failure), (Some(unsendable.into()), None));
        assert_eq!(messaging, "quit");
        return;
    }
    let unsendable: Option<Error> = Some(Unsendable::BareNewline.into());
    assert_eq!(outcome.left_out.is_empty(), transfer.offers_dsn(), "{outcome:?}");
    let group = config & 32 == 0 && transfer.is_chunked() && !transfer.is_lmtp();
    let Some(wanted) = wanted else {
        // It is found out when part of it may have gone: only chunks can be taken back.
        let back = transfer.is_chunked();
        assert_eq!((&outcome.error, failure), (&unsendable, unsendable.clone().filter(|_| !back)));
        assert_eq!(
            messaging,
            if back { "mail recipient reset quit" } else { "mail recipient data given-up disconnected" }
        );
        return;
    };
    assert_eq!(failure, None);
    let transactions = recipients.len();
    if clients == BareNewline::Pass && servers == BareNewline::Reject && stray {
        assert!(refusal.is_some() && !outcome.is_delivered(), "{outcome:?}");
        let reset = if transfer.is_chunked() { "reset " } else { "" };
        assert_eq!(messaging, format!("mail recipient data refused {reset}").repeat(transactions) + "quit");
        return;
    }
    assert!(outcome.is_delivered() && messages.len() == transactions, "{outcome:?}");
    let reset = if group { "reset " } else { "" };
    assert_eq!(messaging, format!("mail recipient data message {reset}").repeat(transactions) + "quit");
    if clients != BareNewline::Pass || !stray {
        for message in messages {
            assert_eq!(message.escape_ascii().to_string(), wanted.escape_ascii().to_string());
        }
    }
});
