//! CRAM-MD5 (RFC 2195): a challenge hashed with the password. Obsolete (RFC 6151); never used unless named.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;

use md5::Md5;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hash::keyed_hash;
use super::{
    ClientExchange, Context, Credentials, Evidence, Failure, Fault, Login, Mechanism, Proof, ServerExchange,
    ServerStep, single,
};
use crate::secret::Secret;

/// CRAM-MD5 (RFC 2195): the server has to keep passwords in clear, and an observer can try passwords at leisure.
pub const CRAM_MD5: &dyn Mechanism = &CramMd5;

struct CramMd5;

impl Mechanism for CramMd5 {
    fn name(&self) -> &str {
        "CRAM-MD5"
    }

    fn reveals_secret(&self) -> bool {
        false
    }

    fn client(&self, login: &Login, _: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let Proof::Password(password) = login.proof() else { return None };
        let login = login.acts_for_itself().then(|| (login.username().into(), password.clone()));
        Some(Box::new(CramMd5Client(Some(login?))))
    }

    fn server(&self, context: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        // A message identifier, as RFC 2195 section 2 wants, all of whose left side cannot be guessed.
        let (left, right) = context.nonce.as_ref()?.split_first_chunk::<12>()?;
        let challenge = format!("<{}.{}@{}>", hex(left).as_str(), hex(right).as_str(), context.host);
        Some(Box::new(CramMd5Server { challenge, state: State::Begin }))
    }
}

/// An answer to a CRAM-MD5 challenge.
#[derive(Clone, PartialEq, Eq)]
pub struct CramMd5Response {
    challenge: String,
    digest: Secret,
}

impl CramMd5Response {
    /// Whether it was made with this password.
    pub fn verify(&self, password: &Secret) -> bool {
        answer(password, self.challenge.as_bytes()).as_bytes().ct_eq(self.digest.reveal()).into()
    }

    /// What the server asked.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// What the client answered: 32 hexadecimal digits in lower case.
    pub fn digest(&self) -> &Secret {
        &self.digest
    }
}

impl fmt::Debug for CramMd5Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CramMd5Response").finish_non_exhaustive()
    }
}

fn answer(password: &Secret, challenge: &[u8]) -> Zeroizing<String> {
    hex(keyed_hash::<Md5>(password.reveal(), &[challenge]).reveal())
}

fn hex(octets: &[u8]) -> Zeroizing<String> {
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
    let mut text = Zeroizing::new(String::with_capacity(octets.len().saturating_mul(2)));
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    text
}

struct CramMd5Client(Option<(String, Secret)>);

impl ClientExchange for CramMd5Client {
    fn initial_response(&mut self) -> Option<Secret> {
        None
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, Fault> {
        let (username, password) = self.0.take().ok_or(Fault::UnexpectedChallenge)?;
        if challenge.is_empty() {
            return Err(Fault::MalformedChallenge);
        }
        let digest = answer(&password, challenge);
        Ok(Secret::concat(&[username.as_bytes(), b" ", digest.as_bytes()]))
    }
}

struct CramMd5Server {
    challenge: String,
    state: State,
}

enum State {
    Begin,
    Challenged,
    Over,
}

impl ServerExchange for CramMd5Server {
    fn start(&mut self, initial_response: Option<&[u8]>) -> ServerStep {
        match (&self.state, initial_response) {
            (State::Begin, None) => {
                self.state = State::Challenged;
                ServerStep::Challenge(self.challenge.clone().into_bytes())
            }
            // The answer cannot come before the question.
            _ => self.fail(),
        }
    }

    fn respond(&mut self, response: &[u8]) -> ServerStep {
        if !matches!(core::mem::replace(&mut self.state, State::Over), State::Challenged) {
            return self.fail();
        }
        self.read(response).map_or_else(ServerStep::Failed, ServerStep::Credentials)
    }
}

impl CramMd5Server {
    fn fail(&mut self) -> ServerStep {
        self.state = State::Over;
        ServerStep::Failed(Failure::Malformed)
    }

