//! Keeps account of the messages under way, says what became of each, shows how far it is, and sums up.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use smtp_proto::adapter::Error;
use smtp_proto::client::{Envelope, RecipientOutcome, Verdict};
use smtp_proto::delivery::{Health, Report};
use smtp_proto::wire::Escaped;

use crate::messages::{Content, Message, Origin, Source, Unsent};
use crate::report;

/// The account of all messages.
pub(crate) struct Desk {
    began: Instant,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many messages there were, with those that were none.
    number: u64,
    counts: Counts,
    worst: u8,
}

/// A message whose outcome is not known yet.
pub(crate) struct UnderWay {
    number: u64,
    origin: Origin,
    envelope: Envelope,
    octets: u64,
}

impl UnderWay {
    /// Its envelope.
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

#[derive(Default)]
struct Counts {
    delivered: u64,
    partial: u64,
    refused: u64,
    unknown: u64,
    unsent: u64,
    /// Of the content of messages that were accepted for anybody.
    octets: u64,
    recipients: Recipients,
}

#[derive(Default)]
struct Recipients {
    accepted: u64,
    refused: u64,
    failed: u64,
    unknown: u64,
}

impl Desk {
    /// Nothing is sent yet. There is a bar when somebody sees it, several messages come, and nothing else is shown.
    pub(crate) fn new(source: &Source, transcript: bool) -> Self {
        let seen = io::stderr().is_terminal() && !transcript;
        let count = seen.then(|| source.count()).flatten().filter(|count| *count > 1);
        Self { began: Instant::now(), bar: count.map(bar), state: Mutex::default() }
    }

    /// Notes a message that is handed over now.
    pub(crate) fn begin(&self, message: Message) -> (UnderWay, Content) {
        let Message { origin, envelope, content } = message;
        let octets = match &content {
            Content::Memory(content) => u64::try_from(content.len()).unwrap_or(u64::MAX),
            Content::File(_, octets) => *octets,
        };
        (UnderWay { number: self.next_number(), origin, envelope, octets }, content)
    }

    /// Tells that something was no message.
    pub(crate) fn unsent(&self, unsent: &Unsent) {
        let number = self.next_number();
        let mut state = self.state();
        state.worst = state.worst.max(unsent.code);
        state.counts.unsent = state.counts.unsent.saturating_add(1);
        drop(state);
        self.tell(&report::of_unsent(number, &unsent.origin, &unsent.reason), &[unsent.to_string()]);
    }

    /// Tells what became of a message.
    pub(crate) fn end(&self, message: &UnderWay, result: &Result<Report, Error>) {
        let UnderWay { number, origin, envelope, octets } = message;
        let mut state = self.state();
        state.worst = state.worst.max(report::exit_code(result));
        state.counts.count(envelope.recipients.len(), *octets, result);
        drop(state);
        let mut failures = Vec::new();
        match result {
            Ok(report) => {
                for (recipient, outcome) in envelope.recipients.iter().zip(&report.outcome.recipients) {
                    if !outcome.is_accepted() {
                        let address = recipient.to_string();
                        let address = Escaped(address.as_bytes());
                        failures.push(format!("{origin}: {address}: {outcome}"));
                    }
                }
            }
            Err(error) => failures.push(format!("{origin}: {error}")),
        }
        self.tell(&report::of_message(*number, origin, envelope, result), &failures);
    }

    /// Tells that no further messages are sent.
    pub(crate) fn give_up(&self) {
        let tell = || eprintln!("send: no further messages are sent: there is no session to be had");
        self.bar.as_ref().map_or_else(tell, |bar| bar.suspend(tell));
    }

    /// Sums up, and gives what to exit with.
    pub(crate) fn sum_up(&self, health: &Health) -> u8 {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let State { number, counts, worst, .. } = &*self.state();
        let Counts { delivered, partial, refused, unknown, unsent, octets, recipients } = counts;
        let speed = if seconds > 0.0 { *number as f64 / seconds } else { 0.0 };
        eprintln!(
            "send: messages: {number} ({delivered} delivered, {partial} partial, {refused} refused, {unknown} unknown, \
             {unsent} unsent)"
        );
        let Recipients { accepted, refused, failed, unknown } = recipients;
        eprintln!("send: recipients: {accepted} accepted, {refused} refused, {failed} failed, {unknown} unknown");
        eprintln!(
            "send: octets: {octets}; retries: {}; connections: {}; seconds: {seconds:.3}; messages a second: {speed:.1}",
            health.retried, health.connections
        );
        *worst
    }

    fn tell(&self, entry: &Value, failures: &[String]) {
        let write = || {
            let mut stdout = io::stdout().lock();
            // Whoever reads this may have gone; the messages still go out.
            let _ = writeln!(stdout, "{entry}").and_then(|()| stdout.flush());
            for failure in failures {
                eprintln!("send: {failure}");
            }
        };
        match &self.bar {
            Some(bar) if io::stdout().is_terminal() || !failures.is_empty() => bar.suspend(write),
            _ => write(),
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.number = state.number.saturating_add(1);
        state.number
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar(count: u64) -> ProgressBar {
    let bar = ProgressBar::new(count);
    let template = "{wide_bar} {pos} of {len} messages, {per_sec}, {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Counts {
    fn count(&mut self, recipients: usize, octets: u64, result: &Result<Report, Error>) {
        let add = |count: &mut u64, more: usize| *count = count.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        let Ok(Report { outcome, .. }) = result else {
            add(&mut self.refused, 1);
            add(&mut self.recipients.failed, recipients);
            return;
        };
        let messages = match outcome.verdict() {
            Verdict::Delivered => &mut self.delivered,
            Verdict::Partial => &mut self.partial,
            Verdict::Refused => &mut self.refused,
            Verdict::Unknown => &mut self.unknown,
        };
        add(messages, 1);
        if outcome.recipients.iter().any(RecipientOutcome::is_accepted) {
            self.octets = self.octets.saturating_add(octets);
        }
        for outcome in &outcome.recipients {
            let recipients = match outcome {
                RecipientOutcome::Accepted(_) => &mut self.recipients.accepted,
                RecipientOutcome::Refused { .. } => &mut self.recipients.refused,
                RecipientOutcome::Unknown(_) => &mut self.recipients.unknown,
                _ => &mut self.recipients.failed,
            };
            add(recipients, 1);
        }
    }
}
