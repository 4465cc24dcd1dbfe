//! What is set for the whole cluster, as the control API shows and changes it.

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Json;
use standby_control::{
    ChangeSettings, SettingChange, SettingSource, SettingStatus, SettingsAnswer, SettingsChanged,
};
use tokio::sync::oneshot;

use super::operator::{By, Change, Subjects, cluster};
use super::refusal::{Body, Refusal};
use crate::config::NodeConfig;
use crate::failover::entry::Entry;
use crate::failover::settings::{self, Definition, Setting, Settings, Value};
use crate::service::acks::OnAckTimeout;

pub(super) async fn list(State(subject): Subjects) -> Result<Json<SettingsAnswer>, Refusal> {
    let decisions = cluster(&subject)?;
    let decided = decisions.known().borrow().decided.settings().clone();
    let config = subject.config.borrow().clone();
    let settings = settings::all().iter().map(|definition| shown(definition, &decided, &config)).collect();
    Ok(Json(SettingsAnswer { settings }))
}

pub(super) async fn change(
    State(subject): Subjects,
    ConnectInfo(caller): By,
    Body(wanted): Body<ChangeSettings>,
) -> Result<Json<SettingsChanged>, Refusal> {
    let change = Change::begin(&subject, caller, &wanted)?;
    let before = change.decided.settings().clone();
    let mut after = before.clone();
    let changes: Vec<settings::Change> = wanted
        .changes
        .iter()
        .map(|SettingChange { name, value }| settings::Change { name: name.clone(), value: value.clone() })
        .collect();
    after.change(&changes).map_err(|wrong| Refusal(StatusCode::UNPROCESSABLE_ENTITY, wrong.to_string()))?;
    let replicas = change.decided.locals().count().saturating_sub(1);
    if let Some(acks) =
        after.count(Setting::Acks).filter(|_| after.get(Setting::Acks) != before.get(Setting::Acks))
        && acks as usize > replicas
    {
        return Err(Refusal::conflict(format!(
            "there are {replicas} electable replicas in the primary's group: {acks} could never acknowledge"
        )));
    }
    let config = subject.config.borrow().clone();
    let changed = difference(&before, &after, &config);
    if !wanted.dry_run && !changed.is_empty() {
        change.propose(Entry::Set { changes }).await?;
    }
    Ok(Json(SettingsChanged { changed, dry_run: wanted.dry_run }))
}

/// Has the node's file read anew.
pub(super) async fn reload(
    State(subject): Subjects,
    ConnectInfo(caller): By,
) -> Result<Json<standby_control::Reloaded>, Refusal> {
    let (outcome, told) = oneshot::channel();
    let stopping = || Refusal::conflict("the node is stopping, or starting once more");
    subject.reload.send((caller.to_string(), outcome)).await.map_err(|_| stopping())?;
    let told = told.await.map_err(|_| stopping())?;
    told.map(Json).map_err(|mistakes| {
        let reason = format!("the file is not taken over, and nothing has changed:\n{mistakes}");
        Refusal(StatusCode::UNPROCESSABLE_ENTITY, reason)
    })
}

/// What changes, as an operator sees it at a node with this file.
fn difference(
    before: &Settings,
    after: &Settings,
    config: &NodeConfig,
) -> Vec<standby_control::SettingDifference> {
    let changed = settings::all().into_iter().filter_map(|definition| {
        let decided = |settings: &Settings| settings.get(definition.setting).cloned();
        (decided(before) != decided(after)).then(|| standby_control::SettingDifference {
            name: definition.name.to_owned(),
            from: shown(&definition, before, config).value,
            to: shown(&definition, after, config).value,
            unset: decided(after).is_none(),
            acts: definition.acts.to_owned(),
        })
    });
    changed.collect()
}

fn shown(definition: &Definition, decided: &Settings, config: &NodeConfig) -> SettingStatus {
    let in_file = of_file(definition.setting, config);
    let (value, source) = match (decided.get(definition.setting), &in_file) {
        (Some(value), _) => (value.clone(), SettingSource::Decided),
        (None, Some(value)) if *value != definition.default => (value.clone(), SettingSource::File),
        (None, _) => (definition.default.clone(), SettingSource::Default),
    };
    SettingStatus {
        name: definition.name.to_owned(),
        value: value.to_string(),
        source,
        default: definition.default.to_string(),
        in_file: in_file.map(|value| value.to_string()),
        bounds: definition.kind.to_string(),
        acts: definition.acts.to_owned(),
        what: definition.what.to_owned(),
    }
}

/// What a node's file says of a setting; `None`: it cannot.
fn of_file(setting: Setting, config: &NodeConfig) -> Option<Value> {
    let replication = &config.replication;
    Some(match setting {
        Setting::Lease => Value::Time(config.cluster.lease),
        Setting::Acks => Value::Count(replication.acks.needed as u64),
        Setting::AckTimeout => Value::Time(replication.acks.timeout),
        Setting::OnAckTimeout => Value::Word(
            match replication.acks.on_timeout {
                OnAckTimeout::Wait => "wait",
                OnAckTimeout::Continue => "continue",
            }
            .to_owned(),
        ),
        Setting::CatchUpLimit => Value::Time(replication.catch_up_limit),
        Setting::FollowPack => Value::Flag(replication.follow_pack),
        Setting::MaxLagOnFailover | Setting::FlapLimit | Setting::FlapWindow | Setting::FlapBan => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_goes_before_the_file_and_that_before_the_default() {
        let text = "[node]\nname = \"a\"\nrole = \"primary\"\n[listen]\nzeo = \"127.0.0.1:0\"\n\
                    [replication]\nack_timeout = \"7s\"\n[[storage]]\npath = \"Data.fs\"\n";
        let config = crate::config::parse("a.toml", text, &[]).expect("no mistakes");
        let mut decided = Settings::default();
        let status = |decided: &Settings, name: &str| {
            let shown = shown(&settings::named(name).expect("there"), decided, &config);
            (shown.value, shown.source)
        };
        assert_eq!(status(&decided, "ack_timeout"), ("7s".into(), SettingSource::File));
        assert_eq!(status(&decided, "lease"), ("1500ms".into(), SettingSource::Default));
        for definition in settings::all() {
            let (name, value) = (definition.name.to_owned(), Some(definition.default.to_string()));
            decided.change(&[settings::Change { name, value }]).expect("a default is a value");
            assert_eq!(
                status(&decided, definition.name),
                (definition.default.to_string(), SettingSource::Decided)
            );
        }
    }
}
