//! PROXY headers: good and bad ones in every segmentation, bounds, checksums, and what is written.

use alloc::vec;
use alloc::vec::Vec;

use super::version_2::{MAX_LENGTH, SIGNATURE, crc32c};
use super::*;

/// What comes of octets: a header and how many octets are left, a refusal and how many octets it took, or nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Header(ProxyHeader, usize),
    Refused(ProxyError, usize),
    Partial,
}

/// Reads octets that come in pieces of this size.
fn in_pieces(octets: &[u8], size: usize) -> Outcome {
    let mut rx = BytesMut::new();
    let mut fed = 0;
    for piece in octets.chunks(size) {
        rx.extend_from_slice(piece);
        fed += piece.len();
        match ProxyHeader::read(&mut rx) {
            Ok(Some(header)) => {
                let rest = octets.len() - fed + rx.len();
                assert_eq!(rx, octets[octets.len() - rest..fed], "nothing behind the header is taken");
                return Outcome::Header(header, rest);
            }
            Ok(None) => assert_eq!(rx, octets[..fed], "nothing is taken before the header is whole"),
            Err(error) => return Outcome::Refused(error, fed),
        }
    }
    Outcome::Partial
}

/// Reads octets in pieces of every size, so that the first ends anywhere; the outcome is the same.
fn read(octets: &[u8]) -> Outcome {
    let slowest = in_pieces(octets, 1);
    for size in 2..=octets.len() {
        match (in_pieces(octets, size), slowest) {
            // More octets than needed can have come by then.
            (Outcome::Refused(error, at), Outcome::Refused(expected, first)) => {
                assert_eq!(error, expected, "{octets:?} in pieces of {size}");
                assert_eq!(at, first.next_multiple_of(size).min(octets.len()), "{octets:?} in pieces of {size}");
            }
            (outcome, _) => assert_eq!(outcome, slowest, "{octets:?} in pieces of {size}"),
        }
    }
    slowest
}

fn proxied(source: &str, destination: &str) -> ProxyHeader {
    let [source, destination] = [source, destination].map(|address| address.parse().expect("an address"));
    ProxyHeader::Proxied { source, destination }
}

/// A header of version 2 whose length is right.
fn version_2(version_and_command: u8, family: u8, parts: &[&[u8]]) -> Vec<u8> {
    let block = parts.concat();
    let length = u16::try_from(block.len()).expect("a short block").to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, &block].concat()
}

const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xC3, 0x50, 0, 25];
const IPV6: &[u8] = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xff\xff\0\0";

fn of_ipv4() -> ProxyHeader {
    proxied("192.0.2.1:50000", "198.51.100.7:25")
}

fn of_ipv6() -> ProxyHeader {
    proxied("[2001:db8::1]:65535", "[2001:db8::2]:0")
}

/// What is read, and as what.
fn good() -> Vec<(Vec<u8>, ProxyHeader)> {
    use ProxyHeader::{Local, Unknown};
    let longest =
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let all_ones = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    let text = [
        ("PROXY TCP4 192.0.2.1 198.51.100.7 50000 25\r\n", of_ipv4()),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", proxied("0.0.0.0:0", "255.255.255.255:65535")),
        ("PROXY TCP6 2001:DB8::1 2001:0db8:0:0:0:0:0:2 65535 0\r\n", of_ipv6()),
        ("PROXY TCP6 ::ffff:192.0.2.1 :: 1 1\r\n", proxied("[::ffff:192.0.2.1]:1", "[::]:1")),
        (longest, proxied(all_ones, all_ones)),
        ("PROXY UNKNOWN\r\n", Unknown),
        ("PROXY UNKNOWN \r\n", Unknown),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Unknown),
        ("PROXY UNKNOWN \0 é PROXY TCP4\t\r\n", Unknown),
    ];
    let checked = with_checksum(0x21, 0x11, &[IPV4, b"\x04\0\x02ab"], b"\xEA\0\x01z");
    let checked_local = with_checksum(0x20, 0, &[], b"");
    let block = [
        (version_2(0x21, 0x11, &[IPV4]), of_ipv4()),
        (version_2(0x21, 0x21, &[IPV6]), of_ipv6()),
        (version_2(0x21, 0x11, &[IPV4, b"\x01\0\x04smtp", b"\x04\0\0", b"\xFF\0\x01\x03"]), of_ipv4()),
        (checked, of_ipv4()),
        (version_2(0x20, 0, &[]), Local),
        (checked_local, Local),
        (version_2(0x20, 0x11, &[IPV4]), Local),
        (version_2(0x20, 0x11, &[b"short"]), Local),
        (version_2(0x20, 0x11, &[IPV4, b"no TLV"]), Local),
        (version_2(0x20, 0xFF, &[b"of no known family"]), Local),
        (version_2(0x21, 0, &[]), Unknown),
        (version_2(0x21, 0, &[b"\xFF\xFF\xFFno TLV"]), Unknown),
        (version_2(0x21, 0x01, &[IPV4]), Unknown),
        (version_2(0x21, 0x20, &[IPV6]), Unknown),
        (version_2(0x21, 0x12, &[IPV4]), Unknown),
        (version_2(0x21, 0x22, &[IPV6]), Unknown),
        (version_2(0x21, 0x31, &[&[b'/'; 216]]), Unknown),
        (version_2(0x21, 0x32, &[&[0; 216], b"\x04\0\0"]), Unknown),
    ];
    // As HAProxy sends them: for a health check, and for a client.
    let local = version_2(0x20, 0, &[b"\x03\0\x04\xA9\xB8\x7E\x8F"]);
    let addresses = b"\x7F\0\0\x01\x7F\0\0\x01\x8D\xF0\xA4\x76";
    let tlvs = b"\x03\0\x04\x8A\x46\xCC\xCE\x05\0\x0B127.0.0.1-1\x20\0\x05\0\0\0\0\0";
    let client = version_2(0x21, 0x11, &[addresses, tlvs]);
    let sent = [(local, Local), (client, proxied("127.0.0.1:36336", "127.0.0.1:42102"))];
    text.map(|(text, header)| (text.into(), header)).into_iter().chain(block).chain(sent).collect()
}

