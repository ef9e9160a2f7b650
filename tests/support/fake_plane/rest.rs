//! The paths, and what they answer.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::http::Seen;
use super::{Item, Project, WORKSPACE, World, mail, when};

/// What is told, still as JSON.
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Answer {
    fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }
}

pub(super) fn answer(world: &mut World, seen: &Seen) -> Answer {
    let Some(key) = &seen.key else {
        return Answer::new(
            401,
            json!({ "detail": "Authentication credentials were not provided." }),
        );
    };
    let Some(actor) = world.keys.get(key).cloned() else {
        return Answer::new(403, json!({ "detail": "Given API token is not valid" }));
    };
    let spent = world.spent.entry(key.clone()).or_default();
    *spent += 1;
    let (spent, limit) = (*spent, world.limit);
    if limit.is_some_and(|limit| spent > limit) {
        let body = json!({ "error_code": 5900, "error_message": "RATE_LIMIT_EXCEEDED" });
        let mut answer = Answer::new(429, body);
        answer.headers.push(("Retry-After".into(), "31".into()));
        return answer;
    }
    let mut answer = route(world, seen, &actor);
    if let Some(limit) = limit {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let left = limit - spent;
        answer
            .headers
            .push(("X-RateLimit-Remaining".into(), left.to_string()));
        answer
            .headers
            .push(("X-RateLimit-Reset".into(), (now + 60).to_string()));
    }
    answer
}

fn route(world: &mut World, seen: &Seen, actor: &str) -> Answer {
    let missing = || Answer::new(404, json!({ "error": "The requested resource does not exist." }));
    let prefix = format!("/api/v1/workspaces/{WORKSPACE}/projects/");
    let Some(rest) = seen.path.strip_prefix(&prefix).and_then(|p| p.strip_suffix('/')) else {
        return missing();
    };
    let parts: Vec<_> = rest.split('/').collect();
    let Some(known) = world.projects.get(parts[0]) else {
        return missing();
    };
    let project = parts[0];
    match (seen.method.as_str(), &parts[1..]) {
        ("GET", []) => Answer::new(
            200,
            json!({ "id": project, "name": "Shop", "identifier": "SHOP" }),
        ),
        ("GET", ["states"]) => page(
            seen,
            known.states.iter().map(|s| state(s, project)).collect(),
            1000,
        ),
        ("GET", ["work-items" | "issues"]) => {
            let mut items: Vec<_> = known.items.iter().collect();
            items.sort_by_key(|i| std::cmp::Reverse(i.updated));
            page(
                seen,
                items.iter().map(|i| item(i, known, project, seen)).collect(),
                100,
            )
        }
        (method, ["work-items" | "issues", id, rest @ ..]) => {
            let Some(found) = known.items.iter().find(|i| i.id == *id) else {
                return missing();
            };
            match (method, rest) {
                ("GET", []) => Answer::new(200, item(found, known, project, seen)),
                ("PATCH", []) => patch(world, project, id, seen, actor),
                ("GET", ["comments"]) => page(seen, found.comments.iter().rev().cloned().collect(), 100),
                ("POST", ["comments"]) => add_comment(world, project, id, &seen.body, actor),
                _ => missing(),
            }
        }
        _ => missing(),
    }
}

fn patch(world: &mut World, project: &str, id: &str, seen: &Seen, actor: &str) -> Answer {
    let wanted = seen.body["state"].as_str().unwrap_or_default().to_owned();
    if !world.projects[project].states.iter().any(|(id, _)| *id == wanted) {
        let words = format!("Invalid pk \"{wanted}\" - object does not exist.");
        return Answer::new(400, json!({ "state": [words] }));
    }
    let shown = set_state(world, project, id, &wanted, "state", actor);
    Answer::new(200, shown)
}

/// As the answer shows it; what a webhook shows of it is younger.
pub(super) fn set_state(
    world: &mut World,
    project: &str,
    id: &str,
    state: &str,
    field: &str,
    actor: &str,
) -> Value {
    let now = world.tick(1_000);
    let known = world.projects.get_mut(project).unwrap();
    let found = known.items.iter_mut().find(|i| i.id == id).unwrap();
    let before = std::mem::replace(&mut found.state, state.to_owned());
    found.updated = now;
    let known = &world.projects[project];
    let found = known.items.iter().find(|i| i.id == id).unwrap();
    let shown = item(found, known, project, &Seen::default());
    if before != state {
        let later = world.tick(11_548);
        let known = world.projects.get_mut(project).unwrap();
        let name = known
            .states
            .iter()
            .find(|(own, _)| own == state)
            .unwrap()
            .1
            .clone();
        let found = known.items.iter_mut().find(|i| i.id == id).unwrap();
        found.updated = later;
        found.history.push((name, actor.to_owned()));
        mail::moved(world, project, id, field, (&before, state), actor);
    }
    shown
}

