//! Whole exchanges, and what holds for both ends.

use super::*;

/// Runs a client against a server, and gives what the server ends with and whether the client is content.
fn run(
    mut client: Box<dyn ClientExchange>,
    mut server: Box<dyn ServerExchange>,
    decide: impl Fn(&Credentials) -> Verdict,
) -> (ServerStep, Result<(), Fault>) {
    let first = client.initial_response().unwrap();
    let mut step = server.start(Some(first.reveal()));
    loop {
        step = match step {
            ServerStep::Challenge(challenge) => match client.respond(&challenge) {
                Ok(answer) => server.respond(answer.reveal()),
                Err(fault) => return (ServerStep::Challenge(challenge), Err(fault)),
            },
            ServerStep::Credentials(credentials) => server.decided(decide(&credentials)),
            last => return (last, client.succeeded()),
        };
    }
}

/// SASL-012
#[test]
fn unknown_extensions_fail_when_mandatory_and_are_passed_over_else() {
    let mandatory = format!("m=x,{}", RFC_7677.server_first());
    assert!(matches!(RFC_7677.begun().respond(mandatory.as_bytes()), Err(Fault::Other(_))));
    let optional = format!("{},x=a=b,Y=2", RFC_7677.server_first());
    assert!(RFC_7677.begun().respond(optional.as_bytes()).is_ok());

    let mut server = RFC_7677.server();
    assert!(server.start(Some(b"n,,m=x,n=user,r=abc")) == ServerStep::Failed(Failure::Refused));
    let mut server = RFC_7677.server();
    assert!(matches!(server.start(Some(b"n,,n=user,r=abc,x=1")), ServerStep::Credentials(_)));
}

/// SASL-005, SASL-013
#[test]
fn names_and_passwords_of_all_kinds_get_through() {
    let context = context(&[], false);
    for (name, password, prepared) in [
        ("user", "pencil", "user"),
        ("a,b=c", "p,=2C", "a,b=c"),
        ("=2C", "==", "=2C"),
        ("I\u{ad}X", "\u{2168}", "IX"),
        ("J\u{fc}rgen", "\u{dc}nschuldig", "J\u{fc}rgen"),
    ] {
        let login = Login::password(name, password).unwrap();
        for mechanism in [SCRAM_SHA_1, SCRAM_SHA_256] {
            for authorization_identity in [None, Some(name)] {
                let login = match authorization_identity {
                    Some(identity) => login.clone().authorization_identity(identity).unwrap(),
                    None => login.clone(),
                };
                let client = mechanism.client(&login, &context).unwrap();
                let ended = run(client, mechanism.server(&context).unwrap(), |credentials| {
                    assert_eq!(credentials.username(), Some(prepared));
                    credentials.verify_password(&password.into())
                });
                assert!(ended == (ServerStep::Accepted, Ok(())), "{name:?}");
            }
            let client = mechanism.client(&login, &context).unwrap();
            let ended = run(client, mechanism.server(&context).unwrap(), |credentials| {
                credentials.verify_password(&"other".into())
            });
            assert!(ended == (ServerStep::Failed(Failure::Refused), Err(Fault::Unproven)), "{name:?}");
        }
    }
    for prohibited in ["\u{627}1", "\u{e000}"] {
        let login = Login::password(prohibited, "p").unwrap();
        assert!(SCRAM_SHA_256.client(&login, &context).is_none());
        let login = Login::password("u", prohibited).unwrap();
        assert!(SCRAM_SHA_256.client(&login, &context).is_none());
    }
}

/// SASL-009, SASL-014: data of another connection do not fit.
#[test]
fn an_exchange_carried_to_another_connection_fails() {
    let login = Login::password("user", "pencil").unwrap();
    let here = [exporter(1)];
    let there = [exporter(2)];
    for mechanism in [SCRAM_SHA_1_PLUS, SCRAM_SHA_256_PLUS] {
        for (bindings, wanted) in [
            (&here, (ServerStep::Accepted, Ok(()))),
            (&there, (ServerStep::Failed(Failure::Refused), Err(Fault::Unproven))),
        ] {
            let client = mechanism.client(&login, &context(&here, true)).unwrap();
            let server = mechanism.server(&context(bindings, true)).unwrap();
            assert!(run(client, server, |credentials| credentials.verify_password(&"pencil".into())) == wanted);
        }
    }
}

