//! Commands and what is wrong with them.

use super::*;
use alloc::format;
use alloc::string::{String, ToString};
use proptest::prelude::*;

#[test]
fn commands_parse_to_their_canonical_form_and_back() {
    // WIRE-004, WIRE-006, WIRE-007, ADDR-002
    for (line, canonical) in [
        ("eHlO a.test", "EHLO a.test"),
        ("HELO my_pc", "HELO my_pc"),
        ("EHLO [IPv6:::1]", "EHLO [IPv6:::1]"),
        ("mail from:<a@a.test>", "MAIL FROM:<a@a.test>"),
        ("MAIL FROM: <a@a.test>  SIZE=10 ", "MAIL FROM:<a@a.test> SIZE=10"),
        ("MAIL FROM:<>", "MAIL FROM:<>"),
        ("MAIL FROM:<\"a b\"@c> body=8bitmime smtputf8 X=y", "MAIL FROM:<\"a b\"@c> BODY=8BITMIME SMTPUTF8 X=y"),
        ("RCPT TO:<@x.test:a@b.test> FOO=1", "RCPT TO:<a@b.test> FOO=1"),
        ("rcpt to:<postmaster>", "RCPT TO:<Postmaster>"),
        ("NOOP whatever  ", "NOOP"),
        ("NOOP \t ", "NOOP"),
        ("VRFY Some One", "VRFY Some One"),
        ("EXPN list smtputf8", "EXPN list SMTPUTF8"),
        ("HELP", "HELP"),
        ("HELP  MAIL", "HELP MAIL"),
        ("xFoo  a b", "XFOO  a b"),
        // BDAT-001, BDAT-004
        ("bdat 3 last", "BDAT 3 LAST"),
        ("BDAT  0003", "BDAT 3"),
        ("BDAT 0 LAST", "BDAT 0 LAST"),
        ("BDAT 18446744073709551615", "BDAT 18446744073709551615"),
        // EXT-011
        ("BURL imap://a@b.test/;urlauth=submit+a last", "BURL imap://a@b.test/;urlauth=submit+a LAST"),
        ("burl x:y", "BURL x:y"),
        // EXT-012
        ("etrn b.test", "ETRN b.test"),
        ("ETRN  @b.test", "ETRN @b.test"),
        ("ETRN #some/queue", "ETRN #some/queue"),
        ("ETRN [192.0.2.1]", "ETRN [192.0.2.1]"),
        // LMTP-001
        ("lhlo a.test", "LHLO a.test"),
        // PROXY-002, PROXY-004, PROXY-005
        ("xclient name=[unavailable]  addr=192.0.2.1", "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1"),
        ("XFORWARD SOURCE=local IDENT=1", "XFORWARD SOURCE=LOCAL IDENT=1"),
        // DSN-001, DSN-003
        ("RCPT TO:<a@b> orcpt=rfc822;c+40d notify=never", "RCPT TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;c@d"),
        ("MAIL FROM:<a@b> ret=full envid=x", "MAIL FROM:<a@b> RET=FULL ENVID=x"),
        ("quit", "QUIT"),
    ] {
        let command = Command::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(command.to_string(), canonical);
        assert_eq!(Command::parse(canonical.as_bytes()), Ok(command));
    }
}

