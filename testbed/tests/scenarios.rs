//! Each scenario of `testbed/scenarios`, once. More often: `standby-testbed scenario FILE --rounds 20`.
//!
//! `STANDBY_SEED=N`: what is left to chance, as an earlier run printed it.

use anyhow::{Context, Result, ensure};
use standby_testbed::place;
use standby_testbed::scenario::{Outcome, Run, files, read};
use standby_testbed::seed::Seed;

fn holds(name: &str) -> Result<()> {
    let file = place::repository().join("testbed/scenarios").join(format!("{name}.txt"));
    let scenario = read(&file)?;
    let seed = Seed::announced().pick(0..1 << 32);
    let run = Run { file: &file, scenario: &scenario, seed, is_shown: true, keep: None };
    if let Outcome::Skipped(why) = run.run()? {
        println!("skipped: {why}");
    }
    Ok(())
}

/// A test for each, and one that none is missing.
macro_rules! scenarios {
    ($($test:ident $name:literal)*) => {
        $(
            #[test]
            fn $test() -> Result<()> {
                holds($name)
            }
        )*

        #[test]
        fn every_file_has_a_test() -> Result<()> {
            let mut tested = vec![$($name),*];
            tested.sort_unstable();
            let mut there = Vec::new();
            for file in files()? {
                there.push(file.file_stem().context("a name")?.to_string_lossy().into_owned());
            }
            ensure!(tested == there, "tests: {tested:?}\nfiles: {there:?}");
            Ok(())
        }
    };
}

scenarios! {
    clocks "clocks"
    cut_in_two "cut-in-two"
    cut_off_one_way "cut-off-one-way"
    cut_off_the_primary "cut-off-the-primary"
    failing_disk "failing-disk"
    freeze_the_primary "freeze-the-primary"
    full_disk_of_a_replica "full-disk-of-a-replica"
    full_disk_of_the_primary "full-disk-of-the-primary"
    kill_asynchronous "kill-asynchronous"
    kill_with_acks "kill-with-acks"
    majority_lost "majority-lost"
    quiet "quiet"
    remote_site "remote-site"
    restart_of_all "restart-of-all"
    switchover "switchover"
    witness "witness"
}

#[test]
fn a_scenario_that_does_not_hold_says_where_and_how_to_run_it_again() -> Result<()> {
    let folder = place::scratch("scenario-that-fails")?;
    let file = folder.path().join("wrong.txt");
    std::fs::write(
        &file,
        "# It must not hold.\nsites: home has a\nreplication: asynchronous\nclients: 1 writer, 1 reader\n---\n\
         wait until there is no primary, at most 100 ms\n---\nno stale read\n",
    )?;
    let kept = folder.path().join("kept");
    let scenario = read(&file)?;
    let run = Run { file: &file, scenario: &scenario, seed: 5, is_shown: false, keep: Some(&kept) };
    let told = format!("{:#}", run.run().expect_err("it does not hold"));
    for part in ["line 6: wait until there is no primary", "logs: ", "wrong.txt --seed 5", "a primary"] {
        ensure!(told.contains(part), "{part:?} is not in {told}");
    }
    let written = std::fs::read_to_string(kept.join("wrong-5/what-happened.txt"))?;
    ensure!(written.contains("seed: 5\n") && written.contains("FAILED: line 6"), "{written}");
    ensure!(kept.join("wrong-5/a/stderr.log").exists(), "the logs are kept");
    let logs = told.lines().find_map(|line| line.strip_prefix("logs: ")).context("it says where")?;
    std::fs::remove_dir_all(logs)?;
    Ok(())
}

#[test]
fn what_clients_are_told_wrongly_is_found() -> Result<()> {
    let folder = place::scratch("scenario-that-loses")?;
    let file = folder.path().join("loses.txt");
    // What only a node that never comes back has is neither there nor listed.
    std::fs::write(
        &file,
        "# It loses.\nsites: home has a, b, c\nreplication: asynchronous\nclients: 2 writers, 1 reader\n---\n\
         kill b and c\nwait 300 ms\nkill a\nstart b and c\nwait until there is a primary\n---\nno stale read\n",
    )?;
    let scenario = read(&file)?;
    let run = Run { file: &file, scenario: &scenario, seed: 5, is_shown: false, keep: None };
    let told = format!("{:#}", run.run().expect_err("acknowledged transactions are gone"));
    ensure!(told.contains("neither there nor reported lost"), "{told}");
    let logs = told.lines().find_map(|line| line.strip_prefix("logs: ")).context("it says where")?;
    std::fs::remove_dir_all(logs)?;
    Ok(())
}
