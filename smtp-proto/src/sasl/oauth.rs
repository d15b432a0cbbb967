//! XOAUTH2 (Google) and OAUTHBEARER (RFC 7628): an OAuth 2 access token.

use alloc::boxed::Box;
use alloc::string::String;

use super::single::{self, SingleQuestion};
use super::{
    ClientExchange, Context, Credentials, Evidence, Failure, Fault, Login, Mechanism, Proof, ServerExchange, saslname,
};
use crate::secret::Secret;

/// XOAUTH2: the form of Google and Microsoft, older than OAUTHBEARER.
pub const XOAUTH2: &dyn Mechanism = &Xoauth2;

/// OAUTHBEARER (RFC 7628): a bearer token (RFC 6750).
pub const OAUTHBEARER: &dyn Mechanism = &OauthBearer;

struct Xoauth2;

impl Mechanism for Xoauth2 {
    fn name(&self) -> &str {
        "XOAUTH2"
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn client(&self, login: &Login, _: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let Proof::Token(token) = login.proof() else { return None };
        // The one name there is says whose mail this is about.
        let user = login.requested_identity().unwrap_or_else(|| login.username());
        let message = [b"user=", user.as_bytes(), b"\x01auth=Bearer ", token.reveal(), b"\x01\x01"];
        Some(Box::new(OauthClient::new(Secret::concat(&message), b"")))
    }

    fn server(&self, _: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        let exchange = SingleQuestion::new(read_xoauth2);
        Some(Box::new(exchange.refusing_with("{\"status\":\"401\",\"schemes\":\"bearer\"}")))
    }
}

struct OauthBearer;

impl Mechanism for OauthBearer {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn client(&self, login: &Login, context: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let Proof::Token(token) = login.proof() else { return None };
        if context.host.chars().any(char::is_control) {
            return None;
        }
        // Who presents the token is in the token; the header names whom it is presented for.
        let identity = saslname::encode(login.requested_identity().unwrap_or_else(|| login.username()));
        let (key, host, end) = if context.host.is_empty() { ("", "", "") } else { ("host=", context.host, "\x01") };
        // No channel binding is defined for it: RFC 7628 section 3.1 has the flag `n`.
        let header = [b"n,a=", identity.as_bytes(), b",\x01", key.as_bytes(), host.as_bytes(), end.as_bytes()].concat();
        let message = [&header, b"auth=Bearer ".as_slice(), token.reveal(), b"\x01\x01"];
        Some(Box::new(OauthClient::new(Secret::concat(&message), b"\x01")))
    }

