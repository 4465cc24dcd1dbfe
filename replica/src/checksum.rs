use std::fmt;

/// The running checksum at a transaction: two copies that agree on it have the same history up to there.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum(pub(crate) u128);

impl Checksum {
    /// The checksum before the first transaction.
    pub const ZERO: Self = Self(0);

    /// The sixteen bytes, big-endian.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The checksum with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Thirty-two hexadecimal digits.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:032x})", self.0)
    }
}
