/// The pickles that are read.
pub(super) struct Input<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, &'static str> {
        let byte = *self.data.get(self.at).ok_or(ENDS)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8], &'static str> {
        let rest = &self.data[self.at..];
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len()).ok_or(ENDS)?;
        self.at += length;
        Ok(&rest[..length])
    }

    /// A little-endian number.
    pub(super) fn number(&mut self, width: usize) -> Result<u64, &'static str> {
        let mut eight = [0; 8];
        eight[..width].copy_from_slice(self.take(width as u64)?);
        Ok(u64::from_le_bytes(eight))
    }

    /// Up to the next newline, which is passed.
    pub(super) fn line(&mut self) -> Result<&'a [u8], &'static str> {
        let rest = &self.data[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(ENDS)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }
}

const ENDS: &str = "the pickle ends too early";
