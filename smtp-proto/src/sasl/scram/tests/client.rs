//! What the client says, and what it does not go along with.

use super::*;

/// SASL-005, SASL-008
#[test]
fn the_client_says_what_the_rfcs_have() {
    for example in [RFC_5802, RFC_7677] {
        let mut client = example.client();
        assert_eq!(client.initial_response().unwrap().reveal_str().unwrap(), example.client_first());
        let answer = client.respond(example.server_first().as_bytes()).ok().unwrap();
        assert_eq!(answer.reveal_str().unwrap(), example.client_final());
        let answer = client.respond(format!("v={}", example.signature).as_bytes()).ok().unwrap();
        assert!(answer.reveal().is_empty());
        assert_eq!(client.succeeded(), Ok(()));
        assert!(client.respond(b"").err() == Some(Fault::UnexpectedChallenge));
    }
}

/// SASL-006
#[test]
fn a_nonce_that_does_not_go_on_from_the_clients_is_a_fault() {
    let salt = RFC_7677.salt;
    for nonce in
        ["rOprNGfwEbeRWgbNEkqO", "xOprNGfwEbeRWgbNEkqO123", "rOprNGfwEbeRWgbNEkq", "x", "rOprNGfwEbeRWgbNEkqO\u{7f}"]
    {
        let message = format!("r={nonce},s={salt},i=4096");
        assert!(RFC_7677.begun().respond(message.as_bytes()).err() == Some(Fault::Nonce), "{nonce:?}");
    }
}

/// SASL-007
#[test]
fn iterations_have_a_floor_and_a_ceiling() {
    let Example { client_nonce, salt, .. } = RFC_7677;
    let respond = |iterations: &str| {
        RFC_7677.begun().respond(format!("r={client_nonce}x,s={salt},i={iterations}").as_bytes()).err()
    };
    for iterations in [1, 4095, 600_001, u64::from(u32::MAX), u64::from(u32::MAX) + 4097, u64::MAX] {
        assert_eq!(respond(&iterations.to_string()), Some(Fault::Iterations(iterations)));
    }
    assert_eq!(respond("99999999999999999999999999"), Some(Fault::Iterations(u64::MAX)));
    for bad in ["0", "-1", "+4096", "04096", "4096x", " 4096", ""] {
        assert_eq!(respond(bad), Some(Fault::MalformedChallenge), "{bad:?}");
    }
    assert_eq!(respond("4096"), None);
    assert_eq!(respond("4097"), None);
}

/// SASL-007, SASL-021
#[test]
fn a_salt_is_not_empty_and_canonical_base64() {
    for salt in ["", "=", "W22ZaJ0SNY7soEsUEjb6gQ", "W22ZaJ0SNY7soEsUEjb6gR==", "W22Z aJ0S", "!!!!"] {
        let message = format!("r={}x,s={salt},i=4096", RFC_7677.client_nonce);
        let fault = RFC_7677.begun().respond(message.as_bytes()).err();
        assert_eq!(fault, Some(Fault::MalformedChallenge), "{salt:?}");
    }
}

#[test]
fn malformed_challenges_are_a_fault() {
    let Example { client_nonce, salt, .. } = RFC_7677;
    for message in [
        String::new(),
        "r".into(),
        format!("r={client_nonce}x"),
        format!("r={client_nonce}x,s={salt}"),
        format!("s={salt},r={client_nonce}x,i=4096"),
        format!("r={client_nonce}x,s={salt},i=4096,"),
        format!("r={client_nonce}x,s={salt},i=4096,xx"),
        format!("v={}", RFC_7677.signature),
    ] {
        let fault = RFC_7677.begun().respond(message.as_bytes()).err();
        assert_eq!(fault, Some(Fault::MalformedChallenge), "{message:?}");
    }
    assert_eq!(RFC_7677.begun().respond(b"\xff").err(), Some(Fault::MalformedChallenge));
    assert_eq!(RFC_7677.client().respond(b"").err(), Some(Fault::UnexpectedChallenge));
}

/// SASL-008
#[test]
fn a_wrong_signature_of_the_server_is_a_fault() {
    for signature in [RFC_5802.signature, RFC_7677.proof, "AAAA", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8="] {
        let mut client = RFC_7677.proved();
        let fault = client.respond(format!("v={signature}").as_bytes()).err();
        assert_eq!(fault, Some(Fault::ServerSignature), "{signature:?}");
        assert_eq!(client.succeeded(), Err(Fault::Unproven));
    }
    for bad in ["v=", "v", "v=!", "x=1", ""] {
        let mut client = RFC_7677.proved();
        assert_eq!(client.respond(bad.as_bytes()).err(), Some(Fault::MalformedChallenge), "{bad:?}");
        assert_eq!(client.succeeded(), Err(Fault::Unproven));
    }
}

/// SASL-008
#[test]
fn success_before_the_signature_is_a_fault() {
    assert_eq!(RFC_7677.client().succeeded(), Err(Fault::Unproven));
    assert_eq!(RFC_7677.begun().succeeded(), Err(Fault::Unproven));
    assert_eq!(RFC_7677.proved().succeeded(), Err(Fault::Unproven));
}

/// SASL-008
#[test]
fn an_error_of_the_server_is_kept_and_is_no_success() {
    let mut client = RFC_7677.proved();
    assert!(client.respond(b"e=invalid-proof,x=1").ok().unwrap().reveal().is_empty());
    assert_eq!(client.refusal(), Some("invalid-proof"));
    assert_eq!(client.succeeded(), Err(Fault::Unproven));
}

/// SASL-011
#[test]
fn the_client_says_truly_whether_it_can_bind() {
    let login = Login::password("user", "pencil").unwrap();
    let bindings = [exporter(1), ChannelBinding::tls_server_end_point(b"hash".to_vec())];
    let first = |mechanism: &dyn Mechanism, context: &Context<'_>| {
        let first = mechanism.client(&login, context)?.initial_response().unwrap();
        Some(first.reveal_str().unwrap().split(',').next().unwrap().to_string())
    };
    for (mechanism, plus) in [(SCRAM_SHA_1, SCRAM_SHA_1_PLUS), (SCRAM_SHA_256, SCRAM_SHA_256_PLUS)] {
        assert_eq!(first(mechanism, &context(&[], false)).unwrap(), "n");
        assert_eq!(first(mechanism, &context(&[], true)).unwrap(), "n");
        assert_eq!(first(mechanism, &context(&bindings, false)).unwrap(), "y");
        assert_eq!(first(mechanism, &context(&bindings, true)).unwrap(), "n");
        assert_eq!(first(plus, &context(&bindings, true)).unwrap(), "p=tls-exporter");
        assert_eq!(first(plus, &context(&[], true)), None);
    }
}
