//! What a source does about a sink, by what the two of them have.
//!
//! Within an epoch one node alone wrote. So two copies agree up to the end of their last common epoch, or as far as
//! the one goes that has less of it: the *common end*. Everything that the sink has beyond the common end is lost, if
//! the source's history went on elsewhere; what the sink has up to there, the source must have too. That is confirmed
//! by the running checksum, and where it is not, one of the two is damaged, or they were never the same: nothing is
//! overwritten then.

use replica::{Checksum, Epochs, Place};
use zeo_proto::Tid;

use super::message::{Have, Recovery};

/// What has been found out while planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The source's last transaction at or before the tid of [`Step::Look`]; inner `None`: all it has there is packed.
    pub looked: Option<Option<Place>>,
    /// The sink's checksum at the tid of [`Step::Compare`]; inner `None`: it has no transaction of that tid.
    pub compared: Option<Option<Checksum>>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look for the source's own last transaction at or before this one.
    Look(Tid),
    /// Ask the sink for its checksum at this transaction.
    Compare(Tid),
    /// Send every transaction after this one.
    Stream(Tid),
    /// Send what is current of the transactions after this one, and everything that comes later.
    Current(Tid),
    /// Tell the sink to drop everything after this transaction.
    Rewind(Tid),
    /// Tell the sink to begin anew.
    Recover,
    /// The sink is to come back later.
    Wait(String),
    /// Nothing can be done without a human being.
    Refuse(String),
}

/// What a source that has `own` does about a sink that has `sink`, wants to recover by `recovery`, and may be
/// in the middle of a fast recovery up to `recovering`.
pub fn plan(own: &Have, sink: &Have, recovery: Recovery, recovering: Option<Tid>, known: Known) -> Step {
    if sink.epochs.newest() > own.epochs.newest() {
        let (sinks, owns) = (sink.epochs.newest(), own.epochs.newest());
        return Step::Wait(format!("you are of epoch {sinks}, and this node knows only of epoch {owns}"));
    }
    if sink.is_empty() {
        return match recovery {
            Recovery::Full => Step::Stream(Tid::ZERO),
            Recovery::Fast => Step::Current(Tid::ZERO),
        };
    }
    if own.is_empty() {
        return Step::Wait("this node has nothing yet".to_owned());
    }
    if let Some(until) = recovering {
        // Its transactions are not whole, so that only the epochs can say whether they are of this history. What it
        // was sent as current was so up to `until`: a history that forked before may need what was left out.
        let is_ours = Epochs::common(&own.epochs, own.last.tid, &sink.epochs, until) >= until;
        return match recovery {
            Recovery::Fast if is_ours => Step::Current(sink.last.tid),
            // Packed meanwhile, the rest would not fit what the sink has.
            Recovery::Full if is_ours && until == own.first.tid => Step::Stream(sink.last.tid),
            _ => Step::Recover,
        };
    }
    let common = Epochs::common(&own.epochs, own.last.tid, &sink.epochs, sink.last.tid);
    if common == Tid::ZERO {
        return Step::Refuse("the two have nothing in common: not a copy of this storage".to_owned());
    }
    if common >= sink.last.tid {
        return go_on(sink.last, known);
    }
    if sink.epochs.newest() == own.epochs.newest() && own.epochs.survives(sink.last.tid) {
        let (sinks, owns) = (sink.last.tid, own.last.tid);
        return Step::Wait(format!("you have transactions up to {sinks}, and this node only up to {owns}"));
    }
    fork(common, sink, known)
}

/// The sink's end should be a place in the source's history.
fn go_on(end: Place, known: Known) -> Step {
    match known.looked {
        None => Step::Look(end.tid),
        Some(None) => Step::Recover, // the source has packed what it would have to be compared with
        Some(Some(own)) if own == end => Step::Stream(end.tid),
        Some(Some(own)) if own.tid == end.tid => Step::Refuse(format!(
            "the histories differ somewhere up to transaction {}: checksum {} here, {} there",
            end.tid, own.checksum, end.checksum
        )),
        Some(Some(_)) => {
            Step::Refuse(format!("transaction {} is unknown here: not a copy of this storage", end.tid))
        }
    }
}

/// The sink has more than is common.
fn fork(common: Tid, sink: &Have, known: Known) -> Step {
    let own = match known.looked {
        None => return Step::Look(common),
        Some(None) => return Step::Recover,
        Some(Some(own)) => own,
    };
    if own.tid < sink.first.tid {
        return Step::Recover; // the sink has packed what it would have to go back to
    }
    match known.compared {
        None => Step::Compare(own.tid),
        Some(Some(checksum)) if checksum == own.checksum => Step::Rewind(own.tid),
        Some(Some(checksum)) => Step::Refuse(format!(
            "the histories differ somewhere up to transaction {}: checksum {} here, {checksum} there",
            own.tid, own.checksum
        )),
        Some(None) => {
            Step::Refuse(format!("transaction {} is unknown there: not a copy of this storage", own.tid))
        }
    }
}

#[cfg(test)]
mod tests {
    use replica::Epoch;

    use super::*;

    fn have(last: u64, epochs: &[(u64, u64, u64)]) -> Have {
        let epoch = |&(epoch, boundary, fork): &(u64, u64, u64)| {
            let (boundary, fork) = (Tid::new(boundary), Tid::new(fork));
            Epoch { epoch, boundary, fork, node: "n".to_owned() }
        };
        let place = |tid| Place { tid: Tid::new(tid), checksum: Checksum::ZERO };
        let epochs = Epochs::new(epochs.iter().map(epoch).collect()).expect("they fit");
        Have { first: place(1), last: place(last), epochs }
    }

    fn planned(own: &Have, sink: &Have) -> Step {
        plan(own, sink, Recovery::Full, None, Known::default())
    }

    #[test]
    fn who_has_more_of_the_same_epoch_is_waited_for() {
        let epochs = [(1, 10, 0), (2, 30, 20)];
        let step = planned(&have(35, &epochs), &have(40, &epochs));
        assert!(matches!(step, Step::Wait(_)), "{step:?}");
    }

    #[test]
    fn what_lies_between_a_fork_and_its_boundary_is_lost_whoever_knows_of_them() {
        let epochs = [(1, 10, 0), (2, 30, 20)];
        let (own, sink) = (have(40, &epochs), have(25, &epochs));
        assert_eq!(planned(&own, &sink), Step::Look(Tid::new(20)), "it is to go back to the fork");
        let sink = have(25, &epochs[..1]);
        assert_eq!(planned(&own, &sink), Step::Look(Tid::new(20)), "so it is where it does not know yet");
    }
}
