//! The control API over TCP: who is let in, who is refused and how, and what is written of both.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use standby_testbed::certificates::Certificates;
use standby_testbed::cluster::{Follows, Node};
use standby_testbed::decided::runtime;
use standby_testbed::http::{Request, Response, get};
use standby_testbed::{place, poll};

const TOKEN: &str = "a token of the testbed";
const AUTHORIZED: &str = "Authorization: Bearer a token of the testbed";

/// A cluster of one node, which listens for its operator as `[admin]` says.
fn node(folder: &Path, admin: &str) -> Result<Node> {
    let mut node = Node::new(folder, "a", Follows::Decided(None))?;
    node.set_admin(admin);
    node.configure(Follows::Decided(None))?;
    node.init()?;
    node.start()?;
    Ok(node)
}

fn with_token() -> String {
    format!("token = \"{TOKEN}\"\n")
}

#[track_caller]
fn refused(response: &Response, status: u16, reason: &str) -> Result<()> {
    let error = response.error()?;
    ensure!(response.status == status && error.contains(reason), "{status} {reason}: {response:?}");
    ensure!(response.header("content-type") == Some("application/json"), "{response:?}");
    Ok(())
}

/// Runs the tool against this node, with these options before the command.
fn tool(node: &Node, scheme: &str, options: &[&str], command: &[&str]) -> Result<(bool, String)> {
    let admin = format!("{scheme}://{}", node.admin());
    let mut tool = Command::new(place::admin_binary()?);
    tool.args(["--admin", &admin]).args(options).args(command);
    for variable in
        ["STANDBY_ADMIN_TOKEN_FILE", "STANDBY_ADMIN_CA", "STANDBY_ADMIN_CERT", "STANDBY_ADMIN_KEY"]
    {
        tool.env_remove(variable);
    }
    let output = tool.output()?;
    let told = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(told)?))
}

#[test]
fn every_kind_of_refusal_has_its_status_and_says_why() -> Result<()> {
    let folder = place::scratch("admin-tcp")?;
    let mut node = node(folder.path(), &with_token())?;
    let at = node.admin();
    let missing = get(at, "/v1/status")?;
    refused(&missing, 401, "a token is needed")?;
    ensure!(missing.header("www-authenticate") == Some("Bearer"), "{missing:?}");
    let wrong = Request::new("GET", "/v1/status").header("Authorization: Bearer a token of the testbeds");
    refused(&wrong.send(at)?, 401, "the token is wrong")?;
    let basic = Request::new("GET", "/v1/status").header("Authorization: Basic YTpi");
    refused(&basic.send(at)?, 401, "must be `Bearer TOKEN`")?;
    refused(&get(at, "/anything/else")?, 401, "a token is needed")?;
    refused(&get(at, "/metrics")?, 401, "a token is needed")?;
    let unauthorized_change = Request::new("POST", "/v1/pause").json("{\"paused\": true}");
    refused(&unauthorized_change.send(at)?, 401, "a token is needed")?;
    ensure!(get(at, "/live")?.status == 200, "health is for everybody");

    let post = |body| Request::new("POST", "/v1/pause").header(AUTHORIZED).json(body);
    refused(&post("{\"paused\": true, \"for\": 5}").send(at)?, 422, "unknown field `for`")?;
    refused(&post("{}").send(at)?, 422, "missing field `paused`")?;
    refused(&post("{\"paused\"").send(at)?, 400, "EOF")?;
    refused(&post(&format!("\"{}\"", "x".repeat(65 << 10))).send(at)?, 413, "length limit exceeded")?;
    let untyped = Request::new("POST", "/v1/pause").header(AUTHORIZED);
    refused(&untyped.send(at)?, 415, "Content-Type: application/json")?;
    let authorized = |method, path| Request::new(method, path).header(AUTHORIZED);
    refused(&authorized("GET", "/v1/nothing").send(at)?, 404, "there is nothing at \"/v1/nothing\"")?;
    refused(&authorized("DELETE", "/v1/status").send(at)?, 405, "/v1/status does not take DELETE")?;
    refused(&authorized("GET", "/v1/pause").send(at)?, 405, "/v1/pause does not take GET")?;
    ensure!(authorized("GET", "/v1/status").send(at)?.status == 200, "the token opens");
    ensure!(authorized("GET", "/metrics").send(at)?.status == 200, "the token opens");
    node.wait_for_log("refused a request to the control API")?;

    // However often somebody tries, the log says so once a second.
    let before = node.log()?.matches("refused a request to the control API").count();
    let began = std::time::Instant::now();
    for _ in 0..200 {
        refused(&wrong.send(at)?, 401, "the token is wrong")?;
    }
    let most = began.elapsed().as_secs() as usize + 2;
    let told = node.log()?.matches("refused a request to the control API").count() - before;
    ensure!(told <= most, "{told} lines for 200 refusals");
    ensure!(!node.log()?.contains(TOKEN), "the token is nobody's business");
    node.stop()
}

