//! Which proxy to go through.

use crate::secret::Secret;

/// A SOCKS5 proxy (RFC 1928). It looks up the names of servers itself.
#[derive(Debug, Clone)]
pub struct Socks5 {
    address: String,
    login: Option<Login>,
}

#[derive(Clone)]
struct Login {
    username: String,
    password: Secret,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Socks5 {
    /// At `host:port`, without authentication.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), login: None }
    }

    /// With a user name and password (RFC 1929), of 255 octets at most each. They go to the proxy in clear.
    #[must_use]
    pub fn login(self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { login: Some(Login { username: username.into(), password: password.into() }), ..self }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// User name and password, if it wants them.
    pub fn credentials(&self) -> Option<(&str, &Secret)> {
        self.login.as_ref().map(|login| (login.username.as_str(), &login.password))
    }
}
