use std::time::{Duration, Instant};

use orch::domain::id::{RunId, WorkItemId};
use orch::git::{Origin, PushMode, Scope, WipName};

use super::repo::{SampleRepo, branch, long_history, main, orch, write};

#[expect(clippy::print_stderr, reason = "the numbers are what this is for")]
/// Runs something a few times and prints the median. Nothing is asserted about time.
fn cost<T>(what: &str, mut call: impl FnMut(usize) -> T) {
    let mut times: Vec<Duration> = Vec::new();
    for n in 0..9 {
        let began = Instant::now();
        call(n);
        times.push(began.elapsed());
    }
    times.sort();
    eprintln!("{:>9.2} ms  {what}", times[4].as_secs_f64() * 1000.0);
}

#[test]
fn what_each_call_costs_with_a_long_history() {
    let repo = SampleRepo::new();
    long_history(&repo.origin, 2000);
    let clone = repo.clone();
    let name = branch("feature/x");
    let path = repo.path("w");
    let old = clone.fetch().unwrap().get(&main()).unwrap().clone();
    let mut head = clone.ensure_branch(&name).unwrap();
    let origin = repo.origin.to_str().unwrap().to_owned();
    cost("open", |_| {
        orch::git::Repository::open_or_clone(clone.bare(), Origin::locate(&origin).unwrap(), &main()).unwrap()
    });
    cost("fetch, nothing new", |_| clone.fetch().unwrap());
    cost("heads", |_| clone.heads(&[&main(), &name]).unwrap());
    cost("ensure_branch, there", |_| clone.ensure_branch(&name).unwrap());
    cost("prepare_worktree, 201 files", |_| {
        clone.prepare_worktree(&path, &head).unwrap()
    });
    cost("head_of", |_| clone.head_of(&path).unwrap());
    cost("commit_all, clean", |_| {
        clone.commit_all(&path, "x", &orch()).unwrap()
    });
    let wip = WipName::new(&WorkItemId::trusted("O-1"), RunId(1));
    cost("save_wip, nothing", |_| {
        clone.save_wip(&path, &wip, "x", &orch()).unwrap()
    });
    cost("save_wip", |n| {
        write(&path, &[("src/f1.txt", &n.to_string())]);
        clone.save_wip(&path, &wip, "x", &orch()).unwrap()
    });
    let mut heads = Vec::new();
    cost("commit_all", |n| {
        write(
            &path,
            &[
                ("src/f2.txt", &n.to_string()),
                ("docs/work-items/O-1/01-brd.md", "x"),
            ],
        );
        heads.push(
            clone
                .commit_all(&path, "x", &orch())
                .unwrap()
                .outcome
                .head()
                .clone(),
        );
    });
    cost("push", |n| {
        clone
            .push(&heads[n], &name, Some(&head), PushMode::FastForward)
            .unwrap();
        head = heads[n].clone();
    });
    cost("ancestry", |_| clone.ancestry(&old, &head).unwrap());
    cost("code_trees of 2", |_| clone.code_trees(&[&old, &head]).unwrap());
    let artifacts = [
        "docs/work-items/O-1/01-brd.md",
        "docs/work-items/O-1/02-trz.md",
        "README.md",
        "x",
    ];
    cost("read_blobs of 4", |_| {
        clone.read_blobs(&head, &artifacts).unwrap()
    });
    cost("list_dir, 200 files", |_| clone.list_dir(&head, "src").unwrap());
    cost("differs", |_| {
        clone.differs(&old, &head, Scope::CodeOnly).unwrap()
    });
    cost("diff_summary", |_| clone.diff_summary(&old, &head, 2000).unwrap());
    cost("patch_id", |_| clone.patch_id(&old, &head).unwrap());
    repo.at_desk(&["pull", "-q", "--ff-only", "origin", "main"]);
    let onto = repo.commit(&[("b", "b")], "main moved");
    cost("fetch, something new", |n| {
        let heads = clone.fetch().unwrap();
        repo.commit_on("other", &[("b", &n.to_string())], "other");
        heads
    });
    cost("rebase, 9 commits", |_| {
        clone.rebase(&repo.path("s"), &head, &onto, &orch()).unwrap()
    });
    cost("remove_worktree", |_| clone.remove_worktree(&path).unwrap());
    let mut expected = onto;
    let base = expected.clone();
    let chain: Vec<_> = (0..9)
        .map(|n| {
            repo.at_desk(&[
                "switch",
                "-q",
                "--detach",
                if n == 0 { base.as_str() } else { "HEAD" },
            ]);
            repo.commit_on(&format!("step/{n}"), &[("c", &n.to_string())], "step")
        })
        .collect();
    clone.fetch().unwrap();
    cost("fast_forward_main", |n| {
        clone.fast_forward_main(&chain[n], &expected).unwrap();
        expected = chain[n].clone();
    });
    assert_eq!(
        clone
            .remote_head(&orch::domain::id::BranchName::trusted("main"))
            .unwrap(),
        Some(expected)
    );
}

#[test]
fn what_git_costs_between_one_agent_and_the_next_in_a_small_repository() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let name = branch("feature/x");
    let (path, next) = (repo.path("w"), repo.path("next"));
    let mut head = clone.ensure_branch(&name).unwrap();
    clone.prepare_worktree(&path, &head).unwrap();
    cost("commit, push, read gates, next worktree", |n| {
        write(
            &path,
            &[
                ("src/a", &n.to_string()),
                ("docs/work-items/O-1/12-review.md", "x"),
            ],
        );
        let end = clone
            .commit_all(&path, "x", &orch())
            .unwrap()
            .outcome
            .head()
            .clone();
        clone
            .push(&end, &name, Some(&head), PushMode::FastForward)
            .unwrap();
        let mut objects = clone.objects().unwrap();
        objects.code_tree(&end).unwrap();
        objects
            .read_blob(&end, "docs/work-items/O-1/12-review.md")
            .unwrap();
        clone.heads(&[&main(), &name]).unwrap();
        clone.prepare_worktree(&next, &end).unwrap();
        head = end;
    });
    assert_eq!(clone.remote_head(&name).unwrap(), Some(head));
}
