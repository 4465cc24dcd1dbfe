use std::time::Duration;

use super::{NodeConfig, Role, Secret, parse};
use crate::listener::ListenAddress;
use crate::replication::message::Recovery;
use crate::replication::run::Compression;
use crate::service::acks::{AckOptions, OnAckTimeout};

const PRIMARY: &str = r#"
[cluster]
name = "plone"
secret = "0123456789abcdef"

[node]
name = "a"
role = "primary"

[listen]
zeo = "127.0.0.1:8100"
peer = "127.0.0.1:8200"

[[storage]]
path = "var/Data.fs"
blobs = "var/blobs"
"#;

fn read(text: &str) -> Result<NodeConfig, Vec<String>> {
    read_with(text, &[])
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<NodeConfig, Vec<String>> {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    parse("node.toml", text, &variables).map_err(|mistakes| {
        mistakes.0.into_iter().map(|mistake| format!("{}: {}", mistake.place, mistake.text)).collect()
    })
}

#[test]
fn a_primary_needs_little() {
    let config = read(PRIMARY).expect("it is right");
    assert_eq!((config.node.name.as_str(), config.node.role), ("a", Role::Primary));
    assert_eq!(config.listen.zeo, Some(ListenAddress::Tcp("127.0.0.1:8100".into())));
    assert_eq!(config.storages[0].name, "1");
    assert_eq!(config.replication.acks, AckOptions::default());
    assert!(config.node.electable && config.node.voter);
}

#[test]
fn acknowledgements_are_asked_for_with_a_limit_and_what_happens_then() {
    let acks =
        |text: &str| read(&format!("{PRIMARY}[replication]\n{text}")).map(|config| config.replication.acks);
    let options = |needed, seconds, on_timeout| {
        Ok(AckOptions { needed, timeout: Duration::from_secs(seconds), on_timeout })
    };
    assert_eq!(acks("acks = 0\non_ack_timeout = \"continue\""), options(0, 5, OnAckTimeout::Continue));
    assert_eq!(acks("acks = 1"), options(1, 5, OnAckTimeout::Wait));
    let all = "acks = 2\nack_timeout = \"3s\"\non_ack_timeout = \"continue\"";
    assert_eq!(acks(all), options(2, 3, OnAckTimeout::Continue));
    let told = acks("acks = 17").expect_err("too many").join("");
    assert!(told.contains("expected a whole number up to 16"), "{told}");
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = r#"
[node]
name = "a b"
role = "boss"
colour = "red"

[listen]
zeo = "localhost"
peer = "unix:/run/peer"

[replication]
acks = -1
ack_timeout = 5

[nodes]

[[storage]]
name = "1"
"#;
    let mistakes = read(text).expect_err("it is wrong");
    let expected = [
        "node.toml:3:8: `name`: expected up to 64 letters, digits, `-`, `_` and `.`, not \"a b\"",
        "node.toml:4:8: `role`: expected \"primary\", \"replica\", \"auto\" or \"witness\", not \"boss\"",
        "node.toml:5:1: `colour` is not a key of [node]",
        "node.toml:7:1: a node needs at least one of `zeo`, `zeo_ro` and `peer` in [listen]",
        "node.toml:8:7: `zeo`: expected HOST:PORT or unix:PATH, with a port from 0 to 65535, not \"localhost\"",
        "node.toml:9:8: `peer`: expected HOST:PORT: other machines must reach it",
        "node.toml:12:8: `acks`: expected a whole number from 0",
        "node.toml:13:15: `ack_timeout`: expected a time with its unit, such as \"250ms\", \"5s\", \"10min\", \"1h\" \
         or \"1d\"",
        "node.toml:15:2: `nodes` is not a section of a node's configuration",
        "node.toml:17:1: [storage] needs `path`",
    ];
    for expected in expected {
        assert!(mistakes.iter().any(|mistake| mistake == expected), "{expected}\nis not in\n{mistakes:#?}");
    }
}

#[test]
fn text_that_is_not_toml_is_told_with_its_place() {
    let mistakes = read("[node\nname = \"a\"\nrole = \n").expect_err("it is wrong");
    assert!(mistakes.iter().any(|mistake| mistake.starts_with("node.toml:1:")), "{mistakes:?}");
    assert!(mistakes.iter().any(|mistake| mistake.starts_with("node.toml:3:")), "{mistakes:?}");
}

#[test]
fn a_replica_says_whom_it_follows() {
    let replica = PRIMARY.replace("\"primary\"", "\"replica\"");
    let mistakes = read(&replica).expect_err("it follows nobody");
    assert_eq!(mistakes, ["node.toml:8:8: a replica needs a section [upstream] with its `addresses`"]);
    let upstream = "[upstream]\naddresses = [\"10.0.0.1:8200\", \"b:8200\"]\nrecovery = \"fast\"\ncompression = \"zstd\"\n";
    let config = read(&(replica + upstream)).expect("it is right");
    let upstream = config.upstream.expect("it follows");
    assert_eq!((upstream.addresses.len(), upstream.recovery), (2, Recovery::Fast));
    assert_eq!(upstream.compression, Compression::Zstd);
}

#[test]
fn a_node_whose_upstream_is_decided_says_how_that_compresses() {
    let peer = "peer = \"127.0.0.1:8200\"";
    assert!(PRIMARY.contains(peer));
    let auto = PRIMARY.replace("\"primary\"", "\"auto\"");
    assert_eq!(read(&auto).expect("it is right").replication.compression, None);
    let compression = "[replication]\ncompression = \"zstd\"\n";
    let config = read(&format!("{auto}{compression}")).expect("it is right");
    assert_eq!(config.replication.compression, Some(Compression::Zstd));
    let misplaced = read(&format!("{PRIMARY}{compression}")).expect_err("it follows nobody").join("\n");
    assert!(misplaced.contains("what a replica follows has it in [upstream]"), "{misplaced}");
}

#[test]
fn a_node_that_would_follow_itself_is_refused() {
    let replica =
        PRIMARY.replace("\"primary\"", "\"replica\"").replace("[listen]", "[listen]\npeer = \"c:8200\"");
    let mistakes = read(&format!("{replica}[upstream]\naddresses = [\"b:8200\", \"c:8200\"]\n"));
    let mistakes = mistakes.expect_err("it is wrong").join("\n");
    assert!(mistakes.contains("this node would follow itself"), "{mistakes}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let add = |text: &str| read(&format!("{PRIMARY}{text}")).expect_err("it is wrong").join("\n");
    assert!(add("[upstream]\naddresses = [\"b:1\"]\n").contains("a primary follows nobody"));
    assert!(add("[[storage]]\npath = \"x\"\n").contains("two storages are called \"1\""));
    let twins = add("[[storage]]\nname = \"2\"\npath = \"var/Data.fs\"\nblobs = \"var/blobs\"\n");
    assert!(twins.contains("two storages are in var/Data.fs"), "{twins}");
    assert!(twins.contains("share a blob directory"), "{twins}");
    let deaf = format!("{PRIMARY}[replication]\nacks = 1\n").replace("peer = ", "zeo_ro = ");
    assert!(read(&deaf).expect_err("nobody comes").join("").contains("nobody can acknowledge"));
    let same = PRIMARY.replace("127.0.0.1:8200", "127.0.0.1:8100");
    assert!(read(&same).expect_err("taken").join("").contains("`peer` and `zeo` are both 127.0.0.1:8100"));
    let alone = PRIMARY.replace("secret = \"0123456789abcdef\"", "");
    assert!(read(&alone).expect_err("no secret").join("").contains("needs [cluster]"));
    let short = PRIMARY.replace("0123456789abcdef", "short");
    let told = read(&short).expect_err("short").join("");
    assert!(told.contains("shorter than 16 bytes") && !told.contains("\"short\""), "{told}");
}

#[test]
fn variables_go_before_the_file_and_are_named_in_mistakes() {
    let config = read_with(
        PRIMARY,
        &[
            ("STANDBY__NODE__NAME", "b"),
            ("STANDBY__NODE__PRIORITY", "2"),
            ("STANDBY__REPLICATION__CATCH_UP_LIMIT", "250ms"),
            ("STANDBY__STORAGE__0__PATH", "/data/Data.fs"),
            ("STANDBY__CLUSTER__SECRET", "another secret of ours"),
        ],
    )
    .expect("it is right");
    assert_eq!((config.node.name.as_str(), config.node.priority), ("b", 2));
    assert_eq!(config.replication.catch_up_limit, Duration::from_millis(250));
    assert_eq!(config.storages[0].path.to_str(), Some("/data/Data.fs"));
    assert_eq!(config.cluster.secret, Secret::Bytes(b"another secret of ours".to_vec()));
    assert!(!format!("{config:?}").contains("another secret"));

    let wrong = [("STANDBY__NODE__ROLE", "king"), ("STANDBY__STORAGE__7__PATH", "x"), ("STANDBY__X", "y")];
    let mistakes = read_with(PRIMARY, &wrong).expect_err("they are wrong").join("\n");
    assert!(mistakes.contains("STANDBY__NODE__ROLE: `role`: expected"), "{mistakes}");
    assert!(mistakes.contains("STANDBY__STORAGE__7__PATH: the file has no [[storage]]"), "{mistakes}");
    assert!(mistakes.contains("STANDBY__X: expected STANDBY__SECTION__KEY"), "{mistakes}");
}

#[test]
fn the_examples_are_right() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).expect("there are examples") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let read = parse(&path.display().to_string(), &text, &[]);
            assert!(read.is_ok(), "{}", read.expect_err("it is wrong"));
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[test]
fn the_reference_has_every_key() {
    let reference = include_str!("../../../docs/configuration.md");
    let keys = [
        "name",
        "secret_file",
        "secret",
        "group",
        "role",
        "electable",
        "voter",
        "priority",
        "zeo",
        "zeo_ro",
        "peer",
        "admin",
        "addresses",
        "recovery",
        "compression",
        "acks",
        "ack_timeout",
        "on_ack_timeout",
        "follow_pack",
        "catch_up_limit",
        "encoding",
        "transaction_timeout",
        "invalidation_queue_size",
        "invalidation_age",
        "certificate",
        "key",
        "client_ca",
        "admin",
        "token_file",
        "token",
        "open_metrics",
        "connections",
        "message",
        "parked",
        "path",
        "blobs",
        "pack_gc",
        "pack_keep_old",
    ];
    for key in keys {
        assert!(reference.contains(&format!("| `{key}` |")), "`{key}` is not in docs/configuration.md");
    }
}

const TCP_ADMIN: &str = "admin = [\"unix:/run/standby/admin.sock\", \"0.0.0.0:8300\"]\n";

/// A primary whose `[listen]` and `[admin]` say more.
fn with_admin(listen: &str, admin: &str) -> String {
    PRIMARY.replace("[listen]\n", &format!("[admin]\n{admin}\n[listen]\n{listen}\n"))
}

#[test]
fn the_control_api_listens_at_one_address_or_several() {
    let admin = |listen: &str| {
        let config = read(&with_admin(listen, "token = \"sixteen bytes or more\"")).expect("it is right");
        config.listen.admin.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(admin("").is_empty());
    assert_eq!(admin("admin = \"unix:/run/a\""), ["unix:/run/a"]);
    assert_eq!(admin(TCP_ADMIN), ["unix:/run/standby/admin.sock", "0.0.0.0:8300"]);
    let mistakes = read(&with_admin("admin = [\"127.0.0.1:8100\", 7]", "")).expect_err("7 is no address");
    assert!(mistakes[0].contains("`admin`: expected a text"), "{mistakes:?}");
    let twice = with_admin(
        "admin = [\"unix:/a\", \"unix:/a\", \"127.0.0.1:8200\"]",
        "token = \"sixteen bytes or more\"",
    );
    let mistakes = read(&twice).expect_err("taken").join("\n");
    assert!(mistakes.contains("`admin` and `admin` are both unix:/a"), "{mistakes}");
    assert!(mistakes.contains("`admin` and `peer` are both 127.0.0.1:8200"), "{mistakes}");
}

#[test]
fn over_tcp_an_operator_must_have_something_to_prove() {
    let text = with_admin(TCP_ADMIN, "certificate = \"node.pem\"");
    let mistakes = read(&text).expect_err("anybody could come");
    let line = text.lines().position(|line| line.starts_with("admin")).expect("it is there") + 1;
    assert_eq!(
        mistakes,
        [format!(
            "node.toml:{line}:9: over TCP the control API needs to know its operator: give `token_file`, or `client_ca`, in [admin]"
        )]
    );
    for admin in [
        "token = \"sixteen bytes or more\"",
        "token_file = \"token\"",
        "certificate = \"node.pem\"\nclient_ca = \"ca.pem\"",
    ] {
        assert!(read(&with_admin(TCP_ADMIN, admin)).is_ok(), "{admin}");
    }
    let variable = [("STANDBY__ADMIN__TOKEN", "sixteen bytes or more")];
    let config = read_with(&with_admin(TCP_ADMIN, ""), &variable).expect("the environment gives it");
    assert_eq!(config.admin.token, Secret::Bytes(b"sixteen bytes or more".to_vec()));
}

#[test]
fn what_does_not_fit_together_in_admin_is_told() {
    let told = |admin: &str| read(&with_admin("", admin)).expect_err("it is wrong").join("\n");
    assert!(told("token = \"short\"").contains("`token` is shorter than 16 bytes"));
    assert!(told("token = \"sixteen bytes or more\"\ntoken_file = \"f\"").contains("not both"));
    assert!(told("key = \"k\"").contains("`key` is of no use without `certificate`"));
    assert!(told("client_ca = \"k\"").contains("`client_ca` is of no use without `certificate`"));
    assert!(told("open_metrics = 1").contains("expected true or false"));
}

#[test]
fn a_token_that_passes_a_network_in_the_clear_is_warned_of() {
    let token = "token = \"sixteen bytes or more\"";
    let warnings = |address: &str, admin: &str| {
        let listen = format!("admin = \"{address}\"");
        read(&with_admin(&listen, admin)).expect("it is right").warnings()
    };
    for address in ["127.0.0.1:8300", "[::1]:8300", "localhost:8300", "unix:/run/a"] {
        assert!(warnings(address, token).is_empty(), "{address}");
    }
    for address in ["0.0.0.0:8300", "[::]:8300", "10.0.0.1:8300", "a.example.org:8300"] {
        let told = warnings(address, token);
        assert!(told.len() == 1 && told[0].contains(address), "{told:?}");
        assert!(warnings(address, &format!("{token}\ncertificate = \"node.pem\"")).is_empty());
    }
}

#[test]
fn a_token_is_read_from_a_file_that_only_its_owner_may_read() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let (config, token) = (folder.path().join("node.toml"), folder.path().join("token"));
    std::fs::write(&config, with_admin(TCP_ADMIN, "token_file = \"token\""))?;
    let told = || super::load(&config).map(|config| config.admin.token).map_err(|error| format!("{error:#}"));
    assert!(told().expect_err("there is none").contains("cannot read the token"));
    std::fs::write(&token, "sixteen bytes or more\n")?;
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o640))?;
    assert!(told().expect_err("the group may read it").contains("chmod 600"));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600))?;
    assert_eq!(told(), Ok(Secret::Bytes(b"sixteen bytes or more".to_vec())));
    std::fs::write(&token, "too short\n")?;
    assert!(told().expect_err("it is short").contains("shorter than 16 bytes"));
    Ok(())
}
