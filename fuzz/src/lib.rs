//! What the targets share: cutting a stream into pieces, writing, and the policies on line ends written down a second
//! time.

use bytes::Buf;
use smtp_proto::Output;
use smtp_proto::wire::BareNewline;

/// Lengths of pieces, all drawn from the six low bits of one octet so that the rest of the input stays readable. Zero
/// (`@`) cuts behind every octet.
pub struct Cuts(u32);

impl Cuts {
    pub fn new(seed: u8) -> Self {
        Self(u32::from(seed & 63))
    }

    /// Mostly a few octets, because what goes wrong goes wrong inside a CRLF or a final dot; at times many.
    pub fn length(&mut self) -> usize {
        if self.0 == 0 {
            return 1;
        }
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1;
        let draw = self.0.to_be_bytes();
        usize::from(if draw[0] < 200 { draw[1] % 4 } else { draw[1] }) + 1
    }

    /// Takes the next piece off `octets`; nothing when they are used up.
    pub fn piece<'a>(&mut self, octets: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = self.length().min(octets.len());
        octets.split_off(..length).filter(|piece| !piece.is_empty())
    }
}

/// Moves up to `most` octets to `written`: one write that took no more.
pub fn write(output: &mut Output, most: usize, written: &mut Vec<u8>) {
    assert!(output.has_remaining(), "a write of nothing");
    let mut room = most.max(1);
    while output.has_remaining() && room > 0 {
        let length = output.chunk().len().min(room);
        assert!(length > 0, "an empty chunk of an output that is not empty");
        written.extend_from_slice(&output.chunk()[..length]);
        output.advance(length);
        room -= length;
    }
}

/// The policy that the two low bits name.
pub fn policy(bits: u8) -> BareNewline {
    match bits & 3 {
        0 => BareNewline::Reject,
        1 => BareNewline::Fix,
        2 => BareNewline::Strip,
        _ => BareNewline::Pass,
    }
}

/// What the policy makes of a message, with a line end added where the last line has none; `None` when the message is
/// refused.
pub fn applied(content: &[u8], policy: BareNewline) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    let mut rest = content;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\r', [b'\n', tail @ ..]) => {
                made.extend_from_slice(b"\r\n");
                rest = tail;
            }
            (b'\r' | b'\n', _) => match policy {
                BareNewline::Reject => return None,
                BareNewline::Fix => made.extend_from_slice(b"\r\n"),
                BareNewline::Strip => {}
                BareNewline::Pass => made.push(*first),
            },
            _ => made.push(*first),
        }
    }
    if !made.is_empty() && !made.ends_with(b"\r\n") {
        made.extend_from_slice(b"\r\n");
    }
    Some(made)
}
