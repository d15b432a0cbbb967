//! What a client has to prove itself with.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Mechanism, strongest_first};
use crate::secret::Secret;

/// What a client has to prove itself with.
///
/// What no mechanism could carry is refused here, so that a login which exists can be written on the wire.
#[derive(Clone)]
pub struct Login {
    username: String,
    authorization_identity: Option<String>,
    proof: Proof,
    mechanisms: Option<Vec<&'static dyn Mechanism>>,
}

/// The proof a client has.
#[derive(Clone)]
#[non_exhaustive]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// An OAuth 2 access token.
    Token(Secret),
    /// The certificate it shows in TLS.
    External,
    /// None.
    Anonymous,
}

/// Why a login cannot be used. Names what is wrong, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLogin {
    /// The user name, password or token is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// It holds a character that no mechanism can carry.
    #[error("the {0} holds a character that cannot be sent")]
    Character(&'static str),
    /// It is not UTF-8.
    #[error("the {0} is not UTF-8")]
    Encoding(&'static str),
    /// It has more characters than the mechanism can carry.
    #[error("the {0} is too long")]
    TooLong(&'static str),
}

impl Login {
    /// A user and a password, both in UTF-8 and without control characters.
    ///
    /// # Errors
    /// When one of them is empty or holds what no mechanism can carry.
    pub fn password(username: impl Into<String>, password: impl Into<Secret>) -> Result<Self, InvalidLogin> {
        let password = checked_secret(password.into(), "password")?;
        Ok(Self::new(checked_text(username.into(), "user name")?, Proof::Password(password)))
    }

    /// A user and an OAuth 2 access token (RFC 6750), without the word `Bearer`.
    ///
    /// # Errors
    /// When one of them is empty or holds what no mechanism can carry.
    pub fn token(username: impl Into<String>, token: impl Into<Secret>) -> Result<Self, InvalidLogin> {
        let token = checked_secret(token.into(), "token")?;
        if !token.reveal().iter().all(u8::is_ascii_graphic) {
            return Err(InvalidLogin::Character("token"));
        }
        Ok(Self::new(checked_text(username.into(), "user name")?, Proof::Token(token)))
    }

    /// The certificate that the client shows in TLS; the server takes the user from it.
    pub fn external() -> Self {
        Self::new(String::new(), Proof::External)
    }

    /// Nobody in particular. The trace (RFC 4505), such as a mail address, tells the server whom to ask about this
    /// login; it may be empty.
    ///
    /// # Errors
    /// When the trace has more than 255 characters or holds control characters.
    pub fn anonymous(trace: impl Into<String>) -> Result<Self, InvalidLogin> {
        let trace = trace.into();
        if trace.chars().any(char::is_control) {
            return Err(InvalidLogin::Character("trace"));
        }
        if trace.chars().count() > super::anonymous::LONGEST_TRACE {
            return Err(InvalidLogin::TooLong("trace"));
        }
        Ok(Self::new(trace, Proof::Anonymous))
    }

    fn new(username: String, proof: Proof) -> Self {
        Self { username, authorization_identity: None, proof, mechanisms: None }
    }

    /// Asks to act for somebody else. A mechanism that cannot say so is not used then.
    ///
    /// # Errors
    /// When the name is empty or holds control characters.
    #[must_use = "gives the login back"]
    pub fn authorization_identity(self, identity: impl Into<String>) -> Result<Self, InvalidLogin> {
        let identity = checked_text(identity.into(), "authorization identity")?;
        Ok(Self { authorization_identity: Some(identity), ..self })
    }

    /// Uses only these mechanisms, the first that the server offers: a floor as well as an order.
    #[must_use = "gives the login back"]
    pub fn mechanisms(self, mechanisms: impl IntoIterator<Item = &'static dyn Mechanism>) -> Self {
        Self { mechanisms: Some(mechanisms.into_iter().collect()), ..self }
    }

    /// The user name; the trace of an anonymous login; empty for an external one.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The proof.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Whom the client wants to act for, where that is not simply the user.
    pub fn requested_identity(&self) -> Option<&str> {
        self.authorization_identity.as_deref()
    }

    /// The mechanisms to use, best first: its own list, or else [`strongest_first`].
    pub fn preference(&self) -> &[&'static dyn Mechanism] {
        match &self.mechanisms {
            Some(mechanisms) => mechanisms,
            None => strongest_first(),
        }
    }

    /// Whether a mechanism that knows but one name can be used without changing what the client asked for.
    pub(super) fn acts_for_itself(&self) -> bool {
        self.authorization_identity.as_ref().is_none_or(|identity| *identity == self.username)
    }
}

fn checked_text(text: String, what: &'static str) -> Result<String, InvalidLogin> {
    check(&text, what)?;
    Ok(text)
}

fn checked_secret(secret: Secret, what: &'static str) -> Result<Secret, InvalidLogin> {
    check(secret.reveal_str().ok_or(InvalidLogin::Encoding(what))?, what)?;
    Ok(secret)
}

// NUL separates in PLAIN and ^A in the OAuth mechanisms; SASLprep (RFC 4013 section 2.3) refuses the others as well.
fn check(text: &str, what: &'static str) -> Result<(), InvalidLogin> {
    if text.is_empty() {
        return Err(InvalidLogin::Empty(what));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidLogin::Character(what));
    }
    Ok(())
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The kind alone.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Token(_) => "Token",
            Self::External => "External",
            Self::Anonymous => "Anonymous",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::{LOGIN, PLAIN};

    /// SASL-001, SASL-016: what would break a message apart never gets into one.
    #[test]
    fn what_no_mechanism_can_carry_is_refused() {
        assert_eq!(Login::password("", "p").unwrap_err(), InvalidLogin::Empty("user name"));
        assert_eq!(Login::password("u", "").unwrap_err(), InvalidLogin::Empty("password"));
        assert_eq!(Login::token("u", "").unwrap_err(), InvalidLogin::Empty("token"));
        for bad in ["a\0b", "a\u{1}b", "a\rb", "a\nb", "\u{7f}", "\u{85}"] {
            assert_eq!(Login::password(bad, "p").unwrap_err(), InvalidLogin::Character("user name"));
            assert_eq!(Login::password("u", bad).unwrap_err(), InvalidLogin::Character("password"));
            assert_eq!(Login::token(bad, "t").unwrap_err(), InvalidLogin::Character("user name"));
            assert_eq!(Login::token("u", bad).unwrap_err(), InvalidLogin::Character("token"));
            assert_eq!(Login::anonymous(bad).unwrap_err(), InvalidLogin::Character("trace"));
            let login = Login::external().authorization_identity(bad);
            assert_eq!(login.unwrap_err(), InvalidLogin::Character("authorization identity"));
        }
        assert_eq!(Login::token("u", "Bearer abc").unwrap_err(), InvalidLogin::Character("token"));
        assert_eq!(Login::password("u", vec![0xff]).unwrap_err(), InvalidLogin::Encoding("password"));
        assert_eq!(
            Login::external().authorization_identity("").unwrap_err(),
            InvalidLogin::Empty("authorization identity")
        );
    }

    /// SASL-020
    #[test]
    fn a_trace_has_at_most_255_characters() {
        assert!(Login::anonymous("").is_ok());
        assert!(Login::anonymous("\u{e9}".repeat(255)).is_ok());
        assert_eq!(Login::anonymous("x".repeat(256)).unwrap_err(), InvalidLogin::TooLong("trace"));
    }

    #[test]
    fn an_own_list_replaces_the_preference() {
        let login = Login::password("u", "p").unwrap();
        assert_eq!(login.preference(), strongest_first());
        let login = login.mechanisms([LOGIN, PLAIN]);
        assert_eq!(login.preference(), [LOGIN, PLAIN]);
    }
}
