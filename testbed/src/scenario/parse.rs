//! From the text of a scenario to what it says.

use super::check::check;
use super::header::{Header, sites};
use super::language::{Conclusion, Condition, Cut, CutWay, Line, NodePlan, Scenario, Step, Who};
use super::mistake::Mistake;
use super::words::Words;
use std::time::Duration;

/// How long is waited for something where the scenario does not say.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the text of a scenario says. The file's name is for mistakes.
///
/// # Errors
/// The first mistake, with what was expected.
pub fn parse(file: &str, text: &str) -> Result<Scenario, Mistake> {
    let mistake = |line: usize, what: String| Mistake { file: file.to_owned(), line, what };
    let mut header = Header::default();
    let (mut part, mut steps, mut conclusions) = (0, Vec::new(), Vec::new());
    let mut last = 0;
    for (number, whole) in (1..).zip(text.lines()) {
        last = number;
        let said = whole.split('#').next().unwrap_or_default().trim();
        let line = |what: String| mistake(number, what);
        if said.is_empty() {
            continue;
        }
        if said.chars().all(|letter| letter == '-') && said.len() >= 3 {
            if part == 0 {
                header.is_complete().map_err(line)?;
            }
            part += 1;
            if part > 2 {
                return Err(line(
                    "expected the end of the file: it has three parts, with two lines --- between".into(),
                ));
            }
            continue;
        }
        let mut words = Words::of(said);
        match part {
            0 => header.line(&mut words).map_err(line)?,
            1 => {
                let what = Grammar { nodes: &header.nodes }.step(&mut words).map_err(line)?;
                steps.push(Line { what, number, text: said.to_owned() });
            }
            _ => {
                let what = Grammar { nodes: &header.nodes }.conclusion(&mut words).map_err(line)?;
                conclusions.push(Line { what, number, text: said.to_owned() });
            }
        }
        words.end().map_err(line)?;
    }
    let end = |what: &str| mistake(last.max(1), what.to_owned());
    match part {
        0 => return Err(end("expected a line --- and steps behind what describes the cluster")),
        1 => return Err(end("expected a line --- and behind it what must hold at the end")),
        _ if conclusions.is_empty() => return Err(end("expected what must hold at the end")),
        _ => {}
    }
    let Header { nodes, links, acks, lease, clients } = header;
    let (acks, clients) = (acks.unwrap_or_default(), clients.ok_or_else(|| end("there are no clients"))?);
    let scenario = Scenario { about: about(text), nodes, links, acks, lease, clients, steps, conclusions };
    check(&scenario).map_err(|(line, what)| mistake(line, what))?;
    Ok(scenario)
}

/// The comment with which a text begins, in one line.
fn about(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

struct Grammar<'a> {
    nodes: &'a [NodePlan],
}

