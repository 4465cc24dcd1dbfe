//! What the demonstration claims in the end, and whether that is so.

use std::fmt::Write;

use standby_checker::Kind;

use super::findings::{Compared, Findings};

/// Lost transactions that are written out.
const SHOWN: usize = 5;
/// What it is when a client reads what it must not read any more.
const STALE: [Kind; 5] =
    [Kind::Stale, Kind::NotCurrent, Kind::GoesBack, Kind::UnknownMoment, Kind::WrongValue];

/// Something that the demonstration claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What.
    pub text: String,
    /// It is so.
    pub holds: bool,
}

/// Everything that it claims. If one of these does not hold, it has failed.
pub fn claims(findings: &Findings) -> Vec<Claim> {
    let Findings { failover, switchover, lost, verdict, visited, .. } = findings;
    let counts = verdict.counts;
    let claim = |holds: bool, text: String| Claim { text, holds };
    vec![
        claim(
            !failover.to.is_empty() && failover.to != failover.from,
            format!(
                "{} was killed, {} took its place: all clients wrote again after {:.1} s",
                failover.from,
                shown(&failover.to),
                failover.all_wrote_after.as_secs_f64()
            ),
        ),
        claim(failover.old_follows, format!("{} came back, and followed the new primary", failover.from)),
        claim(
            lost.listed == lost.in_files && lost.not_listed.is_empty(),
            match (lost.in_files, lost.listed) {
                (0, 0) => "nothing was lost".to_owned(),
                (saved, listed) => format!(
                    "what was lost is saved and listed: {saved} saved, {listed} listed by the cluster"
                ),
            },
        ),
        claim(
            switchover.wanted.as_ref() == Some(&switchover.to) && switchover.old_follows,
            format!(
                "{} handed over to {}: all clients wrote again after {:.1} s",
                switchover.from,
                shown(&switchover.to),
                switchover.all_wrote_after.as_secs_f64()
            ),
        ),
        claim(
            verdict.is_honest() && counts.acknowledged > 0 && counts.reads > 0,
            format!(
                "what clients were told is true: {} commits, {} reads, {} faults",
                counts.acknowledged,
                counts.reads,
                verdict.faults.len()
            ),
        ),
        claim(stale_reads(findings) == 0, format!("{} stale reads", stale_reads(findings))),
        claim(
            findings.missing.is_none() && visited.records > 0,
            match &findings.missing {
                None => format!(
                    "the site is whole, and was all the time: {} records and {} blobs compared",
                    visited.records, visited.blobs
                ),
                Some(missing) => format!("the site is not as it was: {missing}"),
            },
        ),
        claim(
            findings.differs.is_none(),
            match (&findings.differs, findings.compared) {
                (Some(differs), _) => format!("nodes differ: {differs}"),
                (None, Compared::Bytes) => "the files of all nodes are equal, byte for byte".to_owned(),
                (None, Compared::Checksums) => {
                    "all nodes have the same last transaction, with the same checksum".to_owned()
                }
            },
        ),
        claim(
            findings.damage.is_none(),
            match &findings.damage {
                None => "standby verify finds nothing wrong".to_owned(),
                Some(damage) => format!("standby verify: {damage}"),
            },
        ),
    ]
}

/// Whether everything is as claimed.
pub fn holds(findings: &Findings) -> bool {
    claims(findings).iter().all(|claim| claim.holds)
}

fn stale_reads(findings: &Findings) -> usize {
    findings.verdict.faults.iter().filter(|fault| STALE.contains(&fault.kind)).count()
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "nobody" } else { name }
}

