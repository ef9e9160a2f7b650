//! The paths of the API, and what they answer.

use serde_json::{Value, json};

use super::merge;
use super::{Account, Pull, Repository, Status, World, mail};
use crate::support::fake_http::{Answer, Request, decoded};
use crate::support::repo::{git, git_ok};

/// `{message, url}`, as every refusal is.
pub(super) fn refusal(status: u16, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "message": message, "url": "http://gitea/api/swagger" }),
    )
}

fn missing() -> Answer {
    refusal(404, "The target couldn't be found.")
}

pub(super) fn answer(world: &mut World, request: &Request, path: &str) -> Answer {
    let account = match request.header("authorization").and_then(super::cgi::token_of) {
        None => None,
        Some(token) => match world.accounts.get(&token) {
            Some(account) => Some(account.clone()),
            None => return refusal(401, "invalid username, password or token"),
        },
    };
    if path == "version" {
        return Answer::json(200, &json!({ "version": "1.25.1" }));
    }
    // Every repository here is private: without a token it is not even there.
    let Some(account) = account else { return missing() };
    let parts: Vec<String> = path.split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["repos", owner, repository, rest @ ..] = &parts[..] else {
        return missing();
    };
    let name = format!("{owner}/{repository}");
    if !world.repositories.contains_key(&name) {
        return missing();
    }
    let writes = request.method != "GET";
    if writes && !account.writes {
        return refusal(403, "token does not have at least one of required scope(s)");
    }
    if writes && world.repositories[&name].archived {
        return refusal(423, "acme/shop is archived");
    }
    route(world, request, (&name, rest), &account)
}

fn route(world: &mut World, request: &Request, (name, rest): (&str, &[&str]), by: &Account) -> Answer {
    let body = request.json();
    match (request.method.as_str(), rest) {
        ("GET", []) => Answer::json(200, &repository(world, name, by)),
        ("GET", ["branches", branch @ ..]) => {
            let branch = branch.join("/");
            match world.heads(name).get(&branch) {
                Some(head) => Answer::json(
                    200,
                    &json!({ "name": branch, "commit": { "id": head }, "protected": branch == "main" }),
                ),
                None => missing(),
            }
        }
        ("GET", ["compare", range @ ..]) => compare(world, name, &range.join("/")),
        ("GET", ["commits", sha, "status"]) => combined(world, request, name, sha),
        ("POST", ["statuses", sha]) => set_status(world, name, sha, &body),
        ("GET", ["pulls"]) => {
            let wanted = asked(request, "state").unwrap_or("open");
            let pulls = world.repositories[name].pulls.iter().rev();
            let shown = pulls.filter(|p| wanted == "all" || p.state == wanted);
            let shown: Vec<_> = shown.map(|p| pull(world, name, p)).collect();
            page(world, request, shown)
        }
        ("POST", ["pulls"]) if world.repositories[name].refuses_pulls => refusal(503, "try again later"),
        ("POST", ["pulls"]) => open_pull(world, name, &body, &by.login),
        ("GET", ["pulls", number]) => match find(world, name, number) {
            Some(found) => Answer::json(200, &pull(world, name, found)),
            None => missing(),
        },
        ("POST", ["pulls", number, "merge"]) => match find(world, name, number).map(|p| p.number) {
            Some(number) => merge::merge(world, name, number, &body),
            None => missing(),
        },
        ("GET", ["pulls", number, "reviews"]) => match find(world, name, number) {
            Some(found) => page(world, request, found.reviews.clone()),
            None => missing(),
        },
        ("GET", ["pulls", base, head @ ..]) => {
            let head = head.join("/");
            let mut pulls = world.repositories[name].pulls.iter();
            // Whichever comes first, in whatever state it is.
            match pulls.find(|p| p.base == *base && p.head == head) {
                Some(found) => Answer::json(200, &pull(world, name, found)),
                None => missing(),
            }
        }
        ("GET", ["issues", number, "comments"]) => match find(world, name, number) {
            Some(found) => Answer::json(200, &json!(found.comments)),
            None => missing(),
        },
        ("POST", ["issues", number, "comments"]) => {
            let Some(number) = find(world, name, number).map(|p| p.number) else {
                return missing();
            };
            let (id, at) = (world.id(), world.when());
            let comment = json!({
                "id": id, "user": { "login": by.login }, "body": body["body"], "created_at": at, "updated_at": at,
            });
            world.pull(name, number).comments.push(comment.clone());
            Answer::json(201, &comment)
        }
        ("GET", ["collaborators", login, "permission"]) => {
            if !by.administers && by.login != *login {
                return refusal(403, "Only admins can query all permissions");
            }
            let permission = match world.strangers.contains(*login) {
                true => "read",
                false => "write",
            };
            let user = json!({ "login": login });
            Answer::json(
                200,
                &json!({ "permission": permission, "role_name": permission, "user": user }),
            )
        }
        (_, ["hooks"]) if !by.administers => {
            refusal(403, "user should be an owner or a collaborator with admin write")
        }
        ("GET", ["hooks"]) => {
            let hooks = world.repositories[name].hooks.clone();
            page(world, request, hooks)
        }
        ("POST", ["hooks"]) => {
            let mut hook = body;
            hook["id"] = json!(world.id());
            // A secret is never shown again.
            hook["config"].as_object_mut().unwrap().remove("secret");
            world.repositories.get_mut(name).unwrap().hooks.push(hook.clone());
            Answer::json(201, &hook)
        }
        _ => missing(),
    }
}