/// SASL-013: a stranger sees the same kind of answer, and the same salt each time.
#[test]
fn a_user_who_does_not_exist_cannot_be_told() {
    let asked = |name: &str, decide: &dyn Fn(&Credentials) -> Verdict| {
        let mut server = RFC_7677.server();
        let step = server.start(Some(format!("n,,n={name},r=abc").as_bytes()));
        let ServerStep::Credentials(credentials) = step else { panic!() };
        let ServerStep::Challenge(challenge) = server.decided(decide(&credentials)) else { panic!() };
        String::from_utf8(challenge).unwrap()
    };
    let iterations = ScramKeys::DEFAULT_ITERATIONS;
    let unknown = |credentials: &Credentials| {
        credentials.unknown_user_with_keys(&"server secret".into(), iterations)
    };
    let once = asked("alice", &unknown);
    assert_eq!(once, asked("alice", &unknown));
    assert_ne!(once, asked("bob", &unknown));
    let salt = [5; ScramKeys::SALT_LENGTH];
    let keys = ScramKeys::new(ScramHash::Sha256, &"p".into(), &salt, ScramKeys::DEFAULT_ITERATIONS).unwrap();
    let known = asked("carol", &|credentials| credentials.verify_keys(&keys));
    assert_eq!(known.len(), once.len());
    assert!(once.ends_with(",i=15000") && known.ends_with(",i=15000"));

    // Where passwords are kept, the salt is that of the exchange for everybody.
    let by_password = |credentials: &Credentials| credentials.verify_password(&"p".into());
    let unknown_by_password = |credentials: &Credentials| credentials.unknown_user(&"server secret".into());
    assert_eq!(asked("alice", &unknown_by_password), asked("alice", &by_password));

    let context = context(&[], false);
    for decide in [&unknown as &dyn Fn(&Credentials) -> Verdict, &unknown_by_password] {
        let client = SCRAM_SHA_256.client(&Login::password("alice", "p").unwrap(), &context).unwrap();
        let ended = run(client, SCRAM_SHA_256.server(&context).unwrap(), decide);
        assert!(ended == (ServerStep::Failed(Failure::Refused), Err(Fault::Unproven)));
    }
}

/// Whom somebody wants to act for does not tell either.
#[test]
fn acting_for_another_is_refused_whether_the_user_exists_or_not() {
    let mut server = RFC_7677.server();
    let ServerStep::Credentials(credentials) = server.start(Some(b"n,a=other,n=alice,r=abc")) else { panic!() };
    assert!(credentials.verify_password(&"p".into()) == Verdict::Refused);
    assert!(credentials.unknown_user(&"s".into()) == Verdict::Refused);
    assert!(credentials.unknown_user_with_keys(&"s".into(), 4096) == Verdict::Refused);
}

/// SASL-022: each end's nonce is all of what it was given.
#[test]
fn nonces_come_from_the_caller() {
    let context = context(&[], false);
    let wanted = base64::encode(&[7; 24]);
    let login = Login::password("user", "pencil").unwrap();
    let first = SCRAM_SHA_256.client(&login, &context).unwrap().initial_response().unwrap();
    assert_eq!(first.reveal_str().unwrap(), format!("n,,n=user,r={wanted}"));
    let mut server = SCRAM_SHA_256.server(&context).unwrap();
    let ServerStep::Credentials(credentials) = server.start(Some(b"n,,n=user,r=abc")) else { panic!() };
    let ServerStep::Challenge(challenge) = server.decided(credentials.verify_password(&"pencil".into())) else {
        panic!()
    };
    assert!(challenge.starts_with(format!("r=abc{wanted},s=").as_bytes()));
    let salts = [[1; 24], [2; 24]].map(|octets| {
        let claim = ScramClaim { hash: ScramHash::Sha256, nonce: Secret::new(octets) };
        claim.keys(&"pencil".into()).unwrap().salt().to_vec()
    });
    assert_ne!(salts[0], salts[1]);
}
