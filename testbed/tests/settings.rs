//! Settings of a whole cluster, changed while it runs.

use anyhow::{Context, Result, ensure};
use standby_control::{ChangeSettings, SettingChange, SettingSource, SettingStatus};
use standby_testbed::cluster::Node;
use standby_testbed::decided::{
    cluster, commit, primary, runtime, stop_with_the_same_history, wait_for_followers,
};
use standby_testbed::poll;

fn set(node: &Node, changes: &[(&str, Option<&str>)], dry_run: bool) -> Result<Vec<String>> {
    let change = |(name, value): &(&str, Option<&str>)| SettingChange {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    };
    let wanted = ChangeSettings { changes: changes.iter().map(change).collect(), dry_run };
    let told = runtime()?.block_on(node.control().change_settings(&wanted))?;
    Ok(told.changed.iter().map(|change| format!("{} {} {}", change.name, change.from, change.to)).collect())
}

fn get(node: &Node, name: &str) -> Result<SettingStatus> {
    let told = runtime()?.block_on(node.control().settings())?;
    told.settings.into_iter().find(|setting| setting.name == name).context("there is such a setting")
}

fn needed(nodes: &[Node]) -> Result<usize> {
    let leader = primary(nodes)?;
    let status = nodes[leader].status()?;
    Ok(status.storages[0].acknowledgements.as_ref().map_or(0, |acks| acks.needed))
}

#[test]
fn settings_are_changed_for_all_nodes_while_they_run_and_outlive_a_failover() -> Result<()> {
    let folder = standby_testbed::place::scratch("settings")?;
    let mut nodes = cluster(folder.path(), "")?;
    let would = set(&nodes[2], &[("acks", Some("1")), ("lease", Some("2s"))], true)?;
    ensure!(would == ["lease 1500ms 2s", "acks 0 1"], "{would:?}");
    ensure!(get(&nodes[1], "lease")?.source == SettingSource::Default, "nothing has changed");
    for (changes, expected) in [
        ([("leese", Some("2s"))], "there is no setting \"leese\"; is it lease?"),
        ([("lease", Some("2h"))], "lease: expected 200ms to 1min, not \"2h\""),
        ([("acks", Some("3"))], "3 could never acknowledge"),
    ] {
        let told = set(&nodes[0], &changes, false).expect_err("it is refused").to_string();
        ensure!(told.contains(expected), "{told}");
    }
    set(&nodes[2], &[("acks", Some("1")), ("lease", Some("2s")), ("ack_timeout", Some("3s"))], false)?;
    poll::until("every node to know it", poll::PATIENCE, || {
        let all: Vec<String> =
            nodes.iter().map(|node| Ok(get(node, "lease")?.value)).collect::<Result<_>>()?;
        Ok(all.iter().all(|lease| lease == "2s").then_some(()))
    })?;
    poll::until("the primary to wait for acknowledgements", poll::PATIENCE, || {
        Ok((needed(&nodes)? == 1).then_some(()))
    })?;
    commit(&nodes, 1, 10)?;
    wait_for_followers(&nodes)?;
    let old = primary(&nodes)?;
    nodes[old].kill()?;
    commit(&nodes, 2, 5)?;
    ensure!(needed(&nodes)? == 1, "the new one asks for them, too");
    nodes[old].start()?;
    wait_for_followers(&nodes)?;
    set(&nodes[old], &[("acks", None)], false)?;
    poll::until("nobody to be waited for", poll::PATIENCE, || Ok((needed(&nodes)? == 0).then_some(())))?;
    commit(&nodes, 3, 5)?;
    let history = runtime()?.block_on(nodes[old].control().history())?;
    let told = |text: &str| history.happenings.iter().any(|entry| entry.text == text);
    ensure!(
        told("lease: as the files say → 2s; acks: 0 → 1; ack_timeout: as the files say → 3s"),
        "{history:?}"
    );
    ensure!(told("acks: 1 → as the files say"), "{history:?}");
    stop_with_the_same_history(&mut nodes)
}

#[test]
fn a_primary_that_comes_and_goes_is_banned_for_a_while_and_is_not_promoted_meanwhile() -> Result<()> {
    let folder = standby_testbed::place::scratch("flapping")?;
    let mut nodes = cluster(folder.path(), "")?;
    // What comes within a second counts once then.
    let settings = [("flap_limit", Some("2")), ("flap_window", Some("20s")), ("flap_ban", Some("15s"))];
    set(&nodes[0], &settings, false)?;
    commit(&nodes, 1, 3)?;
    let victim = primary(&nodes)?;
    let name = nodes[victim].name.clone();
    let other = (victim + 1) % 3;
    let says = |nodes: &[Node], text: String| {
        poll::until(&text, poll::PATIENCE, || {
            let history = runtime()?.block_on(nodes[other].control().history())?;
            Ok(history.happenings.iter().any(|entry| entry.text.starts_with(&text)).then_some(()))
        })
    };
    // Started anew at once it goes on with its lease, or another has taken its place: it has gone, either way.
    let mut times = 0;
    while !runtime()?
        .block_on(nodes[other].control().history())?
        .happenings
        .iter()
        .any(|entry| entry.text.starts_with(&format!("{name} was banned for a while")))
    {
        times += 1;
        ensure!(times < 20, "it is never banned:\n{}", nodes[other].log()?);
        nodes[victim].kill()?;
        nodes[victim].start()?;
        wait_for_followers(&nodes)?;
        commit(&nodes, 10 + times, 2)?;
    }
    says(&nodes, format!("{name} was banned for a while: it has come and gone"))?;
    let status = nodes[other].status()?;
    let row = status.view.context("a cluster")?.nodes.into_iter().find(|node| node.name == name);
    ensure!(row.context("it belongs")?.suspended, "the status says so");
    says(&nodes, format!("the ban of {name}, which had come and gone, has ended"))?;
    wait_for_followers(&nodes)?;
    stop_with_the_same_history(&mut nodes)
}
