//! PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): mechanisms that send the password itself.

use alloc::boxed::Box;
use alloc::string::String;

use super::single::{self, SingleQuestion, SingleResponse};
use super::{
    ClientExchange, Context, Credentials, Evidence, Failure, Fault, Login, Mechanism, Proof, ServerExchange, ServerStep,
};
use crate::secret::Secret;

/// PLAIN (RFC 4616): user name and password in one message.
pub const PLAIN: &dyn Mechanism = &Plain;

/// LOGIN (draft-murchison-sasl-login): user name and password one after the other. Obsolete and in wide use.
pub const LOGIN: &dyn Mechanism = &LoginMechanism;

struct Plain;

impl Mechanism for Plain {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn client(&self, login: &Login, _: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let Proof::Password(password) = login.proof() else { return None };
        let identity = login.requested_identity().unwrap_or_default();
        let parts = [identity.as_bytes(), b"\0", login.username().as_bytes(), b"\0", password.reveal()];
        Some(Box::new(SingleResponse::new(Secret::concat(&parts))))
    }

    fn server(&self, _: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        Some(Box::new(SingleQuestion::new(read_plain)))
    }
}

// RFC 4616 section 2: [authzid] NUL authcid NUL passwd, all UTF-8 without NUL, the latter two not empty.
fn read_plain(message: &[u8]) -> Result<Credentials, Failure> {
    let mut fields = message.split(|octet| *octet == 0);
    let (Some(identity), Some(username), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Failure::Malformed);
    };
    if password.is_empty() || str::from_utf8(password).is_err() {
        return Err(Failure::Malformed);
    }
    let evidence = Evidence::Password(Secret::new(password));
    Ok(Credentials::new("PLAIN", Some(single::name(username)?), single::optional_name(identity)?, evidence))
}

struct LoginMechanism;

impl Mechanism for LoginMechanism {
    fn name(&self) -> &str {
        "LOGIN"
    }

    fn reveals_secret(&self) -> bool {
        true
    }

    fn client(&self, login: &Login, _: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let Proof::Password(password) = login.proof() else { return None };
        let exchange = LoginClient { username: Some(Secret::from(login.username())), password: Some(password.clone()) };
        // There is no place for an authorization identity.
        login.acts_for_itself().then(|| Box::new(exchange) as Box<dyn ClientExchange>)
    }

    fn server(&self, _: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        Some(Box::new(LoginServer::Username))
    }
}

struct LoginClient {
    username: Option<Secret>,
    password: Option<Secret>,
}

impl ClientExchange for LoginClient {
    // Many servers take the user name here, but the draft has the server begin, and all servers can do that.
    fn initial_response(&mut self) -> Option<Secret> {
        None
    }

    // What the prompts say varies and means nothing; their order is all there is.
    fn respond(&mut self, _: &[u8]) -> Result<Secret, Fault> {
        self.username.take().or_else(|| self.password.take()).ok_or(Fault::UnexpectedChallenge)
    }
}

enum LoginServer {
    Username,
    Password(String),
    Over,
}

impl ServerExchange for LoginServer {
    fn start(&mut self, initial_response: Option<&[u8]>) -> ServerStep {
        match initial_response {
            Some(username) => self.respond(username),
            None => ServerStep::Challenge(b"Username:".into()),
        }
    }

