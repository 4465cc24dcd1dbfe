//! The tool as an operator meets it.

use std::process::Command;

fn standby_admin(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_standby-admin"))
        .args(arguments)
        .env_remove("STANDBY_ADMIN")
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_node_that_does_not_answer_is_named() {
    let (ok, out, told) = standby_admin(&["--admin", "unix:/nonexistent/admin.sock", "status"]);
    assert!(!ok && out.is_empty());
    assert!(told.contains("no node answers at unix:/nonexistent/admin.sock (No such file or directory (os error 2)): is it running"), "{told}");
}

#[test]
fn whom_to_ask_must_be_said() {
    let (ok, _, told) = standby_admin(&["status"]);
    assert!(!ok && told.contains("--admin <ADDRESS>"), "{told}");
}

#[test]
fn shells_complete_every_command_and_each_has_a_manual_page() {
    for shell in ["bash", "zsh", "fish"] {
        let (ok, script, told) = standby_admin(&["completions", shell]);
        assert!(
            ok && script.contains("switchover") && script.contains("without-majority"),
            "{shell}: {told}"
        );
    }
    let folder = std::env::temp_dir().join(format!("standby-admin-man-{}", std::process::id()));
    let (ok, _, told) = standby_admin(&["man", folder.to_str().expect("text")]);
    assert!(ok, "{told}");
    for page in ["standby-admin.1", "standby-admin-switchover.1", "standby-admin-settings-set.1"] {
        let text = std::fs::read_to_string(folder.join(page)).expect(page);
        assert!(text.contains(".SH NAME"), "{page}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// Runs the tool on a terminal of its own; `None` where there is no `script` (Debian's bsdutils) to make one.
fn on_a_terminal(arguments: &str, no_color: bool) -> Option<String> {
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{} {arguments}", env!("CARGO_BIN_EXE_standby-admin")), "/dev/null"]);
    script.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("STANDBY_ADMIN").env_remove("CLICOLOR");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    match script.output() {
        Ok(output) => Some(String::from_utf8(output.stdout).expect("text")),
        Err(_) => {
            eprintln!("skipped: no script here (Debian's package bsdutils has it)");
            None
        }
    }
}

#[test]
fn colours_are_for_terminals_whose_user_wants_them() {
    let nobody = ["--admin", "unix:/nonexistent/admin.sock", "status"];
    let (_, out, told) = standby_admin(&nobody);
    assert!(!out.contains('\x1b') && !told.contains('\x1b'), "{told}");
    let Some(shown) = on_a_terminal(&nobody.join(" "), false) else { return };
    assert!(shown.contains("\x1b[31mstandby-admin\x1b[0m: no node answers"), "{shown:?}");
    let shown = on_a_terminal(&nobody.join(" "), true).expect("there is a `script`");
    assert!(shown.contains("standby-admin: no node answers") && !shown.contains("\x1b[3"), "{shown:?}");
}

#[test]
fn whom_to_ask_may_stand_behind_the_verb() {
    let (ok, _, told) = standby_admin(&["status", "--admin", "unix:/nonexistent/admin.sock"]);
    assert!(!ok && told.contains("no node answers at unix:/nonexistent/admin.sock"), "{told}");
}
