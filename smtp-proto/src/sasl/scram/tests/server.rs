//! What the server says, and whom it does not let in.

use super::*;

/// SASL-005, SASL-009
#[test]
fn the_server_says_what_the_rfcs_have() {
    for example in [RFC_5802, RFC_7677] {
        let mut server = example.server();
        assert!(server.start(None) == challenge(""));
        let ServerStep::Credentials(credentials) = server.respond(example.client_first().as_bytes()) else { panic!() };
        assert_eq!((credentials.username(), credentials.authorization_identity()), (Some("user"), None));
        assert_eq!(credentials.mechanism(), example.mechanism.name);
        assert!(server.decided(credentials.verify_keys(&example.keys())) == challenge(&example.server_first()));
        let step = server.respond(example.client_final().as_bytes());
        assert!(step == challenge(&format!("v={}", example.signature)));
        assert!(server.respond(b"") == ServerStep::Accepted);
    }
}

/// SASL-009
#[test]
fn what_does_not_fit_the_exchange_is_refused() {
    let good = RFC_7677.client_final();
    let refused = ServerStep::Failed(Failure::Refused);
    for (from, to) in [("c=biws", "c=eSws"), ("k0,p=", "k1,p="), ("k0,p=", "k00,p="), ("p=dHzb", "p=dHzc")] {
        assert!(good.contains(from));
        let step = RFC_7677.challenging().respond(good.replace(from, to).as_bytes());
        assert!(step == refused, "{to}");
    }
    let malformed = ServerStep::Failed(Failure::Malformed);
    for bad in [
        String::new(),
        "p=".into(),
        good.replace("c=biws,", ""),
        good.replace("c=biws", "c=biw"),
        good.replace(",p=", ",q="),
        good.replace("dHzb", ""),
        good.replace("VQ=", "VQ"),
        format!("{good},x=1"),
        format!("x=1,{good}"),
    ] {
        assert!(RFC_7677.challenging().respond(bad.as_bytes()) == malformed, "{bad:?}");
    }
    assert!(RFC_7677.challenging().respond(b"\xff") == malformed);
    let extended = good.replace(",p=", ",m=1,p=");
    assert!(RFC_7677.challenging().respond(extended.as_bytes()) == refused);
}

/// SASL-005, SASL-022
#[test]
fn malformed_first_messages_are_refused() {
    for bad in [
        "",
        "n,,",
        "n,,n=user",
        "n,,r=abc",
        "n,,n=,r=abc",
        "n,,n=a=b,r=abc",
        "n,,n=user,r=",
        "n,,n=user,r=a b",
        "n,,r=abc,n=user",
        "n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,,n=a\u{7}b,r=abc",
        "n,,n=\u{ad},r=abc",
        "n,a=\u{7},n=user,r=abc",
    ] {
        assert!(RFC_7677.server().start(Some(bad.as_bytes())) == ServerStep::Failed(Failure::Malformed), "{bad:?}");
    }
    assert!(RFC_7677.server().start(Some(b"n,,n=\xff,r=a")) == ServerStep::Failed(Failure::Malformed));
    assert!(SCRAM_SHA_256.server(&Context::default()).is_none());
    assert!(SCRAM_SHA_256.client(&Login::password("u", "p").unwrap(), &Context::default()).is_none());
}

/// SASL-010
#[test]
fn the_server_holds_the_client_to_what_it_says_about_binding() {
    let bindings = [exporter(1)];
    let start = |mechanism: Scram, plus_offered, flag: &str| {
        let mut server = ScramServer::new(mechanism, &context(&bindings, plus_offered), "nonce".into());
        server.start(Some(format!("{flag},,n=user,r=abc").as_bytes()))
    };
    let refused = ServerStep::Failed(Failure::Refused);
    assert!(start(SHA_256, true, "y") == refused);
    assert!(matches!(start(SHA_256, false, "y"), ServerStep::Credentials(_)));
    assert!(matches!(start(SHA_256, true, "n"), ServerStep::Credentials(_)));
    assert!(start(SHA_256, true, "p=tls-exporter") == refused);
    assert!(matches!(start(SHA_256_PLUS, true, "p=tls-exporter"), ServerStep::Credentials(_)));
    for flag in ["p=tls-unique", "p=tls-server-end-point", "p=TLS-EXPORTER", "n", "y"] {
        assert!(start(SHA_256_PLUS, true, flag) == refused, "{flag}");
    }
    assert!(SCRAM_SHA_256_PLUS.server(&context(&[], false)).is_none());
}

/// SASL-013
#[test]
fn nothing_but_keys_of_the_same_hash_goes_on() {
    let other = RFC_5802.keys();
    for verdict in [Verdict::Accepted, Verdict::Refused, Verdict::Keys(other.clone())] {
        let mut server = RFC_7677.server();
        let step = server.start(Some(RFC_7677.client_first().as_bytes()));
        let ServerStep::Credentials(credentials) = step else { panic!() };
        assert!(credentials.verify_keys(&other) == Verdict::Refused);
        assert!(server.decided(verdict) == ServerStep::Failed(Failure::Refused));
        assert!(server.respond(b"") == ServerStep::Failed(Failure::Malformed));
    }
}

#[test]
fn what_comes_out_of_turn_ends_the_exchange() {
    let mut server = RFC_7677.challenging();
    assert!(server.decided(Verdict::Accepted) == ServerStep::Failed(Failure::Refused));
    assert!(server.respond(RFC_7677.client_final().as_bytes()) == ServerStep::Failed(Failure::Malformed));
    let mut server = RFC_7677.challenging();
    assert!(matches!(server.respond(RFC_7677.client_final().as_bytes()), ServerStep::Challenge(_)));
    assert!(server.respond(b"x") == ServerStep::Failed(Failure::Malformed));
    assert!(server.respond(b"") == ServerStep::Failed(Failure::Malformed));
}

/// Who may act for whom is not the helpers' to say.
#[test]
fn acting_for_somebody_else_is_not_granted_by_a_password() {
    let mut server = RFC_7677.server();
    let step = server.start(Some(b"n,a=boss,n=user,r=abc"));
    let ServerStep::Credentials(credentials) = step else { panic!() };
    assert_eq!(credentials.authorization_identity(), Some("boss"));
    assert!(credentials.verify_keys(&RFC_7677.keys()) == Verdict::Refused);
    assert!(credentials.verify_password(&"pencil".into()) == Verdict::Refused);
}
