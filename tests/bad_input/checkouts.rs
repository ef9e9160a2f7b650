//! What agents do to their worktree, to the clone behind it, and to the project's repository. Whatever it is: their
//! work is delivered or kept, and the next agent finds everything in order.

use orch::engine::views::TaskDetail;

use super::{TWO_STAGES, add, assert_names, blocked, kept, others_go_on};
use crate::support::{Agent, Project, Repo, Setup, THREE_STAGES, TestService, git, git_ok};

/// A developer who writes `work-<task>` and then does what stands for the task's name.
fn developer(cases: &[(&str, &str)]) -> Agent {
    let mut script = "who='git -c user.name=a -c user.email=a@example.invalid'\n\
        save() { git add -A; $who commit -q -m \"$1\"; }\n\
        common=$(git rev-parse --path-format=absolute --git-common-dir)\n\
        echo work >\"work-$ORCH_WORK_ITEM\"\ncase $ORCH_WORK_ITEM in\n"
        .to_owned();
    for (name, what) in cases {
        script += &format!("{name}) {what} ;;\n");
    }
    Agent::new().role("developer", &(script + "esac\n"))
}

fn service(repo: &Repo, cases: &[(&str, &str)], at_once: i64) -> TestService {
    let project = Project::new("shop", repo)
        .agent(&developer(cases))
        .then(TWO_STAGES);
    Setup::new()
        // An agent's `rm -rf` of the clone succeeds only while nobody writes there.
        .set("queue.spare_worktrees", false)
        .set("max_concurrency", at_once)
        .set("queue.max_attempts", 1)
        .project(project)
        .start()
}

/// Files at the tip of main.
fn delivered(repo: &Repo) -> Vec<String> {
    let list = repo.git(&["ls-tree", "-r", "--name-only", "-z", "main"]);
    list.split('\0').map(str::to_owned).collect()
}

fn has(files: &[String], name: &str) -> bool {
    files.iter().any(|f| f == name)
}

#[test]
fn whatever_state_a_worktree_is_left_in_its_work_is_delivered() {
    let repo = Repo::new();
    let cases = [
        (
            "DIRTY",
            "mkdir -p d/e; echo x >d/e/f; git add d; echo more >>README.md; rm check.sh; echo set >check.sh",
        ),
        (
            "LOCKED",
            "g=$(git rev-parse --git-dir); touch \"$g/index.lock\" \"$g/HEAD.lock\"",
        ),
        ("NO-GIT", "rm -rf .git"),
        (
            "OWN-GIT",
            "rm .git; git init -q .; git add work-OWN-GIT; $who commit -q -m own",
        ),
        ("BRANCH", "git checkout -q -b mine; save mine"),
        ("MAIN", "save x; git branch -f main HEAD; git checkout -q main"),
        (
            "WORKTREE",
            "git worktree add -q \"$out/sneaky\" HEAD; echo x >\"$out/sneaky/x\"",
        ),
        (
            "NESTED",
            "git init -q inner; echo x >inner/x; (cd inner; save inner)",
        ),
        (
            "LINKED",
            "git init -q linked; echo x >linked/x; (cd linked; save inner); git add linked; $who commit -q -m linked",
        ),
        (
            "RIGHTS",
            "mkdir closed; echo x >closed/x; chmod 500 closed; chmod 000 README.md",
        ),
        (
            "FILES",
            "mkfifo pipe; ln -s /etc/passwd link; ln -s loop loop; touch -- '-rf' ' x ' \"$(printf 'a\\nb')\" \"$(printf '\\377')\"",
        ),
        (
            "MODULES",
            "printf '[submodule \"x\"]\\n path = x\\n url = /none\\n' >.gitmodules",
        ),
        (
            "HOOKS",
            "mkdir -p \"$common/hooks\"; for h in post-checkout pre-commit post-commit reference-transaction; do \
            printf '#!/bin/sh\\ntouch \"%s/hooked\"\\nexit 1\\n' \"$out\" >\"$common/hooks/$h\"; chmod +x \"$common/hooks/$h\"; done",
        ),
        (
            "CONFIG",
            "git config core.worktree /none; git config core.bare false; git config commit.gpgsign true; git config remote.origin.url /none",
        ),
        ("BIG", "head -c 8000000 /dev/urandom >big"),
        ("NOTHING", "rm work-NOTHING"),
    ];
    // One after the other: what one leaves behind must not trouble the next.
    let mut service = service(&repo, &cases, 1);
    for (name, _) in cases {
        add(&service, name);
    }
    for (name, _) in cases {
        service.wait_status(name, "done");
    }
    let files = delivered(&repo);
    for (name, _) in cases.iter().filter(|(name, _)| *name != "NOTHING") {
        assert!(has(&files, &format!("work-{name}")), "{name}: {files:?}");
    }
    for file in [
        "d/e/f",
        "inner/x",
        "linked/x",
        "closed/x",
        "link",
        "-rf",
        " x ",
        "a\nb",
        "big",
        ".gitmodules",
    ] {
        assert!(has(&files, file), "{file:?}: {files:?}");
    }
    assert_eq!(repo.show("README.md"), "A project.\nmore");
    assert!(service.told("hooked").is_empty(), "a hook of an agent was run");
    assert_eq!(repo.merge_commits_since("main~3"), 0);
    others_go_on(&mut service, "OTHER");
}

