//! Whom a client takes for its server, and a server for its client.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use smtp_proto::adapter::tls::rustls::server::WebPkiClientVerifier;
use smtp_proto::adapter::tls::rustls::{self, ServerConfig};
use smtp_proto::adapter::tls::{ClientTls, ServerTls};
use smtp_proto::adapter::{Error, TlsProblem};
use smtp_proto::client::{self, Authentication, TlsPolicy};
use smtp_proto::sasl::{self, Login};
use smtp_proto::server::{self, CloseReason};
use smtp_proto::{AuthenticationError, Error as SessionError};
use smtp_tests::certificates::{Authority, Certificate};
use smtp_tests::runtime::Runtime;

use super::secured::{
    AUTHORITY, CERTIFICATE, NAME, Seen, Watched, chain, client_policy, client_tls, connect_secured, connect_trusting,
    key, roots, server_policy, server_tls, server_tls_with,
};
use super::support::envelope;

/// A certificate of an unusual kind, and the authority that issued it, in PEM.
fn unusual(change: impl FnOnce(&mut CertificateParams)) -> (Certificate, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "An authority for one certificate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    (Certificate { certificate, key: key.serialize_pem() }, authority)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn self_signed() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    Certificate { certificate, key: key.serialize_pem() }
}

fn trusting(authority: &str) -> ClientTls {
    ClientTls::with_ca_pem(authority.as_bytes()).unwrap()
}

/// Connects to a server that has a certificate, by STARTTLS and without, to see the same twice.
fn connect_to(runtime: Runtime, certificate: &Certificate, tls: &ClientTls) -> Result<(), Error> {
    let ways = [(server::TlsPolicy::Implicit, TlsPolicy::Implicit), (server::TlsPolicy::Offered, TlsPolicy::Required)];
    let [implicit, by_starttls] = ways.map(|(server, client)| {
        let server = Watched::with(runtime, server_policy(server), Some(server_tls_with(certificate)));
        let error = connect_trusting(runtime, &server.address(), client_policy(client), tls.clone()).err()?;
        // Nobody has said anything under TLS, or in clear behind it.
        let seen = server.session();
        assert_eq!(seen.last(), Some(&Seen::Closing(CloseReason::TlsFailed)), "{seen:?}");
        assert!(seen.iter().filter_map(Seen::hello).all(|(_, tls)| tls.is_none()), "{seen:?}");
        Some(error)
    });
    match (implicit, by_starttls) {
        (None, None) => Ok(()),
        (Some(one), Some(other)) => {
            assert_eq!(one.tls_problem(), other.tls_problem());
            Err(other)
        }
        one_alone => panic!("{one_alone:?}"),
    }
}

/// What is wrong with a server's certificate, and the words for it.
fn problem(runtime: Runtime, certificate: &Certificate, tls: &ClientTls) -> (TlsProblem, String) {
    let error = connect_to(runtime, certificate, tls).expect_err("the server is not the right one");
    (error.tls_problem().unwrap_or_else(|| panic!("{error:?}")).clone(), error.to_string())
}

fn named(name: &str) -> ClientTls {
    client_tls().server_name(name).unwrap()
}

