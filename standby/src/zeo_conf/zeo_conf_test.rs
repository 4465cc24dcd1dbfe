use std::time::Duration;

use proptest::prelude::*;

use super::test_surroundings::TestSurroundings;
use super::*;

const MINIMAL: &str =
    "<zeo>\n address localhost:8100\n</zeo>\n<filestorage>\n path Data.fs\n</filestorage>\n";

fn parsed(text: &str) -> Result<(ZeoConf, Vec<String>), Mistakes> {
    parse(Path::new("zeo.conf"), text, &TestSurroundings::default())
}

#[track_caller]
fn accepted(text: &str) -> ZeoConf {
    parsed(text).expect("it is accepted").0
}

/// The mistakes, without the file's name.
#[track_caller]
fn refused(text: &str) -> Vec<String> {
    let mistakes = parsed(text).expect_err("it is refused");
    mistakes.lines().iter().map(|line| line.strip_prefix("zeo.conf:").unwrap_or(line).to_owned()).collect()
}

/// A file with these lines in its `<zeo>` section, from line 3.
fn with_zeo(lines: &str) -> String {
    format!("<zeo>\naddress localhost:8100\n{lines}\n</zeo>\n<filestorage>\npath Data.fs\n</filestorage>\n")
}

/// A file with these lines in its `<filestorage>` section, from line 6.
fn with_storage(lines: &str) -> String {
    format!("<zeo>\naddress localhost:8100\n</zeo>\n<filestorage>\npath Data.fs\n{lines}\n</filestorage>\n")
}

#[test]
fn the_least_file_has_the_stock_servers_defaults() {
    let conf = accepted(MINIMAL);
    let zeo = ZeoSection {
        address: "localhost:8100".parse().expect("valid"),
        read_only: false,
        invalidation_queue_size: None,
        invalidation_age: None,
        transaction_timeout: None,
        client_conflict_resolution: false,
        msgpack: false,
        ssl: None,
        pid_filename: None,
    };
    let storage = FileStorageSection {
        name: "1".to_owned(),
        path: "Data.fs".into(),
        blob_dir: None,
        read_only: false,
        pack_gc: true,
        pack_keep_old: true,
    };
    assert_eq!(conf, ZeoConf { zeo, storages: vec![storage], event_log: None });
}

#[test]
fn every_option_of_the_server_is_read() {
    let conf = accepted(&with_zeo(
        "Read-Only yes\nINVALIDATION-QUEUE-SIZE 5\ninvalidation-age 1.5\ntransaction-timeout 30\n\
         client-conflict-resolution on\nmsgpack true\npid-filename zeo.pid\n\
         <ssl>\ncertificate c.pem\nkey k.pem\nauthenticate clients\n</ssl>",
    ));
    assert!(conf.zeo.read_only && conf.zeo.client_conflict_resolution && conf.zeo.msgpack);
    assert_eq!(conf.zeo.invalidation_queue_size, Some(5));
    assert_eq!(conf.zeo.invalidation_age, Some(Duration::from_millis(1500)));
    assert_eq!(conf.zeo.transaction_timeout, Some(Duration::from_secs(30)));
    assert_eq!(conf.zeo.pid_filename, None, "read-only servers write none");
    let ssl =
        SslSection { certificate: "c.pem".into(), key: Some("k.pem".into()), authenticate: "clients".into() };
    assert_eq!(conf.zeo.ssl, Some(ssl));
}

#[test]
fn a_blobstorage_gives_its_name_and_directory_to_the_filestorage_in_it() {
    let conf = accepted(
        "<zeo>\n address 8100\n</zeo>\n<blobstorage Main>\n blob-dir blobs\n <filestorage 9>\n  path a.fs\n  \
         pack-gc false\n </filestorage>\n</blobstorage>\n<filestorage>\n path b.fs\n blob-dir b\n read-only true\n  \
         create false\n pack-keep-old off\n</filestorage>\n",
    );
    let storages = [
        FileStorageSection {
            name: "main".to_owned(),
            path: "a.fs".into(),
            blob_dir: Some("blobs".into()),
            read_only: false,
            pack_gc: false,
            pack_keep_old: true,
        },
        FileStorageSection {
            name: "1".to_owned(),
            path: "b.fs".into(),
            blob_dir: Some("b".into()),
            read_only: true,
            pack_gc: true,
            pack_keep_old: false,
        },
    ];
    assert_eq!(conf.storages, storages);
}

