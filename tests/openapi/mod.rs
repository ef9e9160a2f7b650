//! The service against its own description: schemathesis reads the document and sends what it says is right, and
//! what it says is wrong. `just openapi` installs it and runs these.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Project, Repo, Setup, THREE_STAGES, TestService};

/// How much is tried, unless `ORCH_TEST_SCHEMATHESIS` holds other arguments. The same each time: a test says the
/// same of the same code.
const EXTENT: &str = "--max-examples 20 --seed 1";

/// Where `just openapi` installs it.
const OURS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/schemathesis/bin/schemathesis"
);

#[test]
fn schemathesis_finds_nothing_with_the_token() {
    let setup = Setup::new().set("api_token", "4f9c");
    attack("schemathesis_finds_nothing_with_the_token", setup, Some("4f9c"));
}

#[test]
fn schemathesis_finds_nothing_without_a_token() {
    attack("schemathesis_finds_nothing_without_a_token", Setup::new(), None);
}

#[test]
fn the_document_is_served_like_what_else_is_read() {
    let repo = Repo::new();
    let service = Setup::new().project(Project::new("shop", &repo)).start();
    let answer = service.api().get("/api/v1/openapi.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document: Value = answer.ok();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v1/tasks"]["post"].is_object());
}

/// Runs it against a service with a project and a task. Says so on the terminal when it cannot: what a test prints
/// is kept from sight when it passes.
fn attack(test: &str, setup: Setup, token: Option<&str>) {
    let Some(program) = schemathesis() else {
        let why = "not run: schemathesis is not installed (pip install schemathesis)";
        let line = format!("openapi::{test}: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    let repo = Repo::new();
    let mut service = setup
        .project(Project::new("shop", &repo).then(THREE_STAGES))
        .start();
    let output = command(&program, &service, token).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{wrong}");
    assert!(service.exited().is_none(), "the service ended");
    assert!(!service.log().contains("panicked"), "{}", service.log());
    assert_eq!(service.api().get("/ready").status, 200);
}

fn command(program: &Path, service: &TestService, token: Option<&str>) -> Command {
    let extent = std::env::var("ORCH_TEST_SCHEMATHESIS").unwrap_or_else(|_| EXTENT.to_owned());
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", service.api().address))
        .args(["--checks", "all", "--continue-on-failure", "--no-color"])
        // Longer than any long poll.
        .args(["--request-timeout", "40"])
        .args(extent.split_whitespace());
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    // It leaves its notes where it runs.
    command.current_dir(service.home());
    command.env("SCHEMATHESIS_HOOKS", hooks());
    command
}

fn hooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/hooks.py")
}

/// The one that `just openapi` installed, else the first in the PATH.
fn schemathesis() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("schemathesis"));
    std::iter::once(PathBuf::from(OURS))
        .chain(found)
        .find(|p| p.is_file())
}