pub(super) fn add_comment(world: &mut World, project: &str, id: &str, body: &Value, actor: &str) -> Answer {
    let (own, now) = (world.id(), world.tick(1_000));
    let known = world.projects.get_mut(project).unwrap();
    let found = known.items.iter_mut().find(|i| i.id == id).unwrap();
    if !body["comment_html"].is_string() {
        return Answer::new(400, json!({ "comment_html": ["This field is required."] }));
    }
    let pair = |c: &Value| (c["external_id"].clone(), c["external_source"].clone());
    if !body["external_id"].is_null()
        && let Some(same) = found.comments.iter().find(|c| pair(c) == pair(body))
    {
        let words = "Work item comment with the same external id and external source already exists";
        return Answer::new(409, json!({ "error": words, "id": same["id"] }));
    }
    let comment = json!({
        "id": own, "created_at": when(now), "updated_at": when(now), "deleted_at": null,
        "comment_html": body["comment_html"], "attachments": [], "access": "INTERNAL",
        "external_source": body["external_source"], "external_id": body["external_id"], "edited_at": null,
        "created_by": actor, "updated_by": actor, "project": project,
        "workspace": "735476fa-918c-4fa4-84b0-2062ddc3eda3", "issue": id, "actor": actor, "parent": null,
    });
    found.comments.push(comment.clone());
    mail::commented(world, project, &comment, actor);
    Answer::new(201, comment)
}

/// `cursor` is `per_page:page:0`; the next one is always named.
fn page(seen: &Seen, all: Vec<Value>, most: usize) -> Answer {
    let per_page = seen.asked("per_page").map_or(most, |n| n.parse().unwrap());
    let number: usize = seen
        .asked("cursor")
        .and_then(|c| c.split(':').nth(1))
        .map_or(0, |n| n.parse().unwrap());
    let total = all.len();
    let results: Vec<_> = all.into_iter().skip(number * per_page).take(per_page).collect();
    let more = (number + 1) * per_page < total;
    Answer::new(
        200,
        json!({
            "grouped_by": null, "sub_grouped_by": null, "total_count": total,
            "next_cursor": format!("{per_page}:{}:0", number + 1),
            "prev_cursor": format!("{per_page}:{}:1", i64::try_from(number).unwrap() - 1),
            "next_page_results": more, "prev_page_results": number > 0, "count": results.len(),
            "total_pages": total.div_ceil(per_page), "total_results": total, "extra_stats": null,
            "results": results,
        }),
    )
}

fn state((id, name): &(String, String), project: &str) -> Value {
    json!({ "id": id, "name": name, "color": "#60646C", "group": "started", "project": project, "default": false })
}

pub(super) fn item(item: &Item, known: &Project, project: &str, seen: &Seen) -> Value {
    let named = known.states.iter().find(|(id, _)| *id == item.state).unwrap();
    let shown = match seen.asked("expand") {
        Some("state") => state(named, project),
        _ => json!(item.state),
    };
    let all = json!({
        "id": item.id, "created_at": when(item.updated), "updated_at": when(item.updated), "deleted_at": null,
        "name": item.name, "description_html": format!("<p>{}</p>", item.description),
        "description_stripped": item.description, "priority": "none", "sequence_id": item.sequence,
        "sort_order": 65535.0, "external_source": null, "external_id": null,
        "created_by": "388e178f-cf51-4b70-9a63-2d2108411218", "project": project,
        "workspace": "735476fa-918c-4fa4-84b0-2062ddc3eda3", "parent": null, "state": shown,
        "assignees": [], "labels": [],
    });
    match seen.asked("fields") {
        None => all,
        Some(fields) => fields
            .split(',')
            .map(|f| (f.to_owned(), all[f].clone()))
            .collect::<Map<_, _>>()
            .into(),
    }
}
