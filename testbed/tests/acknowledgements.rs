//! A primary that waits for its replicas: what its clients are told, and when.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::driver::Committer;
use standby_testbed::poll;
use zeo_proto::client::Connection;
use zeo_proto::{Oid, Tid, Value};

/// Clients that are to wait are watched for this long.
const A_WHILE: Duration = Duration::from_millis(700);

/// A primary with these settings, and one replica.
fn pair(folder: &Path, replication: &str) -> Result<[Node; 2]> {
    let mut a = Node::new(folder, "a", Follows::Nobody)?;
    a.set_replication(replication);
    a.configure(Follows::Nobody)?;
    let mut b = Node::new(folder, "b", Follows::Fully(&a))?;
    a.start()?;
    b.start()?;
    Ok([a, b])
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

async fn committer(node: &Node, series: u64) -> Result<Committer> {
    let oids = (0..3).map(|place| Oid::new((1 << 33) + series * 10 + place)).collect();
    Ok(Committer::new(Connection::open(node.zeo()).await?, series, oids, 300, Tid::ZERO))
}

fn wait_for_log(node: &Node, text: &str) -> Result<()> {
    poll::until(&format!("{text:?} in the log of {}", node.name), poll::PATIENCE, || {
        Ok(node.log()?.contains(text).then_some(()))
    })
}

#[test]
fn a_client_is_answered_when_a_replica_has_its_transaction_and_not_before() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [a, mut b] = pair(folder.path(), "acks = 1\nack_timeout = \"200ms\"")?;
    runtime()?.block_on(async {
        let mut writer = committer(&a, 1).await?;
        let first = writer.commit().await?.tid;
        b.kill()?;
        let mut waiting = tokio::spawn(async move { writer.commit().await.map(|written| written.tid) });
        let early = tokio::time::timeout(A_WHILE, &mut waiting).await;
        ensure!(early.is_err(), "it was answered while nobody else has its transaction: {early:?}");
        ensure!(a.last_transaction().await == Some(first), "others see it before it is promised");
        wait_for_log(&a, "clients wait for their commits")?;
        b.start()?;
        let second =
            tokio::time::timeout(poll::PATIENCE, waiting).await.context("it waits for ever")???;
        ensure!(a.last_transaction().await == Some(second));
        wait_for_log(&a, "enough replicas acknowledge again")
    })
}

#[test]
fn what_waits_for_replicas_keeps_no_other_client_waiting() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [a, mut b] = pair(folder.path(), "acks = 1\nack_timeout = \"200ms\"")?;
    runtime()?.block_on(async {
        let (mut one, mut other) = (committer(&a, 1).await?, committer(&a, 2).await?);
        let first = one.commit().await?.tid;
        let second = other.commit().await?.tid;
        b.kill()?;
        let mut waiting = tokio::spawn(async move { one.commit().await.map(|written| written.tid) });
        let early = tokio::time::timeout(A_WHILE, &mut waiting).await;
        ensure!(early.is_err(), "it was answered while nobody else has its transaction: {early:?}");
        wait_for_log(&a, "clients wait for their commits")?;

        // Everyone else sees the storage as it was before that.
        let mut reader = Connection::open(a.zeo()).await?;
        let object = |series: u64| Value::from(Oid::new((1 << 33) + series * 10));
        let all = [
            ("lastTransaction", vec![]),
            ("getTid", vec![object(2)]),
            ("loadSerial", vec![object(2), Value::from(second)]),
            ("loadSerial", vec![object(1), Value::from(first)]),
            ("getInvalidations", vec![Value::from(first)]),
        ];
        for (method, arguments) in all {
            let answer = tokio::time::timeout(poll::PATIENCE, reader.call(method, &arguments));
            let answer = answer.await.with_context(|| format!("{method} waits"))??;
            match method {
                "lastTransaction" | "getTid" => {
                    ensure!(answer.as_tid() == Some(second), "{method}: {answer:?}")
                }
                "loadSerial" => ensure!(answer.as_bytes().is_some(), "{method}: {answer:?}"),
                _ => {
                    let items = answer.as_sequence().context("the last transaction, and objects")?;
                    ensure!(items[0].as_tid() == Some(second), "{answer:?}");
                }
            }
        }
        b.start()?;
        tokio::time::timeout(poll::PATIENCE, waiting).await.context("it waits for ever")???;
        Ok(())
    })
}

#[test]
fn a_client_is_answered_without_replicas_where_that_is_the_setting_and_it_is_said() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = "acks = 1\nack_timeout = \"500ms\"\non_ack_timeout = \"continue\"";
    let [a, mut b] = pair(folder.path(), settings)?;
    runtime()?.block_on(async {
        let mut writer = committer(&a, 1).await?;
        writer.commit().await?;
        b.kill()?;
        tokio::time::timeout(poll::PATIENCE, writer.commit()).await.context("it waits for ever")??;
        wait_for_log(&a, "clients are answered without them")?;
        writer.commit().await?;
        b.start()?;
        // In step again: the next commit is at the replica when it is answered.
        wait_for_log(&a, "enough replicas acknowledge again")?;
        let last = writer.commit().await?.tid;
        a_is_killed_and_b_has(a, b, last)
    })
}

#[test]
fn nothing_that_was_acknowledged_is_lost_with_the_primary() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [a, b] = pair(folder.path(), "acks = 1")?;
    let acknowledged = runtime()?.block_on(async {
        let mut writers = Vec::new();
        for series in 0..8 {
            let mut writer = committer(&a, series).await?;
            writers.push(tokio::spawn(async move {
                let mut last = Tid::ZERO;
                while let Ok(written) = writer.commit().await {
                    last = written.tid;
                }
                last
            }));
        }
        tokio::time::sleep(A_WHILE).await; // so much work is under way when the primary dies
        let mut a = a;
        a.kill()?;
        let mut last = Tid::ZERO;
        for writer in writers {
            last = last.max(writer.await?);
        }
        Ok::<_, anyhow::Error>(last)
    })?;
    ensure!(acknowledged > Tid::ZERO, "nothing was acknowledged");
    has(b, acknowledged)
}

fn a_is_killed_and_b_has(mut a: Node, b: Node, last: Tid) -> Result<()> {
    a.kill()?;
    has(b, last)
}

/// What the replica has on disk goes at least that far.
fn has(mut b: Node, last: Tid) -> Result<()> {
    b.kill()?;
    let output = std::process::Command::new(standby_testbed::place::standby_binary()?)
        .args(["verify", "--json"])
        .arg(b.data())
        .output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let found = report["last_tid"].as_str().context("a last tid")?;
    ensure!(found >= last.to_string().as_str(), "{last} was acknowledged; the replica ends with {found}");
    Ok(())
}
