//! How a node comes to belong to its cluster: it makes it, or joins it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::auto::{address, control_path, start};
use super::losses;
use super::peers::Copies;
use crate::config::NodeConfig;
use crate::decisions::founding::{Addresses, Founding, found, node_of, refound};
use crate::decisions::network::Admission;
use crate::decisions::raft::{Decisions, GONE, Started};
use crate::failover::choice::Standing;
use crate::failover::decided::Decided;
use crate::failover::entry::{Cause, Ceilings, Entry, LeaseMark, Member, NodeId};
use crate::failover::settings::{Change, Settings};
use crate::peer::Identity;
use crate::world::random;

/// How long one attempt to join or to have something decided may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How often nodes are told that the log was begun anew.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The epochs of a log that was begun anew come so many after the last one that is known of the log before: that may go on
/// elsewhere, and must not come to the same numbers.
const EPOCHS_APART: u64 = 1 << 20;

fn member(config: &NodeConfig) -> Member {
    let node = &config.node;
    Member {
        name: node.name.clone(),
        group: node.group.clone(),
        electable: node.electable,
        voter: node.voter,
        priority: node.priority,
    }
}

/// Makes a cluster of this node alone, of which it is the primary, for storages with so many epochs behind them.
pub(super) async fn create(config: &NodeConfig, identity: Arc<Identity>, epoch: u64) -> Result<()> {
    let path = control_path(config)?;
    let acks = config.replication.acks.needed;
    let settings = Settings::default();
    let by = format!("standby init at {}", config.node.name);
    let node = node_of(&path)?;
    let founding = founding(node, member(config), epoch, Ceilings::default(), (&settings, acks), by);
    if let Err(known) = found(&path, random(), &founding)? {
        bail!("this node belongs to a cluster already ({known})");
    }
    let (lasts, known) = (Vec::new(), Vec::new());
    let nobody = Standing { ready: false, clock_off: false, disk_failed: false, epoch: 0, lasts, known };
    let nobody = move || nobody.clone();
    let Started { decisions, .. } = start(config, identity, nobody).await?;
    let created = complete(config, &decisions, &founding).await;
    decisions.stop().await;
    created
}

/// Begins the log anew with this node alone, as the primary of what it has, after what is known of the log before.
pub(super) fn begin_anew(
    config: &NodeConfig,
    node: NodeId,
    before: &Decided,
    others: &Addresses,
    by: String,
) -> Result<()> {
    let epoch = before.mark().epoch + EPOCHS_APART;
    // Nobody is there to acknowledge anything.
    let founding = founding(node, member(config), epoch, before.ceilings(), (before.settings(), 0), by);
    let charter = refound(&control_path(config)?, &founding, others)?;
    warn!(%charter, "the log of the cluster is begun anew with this node alone");
    Ok(())
}

fn founding(
    node: NodeId,
    member: Member,
    epoch: u64,
    ceilings: Ceilings,
    (settings, acks): (&Settings, usize),
    by: String,
) -> Founding {
    let mut changes = settings.as_changes();
    changes.push(Change { name: "acks".to_owned(), value: Some(acks.to_string()) });
    let after = LeaseMark { epoch, seq: 0 };
    let entries = vec![
        Entry::Create { epoch, ceilings },
        Entry::Join { node, member },
        Entry::Set { changes },
        Entry::Promote { node, after, cause: Cause::Operator, used: None },
    ];
    Founding { by, entries }
}

/// Has everything decided that the log begins with.
pub(super) async fn complete(config: &NodeConfig, decisions: &Decisions, founding: &Founding) -> Result<()> {
    if let Err(error) = decisions.create(&address(config)?).await {
        debug!(%error, "the log had begun before a restart");
    }
    for entry in &founding.entries {
        decide(decisions, entry, &founding.by).await?;
    }
    decisions.founded().await.context("the log has begun, and that cannot be noted")
}

