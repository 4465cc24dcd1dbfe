//! Whether what clients were told of their transactions is true.

use std::collections::HashMap;

use zodb_types::{Oid, Tid};

use crate::history::{Operation, Outcome, Write};
use crate::world::{Fate, World};
use crate::{History, Kind, Place, Stored, Verdict};

/// A transaction, as its client knows it.
struct Commit<'a> {
    place: Place,
    began: Option<u64>,
    ended: Option<u64>,
    writes: &'a [Write],
    outcome: Outcome,
}

pub(crate) fn judge(histories: &[History], world: &World<'_>, verdict: &mut Verdict) {
    let commits = commits(histories, verdict);
    every_one_is_as_it_was_told(&commits, world, verdict);
    nothing_is_there_that_nobody_wrote(&commits, world, verdict);
    tids_are_given_out_once_and_grow(&commits, verdict);
}

fn commits<'a>(histories: &'a [History], verdict: &mut Verdict) -> Vec<Commit<'a>> {
    let mut commits: Vec<Commit<'_>> = Vec::new();
    for history in histories {
        let mut is_open = false;
        for (entry, line) in history.entries.iter().zip(1..) {
            let place = Place { client: history.client.clone(), line };
            match &entry.operation {
                Operation::Commit { writes } => {
                    let (began, ended, outcome) = (entry.at, None, Outcome::Unknown);
                    commits.push(Commit { place, began, ended, writes, outcome });
                    is_open = true;
                }
                Operation::Outcome(outcome) => match commits.last_mut().filter(|_| is_open) {
                    Some(commit) => {
                        (commit.outcome, commit.ended, is_open) = (outcome.clone(), entry.at, false);
                    }
                    None => verdict.add(Kind::Malformed, [place], "an outcome of nothing".to_owned()),
                },
                _ => {}
            }
        }
    }
    commits
}

