//! Nobody gets in with the wrong secret: whatever a client answers to each mechanism, whatever a server asks, whoever
//! logs in with whatever password or token where another is kept, and whatever somebody between them changes in an
//! exchange of SCRAM or CRAM-MD5. Exchanges end, do not panic, and show no secret.
//!
//! Input: what is tried, mechanism, configuration (one octet each), then fields that LFs divide: the responses (or the
//! challenges); or user name, the client's password or token, the server's, and an authorization identity; or octets
//! that are laid over a message.
#![no_main]

use std::borrow::Cow;
use std::fmt::{Debug, Display};

use libfuzzer_sys::{Corpus, fuzz_target};
use smtp_fuzz::{BINDING, PASSWORD, TOKEN, USER, is_costly, keys, mechanisms, nonce, shows_secret, verdict};
use smtp_proto::sasl::{
    ChannelBinding, Context, Credentials, Evidence, Failure, Login, Mechanism, ScramKeys, ServerStep, Verdict,
};

/// More than any mechanism needs.
const MOST_ROUNDS: usize = 4;

#[derive(Default)]
struct Shown(String);

impl Shown {
    fn debug(&mut self, thing: &dyn Debug) {
        self.0.push_str(&format!("{thing:?}\n{thing:#?}\n"));
    }

    fn display(&mut self, thing: &dyn Display) {
        self.0.push_str(&format!("{thing}\n"));
    }
}

/// What is the user's of a kind that a mechanism is for.
fn login(mechanism: &'static dyn Mechanism) -> Login {
    let login = match mechanism.name() {
        "OAUTHBEARER" | "XOAUTH2" => Login::token(USER, TOKEN),
        "EXTERNAL" => Ok(Login::external()),
        "ANONYMOUS" => Login::anonymous(USER),
        _ => Login::password(USER, PASSWORD),
    };
    login.expect("a good login").mechanisms([mechanism])
}

fn is_scram(mechanism: &dyn Mechanism) -> bool {
    mechanism.name().starts_with("SCRAM")
}

/// Any answers to a server. Those to SCRAM and CRAM-MD5 cannot be guessed, but an input may have them from another run.
fn responses(mechanism: &'static dyn Mechanism, context: &Context, initial: bool, fields: &[&[u8]], shown: &mut Shown) {
    let Some(mut server) = mechanism.server(context) else {
        return;
    };
    let mut fields = fields.iter().copied();
    let first = if initial { fields.next() } else { None };
    let mut step = server.start(first);
    let (mut challenges, mut trusted) = (0, false);
    loop {
        shown.debug(&step);
        step = match step {
            ServerStep::Challenge(_) => {
                challenges += 1;
                assert!(challenges <= MOST_ROUNDS, "{mechanism:?} has no end");
                let Some(response) = fields.next() else {
                    return;
                };
                server.respond(response)
            }
            ServerStep::Credentials(credentials) => {
                assert_eq!(credentials.mechanism(), mechanism.name());
                let names = [credentials.username(), credentials.authorization_identity()];
                let good = |name: &str| !name.is_empty() && !name.contains(char::is_control);
                assert!(names.into_iter().flatten().all(good), "{names:?}");
                shown.debug(credentials.evidence());
                let verdict = verdict(&credentials);
                shown.debug(&verdict);
                if matches!(credentials.evidence(), Evidence::Password(_) | Evidence::Token(_)) {
                    check_verdict(&credentials, &verdict);
                }
                trusted = verdict != Verdict::Refused;
                server.decided(verdict)
            }
            ServerStep::Accepted => {
                assert!(trusted, "{mechanism:?} lets in whom nobody knows");
                break;
            }
            ServerStep::Failed(_) => break,
            step => panic!("{step:?} is new"),
        };
    }
    // The end is the end.
    for response in [&b""[..], b"again", b"\x01"] {
        assert!(matches!(server.respond(response), ServerStep::Failed(_)), "{mechanism:?} goes on behind the end");
    }
    // These two leave it to their caller to ask for a verdict once.
    if !matches!(mechanism.name(), "LOGIN" | "CRAM-MD5") {
        assert!(matches!(server.decided(Verdict::Accepted), ServerStep::Failed(_)), "{mechanism:?} lets in at the end");
    }
}

/// What counts is written down a second time.
fn check_verdict(credentials: &Credentials, verdict: &Verdict) {
    let itself = credentials.authorization_identity().is_none_or(|identity| identity == USER);
    let known = match credentials.evidence() {
        Evidence::Password(given) => given.reveal_str().is_some_and(|given| same(given, PASSWORD)),
        Evidence::Token(given) => given.reveal() == TOKEN.as_bytes(),
        _ => false,
    };
    let good = credentials.username() == Some(USER) && itself && known;
    assert_eq!(*verdict == Verdict::Accepted, good, "{credentials:?}");
}

