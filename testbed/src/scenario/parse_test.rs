use std::time::Duration;

use super::super::language::*;
use super::super::{Needs, files, read};
use super::parse;
use crate::seed::Seed;

const HEADER: &str = "# It is\n# a test.\nsites: home has a, b, w (witness); away has d\nlink: away is 20 ms and 20 Mbit/s away\n\
                      replication: acks 1\nclients: 4 writers, 2 readers\n---\n";

/// The steps of a scenario that says this, and nothing else.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let told = parse("x.txt", &format!("{HEADER}{text}\n---\nno stale read\n"));
    told.map(|scenario| scenario.steps.into_iter().map(|line| line.what).collect())
        .map_err(|mistake| mistake.to_string())
}

fn step(text: &str) -> Step {
    steps(text).expect(text).pop().expect("one step")
}

fn mistake(text: &str) -> String {
    parse("x.txt", text).expect_err(text).to_string()
}

#[test]
fn a_scenario_says_who_is_there_and_how_far_away() {
    let told = parse("x.txt", &format!("{HEADER}heal\n---\nno stale read # really\n")).expect("no mistake");
    assert_eq!(told.about, "It is a test.");
    let nodes: Vec<_> =
        told.nodes.iter().map(|node| (node.name.as_str(), node.site.as_str(), node.is_witness)).collect();
    let witness_last =
        [("a", "home", false), ("b", "home", false), ("d", "away", false), ("w", "home", true)];
    assert_eq!(nodes, witness_last);
    let link =
        Link { site: "away".to_owned(), delay: Duration::from_millis(20), bits_per_second: Some(20_000_000) };
    assert_eq!((told.links, told.acks), (vec![link], 1));
    assert_eq!(told.clients, ClientPlan { writers: 4, readers: 2, are_stock: false });
    assert_eq!(told.conclusions[0].text, "no stale read");
    assert_eq!(told.conclusions[0].number, 10);
}

#[test]
fn every_step_is_understood() {
    use super::super::language::{Condition as Has, Step as S};
    let d = || vec![Who::Node(2)];
    let ten = Duration::from_secs(10);
    let cut = |who, way, also_from_clients| S::CutOff(Cut { who, way, also_from_clients });
    for (text, expected) in [
        ("kill the primary", S::Kill(vec![Who::Primary])),
        ("stop all", S::Stop(vec![Who::All])),
        ("start a and b", S::Start(vec![Who::Node(0), Who::Node(1)])),
        ("Restart W", S::Restart(vec![Who::Node(3)])),
        ("freeze a replica", S::Freeze(vec![Who::SomeReplica])),
        ("thaw d", S::Thaw(d())),
        ("quiet d", S::Quiet(d())),
        ("wake d", S::Wake(d())),
        ("fill the disk of d", S::FillDisk(d())),
        ("free the disk of d", S::FreeDisk(d())),
        ("break the disk of d", S::BreakDisk(d())),
        ("mend the disk of d", S::MendDisk(d())),
        (
            "wait until the disk of d has failed, at most 10 s",
            S::WaitUntil(Has::DiskHasFailed(Who::Node(2)), ten),
        ),
        ("cut off d", cut(d(), CutWay::Both, false)),
        ("cut off what d sends", cut(d(), CutWay::Sent, false)),
        (
            "cut off what the site away receives, also from the clients",
            cut(vec![Who::Site("away".to_owned())], CutWay::Received, true),
        ),
        ("heal", S::Heal),
        ("the clock of d is 3 s ahead", S::SetClock(d(), 3_000)),
        ("the clock of d is 500 ms behind", S::SetClock(d(), -500)),
        ("the clock of d is right", S::SetClock(d(), 0)),
        ("switchover", S::Switchover(None)),
        ("switchover to b", S::Switchover(Some(Who::Node(1)))),
        ("wait 10 s", S::Wait(ten)),
        ("wait up to 10 s", S::WaitUpTo(ten)),
        ("wait until all are in step", S::WaitUntil(Has::AllInStep, Duration::from_secs(60))),
        ("wait until there is a primary, at most 10 s", S::WaitUntil(Has::SomePrimary, ten)),
        ("wait until there is no primary, at most 10 s", S::WaitUntil(Has::NoPrimary, ten)),
        ("wait until every client writes, at most 10 s", S::WaitUntil(Has::EveryClientWrites, ten)),
        ("wait until commits are refused, at most 10 s", S::WaitUntil(Has::CommitsAreRefused, ten)),
        ("wait until d is missed, at most 10 s", S::WaitUntil(Has::IsMissed(Who::Node(2)), ten)),
        ("for 10 s, no client writes", S::Throughout(ten, Has::NoClientWrites)),
        ("for 10 s b is not the primary", S::Throughout(ten, Has::IsPrimary(Who::Node(1), false))),
        ("for 10 s the primary is at home", S::Throughout(ten, Has::PrimaryAt("home".to_owned()))),
        (
            "wait until the clock of d is seen to be wrong, at most 10 s",
            S::WaitUntil(Has::ClockIsOff(Who::Node(2)), ten),
        ),
    ] {
        assert_eq!(step(text), expected, "{text}");
    }
    let known = steps("kill the primary\nwait until there is another primary\nstart the old primary");
    assert_eq!(known.expect("no mistake").len(), 3);
}

