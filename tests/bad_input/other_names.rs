//! What else has a name or a text of its own: projects, branches, nodes, people, paths, titles. Refused with the field
//! they stand in; whatever a title says, its branch is one that git takes.

use serde_json::{Value, json};

use super::names::{Untouched, refused};
use super::{TWO_STAGES, assert_names, cli};
use crate::support::{Project, Repo, Setup, git_ok};

#[test]
fn other_names_of_a_task_are_refused_with_the_field_they_stand_in() {
    let house = Untouched::start();
    let api = house.service.api();
    for (field, value, status) in [
        ("project", json!("../shop"), 404),
        ("project", json!("-rf"), 404),
        ("project", json!("SHOP"), 404),
        ("executor", json!("../claude"), 404),
        ("executor", json!("-rf"), 404),
        ("external_id", json!(""), 422),
        ("external_id", json!("a\nb"), 422),
        ("external_id", json!("x".repeat(201)), 422),
        ("modifies", json!(["../outside"]), 422),
        ("modifies", json!(["src", "/etc/passwd"]), 422),
        ("modifies", json!(["src/../../x"]), 422),
        ("modifies", json!(["a\0b"]), 422),
        ("modifies", json!([""]), 422),
        ("title", json!("two\nlines"), 422),
        ("title", json!("\u{1b}[31m"), 422),
        ("title", json!("x".repeat(301)), 422),
        ("title", json!("   "), 422),
        ("description", json!("a\0b"), 422),
        ("description", json!("x".repeat((64 << 10) + 1)), 422),
    ] {
        let mut task = json!({ "title": "Work" });
        task[field] = value.clone();
        let detail = refused(&api.post("/api/v1/tasks", &task), status, &task.to_string());
        assert_names(&detail, &[field]);
    }
    for (query, status) in [
        ("project=..%2Fshop", 404),
        ("before=-rf", 422),
        ("before=..%2F..%2Fx", 422),
        ("limit=many", 400),
        ("nonsense=1", 400),
    ] {
        let detail = refused(&api.get(&format!("/api/v1/tasks?{query}")), status, query);
        if status == 400 {
            assert_names(&detail, &[query]);
        }
    }
    house.check();
}

#[test]
fn a_gesture_with_a_bad_person_comment_or_candidate_does_nothing() {
    let repo = Repo::new();
    let service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let task: Value = service
        .api()
        .post(
            "/api/v1/tasks",
            &json!({ "title": "Work", "id": "HELD", "hold": true }),
        )
        .ok();
    let events = service.events(0, 0);
    for (field, value) in [
        ("gesture", json!("../start")),
        ("gesture", json!("")),
        ("person", json!("")),
        ("person", json!("ann\nbob")),
        ("person", json!("\u{1b}]0;x\u{7}")),
        ("person", json!("x".repeat(101))),
        ("comment", json!("a\0b")),
        ("comment", json!("x".repeat(16 * 1024 + 1))),
        ("candidate", json!("-rf")),
        ("candidate", json!("../../x")),
        ("candidate", json!("abc")),
    ] {
        let mut gesture = json!({ "gesture": "cancelled" });
        gesture[field] = value;
        let answer = service.api().post("/api/v1/tasks/HELD/gestures", &gesture);
        let detail = refused(&answer, 422, &gesture.to_string());
        assert_names(&detail, &[field]);
    }
    assert_names(
        cli(
            &service,
            &["task", "cancel", "HELD", "--candidate", "x", "--person", "a\nb"],
        )
        .said
        .as_str(),
        &["--candidate"],
    );
    assert_names(
        cli(&service, &["task", "cancel", "HELD", "--person", "a\nb"]).line(1),
        &["person", "one line"],
    );
    let now: Value = service.api().get("/api/v1/tasks/HELD").ok();
    assert_eq!((&now["task"], service.events(0, 0)), (&task, events));
    // A text may begin with a dash, a name may have other letters than ours.
    let ended = cli(
        &service,
        &[
            "task",
            "cancel",
            "HELD",
            "--comment",
            "- not now",
            "--person",
            &"ж".repeat(100),
        ],
    );
    assert_eq!(ended.code, 0, "{}", ended.said);
}

#[test]
fn whatever_a_title_says_its_branch_is_one_that_git_takes() {
    let repo = Repo::new();
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let long = "long ".repeat(60);
    let titles = [
        "../../etc/passwd",
        "-rf /",
        "--upload-pack=touch x",
        "~^:?*[\\",
        "HEAD",
        "a..b@{c}.lock",
        "$(touch /tmp/x) `id` ; id",
        "日本語",
        "{{ prompt }} {% for x in y %}",
        long.trim(),
    ];
    let ids: Vec<String> = titles.iter().map(|t| service.add(t)).collect();
    for (id, title) in ids.iter().zip(titles) {
        let done = service.wait_status(id, "done");
        assert_eq!(done.task.title, title);
        let branch = done.task.branch;
        let plain = branch
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/'));
        assert!(plain && branch.starts_with("feature/"), "{branch}");
        assert!(git_ok(&repo.path, &["check-ref-format", "--branch", &branch]));
        assert_eq!(repo.show(&format!("src/{id}.txt")), "1");
    }
}

#[test]
fn init_and_serve_refuse_bad_names_of_projects_branches_and_nodes_and_make_nothing() {
    let repo = Repo::new();
    for (option, value, part) in [
        ("--name", "../x", "--name"),
        ("--name", "Shop", "--name"),
        ("--name", "a/b", "--name"),
        ("--prefix", "../X", "prefix"),
        ("--prefix", "shop", "prefix"),
        ("--main", "a..b", "branch"),
        ("--main", "x.lock", "branch"),
    ] {
        let service = Setup::new().prepare();
        let here = repo.path.to_str().unwrap();
        let args = ["init", "--repo", here, "--agent", "claude", option, value];
        let ended = cli(&service, &args);
        assert_names(ended.line(2), &[part, value]);
        assert!(!service.data().exists(), "{option} {value}");
    }
    for node in ["../x", "-rf", "a b", ""] {
        let service = Setup::new().set("node", node).prepare();
        assert_names(super::refuses(&service).line(2), &["orch.toml:", "node ="]);
        assert!(!service.data().exists());
    }
}
