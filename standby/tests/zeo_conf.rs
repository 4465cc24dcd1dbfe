//! `standby serve -C` on whole files, and beside the stock server's own reader.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use standby::zeo_conf::{self, LogTarget, Rotation, Surroundings, ZeoConf};

/// The samples' machine: every directory is there, and these variables are set.
struct SampleMachine;

impl Surroundings for SampleMachine {
    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.kind().to_string())
    }

    fn variable(&self, name: &str) -> Option<String> {
        let variables = [("ZEO_PORT", "8100"), ("ZEO_READ_ONLY", "true"), ("ZEO_PACK_KEEP_OLD", "true")];
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn is_directory(&self, _: &Path) -> bool {
        true
    }
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zeo_conf").join(name)
}

fn accepted(name: &str) -> ZeoConf {
    zeo_conf::load(&sample(name), &SampleMachine).expect("it is accepted").0
}

#[test]
fn an_administrators_own_file_is_read() {
    let conf = accepted("plain.conf");
    assert_eq!(conf.zeo.address.to_string(), "127.0.0.1:8100");
    assert_eq!(conf.zeo.transaction_timeout.map(|limit| limit.as_secs()), Some(60));
    let storages: Vec<_> = conf
        .storages
        .iter()
        .map(|storage| {
            let blobs = storage.blob_dir.as_deref().map_or("-".into(), Path::to_string_lossy);
            let path = storage.path.display();
            format!("{} {path} {blobs} ro={} gc={}", storage.name, storage.read_only, storage.pack_gc)
        })
        .collect();
    assert_eq!(
        storages,
        [
            "main /srv/zeo/var/main.fs /srv/zeo/var/main-blobs ro=false gc=true",
            "catalog /srv/zeo/var/catalog.fs /srv/zeo/var/catalog-blobs ro=false gc=false",
            "archive /srv/zeo/var/archive.fs - ro=true gc=true",
        ]
    );
    assert_eq!(conf.event_log, None);
}

#[test]
fn a_file_that_plones_buildout_makes_is_read() {
    let conf = accepted("plone.conf");
    assert_eq!(conf.zeo.address.to_string(), "0.0.0.0:8100");
    assert_eq!(conf.zeo.invalidation_queue_size, Some(100));
    assert_eq!(conf.zeo.pid_filename, Some("/srv/plone/var/zeoserver.pid".into()));
    let [storage] = conf.storages.as_slice() else { panic!("{:?}", conf.storages) };
    assert_eq!((storage.name.as_str(), storage.pack_keep_old), ("1", false));
    assert_eq!(storage.blob_dir, Some("/srv/plone/var/blobstorage".into()));
    let target = LogTarget::File {
        path: "/srv/plone/var/log/zeoserver.log".into(),
        rotation: Some(Rotation { bytes_max: 5 << 20, old_files: 5 }),
    };
    assert_eq!(conf.event_log.map(|log| log.target), Some(target));
}

#[test]
fn a_containers_file_is_read_with_its_environment() {
    let conf = accepted("container.conf");
    assert_eq!(conf.zeo.address.to_string(), "0.0.0.0:8100");
    assert!(conf.zeo.read_only && conf.zeo.msgpack);
    let ssl = conf.zeo.ssl.expect("it has one");
    assert_eq!(ssl.key, Some("/run/secrets/server.key".into()));
    assert_eq!(conf.event_log.map(|log| log.target), Some(LogTarget::Stdout));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = std::fs::read_to_string(sample("mistakes.conf")).expect("the sample");
    let told =
        zeo_conf::parse(Path::new("mistakes.conf"), &text, &SampleMachine).expect_err("refused").to_string();
    let expected = std::fs::read_to_string(sample("mistakes.report")).expect("the report");
    assert_eq!(told, expected.trim_end(), "\n{told}\n");
}

#[test]
fn the_command_refuses_a_file_with_mistakes() {
    let path = sample("mistakes.conf");
    let run =
        Command::new(env!("CARGO_BIN_EXE_standby")).args(["serve", "-C"]).arg(&path).output().expect("run");
    assert_eq!(run.status.code(), Some(1));
    let stderr = String::from_utf8(run.stderr).expect("UTF-8");
    assert!(
        stderr.starts_with(&format!("standby: {} cannot be served as it is (", path.display())),
        "{stderr}"
    );
    assert!(run.stdout.is_empty());
}

