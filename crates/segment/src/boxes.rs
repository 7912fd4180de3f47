//! Boxes of ISO/IEC 14496-12 §4.2: a 32-bit size, a four-character type, then content; `uuid` boxes carry a 16-byte
//! type of their own; a size of 1 puts a 64-bit size behind the type.

use crate::error::{Bad, Parsed};

/// A box type.
pub(crate) type FourCc = [u8; 4];

/// Bytes of a plain box header.
pub(crate) const HEADER_BYTES: u64 = 8;

/// Appends a box whose content `content` writes.
pub(crate) fn put_box(out: &mut Vec<u8>, kind: FourCc, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(kind);
    content(out);
    patch_size(out, start);
}

/// Appends a FullBox (§4.2): a box with a version and 24 bits of flags.
pub(crate) fn put_full_box(
    out: &mut Vec<u8>,
    kind: FourCc,
    version: u8,
    flags: u32,
    content: impl FnOnce(&mut Vec<u8>),
) {
    put_box(out, kind, |out| {
        put_u32(out, u32::from(version) << 24 | flags & 0x00ff_ffff);
        content(out);
    });
}

/// Writes the length of the box that began at `start` and ends here.
pub(crate) fn patch_size(out: &mut [u8], start: usize) {
    let size = u32::try_from(out.len() - start).expect("boxes built in memory are bounded far below 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_be_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_be_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_be_bytes());
}

/// Header of a box at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoxHeader {
    pub kind: FourCc,
    /// Of the header itself: 8 or 16.
    pub header_bytes: u64,
    /// Of the whole box with its header.
    pub bytes: u64,
}

/// Reads a box header. `None` when `data` does not begin with a whole, sane one (size 0, "to the end of the file",
/// is never written here and not taken).
pub(crate) fn peek_header(data: &[u8]) -> Option<BoxHeader> {
    let size = u32::from_be_bytes(*data.first_chunk()?);
    let kind: FourCc = *data.get(4..8)?.first_chunk()?;
    let (header_bytes, bytes) = match size {
        1 => (16, u64::from_be_bytes(*data.get(8..16)?.first_chunk()?)),
        _ => (HEADER_BYTES, u64::from(size)),
    };
    (bytes >= header_bytes).then_some(BoxHeader { kind, header_bytes, bytes })
}

/// A place in the bytes of a file; every error it makes says where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    /// Offset in the file of `data[0]`.
    offset: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(data: &'a [u8], offset: u64) -> Self {
        Self { data, offset }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.data
    }

    pub(crate) fn bad<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(Bad::new(self.offset, what))
    }

    pub(crate) fn take(&mut self, count: usize, what: &str) -> Parsed<&'a [u8]> {
        match self.data.split_at_checked(count) {
            Some((head, tail)) => {
                self.data = tail;
                self.offset += count as u64;
                Ok(head)
            }
            None => self.bad(format!("{what}: {count} bytes expected, {} left", self.data.len())),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Parsed<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self, what: &str) -> Parsed<u8> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, what: &str) -> Parsed<u16> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Parsed<u32> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &str) -> Parsed<u64> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// Version and flags of a FullBox.
    pub(crate) fn version_flags(&mut self, what: &str) -> Parsed<(u8, u32)> {
        let word = self.u32(what)?;
        let [version, ..] = word.to_be_bytes();
        Ok((version, word & 0x00ff_ffff))
    }

    /// The next box and its content; `None` at the end.
    pub(crate) fn next_box(&mut self) -> Parsed<Option<(FourCc, Cursor<'a>)>> {
        if self.data.is_empty() {
            return Ok(None);
        }
        let Some(header) = peek_header(self.data) else {
            return self.bad("no box header here");
        };
        let name = printable(header.kind);
        let (Ok(header_bytes), Ok(bytes)) = (usize::try_from(header.header_bytes), usize::try_from(header.bytes))
        else {
            return self.bad(format!("box {name} is too large"));
        };
        let offset = self.offset + header.header_bytes;
        let whole = self.take(bytes, &name)?;
        Ok(Some((header.kind, Cursor { data: &whole[header_bytes..], offset })))
    }

    /// The content of the first box of that type in here.
    pub(crate) fn child(&self, kind: FourCc) -> Parsed<Cursor<'a>> {
        self.find(kind)?.ok_or_else(|| Bad::new(self.offset, format!("box {} is missing", printable(kind))))
    }

    /// Like [`Cursor::child`] for a box that may be absent.
    pub(crate) fn find(&self, kind: FourCc) -> Parsed<Option<Cursor<'a>>> {
        let mut here = *self;
        while let Some((found, content)) = here.next_box()? {
            if found == kind {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }
}

/// A box type for people, whatever the bytes are.
pub(crate) fn printable(kind: FourCc) -> String {
    kind.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_nest_and_read_back() {
        let mut out = Vec::new();
        put_box(&mut out, *b"moov", |out| {
            put_full_box(out, *b"mvhd", 1, 7, |out| put_u64(out, 42));
            put_box(out, *b"free", |_| ());
        });
        let moov = Cursor::new(&out, 100).child(*b"moov").unwrap();
        let mut mvhd = moov.child(*b"mvhd").unwrap();
        assert_eq!(mvhd.version_flags("mvhd").unwrap(), (1, 7));
        assert_eq!(mvhd.u64("x").unwrap(), 42);
        assert_eq!(mvhd.u8("more").unwrap_err().offset, 100 + 8 + 8 + 4 + 8);
        assert!(moov.find(*b"trak").unwrap().is_none());
        assert_eq!(Cursor::new(&out[..20], 0).next_box().unwrap_err().offset, 0);
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        assert!(peek_header(&[0, 0, 0, 7, b'f', b'r', b'e', b'e']).is_none());
        assert!(peek_header(&[0, 0, 0, 0, b'f', b'r', b'e', b'e']).is_none());
        let large = [0, 0, 0, 1, b'm', b'd', b'a', b't', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(peek_header(&large).unwrap().bytes, u64::MAX);
        assert!(Cursor::new(&large, 0).next_box().is_err());
    }
}
