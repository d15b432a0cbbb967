//! The command line of `send`.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;
use smtp_proto::Secret;
use smtp_proto::adapter::tls::ClientTls;
use smtp_proto::client::{Authentication, Config, Envelope, Timeouts, TlsPolicy, Transfer};
use smtp_proto::delivery::{Endpoint, Policies, RateLimit, Url};
use smtp_proto::sasl::{Login, Mechanism};
use smtp_proto::wire::BareNewline;
use smtp_tests::runtime::Runtime;

use crate::messages::Source;
use crate::parameters::Parameters;
use crate::route::{Route, endpoint};

pub(crate) const USAGE: &str = "\
Usage: send --runtime tokio|async-std|blocking WHERE --from ADDRESS --to ADDRESS... [options]

Where to send, one of:
  --server HOST[:PORT]   this server (port 25; 465 with --tls implicit; 24 with --lmtp)
  --unix PATH            the server at this Unix socket
  --url URL              where and how a URL says: smtp://, smtps:// or lmtp://USER:PASSWORD@HOST:PORT, or
                         lmtp+unix:///PATH, and options: ?tls=required|opportunistic|none (required where it is not
                         implicit), hello=, transfer=, timeout=, connections=, messages=, idle=, age=, retries=, rate=;
                         --hello, --body, --timeout, --pool, --retry and --rate go before what it says
  --mx DOMAIN            the mail exchangers of this domain, at port 25, one after the other until one takes the session
                         (tokio only); recipients of other domains go to the same ones, and are theirs to refuse
  --lmtp                 speak LMTP (with --server or --unix; never at port 25)

What to send:
  --from ADDRESS         the sender; empty for none
  --to ADDRESS...        the recipients
  --file FILE            the message, as it is; may be repeated (a small message of its own)
  --repeat N             send everything N times (1)
  --bulk FILE            what a table says (CSV, UTF-8): a line with the names of columns, from, to and file in any
                         order, and a line for each message; several recipients are separated by spaces or semicolons,
                         files are looked for where the table is; instead of --from, --to and --file
  --bulk DIR             the messages of a maildir, in new and cur. Without --from, each goes out under its Return-Path,
                         else its From; without --to, to its topmost Delivered-To, else to all of To, Cc and Bcc (then
                         without its Bcc fields)
  --newlines POLICY      fix (default), reject, strip or pass a CR or LF that is not part of a CRLF

What to ask of the server:
  --body HOW             auto (default: BDAT where it is offered), data or bdat
  --dsn WHEN             notify the sender: never, or some of success,failure,delay
  --dsn-ret WHAT         of the message, return full or hdrs in notifications
  --dsn-envid ID         call the message so in notifications
  --deliver-by TIME      deliver within SECONDS;R or return it, or SECONDS;N or notify the sender
  --hold TIME            hold it back for so many seconds, or until a time such as 2030-01-31T12:00:00Z
  --priority N           from -9 to 9
  --requiretls           let it not travel without TLS, here and further on

How:
  --hello NAME           what the client calls itself (localhost)
  --pool N               over so many connections at once (1; with --url 5)
  --retry N              try again up to so many times what fails for now (0; with --url 3)
  --retry-delay SECONDS  wait for so long before the first of these, then four times as long each, but never over five
                         minutes; the second half of each wait is random (1)
  --rate N[/s|/m|/h]     no more attempts than that in a second, minute or hour
  --timeout SECONDS      how long to wait for each reply (as RFC 5321 says)
  --transcript           show the dialogue on standard error
  --tls POLICY           none (default), opportunistic, required (STARTTLS), or implicit
  --ca PEM               whom to trust, instead of whom the system trusts
  --tls-name NAME        the name the server's certificate must have, instead of HOST
  --auth USER:PASSWORD   authenticate
  --mechanism NAME       by this mechanism only, or these, separated by commas (the strongest that is offered); with
                         XOAUTH2 or OAUTHBEARER the password is the token
  --allow-clear-text-auth   send the password without TLS, if there is none

