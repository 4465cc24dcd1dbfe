use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

const CONF: &str = "
<zeo>
  address db1:9000
  read-only true
  msgpack true
  invalidation-queue-size 7
  invalidation-age 60
  transaction-timeout 30
  <ssl>
    certificate server.pem
    authenticate clients
  </ssl>
</zeo>
<filestorage main>
  path main.fs
  blob-dir blobs
  pack-gc false
</filestorage>
";

fn options(arguments: &[&str]) -> Result<ServeOptions> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("zeo.conf");
    std::fs::write(&path, CONF)?;
    let arguments = arguments.iter().map(|argument| argument.replace("CONF", path.to_str().expect("UTF-8")));
    Ok(Line::try_parse_from(std::iter::once("serve".to_owned()).chain(arguments))?.serve.plan()?.options)
}

#[test]
fn a_configuration_file_says_what_to_serve_and_how() {
    let options = options(&["-C", "CONF"]).expect("accepted");
    assert_eq!(options.zeo.to_string(), "db1:9000");
    assert_eq!(options.encoding, zeo_proto::Encoding::Msgpack);
    assert!(options.read_only);
    assert_eq!(
        options.invalidations,
        InvalidationPolicy::Stock { queue_size: 7, age: Some(Duration::from_secs(60)) }
    );
    assert_eq!(options.transaction_timeout, Some(Duration::from_secs(30)));
    let tls = TlsOptions { certificate: "server.pem".into(), key: None, client_ca: Some("clients".into()) };
    assert_eq!(options.tls, Some(tls));
    let mut storage = StorageSpec::plain("main", "main.fs".into());
    storage.blob_dir = Some("blobs".into());
    storage.pack_gc = false;
    assert_eq!(options.storages, [storage]);
}

#[test]
fn options_go_before_the_configuration_file() {
    let given = options(&[
        "--configuration=CONF",
        "--zeo=127.0.0.1:0",
        "--encoding=pickle",
        "--invalidation-queue-size=9",
        "--transaction-timeout=1",
        "--tls-certificate=other.pem",
    ])
    .expect("accepted");
    assert_eq!(given.zeo.to_string(), "127.0.0.1:0");
    assert_eq!(given.encoding, zeo_proto::Encoding::Pickle);
    assert_eq!(
        given.invalidations,
        InvalidationPolicy::Stock { queue_size: 9, age: Some(Duration::from_secs(60)) }
    );
    assert_eq!(given.transaction_timeout, Some(Duration::from_secs(1)));
    let tls = TlsOptions { certificate: "other.pem".into(), key: None, client_ca: None };
    assert_eq!(given.tls, Some(tls));
}

#[test]
fn storages_come_from_one_place() {
    assert!(options(&[]).is_err());
    assert!(options(&["-C", "CONF", "Data.fs"]).is_err());
    assert!(options(&["-C", "CONF", "--storage", "2=Data.fs"]).is_err());
    let plain = options(&["Data.fs"]).expect("accepted");
    assert_eq!(
        (plain.zeo.to_string().as_str(), plain.encoding),
        (DEFAULT_ADDRESS, zeo_proto::Encoding::Pickle)
    );
    assert_eq!(plain.invalidations, InvalidationPolicy::Log);
}
