//! Who has which locks, and who is to wait for whom.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::client::Locks;
use super::steps::CLIENTS;
use super::world::{PATIENCE, World};

impl World {
    /// Whoever has been given its locks is told so, and the others wait for somebody.
    pub(super) fn check_grants(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let holders = self.site().service().lock_holders();
        for at in 0..CLIENTS {
            if self.clients[at].has_locks() {
                let owner = self.clients[at].line().owner().expect("its transaction is open");
                assert!(holders.contains(&owner), "the locks of client {at} are not known as held");
            }
            while let Some(line) = &mut self.clients[at].line
                && line.owner().is_some_and(|owner| holders.contains(&owner))
                && line.waits_for_locks()
            {
                assert!(Instant::now() < deadline, "client {at} is not told that it has its locks");
                std::thread::sleep(Duration::from_micros(50));
            }
            if self.clients[at].is_voting() && self.clients[at].line().is_idle() {
                self.check_that_it_waits_for_someone(at);
            }
        }
    }

    /// A vote that is not answered waits for a transaction of somebody else.
    pub(super) fn check_that_it_waits_for_someone(&self, at: usize) {
        let claims = |at: usize| {
            let ongoing = self.clients[at].transaction.as_ref()?;
            let before_packs = self.model.before_packs.iter().map(|history| ongoing.work.claims(history));
            let claims = before_packs.chain([ongoing.work.claims(&self.model.history)]);
            Some(claims.fold(ongoing.locks.clone(), |(mut written, mut checked), (more, also)| {
                written.extend(more);
                checked.extend(also);
                (written, checked)
            }))
        };
        // One that has not even taken its client's abort may have locks that the client knows nothing of.
        if (0..CLIENTS).any(|other| self.clients[other].line.as_ref().is_some_and(|line| !line.is_ready())) {
            return;
        }
        let (written, checked) = claims(at).expect("it votes");
        let others = (0..CLIENTS).filter(|other| *other != at);
        let others =
            others.filter(|other| self.clients[*other].is_voting() || self.clients[*other].has_locks());
        let unpublished = self.unpublished.iter().map(|(_, transaction)| transaction.locks.clone());
        let is_in_the_way =
            others.filter_map(claims).chain(unpublished).any(|(also_written, also_checked)| {
                let all = written.union(&checked).any(|oid| also_written.contains(oid));
                all || written.iter().any(|oid| also_checked.contains(oid))
            });
        assert!(is_in_the_way, "the vote of client {at} waits for nobody");
    }

    /// Nobody else has locks that cannot go with those of client `at`: to write, and to check.
    pub(super) fn check_that_nobody_is_in_the_way(&self, at: usize, (written, checked): &Locks) {
        let all: BTreeSet<_> = written.union(checked).collect();
        let held = self.clients.iter().enumerate().filter(|(_, client)| client.has_locks());
        let held = held.filter_map(|(other, client)| Some((other, &client.transaction.as_ref()?.locks)));
        let unpublished = self.unpublished.iter().map(|(_, given)| (given.client, &given.locks));
        for (other, (also_written, also_checked)) in held.chain(unpublished) {
            assert!(
                all.iter().all(|oid| !also_written.contains(oid)),
                "clients {at} and {other} have the same locks"
            );
            assert!(written.is_disjoint(also_checked), "client {at} writes what client {other} has checked");
        }
    }
}