#[test]
fn malformed_commands_say_what_is_wrong() {
    // WIRE-009, WIRE-017, I18N-007, I18N-008, H-AD-3
    use CommandError as E;
    for line in [
        &b""[..],
        b" ",
        b"\x16\x03\x01",
        b" EHLO a",
        b"MAIL\tFROM:<a@b>",
        b"\xff",
        b"FOO\x00 x",
        b"FOO \x07",
        b"NOOP\nNOOP",
        b"1234",
        b"\xc3\xa9",
        b"NOOP\r",
        b"NOOP\n",
    ] {
        assert_eq!(Command::parse(line), Err(E::NotACommand), "{line:?}");
    }
    for line in [
        &b"NOOP a\nNOOP"[..],
        b"MAIL FROM:<a\x01@a.test>",
        b"EHLO \x00",
        b"RCPT TO:<\xff@a.test>",
        b"VRFY \xed\xa0\x80",
    ] {
        assert_eq!(Command::parse(line), Err(E::Characters), "{line:?}");
    }
    for line in [
        "MAIL",
        "MAIL FROM",
        "MAIL <a@b>",
        "MAIL FROM :<a@b>",
        "RCPT FROM:<a@b>",
        "EHLO",
        "EHLO a b",
        "HELO é",
        "DATA x",
        "RSET x",
        "QUIT now",
        "VRFY",
        "EXPN ",
    ] {
        assert!(matches!(Command::parse(line.as_bytes()), Err(E::Argument { .. })), "{line}");
    }
    for line in ["MAIL FROM:", "MAIL FROM:a@b", "MAIL FROM:<a@b", "MAIL FROM:<Jo <a@b>>", "MAIL FROM:<Postmaster>"] {
        assert!(matches!(Command::parse(line.as_bytes()), Err(E::ReversePath(_))), "{line}");
    }
    assert!(matches!(Command::parse(b"RCPT TO:<>"), Err(E::ForwardPath(_))));
    for line in ["MAIL FROM:<a@b>SIZE=1", "MAIL FROM:<a@b> A_B=1", "RCPT TO:<a@b> A=1 A=1", "MAIL FROM:<a@b>>"] {
        assert!(matches!(Command::parse(line.as_bytes()), Err(E::Parameter(_))), "{line}");
    }
}

#[test]
fn a_client_names_itself_by_domain_or_literal_only() {
    // WIRE-017
    for name in ["a.test", "localhost", "[192.0.2.1]", "[IPv6:::1]"] {
        assert!(name.parse::<HelloName>().is_ok());
    }
    let long = format!("{}.test", "a".repeat(300));
    for name in ["", "a b", "a\r\nMAIL", "a\0", "é.test", "my_pc", "a.", &long] {
        assert!(name.parse::<HelloName>().is_err(), "{name:?}");
    }
}

#[test]
fn nothing_but_a_size_says_where_a_chunk_ends() {
    // BDAT-001, BDAT-010, BDAT-013, H-RS-2
    for line in [
        &b"BDAT"[..],
        b"BDAT ",
        b"bdat LAST",
        b"BDAT -1",
        b"BDAT +1",
        b"BDAT 0x10",
        b"BDAT 1.5",
        b"BDAT 1,LAST",
        b"BDAT 1LAST",
        b"BDAT 1 FIRST",
        b"BDAT 1 LAST LAST",
        b"BDAT 1 2",
        b"BDAT 18446744073709551616",
        b"BDAT 99999999999999999999",
        b"BDAT 000000000000000000001",
        b"BDAT 1 LAST\x00",
        b"BDAT 1\xff",
        b"BDAT\t1",
        b"BDAT\x001",
        "BDAT \u{661}".as_bytes(),
    ] {
        assert_eq!(Command::parse(line), Err(CommandError::ChunkSize), "{}", line.escape_ascii());
    }
    for (digits, fits) in [(19, true), (20, true), (21, false)] {
        let line = format!("BDAT {}1", "0".repeat(digits - 1));
        assert_eq!(Command::parse(line.as_bytes()).is_ok(), fits, "{line}");
    }
    assert!(matches!(Command::parse(b"BDATA 1"), Ok(Command::Other { .. })));
}

#[test]
fn arguments_of_extensions_are_checked() {
    // EXT-011, EXT-012, LMTP-001
    for line in [
        "BURL",
        "BURL LAST",
        "BURL a b",
        "BURL a: LAST",
        "BURL 1a:b",
        "BURL imap:é",
        "BURL a:b LAST LAST",
        "ETRN",
        "ETRN @",
        "ETRN #",
        "ETRN a b",
        "ETRN a..b",
        "ETRN é.test",
        "ETRN @é.test",
        "ETRN #é",
        "ETRN @[192.0.2.1]",
        "ETRN @#a",
        "LHLO",
        "LHLO a b",
    ] {
        assert!(matches!(Command::parse(line.as_bytes()), Err(CommandError::Argument { .. })), "{line}");
    }
    for line in ["BURL imap:\u{1}", "ETRN #\u{7f}", "LHLO \u{85}"] {
        assert_eq!(Command::parse(line.as_bytes()), Err(CommandError::Characters), "{line:?}");
    }
    for uri in ["", "a", ":a", "a b:c", "a:b c", "a:\r\nRSET", "a:\0"] {
        assert_eq!(uri.parse::<AbsoluteUri>(), Err(InvalidAbsoluteUri), "{uri:?}");
    }
    for node in ["", "a\r\nRSET", "#a b", "#a\0"] {
        assert!(node.parse::<Node>().is_err(), "{node:?}");
    }
    let (long, longer) = (format!("#{}", "x".repeat(255)), format!("#{}", "x".repeat(256)));
    assert!(long.parse::<Node>().is_ok() && longer.parse::<Node>().is_err());
}

