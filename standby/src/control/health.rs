//! Health by role, for load balancers: `GET`, `HEAD` or `OPTIONS`, 200 or 503, and a line that says why.
//!
//! Nothing here waits: what is asked for is in memory.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Subject;
use super::refusal::Refusal;
use crate::door::Readiness;
use crate::node::Part;
use crate::span;

/// An upstream says every second how far it is. When it has not for so long, what is missing is not known any more.
const SILENT: Duration = Duration::from_secs(4);

const PATHS: [&str; 5] = ["/live", "/ready", "/primary", "/replica", "/read-only"];

/// Whether this is a path of health.
pub(super) fn is_health(path: &str) -> bool {
    PATHS.contains(&path)
}

pub(super) fn router() -> Router<Arc<Subject>> {
    PATHS.iter().fold(Router::new(), |router, path| router.route(path, get(answer).options(answer)))
}

/// What a load balancer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Does the process answer?
    Live,
    /// Does it do what it is there for?
    Ready,
    /// Are read-write clients served?
    Primary,
    /// Are read-only clients served, by a replica?
    Replica { max_lag: Option<Duration> },
    /// Are read-only clients served?
    ReadOnly { max_lag: Option<Duration> },
}

impl Question {
    /// Of this path, with what stands behind its question mark.
    fn parse(path: &str, query: Option<&str>) -> Result<Self, String> {
        let mut max_lag = None;
        for parameter in query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("max_lag", text)) if max_lag.is_none() => {
                    let lag = span::parse(text);
                    max_lag = Some(lag.ok_or("expected max_lag=TIME, such as 500ms, 10s or 1min")?);
                }
                Some(("max_lag", _)) => return Err("max_lag is given twice".to_owned()),
                _ => return Err(format!("unknown parameter {parameter:?}: there is max_lag")),
            }
        }
        match (path, max_lag) {
            ("/replica", max_lag) => Ok(Self::Replica { max_lag }),
            ("/read-only", max_lag) => Ok(Self::ReadOnly { max_lag }),
            (_, Some(_)) => Err(format!("{path} takes no max_lag")),
            ("/primary", None) => Ok(Self::Primary),
            ("/ready", None) => Ok(Self::Ready),
            _ => Ok(Self::Live),
        }
    }
}

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vitals {
    /// What it does.
    part: Part,
    /// It knows who the primary is, or was last.
    knows_primary: bool,
    /// Its lease holds, or it needs none.
    may_commit: bool,
    /// Whether read-write clients are let in; `None`: nowhere.
    read_write: Option<Readiness>,
    /// Whether read-only clients are let in; `None`: nowhere.
    read_only: Option<Readiness>,
    /// Of all its copies, how the least ready is.
    copies: Readiness,
    /// Nothing more is committed, until a restart.
    failed: bool,
    /// No more than this may be missing; `None`: that is not known.
    lag: Option<Duration>,
}

impl Vitals {
    /// Of this node, now.
    pub(super) fn of(subject: &Subject) -> Self {
        let part = *subject.part.borrow();
        let may_commit = subject.lease.as_ref().is_none_or(|lease| lease.holds());
        let lags = subject.copies.values().map(|copy| {
            let heard = copy.heard().at.map(|at| at.elapsed());
            known_lag(copy.behind(copy.service().publications().last_tid()), heard)
        });
        let lag = match part {
            Part::Primary => may_commit.then_some(Duration::ZERO),
            Part::Undecided | Part::Witness => None,
            Part::Replica => lags.max_by_key(|lag| lag.unwrap_or(Duration::MAX)).flatten(),
        };
        Self {
            part,
            knows_primary: subject
                .decisions
                .as_ref()
                .is_some_and(|decisions| decisions.known().borrow().decided.reign().is_some()),
            may_commit,
            read_write: subject.doors.read_write.as_ref().map(|door| door.readiness()),
            read_only: subject.doors.read_only.as_ref().map(|door| door.readiness()),
            copies: crate::node::readiness_of_all(&subject.copies),
            failed: subject.copies.values().any(|copy| copy.service().storage().failure().is_some()),
            lag,
        }
    }

