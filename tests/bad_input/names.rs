//! Names that could leave their folder, look like an option, or are no names: refused everywhere they come in, and
//! nothing of them is stored.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{TWO_STAGES, assert_names, cli, others_go_on};
use crate::support::{Answer, Project, Repo, Setup, TestService, snapshot};

/// What a work item must not be called.
fn bad_ids() -> Vec<String> {
    let ids = [
        "../x",
        "..",
        ".",
        "-rf",
        "--help",
        "a/b",
        "/etc/passwd",
        "a..b",
        "x.lock",
        "x.",
        ".x",
        "a b",
        "x\ny",
        "\u{1b}[31mx",
        "x\u{7f}",
        "é",
        "x;rm",
        "x:y",
        "HEAD~1",
    ];
    let mut ids: Vec<String> = ids.map(str::to_owned).to_vec();
    ids.push("x".repeat(65));
    ids
}

/// In the place of a task, `project/NAME` is a task of that project.
fn is_in_a_project(id: &str) -> bool {
    id.matches('/').count() == 1
}

/// As a part of an address: every byte that is not plain as %XX.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// A service, and what must still be so after it was asked for nonsense.
pub(super) struct Untouched {
    pub(super) service: TestService,
    repo: Repo,
    outside: BTreeSet<String>,
    refs: String,
}

impl Untouched {
    pub(super) fn start() -> Self {
        let repo = Repo::new();
        let service = Setup::new()
            .project(Project::new("shop", &repo).then(TWO_STAGES))
            .start();
        Self {
            outside: Self::outside(&service),
            refs: repo.git(&["for-each-ref"]),
            service,
            repo,
        }
    }

    /// Everything beside the data directory, the folder above included.
    fn outside(service: &TestService) -> BTreeSet<String> {
        let listed = snapshot(service.home()).into_keys();
        let data = service.data();
        listed
            .filter(|p| !p.starts_with(&data))
            .map(|p| p.display().to_string())
            .collect()
    }

    /// Nothing was stored or made, and the service goes on.
    pub(super) fn check(mut self) {
        let service = &mut self.service;
        let tasks: Vec<Value> = service.api().get("/api/v1/tasks?all=true").ok();
        assert_eq!(tasks, Vec::<Value>::new());
        assert_eq!(service.events(0, 0), []);
        for folder in ["runs", "worktrees"] {
            let made = fs::read_dir(service.data().join(folder)).map_or(0, Iterator::count);
            assert_eq!(made, 0, "{folder}");
        }
        assert_eq!(Self::outside(service), self.outside);
        assert_eq!(self.repo.git(&["for-each-ref"]), self.refs);
        others_go_on(service, "GOOD.name_1-x");
    }
}

#[test]
fn the_command_line_refuses_a_bad_work_item_id_with_one_line_that_says_what_is_allowed() {
    let house = Untouched::start();
    let service = &house.service;
    const RULE: [&str; 3] = [
        "work item id",
        "is not usable",
        "beginning with a letter or digit",
    ];
    for id in bad_ids() {
        for option in ["--id", "--depends-on"] {
            let ended = cli(service, &["task", "add", "Work", option, &id]);
            assert_names(ended.line(1), &RULE);
        }
        let mut commands = vec![vec!["task", "show"], vec!["run", "list"], vec!["run", "logs"]];
        let gestures = [
            "approve",
            "reject",
            "confirm-deploy",
            "cancel",
            "unblock",
            "block",
        ];
        commands.extend(gestures.map(|gesture| vec!["task", gesture]));
        for mut command in commands {
            command.extend(["--", &id]);
            let ended = cli(service, &command);
            match is_in_a_project(&id) {
                true => assert_names(ended.line(4), &["no task", "orch task list --all"]),
                false => assert_names(ended.line(1), &RULE),
            }
        }
    }
    assert_names(
        cli(service, &["task", "add", "Work", "--id", "x.lock"]).line(1),
        &["'.lock'"],
    );
    // Without the dashes before it, it is an option that nobody knows.
    for command in [
        &["task", "show", "-rf"][..],
        &["task", "approve", "-rf"],
        &["run", "list", ""],
        &["task", "show", ""],
    ] {
        let ended = cli(service, command);
        assert_eq!(ended.code, 2, "{command:?}: {}", ended.said);
    }
    house.check();
}