fn a_certificate_that_is_no_good_is_told_by_what_is_wrong_with_it(runtime: Runtime) {
    // TLS-015
    let expired = AUTHORITY.expired_server(&[NAME]).unwrap();
    let (unknown, _) = unusual(|_| {});
    let namesake = Authority::new().unwrap().server(&[NAME]).unwrap();
    let (early, early_authority) = unusual(|params| params.not_before = date_time_ymd(2300, 1, 1));
    let (for_clients, for_clients_authority) =
        unusual(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let early_authority = trusting(&early_authority).server_name(NAME).unwrap();
    let for_clients_authority = trusting(&for_clients_authority).server_name(NAME).unwrap();
    let known = named(NAME);
    let (expired, unknown, self_signed, early, for_clients) = (
        problem(runtime, &expired, &known),
        problem(runtime, &unknown, &known),
        problem(runtime, &self_signed(), &known),
        problem(runtime, &early, &early_authority),
        problem(runtime, &for_clients, &for_clients_authority),
    );
    assert_eq!(expired.0, TlsProblem::Expired);
    assert!(expired.1.contains("certificate has expired") && expired.1.contains("clock"), "{}", expired.1);
    assert_eq!(early.0, TlsProblem::NotYetValid);
    assert!(early.1.contains("not valid yet"), "{}", early.1);
    for (problem, words) in [unknown, self_signed] {
        assert_eq!(problem, TlsProblem::UnknownIssuer);
        assert!(words.contains("no trusted authority issued") && words.contains("CA"), "{words}");
    }
    // An authority with the name of one that is trusted, and another key.
    let (namesake, words) = problem(runtime, &namesake, &known);
    assert!(matches!(namesake, TlsProblem::Certificate(_) | TlsProblem::UnknownIssuer), "{words}");
    assert!(matches!(for_clients.0, TlsProblem::Certificate(_)), "{for_clients:?}");
    assert!(for_clients.1.contains("certificate is no good"), "{}", for_clients.1);
    for temporary in [expired.0, early.0] {
        assert!(temporary.is_transient());
    }
    assert!(!for_clients.0.is_transient());
}

fn a_certificate_is_for_the_name_that_was_meant(runtime: Runtime) {
    // TLS-015
    connect_to(runtime, &CERTIFICATE, &named(NAME)).unwrap();
    // Letter case and the dot at the end make no other name.
    connect_to(runtime, &CERTIFICATE, &named("MAIL.Example.test.")).unwrap();
    let other = AUTHORITY.server(&["other.example.test", "third.example.test"]).unwrap();
    let (problem, words) = problem(runtime, &other, &named(NAME));
    let certified = ["other.example.test", "third.example.test"].map(str::to_owned).to_vec();
    assert_eq!(problem, TlsProblem::WrongName { expected: NAME.to_owned(), certified });
    assert!(words.contains("not for mail.example.test but for other.example.test, third.example.test"), "{words}");
}

fn a_server_is_known_by_the_name_it_was_called_and_no_other(runtime: Runtime) {
    // TLS-015: not by what it says of itself, in the greeting and in reply to EHLO.
    let itself = AUTHORITY.server(&["mail.example.net"]).unwrap();
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Offered), Some(server_tls_with(&itself)));
    let called = server.address().replace("127.0.0.1", "localhost");
    let config = || client_policy(TlsPolicy::Required);
    let error = connect_secured(runtime, &called, config()).err().expect("another name");
    let certified = vec!["mail.example.net".to_owned()];
    let wrong = TlsProblem::WrongName { expected: "localhost".to_owned(), certified };
    assert_eq!(error.tls_problem(), Some(&wrong), "{error:?}");
    // Another server has a certificate for the name that this one was called.
    let certificate = AUTHORITY.server(&["localhost"]).unwrap();
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Offered), Some(server_tls_with(&certificate)));
    let called = server.address().replace("127.0.0.1", "localhost");
    connect_secured(runtime, &called, config()).unwrap().quit().unwrap();
    let asked: Vec<_> = server.session().iter().filter_map(|seen| seen.hello()?.1?.server_name.clone()).collect();
    assert_eq!(asked, ["localhost"]);
}

