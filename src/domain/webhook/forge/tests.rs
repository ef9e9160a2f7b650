//! What Gitea and Forgejo deliver, kind by kind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const HEAD: &str = "d555a5dd07f4d0148a58d4686ec381502ae6a2d4";

fn about(body: Value) -> Value {
    let mut body = body;
    body["repository"] = json!({"id": 7, "full_name": "Team/app", "owner": {"login": "Team"}});
    body["sender"] = json!({"id": 1, "login": "dev"});
    body
}

fn read(kind: &str, body: Value) -> Said<RepositoryEvent> {
    parse(kind, "", about(body).to_string().as_bytes()).unwrap()
}

fn what(kind: &str, body: Value) -> Happened {
    match read(kind, body) {
        Said::Event(event) => {
            assert_eq!(
                (event.repository.as_str(), event.sender.as_deref()),
                ("Team/app", Some("dev"))
            );
            event.what
        }
        Said::Nothing { why } => panic!("{why}"),
    }
}

fn nothing(kind: &str, body: Value) -> String {
    match read(kind, body) {
        Said::Nothing { why } => why,
        Said::Event(event) => panic!("{event:?}"),
    }
}

fn sha() -> Sha {
    Sha::parse(HEAD).unwrap()
}

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

#[test]
fn a_push_says_where_its_branch_is() {
    let push = |name: &str, after: &str| json!({"ref": name, "before": "0".repeat(40), "after": after, "commits": []});
    let feature = branch("feature/APP-001-x");
    let expected = Happened::Pushed {
        branch: feature.clone(),
        head: Some(sha()),
    };
    assert_eq!(what("push", push("refs/heads/feature/APP-001-x", HEAD)), expected);
    let gone = Happened::Pushed {
        branch: feature,
        head: None,
    };
    assert_eq!(
        what("push", push("refs/heads/feature/APP-001-x", &"0".repeat(40))),
        gone
    );
    assert_eq!(
        nothing("push", push("refs/tags/v1", HEAD)),
        "no branch was pushed"
    );
    assert!(nothing("push", push("refs/heads/-x", HEAD)).contains("no task"));
}

fn pull_request(action: &str, merged: bool) -> Value {
    json!({
        "action": action, "number": 3,
        "pull_request": {
            "number": 3, "state": "open", "merged": merged,
            "head": {"label": "feature/x", "ref": "feature/x", "sha": HEAD},
            "base": {"ref": "main"}
        }
    })
}

#[test]
fn what_was_done_to_a_pull_request_is_told_apart() {
    use PullRequestChange::{Closed, Merged, Opened, Reviewed, Synchronized};
    let table = [
        ("pull_request", "opened", false, Opened),
        ("pull_request", "reopened", false, Opened),
        ("pull_request", "synchronized", false, Synchronized),
        ("pull_request", "synchronize", false, Synchronized),
        ("pull_request", "closed", true, Merged),
        ("pull_request", "closed", false, Closed),
        ("pull_request_sync", "synchronized", false, Synchronized),
        ("pull_request_approved", "reviewed", false, Reviewed),
        ("pull_request_rejected", "reviewed", false, Reviewed),
    ];
    for (kind, action, merged, change) in table {
        let expected = Happened::PullRequest {
            number: 3,
            change,
            branch: branch("feature/x"),
            head: sha(),
        };
        assert_eq!(
            what(kind, pull_request(action, merged)),
            expected,
            "{kind} {action}"
        );
    }
    assert!(nothing("pull_request", pull_request("edited", false)).contains("edited"));
    assert!(nothing("pull_request_label", pull_request("label_updated", false)).contains("not used"));
}

#[test]
fn the_label_names_a_branch_that_is_gone() {
    let mut body = pull_request("closed", true);
    body["pull_request"]["head"]["ref"] = json!("refs/pull/3/head");
    let Happened::PullRequest { branch: found, .. } = what("pull_request", body.clone()) else {
        panic!()
    };
    assert_eq!(found, branch("feature/x"));
    body["pull_request"]["head"]["label"] = json!("");
    assert!(nothing("pull_request", body).contains("no task"));
}

