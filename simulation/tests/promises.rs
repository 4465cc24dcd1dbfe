//! What a node must remember, from the first moment on.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use simulated_world::{Disk, fs};
use standby::{config, within};

const CONFIGURATION: &str = r#"
    [cluster]
    name = "simulated"
    secret = "known to all of its nodes"
    [node]
    name = "a"
    group = "near"
    role = "auto"
    address = "192.168.7.1:8200"
    [listen]
    zeo = "0.0.0.0:8100"
    peer = "0.0.0.0:8200"
    [[storage]]
    path = "/a/Data.fs"
"#;

#[test]
fn a_voter_that_loses_its_power_at_once_has_not_forgotten_what_it_promised() {
    let disk = Disk::at("/a");
    let address: IpAddr = Ipv4Addr::new(192, 168, 7, 1).into();
    let mut sim = turmoil::Builder::new().simulation_duration(Duration::from_secs(60)).build();
    sim.client(address, async {
        let config = config::parse("node.toml", CONFIGURATION, &[]).expect("no mistake");
        Ok(within::create_cluster(config).await?)
    });
    sim.run().expect("the cluster is made");
    drop(sim);
    // Only what was synced is there.
    disk.crash(&mut |_: u64| 0);
    disk.start();
    let control = Path::new("/a/Data.fs.control.redb");
    assert!(fs::metadata(control).is_ok_and(|found| found.len() > 0), "its vote and its log are gone");
}
