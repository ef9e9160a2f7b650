//! Merges, which really move main, and every way in which they are refused.

use serde_json::{Value, json};

use super::rest::{head_of, refusal};
use super::{World, mail};
use crate::support::fake_http::Answer;
use crate::support::repo::{git, git_ok};

pub(super) fn merge(world: &mut World, name: &str, number: u64, body: &Value) -> Answer {
    if let Some(files) = world.repositories.get_mut(name).unwrap().faster.take() {
        squash(world, name, number, &files);
    }
    if let Some(files) = world.repositories.get_mut(name).unwrap().pushes.take() {
        commit(world, name, "main", &files);
    }
    let allowed = world.repositories[name].allows_fast_forward;
    let pull = world.pull(name, number);
    let (state, merged, title) = (pull.state, pull.merged, pull.title.clone());
    let (head_branch, base) = (pull.head.clone(), pull.base.clone());
    if merged {
        return refusal(405, "");
    }
    if state == "closed" {
        return refusal(404, "The target couldn't be found.");
    }
    if title.starts_with("WIP:") {
        return refusal(405, "Work in progress PRs cannot be merged");
    }
    let repository = world.repositories.get_mut(name).unwrap();
    if repository.checking > 0 {
        repository.checking -= 1;
        return refusal(405, "Please try again later");
    }
    let style = body["Do"].as_str().unwrap_or_default();
    let known = ["fast-forward-only", "merge", "squash", "rebase"].contains(&style);
    if !known || style == "fast-forward-only" && !allowed {
        let words = format!("{style} is not allowed an allowed merge style for this repository");
        return refusal(405, &words);
    }
    let head = world.head_of(name, number);
    if body["head_commit_id"].as_str().is_some_and(|id| id != head) {
        return refusal(409, "head out of date");
    }
    let bare = world.bare(name);
    let before = world.heads(name);
    let Some(old) = before
        .get(&base)
        .filter(|_| before.contains_key(&head_branch))
        .cloned()
    else {
        return refusal(404, "The target couldn't be found.");
    };
    let is_on_top = git_ok(&bare, &["merge-base", "--is-ancestor", &old, &head]);
    let merges = git_ok(&bare, &["merge-tree", "--write-tree", &old, &head]);
    if style == "fast-forward-only" && !is_on_top || !merges {
        // A conflict tells itself in another shape, without a message.
        let told = json!({
            "Style": style, "StdOut": "", "StdErr": "fatal: Not possible to fast-forward, aborting.\n", "Err": {},
        });
        return Answer::json(409, &told);
    }
    let joined = |parents: &[&str]| {
        let tree = git(&bare, &["merge-tree", "--write-tree", &old, &head]);
        let parents = parents.iter().flat_map(|parent| ["-p", parent]);
        let mut words = vec!["commit-tree", &tree, "-m", "By Gitea"];
        words.extend(parents);
        git(&bare, &words)
    };
    let commit = match style {
        "merge" => joined(&[&old, &head]),
        "squash" => joined(&[&old]),
        // As one commit where the branch is behind: what its commits are called is of no interest here.
        "rebase" if !is_on_top => joined(&[&old]),
        _ => head,
    };
    git(
        &bare,
        &["update-ref", &format!("refs/heads/{base}"), &commit, &old],
    );
    close(world, name, number, &commit);
    world.pushed(name, &before, "orch");
    Answer::empty(200)
}

/// A person pushes a commit with these files to a branch, made at main where it is not there; the commit.
pub(super) fn commit(world: &mut World, name: &str, branch: &str, files: &[(String, String)]) -> String {
    let (bare, desk) = (world.bare(name), world.desk(name));
    for from in [branch, "main"] {
        if git_ok(
            &bare,
            &["rev-parse", "-q", "--verify", &format!("refs/heads/{from}")],
        ) {
            git(&desk, &["fetch", "-q", "origin", from]);
            git(&desk, &["switch", "-q", "--detach", "FETCH_HEAD"]);
            break;
        }
    }
    for (path, content) in files {
        let path = desk.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    git(&desk, &["add", "-A"]);
    git(&desk, &["commit", "-q", "-m", "By a person"]);
    let before = world.heads(name);
    git(
        &desk,
        &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")],
    );
    world.pushed(name, &before, "a-person");
    git(&desk, &["rev-parse", "HEAD"])
}

fn close(world: &mut World, name: &str, number: u64, commit: &str) {
    let head = world.head_of(name, number);
    world.track(name, number, &head);
    let pull = world.pull(name, number);
    pull.state = "closed";
    pull.merged = true;
    pull.merge_commit = Some(commit.to_owned());
    mail::pull_request(world, name, number, "closed", "orch");
}

/// As one commit, on top of main, with these files besides.
pub(super) fn squash(world: &mut World, name: &str, number: u64, files: &[(String, String)]) {
    let (bare, desk) = (world.bare(name), world.desk(name));
    let before = world.heads(name);
    let pull = world.repositories[name]
        .pulls
        .iter()
        .find(|p| p.number == number)
        .unwrap();
    let (head, base) = (head_of(world, name, pull), pull.base.clone());
    git(
        &desk,
        &["fetch", "-q", "origin", &format!("refs/pull/{number}/head")],
    );
    git(&desk, &["switch", "-q", "--detach", &head]);
    for (path, content) in files {
        std::fs::write(desk.join(path), content).unwrap();
    }
    git(&desk, &["add", "-A"]);
    let tree = git(&desk, &["write-tree"]);
    let parent = &before[&base];
    git(&desk, &["fetch", "-q", "origin", &base]);
    let commit = git(&desk, &["commit-tree", &tree, "-p", parent, "-m", "Squashed"]);
    git(&desk, &["reset", "-q", "--hard", &head]);
    git(
        &desk,
        &["push", "-q", "origin", &format!("{commit}:refs/heads/{base}")],
    );
    assert!(git_ok(&bare, &["cat-file", "-e", &commit]));
    close(world, name, number, &commit);
    world.pushed(name, &before, "a-person");
}