/// Waits until it is so; fails after ten seconds.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_does_what_its_file_says_until_it_is_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let text = format!(
        "%define VAR {}\n<zeo>\naddress $VAR/sock\npid-filename $VAR/zeo.pid\n</zeo>\n\
         <filestorage 1>\npath $VAR/Data.fs\nblob-dir $VAR/blobs\n</filestorage>\n\
         <eventlog>\n<logfile>\npath $VAR/zeo.log\n</logfile>\n</eventlog>\n",
        directory.path().display()
    );
    std::fs::write(path("zeo.conf"), text).expect("written");
    let mut server = Command::new(env!("CARGO_BIN_EXE_standby"))
        .args(["serve", "-C"])
        .arg(path("zeo.conf"))
        .env_remove("STANDBY_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let id = server.id().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &id]).status().expect("kill");
        assert!(sent.success());
    };
    let mut ready = String::new();
    BufReader::new(server.stdout.as_mut().expect("piped")).read_line(&mut ready).expect("a line");
    assert_eq!(ready, format!("ready zeo=unix:{}\n", path("sock").display()));
    assert!(path("Data.fs").exists() && path("sock").exists());
    let pid = std::fs::read_to_string(path("zeo.pid")).expect("the pid file");
    assert_eq!(pid, format!("{id}\n"));
    let log = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    assert!(log("zeo.log").contains("zeo.conf:2: conflicts are resolved by the clients, always"));

    std::fs::rename(path("zeo.log"), path("zeo.log.old")).expect("renamed");
    signal("-USR2");
    wait_until("the log is opened again", || log("zeo.log").contains("the log file was opened again"));
    signal("-TERM");
    assert!(server.wait().expect("it ends").success());
    assert!(log("zeo.log").contains("SIGTERM"), "{}", log("zeo.log"));
    assert!(!path("zeo.pid").exists());
}

/// Runs the stock server's reader on each file given: one line each, `refused` or what it says.
const STOCK_READER: &str = r#"
import sys, os, ZConfig, ZEO
schema = ZConfig.loadSchema(os.path.join(os.path.dirname(ZEO.__file__), 'schema.xml'))
def storage(opener):
    c = opener.config
    base = c.base.config if c.getSectionType() == 'blobstorage' else c
    blobs = c.blob_dir or None
    off = lambda v: str(bool(v)).lower()
    return '%s %s %s %s %s %s' % (opener.name or '1', base.path, blobs, off(base.read_only), off(base.pack_gc),
                                  off(base.pack_keep_old))
for path in sys.argv[1:]:
    try:
        conf, _ = ZConfig.loadConfig(schema, path)
        z = conf.zeo
        a = z.address.address
        if isinstance(a, tuple):
            host = a[0] or '0.0.0.0'
            a = ('[%s]:%s' if ':' in host else '%s:%s') % (host, a[1] or 0)
        else:
            a = 'unix:' + a
        print(a, z.read_only, z.invalidation_queue_size, z.transaction_timeout, bool(z.msgpack),
              '; '.join(map(storage, conf.storages)))
    except Exception as error:
        print('refused', str(error).replace('\n', ' '))
"#;

fn described(conf: &ZeoConf) -> String {
    let python = |value: bool| if value { "True" } else { "False" };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "None".to_owned());
    let zeo = &conf.zeo;
    let storages: Vec<_> = conf
        .storages
        .iter()
        .map(|storage| {
            let blobs = or_none(storage.blob_dir.as_ref().map(|dir| dir.display().to_string()));
            let (name, path) = (&storage.name, storage.path.display());
            let (read_only, gc, keep) = (storage.read_only, storage.pack_gc, storage.pack_keep_old);
            format!("{name} {path} {blobs} {read_only} {gc} {keep}")
        })
        .collect();
    format!(
        "{} {} {} {} {} {}",
        zeo.address,
        python(zeo.read_only),
        zeo.invalidation_queue_size.unwrap_or(100),
        or_none(zeo.transaction_timeout.map(|limit| limit.as_secs().to_string())),
        python(zeo.msgpack),
        storages.join("; ")
    )
}

