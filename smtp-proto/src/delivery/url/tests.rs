//! What a URL says, what is none, and that a password is never shown.

use super::*;
use crate::client::Transfer;
use crate::sasl::Proof;
use alloc::format;
use proptest::prelude::*;

fn url(text: &str) -> Url {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> InvalidUrl {
    text.parse::<Url>().expect_err(text)
}

fn password(url: &Url) -> Option<&str> {
    match url.login()?.proof() {
        Proof::Password(password) => password.reveal_str(),
        _ => None,
    }
}

#[test]
fn endpoints_are_where_the_scheme_the_host_and_the_user_say() {
    for (text, shown) in [
        ("smtp://mail.example.org", "smtp://mail.example.org:25"),
        ("SMTP://mail.example.org/", "smtp://mail.example.org:25"),
        ("smtp://u:p@mail.example.org", "smtp://u:***@mail.example.org:587"),
        ("smtp://u:p@mail.example.org:25", "smtp://u:***@mail.example.org:25"),
        ("smtps://mail.example.org", "smtps://mail.example.org:465"),
        ("smtps://u:p@mail.example.org:1/?", "smtps://u:***@mail.example.org:1"),
        ("lmtp://127.0.0.1", "lmtp://127.0.0.1:24"),
        ("lmtp://u:p@127.0.0.1", "lmtp://u:***@127.0.0.1:24"),
        ("smtp://[2001:DB8::1]", "smtp://[2001:db8::1]:25"),
        ("smtp://[::1]:65535?tls=none", "smtp://[::1]:65535"),
        ("smtp://my_server-1:2525", "smtp://my_server-1:2525"),
        ("smtp://7.example", "smtp://7.example:25"),
        ("lmtp+unix:///run/lmtp", "lmtp+unix:///run/lmtp"),
        ("lmtp+unix:///var/a%20b/%C3%A9%3f?transfer=data", "lmtp+unix:///var/a%20b/%C3%A9%3F"),
    ] {
        assert_eq!(url(text).to_string(), shown);
        assert_eq!(url(shown).to_string(), shown);
    }
    let path = url("lmtp+unix:///var/a%20b/%C3%A9@%3f");
    assert_eq!(path.endpoint(), &Endpoint::Unix("/var/a b/é@?".into()));
    let address = Host::Address("2001:db8::1".parse().unwrap());
    assert_eq!(address.server_name(), "2001:db8::1");
    assert_eq!(url("smtps://[2001:db8::1]").endpoint(), &Endpoint::Tcp { host: address, port: 465 });
}

#[test]
fn users_and_passwords_are_decoded() {
    for (user_info, user, secret) in [
        ("u:p", "u", "p"),
        ("u:a:b", "u", "a:b"),
        ("jane@example.org:p@ss", "jane@example.org", "p@ss"),
        ("jane%40example.org:%2F%3f%23%25", "jane@example.org", "/?#%"),
        ("a%3Ab:+ %2B", "a:b", "+ +"),
        ("é:%C3%A9", "é", "é"),
    ] {
        let url = url(&format!("smtp://{user_info}@h"));
        assert_eq!(url.login().map(Login::username), Some(user));
        assert_eq!(password(&url), Some(secret));
    }
}

#[test]
fn what_is_wrong_is_told() {
    use InvalidUrl as E;
    for (text, wrong) in [
        ("", E::Scheme),
        ("mail.example.org", E::Scheme),
        ("mail.example.org:25", E::Scheme),
        ("smtp:mail.example.org", E::Scheme),
        ("http://h", E::Scheme),
        ("u:p://h", E::Scheme),
        ("smtp://", E::Host),
        ("smtp://:25", E::Host),
        ("smtp://u:p@", E::Host),
        ("smtp://a b", E::Host),
        ("smtp://a..b", E::Host),
        ("smtp://a.", E::Host),
        ("smtp://-a", E::Host),
        ("smtp://a-.b", E::Host),
        ("smtp://é.example", E::Host),
        ("smtp://%61", E::Host),
        ("smtp://256.0.0.1", E::Host),
        ("smtp://127.1", E::Host),
        ("smtp://1", E::Host),
        ("smtp://::1", E::Host),
        ("smtp://2001:db8::1", E::Host),
        ("smtp://[::1", E::Host),
        ("smtp://[::1]x", E::Host),
        ("smtp://[fe80::1%25eth0]", E::Host),
        ("smtp://[127.0.0.1]", E::Host),
        ("smtp://h:", E::Port),
        ("smtp://h:0", E::Port),
        ("smtp://h:65536", E::Port),
        ("smtp://h:+25", E::Port),
        ("smtp://[::1]:x", E::Port),
        ("lmtp://h:25", E::LmtpPort),
        ("smtp://h/path", E::BehindHost),
        ("smtp://h#x", E::BehindHost),
        ("smtp://h?tls=none#x", E::BehindHost),
        ("smtp://u:a/b@h", E::UserInfo),
        ("smtp://u:a?b@h", E::UserInfo),
        ("smtp://u:a#b@h", E::UserInfo),
        ("smtp://u@h", E::Password),
        ("smtp://@h", E::Password),
        ("smtp://:p@h", E::Login(InvalidLogin::Empty("user name"))),
        ("smtp://u:@h", E::Login(InvalidLogin::Empty("password"))),
        ("smtp://u:%0d%0a@h", E::Login(InvalidLogin::Character("password"))),
        ("smtp://u:%ff@h", E::Login(InvalidLogin::Encoding("password"))),
        ("smtp://%ff:p@h", E::Escape),
        ("smtp://u:100%@h", E::Escape),
        ("smtp://u:%4@h", E::Escape),
        ("smtp://u:%4%41@h", E::Escape),
        ("smtp://u:%+1@h", E::Escape),
        ("lmtp+unix://run/lmtp", E::Socket),
        ("lmtp+unix://u:p@/run/lmtp", E::Socket),
        ("lmtp+unix:///", E::Socket),
        ("lmtp+unix://", E::Socket),
        ("lmtp+unix:///a#b", E::Socket),
        ("lmtp+unix:///a%00b", E::Socket),
        ("lmtp+unix:///a%", E::Escape),
    ] {
        assert_eq!(error(text), wrong, "{text}");
    }
    for (length, fits) in [(63, true), (64, false)] {
        assert_eq!(format!("smtp://{}", "a".repeat(length)).parse::<Url>().is_ok(), fits);
    }
    let name = |last: usize| format!("smtp://{}{}", "a234567.".repeat(31), "a".repeat(last));
    assert_eq!((name(5).parse::<Url>().is_ok(), name(6).parse::<Url>().is_ok()), (true, false), "253 and 254");
}

#[test]
fn options_become_configuration() {
    let config = |text: &str| url(text).client_config("default.example").unwrap();
    let plain = config("smtp://h.example");
    assert_eq!((plain.tls, plain.lmtp, plain.transfer), (TlsPolicy::Required, false, Transfer::Auto));
    assert_eq!(plain.server_name, "h.example");
    assert!(matches!(plain.authentication, Authentication::Never));
    for (text, tls, lmtp) in [
        ("smtp://u:p@h", TlsPolicy::Required, false),
        ("smtp://h?tls=required", TlsPolicy::Required, false),
        ("smtp://h?tls=opportunistic", TlsPolicy::Opportunistic, false),
        ("smtp://u:p@h?tls=none", TlsPolicy::None, false),
        ("smtps://h", TlsPolicy::Implicit, false),
        ("lmtp://h", TlsPolicy::Required, true),
        ("lmtp://h?tls=none", TlsPolicy::None, true),
        ("lmtp+unix:///s", TlsPolicy::None, true),
    ] {
        assert_eq!((config(text).tls, config(text).lmtp), (tls, lmtp), "{text}");
    }
    assert_eq!(config("smtp://h?transfer=data").transfer, Transfer::Data);
    assert_eq!(config("smtp://h?transfer=bdat").transfer, Transfer::Bdat);
    assert_eq!(config("smtp://h?transfer=auto").transfer, Transfer::Auto);
    assert_eq!(config("lmtp+unix:///s").server_name, "");
    assert_eq!(config("smtps://[::1]").server_name, "::1");
    let Authentication::Required(login) = config("smtp://u:p@h").authentication else { panic!("no login") };
    assert_eq!(login.username(), "u");
    for (text, hello) in [("smtp://h", "default.example"), ("smtp://h?hello=%5B192.0.2.1]", "[192.0.2.1]")] {
        assert!(format!("{:?}", config(text)).contains(hello));
    }
    assert!(url("smtp://h").client_config("no name").is_err());
    assert!(url("smtp://h?hello=a.example").client_config("no name").is_ok(), "it is not used");
}

#[test]
fn options_become_policies() {
    let seconds = Duration::from_secs;
    let plain = url("smtp://h");
    assert_eq!((plain.pool_policy(), plain.retry_policy()), (PoolPolicy::default(), Retry::default()));
    assert_eq!((plain.rate_limit(), plain.connect_timeout()), (None, None));
    let all = url("smtp://h/?connections=3&messages=7&idle=5&age=9&&retries=0&rate=10/m&timeout=2&");
    let pool = PoolPolicy { connections: 3, messages: 7, idle: seconds(5), age: seconds(9) };
    assert_eq!(all.pool_policy(), pool);
    assert_eq!(all.retry_policy(), Retry { attempts: 1, ..Retry::default() });
    assert_eq!(all.rate_limit(), Some(RateLimit::new(10, seconds(60))));
    assert_eq!(all.connect_timeout(), Some(seconds(2)));
    assert_eq!(url("smtp://h?rate=1/s").rate_limit(), Some(RateLimit::new(1, seconds(1))));
    assert_eq!(url("smtp://h?rate=4294967295%2Fh").rate_limit(), Some(RateLimit::new(u32::MAX, seconds(3600))));
    assert_eq!(url("smtp://h?retries=4294967295").retry_policy().attempts, u32::MAX);
}

#[test]
fn options_are_known_fit_and_given_once() {
    let good = [
        ("tls", "none"),
        ("hello", "a"),
        ("transfer", "auto"),
        ("timeout", "1"),
        ("connections", "1"),
        ("messages", "1"),
        ("idle", "1"),
        ("age", "1"),
        ("retries", "1"),
        ("rate", "1/s"),
    ];
    for (name, value) in good {
        assert!(format!("smtp://h?{name}={value}").parse::<Url>().is_ok());
        assert_eq!(error(&format!("smtp://h?{name}={value}&{name}={value}")), InvalidUrl::RepeatedOption(name));
        assert!(InvalidUrl::UnknownOption.to_string().contains(name));
        let bad: &[&str] = match name {
            "hello" => &["", "a b", "a_b", "%C3%A9"],
            "retries" => &["", "-1", "4294967296", "x"],
            "rate" => &["", "1", "/s", "0/s", "1/d", "1/s/s", "+1/s"],
            _ => &["", "0", "-1", "+1", "1.5", "4294967296", "None"],
        };
        for value in bad {
            let wrong = error(&format!("smtp://h?{name}={value}"));
            assert!(matches!(wrong, InvalidUrl::Value { option, .. } if option == name), "{name}={value}: {wrong}");
        }
    }
    for text in ["smtp://h?x=1", "smtp://h?TLS=none", "smtp://h?=1", "smtp://h?x"] {
        assert_eq!(error(text), InvalidUrl::UnknownOption, "{text}");
    }
    for text in ["smtps://h?tls=none", "smtps://h?tls=required", "lmtp+unix:///s?tls=none"] {
        assert_eq!(error(text), InvalidUrl::UnfitOption("tls"), "{text}");
    }
    assert_eq!(error("smtp://h?hello=%x"), InvalidUrl::Escape);
}

proptest! {
    /// Wherever it is put and whatever is around it.
    #[test]
    fn nothing_shows_the_password(
        before in "(smtps?|lmtp|x)://(u[/?#%@:]?)?:?",
        after in "[/?#%&=:@]{0,3}@?(h|\\[::1\\])?(:25|:x)?[/?#]?(tls=no|x=)?",
    ) {
        let shown = match format!("{before}SECRET{after}").parse::<Url>() {
            Ok(url) if password(&url).is_some_and(|password| password.contains("SECRET")) => format!("{url} {url:?}"),
            // It was not taken for a password.
            Ok(_) => return Ok(()),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn no_text_is_too_odd(
        odd in "((smtp|lmtp|lmtp\\+unix)://)?.{0,40}",
        shaped in "(smtp|smtps|lmtp|lmtp\\+unix)://(\\PC{0,3}:\\PC{0,3}@)?[a-z0-9.:\\[\\]%_-]{0,9}(/[a-z%é]{0,3})?(\\?[a-z]{0,5}=[0-9a-z/%&=]{0,9})?",
    ) {
        for text in [odd, shaped] {
            if let Ok(url) = text.parse::<Url>() {
                let again = self::url(&url.to_string());
                prop_assert_eq!(again.endpoint(), url.endpoint());
                prop_assert_eq!(again.login().map(Login::username), url.login().map(Login::username));
            }
        }
    }

    #[test]
    fn every_user_and_password_can_be_written(user in "[^\\p{C}]{1,9}", secret in "[^\\p{C}]{1,9}") {
        let escaped = |text: &str| text.bytes().map(|octet| format!("%{octet:02x}")).collect::<String>();
        let url = url(&format!("smtps://{}:{}@h", escaped(&user), escaped(&secret)));
        prop_assert_eq!(url.login().map(Login::username), Some(user.as_str()));
        prop_assert_eq!(password(&url), Some(secret.as_str()));
    }
}
