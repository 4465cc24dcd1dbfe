//! `docs/transcript.md`: an operator's session, tried again.

use anyhow::{Result, ensure};
use clap::CommandFactory;
use standby_admin::cli::Arguments;
use standby_testbed::transcript::{self, Document};

#[test]
fn an_operator_is_told_what_the_transcript_says() -> Result<()> {
    transcript::run(false)
}

/// A verb, as words behind the program's name, and whether it can be used wrongly.
struct Verb {
    words: Vec<String>,
    takes_something: bool,
}

/// What is done on this machine alone, and prints no JSON.
const LOCAL: [&str; 2] = ["completions", "man"];

fn verbs(command: &clap::Command, before: &[String], found: &mut Vec<Verb>) {
    for verb in command.get_subcommands() {
        let words: Vec<String> = before.iter().cloned().chain([verb.get_name().to_owned()]).collect();
        verbs(verb, &words, found);
        if !verb.is_subcommand_required_set() {
            let takes_something = verb.get_arguments().any(|argument| !argument.is_global_set());
            found.push(Verb { words, takes_something });
        }
    }
}

/// Whether a command uses this verb, and no further one of it.
fn uses(command: &str, verb: &Verb, all: &[Verb]) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let is_at = |verb: &Verb, place: usize| {
        verb.words.iter().zip(words[place..].iter()).filter(|(one, other)| one == *other).count()
            == verb.words.len()
    };
    let Some(program) = words.iter().position(|word| *word == "standby-admin") else { return false };
    let Some(place) = (program..words.len()).find(|place| words[*place] == verb.words[0]) else {
        return false;
    };
    let longer = all
        .iter()
        .filter(|other| other.words.len() > verb.words.len() && other.words.starts_with(&verb.words));
    is_at(verb, place) && !longer.into_iter().any(|other| is_at(other, place))
}

#[test]
fn the_transcript_has_every_verb_done_refused_and_as_json() -> Result<()> {
    let (document, mut all) = (transcript::document()?, Vec::new());
    verbs(&Arguments::command(), &[], &mut all);
    ensure!(all.len() > 20, "clap knows the verbs");
    let mut lacking = Vec::new();
    for verb in &all {
        let is_local = LOCAL.contains(&verb.words[0].as_str());
        let used: Vec<_> = document.entries().filter(|entry| uses(&entry.command, verb, &all)).collect();
        let any = |holds: &dyn Fn(&transcript::Entry) -> bool| used.iter().any(|entry| holds(entry));
        let name = verb.words.join(" ");
        if !any(&|entry| !entry.output.contains("[exit ")) {
            lacking.push(format!("{name}: done"));
        }
        if !is_local && !any(&|entry| entry.command.contains("--json")) {
            lacking.push(format!("{name}: with --json"));
        }
        if verb.takes_something && !any(&|entry| entry.output.contains("[exit ")) {
            lacking.push(format!("{name}: refused"));
        }
    }
    ensure!(lacking.is_empty(), "docs/transcript.md lacks:\n{}", lacking.join("\n"));
    Ok(())
}

#[test]
fn what_differs_is_shown_with_what_stands_around_it() -> Result<()> {
    let document = |output: &str| Document::parse(&format!("```console\n$ one\n{output}```\n"));
    let stands = document("first at 2026-11-21 10:18:18 UTC\nb is alive\nthird\n[exit 1]\n")?;
    let same = document("first at 2027-01-02 00:00:00 UTC\nb is alive\nthird\n[exit 1]\n")?;
    let other = document("first at 2027-01-02 00:00:00 UTC\nb is dead\nthird\n")?;
    let told = transcript::difference(&stands, &other);
    let expected = "\n$ one\n  first at 2027-01-02 00:00:00 UTC\n- b is alive\n- third\n- [exit 1]\n+ b is dead\n+ third\n";
    ensure!(told == expected, "{told}");
    ensure!(transcript::difference(&stands, &stands).is_empty());
    let told = transcript::difference(&stands, &same);
    ensure!(!told.contains("\n-") && !told.contains("\n+"), "{told}");
    Ok(())
}