#[test]
fn a_file_of_tasks_with_one_bad_name_adds_none_of_them() {
    let house = Untouched::start();
    let service = &house.service;
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().to_str().unwrap();
    let good = "[[task]]\ntitle = \"good\"\nid = \"GOOD\"\n";
    for (bad, parts) in [
        ("id = \"../x\"", &["\"second\"", "\"../x\"", "not usable"][..]),
        ("id = \"-rf\"", &["\"second\"", "\"-rf\""]),
        ("depends_on = [\"GOOD\", \"a/b\"]", &["\"second\"", "\"a/b\""]),
        ("di = \"X\"", &["line 6", "unknown field `di`"]),
        ("id = 7", &["line 6", "invalid type"]),
        ("id = \"X", &["line 6"]),
    ] {
        fs::write(
            file.path(),
            format!("{good}[[task]]\ntitle = \"second\"\n{bad}\n"),
        )
        .unwrap();
        let ended = cli(service, &["task", "add", "--file", name]);
        assert_names(ended.line(2), parts);
        assert_names(ended.line(2), &[name]);
    }
    fs::write(file.path(), b"[[task]]\ntitle = \"\xff\"\n").unwrap();
    let ended = cli(service, &["task", "add", "--file", name]);
    assert_names(ended.line(2), &[name, "UTF-8"]);
    house.check();
}

/// A refusal as a problem document of this status.
pub(super) fn refused(answer: &Answer, status: u16, asked: &str) -> String {
    assert_eq!(answer.status, status, "{asked}: {}", answer.text());
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/problem+json"), "{asked}");
    let problem: Value = answer.json();
    assert_eq!(problem["status"], json!(status), "{asked}");
    let detail = problem["detail"].as_str().unwrap().to_owned();
    assert!(
        !detail.is_empty() && !detail.contains(char::is_control),
        "{asked}: {detail:?}"
    );
    detail
}

#[test]
fn the_api_refuses_a_bad_work_item_id_in_the_address_and_in_the_body() {
    let house = Untouched::start();
    let api = house.service.api();
    for id in bad_ids() {
        let body = json!({ "title": "Work", "id": &id });
        let detail = refused(&api.post("/api/v1/tasks", &body), 422, &id);
        assert_names(&detail, &["work item id", "is not usable"]);
        let body = json!({ "title": "Work", "depends_on": [&id] });
        refused(&api.post("/api/v1/tasks", &body), 422, &id);

        let task = format!("/api/v1/tasks/{}", encoded(&id));
        let status = if is_in_a_project(&id) { 404 } else { 422 };
        refused(&api.get(&task), status, &id);
        refused(&api.get(&format!("{task}/runs")), status, &id);
        let gesture = json!({ "gesture": "cancelled" });
        refused(&api.post(&format!("{task}/gestures"), &gesture), status, &id);
    }
    // As it stands, an address is taken apart at its slashes and nowhere else.
    for (path, status) in [
        ("../x", 404),
        ("../../etc/passwd", 404),
        ("shop/../x", 404),
        ("", 404),
        ("%00", 422),
        ("%0d%0aX-Evil:%201", 422),
        ("%ff%fe", 422),
        ("%zz", 422),
        ("-rf", 422),
        ("%2e%2e%2fx", 404),
        (&"x".repeat(5000), 422),
    ] {
        let answer = api.get(&format!("/api/v1/tasks/{path}"));
        refused(&answer, status, path);
        assert_eq!(answer.header("x-evil"), None);
    }
    house.check();
}
