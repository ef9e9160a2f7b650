//! A worktree stands ready before anybody asks for it; whenever the service is killed, nothing of it is lost or shared.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService, git, wait_until};

const WAITS: &str = r#"
[ -z "$(git status --porcelain --ignored -- . ':!docs')" ] || exit 9
here dev; until_told go; echo x >"$ORCH_WORK_ITEM.txt"; commit it
"#;

fn setup(repo: &Repo) -> Setup {
    let agent = Agent::diligent().role("developer", WAITS);
    Setup::new()
        .set("shutdown", "leave")
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
}

fn inode(file: &Path) -> Option<u64> {
    fs::metadata(file).ok().map(|meta| meta.ino())
}

/// Waits until the spare worktree has this file, and tells it from others.
fn wait_spare(service: &TestService) -> u64 {
    let file = service.data().join("spare/shop/README.md");
    wait_until("a spare worktree is there", || file.exists());
    inode(&file).unwrap()
}

/// Worktrees of runs that the clone knows.
fn of_runs(service: &TestService) -> Vec<String> {
    let listed = git(
        &service.data().join("repos/shop.git"),
        &["worktree", "list", "--porcelain"],
    );
    let paths = listed.lines().filter_map(|line| line.strip_prefix("worktree "));
    paths
        .filter(|path| path.contains("/worktrees/"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_agent_begins_in_the_worktree_that_stood_ready_and_the_next_one_follows() {
    let repo = Repo::new();
    let mut service = setup(&repo).start();
    let ready = wait_spare(&service);
    let id = service.add("Write it");
    let (_, cwd) = service.wait_here("dev");
    assert_eq!(inode(&cwd.join("README.md")), Some(ready));
    // Made again while the agent works.
    assert_ne!(wait_spare(&service), ready);
    service.tell("go");
    service.wait_status(&id, "done");
    service.wait_idle();
    // Main has moved on by the merge, and the spare worktree with it.
    let moved = service.data().join(format!("spare/shop/{id}.txt"));
    wait_until("the spare worktree is where main is", || moved.exists());
    assert_eq!(of_runs(&service), [""; 0]);
}

#[test]
fn without_the_switch_nothing_stands_ready_and_what_stood_is_removed() {
    let repo = Repo::new();
    let mut service = setup(&repo).set("queue.spare_worktrees", false).prepare();
    fs::create_dir_all(service.data().join("spare/shop")).unwrap();
    fs::create_dir_all(service.data().join("spare/of-a-project-that-is-no-more")).unwrap();
    service.start();
    let spare = service.data().join("spare");
    wait_until("nothing stands ready", || {
        fs::read_dir(&spare).unwrap().next().is_none()
    });
    let id = service.add("Write it");
    service.wait_here("dev");
    service.tell("go");
    service.wait_status(&id, "done");
    assert_eq!(fs::read_dir(&spare).unwrap().count(), 0);
}

/// Kills as soon as `now` is true, and starts again; the task is done once, in a worktree of its own.
fn killed_when(what: &str, ready_first: bool, now: impl Fn(&Path) -> bool) {
    let repo = Repo::new();
    let mut service = setup(&repo).start();
    if ready_first {
        // Whoever wants it while it is still made waits for it.
        wait_spare(&service);
    }
    let data = service.data();
    let id = service.add("Write it");
    // As fast as can be: what is waited for may last for an instant.
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while !now(&data) {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::hint::spin_loop();
    }
    service.kill9();
    service.start();
    service.wait_here("dev");
    wait_spare(&service);
    service.tell("go");
    let done = service.wait_status(&id, "done");
    assert_eq!(service.worked(&id, "developer"), 1, "{}", service.explain(&done));
    service.wait_idle();
    assert_eq!(repo.show(&format!("{id}.txt")), "x");
    assert_eq!(of_runs(&service), [""; 0]);
}

#[test]
fn killed_while_the_spare_worktree_is_taken() {
    killed_when("it is gone from its place", true, |data| {
        !data.join("spare/shop").exists()
    });
}

#[test]
fn killed_right_after_the_spare_worktree_was_taken() {
    killed_when("it is the run's", true, |data| {
        let runs = fs::read_dir(data.join("worktrees"))
            .into_iter()
            .flatten()
            .flatten();
        runs.map(|run| run.path()).any(|run| run.join("docs").exists())
    });
}

#[test]
fn killed_while_the_next_spare_worktree_is_made() {
    killed_when("the next one begins", true, |data| {
        let runs = fs::read_dir(data.join("worktrees")).is_ok_and(|mut runs| runs.next().is_some());
        runs && data.join("spare/shop").exists()
    });
}