#[test]
fn a_status_is_known_by_either_header() {
    let body = about(json!({"sha": HEAD, "state": "success", "context": "ci"}));
    let text = body.to_string();
    for (event, event_type) in [("status", "status"), ("status", ""), ("", "status")] {
        let Said::Event(read) = parse(event, event_type, text.as_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(
            read.what,
            Happened::Checked {
                head: sha(),
                branch: None
            }
        );
    }
    let Said::Nothing { why } = parse("", "", text.as_bytes()).unwrap() else {
        panic!()
    };
    assert_eq!(why, "no header says what kind of event it is");
}

#[test]
fn a_finished_run_of_ci_says_its_commit_and_its_branch() {
    let run = |action: &str| json!({"action": action, "workflow_run": {"head_sha": HEAD, "head_branch": "feature/x", "status": "completed"}});
    let expected = Happened::Checked {
        head: sha(),
        branch: Some(branch("feature/x")),
    };
    assert_eq!(what("workflow_run", run("completed")), expected);
    assert!(nothing("workflow_run", run("in_progress")).contains("nothing yet"));
    assert!(nothing("workflow_job", run("completed")).contains("not used"));
    for kind in ["action_run_success", "action_run_failure", "action_run_recover"] {
        let body = json!({"action": "x", "run": {"commit_sha": HEAD, "prettyref": "feature/x"}});
        assert_eq!(what(kind, body), expected, "{kind}");
        let body = json!({"action": "x", "run": {"commit_sha": HEAD, "prettyref": "#3"}});
        let Happened::Checked { head, .. } = what(kind, body) else {
            panic!()
        };
        assert_eq!(head, sha());
    }
}

#[test]
fn what_is_not_used_is_nothing() {
    for kind in [
        "create",
        "delete",
        "issues",
        "issue_comment",
        "release",
        "fork",
        "a\u{7}b",
    ] {
        assert!(nothing(kind, json!({})).ends_with("are not used"), "{kind}");
    }
}

#[test]
fn a_field_of_a_wrong_type_or_a_commit_that_is_none_is_named() {
    let refused = |kind: &str, body: Value| {
        parse(kind, "", about(body).to_string().as_bytes())
            .unwrap_err()
            .to_string()
    };
    let table = [
        ("push", json!({"ref": 1, "after": HEAD}), "ref"),
        ("push", json!({"ref": "refs/heads/x", "after": "HEAD"}), "after"),
        ("push", json!({"ref": "refs/heads/x"}), ""),
        ("status", json!({"sha": "-rf"}), "sha"),
        ("status", json!({"sha": [HEAD]}), "sha"),
        (
            "workflow_run",
            json!({"action": "completed", "workflow_run": []}),
            "workflow_run",
        ),
        (
            "pull_request",
            json!({"action": "opened", "number": "3", "pull_request": {"head": {"sha": HEAD}}}),
            "number",
        ),
        (
            "action_run_success",
            json!({"run": {"commit_sha": null}}),
            "run.commit_sha",
        ),
    ];
    for (kind, body, field) in table {
        let said = refused(kind, body.clone());
        assert!(
            said.starts_with("field `") && said.contains(field),
            "{kind} {body}: {said}"
        );
    }
    let said = parse("status", "", json!({"sha": HEAD}).to_string().as_bytes())
        .unwrap_err()
        .to_string();
    assert!(said.contains("repository"), "{said}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        kind in "(push|pull_request|pull_request_sync|status|workflow_run|action_run_success|[a-z_]{0,9})",
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        drop(parse(&kind, "", &bytes));
    }

    #[test]
    fn any_changed_byte_of_a_pull_request_is_read_without_a_panic(at in 0_usize..700, byte in any::<u8>()) {
        let mut body = about(pull_request("closed", true)).to_string().into_bytes();
        let at = at % body.len();
        drop(parse("pull_request", "", &body[..at]));
        body[at] = byte;
        drop(parse("pull_request", "", &body));
    }
}
