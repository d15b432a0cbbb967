//! What the targets share: cutting a stream into pieces, writing, the policies on line ends written down a second time,
//! a user with secrets and the search for them.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Buf;
use memchr::memmem;
use smtp_proto::sasl::{self, ChannelBinding, Credentials, Evidence, Mechanism, ScramHash, ScramKeys, Verdict};
use smtp_proto::wire::BareNewline;
use smtp_proto::{Output, TlsInfo};

/// The one user there is.
pub const USER: &str = "jane";
/// The user's password, which nobody is to see.
pub const PASSWORD: &str = "Vieux-Montmartre";
/// The user's access token, which nobody is to see.
pub const TOKEN: &str = "ya29.vF9dft4qmTc2Nvb3RlckBh";
/// What the two ends of TLS know and nobody else.
pub const BINDING: [u8; 32] = [0xa5; 32];

/// Lengths of pieces, all drawn from the six low bits of one octet so that the rest of the input stays readable. Zero
/// (`@`) cuts behind every octet.
pub struct Cuts(u32);

impl Cuts {
    pub fn new(seed: u8) -> Self {
        Self(u32::from(seed & 63))
    }

    /// Mostly a few octets, because what goes wrong goes wrong inside a CRLF or a final dot; at times many.
    pub fn length(&mut self) -> usize {
        if self.0 == 0 {
            return 1;
        }
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1;
        let draw = self.0.to_be_bytes();
        usize::from(if draw[0] < 200 { draw[1] % 4 } else { draw[1] }) + 1
    }

    /// Takes the next piece off `octets`; nothing when they are used up.
    pub fn piece<'a>(&mut self, octets: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = self.length().min(octets.len());
        octets.split_off(..length).filter(|piece| !piece.is_empty())
    }
}

/// Moves up to `most` octets to `written`: one write that took no more.
pub fn write(output: &mut Output, most: usize, written: &mut Vec<u8>) {
    assert!(output.has_remaining(), "a write of nothing");
    let mut room = most.max(1);
    while output.has_remaining() && room > 0 {
        let length = output.chunk().len().min(room);
        assert!(length > 0, "an empty chunk of an output that is not empty");
        written.extend_from_slice(&output.chunk()[..length]);
        output.advance(length);
        room -= length;
    }
}

/// The policy that the two low bits name.
pub fn policy(bits: u8) -> BareNewline {
    match bits & 3 {
        0 => BareNewline::Reject,
        1 => BareNewline::Fix,
        2 => BareNewline::Strip,
        _ => BareNewline::Pass,
    }
}

/// What the policy makes of a message, with a line end added where the last line has none; `None` when the message is
/// refused.
pub fn applied(content: &[u8], policy: BareNewline) -> Option<Vec<u8>> {
    let mut made = with_line_ends(content, policy)?;
    if !made.is_empty() && !made.ends_with(b"\r\n") {
        made.extend_from_slice(b"\r\n");
    }
    Some(made)
}

/// The same without that line end, as chunks are.
pub fn with_line_ends(content: &[u8], policy: BareNewline) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    let mut rest = content;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\r', [b'\n', tail @ ..]) => {
                made.extend_from_slice(b"\r\n");
                rest = tail;
            }
            (b'\r' | b'\n', _) => match policy {
                BareNewline::Reject => return None,
                BareNewline::Fix => made.extend_from_slice(b"\r\n"),
                BareNewline::Strip => {}
                BareNewline::Pass => made.push(*first),
            },
            _ => made.push(*first),
        }
    }
    Some(made)
}

/// Every mechanism there is.
pub fn mechanisms() -> Vec<&'static dyn Mechanism> {
    sasl::strongest_first().iter().copied().chain([sasl::CRAM_MD5]).collect()
}

/// Nonces that are the same in every run.
pub fn nonce() -> Option<[u8; 24]> {
    Some([7; 24])
}

/// A TLS connection; with a certificate of the peer and a channel binding when they are asked for.
pub fn tls(verified: bool, bound: bool) -> TlsInfo {
    let mut facts = TlsInfo::new("TLSv1.3", "TLS_AES_256_GCM_SHA384");
    facts.verified = verified;
    if verified {
        facts.peer_certificates.push(vec![0x30]);
    }
    if bound {
        facts.channel_bindings.push(ChannelBinding::tls_exporter(BINDING));
    }
    facts
}

/// The keys that are kept for the user.
pub fn keys(hash: ScramHash) -> &'static ScramKeys {
    static KEYS: [OnceLock<ScramKeys>; 2] = [OnceLock::new(), OnceLock::new()];
    let place = if hash == ScramHash::Sha1 { &KEYS[0] } else { &KEYS[1] };
    place.get_or_init(|| {
        ScramKeys::new(hash, &PASSWORD.into(), b"salt", ScramKeys::MIN_ITERATIONS).expect("a good password")
    })
}

/// Whether a message of SCRAM asks for more than the fewest iterations: up to a second's worth of hashes.
pub fn is_costly(message: &[u8]) -> bool {
    let fields = message.split(|octet| *octet == b',').filter_map(|field| field.strip_prefix(b"i="));
    let numbers = fields.filter_map(|number| str::from_utf8(number).ok()?.parse().ok());
    numbers.into_iter().any(|number| (ScramKeys::MIN_ITERATIONS + 1..=ScramKeys::MAX_ITERATIONS).contains(&number))
}

/// What an application says that knows the one user.
pub fn verdict(credentials: &Credentials) -> Verdict {
    match credentials.evidence() {
        Evidence::External | Evidence::Anonymous(_) => Verdict::Accepted,
        _ if credentials.username() != Some(USER) => credentials.unknown_user(&"pepper".into()),
        Evidence::Token(_) => credentials.verify_token(&TOKEN.into()),
        Evidence::Scram(claim) => credentials.verify_keys(keys(claim.hash())),
        _ => credentials.verify_password(&PASSWORD.into()),
    }
}

/// Whether one of the user's secrets stands there, as it is or in base64.
pub fn shows_secret(text: &[u8]) -> bool {
    static FORMS: OnceLock<Vec<memmem::Finder<'static>>> = OnceLock::new();
    let forms = FORMS.get_or_init(|| {
        let secrets = [PASSWORD.as_bytes(), TOKEN.as_bytes(), &BINDING];
        secrets.iter().flat_map(|secret| forms(secret)).map(|form| memmem::Finder::new(&form).into_owned()).collect()
    });
    forms.iter().any(|form| form.find(text).is_some())
}

/// A secret as it is and in base64. What stands before it shifts it; the digits at the edges depend on the neighbours.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let shifted = |shift: usize| {
        let encoded = STANDARD_NO_PAD.encode([&[0; 3][..shift], secret].concat());
        encoded.as_bytes()[[0, 2, 3][shift]..(shift + secret.len()) * 8 / 6].to_vec()
    };
    [secret.to_vec()].into_iter().chain((0..3).map(shifted)).collect()
}
