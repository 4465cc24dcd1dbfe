use super::*;

const LAG: Duration = Duration::from_secs(3);

fn primary() -> Vitals {
    Vitals {
        part: Part::Primary,
        knows_primary: true,
        may_commit: true,
        read_write: Some(Readiness::Open),
        read_only: Some(Readiness::Open),
        copies: Readiness::Open,
        failed: false,
        lag: Some(Duration::ZERO),
    }
}

fn replica() -> Vitals {
    Vitals {
        part: Part::Replica,
        may_commit: false,
        read_write: Some(Readiness::Closed),
        read_only: Some(Readiness::Behind),
        copies: Readiness::Behind,
        lag: Some(LAG),
        ..primary()
    }
}

/// Those of `/ready`, `/primary`, `/replica` and `/read-only` that are healthy.
fn healthy(vitals: &Vitals) -> Vec<&'static str> {
    assert!(vitals.answer(Question::Live).is_ok(), "whoever answers is alive");
    let is_healthy = |path: &&str| {
        let question = Question::parse(path, None).expect("a path of health");
        question != Question::Live && vitals.answer(question).is_ok()
    };
    PATHS.into_iter().filter(is_healthy).collect()
}

#[test]
fn each_url_is_healthy_where_its_clients_are_served() {
    assert_eq!(healthy(&primary()), ["/ready", "/primary", "/read-only"]);
    assert_eq!(healthy(&replica()), ["/ready", "/replica", "/read-only"]);
    let witness = Vitals {
        part: Part::Witness,
        read_write: None,
        read_only: None,
        copies: Readiness::Open,
        lag: None,
        ..replica()
    };
    assert_eq!(healthy(&witness), ["/ready"]);
}

#[test]
fn a_primary_is_healthy_only_while_it_can_commit() {
    for vitals in [
        Vitals { may_commit: false, ..primary() },
        Vitals { failed: true, ..primary() },
        Vitals { read_write: Some(Readiness::Closed), ..primary() },
    ] {
        assert_eq!(healthy(&vitals), ["/read-only"], "{vitals:?}");
    }
    let read_only = Vitals { read_write: None, ..primary() };
    assert_eq!(healthy(&read_only), ["/ready", "/read-only"], "it serves all that it is to serve");
}

#[test]
fn a_node_that_is_undecided_serves_reads_and_nothing_else() {
    let vitals = Vitals { part: Part::Undecided, lag: None, ..replica() };
    assert_eq!(healthy(&vitals), ["/read-only"]);
    let limited = Question::ReadOnly { max_lag: Some(Duration::MAX) };
    assert!(vitals.answer(limited).is_err_and(|why| why.contains("not known")));
}

#[test]
fn a_copy_that_is_not_whole_serves_nobody() {
    let vitals = Vitals { read_only: Some(Readiness::Closed), copies: Readiness::Closed, ..replica() };
    assert!(healthy(&vitals).is_empty());
    assert!(healthy(&Vitals { read_only: None, ..vitals }).is_empty());
    assert_eq!(healthy(&Vitals { read_only: None, ..replica() }), ["/ready"], "it is there for others");
}

#[test]
fn a_replica_is_healthy_up_to_the_limit_of_its_lag() {
    for (max_lag, healthy) in [(LAG, true), (LAG - Duration::from_millis(1), false)] {
        let max_lag = Some(max_lag);
        assert_eq!(replica().answer(Question::Replica { max_lag }).is_ok(), healthy);
        assert_eq!(replica().answer(Question::ReadOnly { max_lag }).is_ok(), healthy);
    }
    let max_lag = Some(Duration::ZERO);
    assert!(primary().answer(Question::ReadOnly { max_lag }).is_ok());
    let unknown = Vitals { lag: None, ..replica() };
    assert!(unknown.answer(Question::Replica { max_lag: Some(Duration::MAX) }).is_err());
}

#[test]
fn while_nothing_is_heard_everything_since_then_may_be_missing() {
    let seconds = Duration::from_secs;
    assert_eq!(known_lag(seconds(0), None), None);
    assert_eq!(known_lag(seconds(0), Some(seconds(1))), Some(seconds(0)));
    assert_eq!(known_lag(seconds(2), Some(seconds(4))), Some(seconds(2)));
    assert_eq!(known_lag(seconds(2), Some(seconds(5))), Some(seconds(5)));
    assert_eq!(known_lag(seconds(9), Some(seconds(5))), Some(seconds(9)));
}

#[test]
fn parameters_that_mean_nothing_are_refused() {
    let parse = Question::parse;
    let max_lag = Some(Duration::from_millis(1500));
    assert_eq!(parse("/replica", Some("max_lag=1500ms")), Ok(Question::Replica { max_lag }));
    assert_eq!(parse("/read-only", Some("")), Ok(Question::ReadOnly { max_lag: None }));
    for (path, query) in [
        ("/replica", "maxlag=1s"),
        ("/replica", "max_lag"),
        ("/replica", "max_lag=10"),
        ("/replica", "max_lag=1s&max_lag=2s"),
        ("/primary", "max_lag=1s"),
        ("/live", "x"),
    ] {
        assert!(parse(path, Some(query)).is_err(), "{path}?{query}");
    }
}
