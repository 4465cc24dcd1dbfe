use super::Address;
use crate::Value;

/// What a server of a cluster tells its clients of it, in the answer to `get_info` and in `info` pushes, under the key
/// `standby`. The stock server tells nothing of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The cluster's name.
    pub cluster: String,
    /// The number of the primary's reign, which grows with each promotion; 0 before the first.
    pub epoch: i64,
    /// The name of the primary, if there is one.
    pub primary: Option<String>,
    /// Those that belong to the cluster.
    pub nodes: Vec<Node>,
}

/// A node, as [`View`] tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its site.
    pub group: String,
    /// Whether it is thought to be alive: not `failed`, and it has not left.
    pub alive: bool,
    /// Where read-write clients connect.
    pub zeo: Option<Address>,
    /// Where read-only clients connect.
    pub zeo_ro: Option<Address>,
}

impl View {
    /// What these data about a storage say of the cluster; `None` if nothing. Keys that are unknown are ignored, and
    /// nodes without a name left out.
    pub fn in_info(info: &Value<'_>) -> Option<Self> {
        let told = info.item("standby")?;
        let nodes = told.item("nodes").and_then(Value::as_sequence).unwrap_or_default();
        Some(Self {
            cluster: text(told, "cluster").unwrap_or_default(),
            epoch: told.item("epoch").and_then(Value::as_int).unwrap_or(0),
            primary: text(told, "primary"),
            nodes: nodes.iter().filter_map(node).collect(),
        })
    }

    /// Whether this takes the place of an older one: not what a node tells that has not heard of the newest reign.
    pub fn replaces(&self, older: &Self) -> bool {
        self.cluster != older.cluster || self.epoch >= older.epoch
    }
}

fn node(told: &Value<'_>) -> Option<Node> {
    let address = |key| text(told, key).map(|address| Address::from(&*address));
    Some(Node {
        name: text(told, "name")?,
        group: text(told, "group").unwrap_or_default(),
        alive: !matches!(text(told, "state").as_deref(), Some("failed" | "left")),
        zeo: address("zeo"),
        zeo_ro: address("zeo_ro"),
    })
}

fn text(value: &Value<'_>, key: &str) -> Option<String> {
    value.item(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict<'a>(items: Vec<(&'a str, Value<'a>)>) -> Value<'a> {
        Value::Dict(items.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    #[test]
    fn a_view_is_read_from_what_is_told_of_the_storage() {
        let node = |name, state| {
            dict(vec![
                ("name", Value::from(name)),
                ("group", "local".into()),
                ("role", "replica".into()),
                ("state", Value::from(state)),
                ("zeo", "10.0.0.1:8100".into()),
                ("zeo_ro", Value::None),
            ])
        };
        let told = dict(vec![
            ("cluster", "plone".into()),
            ("epoch", Value::Int(3)),
            ("primary", Value::None),
            ("nodes", Value::List(vec![node("a", "alive"), node("b", "failed"), Value::None])),
        ]);
        let view = View::in_info(&dict(vec![("length", Value::Int(7)), ("standby", told)]));
        let view = view.expect("a view");
        assert_eq!((&*view.cluster, view.epoch, &view.primary), ("plone", 3, &None));
        let [a, b] = &view.nodes[..] else { panic!("{view:?}") };
        assert_eq!((&*a.name, a.alive, b.alive), ("a", true, false));
        assert_eq!((&a.zeo, &a.zeo_ro), (&Some("10.0.0.1:8100".into()), &None));
        assert_eq!(View::in_info(&dict(vec![("length", Value::Int(7))])), None);
    }

    #[test]
    fn a_view_of_an_earlier_reign_replaces_none_of_the_same_cluster() {
        let view =
            |cluster: &str, epoch| View { cluster: cluster.into(), epoch, primary: None, nodes: vec![] };
        assert!(view("a", 2).replaces(&view("a", 2)) && view("a", 3).replaces(&view("a", 2)));
        assert!(!view("a", 1).replaces(&view("a", 2)));
        assert!(view("b", 1).replaces(&view("a", 2)));
    }
}