#[test]
fn the_log_goes_where_the_eventlog_says() {
    let file = |path: &str, rotation| LogTarget::File { path: path.into(), rotation };
    let rotation = Rotation { bytes_max: 5 << 20, old_files: 3 };
    let table = [
        ("", Level::Info, LogTarget::Stderr),
        ("level debug", Level::Debug, LogTarget::Stderr),
        ("level 15", Level::Info, LogTarget::Stderr),
        ("level ALL\n<logfile>\npath STDERR\n</logfile>", Level::Trace, LogTarget::Stderr),
        ("<logfile>\npath STDOUT\nlevel warn\n</logfile>", Level::Warn, LogTarget::Stdout),
        (
            "level error\n<logfile>\npath zeo.log\nlevel debug\n</logfile>",
            Level::Error,
            file("zeo.log", None),
        ),
        ("<logfile>\npath l\nmax-size 5MB\nold-files 3\n</logfile>", Level::Info, file("l", Some(rotation))),
    ];
    for (lines, level, target) in table {
        let conf = accepted(&format!("{MINIMAL}<eventlog>\n{lines}\n</eventlog>"));
        assert_eq!(conf.event_log, Some(EventLog { level, target }), "{lines}");
    }
}

#[test]
fn the_environment_can_ask_for_msgpack_and_a_pid_file() {
    let surroundings = TestSurroundings::default()
        .with_variable("ZEO_MSGPACK", "1")
        .with_variable("INSTANCE_HOME", "/srv/zope");
    let zeo = |text: &str| parse(Path::new("zeo.conf"), text, &surroundings).expect("accepted").0.zeo;
    assert!(zeo(MINIMAL).msgpack);
    assert!(!zeo(&with_zeo("msgpack false")).msgpack);
    assert_eq!(zeo(MINIMAL).pid_filename, Some("/srv/zope/var/ZEO.pid".into()));
    assert_eq!(zeo(&with_zeo("pid-filename p")).pid_filename, Some("p".into()));
}

#[test]
fn an_included_file_stands_in_its_place() {
    let surroundings = TestSurroundings::default()
        .with_file("/etc/zeo/common/zeo.inc", "%define Data /srv\naddress $(HOST):8100\n%include more.inc\n")
        .with_file("/etc/zeo/common/more.inc", "read-only true\n")
        .with_variable("HOST", "db1");
    let text =
        "<zeo>\n%include common/zeo.inc\n</zeo>\n<filestorage>\npath ${data}/Data.fs\n</filestorage>\n";
    let (conf, _) = parse(Path::new("/etc/zeo/zeo.conf"), text, &surroundings).expect("accepted");
    assert_eq!(conf.zeo.address.to_string(), "db1:8100");
    assert!(conf.zeo.read_only);
    assert_eq!(conf.storages[0].path, Path::new("/srv/Data.fs"));
}

#[test]
fn an_include_that_fails_is_the_only_mistake() {
    let surroundings = TestSurroundings::default()
        .with_file("d/a.inc", "%include b.inc\n<zeo>\n")
        .with_file("d/b.inc", "%include a.inc\n</zeo>\n");
    let text = "%include a.inc\n%include none.inc\n%include http://example.org/a\n";
    let mistakes = parse(Path::new("d/zeo.conf"), text, &surroundings).expect_err("refused");
    assert_eq!(
        mistakes.lines(),
        [
            "d/zeo.conf:2: `none.inc` cannot be included: there is no such file",
            "d/zeo.conf:3: `http://example.org/a` cannot be included: only files can be",
            "d/a.inc:2: <zeo> is never closed: `</zeo>` is missing",
            "d/a.inc:2: <zeo> needs `address`",
            "d/b.inc:1: `a.inc` cannot be included: it includes itself",
            "d/b.inc:2: `</zeo>` ends nothing: no section is open",
        ]
    );
}

#[test]
fn an_empty_file_lacks_everything() {
    assert_eq!(
        refused(""),
        [
            " there is no <zeo> section, which has the server's `address`",
            " there is no <filestorage> section: nothing would be served"
        ]
    );
}