    fn respond(&mut self, response: &[u8]) -> ServerStep {
        match core::mem::replace(self, Self::Over) {
            Self::Username => match single::name(response) {
                Ok(username) => {
                    *self = Self::Password(username);
                    ServerStep::Challenge(b"Password:".into())
                }
                Err(failure) => ServerStep::Failed(failure),
            },
            Self::Password(username) if !response.is_empty() && !response.contains(&0) => {
                let evidence = Evidence::Password(Secret::new(response));
                ServerStep::Credentials(Credentials::new("LOGIN", Some(username), None, evidence))
            }
            Self::Password(_) | Self::Over => ServerStep::Failed(Failure::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Verdict;
    use alloc::vec::Vec;

    fn plain(message: &[u8]) -> ServerStep {
        PLAIN.server(&Context::default()).unwrap().start(Some(message))
    }

    fn said(mechanism: &dyn Mechanism, login: &Login) -> Vec<u8> {
        let mut exchange = mechanism.client(login, &Context::default()).unwrap();
        exchange.initial_response().unwrap().reveal().to_vec()
    }

    /// SASL-001: the examples of RFC 4616 section 4.
    #[test]
    fn plain_is_written_as_the_rfc_has_it() {
        let login = Login::password("tim", "tanstaaftanstaaf").unwrap();
        assert_eq!(said(PLAIN, &login), b"\0tim\0tanstaaftanstaaf");
        let login = Login::password("Kurt", "xipj3plmq").unwrap().authorization_identity("Ursel").unwrap();
        assert_eq!(said(PLAIN, &login), b"Ursel\0Kurt\0xipj3plmq");
    }

    /// SASL-001
    #[test]
    fn plain_passes_the_authorization_identity_on() {
        let ServerStep::Credentials(credentials) = plain(b"Ursel\0Kurt\0xipj3plmq") else { panic!() };
        assert_eq!(credentials.username(), Some("Kurt"));
        assert_eq!(credentials.authorization_identity(), Some("Ursel"));
        assert_eq!(credentials.mechanism(), "PLAIN");
        // Who may act for whom is not the helper's to say.
        assert!(credentials.verify_password(&"xipj3plmq".into()) == Verdict::Refused);
        let ServerStep::Credentials(credentials) = plain(b"Kurt\0Kurt\0xipj3plmq") else { panic!() };
        assert!(credentials.verify_password(&"xipj3plmq".into()) == Verdict::Accepted);
        let ServerStep::Credentials(credentials) = plain(b"\0Kurt\0xipj3plmq") else { panic!() };
        assert_eq!(credentials.authorization_identity(), None);
        assert!(credentials.verify_password(&"xipj3plmq".into()) == Verdict::Accepted);
        assert!(credentials.verify_password(&"xipj3plmr".into()) == Verdict::Refused);
        assert!(credentials.verify_password(&"".into()) == Verdict::Refused);
        assert!(credentials.unknown_user(&"s".into()) == Verdict::Refused);
    }

    /// SASL-002
    #[cfg(feature = "scram")]
    #[test]
    fn a_password_is_checked_as_prepared_and_with_stored_keys() {
        use crate::sasl::{ScramHash, ScramKeys};
        let ServerStep::Credentials(credentials) = plain("\0Kurt\0I\u{ad}X".as_bytes()) else { panic!() };
        assert!(credentials.verify_password(&"IX".into()) == Verdict::Accepted);
        for hash in [ScramHash::Sha1, ScramHash::Sha256] {
            let keys = |password: &str| ScramKeys::new(hash, &password.into(), b"salt", 4096).unwrap();
            assert!(credentials.verify_keys(&keys("IX")) == Verdict::Accepted);
            assert!(credentials.verify_keys(&keys("ix")) == Verdict::Refused);
        }
        let ServerStep::Credentials(credentials) = plain(b"Ursel\0Kurt\0IX") else { panic!() };
        let keys = ScramKeys::new(ScramHash::Sha256, &"IX".into(), b"salt", 4096).unwrap();
        assert!(credentials.verify_keys(&keys) == Verdict::Refused);
    }

    /// SASL-001
    #[test]
    fn plain_refuses_what_is_malformed() {
        for bad in [
            &b""[..],
            b"u",
            b"u\0p",
            b"\0\0p",
            b"\0u\0",
            b"\0u\0p\0",
            b"\0u\0p\0x",
            b"\0\0",
            b"\0u\0p\xff",
            b"\0\xff\0p",
            b"\xff\0u\0p",
            b"\0u\nv\0p",
            b"\x01\0u\0p",
        ] {
            assert!(plain(bad) == ServerStep::Failed(Failure::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn plain_without_an_initial_response_is_asked_for_it() {
        let mut server = PLAIN.server(&Context::default()).unwrap();
        assert!(server.start(None) == ServerStep::Challenge(Vec::new()));
        assert!(matches!(server.respond(b"\0u\0p"), ServerStep::Credentials(_)));
        assert!(server.decided(Verdict::Accepted) == ServerStep::Accepted);
        assert!(server.respond(b"\0u\0p") == ServerStep::Failed(Failure::Malformed));
        assert!(server.decided(Verdict::Accepted) == ServerStep::Failed(Failure::Refused));
    }

    #[test]
    fn a_second_challenge_in_plain_is_a_fault() {
        let login = Login::password("u", "p").unwrap();
        let mut client = PLAIN.client(&login, &Context::default()).unwrap();
        client.initial_response().unwrap();
        assert!(client.respond(b"").err() == Some(Fault::UnexpectedChallenge));
    }

    /// SASL-003
    #[test]
    fn login_asks_with_the_prompts_everybody_knows() {
        let mut server = LOGIN.server(&Context::default()).unwrap();
        let ServerStep::Challenge(prompt) = server.start(None) else { panic!() };
        assert_eq!(crate::sasl::base64::encode(&prompt), "VXNlcm5hbWU6");
        let ServerStep::Challenge(prompt) = server.respond(b"tim") else { panic!() };
        assert_eq!(crate::sasl::base64::encode(&prompt), "UGFzc3dvcmQ6");
        let ServerStep::Credentials(credentials) = server.respond(b"secret") else { panic!() };
        assert_eq!(credentials.username(), Some("tim"));
        assert!(credentials.verify_password(&"secret".into()) == Verdict::Accepted);
        assert!(server.decided(Verdict::Refused) == ServerStep::Failed(Failure::Refused));
        assert!(server.respond(b"again") == ServerStep::Failed(Failure::Malformed));
    }

    /// SASL-003
    #[test]
    fn login_takes_the_user_name_as_initial_response() {
        let mut server = LOGIN.server(&Context::default()).unwrap();
        assert!(server.start(Some(b"tim")) == ServerStep::Challenge(b"Password:".to_vec()));
        assert!(server.respond(b"") == ServerStep::Failed(Failure::Malformed));
        let mut server = LOGIN.server(&Context::default()).unwrap();
        assert!(server.start(Some(b"")) == ServerStep::Failed(Failure::Malformed));
    }

    /// SASL-003
    #[test]
    fn login_answers_any_two_prompts_and_no_third() {
        let login = Login::password("tim", "secret").unwrap();
        let mut client = LOGIN.client(&login, &Context::default()).unwrap();
        assert!(client.initial_response().is_none());
        assert_eq!(client.respond(b"Qui va l\xe0 ?").ok().unwrap().reveal(), b"tim");
        assert_eq!(client.respond(b"").ok().unwrap().reveal(), b"secret");
        assert!(client.respond(b"Password:").err() == Some(Fault::UnexpectedChallenge));
    }

    #[test]
    fn login_is_not_used_to_act_for_somebody_else() {
        let login = Login::password("tim", "secret").unwrap();
        assert!(LOGIN.client(&login.clone().authorization_identity("tom").unwrap(), &Context::default()).is_none());
        assert!(LOGIN.client(&login.authorization_identity("tim").unwrap(), &Context::default()).is_some());
        assert!(LOGIN.client(&Login::external(), &Context::default()).is_none());
        assert!(PLAIN.client(&Login::token("u", "t").unwrap(), &Context::default()).is_none());
    }
}