impl Grammar<'_> {
    fn step(&self, words: &mut Words) -> Result<Step, String> {
        if words.take("kill") {
            return Ok(Step::Kill(self.group(words)?));
        }
        if words.take("stop") {
            return Ok(Step::Stop(self.group(words)?));
        }
        if words.take("start") {
            return Ok(Step::Start(self.group(words)?));
        }
        if words.take("restart") {
            return Ok(Step::Restart(self.group(words)?));
        }
        if words.take("freeze") {
            return Ok(Step::Freeze(self.group(words)?));
        }
        if words.take("thaw") {
            return Ok(Step::Thaw(self.group(words)?));
        }
        if words.take("quiet") {
            return Ok(Step::Quiet(self.group(words)?));
        }
        if words.take("wake") {
            return Ok(Step::Wake(self.group(words)?));
        }
        if words.take("fill the disk of") {
            return Ok(Step::FillDisk(self.group(words)?));
        }
        if words.take("free the disk of") {
            return Ok(Step::FreeDisk(self.group(words)?));
        }
        if words.take("break the disk of") {
            return Ok(Step::BreakDisk(self.group(words)?));
        }
        if words.take("mend the disk of") {
            return Ok(Step::MendDisk(self.group(words)?));
        }
        if words.take("cut off") {
            return self.cut(words).map(Step::CutOff);
        }
        if words.take("heal") {
            return Ok(Step::Heal);
        }
        if words.take("the clock of") {
            return self.clock(words);
        }
        if words.take("switchover") {
            let to = if words.take("to") { Some(self.one(words)?) } else { None };
            return Ok(Step::Switchover(to));
        }
        if words.take("wait until") {
            let condition = self.condition(words)?;
            let patience = if words.take(",") {
                words.must("at most")?;
                words.time()?
            } else {
                PATIENCE
            };
            return Ok(Step::WaitUntil(condition, patience));
        }
        if words.take("wait up to") {
            return Ok(Step::WaitUpTo(words.time()?));
        }
        if words.take("wait") {
            return Ok(Step::Wait(words.time()?));
        }
        if words.take("for") {
            let time = words.time()?;
            words.take(",");
            return Ok(Step::Throughout(time, self.condition(words)?));
        }
        words.expected(
            "a step: kill, stop, start, restart, freeze, thaw, quiet, wake, cut off, heal, fill the disk of, \
             free the disk of, break the disk of, mend the disk of, the clock of, switchover, wait, wait until, wait up to or for",
        )
    }

    fn cut(&self, words: &mut Words) -> Result<Cut, String> {
        let is_one_way = words.take("what");
        let who = self.group(words)?;
        let way = match is_one_way {
            false => CutWay::Both,
            true if words.take("sends") || words.take("send") => CutWay::Sent,
            true if words.take("receives") || words.take("receive") => CutWay::Received,
            true => return words.expected("\"sends\" or \"receives\""),
        };
        let also_from_clients = words.take(",");
        if also_from_clients {
            words.must("also from the clients")?;
        }
        Ok(Cut { who, way, also_from_clients })
    }

    fn clock(&self, words: &mut Words) -> Result<Step, String> {
        let who = self.group(words)?;
        words.must("is")?;
        if words.take("right") {
            return Ok(Step::SetClock(who, 0));
        }
        let by = words.time()?.as_millis() as i64;
        let ahead = match () {
            () if words.take("ahead") => by,
            () if words.take("behind") => -by,
            () => return words.expected("\"ahead\" or \"behind\""),
        };
        Ok(Step::SetClock(who, ahead))
    }

    fn condition(&self, words: &mut Words) -> Result<Condition, String> {
        let phrases = [
            ("there is a primary", Condition::SomePrimary),
            ("there is another primary", Condition::AnotherPrimary),
            ("there is no primary", Condition::NoPrimary),
            ("all are in step", Condition::AllInStep),
            ("every client writes", Condition::EveryClientWrites),
            ("no client writes", Condition::NoClientWrites),
            ("commits are refused", Condition::CommitsAreRefused),
        ];
        for (phrase, condition) in phrases {
            if words.take(phrase) {
                return Ok(condition);
            }
        }
        if words.take("the primary is at") {
            return Ok(Condition::PrimaryAt(self.site(words)?));
        }
        if words.take("the clock of") {
            let who = self.one(words)?;
            words.must("is seen to be wrong")?;
            return Ok(Condition::ClockIsOff(who));
        }
        if words.take("the disk of") {
            let who = self.one(words)?;
            words.must("has failed")?;
            return Ok(Condition::DiskHasFailed(who));
        }
        let names = phrases_of(&[
            "there is a primary",
            "there is another primary",
            "there is no primary",
            "NODE is the primary",
            "NODE is not the primary",
            "the primary is at SITE",
            "all are in step",
            "every client writes",
            "no client writes",
            "commits are refused",
            "NODE is missed",
            "the clock of NODE is seen to be wrong",
            "the disk of NODE has failed",
        ]);
        let before = words.clone();
        let Ok(who) = self.one(words) else { return before.expected(&format!("what must hold: {names}")) };
        match () {
            () if words.take("is the primary") => Ok(Condition::IsPrimary(who, true)),
            () if words.take("is not the primary") => Ok(Condition::IsPrimary(who, false)),
            () if words.take("is missed") => Ok(Condition::IsMissed(who)),
            () => words.expected("\"is the primary\", \"is not the primary\" or \"is missed\""),
        }
    }

    fn conclusion(&self, words: &mut Words) -> Result<Conclusion, String> {
        let phrases = [
            ("every client writes", Conclusion::EveryClientWrites),
            ("nothing acknowledged is lost", Conclusion::NothingAcknowledgedIsLost),
            ("something acknowledged is lost, and listed", Conclusion::SomethingIsLostAndListed),
            ("what is lost is listed", Conclusion::WhatIsLostIsListed),
            ("no stale read", Conclusion::NoStaleRead),
            ("all have the same history", Conclusion::SameHistory),
        ];
        for (phrase, conclusion) in &phrases {
            if words.take(&phrase.replace(',', " ,")) {
                return Ok(conclusion.clone());
            }
        }
        if words.take("the primary is at") {
            return Ok(Conclusion::PrimaryAt(self.site(words)?));
        }
        if words.take("the primary is") {
            return Ok(Conclusion::PrimaryIs(self.node(words)?));
        }
        let before = words.clone();
        if let Ok(node) = self.node(words) {
            words.must("was never primary")?;
            return Ok(Conclusion::WasNeverPrimary(node));
        }
        let names = phrases.map(|(phrase, _)| phrase);
        let more = ["the primary is NODE", "the primary is at SITE", "NODE was never primary"];
        before.expected(&format!("what must hold at the end: {}", phrases_of(&[&names[..], &more].concat())))
    }

    /// Nodes, with `and` or commas between.
    fn group(&self, words: &mut Words) -> Result<Vec<Who>, String> {
        let mut group = vec![self.who(words, true)?];
        while words.take("and") {
            group.push(self.who(words, true)?);
        }
        Ok(group)
    }

    fn one(&self, words: &mut Words) -> Result<Who, String> {
        self.who(words, false)
    }

    fn who(&self, words: &mut Words, may_be_many: bool) -> Result<Who, String> {
        match () {
            () if words.take("the primary") => return Ok(Who::Primary),
            () if words.take("the old primary") => return Ok(Who::OldPrimary),
            () if words.take("a replica") => return Ok(Who::SomeReplica),
            () if words.take("that replica") => return Ok(Who::ThatReplica),
            () if may_be_many && words.take("all") => return Ok(Who::All),
            () if may_be_many && words.take("the site") => return Ok(Who::Site(self.site(words)?)),
            () => {}
        }
        if let Some(node) = self.known_node(words) {
            return Ok(Who::Node(node));
        }
        let many = if may_be_many { ", all, the site SITE" } else { "" };
        words.expected(&format!(
            "a node ({}), the primary, the old primary, a replica, that replica{many}",
            self.names()
        ))
    }

    fn node(&self, words: &mut Words) -> Result<usize, String> {
        match self.known_node(words) {
            Some(node) => Ok(node),
            None => words.expected(&format!("a node ({})", self.names())),
        }
    }

    fn known_node(&self, words: &mut Words) -> Option<usize> {
        (0..self.nodes.len()).find(|node| words.take(&self.nodes[*node].name))
    }

    fn site(&self, words: &mut Words) -> Result<String, String> {
        let sites = sites(self.nodes);
        match sites.iter().find(|site| words.take(site)) {
            Some(site) => Ok((*site).to_owned()),
            None => words.expected(&format!("a site ({})", sites.join(", "))),
        }
    }

    fn names(&self) -> String {
        self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn phrases_of(phrases: &[&str]) -> String {
    phrases.iter().map(|phrase| format!("{phrase:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
