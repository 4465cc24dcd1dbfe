use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use standby_control::{Quieten, Switchover};

use super::clients::Clients;
use super::conditions::{Asked, Watch, primary};
use super::language::{Condition, Cut, CutWay, Line, Step, Who};
use super::record::Record;
use super::stage::Stage;
use crate::decided::change;
use crate::poll;
use crate::seed::Seed;

/// How long a step waits for a primary that it is to do something to, and for a switchover to be possible.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that has to hold all the while.
const LOOK: Duration = Duration::from_millis(30);
/// Longer than any scenario: a node is silent until it is woken.
const QUIET_SECONDS: f64 = 600.0;

/// Does what a scenario says, step by step.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) stage: Stage,
    pub(super) clients: Clients,
    pub(super) record: Record,
    pub(super) chance: Seed,
    /// The one that was the primary when a step did something to the primary.
    old_primary: Option<usize>,
    chosen: Option<usize>,
}

impl Actor {
    pub(super) fn new(stage: Stage, clients: Clients, record: Record, chance: Seed) -> Self {
        Self { stage, clients, record, chance, old_primary: None, chosen: None }
    }

    /// Does one step, and writes it down.
    ///
    /// # Errors
    /// It cannot be done, or what it waits for does not come; the error says at which line.
    pub(super) fn step(&mut self, line: &Line<Step>) -> Result<()> {
        let at = || format!("line {}: {}", line.number, line.text);
        self.record.note(&at())?;
        if let Some(done) = self.act(&line.what).with_context(at)? {
            self.record.note(&format!("  {done}"))?;
        }
        Ok(())
    }

    /// What is to be said of it, if anything.
    fn act(&mut self, step: &Step) -> Result<Option<String>> {
        match step {
            Step::Kill(who) => self.each(who, Stage::kill),
            Step::Stop(who) => self.each(who, Stage::stop),
            Step::Start(who) => self.each(who, |stage, node| match stage.runs(node) {
                true => Ok(()),
                false => stage.node_mut(node).start(),
            }),
            Step::Restart(who) => self.each(who, |stage, node| {
                stage.stop(node)?;
                stage.node_mut(node).start()
            }),
            Step::Freeze(who) => self.each(who, Stage::freeze),
            Step::Thaw(who) => self.each(who, Stage::thaw),
            Step::FillDisk(who) => self.each(who, Stage::fill_disk),
            Step::FreeDisk(who) => self.each(who, Stage::free_disk),
            Step::BreakDisk(who) => self.each(who, |stage, node| stage.disk(node)?.break_it()),
            Step::MendDisk(who) => self.each(who, |stage, node| stage.disk(node)?.mend()),
            Step::SetClock(who, ahead) => self.each(who, |stage, node| stage.set_clock(node, *ahead)),
            Step::Quiet(who) => self.each(who, |stage, node| quieten(stage, node, QUIET_SECONDS)),
            Step::Wake(who) => self.each(who, |stage, node| quieten(stage, node, 0.0)),
            Step::CutOff(cut) => self.cut(cut).map(Some),
            Step::Heal => {
                self.stage.network().context("there is no network")?.heal()?;
                Ok(None)
            }
            Step::Switchover(to) => self.switchover(to.as_ref()).map(Some),
            Step::WaitUntil(condition, patience) => self.wait_until(condition, *patience).map(Some),
            Step::Throughout(time, condition) => self.throughout(*time, condition).map(|()| None),
            Step::Wait(time) => {
                std::thread::sleep(*time);
                Ok(None)
            }
            Step::WaitUpTo(most) => {
                let time = Duration::from_millis(self.chance.pick(0..most.as_millis() as u64 + 1));
                std::thread::sleep(time);
                Ok(Some(format!("{} ms", time.as_millis())))
            }
        }
    }

    /// Does something to each of these nodes. Says which they are.
    fn each(&mut self, who: &[Who], act: impl Fn(&mut Stage, usize) -> Result<()>) -> Result<Option<String>> {
        let nodes = self.all_of(who)?;
        for node in &nodes {
            act(&mut self.stage, *node)?;
        }
        Ok(who.iter().any(|who| !matches!(who, Who::Node(_))).then(|| self.names(&nodes)))
    }

    fn names(&self, nodes: &[usize]) -> String {
        nodes.iter().map(|node| self.stage.name(*node)).collect::<Vec<_>>().join(", ")
    }

    fn all_of(&mut self, who: &[Who]) -> Result<Vec<usize>> {
        let mut nodes = Vec::new();
        for who in who {
            let found = match who {
                Who::All => (0..self.stage.count()).collect(),
                Who::Site(site) => {
                    (0..self.stage.count()).filter(|node| self.stage.plan(*node).site == *site).collect()
                }
                one => vec![self.one(one)?],
            };
            nodes.extend(found.into_iter().filter(|node| !nodes.contains(node)).collect::<Vec<_>>());
        }
        Ok(nodes)
    }