Prints one JSON object a message, as they are done; on standard error what failed, a progress bar where there are several
messages and that is a terminal, and at the end a summary. Exits with 0 when all were delivered, else as sysexits.h says,
and with the highest of these: 64 usage, 65 no message could be made of a line of the table or of a file of the maildir,
66 a file cannot be read, 68 unknown host, 69 refused, 71 the system failed, 75 try again later, 76 protocol error, 77 not
authenticated, or the server is not the one that was meant: then what is left is not tried.
";

/// What is to be done.
pub(crate) struct Arguments {
    pub(crate) runtime: Runtime,
    pub(crate) route: Route,
    pub(crate) config: Config,
    pub(crate) policies: Policies,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) transcript: bool,
    pub(crate) source: Source,
}

/// What the command line says, flag by flag.
#[derive(Default)]
struct Given {
    runtime: Option<Runtime>,
    server: Option<String>,
    unix: Option<String>,
    url: Option<Url>,
    mx: Option<String>,
    lmtp: bool,
    from: Option<String>,
    to: Vec<String>,
    files: Vec<PathBuf>,
    repeat: Option<usize>,
    bulk: Option<PathBuf>,
    newlines: Option<BareNewline>,
    body: Option<Transfer>,
    parameters: Parameters,
    hello: Option<String>,
    pool: Option<usize>,
    retry: Option<u32>,
    retry_delay: Option<Duration>,
    rate: Option<RateLimit>,
    timeout: Option<Duration>,
    transcript: bool,
    tls: Option<TlsPolicy>,
    ca: Option<PathBuf>,
    tls_name: Option<String>,
    auth: Option<(String, Secret)>,
    mechanisms: Option<Vec<&'static dyn Mechanism>>,
    allow_clear_text_auth: bool,
}

impl Arguments {
    /// What the command line says; `None` when it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let Some(mut given) = Given::parse()? else { return Ok(None) };
        let runtime = given.runtime.ok_or("--runtime is missing")?;
        let route = given.route(runtime)?;
        let config = given.config(&route)?;
        let connect_timeout = given.timeout.or_else(|| given.url.as_ref()?.connect_timeout());
        Ok(Some(Self {
            runtime,
            policies: given.policies(),
            tls: given.trust(&config)?,
            transcript: given.transcript,
            source: given.source(&route)?,
            route,
            config,
            connect_timeout,
        }))
    }
}