fn a_wildcard_stands_for_one_whole_label_on_the_left(runtime: Runtime) {
    // TLS-016
    let wild = AUTHORITY.server(&["*.example.test"]).unwrap();
    for name in ["a.example.test", "mail.example.test"] {
        connect_to(runtime, &wild, &named(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["a.b.example.test", "example.test", "a.example.net", "aexample.test"] {
        let (problem, _) = problem(runtime, &wild, &named(name));
        let certified = vec!["*.example.test".to_owned()];
        assert_eq!(problem, TlsProblem::WrongName { expected: name.to_owned(), certified });
    }
    // Part of a label, and a label elsewhere.
    for pattern in ["m*.example.test", "*l.example.test", "mail.*.test", "*.*.test", "*"] {
        let (odd, authority) = unusual(|params| params.subject_alt_names = vec![dns(pattern)]);
        let (problem, _) = problem(runtime, &odd, &trusting(&authority).server_name(NAME).unwrap());
        assert!(matches!(problem, TlsProblem::WrongName { .. } | TlsProblem::Certificate(_)), "{pattern}: {problem:?}");
    }
}

fn the_common_name_of_a_certificate_counts_for_nothing(runtime: Runtime) {
    // TLS-016: neither alone nor beside other names.
    for names in [vec![], vec![dns("other.example.test")]] {
        let (certificate, authority) = unusual(|params| {
            params.distinguished_name.push(DnType::CommonName, NAME);
            params.subject_alt_names = names.clone();
        });
        let (problem, words) = problem(runtime, &certificate, &trusting(&authority).server_name(NAME).unwrap());
        let certified = names.iter().map(|_| "other.example.test".to_owned()).collect();
        assert_eq!(problem, TlsProblem::WrongName { expected: NAME.to_owned(), certified });
        assert!(words.contains("not for mail.example.test"), "{words}");
    }
}

fn a_server_called_by_its_address_has_that_in_its_certificate(runtime: Runtime) {
    // TLS-015
    let address = AUTHORITY.server(&["127.0.0.1"]).unwrap();
    connect_to(runtime, &address, &client_tls()).unwrap();
    let other = AUTHORITY.server(&["127.0.0.2"]).unwrap();
    let name_alone = AUTHORITY.server(&[NAME]).unwrap();
    for (certificate, certified) in [(other, "127.0.0.2"), (name_alone, NAME)] {
        let (problem, words) = problem(runtime, &certificate, &client_tls());
        let certified = vec![certified.to_owned()];
        assert_eq!(problem, TlsProblem::WrongName { expected: "127.0.0.1".to_owned(), certified });
        assert!(words.contains("not for 127.0.0.1 but for"), "{words}");
    }
    // An address that pretends to be a name.
    let (certificate, authority) = unusual(|params| params.subject_alt_names = vec![dns("127.0.0.1")]);
    let (problem, _) = problem(runtime, &certificate, &trusting(&authority));
    assert!(matches!(problem, TlsProblem::WrongName { .. } | TlsProblem::Certificate(_)), "{problem:?}");
}

fn a_client_says_which_server_it_means(runtime: Runtime) {
    let server = Watched::start(runtime, server::TlsPolicy::Implicit);
    // An address is never sent as a name.
    for (tls, expected) in [(named(NAME), Some(NAME)), (client_tls(), None)] {
        let mailer = connect_trusting(runtime, &server.address(), client_policy(TlsPolicy::Implicit), tls).unwrap();
        mailer.quit().unwrap();
        let seen = server.session();
        let (_, tls) = seen.iter().find_map(Seen::hello).unwrap();
        assert_eq!(tls.unwrap().server_name.as_deref(), expected);
    }
}

fn a_server_that_nobody_verifies_is_not_told_the_password(runtime: Runtime) {
    // AUTH-017
    let certificate = Authority::new().unwrap().expired_server(&["another.example.test"]).unwrap();
    let mut config = server_policy(server::TlsPolicy::Required);
    config.mechanisms = vec![sasl::PLAIN, sasl::LOGIN];
    let server = Watched::with(runtime, config, Some(server_tls_with(&certificate)));
    let anybody = ClientTls::accepting_unverified_certificates().unwrap();
    let mut config = client_policy(TlsPolicy::Required);
    config.authentication = Authentication::Required(Login::password("jane", "s3cret").unwrap());
    let error = connect_trusting(runtime, &server.address(), config.clone(), anybody.clone()).err().unwrap();
    let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else { panic!("{error:?}") };
    assert_eq!(*source, AuthenticationError::NeedsTls { offered: "PLAIN LOGIN".to_owned() });
    assert!(error.to_string().contains("safe without verified TLS"), "{error}");
    assert!(!server.session().iter().any(|seen| matches!(seen, Seen::Authenticate(_))));
    // Without a login, it is TLS all the same.
    for authentication in [Authentication::Never, config.authentication] {
        let mut config = client_policy(TlsPolicy::Required);
        if let Authentication::Required(login) = authentication {
            config.authentication = Authentication::IfAvailable(login);
        }
        let mut mailer = connect_trusting(runtime, &server.address(), config, anybody.clone()).unwrap();
        assert!(mailer.send(envelope("jane", &["joe"]), "Hi\r\n".into()).unwrap().is_delivered());
        mailer.quit().unwrap();
        let seen = server.session();
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Authenticate(_))));
        assert!(seen.contains(&Seen::End(4)));
    }
}

fn a_certificate_is_replaced_while_the_server_runs(runtime: Runtime) {
    let tls = server_tls();
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Implicit), Some(tls.clone()));
    let connect = |authority: &str| {
        let tls = trusting(authority).server_name(NAME).unwrap();
        connect_trusting(runtime, &server.address(), client_policy(TlsPolicy::Implicit), tls)
    };
    let old = AUTHORITY.pem();
    let mut before = connect(old).unwrap();
    // What cannot be used changes nothing.
    let (Certificate { certificate: next, key }, new) = unusual(|_| {});
    let another_key = &CERTIFICATE.key;
    for (bad, bad_key) in [(&*next, &**another_key), ("", &key), (&next, ""), ("-----BEGIN CERTIFICATE-----\nx", &key)]
    {
        tls.replace_pem(bad.as_bytes(), bad_key.as_bytes()).unwrap_err();
    }
    connect(old).unwrap().quit().unwrap();
    tls.replace_pem(next.as_bytes(), key.as_bytes()).unwrap();
    connect(&new).unwrap().quit().unwrap();
    let error = connect(old).err().expect("the old certificate is gone");
    assert_eq!(error.tls_problem(), Some(&TlsProblem::UnknownIssuer), "{error:?}");
    // Who was there before is not disturbed.
    assert!(before.send(envelope("jane", &["joe"]), "Hi\r\n".into()).unwrap().is_delivered());
    before.quit().unwrap();
}

