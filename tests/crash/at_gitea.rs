//! A project at Gitea: its pull request is closed by a person before the merge, the next one cannot be opened for a while, and
//! goes elsewhere at a person's hand. Merges are stopped meanwhile, and let go on. Nothing of it is merged twice.

use std::fs;
use std::io;
use std::path::Path;

use orch::engine::views::{JobView, TaskDetail, TaskView};
use serde_json::json;

use super::play::Person;
use super::scene::Room;
use crate::support::fake_gitea::{FakeGitea, REPOSITORY};
use crate::support::{Agent, Repo, git};

/// The place of a person, and that of the merge.
pub const STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "staging"
gates = ["branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "deploy"
rollback_to = "development"
confirm = true

[[stage]]
name = "done"
"#;

pub fn agent() -> Agent {
    Agent::new().role(
        "developer",
        "mkdir -p src; echo \"$nth\" >\"src/$ORCH_WORK_ITEM.txt\"; commit 'write it'",
    )
}

/// Notes each tree that is tested, and each commit that main is moved to.
pub fn test_command(repo: &Repo) -> String {
    repo.git(&["config", "core.logAllRefUpdates", "always"]);
    let tested = repo.path.join("tested");
    format!(
        "test_command = '''git rev-parse 'HEAD^{{tree}}' >>'{}'; sh check.sh'''",
        tested.display()
    )
}

const KNOWN: &str = "SELECT count(*) FROM pull_requests WHERE state = 'open' AND forge_number IS NOT NULL";

impl Person {
    /// Closes one pull request, sends another one elsewhere, and lets the merges go on. True when all is over.
    pub(super) fn with_pulls(&mut self, room: &Room, task: &TaskView) -> io::Result<bool> {
        let Some(fake) = room.fake else { return Ok(false) };
        let api = room.service.api();
        let path = format!("/api/v1/tasks/{}", task.id);
        let detail: TaskDetail = api.try_ask("GET", &path, None)?.ok();
        match (task.status.as_str(), task.stage.as_str(), detail.jobs.first()) {
            ("waiting_human", "deploy", _) => {
                if !self.did("closed") {
                    let Some(number) = open(fake).filter(|_| room.rows.number(KNOWN) > 0) else {
                        return Ok(false);
                    };
                    self.once("closed");
                    fake.refuse_pulls(true);
                    fake.close(REPOSITORY, number);
                    let stop = json!({ "why": "main was wrong", "task": 1, "at": 1 });
                    room.rows.run(&format!(
                        "INSERT INTO settings_state (key, value) VALUES ('merges-stopped:{}', '{stop}')",
                        fake.clone_url(REPOSITORY)
                    ));
                }
                let body = json!({ "gesture": "confirm-deploy", "person": "tester" });
                let path = format!("{path}/gestures");
                api.try_ask("POST", &path, Some(&body))?;
            }
            ("active", _, Some(job)) if job.kind == "deploy-finalizer" => self.hurry(room, fake, job)?,
            ("active", ..) => {}
            ("done", ..) => return self.nothing_left(room),
            (status, stage, _) => panic!("{status} at {stage}: {}", room.service.explain(&detail)),
        }
        Ok(false)
    }

    /// Does what the merge waits for; nobody waits for its next look.
    fn hurry(&mut self, room: &Room, fake: &FakeGitea, job: &JobView) -> io::Result<()> {
        let api = room.service.api();
        let why = job.error.as_deref().unwrap_or_default();
        if job.status != "queued" || why.is_empty() {
            return Ok(());
        }
        if why.starts_with("merges are stopped") {
            if self.once("moved") {
                room.repo
                    .commit(&[("other.txt", "by a person\n")], "Something else");
            }
            let body = json!({ "repo": "shop" });
            let resumed = api.try_ask("POST", "/api/v1/leases/resume", Some(&body))?;
            assert!([204, 404].contains(&resumed.status), "{}", resumed.text());
            return Ok(());
        }
        if why.contains("not open at Gitea yet") {
            fake.refuse_pulls(false);
        }
        if self.did("sent elsewhere") || room.rows.number(KNOWN) > 0 {
            if self.once("sent elsewhere") {
                fake.commit(REPOSITORY, "develop", &[("develop.txt", "1\n")]);
                fake.retarget(REPOSITORY, open(fake).unwrap(), "develop");
            }
            room.rows
                .run("UPDATE jobs SET available_at = 0 WHERE status = 'queued'");
            api.try_ask("POST", "/api/v1/queue/resume", Some(&json!({})))?;
        }
        Ok(())
    }
}

/// The number of the pull request into main that is open.
fn open(fake: &FakeGitea) -> Option<u64> {
    let pulls = fake.pulls(REPOSITORY);
    let open = pulls
        .iter()
        .find(|p| p["state"] == "open" && p["base"]["ref"] == "main");
    open.and_then(|p| p["number"].as_u64())
}

/// One merge was taken, main was at nothing that was not tested or a person's, and each merge is told once.
pub fn holds(fake: &FakeGitea, repo: &Repo) {
    let asked = fake.seen().into_iter();
    let taken =
        asked.filter(|s| s.path.ends_with("/merge") && s.status != Some(405) && s.status != Some(409));
    let (taken, pulls) = (taken.count(), fake.pulls(REPOSITORY));
    let merged: Vec<_> = pulls.iter().filter(|p| p["merged"] == true).collect();
    assert_eq!((taken, merged.len()), (1, 1), "{pulls:#?}");
    assert_eq!(open(fake), None, "{pulls:#?}");
    assert!(pulls.len() <= 3, "one too many was opened: {pulls:#?}");
    let comments = fake.comments(REPOSITORY, merged[0]["number"].as_u64().unwrap());
    assert_eq!(comments.len(), 1, "{comments:?}");
    let tested = fs::read_to_string(repo.path.join("tested")).unwrap();
    for (commit, by) in moves(&repo.path) {
        let tree = repo.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
        assert!(
            by == "Something else" || tested.lines().any(|tested| tested == tree),
            "main was at {commit}, which nobody tested"
        );
    }
}

/// Where main was moved to since it is noted, with the commit's subject.
fn moves(repo: &Path) -> Vec<(String, String)> {
    let log = fs::read_to_string(repo.join("logs/refs/heads/main")).unwrap();
    let to = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
    let with = |commit: String| {
        let subject = git(repo, &["log", "-1", "--format=%s", &commit]);
        (commit, subject)
    };
    log.lines().map(to).map(with).collect()
}