/// Lines in `<zeo>`, and the start of the only mistake.
#[test]
fn what_cannot_be_honoured_in_zeo_is_refused_with_its_line() {
    let table = [
        ("adress 1", "3: unknown key `adress`: <zeo> has address, "),
        ("read-only", "3: `read-only`: expected true or false"),
        ("invalidation-queue-size -1", "3: `invalidation-queue-size`: expected a whole number"),
        ("invalidation-age 1m", "3: `invalidation-age`: expected a number of seconds"),
        ("transaction-timeout 0", "3: `transaction-timeout`: 0 seconds would"),
        ("\nread-only false\nREAD-ONLY false", "5: `read-only` is already given on line 4"),
        ("monitor-address 8101", "3: `monitor-address`: ZEO 5 has no monitor port"),
        ("authentication-realm x", "3: `authentication-realm`: ZEO 5 has no password"),
        ("pid-filename $home/x", "3: `$home` is not defined"),
        ("pid-filename $(NOWHERE)/x", "3: the environment variable NOWHERE is not set"),
        ("<ssl/>\n<ssl2/>", "3: <ssl> needs `certificate`"),
        ("%import zc.zrs", "3: `%import zc.zrs` adds section types"),
        ("%undefine x", "3: unknown directive `%undefine`"),
        ("%define 1 x", "3: the name after `%define`"),
        ("%define a x\n%define A y", "4: `A` is already defined"),
        ("0key x", "3: `0key` cannot be the name of a key"),
        ("<ssl>\ncertificate c\nauthenticate DYNAMIC\n</ssl>", "5: `authenticate`: `DYNAMIC` names no"),
        (
            "<ssl>\ncertificate c\nauthenticate a\npassword-function a.b\n</ssl>",
            "6: `password-function`: it is a Python function, which Standby cannot call: give the key's password in \
             the environment variable STANDBY_TLS_KEY_PASSWORD",
        ),
    ];
    for (lines, mistake) in table {
        let mistakes = refused(&with_zeo(lines));
        assert!(mistakes[0].starts_with(mistake), "{lines}: {mistakes:?}");
        assert!(mistakes.len() == 1 || lines.starts_with("<ssl/>"), "{lines}: {mistakes:?}");
    }
}

#[test]
fn what_cannot_be_honoured_in_a_storage_is_refused_with_its_line() {
    let table = [
        ("create true", "6: `create`: with it the stock server empties the database"),
        ("quota 5GB", "6: `quota`: Standby does not bound"),
        ("packer zc.FileStorage.packer", "6: `packer`: it is Python code"),
        ("pack-gc maybe", "6: `pack-gc`: expected true or false"),
        ("<blobstorage/>", "6: <blobstorage> cannot stand in <filestorage>: is `</filestorage>` missing"),
        (
            "</filestorage>\n<mappingstorage 2>",
            "8: `</filestorage>` ends nothing here: <mappingstorage 2> is open",
        ),
        (
            "</filestorage>\n<zrs 2>\n</zrs>\n<zeo 2>\naddress 1\n</zeo>",
            "7: <zrs 2> cannot be served: put the",
        ),
        (
            "</filestorage>\n<blobstorage 2>\nblob-dir b\n</blobstorage>",
            "7: <blobstorage 2> needs a <filestorage>",
        ),
        (
            "</filestorage>\n<filestorage>\npath b",
            "7: <filestorage> needs a name: the one on line 4 has none",
        ),
        (
            "</filestorage>\n<filestorage 2>\npath Data.fs",
            "7: Data.fs is already served as storage `1` on line 4",
        ),
        ("</filestorage>\n<filestorage 1>\npath b", "4: <filestorage> needs a name: without one it is `1`"),
        ("</filestorage>\n<logger>\n</logger>", "7: unknown section <logger>"),
        ("</filestorage>\n<eventlog>\n<syslog/>\n</eventlog>", "8: <syslog> is not supported"),
        ("</filestorage>\n<eventlog>\nlevel 51\n</eventlog>", "8: `level`: expected critical"),
        (
            "</filestorage>\n<eventlog>\n<logfile>\npath l\nwhen D\n</logfile>\n</eventlog>",
            "10: `when`: Standby does not rotate",
        ),
        (
            "</filestorage>\n<eventlog>\n<logfile>\npath l\nmax-size 1\n</logfile>\n</eventlog>",
            "8: a rotated <logfile> needs",
        ),
        ("</filestorage>\n<runner>\nforever maybe\nprogram x\n</runner>", "8: `forever`: expected true"),
    ];
    for (lines, mistake) in table {
        let mistakes = refused(&with_storage(lines));
        assert!(mistakes.iter().any(|line| line.starts_with(mistake)), "{lines}: {mistakes:?}");
    }
    assert_eq!(accepted(&with_storage("packer")).storages.len(), 1, "an empty packer is the default");
}