/// The summary, in plain words and numbers.
pub fn text(findings: &Findings) -> String {
    let counts = findings.verdict.counts;
    let lost = &findings.lost;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<24} {value}");
    };
    line("site", findings.site.clone());
    line("clients", findings.clients.clone());
    line("copied to all nodes in", format!("{:.1} s", findings.copied_in.as_secs_f64()));
    line("transactions committed", format!("{}", counts.acknowledged));
    let gap = findings.longest_gap.as_ref();
    line(
        "longest gap of a client",
        gap.map_or("unknown".to_owned(), |(gap, client)| format!("{:.2} s ({client})", gap.as_secs_f64())),
    );
    line(
        "lost in the failover",
        match (lost.saved.len(), counts.acknowledged_lost) {
            (0, 0) => "nothing, this time".to_owned(),
            (all, told) => format!("{all} transactions, {told} of them acknowledged"),
        },
    );
    line("saved of those", format!("{}", lost.saved.len()));
    line("answers that never came", {
        let (there, gone) = (counts.unknown_there, counts.unknown_gone);
        format!("{} commits, of which {there} are there", there + gone)
    });
    line("stale reads found", format!("{}", stale_reads(findings)));
    line("duration", format!("{:.1} s", findings.duration.as_secs_f64()));
    if !lost.saved.is_empty() {
        let _ = writeln!(text, "\nLost, and saved (with acks = 1, what was acknowledged would not be lost):");
        for tid in lost.saved.iter().take(SHOWN) {
            let _ = writeln!(text, "  {tid}");
        }
        if lost.saved.len() > SHOWN {
            let _ = writeln!(text, "  and {} more", lost.saved.len() - SHOWN);
        }
        for file in &lost.files {
            let _ = writeln!(text, "  in {}", file.display());
        }
        if findings.compared == Compared::Bytes {
            let _ = writeln!(text, "  which is removed now, as all files are; --keep keeps them");
        }
    }
    let _ = writeln!(text, "\nWhat must hold:");
    for claim in claims(findings) {
        let mark = if claim.holds { "yes" } else { "NO " };
        let _ = writeln!(text, "  {mark}  {}", claim.text);
    }
    if !findings.verdict.is_honest() {
        let _ = writeln!(text, "\n{}", findings.verdict);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::clients::Visited;
    use crate::demo::findings::{Change, Lost};
    use standby_checker::{Counts, Fault, Verdict};
    use zodb_types::Tid;

    /// Of a run in which all went well.
    fn good() -> Findings {
        let change = |from: &str, to: &str| Change {
            from: from.to_owned(),
            to: to.to_owned(),
            wanted: Some(to.to_owned()),
            old_follows: true,
            ..Change::default()
        };
        let counts = Counts { acknowledged: 100, acknowledged_lost: 1, reads: 1_000, ..Counts::default() };
        Findings {
            failover: Change { wanted: None, ..change("a", "b") },
            switchover: change("b", "a"),
            lost: Lost { listed: 2, in_files: 2, saved: vec![Tid::new(1), Tid::new(2)], ..Lost::default() },
            verdict: Verdict { counts, faults: Vec::new() },
            visited: Visited { records: 10, blobs: 1 },
            ..Findings::default()
        }
    }

    #[test]
    fn a_run_in_which_all_went_well_holds_what_it_claims() {
        let findings = good();
        assert!(holds(&findings), "{}", text(&findings));
        let text = text(&findings);
        assert!(text.contains("2 transactions, 1 of them"), "{text}");
        assert!(text.contains("stale reads found        0"), "{text}");
    }

    #[test]
    fn nothing_lost_is_said_as_it_is() {
        let mut findings = good();
        findings.lost = Lost::default();
        findings.verdict.counts.acknowledged_lost = 0;
        assert!(holds(&findings));
        assert!(text(&findings).contains("nothing, this time"));
    }

    #[test]
    fn each_broken_claim_fails_it_and_is_marked() {
        type Spoil = fn(&mut Findings);
        let broken: [(&str, Spoil); 14] = [
            ("nobody took over", |findings| findings.failover.to.clear()),
            ("the old one stayed", |findings| findings.failover.to = "a".to_owned()),
            ("it did not follow", |findings| findings.failover.old_follows = false),
            ("lost, and not saved", |findings| findings.lost.listed = 3),
            ("saved, and not listed", |findings| findings.lost.listed = 1),
            ("a file that is not listed", |findings| findings.lost.not_listed.push("x.fs".into())),
            ("another was exchanged", |findings| findings.switchover.to = "c".to_owned()),
            ("who handed over does not follow", |findings| findings.switchover.old_follows = false),
            ("nothing was judged", |findings| findings.verdict.counts.acknowledged = 0),
            ("nothing was read", |findings| findings.verdict.counts.reads = 0),
            ("nothing was visited", |findings| findings.visited.records = 0),
            ("the site is not whole", |findings| findings.missing = Some("a blob".to_owned())),
            ("nodes differ", |findings| findings.differs = Some("a and b".to_owned())),
            ("damage", |findings| findings.damage = Some("a bit".to_owned())),
        ];
        for (what, spoil) in broken {
            let mut findings = good();
            spoil(&mut findings);
            assert!(!holds(&findings), "{what}");
            assert!(text(&findings).contains("\n  NO "), "{what}");
        }
    }

    #[test]
    fn a_stale_read_fails_it_and_is_counted() {
        let mut findings = good();
        let fault = Fault { kind: Kind::Stale, what: "an old page".to_owned(), places: Vec::new() };
        findings.verdict.faults.push(fault);
        assert!(!holds(&findings));
        let text = text(&findings);
        assert!(text.contains("stale reads found        1") && text.contains("an old page"), "{text}");
    }
}
