use super::super::entry::Member;
use super::*;

const ME: NodeId = NodeId(1);

fn clock(millis: u64) -> Clock {
    Clock { now: Duration::from_millis(millis), wall: Tid::from_time(std::time::UNIX_EPOCH) }
}

fn tick() -> Event {
    Event::Tick { used: Ceilings::default(), confirmed: None }
}

/// A node that was promoted, and may propose leases.
fn primary() -> Failover {
    let mut decided = Decided::default();
    let member = Member { name: "a".into(), group: "here".into(), electable: true, voter: true, priority: 0 };
    decided.apply(&Entry::Join { node: ME, member });
    let after = LeaseMark::default();
    decided.apply(&Entry::Promote { node: ME, after, cause: Cause::Operator, used: None });
    let own = OwnSettings { timing: Timing::of_lease(Duration::from_secs(1)), acks: 0 };
    let (mut failover, _) = Failover::new(ME, 7, own, decided, clock(0));
    failover.handle(clock(0), Event::Prepared { epoch: 1 });
    failover
}

#[test]
fn hearing_again_of_a_lease_that_was_known_puts_its_end_off_for_nobody() {
    let mut decided = primary().decided().clone();
    let mark = LeaseMark { epoch: 1, seq: 1 };
    let (start, lease, ceilings) = (7, Duration::from_secs(1), Ceilings::default());
    let acks = Acknowledged { needed: 0, everywhere: None };
    decided.apply(&Entry::Renew { mark, start, lease, ceilings, acks });
    let own = OwnSettings { timing: Timing::of_lease(lease), acks: 0 };
    let (mut other, _) = Failover::new(NodeId(2), 8, own, decided.clone(), clock(0));
    other.handle(clock(900), Event::Caught(Box::new(decided.clone())));
    assert!(other.lease_is_over(Duration::from_millis(1_100)));
    let (mark, lease) = (LeaseMark { epoch: 1, seq: 2 }, Duration::from_secs(1));
    decided.apply(&Entry::Renew { mark, start, lease, ceilings, acks });
    other.handle(clock(1_100), Event::Caught(Box::new(decided)));
    assert!(!other.lease_is_over(Duration::from_millis(2_000)), "that is another");
}

/// The lease among these actions, if one is proposed.
fn proposed(actions: &[Action]) -> Option<Entry> {
    actions.iter().find_map(|action| match action {
        Action::Propose(entry @ Entry::Renew { .. }) => Some(entry.clone()),
        _ => None,
    })
}

#[test]
fn what_a_primary_has_proposed_it_knows_also_after_it_has_caught_up() {
    let mut failover = primary();
    let first = match &failover.role {
        Role::Primary(leader) => leader.proposed.keys().copied().collect::<Vec<_>>(),
        role => panic!("{role:?}"),
    };
    assert_eq!(first, [1], "proposed when it was prepared, at 0");
    let mark = LeaseMark { epoch: 1, seq: 1 };
    let (start, lease, ceilings) = (7, Duration::from_secs(1), Ceilings::default());
    let acks = Acknowledged { needed: 0, everywhere: None };
    let renew = Entry::Renew { mark, start, lease, ceilings, acks };

    // It hears, all at once, what it knows already; what it has proposed is decided only then.
    let caught = Event::Caught(Box::new(failover.decided().clone()));
    assert_eq!(proposed(&failover.handle(clock(100), caught)), None);
    let again = proposed(&failover.handle(clock(400), tick()));
    assert!(
        matches!(again, Some(Entry::Renew { mark: LeaseMark { seq: 2, .. }, .. })),
        "no number is used twice: {again:?}"
    );
    failover.handle(clock(500), Event::Decided(renew.clone()));
    assert_eq!(failover.lease_until(), Some(Duration::from_secs(1)), "it began when it was proposed");

    // The same where the lease comes with what it has caught up with.
    let mut other = primary();
    let mut decided = other.decided().clone();
    assert_eq!(decided.apply(&renew), Effect::Renewed);
    other.handle(clock(500), Event::Caught(Box::new(decided)));
    assert_eq!(other.lease_until(), Some(Duration::from_secs(1)));
    assert!(other.may_commit(Duration::from_millis(999)) && !other.may_commit(Duration::from_secs(1)));
}

#[test]
fn a_primary_whose_disk_fails_gives_its_lease_back_and_takes_part_in_looking_for_another() {
    let mut failover = primary();
    let lease = proposed(&failover.handle(clock(400), tick())).expect("a lease");
    failover.handle(clock(410), Event::Decided(lease));
    failover.handle(clock(420), Event::Begun { epoch: 1 });
    assert!(failover.may_commit(Duration::from_millis(430)));
    let actions = failover.handle(clock(430), Event::DiskFailed);
    let mark = LeaseMark { epoch: 1, seq: 2 };
    let release = Entry::Release { mark, start: 7 };
    assert_eq!(actions, [Action::Close, Action::Propose(release.clone())]);
    assert!(!failover.may_commit(Duration::from_millis(430)));
    assert_eq!(failover.handle(clock(440), Event::DiskFailed), [], "it has done so");
    assert_eq!(failover.handle(clock(450), tick()), [], "others may not know yet that the lease is over");
    failover.handle(clock(460), Event::Decided(release));
    assert_eq!(failover.handle(clock(470), tick()), [Action::Ask { round: 1 }]);
    let standing = Standing {
        ready: true,
        clock_off: false,
        disk_failed: true,
        epoch: 1,
        lasts: vec![Tid::new(9)],
        known: Vec::new(),
    };
    assert_eq!(failover.handle(clock(480), Event::Answered { round: 1, node: ME, standing }), []);
    assert_eq!(failover.why_nobody(), Some(Nobody::NoCandidate), "itself it does not choose");
}
