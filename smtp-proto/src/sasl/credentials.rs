//! What a client proves itself with, as the server's application sees it.

use alloc::string::String;
use core::fmt;

use subtle::ConstantTimeEq;

#[cfg(feature = "cram-md5")]
use super::CramMd5Response;
use super::prepare;
#[cfg(feature = "scram")]
use super::{ScramClaim, ScramHash, ScramKeys};
use crate::secret::Secret;

/// What a client proves itself with.
///
/// The `verify_*` methods compare in constant time and give the [`Verdict`] to hand back. They speak for a user who
/// acts for itself only: with an [`authorization_identity`](Self::authorization_identity) that is not the user name
/// they refuse. Who may act for whom the application alone knows; one that allows it compares the
/// [`evidence`](Self::evidence) itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    mechanism: String,
    username: Option<String>,
    authorization_identity: Option<String>,
    evidence: Evidence,
}

/// The proof.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// The password itself: PLAIN, LOGIN.
    Password(Secret),
    /// The answer to a challenge, made with the password: CRAM-MD5.
    #[cfg(feature = "cram-md5")]
    CramMd5(CramMd5Response),
    /// None yet: SCRAM, where the proof follows once the server has the user's keys.
    #[cfg(feature = "scram")]
    Scram(ScramClaim),
    /// A bearer token: XOAUTH2, OAUTHBEARER. The user name beside it is a claim: whose token it is, the token tells.
    Token(Secret),
    /// The certificate the client showed: EXTERNAL.
    External,
    /// None: ANONYMOUS. The client left this as a trace, or nothing; it proves nothing.
    Anonymous(String),
    /// That of a mechanism this crate does not know.
    Other(Secret),
}

/// What the application says about credentials.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// They are good. Not enough for SCRAM, which needs keys.
    Accepted,
    /// They are good, and this is whose they are: for a token, or a certificate, that tells its owner.
    AcceptedAs(String),
    /// They are not.
    Refused,
    /// These are the user's keys: SCRAM goes on with them and finds out whether the client knows the password.
    #[cfg(feature = "scram")]
    Keys(ScramKeys),
}

impl Credentials {
    /// Credentials as a mechanism of one's own makes them.
    pub fn new(
        mechanism: impl Into<String>,
        username: Option<String>,
        authorization_identity: Option<String>,
        evidence: Evidence,
    ) -> Self {
        Self { mechanism: mechanism.into(), username, authorization_identity, evidence }
    }

    /// The user name, where the mechanism has one. From SCRAM it comes prepared (RFC 4013), from others as it was
    /// sent. OAUTHBEARER has but one name, given here and as the authorization identity.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Whom the client wants to act for, where that was said.
    pub fn authorization_identity(&self) -> Option<&str> {
        self.authorization_identity.as_deref()
    }

    /// The name of the mechanism.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }

    /// The proof.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Compares with the user's password: PLAIN, LOGIN, CRAM-MD5 and SCRAM. Refuses any other mechanism.
    ///
    /// With the feature `scram`, passwords that are not ASCII are compared as SASLprep (RFC 4013) prepares them, in
    /// PLAIN and LOGIN; where that is impossible, and without the feature, octet by octet.
    ///
    /// In SCRAM this makes keys with a salt of its own for each exchange, which takes thousands of hashes; a server of
    /// many users keeps their keys.
    pub fn verify_password(&self, password: &Secret) -> Verdict {
        if !self.acts_for_itself() || password.reveal().is_empty() {
            return Verdict::Refused;
        }
        match &self.evidence {
            Evidence::Password(given) => verdict(prepare::same_password(given, password)),
            #[cfg(feature = "cram-md5")]
            Evidence::CramMd5(response) => verdict(response.verify(password)),
            #[cfg(feature = "scram")]
            Evidence::Scram(claim) => claim.keys(password).map_or(Verdict::Refused, Verdict::Keys),
            _ => Verdict::Refused,
        }
    }

