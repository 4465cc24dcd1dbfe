use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeo_proto::client_side::encode_load;
use zeo_proto::{Encoding, Oid, Tid};

/// Which loads are asked for, ready to be sent.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Whole request frames.
    requests: Vec<Vec<u8>>,
    /// A reply's payload is at least this long; an exception's is shorter.
    reply_min_bytes: usize,
}

impl LoadPlan {
    /// Loads of the current revisions of `oids`, whose records are at least `record_bytes` long (more than 150, to
    /// tell replies from exceptions by their length).
    pub fn new(encoding: Encoding, oids: impl IntoIterator<Item = Oid>, record_bytes: usize) -> Self {
        assert!(record_bytes > 150, "an exception could be as long");
        let request = |oid| {
            let mut out = Vec::new();
            encode_load(encoding, &mut out, oid, Tid::MAX);
            out
        };
        Self { requests: oids.into_iter().map(request).collect(), reply_min_bytes: record_bytes }
    }

    /// How many different requests there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// Keeps `outstanding` loads in flight for `time`, beginning with the plan's request number `start`. Only the
/// frames' lengths are looked at. Returns the number of replies. With `time` `None`: until every request was
/// answered once.
///
/// # Errors
/// The connection is gone, or a reply is too short to be a record.
pub async fn drive_loads(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    plan: &LoadPlan,
    start: usize,
    outstanding: usize,
    time: Option<Duration>,
) -> Result<u64> {
    let began = Instant::now();
    let mut requests = plan.requests.iter().cycle().skip(start % plan.len());
    let mut input = vec![0; 256 << 10];
    let mut filled = 0;
    let mut output: Vec<u8> = Vec::with_capacity(64 << 10);
    let mut answered = 0;
    let mut due = outstanding;
    loop {
        output.clear();
        requests.by_ref().take(due).for_each(|request| output.extend_from_slice(request));
        stream.write_all(&output).await?;
        let read = stream.read(&mut input[filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        filled += read;
        let (frames, used) = count_frames(&input[..filled], plan.reply_min_bytes)?;
        input.copy_within(used..filled, 0);
        filled -= used;
        answered += frames as u64;
        due = frames;
        let enough = match time {
            Some(time) => began.elapsed() >= time,
            None => answered >= plan.len() as u64,
        };
        if enough {
            return Ok(answered);
        }
    }
}

/// The whole frames at the front of `input`: how many, and how many bytes they take.
fn count_frames(input: &[u8], payload_min: usize) -> Result<(usize, usize)> {
    let (mut frames, mut position) = (0, 0);
    while let Some(header) = input[position..].first_chunk::<4>() {
        let payload = u32::from_be_bytes(*header) as usize;
        if payload < payload_min {
            bail!("a reply of {payload} bytes is no record of {payload_min}");
        }
        if payload + 4 > input.len() - position {
            break;
        }
        position += payload + 4;
        frames += 1;
    }
    Ok((frames, position))
}