impl Given {
    fn parse() -> Result<Option<Self>, lexopt::Error> {
        let mut given = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("runtime") => given.runtime = Some(parser.value()?.parse()?),
                Long("server") => given.server = Some(parser.value()?.string()?),
                Long("unix") => given.unix = Some(parser.value()?.string()?),
                // Neither error repeats it: it may hold a password.
                Long("url") => {
                    let text = parser.value()?.into_string().map_err(|_| "--url: it is not UTF-8")?;
                    given.url = Some(text.parse().map_err(|error| format!("--url: {error}"))?);
                }
                Long("mx") => given.mx = Some(parser.value()?.string()?),
                Long("lmtp") => given.lmtp = true,
                Long("from") => given.from = Some(parser.value()?.string()?),
                Long("to") => {
                    for address in parser.values()? {
                        given.to.push(address.string()?);
                    }
                }
                Long("file") => given.files.push(PathBuf::from(parser.value()?)),
                Long("repeat") => given.repeat = Some(parser.value()?.parse()?),
                Long("bulk") => given.bulk = Some(PathBuf::from(parser.value()?)),
                Long("newlines") => given.newlines = Some(parser.value()?.parse_with(smtp_tests::bare_newline)?),
                Long("body") => given.body = Some(parser.value()?.parse_with(transfer)?),
                Long("hello") => given.hello = Some(parser.value()?.string()?),
                Long("pool") => given.pool = Some(parser.value()?.parse_with(connections)?),
                Long("retry") => given.retry = Some(parser.value()?.parse()?),
                Long("retry-delay") => given.retry_delay = Some(parser.value()?.parse_with(seconds)?),
                Long("rate") => given.rate = Some(parser.value()?.parse_with(rate)?),
                Long("timeout") => given.timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
                Long("transcript") => given.transcript = true,
                Long("tls") => given.tls = Some(parser.value()?.parse_with(tls_policy)?),
                Long("ca") => given.ca = Some(PathBuf::from(parser.value()?)),
                Long("tls-name") => given.tls_name = Some(parser.value()?.string()?),
                Long("auth") => given.auth = Some(smtp_tests::user_and_password(parser.value()?)?),
                Long("mechanism") => given.mechanisms = Some(parser.value()?.parse_with(smtp_tests::mechanisms)?),
                Long("allow-clear-text-auth") => given.allow_clear_text_auth = true,
                Long("requiretls") => given.parameters.set("requiretls", "")?,
                Long(flag) if Parameters::FLAGS.contains(&flag) => {
                    let flag = flag.to_owned();
                    given.parameters.set(&flag, &parser.value()?.string()?)?;
                }
                Short('h') | Long("help") => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Some(given))
    }

    fn route(&self, runtime: Runtime) -> Result<Route, String> {
        let wheres = [
            ("--server", self.server.is_some()),
            ("--unix", self.unix.is_some()),
            ("--url", self.url.is_some()),
            ("--mx", self.mx.is_some()),
        ];
        let named: Vec<_> = wheres.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect();
        if let [one, other, ..] = named[..] {
            return Err(format!("{one} and {other} both say where to send: one of them has to go"));
        }
        if self.url.is_some() {
            let said = [("--lmtp", self.lmtp), ("--tls", self.tls.is_some()), ("--auth", self.auth.is_some())];
            if let Some((flag, _)) = said.into_iter().find(|(_, given)| *given) {
                return Err(format!("--url says that itself: {flag} has to go"));
            }
        }
        match (&self.server, &self.unix, &self.url, &self.mx) {
            (Some(server), ..) => endpoint(server, self.lmtp, self.tls == Some(TlsPolicy::Implicit)),
            (_, Some(path), ..) if self.tls.is_none_or(|policy| policy == TlsPolicy::None) => {
                Ok(Route::Endpoint(Endpoint::Unix(path.clone())))
            }
            (_, Some(_), ..) => Err("--unix: there is no TLS at a Unix socket; --tls has to go".to_owned()),
            (_, _, Some(url), _) => Ok(Route::Endpoint(url.endpoint().clone())),
            (.., Some(_)) if runtime != Runtime::Tokio => {
                Err(format!("--mx needs --runtime tokio: there is no resolver for {} here", runtime.name()))
            }
            (.., Some(_)) if self.lmtp => {
                Err("--mx: mail exchangers are at port 25, where LMTP must not be spoken (RFC 2033 section 5)"
                    .to_owned())
            }
            (.., Some(domain)) => Route::mail_exchangers(domain),
            _ => Err("--server is missing, or --unix, --url or --mx".to_owned()),
        }
    }

    fn config(&mut self, route: &Route) -> Result<Config, lexopt::Error> {
        let hello = self.hello.as_deref().unwrap_or("localhost");
        let mut config = match &self.url {
            Some(url) => url.client_config(hello),
            None => Config::new(hello),
        }
        .map_err(|error| error.to_string())?;
        if let Some(hello) = &self.hello {
            config.set_hello(hello.parse().map_err(|error| format!("--hello: {error}"))?);
        }
        if self.url.is_none() {
            config.tls = self.tls.unwrap_or(TlsPolicy::None);
            config.lmtp = self.lmtp;
            config.server_name = route.server_name();
        }
        if let Some(timeout) = self.timeout {
            config.timeouts = Timeouts::all(timeout);
        }
        config.bare_newline = self.newlines.unwrap_or(config.bare_newline);
        config.transfer = self.body.unwrap_or(config.transfer);
        config.allow_clear_text_auth = self.allow_clear_text_auth;
        if self.mechanisms.is_some() && self.auth.is_none() {
            return Err("--mechanism: --auth is missing".into());
        }
        if let Some((name, password)) = self.auth.take() {
            let mechanisms = self.mechanisms.take();
            let named = |name| mechanisms.iter().flatten().any(|mechanism| mechanism.name() == name);
            let login = match named("XOAUTH2") || named("OAUTHBEARER") {
                true => Login::token(name, password),
                false => Login::password(name, password),
            };
            let login = login.map_err(|error| error.to_string())?;
            config.authentication = Authentication::Required(match mechanisms {
                Some(mechanisms) => login.mechanisms(mechanisms),
                None => login,
            });
        }
        Ok(config)
    }

    fn policies(&self) -> Policies {
        let mut policies = match &self.url {
            Some(url) => Policies::from(url),
            None => {
                let mut policies = Policies::default();
                policies.pool.connections = 1;
                policies.pool.messages = u32::MAX;
                policies.retry.attempts = 1;
                policies
            }
        };
        policies.pool.connections = self.pool.unwrap_or(policies.pool.connections);
        policies.retry.attempts = self.retry.map_or(policies.retry.attempts, |retries| retries.saturating_add(1));
        policies.retry.first_delay = self.retry_delay.unwrap_or(policies.retry.first_delay);
        policies.rate = self.rate.clone().or(policies.rate);
        policies
    }

    fn trust(&self, config: &Config) -> Result<Option<ClientTls>, String> {
        if self.ca.is_none() && self.tls_name.is_none() {
            return Ok(None);
        }
        if config.tls == TlsPolicy::None {
            return Err("--ca and --tls-name need --tls opportunistic, required or implicit".to_owned());
        }
        let tls = self.ca.as_ref().map_or_else(ClientTls::system_roots, ClientTls::with_ca_file);
        let tls = tls.map_err(|error| error.to_string())?;
        Ok(Some(match &self.tls_name {
            Some(name) => tls.server_name(name).map_err(|error| error.to_string())?,
            None => tls,
        }))
    }

    fn source(self, route: &Route) -> Result<Source, lexopt::Error> {
        let Self { from, to, files, repeat, bulk, parameters, .. } = self;
        let repeat = repeat.unwrap_or(1);
        if let Some(bulk) = bulk {
            if !files.is_empty() {
                return Err("--bulk says which messages: --file has to go".into());
            }
            return Ok(Source::bulk(bulk, from, to, repeat, parameters)?);
        }
        let from = from.ok_or("--from is missing")?;
        if to.is_empty() {
            return Err("--to is missing".into());
        }
        let mut envelope = Envelope::new(&from, &to).map_err(|error| error.to_string())?;
        parameters.apply(&mut envelope);
        route.check(&envelope)?;
        Ok(Source::Files { envelope, files, repeat })
    }
}