    /// Compares with the keys that are stored instead of a password: SCRAM with the same hash, PLAIN and LOGIN.
    /// Refuses any other mechanism, and other hashes at once, which tells the user from one who does not exist: offer
    /// SCRAM only with the hashes that there are keys for.
    #[cfg(feature = "scram")]
    pub fn verify_keys(&self, keys: &ScramKeys) -> Verdict {
        if !self.acts_for_itself() {
            return Verdict::Refused;
        }
        match &self.evidence {
            Evidence::Password(given) => verdict(keys.verify(given)),
            Evidence::Scram(claim) if claim.hash() == keys.hash() => Verdict::Keys(keys.clone()),
            _ => Verdict::Refused,
        }
    }

    /// Compares with the user's access token: XOAUTH2 and OAUTHBEARER. Refuses any other mechanism.
    pub fn verify_token(&self, token: &Secret) -> Verdict {
        match &self.evidence {
            Evidence::Token(given) if self.acts_for_itself() && !token.reveal().is_empty() => {
                verdict(given.reveal().ct_eq(token.reveal()).into())
            }
            _ => Verdict::Refused,
        }
    }

    /// Accepts the user whose certificate the client showed: EXTERNAL, where the client wants to act for nobody else.
    /// Refuses any other mechanism.
    pub fn verify_external(&self, username: &str) -> Verdict {
        let itself = self.authorization_identity.as_deref().is_none_or(|identity| identity == username);
        match &self.evidence {
            Evidence::External if itself => Verdict::AcceptedAs(username.into()),
            _ => Verdict::Refused,
        }
    }

    /// What to say when there is no such user, where users are checked with [`verify_password`](Self::verify_password),
    /// so that neither the answer nor its time tells.
    ///
    /// The server's secret is any string that no client can guess: for SCRAM it makes a password that nobody has. Other
    /// mechanisms refuse.
    #[cfg_attr(not(feature = "scram"), expect(unused_variables, reason = "only SCRAM needs the secret"))]
    pub fn unknown_user(&self, server_secret: &Secret) -> Verdict {
        match &self.evidence {
            #[cfg(feature = "scram")]
            Evidence::Scram(claim) if self.acts_for_itself() => {
                let name = self.username.as_deref().unwrap_or_default();
                claim.keys_of_nobody(name, server_secret).map_or(Verdict::Refused, Verdict::Keys)
            }
            _ => Verdict::Refused,
        }
    }

    /// What to say when there is no such user, where users are checked with [`verify_keys`](Self::verify_keys): for
    /// SCRAM, keys that nobody has, whose salt is always the same for one user name. Other mechanisms refuse; PLAIN and
    /// LOGIN in the same time that a check takes.
    ///
    /// The server's secret is any string that no client can guess and that stays the same; the iterations are those of
    /// the users there are.
    #[cfg(feature = "scram")]
    pub fn unknown_user_with_keys(&self, server_secret: &Secret, iterations: u32) -> Verdict {
        match &self.evidence {
            Evidence::Scram(claim) if self.acts_for_itself() => {
                let name = self.username.as_deref().unwrap_or_default();
                ScramKeys::of_nobody(claim.hash(), name, server_secret, iterations)
                    .map_or(Verdict::Refused, Verdict::Keys)
            }
            Evidence::Password(given) => {
                let keys = ScramKeys::of_nobody(ScramHash::Sha256, "", server_secret, iterations);
                // It takes its time and does not fit.
                let _ = keys.is_ok_and(|keys| core::hint::black_box(keys.verify(given)));
                Verdict::Refused
            }
            _ => Verdict::Refused,
        }
    }

    fn acts_for_itself(&self) -> bool {
        self.authorization_identity.is_none() || self.authorization_identity == self.username
    }
}

fn verdict(good: bool) -> Verdict {
    if good { Verdict::Accepted } else { Verdict::Refused }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .field("authorization_identity", &self.authorization_identity)
            .finish_non_exhaustive()
    }
}

/// The kind alone.
impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            #[cfg(feature = "cram-md5")]
            Self::CramMd5(_) => "CramMd5",
            #[cfg(feature = "scram")]
            Self::Scram(_) => "Scram",
            Self::Token(_) => "Token",
            Self::External => "External",
            Self::Anonymous(_) => "Anonymous",
            Self::Other(_) => "Other",
        })
    }
}

/// The kind alone.
impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "Accepted",
            Self::AcceptedAs(_) => "AcceptedAs",
            Self::Refused => "Refused",
            #[cfg(feature = "scram")]
            Self::Keys(_) => "Keys",
        })
    }
}