#[test]
fn other_users_on_the_socket_are_refused_whatever_its_mode() -> Result<()> {
    let folder = place::open_folder("admin-users")?;
    let mut node = node(folder.path(), &with_token())?;
    let socket = node.socket();
    ensure!(socket.metadata()?.permissions().mode() & 0o777 == 0o600, "for its owner alone");
    ensure!(Request::new("GET", "/v1/status").send_to(&socket)?.status == 200);
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can ask as another user");
        return node.stop();
    }
    let ask_as_nobody = || -> Result<String> {
        let script = "import socket, sys\n\
            connection = socket.socket(socket.AF_UNIX)\n\
            connection.connect(sys.argv[1])\n\
            connection.sendall(b'GET /v1/status HTTP/1.0\\r\\n\\r\\n')\n\
            print(connection.makefile().read())\n";
        let mut ask = Command::new("python3");
        ask.args(["-c", script]).arg(&socket).current_dir("/");
        let output = std::os::unix::process::CommandExt::uid(&mut ask, 65_534).output()?;
        Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
    };
    let told = ask_as_nobody()?;
    ensure!(told.contains("PermissionError"), "{told}");
    // Somebody has opened the way to it by mistake.
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666))?;
    let told = ask_as_nobody()?;
    ensure!(told.contains("403") && told.contains("user 65534 may not: only user 0 and root may"), "{told}");
    chown(&socket, Some(65_534), None)?;
    ensure!(ask_as_nobody()?.contains("403"), "whoever owns the socket file");
    node.wait_for_log("user 65534 may not")?;
    node.stop()
}

#[test]
fn changes_are_written_of_with_who_wanted_them_and_from_where() -> Result<()> {
    let folder = place::scratch("admin-audit")?;
    let mut node = node(folder.path(), &with_token())?;
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n"))?;
    let with_token = ["--token-file", token.to_str().context("text")?];
    let (done, told) = tool(&node, "http", &with_token, &["pause"])?;
    ensure!(
        done && told == "automatic failover is off: nobody takes a primary's place by itself\n",
        "{told}"
    );
    let resume = Request::new("POST", "/v1/pause").json("{\"paused\": false}");
    ensure!(resume.send_to(&node.socket())?.status == 200);
    let history = runtime()?.block_on(node.control().history())?.happenings;
    let by: Vec<&str> = history.iter().rev().take(2).map(|entry| &*entry.by).collect();
    let uid = rustix::process::geteuid().as_raw();
    ensure!(by[0] == format!("user {uid} at a"), "{by:?}");
    ensure!(by[1].starts_with("token from 127.") && by[1].ends_with(" at a"), "{by:?}");
    let log = node.log()?;
    let lines = |message: &str, words: &[&str]| {
        let said = |line: &&str| line.contains(message) && words.iter().all(|word| line.contains(word));
        log.lines().filter(said).count()
    };
    for (who, from, wanted) in [
        ("token from 127.", "from=\"127.", "paused: true"),
        ("user ", "from=\"the local socket\"", "paused: false"),
    ] {
        ensure!(lines("an operator asks for a change", &[who, from, wanted]) == 1, "{log}");
        ensure!(lines("what an operator asked for was done", &[who, from, "/v1/pause"]) == 1, "{log}");
    }
    // What is refused is no change.
    let (done, told) = tool(&node, "http", &with_token, &["ban", "x"])?;
    ensure!(!done && told.contains("refused: no node \"x\" belongs to the cluster"), "{told}");
    ensure!(
        !node
            .log()?
            .lines()
            .any(|line| line.contains("what an operator asked for was done") && line.contains("/v1/ban"))
    );
    node.stop()
}

