use std::fmt;

/// An object id: 8 bytes, big-endian. `Oid::ROOT` (all zeros) is the database's root object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Oid(u64);

impl Oid {
    /// The root object of every ZODB database.
    pub const ROOT: Self = Self(0);

    /// The oid with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Reads the eight bytes that ZODB stores and sends.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// The eight bytes that ZODB stores and sends.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The oid as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next oid; `None` after the last one.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl TryFrom<&[u8]> for Oid {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self::from_bytes)
    }
}

/// ZODB's own notation: `0x` and the number in hexadecimal, without leading zeros.
impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({:#x})", self.0)
    }
}
