use super::*;
use crate::zeo_conf::test_surroundings::TestSurroundings;

#[test]
fn addresses_are_read_as_the_stock_server_reads_them() {
    let table = [
        ("8100", "0.0.0.0:8100"),
        (":8100", "0.0.0.0:8100"),
        ("zeo.example.org:8100", "zeo.example.org:8100"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:8100", "[::1]:8100"),
        ("::1", "[::1]:0"),
        ("[::1]", "[::1]:0"),
        ("localhost", "localhost:0"),
        ("localhost:", "localhost:0"),
        ("/run/zeo.sock", "unix:/run/zeo.sock"),
        ("./zeo.sock", "unix:./zeo.sock"),
    ];
    for (text, listen) in table {
        assert_eq!(
            address(text).map(|address| address.listen.to_string()),
            Ok(listen.to_owned()),
            "{text:?}"
        );
    }
    assert!(address("8100").is_ok_and(|address| address.no_host && !address.no_port));
    assert!(address("localhost").is_ok_and(|address| !address.no_host && address.no_port));
    for text in ["", "a b", "a:b", "70000", "-1", "localhost:70000", "localhost:-1"] {
        assert!(address(text).is_err(), "{text:?}");
    }
}

#[test]
fn numbers_are_read_as_python_reads_them() {
    assert_eq!(count::<usize>("1_000"), Ok(1000));
    assert_eq!(count::<usize>("+5"), Ok(5));
    for text in ["", "-1", "1.5", "_1", "1_", "1__0", "ten"] {
        assert!(count::<usize>(text).is_err(), "{text:?}");
    }
    assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
    assert_eq!(seconds("1e3"), Ok(Duration::from_secs(1000)));
    assert_eq!(seconds("inf"), Ok(Duration::MAX));
    for text in ["", "-1", "nan", "1m", "1e300"] {
        assert!(seconds(text).is_err(), "{text:?}");
    }
    assert_eq!(whole_seconds("30"), Ok(Duration::from_secs(30)));
    assert!(whole_seconds("0").is_err());
    assert_eq!(byte_size("5MB"), Ok(5 << 20));
    assert_eq!(byte_size("100 kb"), Ok(100 << 10));
    assert_eq!(byte_size("17"), Ok(17));
    for text in ["", "MB", "5TB", "1.5GB", "99999999999999GB"] {
        assert!(byte_size(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_path_must_lie_in_a_directory() {
    let surroundings =
        TestSurroundings::default().with_variable("HOME", "/home/zope/").without_directory("/none");
    let path = |text| path_in_directory(text, &surroundings);
    assert_eq!(path("Data.fs"), Ok("Data.fs".into()));
    assert_eq!(path("/srv/Data.fs"), Ok("/srv/Data.fs".into()));
    assert_eq!(path("~/Data.fs"), Ok("/home/zope/Data.fs".into()));
    assert_eq!(path("~"), Ok("/home/zope".into()));
    for text in ["", "~plone/Data.fs", "/none/Data.fs"] {
        assert!(path(text).is_err(), "{text:?}");
    }
}
