//! What Plane delivers, in both versions, and what no sender should.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn issue() -> Value {
    json!({
        "event": "issue",
        "action": "updated",
        "webhook_id": "w-1",
        "workspace_id": "ws-1",
        "data": {
            "id": "i-1",
            "name": "Fix it",
            "description_stripped": "soon",
            "project": "p-1",
            "state": {"id": "s-2", "name": "In Progress", "color": "#fff", "group": "started"},
            "labels": [],
            "updated_at": "2026-11-21T07:28:48.443029Z"
        },
        "activity": {
            "field": "state",
            "old_value": "s-1",
            "new_value": "s-2",
            "actor": {"id": "u-1", "email": "dev@example.com", "display_name": "dev"}
        }
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = issue();
    change(&mut body);
    body
}

fn read(body: &Value) -> Result<Said<IssueEvent>, Malformed> {
    parse(body.to_string().as_bytes())
}

fn event(body: &Value) -> IssueEvent {
    match read(body).unwrap() {
        Said::Event(event) => event,
        Said::Nothing { why } => panic!("{why}"),
    }
}

fn nothing(body: &Value) -> String {
    match read(body).unwrap() {
        Said::Nothing { why } => why,
        Said::Event(event) => panic!("{event:?}"),
    }
}

fn stands(body: &Value) -> Issue {
    match event(body).what {
        IssueChange::Stands(issue) => issue,
        IssueChange::Gone => panic!("gone"),
    }
}

#[test]
fn a_change_of_state_says_how_the_issue_stands_and_who_did_it() {
    let event = event(&issue());
    assert_eq!(
        (event.issue.as_str(), event.project.as_deref()),
        ("i-1", Some("p-1"))
    );
    assert_eq!(event.actor.as_deref(), Some("dev"));
    let IssueChange::Stands(issue) = event.what else {
        panic!()
    };
    assert_eq!(issue.state_name.as_deref(), Some("In Progress"));
    assert_eq!(issue.state_id.as_deref(), Some("s-2"));
    assert_eq!(issue.title.as_deref(), Some("Fix it"));
    assert_eq!(issue.updated_at, Some(Timestamp(1_795_246_128_443_029)));
}

#[test]
fn both_spellings_of_actions_and_of_the_field_are_understood() {
    for action in ["updated", "update"] {
        for field in ["state", "state_id"] {
            let body = with(|b| {
                b["action"] = json!(action);
                b["activity"]["field"] = json!(field);
            });
            assert_eq!(stands(&body).state_id.as_deref(), Some("s-2"), "{action} {field}");
        }
    }
    for action in ["created", "create"] {
        let body = with(|b| {
            b["action"] = json!(action);
            b["activity"]["field"] = Value::Null;
        });
        assert_eq!(stands(&body).title.as_deref(), Some("Fix it"), "{action}");
    }
    for action in ["deleted", "delete"] {
        let body = json!({"event": "issue", "action": action, "data": {"id": "i-1"}});
        let event = event(&body);
        assert_eq!((event.what, event.project), (IssueChange::Gone, None), "{action}");
    }
}

#[test]
fn what_is_not_used_is_nothing_and_says_why() {
    let priority = with(|b| b["activity"]["field"] = json!("priority"));
    assert_eq!(nothing(&priority), r#"a change of "priority" is not used"#);
    for kind in ["issue_comment", "project", "cycle", "module", "workspace"] {
        // Of those no field is looked at.
        let body = json!({"event": kind, "action": "created", "data": "anything"});
        assert_eq!(nothing(&body), format!("events of kind {kind:?} are not used"));
    }
    let archived = with(|b| b["action"] = json!("archived"));
    assert_eq!(nothing(&archived), r#"action "archived" of an issue is not used"#);
    assert!(nothing(&with(|b| b["activity"] = Value::Null)).contains("which field"));
}

#[test]
fn a_state_may_be_its_id_alone_and_fields_may_be_absent() {
    let body = with(|b| {
        b["data"]["state"] = json!("s-9");
        b["data"]["updated_at"] = json!("yesterday");
        b["data"].as_object_mut().unwrap().remove("description_stripped");
        b["activity"]["actor"] = Value::Null;
    });
    let issue = stands(&body);
    assert_eq!((issue.state_id.as_deref(), issue.state_name), (Some("s-9"), None));
    assert_eq!((issue.description, issue.updated_at), (None, None));
    assert_eq!(event(&body).actor, None);
}

#[test]
fn the_second_version_is_understood_in_each_way_it_names_an_event() {
    let body = |event: &str, before: Value| {
        json!({
            "version": "v2", "delivery_id": "d", "event_id": "e", "entity_type": "issue", "event": event,
            "data": {"id": "i-1", "name": "Fix it", "state_id": "s-2", "project_id": "p-1", "parent_id": "None",
                     "updated_at": "2026-03-31T11:44:41.249304+00:00"},
            "previous_attributes": before
        })
    };
    for name in [
        "workitem.updated",
        "WebhookScope.ScopeChoices.WORK_ITEM_UPDATED",
        "work_item.update",
    ] {
        let moved = body(name, json!({"state_id": "s-1", "updated_at": "x"}));
        assert_eq!(stands(&moved).state_id.as_deref(), Some("s-2"), "{name}");
        assert_eq!(event(&moved).project.as_deref(), Some("p-1"), "{name}");
        let other = body(name, json!({"last_activity_at": "x"}));
        assert_eq!(nothing(&other), "its state did not change", "{name}");
    }
    assert_eq!(
        stands(&body("workitem.created", json!({}))).title.as_deref(),
        Some("Fix it")
    );
    assert_eq!(
        event(&body("workitem.deleted", json!({}))).what,
        IssueChange::Gone
    );
    for name in ["workitem.comment.created", "workitem.link.updated", "workitem"] {
        assert!(nothing(&body(name, json!({}))).contains("not used"), "{name}");
    }
}

#[test]
fn each_field_of_a_wrong_type_is_named() {
    let paths: [(&[&str], &str); 10] = [
        (&["event"], "event"),
        (&["action"], "action"),
        (&["data"], "data"),
        (&["data", "id"], "data.id"),
        (&["data", "project"], "data.project"),
        (&["data", "state"], "data.state"),
        (&["data", "name"], "data.name"),
        (&["data", "updated_at"], "data.updated_at"),
        (&["activity"], "activity"),
        (&["activity", "field"], "activity.field"),
    ];
    for (path, named) in paths {
        let body = with(|b| {
            let field = path.iter().fold(b, |at, key| &mut at[*key]);
            *field = json!(7);
        });
        let said = read(&body).unwrap_err().to_string();
        assert!(said.starts_with(&format!("field `{named}`: ")), "{named}: {said}");
    }
    for missing in ["id", "project", "state"] {
        let body = with(|b| drop(b["data"].as_object_mut().unwrap().remove(missing)));
        let said = read(&body).unwrap_err().to_string();
        assert!(said.contains(&format!("data.{missing}")), "{said}");
    }
}

/// As Python writes half of a surrogate pair; serde_json refuses it in a string.
#[test]
fn half_a_character_in_a_title_does_not_make_an_issue_unreadable() {
    let body = issue().to_string().replace("Fix it", "Fix \\ud83d it");
    let Said::Event(event) = parse(body.as_bytes()).unwrap() else {
        panic!()
    };
    let IssueChange::Stands(issue) = event.what else {
        panic!()
    };
    let title = issue.title.unwrap();
    assert!(
        title.starts_with("Fix \u{fffd}") && title.ends_with(" it"),
        "{title:?}"
    );
    // And where nothing looks at it, anything may stand.
    let body = issue_with_unused("\"\\udfff\"");
    assert!(parse(body.as_bytes()).is_ok());
}

fn issue_with_unused(json: &str) -> String {
    self::issue().to_string().replacen("[]", json, 1)
}

#[test]
fn deep_nesting_is_no_overflow_and_where_nothing_looks_no_matter() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(deep.as_bytes()).is_err());
    assert!(parse(issue_with_unused(&deep).as_bytes()).is_ok());
    assert!(parse(issue().to_string().replace("\"Fix it\"", &deep).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(parse(&bytes));
    }

    #[test]
    fn any_cut_and_any_changed_byte_of_an_issue_is_read_without_a_panic(at in 0_usize..700, byte in any::<u8>()) {
        let mut body = issue().to_string().into_bytes();
        let at = at % body.len();
        drop(parse(&body[..at]));
        body[at] = byte;
        drop(parse(&body));
    }
}
