//! Exchanges in which the client says everything in one response.

use alloc::string::String;
use alloc::vec::Vec;

use super::{ClientExchange, Credentials, Failure, Fault, ServerExchange, ServerStep, Verdict};
use crate::secret::Secret;

/// The client's side: one response, sent first.
pub(super) struct SingleResponse(Option<Secret>);

impl SingleResponse {
    pub(super) fn new(response: Secret) -> Self {
        Self(Some(response))
    }
}

impl ClientExchange for SingleResponse {
    fn initial_response(&mut self) -> Option<Secret> {
        self.0.take()
    }

    fn respond(&mut self, _: &[u8]) -> Result<Secret, Fault> {
        Err(Fault::UnexpectedChallenge)
    }
}

/// The server's side: asks for the response with an empty challenge when it did not come first.
pub(super) struct SingleQuestion {
    read: fn(&[u8]) -> Result<Credentials, Failure>,
    refusal: Option<&'static str>,
    state: State,
}

enum State {
    Reading,
    Deciding,
    Refusing,
    Over,
}

impl SingleQuestion {
    /// The response is read by a function.
    pub(super) fn new(read: fn(&[u8]) -> Result<Credentials, Failure>) -> Self {
        Self { read, refusal: None, state: State::Reading }
    }

    /// A refusal is said in a challenge before the exchange fails.
    pub(super) fn refusing_with(self, refusal: &'static str) -> Self {
        Self { refusal: Some(refusal), ..self }
    }
}

impl ServerExchange for SingleQuestion {
    fn start(&mut self, initial_response: Option<&[u8]>) -> ServerStep {
        match initial_response {
            Some(response) => self.respond(response),
            None => ServerStep::Challenge(Vec::new()),
        }
    }

    fn respond(&mut self, response: &[u8]) -> ServerStep {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Reading => match (self.read)(response) {
                Ok(credentials) => {
                    self.state = State::Deciding;
                    ServerStep::Credentials(credentials)
                }
                Err(failure) => ServerStep::Failed(failure),
            },
            // The client has seen why and answers something that means nothing.
            State::Refusing => ServerStep::Failed(Failure::Refused),
            State::Deciding | State::Over => ServerStep::Failed(Failure::Malformed),
        }
    }

    fn decided(&mut self, verdict: Verdict) -> ServerStep {
        match (core::mem::replace(&mut self.state, State::Over), verdict, self.refusal) {
            (State::Deciding, Verdict::Accepted | Verdict::AcceptedAs(_), _) => ServerStep::Accepted,
            (State::Deciding, _, Some(refusal)) => {
                self.state = State::Refusing;
                ServerStep::Challenge(refusal.into())
            }
            _ => ServerStep::Failed(Failure::Refused),
        }
    }
}

/// A name that a client sent: UTF-8, not empty, and without control characters, which SASLprep (RFC 4013 section 2.3)
/// prohibits as well and which do harm where names are logged.
pub(super) fn name(octets: &[u8]) -> Result<String, Failure> {
    let text = str::from_utf8(octets).map_err(|_| Failure::Malformed)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Failure::Malformed);
    }
    Ok(text.into())
}

/// A name that may be left out, as authorization identities may.
pub(super) fn optional_name(octets: &[u8]) -> Result<Option<String>, Failure> {
    if octets.is_empty() { Ok(None) } else { name(octets).map(Some) }
}
