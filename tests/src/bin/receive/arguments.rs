//! The command line of `receive`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lexopt::prelude::*;
use smtp_proto::adapter::serving::ConnectionLimits;
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::server::{Config, MIN_MESSAGE_SIZE, MIN_RECIPIENTS, TlsPolicy};
use smtp_proto::wire::{BareNewline, ForwardPath, Reply, Severity};
use smtp_proto::{Secret, sasl};
use smtp_tests::recorder::Trusted;
use smtp_tests::runtime::Runtime;

use crate::extensions;

pub(crate) const USAGE: &str = "\
Usage: receive --runtime tokio|async-std|blocking --listen ADDR:PORT [options]

  --listen ADDR:PORT            where to listen; may be repeated
  --unix PATH                   listen on a Unix socket, too, or instead; may be repeated
  --max-connections N           the most connections at a time (500)
  --hostname NAME               what the server calls itself (localhost)
  --lmtp                        speak LMTP instead of SMTP
  --maildir DIR                 the folder of messages
  --sink maildir|discard        store messages in the folder (default where there is one), or take them and forget them
  --trace                       put Return-Path and Received in front of what is stored
  --bare-newline POLICY         reject (default), fix, strip or pass a CR or LF that is not part of a CRLF
  --extensions LIST             switch on what EHLO tells of, separated by commas: BINARYMIME, BURL, DELIVERBY, DSN,
                                ETRN, EXPN, FUTURERELEASE, LIMITS, MT-PRIORITY, REQUIRETLS (on where there is TLS),
                                RRVS; or off: -8BITMIME, -CHUNKING, -ENHANCEDSTATUSCODES, -HELP, -PIPELINING, -SMTPUTF8
  --max-size OCTETS             the largest message, at least 65536 (26214400)
  --max-recipients N            the most recipients, at least 100 (1000)
  --reject-rcpt ADDRESS=REPLY   refuse a recipient, for example 'a@b.test=550 5.1.1 No such user'; may be repeated
  --reject-for ADDRESS=REPLY    LMTP: refuse the message for a recipient behind its content; may be repeated
  --proxy-protocol              a PROXY header comes before everything else
  --xclient-from ADDR           this client may use XCLIENT and XFORWARD; may be repeated
  --command-timeout SECONDS     how long a client may take over a command (300)
  --delay-ms N                  wait before every decision (0)
  --tls-cert PEM --tls-key PEM  offer STARTTLS with this certificate (and its chain) and key
  --implicit-tls                begin TLS with the connection instead
  --require-tls                 serve little before STARTTLS
  --auth USER:PASSWORD          let this user authenticate; may be repeated
  --require-auth                take no mail from others
  --mechanisms LIST             separated by commas, of PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, their
                                variants ending in -PLUS, XOAUTH2, OAUTHBEARER (the password is the token), ANONYMOUS
                                (SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN and LOGIN where there is a user)
  --allow-clear-text-auth       let passwords be sent without TLS

Prints one JSON object a line, first where it listens, each listener on a line. Port 0 takes a free port. SIGTERM and SIGINT end it when
running transactions have ended; a second one breaks these off.
";

pub(crate) struct Arguments {
    pub(crate) runtime: Runtime,
    /// `ADDR:PORT` or `unix:PATH`; at least one.
    pub(crate) listen: Vec<String>,
    pub(crate) limits: ConnectionLimits,
    pub(crate) config: Config,
    pub(crate) maildir: Option<PathBuf>,
    pub(crate) trace: Option<String>,
    pub(crate) refused: Vec<(ForwardPath, Reply)>,
    pub(crate) refused_content: Vec<(ForwardPath, Reply)>,
    pub(crate) trusted: Option<Trusted>,
    pub(crate) delay: Duration,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) users: Vec<(String, Secret)>,
}