#[test]
fn over_tls_a_certificate_stands_for_the_token_and_the_tool_says_what_is_wrong() -> Result<()> {
    let folder = place::scratch("admin-tls")?;
    let mut node = Node::new(folder.path(), "a", Follows::Decided(None))?;
    let Some(made) = Certificates::make(folder.path(), &[node.admin().ip()])? else { return Ok(()) };
    let admin = format!(
        "token = \"{TOKEN}\"\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
        made.path("node.pem"),
        made.path("node.key"),
        made.path("authority.pem")
    );
    node.set_admin(&admin);
    node.configure(Follows::Decided(None))?;
    node.init()?;
    node.start()?;
    let (right, wrong) = (made.path("token"), made.path("wrong"));
    std::fs::write(&right, TOKEN)?;
    std::fs::write(&wrong, "another token")?;
    let (ca, strangers) = (made.path("authority.pem"), made.path("strangers.pem"));
    let (alice, alice_key) = (made.path("alice.pem"), made.path("alice.key"));
    let (mallory, mallory_key) = (made.path("mallory.pem"), made.path("mallory.key"));
    let status = |scheme: &str, options: &[&str]| tool(&node, scheme, options, &["status"]);

    let (done, told) = status("https", &["--ca", &ca, "--token-file", &right])?;
    ensure!(done && told.contains("node a in group local: primary"), "{told}");
    let (done, told) =
        tool(&node, "https", &["--ca", &ca, "--cert", &alice, "--key", &alice_key], &["pause"])?;
    ensure!(done, "{told}");
    let history = runtime()?.block_on(node.control().history())?.happenings;
    let by = &history.last().context("it was paused")?.by;
    ensure!(by.starts_with("certificate ") && by.contains("CN=alice") && by.contains(" from 127."), "{by}");
    node.wait_for_log("CN=alice")?;

    for (scheme, options, why) in [
        ("https", &["--ca", &ca][..], "does not let you in: a token is needed"),
        ("https", &["--ca", &ca, "--token-file", &wrong], "does not let you in: the token is wrong"),
        ("https", &["--ca", &strangers, "--token-file", &right], "UnknownIssuer"),
        ("https", &["--ca", &ca, "--cert", &mallory, "--key", &mallory_key], "UnknownCA"),
        (
            "https",
            &["--ca", &ca, "--cert", &alice, "--key", &mallory_key],
            "does not go with the certificate",
        ),
        ("https", &["--token-file", &right], "https:// needs --ca"),
        ("https", &["--ca", &ca, "--token-file", "/nowhere"], "cannot read the token /nowhere"),
        ("http", &["--token-file", &right], "broke off"),
    ] {
        let (done, told) = status(scheme, options)?;
        ensure!(!done && told.contains(why), "{options:?}: {why} is not in {told}");
    }
    node.wait_for_log("the TLS handshake failed")?;
    node.stop()?;
    let (done, told) = tool(&node, "https", &["--ca", &ca, "--token-file", &right], &["status"])?;
    ensure!(!done && told.contains("cannot be reached: Connection refused"), "{told}");
    Ok(())
}

#[test]
fn without_tls_the_tool_says_that_a_node_speaks_none() -> Result<()> {
    let folder = place::scratch("admin-plain")?;
    let mut node = node(folder.path(), &with_token())?;
    let Some(made) = Certificates::make(folder.path(), &[node.admin().ip()])? else { return Ok(()) };
    let (done, told) = tool(&node, "https", &["--ca", &made.path("authority.pem")], &["status"])?;
    ensure!(!done && told.contains("no TLS with https://127."), "{told}");
    node.stop()
}

#[test]
fn those_who_hold_connections_and_ask_nothing_do_not_keep_the_operator_out() -> Result<()> {
    let folder = place::scratch("admin-idle")?;
    let mut node = node(folder.path(), &with_token())?;
    let held: Vec<_> =
        (0..300).map(|_| std::net::TcpStream::connect(node.admin())).collect::<Result<_, _>>()?;
    node.wait_for_log("there are as many as the limit allows")?;
    ensure!(get(node.admin(), "/live").is_err(), "there is no place");
    ensure!(
        Request::new("GET", "/v1/status").send_to(&node.socket())?.status == 200,
        "the socket has its own"
    );
    poll::until("those who ask nothing to be hung up on", poll::PATIENCE, || {
        Ok(get(node.admin(), "/live").is_ok().then_some(()))
    })?;
    drop(held);
    node.stop()
}

#[test]
fn a_node_that_would_let_anybody_in_does_not_start_and_check_says_where() -> Result<()> {
    let folder = place::scratch("admin-check")?;
    let mut node = Node::new(folder.path(), "a", Follows::Nobody)?;
    let check = |node: &Node| -> Result<(bool, String)> {
        let mut check = Command::new(place::standby_binary()?);
        let output = check.arg("check").arg(node.configuration()).output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    node.set_admin("");
    node.configure(Follows::Nobody)?;
    let (fine, told) = check(&node)?;
    let line = std::fs::read_to_string(node.configuration())?;
    let line = line.lines().position(|line| line.starts_with("admin = ")).context("a line")? + 1;
    let expected = format!("node.toml:{line}:9: over TCP the control API needs to know its operator");
    ensure!(!fine && told.contains(&expected), "{told}");
    ensure!(node.start().is_err(), "it starts all the same");

    node.set_address(std::net::Ipv4Addr::UNSPECIFIED);
    node.set_admin(&with_token());
    node.configure(Follows::Nobody)?;
    let (fine, told) = check(&node)?;
    ensure!(fine && told.contains("warning: the token of [admin] passes the network readable"), "{told}");
    Ok(())
}
