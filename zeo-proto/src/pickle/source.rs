use crate::DecodeError;

/// The bytes of a pickle that are not read yet.
pub(super) struct Source<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    /// So many bytes. A length that the pickle claims costs nothing until it is seen that they are there.
    pub(super) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Bytes after a length of one byte.
    pub(super) fn take_short(&mut self) -> Read<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// Bytes after a length of four bytes, least significant first.
    pub(super) fn take_long(&mut self) -> Read<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }

    /// Bytes after a length of eight bytes, least significant first.
    pub(super) fn take_huge(&mut self) -> Read<&'a [u8]> {
        let length = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }

    /// The bytes up to the next newline, which is read too and left out.
    pub(super) fn line(&mut self) -> Read<&'a [u8]> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or(DecodeError::Truncated)?;
        let line = self.take(end)?;
        self.byte()?;
        Ok(line)
    }
}
