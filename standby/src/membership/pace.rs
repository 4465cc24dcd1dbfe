//! How often nodes ask each other, how long they wait, and how much they say at once.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};

use super::message::PACKET_BYTES_MAX;

/// A probe that is not answered goes through so many others; news goes to as many at a time.
const FANOUT: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// A node that is gone, and does not belong to the cluster, is forgotten after this time.
pub const FORGET_AFTER: Duration = Duration::from_secs(60);
/// A node asks another for all that it knows once in so many probes.
const PROBES_PER_CATCH_UP: u32 = 5;

/// All times, from the length of a primary's lease: a failure is noticed some two or three leases later, and in 1.5 s to
/// 12 s.
pub fn of_lease(lease: Duration) -> Config {
    let probe_period = (lease / 3).clamp(Duration::from_millis(200), Duration::from_secs(1));
    let one = NonZeroUsize::MIN;
    Config {
        probe_period,
        probe_rtt: probe_period * 2 / 5,
        num_indirect_probes: FANOUT,
        max_transmissions: transmissions(1),
        suspect_to_down_after: (lease * 2).clamp(Duration::from_secs(1), Duration::from_secs(8)),
        remove_down_after: Some(FORGET_AFTER),
        max_packet_size: NonZeroUsize::new(PACKET_BYTES_MAX).expect("there is room"),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams {
            frequency: probe_period * PROBES_PER_CATCH_UP,
            num_members: one,
        }),
        // It rests while a node knows of nobody who is there, which is when it is needed most: `Swim` calls the absent.
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams { frequency: probe_period * 2 / 5, num_members: FANOUT }),
    }
}

/// A node passes news on so often, of so many others: enough that everyone hears it with near certainty, as in SWIM, where a fifth of all datagrams is lost.
pub fn transmissions(others: usize) -> NonZeroU8 {
    let times = 5 * (others + 2).next_power_of_two().ilog2();
    u8::try_from(times).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX)
}

/// The machine wants to be asked so often.
pub fn tick(config: &Config) -> Duration {
    config.probe_rtt / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_noticed_in_a_few_seconds_whatever_the_lease() {
        for (lease_ms, seconds) in [(200, 1.6), (1_500, 4.5), (5_000, 10.5), (60_000, 10.5)] {
            let pace = of_lease(Duration::from_millis(lease_ms));
            let noticed = pace.probe_period * 2 + pace.suspect_to_down_after;
            assert!(noticed.as_secs_f64() <= seconds, "{lease_ms}: {noticed:?}");
            assert!(pace.probe_rtt * 2 <= pace.probe_period, "others have time to ask, too");
        }
    }

    #[test]
    fn the_more_nodes_there_are_the_more_often_news_is_passed_on() {
        let times = [0, 2, 6, 30, 256].map(|others| transmissions(others).get());
        assert_eq!(times, [5, 10, 15, 25, 45]);
        assert_eq!(transmissions(usize::MAX / 4), NonZeroU8::MAX);
    }
}