/// Lines of a `<zeo>` section, or after it, that are read differently if the grammar is not understood.
const CASES: [&str; 46] = [
    "address 8100",
    "address :8100",
    "address LOCALHOST:8100",
    "address [::1]:8100",
    "address ::1",
    "address localhost",
    "address ./zeo.sock",
    "address a b",
    "address localhost:99999",
    "address 8100 # no comment",
    "address 8100\n# a comment\n  \t \nREAD-ONLY On",
    "address 8100\nread-only 1",
    "address 8100\r\nread-only true\r",
    "address 8100\ninvalidation-queue-size 1_0",
    "address 8100\ninvalidation-queue-size 0x10",
    "address 8100\ntransaction-timeout 1.5",
    "address 8100\ntransaction-timeout +15",
    "address 8100\nread-only true\nRead-only true",
    "%define A 8100\naddress $a",
    "%define A 8100\naddress ${A}",
    "%define a_1 81\naddress ${a_1}00",
    "%define a 81\naddress $a$$",
    "%define a x\n%define A x\naddress 8100",
    "%define a x\n%define A y\naddress 8100",
    "%define a $b\naddress 8100",
    "%define 1a x\naddress 8100",
    "%define a\naddress 8100$a",
    "%define\naddress 8100",
    "% define a b\naddress 8100",
    "%Define a b\naddress 8100",
    "address $(ZEO_TEST_PORT)",
    "address $(ZEO_TEST_NOTHING)",
    "address 8100$",
    "address 8100\n</zeo><zeo>",
    "address 8100\n</zeo>\n</zeo>\n<zeo>",
    "address 8100\n</ZEO >\n<FileStorage  Two >\npath b.fs\n</filestorage>\n<runner>\nprogram x",
    "address 8100\n</zeo>\n<runner>\nprogram x\n</runner>\n<runner>\nprogram x\n</runner>\n<eventlog>",
    "address 8100\n</zeo>\n<filestorage b c>\npath b.fs\n</filestorage>\n<eventlog>",
    "address 8100\n</zeo>\n<filestorage b>\npath b.fs\n</filestorage>\n<filestorage B>\npath c.fs\n</filestorage>\n<eventlog>",
    "address 8100\n</zeo>\n<eventlog/>\n<filestorage b>\nblob-dir\npath (b)",
    "address 8100\n</zeo>\n<blobstorage b>\nblob-dir x\n<filestorage>\npath y\n</filestorage>\n</blobstorage>\n<eventlog>",
    "address 8100\n</zeo>\n<eventlog>\nlevel 50\n<logfile>\npath STDERR\n</logfile>",
    "address 8100\n</zeo>\n<eventlog>\nlevel 51",
    "address 8100\n%import ZODB\n%import ZConfig.components.logger\n%import zdaemon",
    "address 8100\nmonitor-address 8101",
    "address 8100\n</zeo>\n<filestorage b>\npath /nowhere/at/all/b.fs",
];

/// The section that a case leaves open, if it is no `<zeo>`.
fn closed(case: &str) -> String {
    let mut open = Vec::new();
    for line in format!("<zeo>\n{case}").lines() {
        if line.starts_with("</") {
            open.pop();
        } else if line.starts_with('<') && !line.ends_with("/>") {
            let kind = line.trim_matches(['<', '>']).split_whitespace().next().expect("a type");
            open.push(kind.to_owned());
        }
    }
    let ends: String = open.iter().rev().map(|kind| format!("\n</{kind}>")).collect();
    format!("<zeo>\n{case}{ends}\n<filestorage>\npath Data.fs\n</filestorage>\n")
}

/// What is accepted is accepted by the stock server, and means the same; and what the stock server accepts of these
/// is accepted. Needs a Python with ZEO, which the variable `STANDBY_PYTHON` names.
#[test]
fn the_stock_reader_agrees() {
    let Some(python) = std::env::var_os("STANDBY_PYTHON") else {
        eprintln!("skipped: STANDBY_PYTHON names no Python with ZEO");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let mut texts: Vec<String> = CASES.iter().map(|case| closed(case)).collect();
    for name in ["plain.conf", "plone.conf"] {
        texts.push(std::fs::read_to_string(sample(name)).expect("the sample").replace("/srv/", "./"));
    }
    for inner in ["zeo/var", "plone/var/filestorage", "plone/var/log", "plone/parts/zeoserver"] {
        std::fs::create_dir_all(directory.path().join(inner)).expect("a directory");
    }
    let names: Vec<_> = (0..texts.len()).map(|number| format!("{number}.conf")).collect();
    for (name, text) in names.iter().zip(&texts) {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    let run = Command::new(python)
        .args(["-c", STOCK_READER])
        .args(&names)
        .env("ZEO_TEST_PORT", "8100")
        .current_dir(directory.path())
        .output()
        .expect("Python runs");
    let stock = String::from_utf8(run.stdout).expect("UTF-8");
    assert_eq!(stock.lines().count(), texts.len(), "{}", String::from_utf8_lossy(&run.stderr));
    for (text, stock) in texts.iter().zip(stock.lines()) {
        match zeo_conf::parse(Path::new("zeo.conf"), text, &InDirectory(directory.path())) {
            Ok((conf, _)) => assert_eq!(described(&conf), stock, "{text}"),
            Err(mistakes) => assert!(stock.starts_with("refused "), "{text}\n{stock}\n{mistakes}"),
        }
    }
}

/// The machine, as a process in that directory sees it.
struct InDirectory<'a>(&'a Path);

impl Surroundings for InDirectory<'_> {
    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "ZEO_TEST_PORT").then(|| "8100".to_owned())
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.0.join(path).is_dir()
    }
}