/// Has something decided as soon as there is a leader.
async fn decide(decisions: &Decisions, entry: &Entry, by: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..50 {
        match decisions.propose(entry.clone(), by, ATTEMPT).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(last.map_or_else(|| anyhow::anyhow!("never tried"), Into::into))
}

/// Sees to it that the log has begun, that the cluster knows this node as its configuration says and what was lost here, and
/// that nodes that know an earlier log hear of this one.
pub(super) async fn belong(
    config: NodeConfig,
    decisions: Decisions,
    founding: Option<Founding>,
    others: Addresses,
    copies: Copies,
) -> Result<()> {
    if let Some(founding) = founding {
        complete(&config, &decisions, &founding).await?;
    }
    join(&config, &decisions, &others).await?;
    losses::tell(&config, &decisions, &copies).await?;
    confirm(&config, &decisions).await?;
    tell(&config, &decisions, others).await
}

async fn join(config: &NodeConfig, decisions: &Decisions, others: &Addresses) -> Result<()> {
    let member = member(config);
    let me = decisions.me();
    let admission = Admission { node: me, address: address(config)?, votes: member.voter };
    if decisions.charter().is_none() && config.cluster.join.is_empty() {
        warn!("this node belongs to no cluster yet: `standby init` makes one, `join` in [cluster] names one");
    }
    let mut told = false;
    loop {
        let known_as = decisions.known().borrow().decided.members().get(&me).cloned();
        let is_admitted = decisions.address_of(me).as_ref() == Some(&admission.address)
            && decisions.is_voter(me) == admission.votes;
        if is_admitted && known_as.as_ref() == Some(&member) {
            return Ok(());
        }
        let mut joined = known_as.is_some() && is_admitted;
        // Whoever it knows may have moved, too; and whoever was restarted alone knows itself.
        for known in config.cluster.join.iter().chain(others).chain(&decisions.addresses()) {
            if joined {
                break;
            }
            match decisions.join(known, &admission, ATTEMPT).await {
                Ok(()) => joined = true,
                Err(error) if !told => warn!(%known, %error, "cannot join yet"),
                Err(_) => {}
            }
        }
        told = true;
        let entry = Entry::Join { node: me, member: member.clone() };
        if joined && decisions.propose(entry, &member.name, ATTEMPT).await.is_ok() {
            info!(cluster = %config.cluster.name, "this node belongs to the cluster");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Lets the cluster know when the node's file says something else of it, until the task is dropped.
pub(super) async fn keep_member(mut file: watch::Receiver<Arc<NodeConfig>>, decisions: Decisions) {
    file.mark_unchanged();
    while file.changed().await.is_ok() {
        let member = member(&file.borrow_and_update());
        let me = decisions.me();
        let is_known =
            || decisions.known().borrow().decided.members().get(&me).is_none_or(|known| *known == member);
        while !is_known() {
            let entry = Entry::Join { node: me, member: member.clone() };
            if let Err(error) = decisions.propose(entry, &member.name, ATTEMPT).await {
                debug!(%error, "the cluster does not know yet what the file says");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// A node that was removed while it was away does not know it: it asks.
async fn confirm(config: &NodeConfig, decisions: &Decisions) -> Result<()> {
    let here = address(config)?;
    loop {
        let others: Vec<String> = decisions.addresses().into_iter().filter(|other| *other != here).collect();
        let alone = others.is_empty();
        for other in others {
            match decisions.is_removed(&other, ATTEMPT).await {
                Some(true) => bail!("{GONE}"),
                Some(false) => return Ok(()),
                None => {}
            }
        }
        if alone {
            return Ok(());
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Tells nodes of this log that may know an earlier one, until each has taken it in.
async fn tell(config: &NodeConfig, decisions: &Decisions, mut others: Addresses) -> Result<()> {
    let here = address(config)?;
    others.remove(&here);
    while !others.is_empty() {
        let mut left = Addresses::new();
        for other in &others {
            match decisions.tell_of_generation(other, &here, ATTEMPT).await {
                Ok(()) => info!(%other, "a node has taken in that the log was begun anew"),
                Err(error) => {
                    debug!(%error, "a node has yet to hear that the log was begun anew");
                    left.insert(other.clone());
                }
            }
        }
        if left != others {
            decisions.keep_others(left.clone()).await?;
            others = left;
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
    Ok(())
}