/// Where the project's repository has the task's branch; empty where it has none.
fn branch_at_origin(repo: &Repo, detail: &TaskDetail) -> String {
    let name = format!("refs/heads/{}", detail.task.branch);
    repo.git(&["for-each-ref", "--format=%(objectname)", &name])
}

#[test]
fn a_history_that_an_agent_rewrote_is_kept_aside_and_not_pushed() {
    let repo = Repo::new();
    let base = repo.sha("main");
    let cases = [
        ("ORPHAN", "git checkout -q --orphan fresh; save orphan"),
        (
            "RESET",
            "git update-ref --no-deref HEAD $($who commit-tree -m other 'HEAD^{tree}'); save reset",
        ),
        ("AMEND", "git add -A; $who commit -q --amend -m amended"),
    ];
    let mut service = service(&repo, &cases, 1);
    for (name, _) in cases {
        add(&service, name);
        let (detail, reason) = blocked(&mut service, name);
        assert_names(&reason, &["rewrote the branch's history", "WIP ref"]);
        assert_eq!(branch_at_origin(&repo, &detail), "", "{name}");
        assert!(
            has(&kept(&service, "shop", &detail), &format!("work-{name}")),
            "{name}"
        );
        let told = detail.events.iter().any(|e| e.text.contains("refs/orch/wip/"));
        assert!(told, "{}", service.explain(&detail));
    }
    others_go_on(&mut service, "OTHER");
    assert_eq!(repo.since(&base).len(), 1);
}

#[test]
fn a_branch_that_was_moved_away_or_deleted_at_the_repository_blocks_its_task_and_the_work_is_kept() {
    let repo = Repo::new();
    let there = repo.path.display().to_string();
    let cases = [
        (
            "FORCED",
            format!(
                "update-ref refs/heads/$ORCH_BRANCH $(cd {there}; $who commit-tree -m evil 'main^{{tree}}')"
            ),
            "share no history",
        ),
        (
            "DELETED",
            "update-ref -d refs/heads/$ORCH_BRANCH".to_owned(),
            "was deleted while the agent worked",
        ),
    ];
    for (name, what, part) in cases {
        let reviewer = format!(
            "who='git -c user.name=a -c user.email=a@example.invalid'\n\
             verdict APPROVED; echo work >work-$ORCH_WORK_ITEM; git -C {there} {what}"
        );
        let agent = Agent::diligent().role("reviewer", &reviewer);
        let mut service = Setup::new()
            .set("queue.max_attempts", 1)
            .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
            .start();
        add(&service, name);
        let (detail, reason) = blocked(&mut service, name);
        assert_names(&reason, &[part]);
        assert!(
            has(&kept(&service, "shop", &detail), &format!("work-{name}")),
            "{name}"
        );
    }
}

#[test]
fn a_branch_that_nobody_has_pushed_to_yet_is_made_by_the_first_push() {
    let repo = Repo::new();
    let there = repo.path.display().to_string();
    let looks = format!("! git -C {there} show-ref --quiet refs/heads/$ORCH_BRANCH || exit 9");
    let nothing = format!("{looks}; rm \"work-$ORCH_WORK_ITEM\"");
    let mut service = service(&repo, &[("WORK", &looks), ("NOTHING", &nothing)], 1);
    add(&service, "WORK");
    service.wait_status("WORK", "done");
    assert!(has(&delivered(&repo), "work-WORK"));
    add(&service, "NOTHING");
    let done = service.wait_status("NOTHING", "done");
    assert_ne!(branch_at_origin(&repo, &done), "");
}