impl Arguments {
    /// What the command line says; `None` when it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let (mut runtime, mut listen, mut hostname) = (None, Vec::new(), "localhost".to_owned());
        let mut limits = ConnectionLimits::default();
        // Whoever tries this out has one address.
        limits.per_address = limits.total;
        let (mut maildir, mut sink, mut trace, mut command_timeout) = (None, None, false, None);
        let (mut refused, mut refused_content, mut delay) = (Vec::new(), Vec::new(), Duration::ZERO);
        let (mut policy, mut size, mut recipients, mut extensions) = (None, None, None, String::new());
        let (mut lmtp, mut proxy_protocol, mut trusted) = (false, false, Vec::new());
        let (mut certificate, mut key, mut implicit_tls, mut require_tls) = (None, None, false, false);
        let (mut users, mut require_auth, mut mechanisms, mut allow_clear_text_auth) = (Vec::new(), false, None, false);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("runtime") => runtime = Some(parser.value()?.parse::<Runtime>()?),
                Long("listen") => listen.push(parser.value()?.string()?),
                Long("unix") => listen.push(format!("unix:{}", parser.value()?.string()?)),
                Long("max-connections") => {
                    limits.total = parser.value()?.parse()?;
                    limits.per_address = limits.total;
                }
                Long("hostname") => hostname = parser.value()?.string()?,
                Long("lmtp") => lmtp = true,
                Long("maildir") => maildir = Some(PathBuf::from(parser.value()?)),
                Long("sink") => sink = Some(parser.value()?.parse_with(is_stored)?),
                Long("trace") => trace = true,
                Long("bare-newline") => policy = Some(parser.value()?.parse_with(smtp_tests::bare_newline)?),
                Long("extensions") => extensions = extensions + "," + &parser.value()?.string()?,
                Long("max-size") => size = Some(parser.value()?.parse::<u64>()?),
                Long("max-recipients") => recipients = Some(parser.value()?.parse::<u32>()?),
                Long("reject-rcpt") => refused.push(parser.value()?.parse_with(refusal)?),
                Long("reject-for") => refused_content.push(parser.value()?.parse_with(refusal)?),
                Long("proxy-protocol") => proxy_protocol = true,
                Long("xclient-from") => trusted.push(parser.value()?.parse::<IpAddr>()?),
                Long("command-timeout") => command_timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
                Long("delay-ms") => delay = Duration::from_millis(parser.value()?.parse()?),
                Long("tls-cert") => certificate = Some(PathBuf::from(parser.value()?)),
                Long("tls-key") => key = Some(PathBuf::from(parser.value()?)),
                Long("implicit-tls") => implicit_tls = true,
                Long("require-tls") => require_tls = true,
                Long("auth") => users.push(smtp_tests::user_and_password(parser.value()?)?),
                Long("require-auth") => require_auth = true,
                Long("mechanisms") => mechanisms = Some(parser.value()?.parse_with(smtp_tests::mechanisms)?),
                Long("allow-clear-text-auth") => allow_clear_text_auth = true,
                Short('h') | Long("help") => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        if listen.is_empty() {
            return Err("--listen or --unix is missing".into());
        }
        let mut config = Config::new(&hostname).map_err(|error| error.to_string())?;
        config.lmtp = lmtp;
        config.proxy_protocol = proxy_protocol;
        config.bare_newline = policy.unwrap_or(BareNewline::Reject);
        config.timeouts.command = command_timeout.unwrap_or(config.timeouts.command);
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                config.tls = match () {
                    () if implicit_tls => TlsPolicy::Implicit,
                    () if require_tls => TlsPolicy::Required,
                    () => TlsPolicy::Offered,
                };
                Some(ServerTls::from_pem_files(certificate, key).map_err(|error| error.to_string())?)
            }
            (None, None) if implicit_tls || require_tls => return Err("--tls-cert and --tls-key are missing".into()),
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key belong together".into()),
        };
        if require_auth && users.is_empty() && mechanisms.is_none() {
            return Err("--require-auth: nobody can authenticate; --auth is missing".into());
        }
        config.requiretls = tls.is_some();
        config.require_auth = require_auth;
        config.allow_clear_text_auth = allow_clear_text_auth;
        config.mechanisms = match mechanisms {
            Some(mechanisms) => mechanisms,
            None if users.is_empty() => Vec::new(),
            None => vec![sasl::SCRAM_SHA_256_PLUS, sasl::SCRAM_SHA_256, sasl::PLAIN, sasl::LOGIN],
        };
        match size {
            Some(size) if size < MIN_MESSAGE_SIZE => return Err("--max-size: RFC 5321 asks for at least 65536".into()),
            Some(size) => config.limits.message_size = Some(size),
            None => {}
        }
        match recipients {
            Some(few) if few < MIN_RECIPIENTS => return Err("--max-recipients: RFC 5321 asks for at least 100".into()),
            Some(count) => config.limits.recipients = count,
            None => {}
        }
        extensions::switch(&mut config, &extensions)?;
        if !refused_content.is_empty() && !lmtp {
            return Err("--reject-for needs --lmtp: SMTP has one reply for all recipients".into());
        }
        let maildir = match (sink, maildir) {
            (Some(true), None) => return Err("--sink maildir: --maildir is missing".into()),
            (Some(false), _) => None,
            (_, maildir) => maildir,
        };
        Ok(Some(Self {
            runtime: runtime.ok_or("--runtime is missing")?,
            listen,
            limits,
            trusted: (!trusted.is_empty()).then(|| trusting(trusted, &config)),
            config,
            maildir,
            trace: trace.then_some(hostname),
            refused,
            refused_content,
            delay,
            tls,
            users,
        }))
    }
}

fn trusting(addresses: Vec<IpAddr>, config: &Config) -> Trusted {
    let mut config = config.clone();
    config.xclient = true;
    config.xforward = true;
    Trusted { addresses, config: Arc::new(config) }
}

/// Whether a sink keeps messages.
fn is_stored(sink: &str) -> Result<bool, &'static str> {
    match sink {
        "maildir" => Ok(true),
        "discard" => Ok(false),
        _ => Err("one of maildir, discard"),
    }
}

/// `ADDRESS=REPLY`, where both may hold a `=`.
fn refusal(text: &str) -> Result<(ForwardPath, Reply), &'static str> {
    let refuses = |reply: &Reply| matches!(reply.severity(), Severity::Transient | Severity::Permanent);
    text.match_indices('=')
        .find_map(|(at, _)| Some((text.get(..at)?.parse().ok()?, text.get(at + 1..)?.parse().ok().filter(refuses)?)))
        .ok_or("ADDRESS=REPLY, for example 'a@b.test=550 5.1.1 No such user'")
}
