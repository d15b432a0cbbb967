//! EXTERNAL (RFC 4422 appendix A): the client is who TLS says it is.

use alloc::boxed::Box;

use super::single::{self, SingleQuestion, SingleResponse};
use super::{ClientExchange, Context, Credentials, Evidence, Failure, Login, Mechanism, Proof, ServerExchange};
use crate::secret::Secret;

/// EXTERNAL (RFC 4422 appendix A): the certificate that the client showed in TLS.
pub const EXTERNAL: &dyn Mechanism = &External;

struct External;

impl Mechanism for External {
    fn name(&self) -> &str {
        "EXTERNAL"
    }

    fn reveals_secret(&self) -> bool {
        false
    }

    fn client(&self, login: &Login, _: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let Proof::External = login.proof() else { return None };
        let identity = login.requested_identity().unwrap_or_default();
        Some(Box::new(SingleResponse::new(Secret::from(identity))))
    }

    fn server(&self, context: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        context.external.then(|| Box::new(SingleQuestion::new(read)) as Box<dyn ServerExchange>)
    }
}

// An empty message asks the server to derive the identity from the certificate.
fn read(message: &[u8]) -> Result<Credentials, Failure> {
    Ok(Credentials::new("EXTERNAL", None, single::optional_name(message)?, Evidence::External))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::{ServerStep, Verdict};
    use alloc::vec::Vec;

    /// SASL-019
    #[test]
    fn external_needs_an_identity_from_outside() {
        assert!(EXTERNAL.server(&Context::default()).is_none());
        assert!(EXTERNAL.client(&Login::password("u", "p").unwrap(), &Context::default()).is_none());
    }

    /// SASL-019
    #[test]
    fn an_empty_response_derives_the_identity() {
        let context = Context { external: true, ..Context::default() };
        let mut client = EXTERNAL.client(&Login::external(), &context).unwrap();
        let response = client.initial_response().unwrap();
        assert!(response.reveal().is_empty());
        let mut server = EXTERNAL.server(&context).unwrap();
        assert!(server.start(None) == ServerStep::Challenge(Vec::new()));
        let ServerStep::Credentials(credentials) = server.respond(response.reveal()) else { panic!() };
        assert_eq!((credentials.username(), credentials.authorization_identity()), (None, None));
        assert!(*credentials.evidence() == Evidence::External);
        assert!(credentials.verify_password(&"p".into()) == Verdict::Refused);
        assert!(server.decided(Verdict::Accepted) == ServerStep::Accepted);
    }

    /// SASL-019
    #[test]
    fn an_authorization_identity_is_passed_on() {
        let context = Context { external: true, ..Context::default() };
        let login = Login::external().authorization_identity("fred@example.com").unwrap();
        let response = EXTERNAL.client(&login, &context).unwrap().initial_response().unwrap();
        let mut server = EXTERNAL.server(&context).unwrap();
        let ServerStep::Credentials(credentials) = server.start(Some(response.reveal())) else { panic!() };
        assert_eq!(credentials.authorization_identity(), Some("fred@example.com"));
        for bad in [&b"a\0b"[..], b"\xff", b"a\r\nb"] {
            let mut server = EXTERNAL.server(&context).unwrap();
            assert!(server.start(Some(bad)) == ServerStep::Failed(Failure::Malformed));
        }
    }
}