    fn server(&self, _: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        let exchange = SingleQuestion::new(read_oauthbearer);
        Some(Box::new(exchange.refusing_with("{\"status\":\"invalid_token\"}")))
    }
}

/// A message with the token; after a refusal, which comes as a challenge, an answer that only ends the exchange.
struct OauthClient {
    message: Option<Secret>,
    refused: &'static [u8],
    refusal: Option<String>,
}

impl OauthClient {
    fn new(message: Secret, refused: &'static [u8]) -> Self {
        Self { message: Some(message), refused, refusal: None }
    }
}

impl ClientExchange for OauthClient {
    fn initial_response(&mut self) -> Option<Secret> {
        self.message.take()
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, Fault> {
        if self.message.is_some() || self.refusal.is_some() {
            return Err(Fault::UnexpectedChallenge);
        }
        self.refusal = Some(String::from_utf8_lossy(challenge).into_owned());
        Ok(Secret::new(self.refused))
    }

    fn succeeded(&mut self) -> Result<(), Fault> {
        // Refused and let in: whatever that is, it is not a login.
        if self.refusal.is_some() { Err(Fault::MalformedChallenge) } else { Ok(()) }
    }

    fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

// `user=` name ^A `auth=Bearer ` token ^A ^A
fn read_xoauth2(message: &[u8]) -> Result<Credentials, Failure> {
    let message = str::from_utf8(message).ok().and_then(|text| text.strip_suffix("\x01\x01"));
    let fields = message.and_then(|text| text.split_once('\x01')).ok_or(Failure::Malformed)?;
    let user = fields.0.strip_prefix("user=").ok_or(Failure::Malformed)?;
    let token = fields.1.strip_prefix("auth=").and_then(bearer).ok_or(Failure::Malformed)?;
    Ok(Credentials::new("XOAUTH2", Some(single::name(user.as_bytes())?), None, Evidence::Token(token)))
}

// RFC 7628 section 3.1: a GS2 header (RFC 5801 section 4), ^A, pairs of key and value that end in ^A, ^A.
fn read_oauthbearer(message: &[u8]) -> Result<Credentials, Failure> {
    let message = str::from_utf8(message).ok().and_then(|text| text.strip_suffix('\x01'));
    let (header, pairs) = message.and_then(|text| text.split_once('\x01')).ok_or(Failure::Malformed)?;
    let identity = match header.split_once(',').ok_or(Failure::Malformed)? {
        ("n" | "y", identity) => identity.strip_suffix(',').ok_or(Failure::Malformed)?,
        // There is no variant with channel binding.
        (flag, _) if flag.starts_with("p=") => return Err(Failure::Refused),
        _ => return Err(Failure::Malformed),
    };
    let identity = match identity.strip_prefix("a=") {
        Some(name) => Some(single::name(saslname::decode(name).ok_or(Failure::Malformed)?.as_bytes())?),
        None if identity.is_empty() => None,
        None => return Err(Failure::Malformed),
    };
    let mut token = None;
    for pair in pairs.strip_suffix('\x01').ok_or(Failure::Malformed)?.split('\x01') {
        let (key, value) = pair.split_once('=').ok_or(Failure::Malformed)?;
        let control = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
        if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_alphabetic()) || value.chars().any(control) {
            return Err(Failure::Malformed);
        }
        // Others describe an HTTP request; what is not known is passed over.
        if key == "auth" && token.replace(bearer(value).ok_or(Failure::Malformed)?).is_some() {
            return Err(Failure::Malformed);
        }
    }
    let evidence = Evidence::Token(token.ok_or(Failure::Malformed)?);
    Ok(Credentials::new("OAUTHBEARER", identity.clone(), identity, evidence))
}

// RFC 6750 section 2.1, with the scheme in any case (RFC 9110 section 11.1).
fn bearer(value: &str) -> Option<Secret> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let good = !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("Bearer") && good).then(|| Secret::from(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::{ServerStep, Verdict, base64};

    const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";

    fn login() -> Login {
        Login::token("user@example.com", TOKEN).unwrap()
    }

    fn context() -> Context<'static> {
        Context { host: "server.example.com", ..Context::default() }
    }

    fn client(mechanism: &dyn Mechanism) -> (Box<dyn ClientExchange>, Secret) {
        let mut exchange = mechanism.client(&login(), &context()).unwrap();
        let message = exchange.initial_response().unwrap();
        (exchange, message)
    }

    fn server(mechanism: &dyn Mechanism, message: &[u8]) -> ServerStep {
        mechanism.server(&context()).unwrap().start(Some(message))
    }

    /// SASL-016: the example of RFC 7628 section 4.1, which has a port as well.
    #[test]
    fn oauthbearer_is_read_as_the_rfc_has_it() {
        let message = base64::decode(
            b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRj\
              Mk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
        );
        let ServerStep::Credentials(credentials) = server(OAUTHBEARER, message.unwrap().reveal()) else { panic!() };
        assert_eq!(credentials.username(), Some("user@example.com"));
        assert!(credentials.verify_token(&TOKEN.into()) == Verdict::Accepted);
        assert!(credentials.verify_token(&"other".into()) == Verdict::Refused);
        assert!(credentials.verify_password(&TOKEN.into()) == Verdict::Refused);
    }

    /// SASL-016
    #[test]
    fn oauthbearer_is_written_as_the_rfc_has_it() {
        let wanted = alloc::format!("n,a=user@example.com,\x01host=server.example.com\x01auth=Bearer {TOKEN}\x01\x01");
        assert_eq!(client(OAUTHBEARER).1.reveal_str(), Some(&*wanted));
        let odd = Login::token("a,b=c", "t").unwrap();
        let message = OAUTHBEARER.client(&odd, &Context::default()).unwrap().initial_response().unwrap();
        assert_eq!(message.reveal(), b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01");
        let ServerStep::Credentials(credentials) = server(OAUTHBEARER, message.reveal()) else { panic!() };
        assert_eq!(credentials.username(), Some("a,b=c"));
    }

    /// SASL-016
    #[test]
    fn oauthbearer_refuses_what_is_malformed() {
        for bad in [
            "",
            "\x01",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer t\x01",
            "n,,\x01auth=Bearer t",
            "n,\x01auth=Bearer t\x01\x01",
            "n,a=,\x01auth=Bearer t\x01\x01",
            "n,a=x=,\x01auth=Bearer t\x01\x01",
            "n,b=x,\x01auth=Bearer t\x01\x01",
            "z,,\x01auth=Bearer t\x01\x01",
            "n,,\x01auth=Basic t\x01\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "n,,\x01auth=Bearer\x01\x01",
            "n,,\x01host=a\x01\x01",
            "n,,\x01host=a\0\x01auth=Bearer t\x01\x01",
            "n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            "n,,\x01=x\x01auth=Bearer t\x01\x01",
            "n,,\x01auth=Bearer t\x01\x01\x01",
            "n,,\x01auth=Bearer t\x01\x01x",
        ] {
            assert!(server(OAUTHBEARER, bad.as_bytes()) == ServerStep::Failed(Failure::Malformed), "{bad:?}");
        }
        let bound = b"p=tls-exporter,,\x01auth=Bearer t\x01\x01";
        assert!(server(OAUTHBEARER, bound) == ServerStep::Failed(Failure::Refused));
        let bare = b"y,,\x01auth=bearer t\x01\x01";
        let ServerStep::Credentials(credentials) = server(OAUTHBEARER, bare) else { panic!() };
        assert_eq!((credentials.username(), credentials.authorization_identity()), (None, None));
    }

    /// SASL-018: the example of Google's documentation.
    #[test]
    fn xoauth2_is_written_as_google_has_it() {
        let login = Login::token("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg").unwrap();
        let message = XOAUTH2.client(&login, &context()).unwrap().initial_response().unwrap();
        assert_eq!(
            base64::encode(message.reveal()),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZ\
             Mjl0Q2cBAQ=="
        );
        let ServerStep::Credentials(credentials) = server(XOAUTH2, message.reveal()) else { panic!() };
        assert_eq!(credentials.username(), Some("someuser@example.com"));
        assert!(credentials.verify_token(&"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg".into()) == Verdict::Accepted);
    }

    /// SASL-018
    #[test]
    fn xoauth2_refuses_what_is_malformed() {
        for bad in [
            "",
            "\x01\x01",
            "user=u\x01auth=Bearer t\x01",
            "user=u\x01auth=Bearer t",
            "user=\x01auth=Bearer t\x01\x01",
            "auth=Bearer t\x01user=u\x01\x01",
            "user=u\x01auth=Basic t\x01\x01",
            "user=u\x01auth=Bearer \x01\x01",
            "user=u\x01auth=Bearer t\x01x=y\x01\x01",
            "user=u\nv\x01auth=Bearer t\x01\x01",
        ] {
            assert!(server(XOAUTH2, bad.as_bytes()) == ServerStep::Failed(Failure::Malformed), "{bad:?}");
        }
    }

    /// SASL-017, SASL-018
    #[test]
    fn a_refusal_is_told_and_acknowledged() {
        for (mechanism, acknowledgement) in [(OAUTHBEARER, "AQ=="), (XOAUTH2, "")] {
            let (mut client, message) = client(mechanism);
            let mut server = mechanism.server(&context()).unwrap();
            assert!(matches!(server.start(Some(message.reveal())), ServerStep::Credentials(_)));
            let ServerStep::Challenge(json) = server.decided(Verdict::Refused) else { panic!() };
            assert!(json.starts_with(b"{\"status\":\""));
            let answer = client.respond(&json).ok().unwrap();
            assert_eq!(base64::encode(answer.reveal()), acknowledgement);
            assert_eq!(client.refusal().unwrap().as_bytes(), json);
            assert!(server.respond(answer.reveal()) == ServerStep::Failed(Failure::Refused));
            assert!(client.respond(&json).err() == Some(Fault::UnexpectedChallenge));
            assert!(client.succeeded().is_err());
        }
    }

    #[test]
    fn a_good_token_lets_in() {
        for mechanism in [OAUTHBEARER, XOAUTH2] {
            let (mut client, message) = client(mechanism);
            let mut server = mechanism.server(&context()).unwrap();
            assert!(server.start(None) == ServerStep::Challenge(b"".to_vec()));
            let ServerStep::Credentials(credentials) = server.respond(message.reveal()) else { panic!() };
            assert!(server.decided(credentials.verify_token(&TOKEN.into())) == ServerStep::Accepted);
            assert_eq!(client.succeeded(), Ok(()));
            assert_eq!(client.refusal(), None);
        }
    }

    #[test]
    fn a_token_is_for_no_other_mechanism_and_a_password_not_for_these() {
        let password = Login::password("u", "p").unwrap();
        assert!(XOAUTH2.client(&password, &context()).is_none());
        assert!(OAUTHBEARER.client(&password, &context()).is_none());
        let control = Context { host: "a\x01b", ..Context::default() };
        assert!(OAUTHBEARER.client(&login(), &control).is_none());
    }
}