fn asked<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    let found = request.query.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// `page` from 1; a longer `limit` than the server's is cut short.
fn page(world: &World, request: &Request, all: Vec<Value>) -> Answer {
    let number = |name, else_| asked(request, name).map_or(else_, |n| n.parse().unwrap());
    let (page, limit): (usize, usize) = (number("page", 1), number("limit", 30));
    let limit = limit.min(world.most);
    let total = all.len();
    let shown: Vec<_> = all.into_iter().skip((page - 1) * limit).take(limit).collect();
    let answer = Answer::json(200, &json!(shown)).with("X-Total-Count", total + world.lost);
    if page * limit >= total {
        return answer;
    }
    let next = format!("{}{}?page={}&limit={limit}", world.url, request.path, page + 1);
    answer.with("Link", format!("<{next}>; rel=\"next\",<{next}>; rel=\"last\""))
}

fn find<'w>(world: &'w World, name: &str, number: &str) -> Option<&'w Pull> {
    let number: u64 = number.parse().ok()?;
    world.repositories[name].pulls.iter().find(|p| p.number == number)
}

fn repository(world: &World, name: &str, by: &Account) -> Value {
    let known: &Repository = &world.repositories[name];
    let (owner, short) = name.split_once('/').unwrap();
    json!({
        "id": 1, "name": short, "full_name": name, "owner": { "login": owner }, "private": true,
        "default_branch": "main", "archived": known.archived, "has_pull_requests": true,
        "allow_merge_commits": true, "allow_rebase": true, "allow_squash_merge": true,
        "allow_fast_forward_only_merge": known.allows_fast_forward,
        "permissions": { "admin": by.administers, "push": by.writes, "pull": true },
    })
}

fn compare(world: &World, name: &str, range: &str) -> Answer {
    let (bare, Some((a, b))) = (world.bare(name), range.split_once("...")) else {
        return missing();
    };
    let known = |rev: &str| {
        git_ok(
            &bare,
            &["rev-parse", "-q", "--verify", &format!("{rev}^{{commit}}")],
        )
    };
    if !known(a) || !known(b) {
        return missing();
    }
    let log = git(&bare, &["rev-list", &format!("{a}..{b}")]);
    let commits: Vec<_> = log.lines().map(|sha| json!({ "sha": sha })).collect();
    Answer::json(
        200,
        &json!({ "total_commits": commits.len(), "commits": commits }),
    )
}

/// The latest of each context.
fn combined(world: &World, request: &Request, name: &str, rev: &str) -> Answer {
    let bare = world.bare(name);
    let commit = format!("{rev}^{{commit}}");
    if !git_ok(&bare, &["rev-parse", "-q", "--verify", &commit]) {
        return missing();
    }
    let sha = git(&bare, &["rev-parse", &commit]);
    let mut latest: Vec<&Status> = Vec::new();
    for status in world.repositories[name].statuses.iter().filter(|s| s.sha == sha) {
        latest.retain(|s| s.context != status.context);
        latest.push(status);
    }
    let shown: Vec<_> = latest
        .iter()
        .map(|s| json!({ "id": s.id, "status": s.state, "context": s.context, "description": s.description }))
        .collect();
    if shown.is_empty() {
        // Without any: no word for all of them, and no list either.
        let none = json!({ "state": "", "sha": sha, "total_count": 0, "statuses": null });
        return Answer::json(200, &none);
    }
    let total = shown.len();
    let limit = asked(request, "limit")
        .map_or(30, |n| n.parse().unwrap())
        .min(world.most);
    let page: usize = asked(request, "page").map_or(1, |n| n.parse().unwrap());
    let shown: Vec<_> = shown.into_iter().skip((page - 1) * limit).take(limit).collect();
    // What it makes of them differs between versions.
    let told = json!({ "state": "pending", "sha": sha, "total_count": shown.len(), "statuses": shown });
    Answer::json(200, &told).with("X-Total-Count", total + world.lost)
}

