//! Tests of what all mechanisms have in common.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;

fn all() -> Vec<&'static dyn Mechanism> {
    let all = strongest_first().iter().copied();
    #[cfg(feature = "cram-md5")]
    let all = all.chain([CRAM_MD5]);
    all.collect()
}

fn bindings() -> [ChannelBinding; 1] {
    [ChannelBinding::tls_exporter([9; 32])]
}

fn context(bindings: &[ChannelBinding]) -> Context<'_> {
    Context {
        host: "mx.example.com",
        nonce: Some([3; 24]),
        channel_bindings: bindings,
        plus_offered: true,
        external: true,
    }
}

fn logins() -> Vec<Login> {
    Vec::from([
        Login::password("alice", "correct horse").unwrap(),
        Login::token("alice", "t0ken-Of-Alice").unwrap(),
        Login::external(),
        Login::anonymous("alice").unwrap(),
    ])
}

/// What an application with one user says.
fn decide(credentials: &Credentials) -> Verdict {
    match credentials.evidence() {
        Evidence::External | Evidence::Anonymous(_) => Verdict::Accepted,
        Evidence::Token(_) => credentials.verify_token(&"t0ken-Of-Alice".into()),
        _ => credentials.verify_password(&"correct horse".into()),
    }
}

/// AUTH-018: the strongest first, CRAM-MD5 (SASL-004) not at all.
#[test]
fn mechanisms_are_found_by_name_and_have_an_order() {
    for mechanism in all() {
        assert_eq!(find(mechanism.name()), Some(mechanism));
        assert_eq!(find(&mechanism.name().to_lowercase()), Some(mechanism));
        assert_eq!(mechanism.name(), mechanism.name().to_uppercase());
        assert_eq!(format!("{mechanism:?}"), mechanism.name());
    }
    assert_eq!(find("NTLM"), None);
    assert_eq!(find(""), None);
    let order: Vec<_> = strongest_first().iter().map(|mechanism| mechanism.name()).collect();
    assert!(!order.contains(&"CRAM-MD5"));
    let scram: &[&str] = if cfg!(feature = "scram") {
        &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"]
    } else {
        &[]
    };
    assert_eq!(order, [scram, &["OAUTHBEARER", "XOAUTH2", "EXTERNAL", "PLAIN", "LOGIN", "ANONYMOUS"]].concat());
}

/// AUTH-017
#[test]
fn mechanisms_that_send_the_secret_say_so() {
    let revealing: Vec<_> = all().into_iter().filter(|mechanism| mechanism.reveals_secret()).collect();
    assert_eq!(revealing, [OAUTHBEARER, XOAUTH2, PLAIN, LOGIN]);
}

/// What the server ends with, and whether the client takes success.
fn run(mechanism: &dyn Mechanism, login: &Login, early: bool) -> Option<(ServerStep, Result<(), Fault>)> {
    let bindings = bindings();
    let context = context(&bindings);
    let mut client = mechanism.client(login, &context)?;
    let mut server = mechanism.server(&context).unwrap();
    let first = client.initial_response();
    let mut step = match &first {
        Some(first) if early => server.start(Some(first.reveal())),
        Some(first) => {
            assert!(server.start(None) == ServerStep::Challenge(Vec::new()));
            server.respond(first.reveal())
        }
        None => server.start(None),
    };
    loop {
        step = match step {
            ServerStep::Challenge(challenge) => server.respond(client.respond(&challenge).ok()?.reveal()),
            ServerStep::Credentials(credentials) => {
                assert_eq!(credentials.mechanism(), mechanism.name());
                server.decided(decide(&credentials))
            }
            last => return Some((last, client.succeeded())),
        };
    }
}

#[test]
fn each_client_gets_in_with_its_own_server() {
    for mechanism in all() {
        let mut ways = 0;
        for login in logins() {
            for early in [false, true] {
                if let Some(ended) = run(mechanism, &login, early) {
                    assert!(ended == (ServerStep::Accepted, Ok(())), "{mechanism:?}");
                    ways += 1;
                }
            }
        }
        assert_eq!(ways, 2, "{mechanism:?} is for one kind of login");
    }
}

