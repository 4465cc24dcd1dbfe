//! `standby-testbed bench clients`: how soon a thousand clients commit again after their primary was killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use zeo_proto::client::Options as ClientOptions;

use super::RunOptions;
use super::failover::cluster;
use crate::cluster::Node;
use crate::decided::wait_for_followers;
use crate::doors::{self, Door};
use crate::poll;
use crate::swarm::{Back, Plan, Swarm};

/// All should have committed again after so many seconds.
const GOAL: f64 = 5.0;
/// How often the doors are looked at: the kernel walks through all sockets for it, which takes its time.
const LOOK: Duration = Duration::from_millis(100);
/// A client has a connection, and while there is none as many attempts as there are nodes; and a server has one of each.
const FILES_PER_CLIENT: u64 = 4;

/// Options of the benchmark.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// How many clients
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Each commits one object of 300 bytes once in so many seconds, and one at once when the primary is killed: every
    /// commit is told to all others, which on few processors is most of the work
    #[arg(long, default_value_t = 20.0)]
    every: f64,
    /// How often the primary is killed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    run: RunOptions,
}

/// What one kill has cost.
struct Round {
    /// Seconds until each client was let in, and until each had committed; both in order.
    let_in: Vec<f64>,
    committed: Vec<f64>,
    doors: Doors,
}

/// The most that was seen at any door.
#[derive(Debug, Clone, Default)]
struct Doors {
    /// Connections that a server had not accepted.
    backlog: usize,
    /// Connections to a node that was not the primary, or not yet: they wait for the greeting.
    waiting: usize,
}

/// Measures and prints. Gives false when a target was missed.
///
/// # Errors
/// A node does not start, nobody takes the primary's place, or a client fails.
pub fn run(options: &Options) -> Result<bool> {
    allow_files(options.clients as u64 * FILES_PER_CLIENT + 1_000)?;
    let standby = options.run.standby()?;
    let scratch = tempfile::tempdir_in(options.run.folder()?)?;
    let mut nodes = cluster(&standby, scratch.path(), "1500ms")?;
    wait_for_followers(&nodes)?;
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::zeo).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _within = runtime.enter();
    let plan = Plan {
        clients: options.clients,
        options: ClientOptions { wait: poll::PATIENCE, ..ClientOptions::new(addresses) },
        every: Duration::from_secs_f64(options.every),
        records: false,
        seed: 0,
    };
    let mut swarm = Swarm::start(&plan);
    println!(
        "From SIGKILL of the primary of three nodes until {} clients have committed again; each commits 300 bytes once in \
         {} s, and once at the kill; {} processors\n",
        options.clients,
        options.every,
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    println!(
        "{:<7}{:>9}{:>9}{:>9}{:>13}{:>9}{:>9}  target",
        "round", "first, s", "half, s", "all, s", "let in, 1/s", "waiting", "backlog"
    );
    let (mut met, mut all) = (true, Vec::new());
    for round in 1..=options.rounds {
        swarm.commit_now();
        runtime.block_on(swarm.all_committed(Instant::now(), poll::PATIENCE))?;
        let measured = measure(&mut nodes, &mut swarm, &runtime)?;
        met &= report(round, &measured, &mut all);
    }
    runtime.block_on(swarm.stop())?;
    nodes.iter_mut().try_for_each(Node::kill)?;
    options
        .run
        .record(&json!({ "clients": options.clients, "every_seconds": options.every, "rounds": all }))?;
    Ok(met)
}

/// Kills the primary, waits until all have committed, and starts it again.
fn measure(nodes: &mut [Node], swarm: &mut Swarm, runtime: &tokio::runtime::Runtime) -> Result<Round> {
    let primary = wait_for_followers(nodes)?;
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::zeo).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    nodes[primary].kill()?;
    let killed = Instant::now();
    swarm.commit_now();
    let watch = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || watch(&addresses, &is_over)
    });
    let back = runtime.block_on(swarm.all_committed(killed, poll::PATIENCE));
    is_over.store(true, Ordering::Relaxed);
    let doors = watch.join().map_err(|_| anyhow!("whoever looks at the doors has panicked"))??;
    let back = back?;
    let sorted = |of: fn(&Back) -> Duration| {
        let mut seconds: Vec<f64> = back.iter().map(|back| of(back).as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    };
    let (let_in, committed) = (sorted(|back| back.let_in), sorted(|back| back.committed));
    nodes[primary].start()?;
    Ok(Round { let_in, committed, doors })
}

/// Looks at the doors until it is over. Where most connections are when it is, is the new primary; before it was, those
/// waited, too.
fn watch(addresses: &[SocketAddr], is_over: &AtomicBool) -> Result<Doors> {
    let mut seen = Doors::default();
    while !is_over.load(Ordering::Relaxed) {
        let doors: Vec<Door> = doors::at(addresses)?;
        let most = |of: fn(&Door) -> usize| doors.iter().map(of).max().unwrap_or(0);
        seen.backlog = seen.backlog.max(most(|door| door.backlog));
        seen.waiting = seen.waiting.max(most(|door| door.connections));
        std::thread::sleep(LOOK);
    }
    Ok(seen)
}

/// Prints a round. Whether it was as it should be.
fn report(round: usize, measured: &Round, all: &mut Vec<Value>) -> bool {
    let Round { let_in, committed, doors } = measured;
    let at = |times: &[f64], part: f64| times[((times.len() - 1) as f64 * part) as usize];
    // Of those in the middle: the first and the last ones may have had reasons of their own.
    let rate = 0.9 * let_in.len() as f64 / (at(let_in, 0.95) - at(let_in, 0.05)).max(0.001);
    let last = at(committed, 1.0);
    println!(
        "{round:<7}{:>9.2}{:>9.2}{last:>9.2}{rate:>13.0}{:>9}{:>9}  all <= {GOAL} s {}",
        at(committed, 0.0),
        at(committed, 0.5),
        doors.waiting,
        doors.backlog,
        if last <= GOAL { "ok" } else { "MISSED" }
    );
    all.push(json!({
        "let_in_seconds": let_in, "committed_seconds": committed, "let_in_per_second": rate,
        "waiting_max": doors.waiting, "backlog_max": doors.backlog,
    }));
    last <= GOAL
}

/// Lets this process, and those that it starts, have so many files open.
fn allow_files(files: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let wanted = Rlimit { current: Some(files), maximum: limit.maximum };
        setrlimit(Resource::Nofile, wanted).with_context(|| format!("{files} open files are not allowed"))?;
    }
    Ok(())
}