#[test]
fn a_commit_that_somebody_adds_to_the_branch_meanwhile_goes_below_the_agents() {
    let repo = Repo::new();
    let there = repo.path.display().to_string();
    let added = format!(
        "t=$(mktemp -d); git clone -q {there} $t/c; cd $t/c; git switch -q -c $ORCH_BRANCH; echo x >theirs; save theirs; git push -q origin HEAD"
    );
    let mut service = service(&repo, &[("ADDED", &added)], 1);
    add(&service, "ADDED");
    service.wait_status("ADDED", "done");
    let files = delivered(&repo);
    assert!(has(&files, "theirs") && has(&files, "work-ADDED"), "{files:?}");
}

#[test]
fn a_main_that_moved_rightly_is_no_reason_to_stop_an_agent_that_took_it_along() {
    let repo = Repo::new();
    let takes =
        "here waiting; until_told go; save mine; git fetch -q origin; $who merge -q -m take origin/main";
    let mut service = service(&repo, &[("TAKES", takes)], 2);
    add(&service, "TAKES");
    service.wait_here("waiting");
    add(&service, "OTHER");
    service.wait_status("OTHER", "done");
    service.tell("go");
    service.wait_status("TAKES", "done");
    let files = delivered(&repo);
    assert!(
        has(&files, "work-TAKES") && has(&files, "work-OTHER"),
        "{files:?}"
    );
}

#[test]
fn an_agent_that_destroys_the_clone_costs_nobody_their_work() {
    let repo = Repo::new();
    let cases = [
        (
            "PRUNE",
            "git reflog expire --expire=now --all; git gc -q --prune=now; git repack -adq",
        ),
        (
            "RUBBISH",
            "mkdir -p \"$common/refs/remotes/origin\"; echo rubbish >\"$common/refs/remotes/origin/main\"",
        ),
        ("ADMIN", "rm -rf \"$(git rev-parse --absolute-git-dir)\""),
        ("CLONE", "rm -rf \"$common\""),
        (
            "LOCKS",
            "touch \"$common/packed-refs.lock\" \"$common/config.lock\"; chmod 000 \"$common/config\"",
        ),
    ];
    let mut service = service(&repo, &cases, 1);
    for (name, _) in cases {
        add(&service, name);
        service.wait_status(name, "done");
        assert!(has(&delivered(&repo), &format!("work-{name}")), "{name}");
        others_go_on(&mut service, &format!("AFTER-{name}"));
    }
}

#[test]
fn a_clone_that_goes_away_under_several_agents_costs_none_of_them_what_they_wrote() {
    let repo = Repo::new();
    let waits = "here $ORCH_WORK_ITEM; until_told go";
    let cases = [("ONE", waits), ("TWO", waits), ("WRECKER", "rm -rf \"$common\"")];
    let mut service = service(&repo, &cases, 3);
    for name in ["ONE", "TWO"] {
        add(&service, name);
        service.wait_here(name);
    }
    add(&service, "WRECKER");
    service.wait_status("WRECKER", "done");
    service.tell("go");
    for name in ["ONE", "TWO"] {
        service.wait_status(name, "done");
        assert!(has(&delivered(&repo), &format!("work-{name}")), "{name}");
    }
}

#[test]
fn of_an_agent_that_removes_its_own_folder_what_it_committed_is_kept() {
    let repo = Repo::new();
    let gone = "save x; rm -rf -- \"$PWD\"";
    let mut service = service(&repo, &[("GONE", gone)], 1);
    add(&service, "GONE");
    let (detail, reason) = blocked(&mut service, "GONE");
    assert_names(&reason, &["removed its own worktree", "is kept"]);
    assert!(has(&kept(&service, "shop", &detail), "work-GONE"));
    others_go_on(&mut service, "OTHER");
    assert!(git_ok(
        &service.data().join("repos/shop.git"),
        &["fsck", "--connectivity-only"]
    ));
    let listed = git(&service.data().join("repos/shop.git"), &["worktree", "list"]);
    assert!(!listed.contains("/worktrees/"), "{listed}");
}