    fn one(&mut self, who: &Who) -> Result<usize> {
        match who {
            Who::Node(node) => Ok(*node),
            Who::Primary => {
                let leader = self.primary()?;
                self.old_primary = Some(leader);
                Ok(leader)
            }
            Who::OldPrimary => self.old_primary.context("there is no old primary"),
            Who::SomeReplica => {
                let leader = self.primary()?;
                let site = &self.stage.plan(leader).site;
                let replicas = self.stage.awake().filter(|node| *node != leader);
                let replicas: Vec<usize> =
                    replicas.filter(|node| self.stage.plan(*node).site == *site).collect();
                ensure!(!replicas.is_empty(), "no replica runs at the primary's site");
                let node = replicas[self.chance.pick(0..replicas.len() as u64) as usize];
                self.chosen = Some(node);
                Ok(node)
            }
            Who::ThatReplica => self.chosen.context("no replica was chosen"),
            Who::Site(_) | Who::All => bail!("one node is wanted"),
        }
    }

    fn primary(&self) -> Result<usize> {
        poll::until("a primary", PATIENCE, || Ok(primary(&self.stage)))
    }

    fn cut(&mut self, cut: &Cut) -> Result<String> {
        let inside = self.all_of(&cut.who)?;
        let network = self.stage.network().context("there is no network")?;
        // The clients' host is the last one.
        let hosts = 0..self.stage.count() + usize::from(cut.also_from_clients);
        for outside in hosts.filter(|host| !inside.contains(host)) {
            for inside in &inside {
                if cut.way != CutWay::Received {
                    network.cut(*inside, outside)?;
                }
                if cut.way != CutWay::Sent {
                    network.cut(outside, *inside)?;
                }
            }
        }
        Ok(self.names(&inside))
    }

    fn switchover(&mut self, to: Option<&Who>) -> Result<String> {
        let to = to.map(|who| self.one(who)).transpose()?.map(|node| self.stage.name(node).to_owned());
        let deadline = Instant::now() + PATIENCE;
        let mut was_tried = false;
        loop {
            let leader = self.primary()?;
            if was_tried && to.as_deref() == Some(self.stage.name(leader)) {
                return Ok("it was decided, and not told in time".to_owned());
            }
            let wanted = Switchover { to: to.clone(), timeout_seconds: None, dry_run: false };
            match change(self.stage.node(leader), "/v1/switchover", &wanted) {
                Ok(done) => {
                    self.old_primary = Some(leader);
                    return Ok(done);
                }
                // On a busy machine a lease may end by itself just then, or the target comes no closer for a while.
                Err(error) if is_for_now(&error) && Instant::now() < deadline => {
                    self.record.note(&format!("  {error:#}"))?;
                    was_tried = true;
                    std::thread::sleep(LOOK);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What was found, and after which time.
    fn wait_until(&mut self, condition: &Condition, patience: Duration) -> Result<String> {
        let began = Instant::now();
        if *condition == Condition::EveryClientWrites {
            self.clients.every_client_writes(patience)?;
        } else {
            let mut watch = Watch::until(self.asked(condition)?, &self.clients);
            let waited =
                poll::until("it", patience, || Ok(watch.holds(&self.stage, &self.clients).then_some(())));
            waited.with_context(|| watch.told(&self.stage))?;
        }
        let leader = primary(&self.stage).map_or("there is no primary".to_owned(), |leader| {
            format!("the primary is {}", self.stage.name(leader))
        });
        Ok(format!("after {:.2} s; {leader}", began.elapsed().as_secs_f64()))
    }

    fn throughout(&mut self, time: Duration, condition: &Condition) -> Result<()> {
        let began = Instant::now();
        let mut watch = Watch::throughout(self.asked(condition)?, &self.clients);
        while began.elapsed() < time {
            let holds = watch.holds(&self.stage, &self.clients);
            ensure!(holds, "not after {:.2?}: {}", began.elapsed(), watch.told(&self.stage));
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Finds out whom a condition speaks of.
    fn asked(&mut self, condition: &Condition) -> Result<Asked> {
        Ok(match condition {
            Condition::SomePrimary => Asked::PrimaryOtherThan(None),
            Condition::AnotherPrimary => Asked::PrimaryOtherThan(self.old_primary),
            Condition::NoPrimary => Asked::NoPrimary,
            Condition::IsPrimary(who, wanted) => Asked::IsPrimary(self.one(who)?, *wanted),
            Condition::PrimaryAt(site) => Asked::PrimaryAt(site.clone()),
            Condition::AllInStep => Asked::AllInStep,
            Condition::NoClientWrites => Asked::NoClientWrites,
            Condition::CommitsAreRefused => Asked::CommitsAreRefused,
            Condition::IsMissed(who) => Asked::IsMissed(self.one(who)?),
            Condition::ClockIsOff(who) => Asked::ClockIsOff(self.one(who)?),
            Condition::DiskHasFailed(who) => Asked::DiskHasFailed(self.one(who)?),
            Condition::EveryClientWrites => bail!("clients write now and then, and not all the while"),
        })
    }
}

fn quieten(stage: &mut Stage, node: usize, seconds: f64) -> Result<()> {
    change(stage.node(node), "/v1/quiet", &Quieten { seconds }).map(drop)
}

/// Whether a switchover may be possible a moment later.
fn is_for_now(error: &anyhow::Error) -> bool {
    let told = format!("{error:#}");
    told.contains("just now") || told.contains("nothing has changed")
}