#[test]
fn the_wrong_secret_gets_nobody_in() {
    for mechanism in all() {
        for login in [Login::password("alice", "wrong").unwrap(), Login::token("alice", "wrong").unwrap()] {
            if let Some((step, _)) = run(mechanism, &login, true) {
                assert!(step == ServerStep::Failed(Failure::Refused), "{mechanism:?}");
            }
        }
    }
}

/// SASL-001, SASL-019
#[test]
fn acting_for_somebody_else_is_carried_or_not_begun() {
    let bindings = bindings();
    let context = context(&bindings);
    for mechanism in all() {
        for login in logins() {
            let login = login.authorization_identity("boss").unwrap();
            let Some(mut client) = mechanism.client(&login, &context) else { continue };
            // Mechanisms without a place for the identity are not used at all.
            let first = client.initial_response().unwrap();
            let step = mechanism.server(&context).unwrap().start(Some(first.reveal()));
            let ServerStep::Credentials(credentials) = step else { panic!("{mechanism:?}") };
            let named = credentials.authorization_identity().or(credentials.username());
            assert_eq!(named, Some("boss"), "{mechanism:?}");
        }
    }
}

/// SASL-014, SASL-015: the two types that can be relied upon, and no `tls-unique`.
#[test]
fn channel_bindings_have_their_registered_names() {
    let exporter = ChannelBinding::tls_exporter([1; 32]);
    assert_eq!((exporter.name(), exporter.data()), ("tls-exporter", &[1; 32][..]));
    let end_point = ChannelBinding::tls_server_end_point(Vec::from([2; 48]));
    assert_eq!((end_point.name(), end_point.data()), ("tls-server-end-point", &[2; 48][..]));
    assert_eq!(format!("{exporter:?}"), "tls-exporter");
}

struct Shown(Vec<String>);

impl Shown {
    fn add(&mut self, value: &dyn fmt::Debug) {
        self.0.push(format!("{value:?}"));
        self.0.push(format!("{value:#?}"));
    }
}

/// AUTH-019, H-LG-2
#[test]
fn no_secret_is_shown() {
    const SECRET: &str = "correct horse";
    const TOKEN: &str = "t0ken-Of-Alice";
    let mut shown = Shown(Vec::new());
    for login in logins() {
        shown.add(&login);
        shown.add(login.proof());
    }
    shown.add(&Login::password("alice", format!("{SECRET}\0")).unwrap_err());
    shown.add(&Login::token("", TOKEN).unwrap_err());
    let bindings = bindings();
    for mechanism in all() {
        for login in logins() {
            let context = context(&bindings);
            let Some(mut client) = mechanism.client(&login, &context) else { continue };
            let mut server = mechanism.server(&context).unwrap();
            let first = client.initial_response();
            let mut step = server.start(first.as_ref().map(Secret::reveal));
            for _ in 0..5 {
                shown.add(&step);
                step = match step {
                    ServerStep::Challenge(challenge) => {
                        server.respond(client.respond(&challenge).ok().unwrap().reveal())
                    }
                    ServerStep::Credentials(credentials) => {
                        shown.add(credentials.evidence());
                        let verdict = decide(&credentials);
                        shown.add(&verdict);
                        server.decided(verdict)
                    }
                    _ => break,
                };
            }
        }
    }
    #[cfg(feature = "scram")]
    {
        let keys = ScramKeys::new(ScramHash::Sha256, &SECRET.into(), b"salt", 4096).unwrap();
        shown.add(&keys);
        let other = [keys.stored_key().clone(), keys.server_key().clone()];
        for key in &other {
            assert_hidden(&shown, key.reveal());
        }
    }
    assert!(shown.0.len() > 20);
    for secret in [SECRET, TOKEN] {
        assert_hidden(&shown, secret.as_bytes());
    }
}

fn assert_hidden(shown: &Shown, secret: &[u8]) {
    let hexadecimal: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let listed = format!("{secret:?}");
    let coded = base64::encode(secret);
    let forms: [Box<str>; 4] = [
        String::from_utf8_lossy(secret).into(),
        hexadecimal.into(),
        listed.trim_matches(['[', ']']).into(),
        // Without the end, which depends on what comes after.
        coded[..coded.len() - 4].into(),
    ];
    for text in &shown.0 {
        for form in &forms {
            assert!(!text.contains(&**form), "{text}");
        }
    }
}
