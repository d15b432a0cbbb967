//! ANONYMOUS (RFC 4505): nobody in particular.

use alloc::boxed::Box;

use super::single::{self, SingleQuestion, SingleResponse};
use super::{ClientExchange, Context, Credentials, Evidence, Failure, Login, Mechanism, Proof, ServerExchange};
use crate::secret::Secret;

/// ANONYMOUS (RFC 4505): the client is let in without being known. Not offered unless named.
pub const ANONYMOUS: &dyn Mechanism = &Anonymous;

/// The most characters of a trace (RFC 4505 section 2).
pub(super) const LONGEST_TRACE: usize = 255;

struct Anonymous;

impl Mechanism for Anonymous {
    fn name(&self) -> &str {
        "ANONYMOUS"
    }

    fn reveals_secret(&self) -> bool {
        false
    }

    fn client(&self, login: &Login, _: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let (Proof::Anonymous, None) = (login.proof(), login.requested_identity()) else { return None };
        Some(Box::new(SingleResponse::new(Secret::from(login.username()))))
    }

    fn server(&self, _: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        Some(Box::new(SingleQuestion::new(read)))
    }
}

// RFC 4505 section 2 makes the trace optional (`message = [ email / token ]`): an empty message leaves none. One that
// is there has up to 255 characters, and none that the profile of section 3 prohibits as control characters.
fn read(message: &[u8]) -> Result<Credentials, Failure> {
    let trace = single::optional_name(message)?;
    if trace.as_ref().is_some_and(|trace| trace.chars().count() > LONGEST_TRACE) {
        return Err(Failure::Malformed);
    }
    Ok(Credentials::new("ANONYMOUS", None, None, Evidence::Anonymous(trace.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::{ServerStep, Verdict};

    fn server(message: &[u8]) -> ServerStep {
        ANONYMOUS.server(&Context::default()).unwrap().start(Some(message))
    }

    /// SASL-020: the example of RFC 4505 section 4.
    #[test]
    fn the_trace_is_no_user_name() {
        let login = Login::anonymous("sirhc").unwrap();
        let response = ANONYMOUS.client(&login, &Context::default()).unwrap().initial_response().unwrap();
        assert_eq!(crate::sasl::base64::encode(response.reveal()), "c2lyaGM=");
        let ServerStep::Credentials(credentials) = server(response.reveal()) else { panic!() };
        assert_eq!(credentials.username(), None);
        assert!(*credentials.evidence() == Evidence::Anonymous("sirhc".into()));
        assert!(credentials.verify_password(&"sirhc".into()) == Verdict::Refused);
    }

    /// SASL-020
    #[test]
    fn a_trace_has_no_characters_or_up_to_255() {
        let ServerStep::Credentials(credentials) = server(b"") else { panic!() };
        assert!(*credentials.evidence() == Evidence::Anonymous("".into()));
        assert!(matches!(server("\u{e9}".repeat(255).as_bytes()), ServerStep::Credentials(_)));
        assert!(server("x".repeat(256).as_bytes()) == ServerStep::Failed(Failure::Malformed));
        assert!(server(b"a\nb") == ServerStep::Failed(Failure::Malformed));
        assert!(server(b"\xe9") == ServerStep::Failed(Failure::Malformed));
    }
}
