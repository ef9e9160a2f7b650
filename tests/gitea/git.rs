//! git over HTTP with the forge's token: known to each call of git, and to nobody else.

use std::fs;
use std::path::Path;

use orch::git::{GitError, Origin, PushMode, PushOutcome, Repository, check_origin};

use super::{branch, settings, sha};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY, TOKEN};
use crate::support::repo::{git, snapshot};

fn open(fake: &FakeGitea, room: &Path, token: &str) -> Result<Repository, GitError> {
    let origin = Origin::of(&fake.clone_url(REPOSITORY), &settings(&fake.url, token))?;
    Repository::open_or_clone(&room.join("clone.git"), origin, &branch("main"))
}

#[test]
fn a_repository_at_gitea_is_cloned_fetched_and_pushed_to_against_the_head_that_is_known() {
    let (fake, room) = (FakeGitea::new(), tempfile::tempdir().unwrap());
    let clone = open(&fake, room.path(), TOKEN).unwrap();
    let main = sha(&fake.head(REPOSITORY, "main").unwrap());
    let name = branch("feature/x");
    assert_eq!(clone.ensure_branch(&name).unwrap(), main);
    let theirs = sha(&fake.commit(REPOSITORY, "feature/x", &[("a", "1\n")]));
    let heads = clone.bring(&[&name]).unwrap();
    assert_eq!(heads.get(&name), Some(&theirs));
    // It was rewritten behind our back: what is there is not what is believed.
    let pushed = clone.push(&main, &name, Some(&main), PushMode::Rewrite).unwrap();
    assert_eq!(
        pushed,
        PushOutcome::Moved {
            found: Some(theirs.clone())
        }
    );
    let pushed = clone
        .push(&main, &name, Some(&theirs), PushMode::Rewrite)
        .unwrap();
    assert_eq!(pushed, PushOutcome::Pushed);
    assert_eq!(fake.head(REPOSITORY, "feature/x").unwrap(), main.as_str());
}

#[test]
fn the_token_is_nowhere_on_the_disk_and_not_what_others_reach_the_repository_with() {
    let (fake, room) = (FakeGitea::new(), tempfile::tempdir().unwrap());
    let clone = open(&fake, room.path(), TOKEN).unwrap();
    clone.ensure_branch(&branch("feature/x")).unwrap();
    let basic = "b3JjaDpnaXRlYV8wMTIz";
    for (path, content) in snapshot(room.path()) {
        let text = String::from_utf8_lossy(&content);
        assert!(
            !text.contains(TOKEN) && !text.contains(basic),
            "{}",
            path.display()
        );
    }
    // An agent's git, in a worktree of that clone.
    let worktree = room.path().join("w");
    git(
        clone.bare(),
        &[
            "worktree",
            "add",
            "-q",
            "--detach",
            worktree.to_str().unwrap(),
            "origin/main",
        ],
    );
    let asked = std::process::Command::new("git")
        .args(["-c", "credential.helper=", "fetch", "-q"])
        .current_dir(&worktree)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .unwrap();
    assert!(!asked.status.success());
    assert!(!format!("{clone:?}").contains(TOKEN));
}

#[test]
fn a_wrong_token_is_one_clear_line_that_names_its_setting() {
    let (fake, room) = (FakeGitea::new(), tempfile::tempdir().unwrap());
    fake.token("reads-only", "reader", false);
    let url = fake.clone_url(REPOSITORY);
    let refused = |e: GitError| {
        assert!(
            matches!(e, GitError::Denied { .. }) && e.needs_a_person(),
            "{e:?}"
        );
        let text = e.to_string();
        assert!(text.contains("gitea.token") && text.contains(&url), "{text}");
        assert!(
            !text.contains('\n') && !text.contains("secret-token") && !text.contains("Basic"),
            "{text}"
        );
    };
    refused(open(&fake, room.path(), "secret-token").unwrap_err());
    let origin = Origin::of(&url, &settings(&fake.url, "secret-token")).unwrap();
    refused(check_origin(&origin, &branch("main")).unwrap_err());
    // One that may only read is found out by the first push.
    let clone = open(&fake, room.path(), "reads-only").unwrap();
    refused(clone.ensure_branch(&branch("feature/x")).unwrap_err());
    let none = Origin::of(&fake.clone_url("acme/none"), &settings(&fake.url, TOKEN)).unwrap();
    let missing = check_origin(&none, &branch("main")).unwrap_err();
    assert!(matches!(missing, GitError::Denied { .. }), "{missing:?}");
}

#[test]
fn a_forge_that_is_down_is_not_taken_for_a_wrong_token() {
    let (fake, room) = (FakeGitea::new(), tempfile::tempdir().unwrap());
    fake.fail_git(9, 503);
    let down = open(&fake, room.path(), TOKEN).unwrap_err();
    assert!(
        matches!(down, GitError::Unreachable { .. }) && down.is_transient(),
        "{down:?}"
    );
}

#[test]
fn a_repository_elsewhere_is_not_given_the_token() {
    let (fake, other, room) = (FakeGitea::new(), FakeGitea::new(), tempfile::tempdir().unwrap());
    let settings = settings(&fake.url, TOKEN);
    // The other one would let it in.
    let origin = Origin::of(&other.clone_url(REPOSITORY), &settings).unwrap();
    assert!(Repository::open_or_clone(&room.path().join("c.git"), origin, &branch("main")).is_err());
    assert_eq!(
        Origin::of(&format!("{}0/x/y.git", fake.url), &settings)
            .unwrap()
            .shown(),
        format!("{}0/x/y.git", fake.url)
    );
    drop(fs::remove_dir_all(room.path()));
}