    /// What is so, or what is in the way.
    fn answer(&self, question: Question) -> Result<&'static str, String> {
        match question {
            Question::Live => Ok("it answers"),
            Question::Ready => self.ready(),
            Question::Primary => self.writes(),
            Question::Replica { max_lag } if self.part == Part::Replica => {
                self.reads(max_lag).map(|()| "a replica that serves read-only clients")
            }
            Question::Replica { .. } => Err(format!("it is no replica: {}", self.part_text())),
            Question::ReadOnly { max_lag } => self.reads(max_lag).map(|()| "it serves read-only clients"),
        }
    }

    /// Its lease holds, or it is the primary and needs none.
    pub(super) fn may_commit(&self) -> bool {
        self.part == Part::Primary && self.may_commit
    }

    /// Read-write clients are served.
    pub(super) fn writes(&self) -> Result<&'static str, String> {
        match self.read_write {
            _ if self.part != Part::Primary => Err(format!("it is not the primary: {}", self.part_text())),
            _ if !self.may_commit => Err("its lease has ended".to_owned()),
            _ if self.failed => Err("its disk has failed: nothing is committed until a restart".to_owned()),
            None => Err("`zeo` listens nowhere".to_owned()),
            Some(Readiness::Open) => Ok("the primary, which serves read-write clients"),
            Some(_) => Err("it does not let read-write clients in yet".to_owned()),
        }
    }

    /// Read-only clients are served with what is not older.
    pub(super) fn reads(&self, max_lag: Option<Duration>) -> Result<(), String> {
        match self.read_only {
            None => return Err("`zeo_ro` listens nowhere".to_owned()),
            Some(Readiness::Closed) => return Err("its copy is not whole yet".to_owned()),
            Some(Readiness::Behind | Readiness::Open) => {}
        }
        match (max_lag, self.lag) {
            (None, _) => Ok(()),
            (Some(_), None) => Err("it is not known how far behind it is".to_owned()),
            (Some(max), Some(lag)) if lag > max => {
                Err(format!("it may be {:.1} s behind, which is too much", lag.as_secs_f64()))
            }
            (Some(_), Some(_)) => Ok(()),
        }
    }

    fn ready(&self) -> Result<&'static str, String> {
        if self.part == Part::Undecided {
            return Err(self.part_text().to_owned());
        }
        if self.part == Part::Witness {
            let nobody = || "a witness that knows of no primary".to_owned();
            return self.knows_primary.then_some("a witness that knows the primary").ok_or_else(nobody);
        }
        if self.part == Part::Primary && self.read_write.is_some() {
            self.writes()?;
        }
        if self.read_only.is_some() {
            self.reads(None)?;
        }
        if self.copies == Readiness::Closed {
            return Err("its copy is not whole yet".to_owned());
        }
        Ok(self.part_text())
    }

    fn part_text(&self) -> &'static str {
        match self.part {
            Part::Undecided => "it knows of no primary, or has lost its lease",
            Part::Witness => "a witness",
            Part::Primary => "the primary",
            Part::Replica => "a replica",
        }
    }
}

/// What may be missing: what is known to be; and while nothing is heard of the upstream, everything since then.
fn known_lag(behind: Duration, heard: Option<Duration>) -> Option<Duration> {
    heard.map(|heard| if heard > SILENT { behind.max(heard) } else { behind })
}

async fn answer(State(subject): State<Arc<Subject>>, uri: Uri, RawQuery(query): RawQuery) -> Response {
    let question = match Question::parse(uri.path(), query.as_deref()) {
        Ok(question) => question,
        Err(reason) => return Refusal(StatusCode::BAD_REQUEST, reason).into_response(),
    };
    let (status, text) = match Vitals::of(&subject).answer(question) {
        Ok(text) => (StatusCode::OK, format!("{text}\n")),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n")),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[cfg(test)]
#[path = "health_test.rs"]
mod tests;