#[test]
fn a_mistake_is_named_with_its_file_and_line_and_what_was_expected() {
    for (text, told) in [
        ("kil a", "x.txt:8: expected a step: kill, stop, start,"),
        ("kill x", "x.txt:8: expected a node (a, b, d, w), the primary, the old primary, a replica"),
        ("kill x", "after \"kill\", found \"x\""),
        ("kill", "after \"kill\", the line ends"),
        ("\nkill a b", "x.txt:9: expected the end of the line after \"a\", found \"b\""),
        ("wait 3", "expected a time such as 500 ms or 3 s after \"wait\", found \"3\""),
        ("wait 700 s", "expected a time from 0 to 600 s"),
        ("wait until it works", "expected what must hold: \"there is a primary\", "),
        ("wait until a is", "expected \"is the primary\", \"is not the primary\" or \"is missed\""),
        ("cut off what a does", "expected \"sends\" or \"receives\" after \"a\", found \"does\""),
        ("cut off the site c", "expected a site (home, away) after \"site\", found \"c\""),
        ("the clock of a is 3 s late", "expected \"ahead\" or \"behind\""),
        ("start the old primary", "x.txt:8: no step before this one does anything to the primary"),
        ("thaw that replica", "x.txt:8: no step before this one does anything to \"a replica\""),
        ("for 3 s every client writes", "clients write now and then"),
        ("---", "x.txt:9: expected the end of the file: it has three parts"),
    ] {
        let found = steps(text).expect_err(text);
        assert!(found.contains(told), "{text}: {found}");
    }
}

#[test]
fn mistakes_about_the_cluster_are_named_too() {
    for (from, to, told) in [
        ("acks 1", "acks 2", "x.txt:7: acks 2, and the first site has 1 replicas"),
        ("acks 1", "maybe", "expected \"asynchronous\" or \"acks 1\""),
        ("a, b", "a, a", "there is a \"a\" already"),
        ("b, w", "b, all", "\"all\" is no name here"),
        ("home has a,", "home has a (witness),", "a: the first node has data"),
        ("away has d", "away has d (witness)", "d: a witness is at the first site"),
        ("4 writers, ", "", "expected at least one writer"),
        ("4 writers", "4000 writers", "expected 1 to 200 clients, found 4000"),
        ("replication:", "repl:", "x.txt:5: expected \"sites:\", \"link:\""),
        ("replication: acks 1\n", "", "expected a line such as \"replication: acks 1\" before this"),
        ("link: away", "link: far", "expected a site (home, away), named in \"sites:\" before"),
        ("replication", "lease: 30 s\nreplication", "x.txt:5: expected a lease of 1s to 20s"),
        ("20 Mbit/s", "20 MB/s", "expected \"Mbit/s\" or \"kbit/s\""),
        ("clients: 4", "clients: 1 writer\nclients: 4", "there is a line \"clients:\" already"),
    ] {
        let text = format!("{HEADER}heal\n---\nno stale read\n").replacen(from, to, 1);
        let found = mistake(&text);
        assert!(found.contains(told), "{to}: {found}");
    }
    assert!(mistake("").contains("expected a line --- and steps"));
    assert!(mistake(HEADER).contains("expected a line --- and behind it what must hold"));
    assert!(mistake(&format!("{HEADER}---\n")).contains("x.txt:8: expected what must hold at the end"));
}

#[test]
fn whatever_a_file_says_it_is_a_scenario_or_a_mistake_with_its_line() {
    let words = [
        "sites:",
        "home",
        "has",
        "a",
        "b",
        ",",
        "(",
        "witness",
        ")",
        ";",
        "\n",
        "---",
        "\n",
        "kill",
        "the",
        "primary",
        "wait",
        "until",
        "3",
        "s",
        "ms",
        "cut",
        "off",
        "clients:",
        "writers",
        "replication:",
        "acks",
        "1",
        "#",
        "\u{e4}",
        "for",
        "9999999999999999999999",
        "-1",
        "NaN",
        "all",
        "have",
        "same",
        "history",
        "link:",
        "is",
        "away",
    ];
    let mut chance = Seed::of(7);
    for _ in 0..20_000 {
        let mut text = if chance.pick(0..2) == 0 { String::new() } else { HEADER.to_owned() };
        for _ in 0..chance.pick(0..30) {
            text.push_str(words[chance.pick(0..words.len() as u64) as usize]);
            text.push(' ');
        }
        if let Err(mistake) = parse("x.txt", &text) {
            let lines = text.lines().count().max(1);
            assert!((1..=lines).contains(&mistake.line), "{mistake}\n{text}");
            assert!(!mistake.what.is_empty());
        }
    }
}

#[test]
fn what_a_scenario_needs_is_known_before_it_is_run() {
    let of = |text: &str| {
        let text =
            HEADER.replace("link: away is 20 ms and 20 Mbit/s away\n", "") + text + "\n---\nno stale read\n";
        Needs::of(&parse("x.txt", &text).expect("no mistake"))
    };
    assert_eq!(of("kill the primary"), Needs::default());
    assert_eq!(of("kill the primary").told(), "nothing");
    assert!(of("cut off a").network);
    assert_eq!(of("fill the disk of b").disks, [1].into());
    assert_eq!(of("fill the disk of the primary").disks, (0..4).collect());
    assert!(of("the clock of a is 1 s ahead").clocks);
    assert!(of("break the disk of a").failing_disks);
    assert_eq!(of("break the disk of a").told(), "a C compiler");
}

#[test]
fn every_scenario_of_the_testbed_is_understood_and_says_what_it_is_about() {
    let files = files().expect("the folder is there");
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        let scenario = read(&path).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(
            scenario.about.len() > 20,
            "{}: a comment at its beginning says what it is about",
            path.display()
        );
    }
}
