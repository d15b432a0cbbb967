//! The configuration of a machine, from the settings of a dialogue.

use std::str::FromStr;

use smtp_proto::sasl::{self, Login, Mechanism};
use smtp_proto::{client, server};

use super::Outcome;

/// The nonce of every exchange.
const NONCE: [u8; 24] = *b"0123456789abcdef01234567";

/// Settings with their values; of two with the same name the first counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    /// `KEY=VALUE KEY=VALUE`
    pub(super) fn extend(&mut self, text: &str) {
        let setting = |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.0.extend(text.split_whitespace().filter_map(setting));
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| (key == name).then_some(&**value))
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

    pub(super) fn server(&self) -> Outcome<server::Config> {
        let mut config =
            server::Config::new(self.value("hostname").unwrap_or("mx.test")).map_err(|error| error.to_string())?;
        if let Some(policy) = self.value("bare_newline") {
            config.bare_newline = crate::bare_newline(policy)?;
        }
        let on = |name: &str, slot: &mut bool| *slot = self.value(name).map_or(*slot, |value| value == "on");
        on("allow_nul", &mut config.allow_nul);
        on("pipelining", &mut config.pipelining);
        on("eight_bit_mime", &mut config.eight_bit_mime);
        on("smtputf8", &mut config.smtputf8);
        on("enhanced_status_codes", &mut config.enhanced_status_codes);
        on("expand", &mut config.expand);
        on("help", &mut config.help);
        on("lmtp", &mut config.lmtp);
        on("chunking", &mut config.chunking);
        on("binary_mime", &mut config.binary_mime);
        on("requiretls", &mut config.requiretls);
        on("require_auth", &mut config.require_auth);
        on("allow_clear_text_auth", &mut config.allow_clear_text_auth);
        config.mechanisms = self.mechanisms()?;
        config.nonces = Some(|| Some(NONCE));
        config.tls = match self.value("tls") {
            None | Some("none") => server::TlsPolicy::None,
            Some("offered") => server::TlsPolicy::Offered,
            Some("required") => server::TlsPolicy::Required,
            Some("implicit") => server::TlsPolicy::Implicit,
            Some(_) => return Err("config: tls".to_owned()),
        };
        if let Some(keywords) = self.value("parameters") {
            config.parameters = keywords.split(',').map(ToOwned::to_owned).collect();
        }
        let limits = &mut config.limits;
        self.number("command_line", &mut limits.command_line)?;
        self.number("discarded_line", &mut limits.discarded_line)?;
        self.number("text_line", &mut limits.text_line)?;
        self.number("discarded_content", &mut limits.discarded_content)?;
        self.number("recipients", &mut limits.recipients)?;
        self.number("soft_errors", &mut limits.soft_errors)?;
        self.number("hard_errors", &mut limits.hard_errors)?;
        self.number("junk_commands", &mut limits.junk_commands)?;
        self.number("refusals", &mut limits.refusals)?;
        self.number("auth_line", &mut limits.auth_line)?;
        self.number("auth_rounds", &mut limits.auth_rounds)?;
        self.number("auth_failures", &mut limits.auth_failures)?;
        self.number("minimum_rate", &mut config.timeouts.minimum_rate)?;
        match self.value("message_size") {
            Some("none") => limits.message_size = None,
            Some(size) => limits.message_size = Some(size.parse().map_err(|_| "config: message_size")?),
            None => {}
        }
        Ok(config)
    }

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
        self.number("in_flight", &mut config.in_flight)?;
        self.number("text_line", &mut config.text_line)?;
        Ok(config)
    }
}
