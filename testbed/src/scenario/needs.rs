use std::collections::BTreeSet;

use super::language::{Scenario, Step, Who};

/// What a scenario needs of the machine beyond loopback addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A network namespace for each node and the clients.
    pub network: bool,
    /// Small disks for these nodes.
    pub disks: BTreeSet<usize>,
    /// Clocks that can be set, for all nodes.
    pub clocks: bool,
    /// Disks that can fail, for all nodes.
    pub failing_disks: bool,
}

impl Needs {
    /// What this scenario needs.
    pub fn of(scenario: &Scenario) -> Self {
        let mut needs = Self { network: !scenario.links.is_empty(), ..Self::default() };
        for line in &scenario.steps {
            match &line.what {
                Step::CutOff(_) => needs.network = true,
                Step::SetClock(..) => needs.clocks = true,
                Step::BreakDisk(_) => needs.failing_disks = true,
                Step::FillDisk(who) => {
                    for who in who {
                        match who {
                            Who::Node(node) => needs.disks.extend([*node]),
                            _ => needs.disks.extend(0..scenario.nodes.len()),
                        }
                    }
                }
                _ => {}
            }
        }
        needs
    }

    /// In words, for a list.
    pub fn told(&self) -> String {
        let needs = [
            (self.network, "network namespaces"),
            (!self.disks.is_empty(), "small disks"),
            (self.clocks || self.failing_disks, "a C compiler"),
        ];
        let told: Vec<&str> =
            needs.iter().filter(|(is_needed, _)| *is_needed).map(|(_, what)| *what).collect();
        if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
    }
}
