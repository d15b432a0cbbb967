//! The configuration of a machine, from the settings of a dialogue.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use smtp_proto::sasl::{self, Login, Mechanism};
use smtp_proto::wire::{Capability, FutureReleaseInterval, FutureReleaseMaxima};
use smtp_proto::{client, server};

use super::Outcome;

/// The nonce of every exchange.
const NONCE: [u8; 24] = *b"0123456789abcdef01234567";

/// Settings with their values; of two with the same name the last counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    values: Vec<(String, String)>,
    /// The names that have been asked for: all others are mistakes.
    known: RefCell<BTreeSet<String>>,
}

impl Settings {
    /// `KEY=VALUE KEY=VALUE`
    pub(super) fn extend(&mut self, text: &str) {
        let setting = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_owned(), value.to_owned())
        };
        self.values.extend(text.split_whitespace().map(setting));
    }

    /// These, with others in front of them.
    pub(super) fn with(&self, text: &str) -> Self {
        let mut settings = self.clone();
        settings.extend(text);
        settings
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.known.borrow_mut().insert(name.to_owned());
        self.values.iter().rev().find_map(|(key, value)| (key == name).then_some(&**value))
    }

    fn all_are_known(&self) -> Outcome {
        let known = self.known.borrow();
        match self.values.iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(format!("config: there is no {key}")),
        }
    }

    /// `mechanisms=PLAIN,LOGIN`
    fn mechanisms(&self) -> Outcome<Vec<&'static dyn Mechanism>> {
        let names = self.value("mechanisms").into_iter().flat_map(|names| names.split(','));
        names.map(|name| sasl::find(name).ok_or(format!("config: no mechanism {name}"))).collect()
    }

    /// `USER:PASSWORD`, `USER:token:TOKEN`, `external` or `anonymous:TRACE`
    fn login(&self, name: &str) -> Outcome<Option<Login>> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let (first, rest) = text.split_once(':').unwrap_or((text, ""));
        let login = match (first, rest.strip_prefix("token:")) {
            ("external", _) => Ok(Login::external()),
            ("anonymous", _) => Login::anonymous(rest),
            (username, Some(token)) => Login::token(username, token),
            (username, None) => Login::password(username, rest),
        };
        let login = login.map_err(|error| error.to_string())?;
        let mechanisms = self.mechanisms()?;
        Ok(Some(if mechanisms.is_empty() { login } else { login.mechanisms(mechanisms) }))
    }

    fn number<T: FromStr>(&self, name: &str, slot: &mut T) -> Outcome {
        match self.value(name).map(str::parse) {
            None => Ok(()),
            Some(Ok(number)) => {
                *slot = number;
                Ok(())
            }
            Some(Err(_)) => Err(format!("config: {name} is no number")),
        }
    }

    /// A number, or `none`.
    fn limit<T: FromStr>(&self, name: &str, slot: &mut Option<T>) -> Outcome {
        if self.value(name) == Some("none") {
            *slot = None;
        } else if let Some(number) = self.value(name) {
            *slot = Some(number.parse().map_err(|_| format!("config: {name} is no number"))?);
        }
        Ok(())
    }

    /// Seconds.
    fn time(&self, name: &str, slot: &mut Duration) -> Outcome {
        let mut seconds = slot.as_secs_f64();
        self.number(name, &mut seconds)?;
        *slot = Duration::from_secs_f64(seconds);
        Ok(())
    }

    fn on(&self, name: &str, slot: &mut bool) -> Outcome {
        *slot = match self.value(name) {
            None => *slot,
            Some("on") => true,
            Some("off") => false,
            Some(_) => return Err(format!("config: {name} is on or off")),
        };
        Ok(())
    }

    /// The configuration of a server.
    pub(super) fn server(&self) -> Outcome<server::Config> {
        let mut config =
            server::Config::new(self.value("hostname").unwrap_or("mx.test")).map_err(|error| error.to_string())?;
        config.greeting = self.value("greeting").map(ToOwned::to_owned);
        if let Some(policy) = self.value("bare_newline") {
            config.bare_newline = crate::bare_newline(policy)?;
        }
        self.on("allow_nul", &mut config.allow_nul)?;
        self.on("lmtp", &mut config.lmtp)?;
        self.extensions(&mut config)?;
        self.on("proxy_protocol", &mut config.proxy_protocol)?;
        self.on("xclient", &mut config.xclient)?;
        self.on("xforward", &mut config.xforward)?;
        self.on("require_auth", &mut config.require_auth)?;
        self.on("allow_clear_text_auth", &mut config.allow_clear_text_auth)?;
        config.mechanisms = self.mechanisms()?;
        config.nonces = Some(|| Some(NONCE));
        config.tls = match self.value("tls") {
            None | Some("none") => server::TlsPolicy::None,
            Some("offered") => server::TlsPolicy::Offered,
            Some("required") => server::TlsPolicy::Required,
            Some("implicit") => server::TlsPolicy::Implicit,
            Some(_) => return Err("config: tls".to_owned()),
        };
        self.limits(&mut config.limits)?;
        self.timeouts(&mut config.timeouts)?;
        // Asked for when somebody authenticates.
        self.value("user");
        self.all_are_known()?;
        Ok(config)
    }

    fn extensions(&self, config: &mut server::Config) -> Outcome {
        self.on("pipelining", &mut config.pipelining)?;
        self.on("eight_bit_mime", &mut config.eight_bit_mime)?;
        self.on("smtputf8", &mut config.smtputf8)?;
        self.on("enhanced_status_codes", &mut config.enhanced_status_codes)?;
        self.on("expand", &mut config.expand)?;
        self.on("help", &mut config.help)?;
        self.on("chunking", &mut config.chunking)?;
        self.on("binary_mime", &mut config.binary_mime)?;
        self.on("requiretls", &mut config.requiretls)?;
        self.on("dsn", &mut config.dsn)?;
        self.limit("deliver_by", &mut config.deliver_by)?;
        self.on("priority", &mut config.priority)?;
        self.on("rrvs", &mut config.rrvs)?;
        self.on("announce_limits", &mut config.announce_limits)?;
        self.on("etrn", &mut config.etrn)?;
        config.burl = self.value("burl").map(|parameters| parameters.replace(',', " "));
        if let Some(maxima) = self.value("future_release") {
            let maxima = maxima.split_once(',').and_then(|(seconds, date_time)| {
                let interval = FutureReleaseInterval::new(seconds.parse().ok()?).ok()?;
                Some(FutureReleaseMaxima { interval, date_time: date_time.parse().ok()? })
            });
            config.future_release = Some(maxima.ok_or("config: future_release=SECONDS,DATE-TIME")?);
        }
        if let Some(keywords) = self.value("parameters") {
            config.parameters = keywords.split(',').map(ToOwned::to_owned).collect();
        }
        if let Some(lines) = self.value("capabilities") {
            let capability = |line: &str| {
                let (keyword, parameters) = line.split_once(':').unwrap_or((line, ""));
                Capability::new(keyword, &parameters.replace(':', " "))
            };
            let capabilities: Option<_> = lines.split(',').map(capability).collect();
            config.capabilities = capabilities.ok_or("config: capabilities=KEYWORD:PARAMETER:PARAMETER,KEYWORD")?;
        }
        Ok(())
    }

    fn limits(&self, limits: &mut server::Limits) -> Outcome {
        self.number("command_line", &mut limits.command_line)?;
        self.number("discarded_line", &mut limits.discarded_line)?;
        self.number("text_line", &mut limits.text_line)?;
        self.limit("message_size", &mut limits.message_size)?;
        self.number("discarded_content", &mut limits.discarded_content)?;
        self.number("recipients", &mut limits.recipients)?;
        self.limit("transactions", &mut limits.transactions)?;
        self.limit("recipient_domains", &mut limits.recipient_domains)?;
        self.number("soft_errors", &mut limits.soft_errors)?;
        self.number("hard_errors", &mut limits.hard_errors)?;
        self.number("junk_commands", &mut limits.junk_commands)?;
        self.number("refusals", &mut limits.refusals)?;
        self.number("auth_line", &mut limits.auth_line)?;
        self.number("auth_rounds", &mut limits.auth_rounds)?;
        self.number("auth_failures", &mut limits.auth_failures)
    }

    fn timeouts(&self, timeouts: &mut server::Timeouts) -> Outcome {
        self.time("command_time", &mut timeouts.command)?;
        self.time("content_time", &mut timeouts.content)?;
        self.number("minimum_rate", &mut timeouts.minimum_rate)?;
        self.time("early_talkers", &mut timeouts.early_talkers)?;
        self.time("proxy_header", &mut timeouts.proxy_header)?;
        self.time("handshake_time", &mut timeouts.handshake)
    }

    /// The configuration of a client.
    pub(super) fn client(&self) -> Outcome<client::Config> {
        let mut config =
            client::Config::new(self.value("hello").unwrap_or("c.test")).map_err(|error| error.to_string())?;
        if let Some(policy) = self.value("bare_newline") {
            config.bare_newline = crate::bare_newline(policy)?;
        }
        config.allow_helo = self.value("allow_helo") != Some("off");
        config.allow_clear_text_auth = self.value("allow_clear_text_auth") == Some("on");
        config.nonces = Some(|| Some(NONCE));
        config.tls = match self.value("tls") {
            None | Some("none") => client::TlsPolicy::None,
            Some("opportunistic") => client::TlsPolicy::Opportunistic,
            Some("required") => client::TlsPolicy::Required,
            Some("implicit") => client::TlsPolicy::Implicit,
            Some(_) => return Err("config: tls".to_owned()),
        };
        config.authentication = match (self.login("auth")?, self.login("auth_if_available")?) {
            (Some(login), _) => client::Authentication::Required(login),
            (None, Some(login)) => client::Authentication::IfAvailable(login),
            (None, None) => client::Authentication::Never,
        };
        self.on("lmtp", &mut config.lmtp)?;
        config.transfer = match self.value("transfer") {
            None | Some("auto") => client::Transfer::Auto,
            Some("data") => client::Transfer::Data,
            Some("bdat") => client::Transfer::Bdat,
            Some(_) => return Err("config: transfer".to_owned()),
        };
        self.number("chunks_in_flight", &mut config.chunks_in_flight)?;
        self.number("messages_in_flight", &mut config.messages_in_flight)?;
        self.number("in_flight", &mut config.in_flight)?;
        self.number("text_line", &mut config.text_line)?;
        self.all_are_known()?;
        Ok(config)
    }
}
