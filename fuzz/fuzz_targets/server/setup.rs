//! The configuration, and what the application decides.

use std::sync::Arc;
use std::time::Duration;

use smtp_fuzz::{mechanisms, nonce, policy, tls, verdict};
use smtp_proto::sasl::Verdict;
use smtp_proto::server::{Config, Decision, Event, Recipients, Server, Shutdown, TlsPolicy};
use smtp_proto::wire::{FutureReleaseInterval, FutureReleaseMaxima, Reply};
use smtp_proto::{ApiMisuse, Machine, TlsInfo};

pub struct Setup<'a> {
    pub config: Arc<Config>,
    /// What the application may exchange it for.
    pub other: Arc<Config>,
    decisions: &'a [u8],
    /// 0: the client closes, 1: the connection breaks, 2: time runs out.
    pub end: u8,
    /// Whether the first piece of every message is answered with a refusal.
    pub refuse_body: bool,
    /// How long the application takes to decide. Longer than a second, and replies are written in the meantime.
    pub pause: Duration,
    /// 0: the handshake is made, 1: it fails, 2: the connection ends as in `end`, 3: octets in clear come before it.
    pub handshake: u8,
    pub facts: TlsInfo,
    order: u8,
}

impl<'a> Setup<'a> {
    /// From one octet each: flags, end, TLS, authentication, extensions, what stands between; and the decisions.
    pub fn new([flags, end, secure, auth, extensions, edge]: [u8; 6], decisions: &'a [u8]) -> Self {
        let mut config = Config::new("mail.example.org").expect("a valid name");
        config.bare_newline = policy(flags);
        config.allow_nul = flags & 4 != 0;
        if flags & 8 != 0 {
            (config.pipelining, config.eight_bit_mime, config.smtputf8) = (false, false, false);
            (config.enhanced_status_codes, config.help) = (false, false);
        }
        if flags & 16 != 0 {
            config.expand = true;
            config.parameters = vec!["X-FOO".into(), "SOLICIT".into()];
        }
        let refuse_body = end & 4 != 0;
        if flags & 32 != 0 {
            config.limits.command_line = 0;
            config.limits.discarded_line = 600;
            (config.limits.soft_errors, config.limits.hard_errors) = (2, 4);
            config.limits.junk_commands = 3;
            // How much comes behind a refusal of the application's own depends on the pieces.
            config.limits.discarded_content = if refuse_body { u64::MAX } else { 100 };
        }
        // Which recipient is one too many shows when several are asked about at once.
        config.limits.refusals = u32::MAX;
        config.tls = match secure & 3 {
            0 => TlsPolicy::None,
            1 => TlsPolicy::Offered,
            2 => TlsPolicy::Required,
            _ => TlsPolicy::Implicit,
        };
        config.requiretls = secure & 4 != 0;
        config.nonces = (auth & 16 == 0).then_some(nonce);
        if auth & 1 != 0 {
            config.mechanisms = mechanisms();
        }
        config.require_auth = auth & 2 != 0;
        config.allow_clear_text_auth = auth & 4 != 0;
        if auth & 8 != 0 {
            (config.limits.auth_failures, config.limits.auth_rounds) = (1, 1);
        }
        extend(&mut config, extensions, edge);
        let mut other = config.clone();
        other.chunking = !config.chunking;
        other.help = !config.help;
        let pause = Duration::from_secs(u64::from(end >> 2 & 2));
        let (handshake, facts) = (secure >> 3 & 3, tls(secure & 32 != 0, secure & 32 != 0));
        let (config, other, order) = (Arc::new(config), Arc::new(other), extensions >> 4 & 3);
        Self { config, other, decisions, end: end & 3, refuse_body, pause, handshake, facts, order }
    }

    fn choice(&self, question: usize) -> u8 {
        self.decisions.get(question).copied().unwrap_or_default()
    }

    /// Whether the connection breaks at a question.
    pub fn breaks(&self) -> bool {
        self.decisions.iter().any(|choice| choice >> 4 & 3 == 3)
    }