/// A header of version 2 with a checksum between these TLVs, computed here in another way than there.
fn with_checksum(version_and_command: u8, family: u8, before: &[&[u8]], behind: &[u8]) -> Vec<u8> {
    let before = before.concat();
    let mut header = version_2(version_and_command, family, &[&before, b"\x03\0\x04\0\0\0\0", behind]);
    let mut remainder = u32::MAX;
    for bit in header.iter().flat_map(|octet| (0..8).map(move |bit| u32::from(octet >> bit & 1))) {
        let carry = (remainder ^ bit) & 1;
        remainder = (remainder >> 1) ^ (0x82F6_3B78 * carry);
    }
    let place = 16 + before.len() + 3;
    header[place..place + 4].copy_from_slice(&(!remainder).to_be_bytes());
    header
}

#[test]
fn headers_are_taken_and_nothing_behind_them() {
    // PROXY-008, PROXY-009, PROXY-010, PROXY-011, PROXY-013, P1
    for (octets, header) in good() {
        for behind in [&b""[..], b"\r\n", b"EHLO a.test\r\n", b"\x16\x03\x01", b"PROXY UNKNOWN\r\n"] {
            assert_eq!(read(&[&octets, behind].concat()), Outcome::Header(header, behind.len()), "{octets:?}");
        }
        for end in 0..octets.len() {
            assert_eq!(in_pieces(&octets[..end], 1), Outcome::Partial, "{:?}", &octets[..end]);
        }
    }
}

