//! Many tasks at once on one repository.

use orch::engine::views::AddTask;

use crate::support::{Agent, Project, Repo, Setup, THREE_STAGES, TestService, git};

/// One line of `agents.log`.
struct Stamp {
    begins: bool,
    at: u128,
    cwd: String,
    task: String,
}

fn stamps(service: &TestService) -> Vec<Stamp> {
    let log = service.told("agents.log");
    let mut stamps: Vec<Stamp> = log
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            Stamp {
                begins: words[0] == "begin",
                at: words[1].parse().unwrap(),
                cwd: words[3].to_owned(),
                task: words[4].to_owned(),
            }
        })
        .collect();
    stamps.sort_by_key(|s| s.at);
    stamps
}

/// The most agents that were at work at one moment, of those tasks.
fn most_at_once(stamps: &[Stamp], of: impl Fn(&Stamp) -> bool) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for stamp in stamps.iter().filter(|s| of(s)) {
        if stamp.begins {
            now += 1;
        } else {
            now -= 1;
        }
        most = most.max(now);
    }
    most
}

/// Adds a task that changes these paths and waits for others.
fn add(service: &TestService, n: usize, modifies: &[&str], depends_on: &[&str]) -> String {
    let own = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect();
    let task = AddTask {
        title: format!("Part {n}"),
        modifies: own(modifies),
        depends_on: own(depends_on),
        ..AddTask::default()
    };
    service.add_task(&task).id
}

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

/// The task's first moment at work.
fn first_start(service: &TestService, id: &str) -> jiff::Timestamp {
    service.runs(id).iter().map(|r| at(&r.started_at)).min().unwrap()
}

const DEVELOPER: &str = r#"
stamp begin
# The first four wait for each other: so there are four at once.
touch "$out/came.$ORCH_WORK_ITEM"
while [ "$(ls "$out" | grep -c '^came')" -lt 4 ]; do sleep 0.02; done
mkdir -p src tests
echo one >"src/$ORCH_WORK_ITEM"; echo one >"tests/$ORCH_WORK_ITEM"; commit "begin it"
echo two >"src/$ORCH_WORK_ITEM"; echo two >"tests/$ORCH_WORK_ITEM"; commit "end it"
stamp end
"#;

#[test]
fn ten_tasks_four_at_once_come_to_a_main_that_is_linear_and_green_at_every_commit() {
    let repo = Repo::new();
    let check = "set -eu\nfor f in src/*; do [ ! -e \"$f\" ] || cmp \"$f\" \"tests/${f#src/}\"; done\n";
    let base = repo.commit(&[("check.sh", check)], "Each source has its test");
    let agent = Agent::new()
        .role("developer", DEVELOPER)
        .role("reviewer", "stamp begin; verdict APPROVED; stamp end");
    let mut service = Setup::new()
        .set("max_concurrency", 4)
        .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
        .start();

    let first = add(&service, 1, &[], &[]);
    let older = add(&service, 2, &["src/shared"], &[]);
    let younger = add(&service, 3, &["src/shared/deep/file"], &[]);
    let dependent = add(&service, 4, &[], &[&first]);
    let others: Vec<String> = (5..=10).map(|n| add(&service, n, &[], &[])).collect();
    let all: Vec<&String> = [&first, &older, &younger, &dependent]
        .into_iter()
        .chain(&others)
        .collect();
    for id in &all {
        service.wait_status(id, "done");
    }
    service.wait_idle();

    // Never more than four agents, and four there were; overlapping ones never; each in a folder of its own.
    let stamps = stamps(&service);
    assert_eq!(most_at_once(&stamps, |_| true), 4);
    assert_eq!(
        most_at_once(&stamps, |s| [&older, &younger].contains(&&s.task)),
        1
    );
    let mut folders: Vec<&str> = stamps
        .iter()
        .filter(|s| s.begins)
        .map(|s| s.cwd.as_str())
        .collect();
    folders.sort_unstable();
    folders.dedup();
    assert_eq!(folders.len(), 20);

    // Order: the dependent task began after the other was done, and so did the younger of the overlapping ones.
    let finished = |id: &str| at(&service.task(id).task.finished_at.unwrap());
    assert!(first_start(&service, &dependent) >= finished(&first));
    assert!(first_start(&service, &younger) >= finished(&older));

    main_is_linear_and_green(&repo, &base);
    for id in all {
        assert_eq!(repo.show(&format!("src/{id}")), "two");
        assert_eq!(service.worked(id, "developer"), 1, "{id}");
    }
    assert_eq!(git(&repo.path, &["status", "--porcelain"]), "");
}

fn main_is_linear_and_green(repo: &Repo, base: &str) {
    assert_eq!(repo.merge_commits_since(base), 0);
    let room = tempfile::tempdir().unwrap();
    git(room.path(), &["clone", "-q", repo.path.to_str().unwrap(), "look"]);
    let look = room.path().join("look");
    for commit in repo.since(base) {
        git(&look, &["checkout", "-q", &commit]);
        let tests = std::process::Command::new("sh")
            .arg("check.sh")
            .current_dir(&look)
            .output()
            .unwrap();
        assert!(tests.status.success(), "red at {commit}: {tests:?}");
    }
}
