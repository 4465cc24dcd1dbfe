//! Who may ask for what: the decision.
//!
//! On the local socket, the user whose process the node is, and root. Over TCP, whoever knows the token or has a certificate
//! that is trusted. Health is told to everybody: load balancers have no token.

use axum::http::StatusCode;
use ring::hmac;

use super::caller::{Caller, Identity};
use super::health;
use super::refusal::Refusal;

/// Where metrics are told.
pub(super) const METRICS: &str = "/metrics";

/// The token that opens the control API, in a form in which it can only be compared.
#[derive(Debug)]
pub(super) struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Token {
    pub(super) fn new(token: &[u8]) -> Self {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers");
        let tag = hmac::sign(&key, token);
        Self { key, tag }
    }

    /// Takes as long for any other as for this one.
    fn is(&self, presented: &[u8]) -> bool {
        hmac::verify(&self.key, presented, self.tag.as_ref()).is_ok()
    }
}

/// The rules of a node.
#[derive(Debug)]
pub(super) struct Access {
    /// What opens it over TCP.
    pub(super) token: Option<Token>,
    /// Trusted certificates do, too.
    pub(super) certificates: bool,
    /// Metrics are told to everybody.
    pub(super) open_metrics: bool,
    /// Whose process this node is.
    pub(super) owner: u32,
}

impl Access {
    /// Lets a caller in who asks for a path and says this in `Authorization`, as who they then are; or says why not.
    pub(super) fn judge(
        &self,
        caller: &Caller,
        path: &str,
        authorization: Option<&[u8]>,
    ) -> Result<Caller, Refusal> {
        if health::is_health(path) || (path == METRICS && self.open_metrics) {
            return Ok(caller.clone());
        }
        let identity = match (&caller.identity, caller.from, authorization) {
            (Identity::User(uid), ..) if *uid == self.owner || *uid == 0 => Identity::User(*uid),
            (Identity::User(uid), ..) => {
                let reason = format!("user {uid} may not: only user {} and root may", self.owner);
                return Err(Refusal(StatusCode::FORBIDDEN, reason));
            }
            (_, None, _) => {
                let reason = "the system does not say whose process this is";
                return Err(Refusal(StatusCode::FORBIDDEN, reason.to_owned()));
            }
            (Identity::Certificate(subject), ..) => Identity::Certificate(subject.clone()),
            (_, Some(_), None) => return Err(self.nothing_said()),
            (_, Some(_), Some(said)) => {
                let Some(presented) = bearer(said) else {
                    return Err(unauthorized("`Authorization` must be `Bearer TOKEN`"));
                };
                match &self.token {
                    Some(token) if token.is(presented) => Identity::Token,
                    Some(_) => return Err(unauthorized("the token is wrong")),
                    None => return Err(unauthorized("no token opens this node: a client certificate does")),
                }
            }
        };
        Ok(Caller { from: caller.from, identity })
    }

    fn nothing_said(&self) -> Refusal {
        match (&self.token, self.certificates) {
            (Some(_), false) => unauthorized("a token is needed: `Authorization: Bearer TOKEN`"),
            (Some(_), true) => {
                unauthorized("a token is needed (`Authorization: Bearer TOKEN`), or a client certificate")
            }
            (None, _) => unauthorized("a client certificate is needed"),
        }
    }
}

fn unauthorized(reason: &str) -> Refusal {
    Refusal(StatusCode::UNAUTHORIZED, reason.to_owned())
}

/// The scheme is written in any case (RFC 7235).
fn bearer(said: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = said.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"sixteen bytes or more";

    fn access() -> Access {
        Access { token: Some(Token::new(TOKEN)), certificates: true, open_metrics: false, owner: 7 }
    }

    fn local(identity: Identity) -> Caller {
        Caller { from: None, identity }
    }

    fn remote(identity: Identity) -> Caller {
        Caller { from: Some(([10, 0, 0, 1], 4711).into()), identity }
    }

    #[track_caller]
    fn refused(judged: Result<Caller, Refusal>, status: u16, reason: &str) {
        let Refusal(told, why) = judged.expect_err("it is refused");
        assert!(told.as_u16() == status && why.contains(reason), "{told} {why}");
    }

    #[test]
    fn on_the_local_socket_the_owner_and_root_are_let_in() {
        for uid in [7, 0] {
            let judged = access().judge(&local(Identity::User(uid)), "/v1/status", None);
            assert_eq!(judged.expect("let in").to_string(), format!("user {uid}"));
        }
        let other = local(Identity::User(8));
        refused(access().judge(&other, "/v1/status", None), 403, "user 8 may not");
        let with_token = Some(&b"Bearer sixteen bytes or more"[..]);
        refused(access().judge(&other, "/v1/status", with_token), 403, "user 8 may not");
        refused(access().judge(&local(Identity::Unknown), "/v1/status", with_token), 403, "does not say");
    }

    #[test]
    fn over_tcp_the_token_or_a_certificate_lets_in() {
        let unknown = remote(Identity::Unknown);
        for said in ["Bearer sixteen bytes or more", "bearer   sixteen bytes or more "] {
            let judged = access().judge(&unknown, "/v1/status", Some(said.as_bytes())).expect("let in");
            assert_eq!(judged.to_string(), "token from 10.0.0.1");
        }
        let certified = remote(Identity::Certificate("CN=alice".to_owned()));
        let judged = access().judge(&certified, "/v1/pause", None).expect("let in");
        assert_eq!(judged.to_string(), "certificate CN=alice from 10.0.0.1");
    }

    #[test]
    fn without_a_token_or_with_a_wrong_one_nobody_is_let_in_over_tcp() {
        let unknown = remote(Identity::Unknown);
        let judge = |said: Option<&str>| access().judge(&unknown, "/v1/status", said.map(str::as_bytes));
        refused(judge(None), 401, "a token is needed");
        refused(judge(Some("Bearer sixteen bytes or mora")), 401, "the token is wrong");
        refused(judge(Some("Bearer ")), 401, "the token is wrong");
        refused(judge(Some("sixteen bytes or more")), 401, "must be `Bearer");
        refused(judge(Some("Bear")), 401, "must be `Bearer");
        let certificates_only = Access { token: None, ..access() };
        let said = Some(&b"Bearer sixteen bytes or more"[..]);
        refused(certificates_only.judge(&unknown, "/v1/status", said), 401, "a client certificate does");
        refused(certificates_only.judge(&unknown, "/v1/status", None), 401, "a client certificate is needed");
    }

    #[test]
    fn health_is_told_to_everybody_and_metrics_if_the_node_says_so() {
        let unknown = remote(Identity::Unknown);
        for path in ["/live", "/ready", "/primary", "/replica", "/read-only"] {
            assert!(access().judge(&unknown, path, None).is_ok(), "{path}");
        }
        for path in ["/", "/livelier", "/v1/status", METRICS] {
            assert!(access().judge(&unknown, path, None).is_err(), "{path}");
        }
        let open = Access { open_metrics: true, ..access() };
        assert!(open.judge(&unknown, METRICS, None).is_ok());
        assert!(open.judge(&unknown, "/v1/status", None).is_err());
    }
}