#[test]
fn version_1_has_no_second_form() {
    // PROXY-008, PROXY-013, P1
    use ProxyError::{Addresses, LineEnd, NotAHeader, Protocol};
    let cases = [
        // Refused with the first octet that cannot be.
        ("EHLO a.test\r\n", NotAHeader, 1),
        ("\n", NotAHeader, 1),
        ("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", NotAHeader, 1),
        (" PROXY UNKNOWN\r\n", NotAHeader, 1),
        ("PROXY\r\n", NotAHeader, 6),
        ("PROXY\tUNKNOWN\r\n", NotAHeader, 6),
        ("PROXY  UNKNOWN\r\n", Protocol, 7),
        ("PROXY \r\n", Protocol, 7),
        ("PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", Protocol, 10),
        ("PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Protocol, 8),
        ("PROXY tcp4 1.1.1.1 1.1.1.1 1 1\r\n", Protocol, 7),
        ("PROXY TCP4\r\n", Protocol, 11),
        ("PROXY UNKNOWN4\r\n", Protocol, 14),
        ("PROXY UNKNOWN\n", Protocol, 14),
        ("PROXY UNKNOWN\rx\n", LineEnd, 15),
        ("PROXY UNKNOWN a\nb\r\n", LineEnd, 16),
        ("PROXY UNKNOWN a\rb\r\n", LineEnd, 17),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", LineEnd, 31),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\r\n", LineEnd, 32),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n", LineEnd, 31),
    ];
    for (text, error, at) in cases {
        assert_eq!(read(text.as_bytes()), Outcome::Refused(error, at), "{text:?}");
    }
    for line in [
        "TCP4 ",
        "TCP4 1.1.1.1 1.1.1.1 1",
        "TCP4 1.1.1.1 1.1.1.1 1 1 ",
        "TCP4 1.1.1.1 1.1.1.1 1 1 1",
        "TCP4 1.1.1.1  1.1.1.1 1 1",
        "TCP4  1.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1\t1.1.1.1 1 1",
        "TCP4 01.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1 1.1.1.00 1 1",
        "TCP4 1.1.1.256 1.1.1.1 1 1",
        "TCP4 1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1.1 1.1.1.1 1 1",
        "TCP4 +1.1.1.1 1.1.1.1 1 1",
        "TCP4 0x1.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1:1 1.1.1.1 1 1",
        "TCP4 ::1 1.1.1.1 1 1",
        "TCP4 1.1.1.1 ::ffff:1.1.1.1 1 1",
        "TCP4 a.test 1.1.1.1 1 1",
        "TCP4 1.1.1.1\u{0} 1.1.1.1 1 1",
        "TCP4 １.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1 1.1.1.1 01 1",
        "TCP4 1.1.1.1 1.1.1.1 1 00",
        "TCP4 1.1.1.1 1.1.1.1 00025 1",
        "TCP4 1.1.1.1 1.1.1.1 +1 1",
        "TCP4 1.1.1.1 1.1.1.1 1 -1",
        "TCP4 1.1.1.1 1.1.1.1 65536 1",
        "TCP4 1.1.1.1 1.1.1.1 1 65536",
        "TCP4 1.1.1.1 1.1.1.1 4294967297 1",
        "TCP4 1.1.1.1 1.1.1.1  1",
        "TCP4 1.1.1.1 1.1.1.1 1 smtp",
        "TCP6 1.1.1.1 ::1 1 1",
        "TCP6 ::1 1.1.1.1 1 1",
        "TCP6 [::1] ::1 1 1",
        "TCP6 ::1%1 ::1 1 1",
        "TCP6 fe80::1%eth0 ::1 1 1",
        "TCP6 1::1::1 ::1 1 1",
        "TCP6 00001::1 ::1 1 1",
        "TCP6 1:2:3:4:5:6:7 ::1 1 1",
        "TCP6 1:2:3:4:5:6:7:8:9 ::1 1 1",
        "TCP6 ::g ::1 1 1",
        "TCP6 ::ffff:01.1.1.1 ::1 1 1",
        "TCP6 ::1 ::1 01 1",
        "TCP6 ::1 ::1 1 65536",
    ] {
        let text = alloc::format!("PROXY {line}\r\n");
        assert_eq!(read(text.as_bytes()), Outcome::Refused(Addresses, text.len()), "{text:?}");
    }
    let not_utf_8 = b"PROXY TCP4 \xFF 1.1.1.1 1 1\r\n";
    assert_eq!(read(not_utf_8), Outcome::Refused(Addresses, not_utf_8.len()));
}

#[test]
fn a_line_has_107_octets_at_most() {
    // PROXY-008
    let line = |length: usize| [b"PROXY UNKNOWN ", &vec![b'x'; length - 16][..], b"\r\n"].concat();
    for length in [106, 107] {
        assert_eq!(read(&line(length)), Outcome::Header(ProxyHeader::Unknown, 0), "{length} octets");
    }
    // Whether or not the CR is there in time.
    for length in [108, 109, 1000] {
        assert_eq!(read(&line(length)), Outcome::Refused(ProxyError::LineLength, 107), "{length} octets");
    }
    assert_eq!(read(&line(107)[..106]), Outcome::Partial);
}

