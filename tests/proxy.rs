//! Properties of PROXY headers: the same in every segmentation, and the same as another library reads and writes them.

#![allow(clippy::unwrap_used, reason = "a failing test is to fail")]

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use proptest::prelude::*;
use proxy_header::{ParseConfig, ProxiedAddress, Tlv};
use smtp_proto::wire::ProxyHeader;

/// Source and destination in one family.
fn addresses() -> impl Strategy<Value = [SocketAddr; 2]> {
    let ipv4 = any::<[[u8; 4]; 2]>().prop_map(|octets| octets.map(IpAddr::from));
    let ipv6 = any::<[[u8; 16]; 2]>().prop_map(|octets| octets.map(IpAddr::from));
    (prop_oneof![ipv4, ipv6], any::<[u16; 2]>()).prop_map(|([source, destination], [source_port, destination_port])| {
        [(source, source_port).into(), (destination, destination_port).into()]
    })
}

/// Octets that are a PROXY header, or nearly.
fn nearly_a_proxy_header() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "(25[0-5]|[1-9]?[0-9])(\\.(25[0-5]|[1-9]?[0-9])){3}",
        "([0-9a-fA-F]{0,4}:){2,7}[0-9a-f]{0,4}",
        "[1-6]?[0-9]{1,4}",
        "[^\r\n]{0,3}",
    ];
    let words = proptest::collection::vec(word, 1..6);
    let text = ("PROXY (TCP4|TCP6|UNKNOWN) ", words, "(\r\n|\n|\r)?")
        .prop_map(|(start, words, end)| format!("{start}{}{end}", words.join(" ")).into_bytes());
    let written = (addresses(), any::<bool>()).prop_map(|([source, destination], text)| {
        let (header, mut out) = (ProxyHeader::Proxied { source, destination }, BytesMut::new());
        if text {
            header.write_v1(&mut out);
        } else {
            header.write_v2(&mut out);
        }
        out.to_vec()
    });
    let tlv = (prop_oneof![Just(3), any::<u8>()], proptest::collection::vec(any::<u8>(), 0..6))
        .prop_map(|(kind, value)| [&[kind, 0, u8::try_from(value.len()).unwrap()][..], &value].concat());
    let family = prop_oneof![Just((0x11u8, 12)), Just((0x21, 36)), Just((0x31, 216)), (any::<u8>(), 0usize..40)];
    let block = (0x20u8..0x22, family, proptest::collection::vec(tlv, 0..4), -1i16..2).prop_map(
        |(command, (family, addresses), tlvs, more)| {
            let block = [vec![1; addresses], tlvs.concat()].concat();
            let length = u16::try_from(block.len()).unwrap().saturating_add_signed(more).to_be_bytes();
            [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, &block].concat()
        },
    );
    let change = proptest::option::of((any::<prop::sample::Index>(), any::<u8>()));
    let behind = proptest::collection::vec(any::<u8>(), 0..9);
    (prop_oneof![text, written, block], change, behind).prop_map(|(mut octets, change, behind)| {
        if let Some((place, value)) = change {
            let place = place.index(octets.len());
            octets[place] = value;
        }
        [octets, behind].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_are_read_the_same_in_every_segmentation(octets in nearly_a_proxy_header(), cuts in any::<u64>()) {
        // PROXY-008, PROXY-010, PROXY-011, PROXY-013, P1
        let mut whole = BytesMut::from(&octets[..]);
        let expected = ProxyHeader::read(&mut whole);
        prop_assert_eq!(matches!(expected, Ok(Some(_))), whole.len() < octets.len());
        let (mut rx, mut outcome, mut fed) = (BytesMut::new(), Ok(None), 0);
        for octet in &octets {
            rx.extend_from_slice(&[*octet]);
            fed += 1;
            if outcome == Ok(None) && (cuts.rotate_right(fed) & 1 == 0 || rx.len() == octets.len()) {
                outcome = ProxyHeader::read(&mut rx);
            }
        }
        prop_assert_eq!(&outcome, &expected);
        prop_assert_eq!(&rx, &whole);
        // Whom we take the client for is whom everybody takes it for.
        if let Ok(Some(ProxyHeader::Proxied { source, destination })) = outcome {
            let (theirs, length) = proxy_header::ProxyHeader::parse(&octets, ParseConfig::default()).unwrap();
            prop_assert_eq!(theirs.proxied_address(), Some(&ProxiedAddress::stream(source, destination)));
            prop_assert_eq!(length, octets.len() - whole.len());
        }
    }

    #[test]
    fn headers_of_others_are_read_and_written_alike(
        [source, destination] in addresses(),
        identifier in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        // PROXY-008, PROXY-011, PROXY-014
        let header = ProxyHeader::Proxied { source, destination };
        let mut theirs = proxy_header::ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
        let [mut text, mut block, mut with_tlv] = [const { Vec::new() }; 3];
        theirs.encode_v1(&mut text).unwrap();
        theirs.encode_v2(&mut block).unwrap();
        theirs.append_tlv(Tlv::UniqueId(identifier.into()));
        theirs.encode_v2(&mut with_tlv).unwrap();
        for octets in [&text, &block, &with_tlv] {
            let mut rx = BytesMut::from(&octets[..]);
            prop_assert_eq!(ProxyHeader::read(&mut rx), Ok(Some(header)));
            prop_assert!(rx.is_empty());
        }
        let [mut our_text, mut our_block] = [(); 2].map(|()| BytesMut::new());
        header.write_v1(&mut our_text);
        header.write_v2(&mut our_block);
        prop_assert_eq!(&our_text, &text);
        prop_assert_eq!(&our_block, &block);
    }
}
