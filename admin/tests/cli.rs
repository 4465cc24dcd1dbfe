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
    assert!(told.contains("no node answers at unix:/nonexistent/admin.sock: is it running"), "{told}");
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