#[test]
fn version_2_is_checked_octet_by_octet() {
    // PROXY-010, PROXY-011, PROXY-013, P1
    use ProxyError::{Addresses, Command, Family, NotAHeader, Version};
    for place in 0..SIGNATURE.len() {
        let mut octets = version_2(0x21, 0x11, &[IPV4]);
        octets[place] ^= 0x20;
        assert_eq!(read(&octets), Outcome::Refused(NotAHeader, place + 1));
    }
    for (version_and_command, error) in
        [(0x11, Version(1)), (0x31, Version(3)), (0x01, Version(0)), (0x22, Command(2)), (0x2F, Command(15))]
    {
        assert_eq!(read(&version_2(version_and_command, 0x11, &[IPV4])), Outcome::Refused(error, 13));
    }
    for family in [0x13, 0x41, 0x40, 0x03, 0xF1, 0x1F, 0xFF] {
        assert_eq!(read(&version_2(0x21, family, &[&[0; 216]])), Outcome::Refused(Family(family), 14), "{family:#x}");
    }
    for (family, addresses) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        let short = version_2(0x21, family, &[&vec![0; addresses - 1]]);
        assert_eq!(read(&short), Outcome::Refused(Addresses, 16), "{family:#x}");
        assert!(matches!(read(&version_2(0x21, family, &[&vec![0; addresses]])), Outcome::Header(_, 0)));
        let one_more = version_2(0x21, family, &[&vec![0; addresses + 1]]);
        assert_eq!(read(&one_more), Outcome::Refused(ProxyError::Tlv, one_more.len()), "{family:#x}");
    }
}

#[test]
fn nobody_is_waited_for_beyond_the_bound() {
    // PROXY-011, H-RS-1
    for length in [MAX_LENGTH - 1, MAX_LENGTH] {
        let padding = length - u16::try_from(IPV4.len()).expect("few octets") - 3;
        let tlv = [&[4][..], &padding.to_be_bytes(), &vec![0; padding.into()]].concat();
        let octets = version_2(0x21, 0x11, &[IPV4, &tlv]);
        assert_eq!(in_pieces(&octets, octets.len()), Outcome::Header(of_ipv4(), 0));
        assert_eq!(in_pieces(&octets[..octets.len() - 1], 1), Outcome::Partial);
    }
    for length in [MAX_LENGTH + 1, u16::MAX] {
        for version_and_command in [0x20, 0x21] {
            let octets = [SIGNATURE, &[version_and_command, 0x11], &length.to_be_bytes()].concat();
            assert_eq!(read(&octets), Outcome::Refused(ProxyError::Length(length), 16));
        }
    }
}

#[test]
fn tlvs_end_where_the_header_does() {
    // PROXY-011
    for tlvs in [
        &b"\x04"[..],
        b"\x04\0",
        b"\x04\0\x01",
        b"\x04\xFF\xFF",
        b"\x04\0\0\x04\0\x02a",
        b"\xEE\0\x01ab",
        b"\x03\0\x04\0\0\0",
    ] {
        let octets = version_2(0x21, 0x11, &[IPV4, tlvs]);
        let refused = Outcome::Refused(ProxyError::Tlv, octets.len());
        assert_eq!(read(&octets), refused, "{tlvs:?}");
        // What is behind the header does not complete one.
        assert_eq!(in_pieces(&[&octets[..], &[0; 70_000]].concat(), 70_000), Outcome::Refused(ProxyError::Tlv, 70_000));
    }
}

#[test]
fn a_wrong_checksum_is_refused() {
    // PROXY-011
    for (header, first) in [
        (with_checksum(0x21, 0x11, &[IPV4, b"\x04\0\x01a"], b"\x05\0\x02id"), 16),
        (with_checksum(0x21, 0x21, &[IPV6], b""), 16),
        (with_checksum(0x21, 0x12, &[IPV4], b""), 16),
        (with_checksum(0x21, 0, &[], b"\x04\0\x01a"), 19),
        (with_checksum(0x20, 0, &[], b""), 19),
    ] {
        assert!(matches!(read(&header), Outcome::Header(_, 0)), "{header:?}");
        let covered = first..first + if first == 16 { IPV4.len() } else { 4 };
        for (place, bit) in covered.chain([12]).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut altered = header.clone();
            altered[place] ^= 1 << bit;
            let Outcome::Refused(error, _) = read(&altered) else {
                panic!("bit {bit} of octet {place} is not covered")
            };
            let expected = match (place, bit) {
                (12, 1..4) => ProxyError::Command(altered[12] & 15),
                (12, 4..) => ProxyError::Version(altered[12] >> 4),
                _ => ProxyError::Checksum,
            };
            assert_eq!(error, expected, "bit {bit} of octet {place}");
        }
    }
    for tlvs in [&b"\x03\0\0"[..], b"\x03\0\x03abc", b"\x03\0\x05abcde", b"\x03\0\x04\0\0\0\0"] {
        let octets = version_2(0x21, 0x11, &[IPV4, tlvs]);
        assert_eq!(read(&octets), Outcome::Refused(ProxyError::Checksum, octets.len()), "{tlvs:?}");
    }
    let two = with_checksum(0x21, 0x11, &[IPV4, b"\x03\0\x04\0\0\0\0"], b"");
    assert_eq!(read(&two), Outcome::Refused(ProxyError::Checksum, two.len()));
}