    /// Decides by the number of the question alone, so that two runs decide alike. What else can happen meanwhile
    /// happens first.
    pub fn decide(&self, question: usize, event: &Event, server: &mut Server) -> Decision {
        let choice = self.choice(question);
        match choice >> 4 & 3 {
            1 => server.shut_down(Shutdown::AfterTransaction),
            2 => server.shut_down(Shutdown::Now),
            3 => server.connection_lost(),
            _ => {}
        }
        let full = Decision::Reply(Reply::from_static("452 4.2.2 full"));
        let decision = match choice & 15 {
            7 => Decision::Reply(reply("421 4.3.2 closing")),
            8 => Decision::Reply(reply("521 5.3.2 closing")),
            9 => Decision::Close(reply("221 2.0.0 enough")),
            10 => Decision::Close(reply("554 5.7.1 enough")),
            13 => {
                server.application_failed();
                return Decision::Close(reply("421 4.3.0 what is replied to that"));
            }
            14 => match event {
                Event::Connected | Event::Hello(_) | Event::Xclient(_) => Decision::Configure(Arc::clone(&self.other)),
                _ => Decision::Accept,
            },
            15 => Decision::Each(vec![Decision::Accept, full]),
            choice => plain(choice, event),
        };
        let unfit = match &decision {
            Decision::Verdict(Verdict::Refused) => !matches!(event, Event::Authenticate(_)),
            Decision::Each(_) => !(self.config.lmtp && matches!(event, Event::MessageEnd { .. })),
            Decision::Accept => matches!(event, Event::Authenticate(_)),
            _ => false,
        };
        let taken = server.decide(decision.clone());
        if unfit {
            assert_eq!(taken, Err(ApiMisuse::UnfitDecision));
            return Decision::Reply(reply("451 4.3.0 what is replied to that"));
        }
        let concluded = matches!(
            event,
            Event::MessageEnd { .. }
                | Event::Verify(_)
                | Event::Expand(_)
                | Event::Help(_)
                | Event::Etrn(_)
                | Event::Other { .. }
        );
        if let Decision::Close(reply) = &decision
            && reply.is_positive()
            && !concluded
        {
            assert_eq!(taken, Err(ApiMisuse::UnfitReply(reply.clone())));
            return Decision::Close(Reply::from_static("421 4.3.0 what is replied to that"));
        }
        assert_eq!(taken, Ok(()), "the decision is valid");
        decision
    }

    /// Decides about recipients, about each by the number that its question has by itself. None of the decisions ends
    /// the session: how many are told of then depends on the pieces. Gives how many have been decided.
    pub fn decide_recipients(&self, question: usize, recipients: &Recipients, server: &mut Server) -> usize {
        let mut misuse = Ok(());
        let mut decision = |number: usize| {
            let choice = self.choice(question + number);
            if choice >> 4 & 3 == 1 {
                server.shut_down(Shutdown::AfterTransaction);
            }
            match choice & 15 {
                choice @ (1..=6 | 11) => plain(choice, &Event::Data),
                7..=10 | 12..=15 => Decision::Reply(reply("550 5.1.1 nobody")),
                _ => Decision::Accept,
            }
        };
        let count = if self.order == 1 { 1 } else { recipients.len() };
        let decisions: Vec<_> = (0..count).map(&mut decision).collect();
        match self.order {
            0 | 1 => misuse = server.decide(Decision::Each(decisions)),
            order => {
                let mut one_by_one: Vec<_> = recipients.iter().zip(decisions).collect();
                if order == 2 {
                    one_by_one.reverse();
                }
                // 3: from both ends to the middle, the first last of all.
                while !one_by_one.is_empty() {
                    let next = if one_by_one.len() % 2 == 0 { one_by_one.len() - 1 } else { one_by_one.len() / 2 };
                    let (recipient, decision) = one_by_one.remove(next);
                    misuse = misuse.and(server.decide_recipient(recipient.index, decision));
                }
            }
        }
        assert_eq!(misuse, Ok(()), "the decisions are valid");
        count
    }
}

fn reply(text: &str) -> Reply {
    text.parse().expect("a valid reply")
}

/// What fits every question.
fn plain(choice: u8, event: &Event) -> Decision {
    match choice {
        1 => Decision::Reply(reply("250 2.0.0 As you like")),
        2 => Decision::Reply(reply("252 two\r\nlines")),
        3 => Decision::Reply(reply("550 5.7.1 not\n\nhere\n")),
        4 => Decision::Reply(reply("451 \0\u{7}\rlater\u{202e}")),
        5 => Decision::Reply(reply(&format!("554 5.999.999 x{}", "\u{e9}".repeat(700)))),
        6 => Decision::Reply(reply(&format!("220 {}", "y".repeat(506)))),
        11 => Decision::Verdict(Verdict::Accepted),
        12 => Decision::Verdict(Verdict::Refused),
        _ => match event {
            Event::Authenticate(credentials) => Decision::Verdict(verdict(credentials)),
            _ => Decision::Accept,
        },
    }
}

fn extend(config: &mut Config, extensions: u8, edge: u8) {
    config.lmtp = extensions & 1 != 0;
    if extensions & 2 != 0 {
        (config.binary_mime, config.dsn, config.priority, config.rrvs) = (true, true, true, true);
        (config.etrn, config.announce_limits) = (true, true);
        config.deliver_by = Some(10);
        config.burl = Some("imap".to_owned());
        let interval = FutureReleaseInterval::new(3600).expect("an interval");
        let date_time = "2030-01-01T00:00:00Z".parse().expect("a time");
        config.future_release = Some(FutureReleaseMaxima { interval, date_time });
    }
    config.chunking = extensions & 4 == 0;
    if extensions & 8 != 0 {
        (config.limits.transactions, config.limits.recipient_domains) = (Some(2), Some(1));
    }
    config.proxy_protocol = edge & 1 != 0;
    (config.xclient, config.xforward) = (edge & 2 != 0, edge & 4 != 0);
    config.timeouts.early_talkers = Duration::from_secs(if edge & 8 != 0 { 6 } else { 0 });
}
