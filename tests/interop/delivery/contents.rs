//! What is sent: the contents that something could go wrong with.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::support::messages::{header, leading_dots, lines, utf8};

/// A content as it is handed over, and as it has to arrive.
pub(crate) struct Content {
    pub(crate) name: &'static str,
    pub(crate) sent: Bytes,
    /// With CRLF line ends, the last line ended too.
    pub(crate) arrives: Vec<u8>,
}

/// All but the large one.
pub(crate) fn all() -> &'static [Content] {
    static ALL: OnceLock<Vec<Content>> = OnceLock::new();
    ALL.get_or_init(|| {
        let longest = |first: &str| format!("{first:x<998}\r\n").into_bytes();
        let lf = |text: Vec<u8>| String::from_utf8_lossy(&text).replace("\r\n", "\n").into_bytes();
        let dots = [header("dots"), leading_dots()].concat();
        let utf8 = [header("utf-8"), utf8()].concat();
        vec![
            content("nothing", b"", b""),
            content("letter", b"x", b"x\r\n"),
            content("dot", b".", b".\r\n"),
            content("line-end", b"\n", b"\r\n"),
            same("dots", dots.clone()),
            content("dots-lf", &lf(dots.clone()), &dots),
            content("no-final-line-end", &dots[..dots.len() - 2], &dots),
            same("longest-lines", [header("longest-lines"), longest(""), longest("."), longest("..")].concat()),
            same("utf-8", utf8.clone()),
            content("utf-8-lf", &lf(utf8.clone()), &utf8),
        ]
    })
}

/// 25 MiB.
pub(crate) fn large() -> &'static Content {
    static LARGE: OnceLock<Content> = OnceLock::new();
    LARGE.get_or_init(|| {
        let header = header("large");
        let body = lines((25 << 20) - header.len());
        same("large", [header, body].concat())
    })
}

fn same(name: &'static str, content: Vec<u8>) -> Content {
    Content { name, sent: content.clone().into(), arrives: content }
}

fn content(name: &'static str, sent: &[u8], arrives: &[u8]) -> Content {
    Content { name, sent: Bytes::copy_from_slice(sent), arrives: arrives.to_vec() }
}
