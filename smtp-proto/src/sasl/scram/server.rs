//! The server's side of SCRAM.

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use subtle::ConstantTimeEq;

use super::message::{Attributes, Flag, Flaw, Header, binding_value, exclusive_or, is_nonce};
use super::{Scram, ScramClaim, ScramKeys};
use crate::sasl::{
    ChannelBinding, Context, Credentials, Evidence, Failure, ServerExchange, ServerStep, Verdict, base64, prepare,
    saslname,
};
use crate::secret::Secret;

pub(super) struct ScramServer {
    mechanism: Scram,
    bindings: Vec<ChannelBinding>,
    plus_offered: bool,
    nonce: String,
    state: State,
}

enum State {
    Begin,
    /// The first message is read, and the application is asked.
    Deciding(First),
    /// The keys are known, and the client has to prove that it knows the password.
    Final(First, ScramKeys, String),
    /// The client has proved it.
    Proven,
    Over,
}

/// What the first message of the client leaves to remember.
struct First {
    bare: String,
    /// The value that `c=` has to have.
    binding: String,
    /// Both nonces together.
    nonce: String,
}

impl ScramServer {
    pub(super) fn new(mechanism: Scram, context: &Context<'_>, nonce: String) -> Self {
        let bindings = context.channel_bindings.to_vec();
        Self { mechanism, bindings, plus_offered: context.plus_offered, nonce, state: State::Begin }
    }

    // Takes `client-first-message`.
    fn read(&self, message: &[u8]) -> Result<(First, Credentials), Failure> {
        let message = str::from_utf8(message).map_err(|_| Failure::Malformed)?;
        let (header, raw_header, bare) = Header::read(message)?;
        let mut attributes = Attributes::new(bare);
        let username = saslname::decode(attributes.take('n')?).ok_or(Failure::Malformed)?;
        let nonce = attributes.take('r')?;
        attributes.finish()?;
        if !is_nonce(nonce) {
            return Err(Failure::Malformed);
        }
        let username = prepare::name(&username).map(Cow::into_owned).ok_or(Failure::Malformed)?;
        let identity = match header.authorization_identity {
            // Prepared like the user name, so that the two can be compared.
            Some(name) => Some(prepare::name(&name).map(Cow::into_owned).ok_or(Failure::Malformed)?),
            None => None,
        };
        let binding = binding_value(raw_header, self.binding(header.flag)?);
        let first = First { bare: bare.to_owned(), binding, nonce: [nonce, &self.nonce].concat() };
        let claim = ScramClaim { hash: self.mechanism.hash, nonce: Secret::from(&*self.nonce) };
        let credentials = Credentials::new(self.mechanism.name, Some(username), identity, Evidence::Scram(claim));
        Ok((first, credentials))
    }

    // RFC 5802 section 6: what the client says about channel binding has to fit the mechanism and the connection.
    fn binding(&self, flag: Flag<'_>) -> Result<Option<&ChannelBinding>, Failure> {
        match flag {
            Flag::Bound(name) if self.mechanism.plus => {
                self.bindings.iter().find(|binding| binding.name() == name).map(Some).ok_or(Failure::Refused)
            }
            Flag::No if !self.mechanism.plus => Ok(None),
            // The client has not seen what this server offers: somebody took it out on the way.
            Flag::Unoffered if !self.mechanism.plus && !self.plus_offered => Ok(None),
            _ => Err(Failure::Refused),
        }
    }
}

// Takes `client-final-message`, gives the server's signature.
fn check(message: &[u8], first: &First, keys: &ScramKeys, server_first: &str) -> Result<Secret, Failure> {
    let message = str::from_utf8(message).map_err(|_| Failure::Malformed)?;
    // The proof is last, and it is no part of what it proves.
    let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Failure::Malformed)?;
    let mut attributes = Attributes::new(without_proof);
    let binding = attributes.take('c')?;
    let nonce = attributes.take('r')?;
    attributes.finish()?;
    let proof = base64::decode(proof.as_bytes()).ok_or(Failure::Malformed)?;
    let hash = keys.hash();
    if base64::decode(binding.as_bytes()).is_none() || proof.reveal().len() != hash.length() {
        return Err(Failure::Malformed);
    }
    if binding != first.binding || nonce != first.nonce {
        return Err(Failure::Refused);
    }
    let signed = format!("{},{server_first},{without_proof}", first.bare);
    let signature = hash.keyed_hash(keys.stored_key(), &[signed.as_bytes()]);
    let client_key = exclusive_or(&proof, &signature);
    if !bool::from(hash.hash(&client_key).reveal().ct_eq(keys.stored_key().reveal())) {
        return Err(Failure::Refused);
    }
    Ok(hash.keyed_hash(keys.server_key(), &[signed.as_bytes()]))
}

impl ServerExchange for ScramServer {
    fn start(&mut self, initial_response: Option<&[u8]>) -> ServerStep {
        match initial_response {
            Some(response) => self.respond(response),
            None => ServerStep::Challenge(Vec::new()),
        }
    }

    fn respond(&mut self, response: &[u8]) -> ServerStep {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Begin => match self.read(response) {
                Ok((first, credentials)) => {
                    self.state = State::Deciding(first);
                    ServerStep::Credentials(credentials)
                }
                Err(failure) => ServerStep::Failed(failure),
            },
            State::Final(first, keys, server_first) => match check(response, &first, &keys, &server_first) {
                Ok(signature) => {
                    self.state = State::Proven;
                    ServerStep::Challenge(["v=", &base64::encode(signature.reveal())].concat().into_bytes())
                }
                Err(failure) => ServerStep::Failed(failure),
            },
            State::Proven if response.is_empty() => ServerStep::Accepted,
            State::Deciding(_) | State::Proven | State::Over => ServerStep::Failed(Failure::Malformed),
        }
    }

    fn decided(&mut self, verdict: Verdict) -> ServerStep {
        // Keys are the one verdict that lets the client prove itself; without proof nobody gets in.
        match (core::mem::replace(&mut self.state, State::Over), verdict) {
            (State::Deciding(first), Verdict::Keys(keys)) if keys.hash() == self.mechanism.hash => {
                let salt = base64::encode(keys.salt());
                let message = format!("r={},s={salt},i={}", first.nonce, keys.iterations());
                self.state = State::Final(first, keys, message.clone());
                ServerStep::Challenge(message.into_bytes())
            }
            _ => ServerStep::Failed(Failure::Refused),
        }
    }
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Malformed => Self::Malformed,
            Flaw::Extension => Self::Refused,
        }
    }
}
