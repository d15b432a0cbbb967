//! What a dialogue says, read from its text.

use std::time::Duration;

use smtp_proto::server::{Decision, Shutdown};
use smtp_proto::wire::Reply;

use super::Outcome;
use super::settings::Settings;

/// A dialogue out of a file.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) server: bool,
    pub(super) settings: Settings,
    pub(super) decisions: Vec<(String, Answer)>,
    pub(super) acts: Vec<(usize, Act)>,
    /// All input comes before any output is looked at.
    pub(super) joined: bool,
}

/// What the application answers.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Decision(Decision),
    /// Another configuration: that of the dialogue, but for these settings.
    Configure(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Feed(Vec<u8>),
    Expect(Vec<u8>),
    Event(String),
    Pass(Duration),
    Intent(String),
    EndOfFile,
    Lost,
    Mute,
    /// The handshake that is due.
    Tls(Handshake),
    ShutDown(Shutdown),
    /// The application fails.
    ApplicationFails,
    Closed,
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    Done,
    /// With channel binding.
    Bound,
    /// The same, and nobody knows who the server is.
    Unverified,
    Failed,
}

impl Script {
    /// Reads a dialogue; an error when a line is not understood.
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let mut script = Self {
            server: true,
            settings: Settings::default(),
            decisions: Vec::new(),
            acts: Vec::new(),
            joined: false,
        };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(format!("line {number}: no key"))?;
            let value = value.strip_prefix(' ').unwrap_or(value);
            let bad = |what: String| format!("line {number}: {what}");
            let act = match key {
                "role" => {
                    script.server = value == "server";
                    continue;
                }
                "config" => {
                    script.settings.extend(value);
                    continue;
                }
                "decide" => {
                    let (event, reply) = value.split_once(" = ").ok_or(bad("no decision".to_owned()))?;
                    script.decisions.push((event.to_owned(), answer(reply).map_err(bad)?));
                    continue;
                }
                "C" | "S" | "c" | "s" => {
                    let mut octets = unescape(value).map_err(bad)?;
                    if key.starts_with(char::is_uppercase) {
                        octets.extend_from_slice(b"\r\n");
                    }
                    let feed = script.server == key.eq_ignore_ascii_case("c");
                    if feed { Act::Feed(octets) } else { Act::Expect(octets) }
                }
                "E" => Act::Event(value.to_owned()),
                "T" => Act::Pass(Duration::from_secs_f64(value.parse().map_err(|_| bad("no number".to_owned()))?)),
                "I" => Act::Intent(value.to_owned()),
                "X" => match value {
                    "eof" => Act::EndOfFile,
                    "lost" => Act::Lost,
                    "mute" => Act::Mute,
                    "tls" => Act::Tls(Handshake::Done),
                    "tls unverified" => Act::Tls(Handshake::Unverified),
                    "tls bound" => Act::Tls(Handshake::Bound),
                    "tls failed" => Act::Tls(Handshake::Failed),
                    "shutdown" => Act::ShutDown(Shutdown::AfterTransaction),
                    "shutdown now" => Act::ShutDown(Shutdown::Now),
                    "fail" => Act::ApplicationFails,
                    "closed" => Act::Closed,
                    _ => match value.strip_prefix("error ") {
                        Some(error) => Act::Failed(error.to_owned()),
                        None => return Err(bad(format!("unknown: {value}"))),
                    },
                },
                _ => return Err(bad(format!("unknown key {key}"))),
            };
            match (script.acts.last_mut(), act) {
                (Some((_, Act::Feed(last))), Act::Feed(more)) | (Some((_, Act::Expect(last))), Act::Expect(more)) => {
                    last.extend(more);
                }
                (_, act) => script.acts.push((number, act)),
            }
        }
        Ok(script)
    }

    pub(super) fn feeds(&self) -> impl Iterator<Item = &[u8]> {
        self.acts.iter().filter_map(|(_, act)| match act {
            Act::Feed(octets) => Some(&octets[..]),
            _ => None,
        })
    }

    /// The same with all input in front of all output, where nothing but input happens.
    pub(super) fn joined(&self) -> Option<Self> {
        let plain = |(_, act): &(usize, Act)| {
            matches!(act, Act::Feed(_) | Act::Expect(_) | Act::Event(_) | Act::EndOfFile | Act::Closed | Act::Failed(_))
        };
        if !self.server || !self.acts.iter().all(plain) {
            return None;
        }
        let (mut input, mut output, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for (number, act) in &self.acts {
            match act {
                Act::Feed(octets) => input.extend_from_slice(octets),
                Act::Expect(octets) => output.extend_from_slice(octets),
                act => rest.push((*number, act.clone())),
            }
        }
        let (events, ends): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, act)| matches!(act, Act::Event(_)));
        let mut acts = events;
        acts.push((0, Act::Feed(input)));
        acts.extend(ends);
        acts.push((0, Act::Expect(output)));
        let (settings, decisions) = (self.settings.clone(), self.decisions.clone());
        Some(Self { server: true, settings, decisions, acts, joined: true })
    }
}

fn answer(text: &str) -> Outcome<Answer> {
    match text.strip_prefix("configure ") {
        Some(settings) => Ok(Answer::Configure(settings.to_owned())),
        None => decision(text).map(Answer::Decision),
    }
}

fn decision(text: &str) -> Outcome<Decision> {
    let parse =
        |text: &str| text.replace("\\r", "\r").replace("\\n", "\n").parse::<Reply>().map_err(|error| error.to_string());
    Ok(match text.strip_prefix("close ") {
        Some(reply) => Decision::Close(parse(reply)?),
        None if text == "accept" => Decision::Accept,
        // `each 250 ok | 452 full`
        None if text.starts_with("each ") => {
            Decision::Each(text["each ".len()..].split(" | ").map(decision).collect::<Outcome<_>>()?)
        }
        None => Decision::Reply(parse(text)?),
    })
}

/// Escapes `\r \n \t \0 \\ \xHH`, and `{text*N}` for repetitions.
fn unescape(text: &str) -> Outcome<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '{']) {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(repetition) = rest.strip_prefix('{') {
            let parsed = repetition.split_once('}').and_then(|(inside, behind)| {
                let (what, count) = inside.rsplit_once('*')?;
                Some((unescape(what), count.parse::<usize>().ok()?, behind))
            });
            let Some((what, count, behind)) = parsed else {
                octets.push(b'{');
                rest = repetition;
                continue;
            };
            octets.extend(what?.repeat(count));
            rest = behind;
            continue;
        }
        let mut letters = rest[1..].chars();
        let letter = letters.next().ok_or("a backslash at the end")?;
        rest = letters.as_str();
        octets.push(match letter {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            '{' => b'{',
            '"' => b'"',
            'x' => {
                let digits = rest.get(..2).ok_or("\\x without digits")?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?
            }
            other => return Err(format!("unknown escape {other}")),
        });
    }
    octets.extend_from_slice(rest.as_bytes());
    Ok(octets)
}

pub(super) fn quoted(text: &str) -> Outcome<Vec<u8>> {
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("content without quotes")?;
    unescape(inside)
}
