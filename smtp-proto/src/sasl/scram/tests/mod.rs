//! Tests of SCRAM exchanges: what they share, and the examples of the RFCs.

mod both;
mod client;
mod server;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use super::*;
use crate::sasl::{ChannelBinding, Credentials, Failure, Fault, ServerStep, Verdict, base64};

const SHA_1: Scram = Scram { name: "SCRAM-SHA-1", hash: ScramHash::Sha1, plus: false };
const SHA_256: Scram = Scram { name: "SCRAM-SHA-256", hash: ScramHash::Sha256, plus: false };
const SHA_256_PLUS: Scram = Scram { name: "SCRAM-SHA-256-PLUS", hash: ScramHash::Sha256, plus: true };

/// An example of an RFC: user `user`, password `pencil`.
struct Example {
    mechanism: Scram,
    client_nonce: &'static str,
    server_nonce: &'static str,
    salt: &'static str,
    proof: &'static str,
    signature: &'static str,
}

/// RFC 5802 section 5.
const RFC_5802: Example = Example {
    mechanism: SHA_1,
    client_nonce: "fyko+d2lbbFgONRv9qkxdawL",
    server_nonce: "3rfcNHYJY1ZVvWVs7j",
    salt: "QSXCR+Q6sek8bf92",
    proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
};

/// RFC 7677 section 3.
const RFC_7677: Example = Example {
    mechanism: SHA_256,
    client_nonce: "rOprNGfwEbeRWgbNEkqO",
    server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
    proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

impl Example {
    fn client(&self) -> ScramClient {
        let login = Login::password("user", "pencil").unwrap();
        ScramClient::new(&self.mechanism, &login, &Context::default(), self.client_nonce.into()).unwrap()
    }

    /// A client that has said its first message.
    fn begun(&self) -> ScramClient {
        let mut client = self.client();
        client.initial_response().unwrap();
        client
    }

    /// A client that has sent its proof.
    fn proved(&self) -> ScramClient {
        let mut client = self.begun();
        client.respond(self.server_first().as_bytes()).ok().unwrap();
        client
    }

    fn server(&self) -> ScramServer {
        ScramServer::new(self.mechanism, &Context::default(), self.server_nonce.into())
    }

    /// A server that has sent its nonce and the salt.
    fn challenging(&self) -> ScramServer {
        let mut server = self.server();
        assert!(matches!(server.start(Some(self.client_first().as_bytes())), ServerStep::Credentials(_)));
        assert!(server.decided(Verdict::Keys(self.keys())) == challenge(&self.server_first()));
        server
    }

    fn keys(&self) -> ScramKeys {
        let salt = base64::decode(self.salt.as_bytes()).unwrap();
        ScramKeys::new(self.mechanism.hash, &"pencil".into(), salt.reveal(), 4096).unwrap()
    }

    fn client_first(&self) -> String {
        format!("n,,n=user,r={}", self.client_nonce)
    }

    fn server_first(&self) -> String {
        format!("r={}{},s={},i=4096", self.client_nonce, self.server_nonce, self.salt)
    }

    fn client_final(&self) -> String {
        format!("c=biws,r={}{},p={}", self.client_nonce, self.server_nonce, self.proof)
    }
}

fn challenge(text: &str) -> ServerStep {
    ServerStep::Challenge(text.as_bytes().to_vec())
}

fn context(bindings: &[ChannelBinding], plus_offered: bool) -> Context<'_> {
    Context { nonce: Some([7; 24]), channel_bindings: bindings, plus_offered, ..Context::default() }
}

fn exporter(octet: u8) -> ChannelBinding {
    ChannelBinding::tls_exporter([octet; 32])
}
