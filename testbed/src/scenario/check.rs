use super::language::{Condition, Scenario, Step, Who};

/// Whether everything that is spoken of is there by then: else the line, and what is wrong with it.
pub(super) fn check(scenario: &Scenario) -> Result<(), (usize, String)> {
    let (mut had_primary, mut had_replica) = (false, false);
    for line in &scenario.steps {
        let wrong = |what: &str| Err((line.number, what.to_owned()));
        let (who, condition) = (line.what.who(), line.what.condition());
        let asks_for_another = matches!(condition, Some(Condition::AnotherPrimary));
        if !had_primary && (asks_for_another || who.contains(&&Who::OldPrimary)) {
            return wrong("no step before this one does anything to the primary: which is the old one?");
        }
        if !had_replica && who.contains(&&Who::ThatReplica) {
            return wrong("no step before this one does anything to \"a replica\": which one is that?");
        }
        if matches!(line.what, Step::Throughout(_, Condition::EveryClientWrites)) {
            return wrong(
                "clients write now and then, and not all the while: wait until every client writes",
            );
        }
        let is_for_rust = matches!(condition, Some(Condition::NoClientWrites | Condition::CommitsAreRefused));
        if is_for_rust && scenario.clients.are_stock {
            return wrong("stock clients do not tell when they cannot write: this is for others");
        }
        had_primary |= condition.is_none() && who.contains(&&Who::Primary);
        had_primary |= matches!(line.what, Step::Switchover(_));
        had_replica |= who.contains(&&Who::SomeReplica);
    }
    Ok(())
}

impl Step {
    /// Whom it speaks of.
    pub fn who(&self) -> Vec<&Who> {
        match self {
            Self::Kill(who)
            | Self::Stop(who)
            | Self::Start(who)
            | Self::Restart(who)
            | Self::Freeze(who)
            | Self::Thaw(who)
            | Self::FillDisk(who)
            | Self::FreeDisk(who)
            | Self::BreakDisk(who)
            | Self::MendDisk(who)
            | Self::SetClock(who, _)
            | Self::Quiet(who)
            | Self::Wake(who) => who.iter().collect(),
            Self::CutOff(cut) => cut.who.iter().collect(),
            Self::Switchover(to) => to.iter().collect(),
            Self::WaitUntil(condition, _) | Self::Throughout(_, condition) => match condition {
                Condition::IsPrimary(who, _)
                | Condition::IsMissed(who)
                | Condition::ClockIsOff(who)
                | Condition::DiskHasFailed(who) => vec![who],
                _ => Vec::new(),
            },
            Self::Heal | Self::Wait(_) | Self::WaitUpTo(_) => Vec::new(),
        }
    }

    fn condition(&self) -> Option<&Condition> {
        match self {
            Self::WaitUntil(condition, _) | Self::Throughout(_, condition) => Some(condition),
            _ => None,
        }
    }
}
