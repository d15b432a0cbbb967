//! What waits to be written: a queue of segments, made for vectored writes.

use alloc::collections::VecDeque;
use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// How much waits before the machine produces no more and asks for a write.
const HIGH_WATER: usize = 64 * 1024;
/// How many segments wait before the machine produces no more: content with many stuffed dots or corrected line
/// ends is cut into many.
const MANY_SEGMENTS: usize = 1024;
/// How much makes a chunk (RFC 3030), where there is more: little enough to be kept in memory until its size is known.
const MAX_CHUNK: usize = 1024 * 1024;
/// How many segments make a chunk: each takes some memory of its own.
const MAX_CHUNK_SEGMENTS: usize = 32 * 1024;

/// Octets waiting to be written, in order.
///
/// It is a [`Buf`]: write [`Buf::chunk`] or `Buf::chunks_vectored`, then [`Buf::advance`] by what was taken.
/// Commands and replies are gathered in a small buffer; message content is queued by reference.
#[derive(Default)]
pub struct Output {
    segments: VecDeque<Bytes>,
    /// What was gathered behind the last segment.
    tail: BytesMut,
    remaining: usize,
    written: u64,
    /// Room beyond the usual: this is a part that is gathered before its size can be told.
    roomy: bool,
}

impl Output {
    /// Nothing to write.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, and room for so many segments as one chunk may have.
    pub(crate) fn for_chunk() -> Self {
        Self { roomy: true, ..Self::default() }
    }

    /// Appends what waits in another output, without copying it.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for segment in core::mem::take(&mut other.segments) {
            self.push(segment);
        }
        self.push(other.tail.split().freeze());
        other.remaining = 0;
    }

    /// Appends octets that live elsewhere, without copying them.
    pub(crate) fn push(&mut self, segment: Bytes) {
        if segment.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            self.segments.push_back(self.tail.split().freeze());
        }
        self.remaining = self.remaining.saturating_add(segment.len());
        self.segments.push_back(segment);
    }

    /// Appends what `write` puts into the buffer for small things.
    pub(crate) fn gather(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.remaining = self.remaining.saturating_add(self.tail.len().saturating_sub(before));
    }

    /// Appends formatted text.
    pub(crate) fn format(&mut self, text: fmt::Arguments<'_>) {
        self.gather(|tail| {
            // Appending to a buffer cannot fail.
            let _ = fmt::Write::write_fmt(tail, text);
        });
    }

    /// Whether so much waits that no more should be produced before some of it is written.
    pub fn is_full(&self) -> bool {
        let (high_water, many) = if self.roomy { (MAX_CHUNK, MAX_CHUNK_SEGMENTS) } else { (HIGH_WATER, MANY_SEGMENTS) };
        self.remaining >= high_water || self.segments.len() >= many
    }

    /// Octets until it is full.
    pub(crate) fn room(&self) -> usize {
        if self.roomy { MAX_CHUNK.saturating_sub(self.remaining) } else { usize::MAX }
    }

    /// Octets written since the session began.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where the next octet appended will stand, counted from the start of the session.
    pub(crate) fn position(&self) -> u64 {
        self.written.saturating_add(u64::try_from(self.remaining).unwrap_or(u64::MAX))
    }

    /// Throws away what waits.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.tail.clear();
        self.remaining = 0;
    }

    #[cfg(test)]
    pub(crate) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.segments.iter().map(AsRef::as_ref).chain([self.tail.as_ref()])
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the octets: an AUTH command may be among them.
        f.debug_struct("Output").field("remaining", &self.remaining).field("written", &self.written).finish()
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(self.tail.as_ref(), AsRef::as_ref)
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_ref());
        let waiting = self.segments.iter().map(AsRef::as_ref).chain(tail);
        slices.iter_mut().zip(waiting).map(|(slice, segment)| *slice = std::io::IoSlice::new(segment)).count()
    }

    fn advance(&mut self, count: usize) {
        let mut count = count.min(self.remaining);
        self.remaining = self.remaining.saturating_sub(count);
        self.written = self.written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        while let Some(front) = self.segments.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count = count.saturating_sub(front.len());
            self.segments.pop_front();
        }
        if count >= self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn octets_come_out_in_order_whatever_the_writes_take() {
        for step in 1..20 {
            let mut out = Output::new();
            out.format(format_args!("ab"));
            out.push(Bytes::from_static(b"cdef"));
            out.push(Bytes::new());
            out.push(Bytes::from_static(b"g"));
            out.format(format_args!("hi{}", "jk"));
            assert_eq!((out.remaining(), out.position()), (11, 11));
            let mut taken = Vec::new();
            while out.has_remaining() {
                let chunk = out.chunk();
                let length = chunk.len().min(step);
                taken.extend_from_slice(&chunk[..length]);
                out.advance(length);
            }
            assert_eq!(taken, b"abcdefghijk");
            assert_eq!((out.written(), out.position(), out.remaining()), (11, 11, 0));
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_vectored_write_sees_all_segments_and_may_end_inside_one() {
        let mut out = Output::new();
        out.push(Bytes::from_static(b"abc"));
        out.push(Bytes::from_static(b"def"));
        out.format(format_args!("gh"));
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        assert_eq!(out.chunks_vectored(&mut slices), 3);
        out.advance(4);
        assert_eq!(out.copy_to_bytes(4), &b"efgh"[..]);
    }

    #[test]
    fn debug_shows_no_octets() {
        let mut out = Output::new();
        out.format(format_args!("AUTH PLAIN secret"));
        assert!(!alloc::format!("{out:?}").contains("secret"));
    }
}