#[test]
fn a_name_is_given_once() {
    let text = MINIMAL.replace("<zeo>", "<zeo 1>").replace("<filestorage>", "<filestorage 1>");
    assert_eq!(refused(&text), ["4: the name `1` is already taken by <zeo 1> on line 1"]);
}

#[test]
fn what_differs_from_the_stock_server_is_noted() {
    let text = "<zeo>\n address 8100\n invalidation-queue-size 7\n</zeo>\n<filestorage>\n path d\n</filestorage>\n\
                <runner>\n program x\n user zope\n</runner>\n";
    let (_, notes) = parsed(text).expect("accepted");
    let starts = [
        "zeo.conf:1: conflicts are resolved by the clients, always",
        "zeo.conf:2: no host is given: Standby listens on all IPv4 addresses",
        "zeo.conf:3: a client that missed more than 7 transactions drops its cache",
        "zeo.conf:8: <runner> is for zeoctl, and not used: have systemd or a like service start Standby as user `zope`",
    ];
    assert_eq!(notes.len(), starts.len(), "{notes:#?}");
    for (note, start) in notes.iter().zip(starts) {
        assert!(note.starts_with(start), "{note}");
    }
}

#[test]
fn sections_and_values_have_bounds() {
    let nested = "<a>\n".repeat(100_000) + &"</a>\n".repeat(100_000);
    assert!(refused(&nested).iter().any(|line| line.starts_with("9: more than 8 sections")));
    let mut growing = "%define a0 xxxxxxxxxxxxxxxx\n".to_owned();
    for number in 1..64 {
        growing += &format!("%define a{number} $a{}$a{}\n", number - 1, number - 1);
    }
    assert!(refused(&growing).iter().any(|line| line.contains("longer than 65536 bytes")));
    let many = parsed(&"x y\n".repeat(100)).expect_err("refused").to_string();
    assert!(many.starts_with("zeo.conf cannot be served as it is (102 mistakes):\n  zeo.conf: there is no"));
    assert!(many.ends_with("\n  and 52 more"), "{many}");
}

/// Lines that are likely to mean something, in any order.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "<zeo>",
            "</zeo>",
            "<ssl>",
            "</ssl>",
            "<filestorage 1>",
            "<filestorage>",
            "</filestorage>",
            "<blobstorage b>",
            "</blobstorage>",
            "<eventlog>",
            "<logfile>",
            "</logfile>",
            "</eventlog>",
            "<runner/>",
            "address 8100",
            "path $a/x",
            "blob-dir ${A}",
            "%define a b",
            "%define b $a$(V)",
            "%include a.inc",
            "%include b.inc",
            "read-only yes",
            "level 5",
        ])
        .prop_map(str::to_owned),
        "[<%]?/?[a-z$(){}%_. /-]{0,12}>?",
        "\\PC{0,20}",
    ]
}

proptest! {
    #[test]
    fn any_text_is_understood_or_refused(text in "(?s).{0,400}") {
        let _ = parsed(&text);
    }

    #[test]
    fn any_lines_are_understood_or_refused(lines in prop::collection::vec(line(), 0..40), included in line()) {
        let surroundings = TestSurroundings::default()
            .with_file("a.inc", &included)
            .with_file("b.inc", "%include a.inc\n%include b.inc\n<zeo>")
            .with_variable("V", "v");
        let text = lines.join("\n");
        match parse(Path::new("zeo.conf"), &text, &surroundings) {
            Ok((conf, _)) => prop_assert!(!conf.storages.is_empty()),
            Err(mistakes) => prop_assert!(!mistakes.lines().is_empty()),
        }
    }

    #[test]
    fn any_value_is_understood_or_refused(key in prop::sample::select(vec![
        "address", "invalidation-queue-size", "invalidation-age", "transaction-timeout", "pid-filename"
    ]), value in "\\PC{0,12}|[-+]?[0-9_.e]{0,9}|\\[?[0-9a-f:]{0,9}\\]?:?[0-9]{0,6}") {
        let _ = parsed(&with_zeo("").replace("address localhost:8100", &format!("{key} {value}")));
    }
}
