//! Reading and writing the bytes of gossip. Numbers are big-endian; a text is its length in one byte, and its UTF-8.

/// The longest text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 255;

/// Writes a text; one that is too long as an empty one.
pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = if text.len() <= TEXT_BYTES_MAX { text } else { "" };
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

/// Takes from the front. `None`: there is not enough.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.take(LENGTH)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u8()?;
        std::str::from_utf8(self.take(length.into())?).ok().map(str::to_owned)
    }
}