pub(super) fn set_status(world: &mut World, name: &str, sha: &str, body: &Value) -> Answer {
    let state = body["state"].as_str().unwrap_or_default().to_owned();
    if !["pending", "success", "error", "failure", "warning", "skipped"].contains(&state.as_str()) {
        return refusal(422, "invalid state");
    }
    let status = Status {
        id: world.id(),
        sha: sha.to_owned(),
        context: body["context"].as_str().unwrap_or("default").to_owned(),
        state,
        description: body["description"].as_str().unwrap_or_default().to_owned(),
    };
    let repository = world.repositories.get_mut(name).unwrap();
    repository.statuses.push(status.clone());
    mail::status(world, name, &status);
    let told = json!({ "id": status.id, "status": status.state, "context": status.context });
    Answer::json(201, &told)
}

pub(super) fn open_pull(world: &mut World, name: &str, body: &Value, by: &str) -> Answer {
    let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let (head, base) = (word("head"), word("base"));
    let heads = world.heads(name);
    if head == base {
        return refusal(
            422,
            "Invalid PullRequest: There are no changes between the head and the base",
        );
    }
    if !heads.contains_key(&base) {
        return missing();
    }
    let Some(at) = heads.get(&head).cloned() else {
        return missing();
    };
    let pulls = &world.repositories[name].pulls;
    let same = pulls
        .iter()
        .find(|p| p.state == "open" && p.from == name && p.head == head && p.base == base);
    if let Some(same) = same {
        let words = format!(
            "pull request already exists for these targets [id: {}]",
            same.number
        );
        return refusal(409, &words);
    }
    // Issues and pull requests share their numbers.
    let number = pulls.last().map_or(3, |p| p.number + 2);
    let pull = Pull {
        number,
        from: name.to_owned(),
        title: word("title"),
        body: word("body"),
        head,
        base,
        state: "open",
        merged: false,
        merge_commit: None,
        last_head: at.clone(),
        reviews: Vec::new(),
        comments: Vec::new(),
    };
    world.repositories.get_mut(name).unwrap().pulls.push(pull);
    world.track(name, number, &at);
    mail::pull_request(world, name, number, "opened", by);
    let shown = self::pull(world, name, world.repositories[name].pulls.last().unwrap());
    Answer::json(201, &shown)
}

/// Its branch's, merged or not; what that was at last only where the branch is gone.
pub(super) fn head_of(world: &World, name: &str, pull: &Pull) -> String {
    let now = world.heads(name).get(&pull.head).cloned();
    now.unwrap_or_else(|| pull.last_head.clone())
}

pub(super) fn pull(world: &World, name: &str, pull: &Pull) -> Value {
    let heads = world.heads(name);
    let gone = !heads.contains_key(&pull.head);
    let head_ref = match gone {
        true => format!("refs/pull/{}/head", pull.number),
        false => pull.head.clone(),
    };
    let side = |repository: &str, label: &str, reference: &str, sha: &str| json!({ "label": label, "ref": reference, "sha": sha, "repo": { "full_name": repository } });
    json!({
        "id": pull.number, "number": pull.number, "title": pull.title, "body": pull.body, "state": pull.state,
        "draft": pull.title.starts_with("WIP:"), "mergeable": pull.state == "open",
        "merged": pull.merged, "merged_at": null, "merge_commit_sha": pull.merge_commit,
        "html_url": format!("{}/{name}/pulls/{}", world.url, pull.number),
        "base": side(name, &pull.base, &pull.base, heads.get(&pull.base).map_or("", |s| s)),
        "head": side(&pull.from, &pull.head, &head_ref, &head_of(world, name, pull)),
    })
}
