//! Results on standard output.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

/// What a command that looks at a file ends with when the file is not whole. (1: the command failed; 2: the command line
/// is wrong.)
pub const NOT_WHOLE: u8 = 3;

/// The exit code for a file that was looked at.
pub fn exit_code(whole: bool) -> ExitCode {
    if whole { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) }
}

/// Lets `write` write to standard output. A reader that has seen enough (`| head`) ends it, and is no error: `None`.
pub fn print<T>(write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<Option<T>> {
    let mut output = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let written = write(&mut output).and_then(|result| {
        output.flush()?;
        Ok(result)
    });
    match written {
        Ok(result) => Ok(Some(result)),
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                // What is left must not be written once more.
                let _ = output.into_parts();
                Ok(None)
            }
            Some(_) => Err(error).context("writing to standard output"),
            None => {
                let _ = output.flush();
                Err(error)
            }
        },
    }
}