#[test]
fn attributes_of_proxies_are_checked() {
    // PROXY-002, PROXY-004, PROXY-005
    use AttributeError as E;
    for (line, error) in [
        (&b"XCLIENT"[..], E::Syntax),
        (b"XFORWARD ", E::Syntax),
        (b"XCLIENT NAME", E::Syntax),
        (b"XCLIENT SOURCE=LOCAL", E::Name),
        (b"XFORWARD LOGIN=a", E::Name),
        (b"XCLIENT NAME=+0D+0AQUIT", E::Value),
        (b"XCLIENT NAME=\x01", E::Value),
        (b"XFORWARD NAME=\xff", E::Value),
        (b"XCLIENT PORT=1 PORT=2", E::Repeated),
    ] {
        assert_eq!(Command::parse(line), Err(CommandError::Attribute(error)), "{}", line.escape_ascii());
    }
}

const XTEXT: &str = "([a-z+;é]|\\+[2-7][0-9A-F]|\\\\x\\{[0-9A-F]{2,6}\\}){0,9}";
const TIME: &str = "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:00(\\.[0-9]{1,3})?(Z|[+-]0[0-9]:00)";

fn parameters() -> impl Strategy<Value = String> {
    let shaped = |shape: String| proptest::string::string_regex(&shape).unwrap();
    let one = prop_oneof![
        "RET=(FULL|HDRS)",
        shaped(format!("ENVID={XTEXT}")),
        shaped(format!("ORCPT=(rfc822|UTF-8|x);{XTEXT}")),
        "NOTIFY=((DELAY,)?(NEVER|SUCCESS|FAILURE|DELAY)|[A-Z,]{0,9})",
        "BY=[+-]?[0-9]{1,10};[NRX]T?",
        "HOLDFOR=[0-9]{1,10}",
        shaped(format!("HOLDUNTIL={TIME}")),
        shaped(format!("RRVS={TIME}(;[CRX])?")),
        "MT-PRIORITY=-?[0-9]{1,2}",
        "BODY=BINARYMIME",
    ];
    ("(MAIL FROM:<a@b>|RCPT TO:<a@b>)", proptest::collection::vec(one, 0..4))
        .prop_map(|(command, parameters)| format!("{command} {}", parameters.join(" ")))
}

proptest! {
    #[test]
    fn what_parses_reads_back_the_same(
        parameters in parameters(),
        extensions in "(BDAT [0-9]{1,21}( LAST)?|BURL [a-z:/+é]{0,9}( LAST)?|ETRN [@#]?[a-z.é]{0,9}|LHLO [a-z_]{0,5})",
        proxies in "X(CLIENT|FORWARD)( (NAME|ADDR|PORT|PROTO|HELO|LOGIN|DESTADDR|DESTPORT|IDENT|SOURCE)=\
            ([a-zA-Z0-9.]{0,6}|[0-9]{1,5}|(IPV6:)?[0-9:.]{1,9}|\\[(UNAVAILABLE|tempunavail)\\]|(\\+[2-7][0-9A-F]){1,3}|LOCAL)){1,3}",
    ) {
        for line in [parameters, extensions, proxies] {
            if let Ok(command) = Command::parse(line.as_bytes()) {
                let written = command.to_string();
                prop_assert!(!written.contains(char::is_control));
                prop_assert_eq!(Command::parse(written.as_bytes()), Ok(command), "{}", written);
            }
        }
    }
}