fn every_one_is_as_it_was_told(commits: &[Commit<'_>], world: &World<'_>, verdict: &mut Verdict) {
    for commit in commits {
        let place = || [commit.place.clone()];
        let found = commit.writes.iter().find_map(|write| world.writer(write.oid, &write.value));
        match commit.outcome {
            Outcome::Committed(tid) => {
                verdict.counts.acknowledged += 1;
                match world.fate(tid) {
                    Fate::Nowhere => {
                        let what = format!("{tid} was acknowledged, and is neither there nor reported lost");
                        verdict.add(Kind::Missing, place(), what);
                        continue;
                    }
                    Fate::Lost(writes) => {
                        verdict.counts.acknowledged_lost += 1;
                        is_whole(commit, tid, writes, verdict);
                    }
                    Fate::There(writes) => is_whole(commit, tid, writes, verdict),
                }
                is_based_on_what_was_current(commit, tid, world, verdict);
            }
            Outcome::Unknown => match found {
                None => verdict.counts.unknown_gone += 1,
                Some(tid) => {
                    verdict.counts.unknown_there += 1;
                    if let Fate::There(writes) | Fate::Lost(writes) = world.fate(tid) {
                        is_whole(commit, tid, writes, verdict);
                    }
                    is_based_on_what_was_current(commit, tid, world, verdict);
                }
            },
            Outcome::Refused => {
                if let Some(tid) = found {
                    let what = format!("it was refused, and {tid} has written what it was to write");
                    verdict.add(Kind::RefusedYetThere, place(), what);
                }
            }
        }
    }
}

fn is_whole(commit: &Commit<'_>, tid: Tid, stored: &[Stored], verdict: &mut Verdict) {
    let is_there = |write: &Write| {
        stored.iter().any(|stored| stored.oid == write.oid && stored.value.as_ref() == Some(&write.value))
    };
    if let Some(missing) = commit.writes.iter().find(|write| !is_there(write)) {
        let what = format!("{tid} has not written {:?} to {}", missing.value, missing.oid);
        verdict.add(Kind::Altered, [commit.place.clone()], what);
    }
    let is_known = |stored: &Stored| commit.writes.iter().any(|write| write.oid == stored.oid);
    if let Some(other) = stored.iter().find(|stored| stored.value.is_some() && !is_known(stored)) {
        let what = format!("{tid} has written to {}, which was not asked for", other.oid);
        verdict.add(Kind::Altered, [commit.place.clone()], what);
    }
}

fn is_based_on_what_was_current(commit: &Commit<'_>, tid: Tid, world: &World<'_>, verdict: &mut Verdict) {
    for write in commit.writes {
        let before = world.before(tid, write.oid).map(|revision| revision.serial);
        if before != write.base {
            let name = |serial: Option<Tid>| serial.map_or("nothing".to_owned(), |serial| serial.to_string());
            let what = format!(
                "{tid} has changed {} from {}, when {} was current",
                write.oid,
                name(write.base),
                name(before)
            );
            verdict.add(Kind::LostUpdate, [commit.place.clone()], what);
        }
    }
}

fn nothing_is_there_that_nobody_wrote(commits: &[Commit<'_>], world: &World<'_>, verdict: &mut Verdict) {
    let mut written: HashMap<(Oid, &str), &Place> = HashMap::new();
    for commit in commits {
        for write in commit.writes {
            if let Some(other) = written.insert((write.oid, &write.value), &commit.place) {
                let what = format!("{:?} is written to {} twice", write.value, write.oid);
                verdict.add(Kind::Malformed, [other.clone(), commit.place.clone()], what);
            }
        }
    }
    for (tid, stored) in world.all() {
        for stored in stored {
            if let Some(value) = &stored.value
                && !written.contains_key(&(stored.oid, value))
            {
                let what = format!("{tid} has {value:?} in {}, which nobody has written", stored.oid);
                verdict.add(Kind::NobodyWrote, [], what);
            }
        }
    }
}

fn tids_are_given_out_once_and_grow(commits: &[Commit<'_>], verdict: &mut Verdict) {
    let told = |commit: &Commit<'_>| match commit.outcome {
        Outcome::Committed(tid) => Some(tid),
        _ => None,
    };
    let acknowledged: Vec<(&Commit<'_>, Tid)> =
        commits.iter().filter_map(|commit| told(commit).map(|tid| (commit, tid))).collect();
    let places = |one: &Commit<'_>, other: &Commit<'_>| [one.place.clone(), other.place.clone()];
    let mut by_tid: HashMap<Tid, &Commit<'_>> = HashMap::new();
    for (commit, tid) in &acknowledged {
        if let Some(other) = by_tid.insert(*tid, commit) {
            verdict.add(Kind::IssuedTwice, places(other, commit), format!("both were told {tid}"));
        }
    }
    for pair in acknowledged.windows(2) {
        let [(one, earlier), (other, later)] = pair else { continue };
        if one.place.client == other.place.client && earlier > later {
            let what = format!("{later} was acknowledged after {earlier}");
            verdict.add(Kind::TidsFall, places(one, other), what);
        }
    }
    // By time: what had been answered when another began has a lower tid.
    let mut ends: Vec<_> =
        acknowledged.iter().filter_map(|(one, tid)| Some((one.ended?, *tid, *one))).collect();
    let mut begins: Vec<_> =
        acknowledged.iter().filter_map(|(one, tid)| Some((one.began?, *tid, *one))).collect();
    ends.sort_by_key(|(at, ..)| *at);
    begins.sort_by_key(|(at, ..)| *at);
    let mut ends = ends.into_iter().peekable();
    let mut highest: Option<(Tid, &Commit<'_>)> = None;
    for (at, tid, commit) in begins {
        while let Some((_, ended, one)) = ends.next_if(|(end, ..)| *end < at) {
            if highest.is_none_or(|(highest, _)| highest < ended) {
                highest = Some((ended, one));
            }
        }
        if let Some((earlier, one)) = highest.filter(|(earlier, _)| *earlier > tid) {
            let what = format!("{tid} began when {earlier} had been acknowledged");
            verdict.add(Kind::TimeOrder, places(one, commit), what);
        }
    }
}