fn transfer(name: &str) -> Result<Transfer, &'static str> {
    match name {
        "auto" => Ok(Transfer::Auto),
        "data" => Ok(Transfer::Data),
        "bdat" => Ok(Transfer::Bdat),
        _ => Err("one of auto, data, bdat"),
    }
}

fn connections(count: &str) -> Result<usize, &'static str> {
    count.parse().ok().filter(|count| *count > 0).ok_or("a number from 1 on")
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or("a number of seconds, such as 0.5")
}

/// A number alone is so many a second.
fn rate(text: &str) -> Result<RateLimit, &'static str> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let count = count.parse().ok().filter(|count| *count > 0);
    let limit = count.zip(seconds).map(|(count, seconds)| RateLimit::new(count, Duration::from_secs(seconds)));
    limit.ok_or("a number from 1 on, with /s, /m or /h behind it or nothing")
}

fn tls_policy(name: &str) -> Result<TlsPolicy, &'static str> {
    match name {
        "none" => Ok(TlsPolicy::None),
        "opportunistic" => Ok(TlsPolicy::Opportunistic),
        "required" => Ok(TlsPolicy::Required),
        "implicit" => Ok(TlsPolicy::Implicit),
        _ => Err("one of none, opportunistic, required, implicit"),
    }
}
