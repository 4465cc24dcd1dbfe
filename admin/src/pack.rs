//! `standby-admin pack`: waiting for the end, and saying how far it is.

use std::time::Duration;

use anyhow::{Result, bail};
use standby_control::{PackState, PackStatus, PacksAnswer};

use crate::client::Client;

/// How often it is asked how far a pack is.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Waits until no pack is under way any more. `tell` is called when there is something new to say.
///
/// # Errors
/// A pack failed: which, and why. Or the primary does not answer, which may be another by now.
pub async fn wait(client: &Client, mut tell: impl FnMut(&str)) -> Result<PacksAnswer> {
    let mut told = String::new();
    loop {
        let answer = client.packs().await?;
        let running: Vec<&PackStatus> =
            answer.packs.iter().filter(|pack| pack.state == PackState::Running).collect();
        if running.is_empty() {
            return finished(answer);
        }
        let line = running.iter().map(|pack| progress(pack)).collect::<Vec<_>>().join("; ");
        if line != told {
            tell(&line);
            told = line;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn finished(answer: PacksAnswer) -> Result<PacksAnswer> {
    let failed = answer.packs.iter().filter(|pack| pack.state == PackState::Failed);
    let failed: Vec<String> = failed.map(line).collect();
    if failed.is_empty() { Ok(answer) } else { bail!("{}", failed.join("; ")) }
}

fn progress(pack: &PackStatus) -> String {
    let stage = pack.stage.as_deref().unwrap_or("beginning");
    format!("storage {}: {stage} {:.0} %", pack.storage, pack.percent.unwrap_or(0.0))
}

fn line(pack: &PackStatus) -> String {
    format!("storage {}: {}", pack.storage, pack.told.as_deref().unwrap_or("?"))
}

/// How packs have ended, as text.
pub fn shown(answer: &PacksAnswer) -> String {
    answer.packs.iter().map(|pack| line(pack) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(state: PackState, told: &str) -> PackStatus {
        let told = Some(told.to_owned());
        PackStatus { storage: "1".into(), state, stage: None, percent: None, told }
    }

    #[test]
    fn a_pack_that_failed_is_an_error_with_its_reason() {
        let answer = |packs| PacksAnswer { node: "a".into(), packs };
        let told = finished(answer(vec![pack(PackState::Failed, "no space")])).expect_err("it failed");
        assert_eq!(told.to_string(), "storage 1: no space");
        let done = finished(answer(vec![pack(PackState::Done, "packed")])).expect("it was done");
        assert_eq!(shown(&done), "storage 1: packed\n");
    }
}
