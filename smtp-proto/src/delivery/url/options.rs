//! What may stand behind the `?` of a URL.

use core::time::Duration;

use super::parse::{decoded_text, number};
use super::{InvalidUrl, Scheme};
use crate::client::{TlsPolicy, Transfer};
use crate::wire::HelloName;

/// The options of a URL; `None` is what it does not say.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) tls: Option<TlsPolicy>,
    pub(super) hello: Option<HelloName>,
    pub(super) transfer: Option<Transfer>,
    pub(super) timeout: Option<Duration>,
    pub(super) connections: Option<usize>,
    pub(super) messages: Option<u32>,
    pub(super) idle: Option<Duration>,
    pub(super) age: Option<Duration>,
    pub(super) retries: Option<u32>,
    pub(super) rate: Option<(u32, Duration)>,
}

impl Options {
    /// Reads what stands behind the `?`.
    pub(super) fn parse(text: &str, scheme: Scheme) -> Result<Self, InvalidUrl> {
        let mut options = Self::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            options.set(name, &decoded_text(value)?, scheme)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str, scheme: Scheme) -> Result<(), InvalidUrl> {
        match name {
            "tls" if matches!(scheme, Scheme::Smtps | Scheme::LmtpUnix) => Err(InvalidUrl::UnfitOption("tls")),
            "tls" => set(&mut self.tls, "tls", tls(value), "required, opportunistic or none"),
            "hello" => set(&mut self.hello, "hello", value.parse().ok(), "a domain name or an address in brackets"),
            "transfer" => set(&mut self.transfer, "transfer", transfer(value), "auto, data or bdat"),
            "timeout" => set(&mut self.timeout, "timeout", seconds(value), SECONDS),
            "connections" => {
                let count = count(value).and_then(|count| usize::try_from(count).ok());
                set(&mut self.connections, "connections", count, COUNT)
            }
            "messages" => set(&mut self.messages, "messages", count(value), COUNT),
            "idle" => set(&mut self.idle, "idle", seconds(value), SECONDS),
            "age" => set(&mut self.age, "age", seconds(value), SECONDS),
            "retries" => set(&mut self.retries, "retries", number(value), "a number"),
            "rate" => set(&mut self.rate, "rate", rate(value), "a number from 1 on with /s, /m or /h behind it"),
            _ => Err(InvalidUrl::UnknownOption),
        }
    }
}

const COUNT: &str = "a number from 1 on";
const SECONDS: &str = "a number of seconds from 1 on";

fn set<T>(
    slot: &mut Option<T>,
    option: &'static str,
    value: Option<T>,
    expected: &'static str,
) -> Result<(), InvalidUrl> {
    let value = value.ok_or(InvalidUrl::Value { option, expected })?;
    if slot.replace(value).is_some() { Err(InvalidUrl::RepeatedOption(option)) } else { Ok(()) }
}

fn tls(value: &str) -> Option<TlsPolicy> {
    match value {
        "required" => Some(TlsPolicy::Required),
        "opportunistic" => Some(TlsPolicy::Opportunistic),
        "none" => Some(TlsPolicy::None),
        _ => None,
    }
}

fn transfer(value: &str) -> Option<Transfer> {
    match value {
        "auto" => Some(Transfer::Auto),
        "data" => Some(Transfer::Data),
        "bdat" => Some(Transfer::Bdat),
        _ => None,
    }
}

fn count(value: &str) -> Option<u32> {
    number(value).filter(|count| *count > 0)
}

fn seconds(value: &str) -> Option<Duration> {
    count(value).map(|seconds| Duration::from_secs(seconds.into()))
}

fn rate(value: &str) -> Option<(u32, Duration)> {
    let (number, unit) = value.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some((count(number)?, Duration::from_secs(seconds)))
}
