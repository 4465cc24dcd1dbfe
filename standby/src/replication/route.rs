//! Whom a node follows, directly and further up: how loops of upstreams are found.
//!
//! A source says its route before anything flows, and whenever it changes. A sink that finds itself in it would follow
//! itself; it ends the stream, so that nothing goes round in a circle.

use std::fmt;

/// So many upstreams may lie one behind another, the primary included.
pub const UPSTREAMS_MAX: usize = 16;

/// Nodes, each of which follows the next. As far as is known: the last one is the primary, or follows nobody for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route(Vec<String>);

/// Why a node cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRoute {
    /// It would follow itself.
    #[error("a loop of upstreams: {0}")]
    Loop(String),
    /// There are too many.
    #[error("more than {UPSTREAMS_MAX} upstreams one behind another: {0}")]
    TooLong(String),
}

impl Route {
    /// These nodes, the nearest first.
    pub fn new(nodes: Vec<String>) -> Self {
        Self(nodes)
    }

    /// The nodes, the nearest first.
    pub fn nodes(&self) -> &[String] {
        &self.0
    }

    /// What those who follow `node` follow, where this is what `node` follows.
    pub fn below(&self, node: &str) -> Self {
        Self(std::iter::once(node).chain(self.0.iter().map(String::as_str)).map(str::to_owned).collect())
    }

    /// Whether `node` can follow the first of these.
    pub fn check(&self, node: &str) -> Result<(), BadRoute> {
        if let Some(at) = self.0.iter().position(|upstream| upstream == node) {
            return Err(BadRoute::Loop(Self(self.0[..=at].to_vec()).below(node).to_string()));
        }
        if self.0.len() > UPSTREAMS_MAX {
            Err(BadRoute::TooLong(self.below(node).to_string()))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" follows "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(nodes: &[&str]) -> Route {
        Route::new(nodes.iter().map(|node| (*node).to_owned()).collect())
    }

    #[test]
    fn a_node_follows_only_those_that_do_not_follow_it() {
        assert_eq!(route(&[]).check("a"), Ok(()));
        assert_eq!(route(&["b", "c"]).check("a"), Ok(()));
        let refused = route(&["b", "c", "a", "p"]).check("a").unwrap_err();
        assert_eq!(refused.to_string(), "a loop of upstreams: a follows b follows c follows a");
        let refused = route(&["a"]).check("a").unwrap_err();
        assert_eq!(refused.to_string(), "a loop of upstreams: a follows a");
    }

    #[test]
    fn what_a_node_follows_goes_on_below_it() {
        assert_eq!(route(&[]).below("p"), route(&["p"]));
        assert_eq!(route(&["b", "p"]).below("a"), route(&["a", "b", "p"]));
    }

    #[test]
    fn routes_are_bounded() {
        let nodes = |count: usize| Route::new((0..count).map(|number| number.to_string()).collect());
        assert_eq!(nodes(UPSTREAMS_MAX).check("a"), Ok(()));
        assert!(matches!(nodes(UPSTREAMS_MAX + 1).check("a"), Err(BadRoute::TooLong(_))));
    }
}