/// Any challenges to a client.
fn challenges(mechanism: &'static dyn Mechanism, context: &Context, fields: &[&[u8]], shown: &mut Shown) {
    let Some(mut client) = mechanism.client(&login(mechanism), context) else {
        return;
    };
    let _ = client.initial_response();
    let mut answers = 0;
    for challenge in fields {
        let answer = client.respond(challenge);
        if let Some(refusal) = client.refusal() {
            shown.display(&refusal);
        }
        match answer {
            Ok(_) => answers += 1,
            Err(fault) => {
                shown.debug(&fault);
                shown.display(&fault);
                break;
            }
        }
        assert!(answers < MOST_ROUNDS, "{mechanism:?} has no end");
    }
    if let Err(fault) = client.succeeded() {
        shown.display(&fault);
    } else if is_scram(mechanism) {
        // The signature can be known from another run, but has to be there.
        let signed = |field: &&&[u8]| field.starts_with(b"v=") && field.len() > 28;
        assert!(fields.iter().any(|field| signed(&field)) && answers == 2, "a server that proved nothing");
    }
}

fn prepared(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok().filter(|text| !text.is_empty())
}

fn same(one: &str, other: &str) -> bool {
    let prepared = |text| prepared(text).unwrap_or(Cow::Borrowed(text)).into_owned();
    one == other || prepared(one) == prepared(other)
}

/// Runs a client against a server, with a chance to change each message; gives whether the server and the client were
/// content.
fn exchange(
    mechanism: &'static dyn Mechanism,
    login: &Login,
    contexts: (&Context, &Context),
    judge: &dyn Fn(&Credentials) -> Verdict,
    change: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
    shown: &mut Shown,
) -> Option<(bool, bool)> {
    let mut client = mechanism.client(login, contexts.0)?;
    let mut server = mechanism.server(contexts.1)?;
    let first = match client.initial_response() {
        Some(first) => Some(change(first.reveal().to_vec())?),
        None => None,
    };
    let mut step = server.start(first.as_deref());
    for _ in 0..2 * MOST_ROUNDS {
        shown.debug(&step);
        step = match step {
            ServerStep::Challenge(challenge) => match client.respond(&change(challenge)?) {
                Ok(response) => server.respond(&change(response.reveal().to_vec())?),
                Err(fault) => {
                    shown.display(&fault);
                    return Some((false, false));
                }
            },
            ServerStep::Credentials(credentials) => server.decided(judge(&credentials)),
            ServerStep::Accepted => return Some((true, client.succeeded().is_ok())),
            ServerStep::Failed(Failure::Malformed | Failure::Refused) => return Some((false, false)),
            step => panic!("{step:?} is new"),
        };
    }
    panic!("{mechanism:?} has no end");
}

/// Anybody with anything against a server that keeps something. Where they are `apart`, each is at an end of its own of
/// two TLS connections.
fn match_up(mechanism: &'static dyn Mechanism, context: &Context, apart: bool, fields: &[&str], shown: &mut Shown) {
    let [name, given, kept, rest @ ..] = fields else {
        return;
    };
    let identity = rest.first();
    let login = match mechanism.name() {
        "OAUTHBEARER" | "XOAUTH2" => Login::token(*name, *given),
        "EXTERNAL" => Ok(Login::external()),
        "ANONYMOUS" => Login::anonymous(*name),
        _ => Login::password(*name, *given),
    };
    let login = login.and_then(|login| match identity {
        Some(identity) => login.authorization_identity(*identity),
        None => Ok(login),
    });
    let login = match login {
        Ok(login) => login,
        Err(error) => {
            shown.display(&error);
            return;
        }
    };
    shown.debug(&login);
    let open = matches!(mechanism.name(), "EXTERNAL" | "ANONYMOUS");
    let known = |credentials: &Credentials| {
        let named = credentials.username();
        named == Some(*name) || is_scram(mechanism) && named == prepared(name).as_deref()
    };
    let judge = |credentials: &Credentials| match credentials.evidence() {
        Evidence::External | Evidence::Anonymous(_) => Verdict::Accepted,
        _ if !known(credentials) => credentials.unknown_user(&"pepper".into()),
        Evidence::Token(_) => credentials.verify_token(&(*kept).into()),
        Evidence::Scram(claim) => {
            let keys = ScramKeys::new(claim.hash(), &(*kept).into(), b"salt", ScramKeys::MIN_ITERATIONS);
            keys.map_or(Verdict::Refused, |keys| credentials.verify_keys(&keys))
        }
        _ => credentials.verify_password(&(*kept).into()),
    };
    let elsewhere = [ChannelBinding::tls_exporter([0x5a; 32]), ChannelBinding::tls_server_end_point(vec![4; 32])];
    let mut other = *context;
    if apart {
        let count = context.channel_bindings.len();
        other.channel_bindings = &elsewhere[elsewhere.len() - count..];
    }
    let ended = exchange(mechanism, &login, (&other, context), &judge, &mut Some, shown);
    let plus = mechanism.name().ends_with("-PLUS");
    let Some((server, client)) = ended else {
        let unfit = is_scram(mechanism)
            && (prepared(name).is_none() || prepared(given).is_none() || plus && context.channel_bindings.is_empty());
        let carries_identity =
            is_scram(mechanism) || matches!(mechanism.name(), "PLAIN" | "EXTERNAL" | "OAUTHBEARER" | "XOAUTH2");
        let strange = identity.is_some_and(|identity| !carries_identity && identity != name);
        let anonymous = mechanism.name() == "ANONYMOUS" && identity.is_some();
        let external = mechanism.name() == "EXTERNAL" && !context.external;
        assert!(unfit || strange || anonymous || external, "{mechanism:?} is not for {login:?}");
        return;
    };
    let itself = identity.is_none_or(|identity| match is_scram(mechanism) {
        true => prepared(identity) == prepared(name),
        false => identity == name,
    });
    let right = match mechanism.name() {
        "PLAIN" | "LOGIN" => same(given, kept),
        "OAUTHBEARER" | "XOAUTH2" | "CRAM-MD5" => given == kept,
        // With a prohibited password nobody gets in.
        _ => prepared(given).is_some() && prepared(given) == prepared(kept),
    };
    let bound = !(plus && apart);
    assert_eq!(server, open || right && itself && bound, "{mechanism:?} {given:?} {kept:?} {login:?}");
    assert_eq!(client, server, "{mechanism:?}: the two ends do not agree");
}

