//! The first frame in each direction (`ZEO/asyncio/server.py`, `finish_connection`).
//!
//! The server speaks first and announces the encoding that it prefers. The client answers with the encoding
//! that it will use, and that answer decides, whatever was announced. A monitoring client answers `ruok`
//! instead: it wants one frame of JSON with the storages' status, and the end of the connection.

use crate::Encoding;

/// The payload that announces an encoding, and the answer that accepts it.
pub fn greeting(encoding: Encoding) -> &'static [u8; 2] {
    match encoding {
        Encoding::Pickle => b"Z5",
        Encoding::Msgpack => b"M5",
    }
}

/// What a client's first frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Messages follow, in this encoding.
    Protocol(Encoding),
    /// Send the status as JSON, then close.
    Ruok,
    /// Another protocol version, or none at all: close without a word.
    Unsupported,
}

/// Reads the payload of the client's first frame.
pub fn parse_answer(frame: &[u8]) -> Answer {
    match frame {
        b"Z5" => Answer::Protocol(Encoding::Pickle),
        b"M5" => Answer::Protocol(Encoding::Msgpack),
        b"ruok" => Answer::Ruok,
        _ => Answer::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_exactly_one_of_three() {
        for encoding in [Encoding::Pickle, Encoding::Msgpack] {
            assert_eq!(parse_answer(greeting(encoding)), Answer::Protocol(encoding));
        }
        assert_eq!(parse_answer(b"ruok"), Answer::Ruok);
        for other in [&b"Z4"[..], b"Z310", b"Z6", b"X5", b"", b"5", b"Z5\n"] {
            assert_eq!(parse_answer(other), Answer::Unsupported);
        }
    }
}