#[test]
fn the_checksum_is_crc32c() {
    // PROXY-011; the examples are those of RFC 3720 appendix B.4, and the one that catalogues of CRCs give.
    let falling: Vec<u8> = (0..32).rev().collect();
    for (octets, checksum) in
        [(&[0; 32][..], 0x8A91_36AA), (&[0xFF; 32], 0x62A8_AB43), (&falling, 0x113F_DB5C), (b"123456789", 0xE306_9283)]
    {
        assert_eq!(crc32c(octets.iter()), checksum, "{octets:?}");
    }
}

fn written(header: ProxyHeader) -> [Vec<u8>; 2] {
    let (mut text, mut block) = (BytesMut::from("behind "), BytesMut::from("behind "));
    header.write_v1(&mut text);
    header.write_v2(&mut block);
    [text, block].map(|out| out.strip_prefix(b"behind ").expect("nothing that was there is changed").to_vec())
}

#[test]
fn headers_are_written_exactly() {
    // PROXY-014
    let fixed = |version_and_command, family, length| [SIGNATURE, &[version_and_command, family, 0, length]].concat();
    for (header, text, block) in [
        (of_ipv4(), "PROXY TCP4 192.0.2.1 198.51.100.7 50000 25\r\n", [&fixed(0x21, 0x11, 12), IPV4].concat()),
        (of_ipv6(), "PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n", [&fixed(0x21, 0x21, 36), IPV6].concat()),
        (ProxyHeader::Unknown, "PROXY UNKNOWN\r\n", fixed(0x21, 0, 0)),
        (ProxyHeader::Local, "PROXY UNKNOWN\r\n", fixed(0x20, 0, 0)),
    ] {
        assert_eq!(written(header), [text.as_bytes(), &block], "{header:?}");
    }
    // One family, in groups: there is no other way to say it.
    for (header, text) in [
        (proxied("192.0.2.1:1", "[::1]:2"), "PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n"),
        (proxied("[::1]:1", "192.0.2.1:2"), "PROXY TCP6 ::1 ::ffff:c000:201 1 2\r\n"),
        (proxied("[::ffff:0.1.0.0]:1", "[::192.0.2.1]:2"), "PROXY TCP6 ::ffff:1:0 ::c000:201 1 2\r\n"),
    ] {
        let [v1, v2] = written(header);
        assert_eq!(v1, text.as_bytes());
        assert_eq!(read(&v1), read(&v2));
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    // PROXY-014
    let one_family = [
        ["192.0.2.1:50000", "198.51.100.7:25"],
        ["0.0.0.0:0", "255.255.255.255:65535"],
        ["[2001:db8::1]:1", "[::]:587"],
        ["[::ffff:192.0.2.1]:1", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"],
    ];
    for [source, destination] in one_family {
        for header in [proxied(source, destination), proxied(destination, source)] {
            assert_eq!(written(header).map(|octets| read(&octets)), [Outcome::Header(header, 0); 2]);
        }
    }
    let [v1, v2] = written(ProxyHeader::Unknown).map(|octets| read(&octets));
    assert_eq!([v1, v2], [Outcome::Header(ProxyHeader::Unknown, 0); 2]);
    let [v1, v2] = written(ProxyHeader::Local).map(|octets| read(&octets));
    assert_eq!([v1, v2], [ProxyHeader::Unknown, ProxyHeader::Local].map(|header| Outcome::Header(header, 0)));
}

#[test]
fn any_octet_anywhere_is_read_the_same_in_every_segmentation() {
    // P1, PROXY-013, with every value in every place, and every two octets behind a start.
    let good = good();
    for (octets, _) in good.iter().filter(|(octets, _)| octets.len() < 64) {
        for place in 0..octets.len() {
            let mut altered = octets.clone();
            for value in 0..=255 {
                altered[place] = value;
                match [in_pieces(&altered, 1), in_pieces(&altered, altered.len())] {
                    [Outcome::Refused(slow, _), Outcome::Refused(whole, _)] => assert_eq!(slow, whole, "{altered:?}"),
                    [slow, whole] => assert_eq!(slow, whole, "{altered:?}"),
                }
            }
        }
    }
    for start in [&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE] {
        for next in 0..=u16::MAX {
            let octets = [start, &next.to_be_bytes()].concat();
            let could_be = good.iter().any(|(header, _)| may_begin(header, &octets));
            let outcome = in_pieces(&octets, octets.len());
            assert!(!could_be || outcome == Outcome::Partial, "{octets:?}: {outcome:?}");
        }
    }
}