/// Somebody changes one message between the user and a server that knows the user.
fn tamper(mechanism: &'static dyn Mechanism, context: &Context, place: u8, over: &[u8], shown: &mut Shown) {
    if !(is_scram(mechanism) || mechanism.name() == "CRAM-MD5") {
        return;
    }
    let (mut message, mut changed) = (0, false);
    let mut change = |octets: Vec<u8>| {
        message += 1;
        if message - 1 != usize::from(place & 7) {
            return Some(octets);
        }
        let at = usize::from(place >> 3).min(octets.len());
        let mut other = octets.clone();
        match over {
            [b'-', rest @ ..] => drop(other.drain(at..(at + rest.len()).min(octets.len()))),
            [b'+', rest @ ..] => drop(other.splice(at..at, rest.iter().copied())),
            over => other.iter_mut().skip(at).zip(over).for_each(|(octet, over)| *octet ^= over & 31),
        }
        // What a server adds to its signature nobody signs, and nobody minds.
        changed = other != octets && !(octets.starts_with(b"v=") && other.starts_with(&[&octets[..], b","].concat()));
        (!is_costly(&other)).then_some(other)
    };
    let judge = |credentials: &Credentials| match credentials.evidence() {
        // Whoever it says it is.
        Evidence::Scram(claim) => Verdict::Keys(keys(claim.hash()).clone()),
        _ => credentials.verify_password(&PASSWORD.into()),
    };
    let ended = exchange(mechanism, &login(mechanism), (context, context), &judge, &mut change, shown);
    let Some((server, client)) = ended else {
        return;
    };
    // The name stands beside the digest of CRAM-MD5, not in it.
    let named = mechanism.name() == "CRAM-MD5";
    assert!(!(changed && server && client) || named, "{mechanism:?}: a changed message makes no difference");
    assert!(changed || server && client, "{mechanism:?} does not work");
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(([what, which, config], rest)) = data.split_first_chunk() else {
        return Corpus::Reject;
    };
    let all = mechanisms();
    let mechanism = all[usize::from(which & 31) % all.len()];
    let bindings = [ChannelBinding::tls_exporter(BINDING), ChannelBinding::tls_server_end_point(vec![3; 32])];
    let mut context = Context::default();
    context.host = if config & 1 == 0 { "mail.example.org" } else { "" };
    context.nonce = if config & 2 == 0 { nonce() } else { None };
    context.channel_bindings = match config >> 2 & 3 {
        0 => &bindings,
        1 => &bindings[1..],
        _ => &[],
    };
    context.plus_offered = !context.channel_bindings.is_empty();
    context.external = true;
    let fields: Vec<&[u8]> = rest.split(|octet| *octet == b'\n').collect();
    let mut shown = Shown::default();
    match what & 3 {
        0 => responses(mechanism, &context, config & 16 != 0, &fields, &mut shown),
        1 if fields.iter().any(|field| is_costly(field)) => return Corpus::Reject,
        1 => challenges(mechanism, &context, &fields, &mut shown),
        2 => {
            let Some(fields) = fields.iter().map(|field| str::from_utf8(field).ok()).collect::<Option<Vec<_>>>() else {
                return Corpus::Reject;
            };
            if context.nonce.is_some() {
                match_up(mechanism, &context, config & 32 != 0, &fields, &mut shown);
            }
            // Names are shown.
            let names = [fields.first(), fields.get(3)].into_iter().flatten();
            let told = names.into_iter().any(|name| shows_secret(name.as_bytes()));
            assert!(told || !shows_secret(shown.0.as_bytes()), "a secret is shown: {}", shown.0);
            return Corpus::Keep;
        }
        _ if context.nonce.is_some() => {
            let (place, over) = rest.split_first().unwrap_or((&0, &[]));
            tamper(mechanism, &context, *place, over, &mut shown);
        }
        _ => return Corpus::Reject,
    }
    assert!(!shows_secret(shown.0.as_bytes()) || shows_secret(rest), "a secret is shown: {}", shown.0);
    Corpus::Keep
});