    // The digest has no space in it, the user name may have: the last one divides.
    fn read(&self, response: &[u8]) -> Result<Credentials, Failure> {
        let mut parts = response.rsplitn(2, |octet| *octet == b' ');
        let (Some(digest), Some(username)) = (parts.next(), parts.next()) else { return Err(Failure::Malformed) };
        if digest.len() != 32 || !digest.iter().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Failure::Malformed);
        }
        let response = CramMd5Response { challenge: self.challenge.clone(), digest: Secret::new(digest) };
        let username = single::name(username)?;
        Ok(Credentials::new("CRAM-MD5", Some(username), None, Evidence::CramMd5(response)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Verdict;

    const CHALLENGE: &str = "<1896.697170952@postoffice.reston.mci.net>";
    const DIGEST: &str = "b913a602c7eda7a495b4e6e7334d3890";

    fn login() -> Login {
        Login::password("tim", "tanstaaftanstaaf").unwrap()
    }

    fn challenged() -> CramMd5Server {
        CramMd5Server { challenge: CHALLENGE.into(), state: State::Challenged }
    }

    /// SASL-004: the example of RFC 2195 section 2.
    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let mut client = CRAM_MD5.client(&login(), &Context::default()).unwrap();
        assert!(client.initial_response().is_none());
        let answer = client.respond(CHALLENGE.as_bytes()).ok().unwrap();
        assert_eq!(answer.reveal(), format!("tim {DIGEST}").as_bytes());
        assert!(client.respond(CHALLENGE.as_bytes()).err() == Some(Fault::UnexpectedChallenge));
        let ServerStep::Credentials(credentials) = challenged().respond(answer.reveal()) else { panic!() };
        assert_eq!(credentials.username(), Some("tim"));
        assert!(credentials.verify_password(&"tanstaaftanstaaf".into()) == Verdict::Accepted);
        assert!(credentials.verify_password(&"tanstaaftanstaag".into()) == Verdict::Refused);
        assert!(credentials.unknown_user(&"s".into()) == Verdict::Refused);
    }

    /// SASL-004, SASL-022: all of the nonce is in the challenge.
    #[test]
    fn the_challenge_is_made_of_the_nonce() {
        let mut context = Context { host: "mx.a.test", nonce: Some([0xa5; 24]), ..Context::default() };
        let mut server = CRAM_MD5.server(&context).unwrap();
        let wanted = format!("<{0}.{0}@mx.a.test>", "a5".repeat(12));
        assert!(server.start(None) == ServerStep::Challenge(wanted.into_bytes()));
        context.nonce = None;
        assert!(CRAM_MD5.server(&context).is_none());
    }

    /// SASL-004
    #[test]
    fn the_last_space_divides_name_and_digest() {
        let response = format!("tim van dyke {DIGEST}");
        let ServerStep::Credentials(credentials) = challenged().respond(response.as_bytes()) else { panic!() };
        assert_eq!(credentials.username(), Some("tim van dyke"));
    }

    /// SASL-004
    #[test]
    fn malformed_answers_are_refused() {
        let upper = DIGEST.to_uppercase();
        for bad in [
            "".into(),
            "tim".into(),
            DIGEST.into(),
            format!(" {DIGEST}"),
            format!("tim {upper}"),
            format!("tim {DIGEST}0"),
            format!("tim {DIGEST} "),
            format!("t\0m {DIGEST}"),
            format!("tim {}", &DIGEST[1..]),
            format!("tim g{}", &DIGEST[1..]),
        ] as [String; 10]
        {
            assert!(challenged().respond(bad.as_bytes()) == ServerStep::Failed(Failure::Malformed), "{bad:?}");
        }
    }

    /// AUTH-009
    #[test]
    fn an_initial_response_is_refused() {
        let context = Context { nonce: Some([1; 24]), ..Context::default() };
        for response in [&b""[..], b"tim b913a602c7eda7a495b4e6e7334d3890"] {
            let mut server = CRAM_MD5.server(&context).unwrap();
            assert!(server.start(Some(response)) == ServerStep::Failed(Failure::Malformed));
            assert!(server.respond(response) == ServerStep::Failed(Failure::Malformed));
        }
    }

    #[test]
    fn no_challenge_is_no_challenge() {
        let mut client = CRAM_MD5.client(&login(), &Context::default()).unwrap();
        assert!(client.respond(b"").err() == Some(Fault::MalformedChallenge));
        let other = login().authorization_identity("tom").unwrap();
        assert!(CRAM_MD5.client(&other, &Context::default()).is_none());
    }
}
