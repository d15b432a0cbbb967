//! The client's side of SCRAM.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use subtle::ConstantTimeEq;

use super::Scram;
use super::keys::{SaltedPassword, ScramHash, ScramKeys};
use super::message::{Attributes, Flag, Flaw, Header, binding_value, exclusive_or, is_nonce, positive_number};
use crate::sasl::{ClientExchange, Context, Fault, Login, Proof, base64, prepare, saslname};
use crate::secret::Secret;

pub(super) struct ScramClient {
    hash: ScramHash,
    password: Secret,
    nonce: String,
    header: String,
    /// The value of `c=`.
    binding: String,
    first_bare: String,
    state: State,
    refusal: Option<String>,
}

enum State {
    Begin,
    /// The first message is sent.
    First,
    /// The proof is sent; this is what the server has to sign with.
    Final(Secret),
    /// The server has proved itself.
    Proven,
    Over,
}

impl ScramClient {
    /// `None` when SASLprep refuses the name or the password, or the connection cannot be bound to and should be.
    pub(super) fn new(mechanism: &Scram, login: &Login, context: &Context<'_>, nonce: String) -> Option<Self> {
        let Proof::Password(password) = login.proof() else { return None };
        let password = prepare::password(password)?;
        let username = saslname::encode(&prepare::name(login.username())?);
        let bound = context.channel_bindings.first();
        // RFC 5802 section 6: `y` lets the server find out that somebody has taken its -PLUS mechanisms out of the
        // list. Where they are in the list, the default order takes them; whoever takes this mechanism all the same
        // has named it and wants no binding, which is `n`. A `y` would then make the server fail the exchange.
        let (flag, binding) = match bound {
            Some(binding) if mechanism.plus => (Flag::Bound(binding.name()), Some(binding)),
            None if mechanism.plus => return None,
            Some(_) if !context.plus_offered => (Flag::Unoffered, None),
            _ => (Flag::No, None),
        };
        let header = Header::write(flag, login.requested_identity());
        let binding = binding_value(&header, binding);
        let first_bare = format!("n={username},r={nonce}");
        let hash = mechanism.hash;
        Some(Self { hash, password, nonce, header, binding, first_bare, state: State::Begin, refusal: None })
    }

    // Takes `server-first-message`, gives `client-final-message`.
    fn prove(&mut self, message: &str) -> Result<Secret, Fault> {
        let mut attributes = Attributes::new(message);
        let nonce = attributes.take('r')?;
        let salt = attributes.take('s')?;
        let iterations = positive_number(attributes.take('i')?)?;
        attributes.finish()?;
        // Longer as well: a server that adds nothing gives no sign that it is there now.
        if !is_nonce(nonce) || nonce.strip_prefix(&*self.nonce).is_none_or(str::is_empty) {
            return Err(Fault::Nonce);
        }
        let salt = base64::decode(salt.as_bytes()).filter(|salt| !salt.reveal().is_empty());
        let salt = salt.ok_or(Fault::MalformedChallenge)?;
        let allowed = ScramKeys::MIN_ITERATIONS..=ScramKeys::MAX_ITERATIONS;
        let count = u32::try_from(iterations).ok().filter(|count| allowed.contains(count));
        let count = count.ok_or(Fault::Iterations(iterations))?;

        let salted = SaltedPassword::new(self.hash, &self.password, salt.reveal(), count);
        let without_proof = format!("c={},r={nonce}", self.binding);
        let signed = format!("{},{message},{without_proof}", self.first_bare);
        let client_key = salted.client_key();
        let signature = self.hash.keyed_hash(&self.hash.hash(&client_key), &[signed.as_bytes()]);
        let proof = exclusive_or(&client_key, &signature);
        self.state = State::Final(self.hash.keyed_hash(&salted.server_key(), &[signed.as_bytes()]));
        Ok(Secret::from(format!("{without_proof},p={}", base64::encode(proof.reveal()))))
    }

    // Takes `server-final-message`.
    fn check(&mut self, message: &str, signature: &Secret) -> Result<Secret, Fault> {
        let mut attributes = Attributes::new(message);
        if message.starts_with("e=") {
            // The server will say no, and this is why.
            self.refusal = Some(attributes.take('e')?.to_owned());
            return Ok(Secret::new([]));
        }
        let given = base64::decode(attributes.take('v')?.as_bytes()).ok_or(Fault::MalformedChallenge)?;
        attributes.finish()?;
        if !bool::from(given.reveal().ct_eq(signature.reveal())) {
            return Err(Fault::ServerSignature);
        }
        self.state = State::Proven;
        Ok(Secret::new([]))
    }
}

impl ClientExchange for ScramClient {
    fn initial_response(&mut self) -> Option<Secret> {
        self.state = State::First;
        Some(Secret::from([&*self.header, &*self.first_bare].concat()))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, Fault> {
        let message = str::from_utf8(challenge).map_err(|_| Fault::MalformedChallenge);
        match core::mem::replace(&mut self.state, State::Over) {
            State::First => self.prove(message?),
            State::Final(signature) => self.check(message?, &signature),
            State::Begin | State::Proven | State::Over => Err(Fault::UnexpectedChallenge),
        }
    }

    fn succeeded(&mut self) -> Result<(), Fault> {
        if matches!(self.state, State::Proven) { Ok(()) } else { Err(Fault::Unproven) }
    }

    fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

impl From<Flaw> for Fault {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Malformed => Self::MalformedChallenge,
            Flaw::Extension => Self::Other("the server wants an extension of SCRAM that there is not".to_owned()),
        }
    }
}
