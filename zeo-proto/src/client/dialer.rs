use std::collections::BTreeMap;
use std::time::Duration;

use super::backoff::part_of;
use super::{Address, Backoff, View};

/// What a client wants of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// To read and to write: the server must be the primary.
    #[default]
    ReadWrite,
    /// To read only: any server will do, and one that is not the primary is preferred.
    ReadOnly,
}

/// First attempts after a loss are spread over so long.
const SPREAD: Duration = Duration::from_millis(250);
/// So much later than the best addresses the next best ones are dialled.
const HEAD_START: Duration = Duration::from_millis(300);

/// Decides which addresses a client without a connection dials, and when. It knows no clock: every moment is the time
/// since one that the caller has chosen.
///
/// All addresses are dialled until one lets the client in, those first that are likely to. A client that writes waits at the
/// door of every node that may become the primary: the one that it has just lost is the least likely to let it in. One that
/// only reads leaves the primary alone, if it can. There is one attempt at a time for each.
#[derive(Clone, Debug)]
pub struct Dialer {
    configured: Vec<Address>,
    access: Access,
    backoff: Backoff,
    view: Option<View>,
    targets: BTreeMap<Address, Target>,
}

#[derive(Clone, Debug)]
struct Target {
    due: Duration,
    failures: u32,
    dialling: bool,
}

impl Dialer {
    /// A dialer that knows these addresses and nothing else.
    pub fn new(configured: Vec<Address>, access: Access, backoff: Backoff) -> Self {
        Self { configured, access, backoff, view: None, targets: BTreeMap::new() }
    }

    /// What is known of the cluster.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Takes note of the cluster, unless this is older than what is known.
    pub fn see(&mut self, view: View) {
        if self.view.as_ref().is_none_or(|older| view.replaces(older)) {
            self.view = Some(view);
        }
    }

    /// The client has no connection, from `now` on. `random` gives numbers that are evenly distributed.
    pub fn begin(&mut self, now: Duration, mut random: impl FnMut() -> u64) {
        let ranked = self.ranked();
        self.targets = ranked
            .into_iter()
            .map(|(address, rank)| {
                let due = now + HEAD_START * rank + part_of(SPREAD, random());
                (address, Target { due, failures: 0, dialling: false })
            })
            .collect();
    }

    /// The addresses that are to be dialled at `now`. Of each the outcome must be told before it comes again.
    pub fn due(&mut self, now: Duration) -> Vec<Address> {
        let mut due = Vec::new();
        for (address, target) in &mut self.targets {
            if !target.dialling && target.due <= now {
                target.dialling = true;
                due.push(address.clone());
            }
        }
        due
    }

    /// When the next address is due, if none is before.
    pub fn next_due(&self) -> Option<Duration> {
        self.targets.values().filter(|target| !target.dialling).map(|target| target.due).min()
    }

    /// An address could not be reached, or did not let the client in.
    pub fn failed(&mut self, address: &Address, now: Duration, random: u64) {
        if let Some(target) = self.targets.get_mut(address) {
            target.failures += 1;
            target.due = now + self.backoff.wait(target.failures, random);
            target.dialling = false;
        }
    }

    /// Every address, with 0 for the best ones.
    fn ranked(&self) -> BTreeMap<Address, u32> {
        let mut ranked = BTreeMap::new();
        let Some(view) = &self.view else {
            return self.configured.iter().map(|address| (address.clone(), 0)).collect();
        };
        for node in &view.nodes {
            let (address, best) = match self.access {
                Access::ReadWrite => (&node.zeo, true),
                Access::ReadOnly => (&node.zeo_ro, view.primary.as_ref() != Some(&node.name)),
            };
            let rank = if !node.alive { 2 } else { u32::from(!best) };
            if let Some(address) = address {
                ranked.insert(address.clone(), rank);
            }
        }
        // The cluster may be known under other addresses here than there.
        for address in &self.configured {
            ranked.entry(address.clone()).or_insert(1);
        }
        ranked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::view::Node;
    use super::*;

    fn node(name: &str, alive: bool) -> Node {
        let address = |kind: &str| Some(Address::from(&*format!("{name}-{kind}:1")));
        Node { name: name.into(), group: "g".into(), alive, zeo: address("rw"), zeo_ro: address("ro") }
    }

    fn view(epoch: i64, primary: Option<&str>, nodes: Vec<Node>) -> View {
        View { cluster: "c".into(), epoch, primary: primary.map(str::to_owned), nodes }
    }

    #[test]
    fn without_a_view_every_configured_address_is_dialled_at_once() {
        let mut dialer = Dialer::new(vec!["a:1".into(), "b:1".into()], Access::ReadWrite, Backoff::default());
        dialer.begin(Duration::ZERO, || u64::MAX);
        assert_eq!(dialer.due(Duration::ZERO), []);
        assert_eq!(dialer.due(SPREAD), [Address::from("a:1"), "b:1".into()]);
        assert_eq!(dialer.due(SPREAD), [], "one attempt at a time");
        assert_eq!(dialer.next_due(), None);
    }

    #[test]
    fn all_that_live_are_dialled_at_once_to_write_and_the_primary_late_to_read() {
        let nodes = vec![node("a", false), node("b", true), node("c", true)];
        for (access, at_once, later, last) in [
            (Access::ReadWrite, vec!["b-rw:1", "c-rw:1"], vec!["own:1"], vec!["a-rw:1"]),
            (Access::ReadOnly, vec!["c-ro:1"], vec!["b-ro:1", "own:1"], vec!["a-ro:1"]),
        ] {
            let mut dialer = Dialer::new(vec!["own:1".into()], access, Backoff::default());
            dialer.see(view(1, Some("b"), nodes.clone()));
            dialer.begin(Duration::ZERO, || 0);
            for (wait, expected) in [(0, at_once), (1, later), (2, last)] {
                let due: Vec<String> = dialer.due(HEAD_START * wait).iter().map(Address::to_string).collect();
                assert_eq!(due, expected, "{access:?}");
            }
        }
    }

    #[test]
    fn an_older_view_is_not_believed() {
        let mut dialer = Dialer::new(vec![], Access::ReadWrite, Backoff::default());
        dialer.see(view(2, Some("b"), vec![node("a", true)]));
        dialer.see(view(1, Some("a"), vec![node("b", true)]));
        dialer.begin(Duration::ZERO, || 0);
        assert_eq!(dialer.due(Duration::ZERO), [Address::from("a-rw:1")]);
    }

    proptest! {
        #[test]
        fn an_address_that_fails_is_dialled_again_later_each_time_and_always_again(
            randoms in prop::collection::vec(any::<u64>(), 1..20),
        ) {
            let backoff = Backoff::default();
            let mut dialer = Dialer::new(vec!["a:1".into()], Access::ReadWrite, backoff);
            dialer.begin(Duration::ZERO, || 0);
            for random in randoms {
                let now = dialer.next_due().expect("it is dialled again");
                let due = dialer.due(now);
                prop_assert_eq!(&due, &[Address::from("a:1")]);
                dialer.failed(&due[0], now, random);
                let wait = dialer.next_due().expect("it is dialled again") - now;
                prop_assert!(wait >= backoff.first / 2 && wait <= backoff.longest, "{:?}", wait);
            }
        }
    }
}