/// A server where clients are who their certificates say.
fn by_certificate(runtime: Runtime, tls: ServerTls) -> Watched {
    let mut config = server_policy(server::TlsPolicy::Required);
    config.mechanisms = vec![sasl::EXTERNAL];
    config.require_auth = true;
    Watched::judging(runtime, config, Some(tls), |_| smtp_proto::sasl::Verdict::Accepted.into())
}

/// A client that is who its certificate says.
fn external() -> client::Config {
    let mut config = client_policy(TlsPolicy::Required);
    config.authentication = Authentication::Required(Login::external());
    config
}

fn showing(certificate: &Certificate) -> ClientTls {
    let Certificate { certificate, key } = certificate;
    client_tls().certificate_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// A server that serves nobody without a certificate.
fn strict() -> ServerTls {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), Arc::clone(&provider)).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(chain(&CERTIFICATE), key(&CERTIFICATE));
    ServerTls::from_config(Arc::new(config.unwrap()))
}

fn a_client_is_who_its_certificate_says(runtime: Runtime) {
    // SASL-019
    let jane = AUTHORITY.client("jane.example.test").unwrap();
    let asking = server_tls().client_ca_pem(AUTHORITY.pem().as_bytes()).unwrap();
    for tls in [asking, strict()] {
        let server = by_certificate(runtime, tls);
        let mut mailer = connect_trusting(runtime, &server.address(), external(), showing(&jane)).unwrap();
        assert!(mailer.send(envelope("jane", &["joe"]), "Hi\r\n".into()).unwrap().is_delivered());
        mailer.quit().unwrap();
        let seen = server.session();
        let tls = seen.iter().filter_map(Seen::hello).find_map(|(_, tls)| tls).expect("a hello under TLS");
        assert!(tls.verified);
        assert_eq!(tls.peer_certificates, [chain(&jane)[0].to_vec()]);
        let identity = seen.iter().find_map(|seen| if let Seen::Authenticated(who) = seen { Some(who) } else { None });
        let identity = identity.expect("an identity");
        assert_eq!((&*identity.mechanism, identity.username.as_deref()), ("EXTERNAL", None));
        assert!(seen.contains(&Seen::End(4)));
    }
}

fn a_client_without_a_certificate_is_nobody(runtime: Runtime) {
    // SASL-019
    let server = by_certificate(runtime, server_tls().client_ca_pem(AUTHORITY.pem().as_bytes()).unwrap());
    let error = connect_secured(runtime, &server.address(), external()).err().expect("nobody");
    let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else { panic!("{error:?}") };
    assert_eq!(*source, AuthenticationError::NotOffered);
    let seen = server.session();
    let tls = seen.iter().filter_map(Seen::hello).find_map(|(_, tls)| tls).expect("a hello under TLS");
    assert!(!tls.verified && tls.peer_certificates.is_empty());
}

fn a_client_is_told_that_its_certificate_is_refused(runtime: Runtime) {
    let (stranger, _) = unusual(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let expired = AUTHORITY.expired_server(&["jane.example.test"]).unwrap();
    let asking = || server_tls().client_ca_pem(AUTHORITY.pem().as_bytes()).unwrap();
    let cases = [
        (asking(), showing(&stranger), "UnknownCA"),
        (asking(), showing(&expired), "CertificateExpired"),
        (strict(), client_tls(), "CertificateRequired"),
    ];
    for (tls, client, alert) in cases {
        let server = by_certificate(runtime, tls);
        let error = connect_trusting(runtime, &server.address(), external(), client).err().expect("refused");
        assert_eq!(error.tls_problem(), Some(&TlsProblem::CertificateRefused(alert.to_owned())), "{error:?}");
        assert!(error.to_string().contains("refused the certificate of this side, or the lack of one"), "{error}");
        assert_eq!(server.session().last(), Some(&Seen::Closing(CloseReason::TlsFailed)));
    }
}

on_each_runtime!(
    a_certificate_that_is_no_good_is_told_by_what_is_wrong_with_it,
    a_certificate_is_for_the_name_that_was_meant,
    a_server_is_known_by_the_name_it_was_called_and_no_other,
    a_wildcard_stands_for_one_whole_label_on_the_left,
    the_common_name_of_a_certificate_counts_for_nothing,
    a_server_called_by_its_address_has_that_in_its_certificate,
    a_client_says_which_server_it_means,
    a_server_that_nobody_verifies_is_not_told_the_password,
    a_certificate_is_replaced_while_the_server_runs,
    a_client_is_who_its_certificate_says,
    a_client_without_a_certificate_is_nobody,
    a_client_is_told_that_its_certificate_is_refused,
);
