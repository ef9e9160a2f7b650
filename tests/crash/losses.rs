//! A walk in which much is lost: rows that nobody wrote like this, a job that nobody drives, a shim that is killed, a log
//! that cannot be written, a gate that waits for long, a person's files in the way of the merge. All of it is found.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use orch::engine::views::{JobView, TaskDetail};
use serde_json::{Value, json};

use super::play::Person;
use super::scene::Room;
use crate::support::{Asked, lives, wait_until};

/// Done by a person's hand where only a person can.
pub const STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

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

/// The first one works until it is killed; the second one leaves a repository of its own behind, and the commit to Orch.
pub const AGENT: &str = r#"
if [ "$nth" = 1 ]; then echo half >half.txt; here busy; until_told never; fi
mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"
git init -q part; echo part >part/file.txt; echo nobody will read this
"#;

/// The file that the task writes and a person has too.
const IN_THE_WAY: &str = "src/SHOP-001.txt";

impl Person {
    /// What goes wrong before anybody works, while the queue is paused.
    pub(super) fn before_work(&mut self, room: &Room, job: &JobView) -> io::Result<()> {
        let api = room.service.api();
        if self.once("litter") {
            room.rows.run(
                "INSERT INTO outbox (cause, kind, channel, payload, status, available_at, created_at) \
                 VALUES ('litter', 'notification', 'people', 'unreadable', 'pending', 0, 0)",
            );
            let now = room.rows.number("SELECT max(heartbeat_at) FROM instances");
            room.rows.run(&format!(
                "INSERT INTO leases (repo, task_id, branch, instance, acquired_at, expires_at, token) \
                 SELECT '/elsewhere', 1, 'work', id, {now}, {}, 7 FROM instances WHERE stopped_at IS NULL \
                 ORDER BY started_at DESC LIMIT 1",
                now + 3_600_000_000
            ));
        }
        if self.once("closed") {
            let until = room.rows.number("SELECT max(heartbeat_at) FROM instances") + 3_600_000_000;
            room.rows.run(&format!(
                "INSERT INTO node_states (node, off_how, off_until, reason, since) \
                 VALUES ('local', 'cooled', {until}, 'no_cli', 0); \
                 INSERT INTO retry_scopes (scope, failures, opened_at) VALUES ('project:1', 5, {until})"
            ));
        }
        let nodes: Value = api.try_ask("GET", "/api/v1/nodes", None)?.ok();
        if nodes[0]["stands"] != "usable" {
            let body = json!({ "node": "local" });
            return api.try_ask("POST", "/api/v1/nodes/clear", Some(&body)).map(drop);
        }
        let breakers: Value = api.try_ask("GET", "/api/v1/breakers", None)?.ok();
        if breakers != json!([]) {
            let body = json!({ "scope": "project:shop" });
            return api
                .try_ask("POST", "/api/v1/breakers/reset", Some(&body))
                .map(drop);
        }
        let leases: Value = api.try_ask("GET", "/api/v1/leases", None)?.ok();
        if leases["held"] != json!([]) {
            let body = json!({ "repo": "/elsewhere", "token": 7 });
            // Refused where the service took it back meanwhile.
            return api
                .try_ask("POST", "/api/v1/leases/release", Some(&body))
                .map(drop);
        }
        if job.status != "queued" {
            return Ok(());
        }
        if room.rows.is_shared() && self.once("claimed by a node that is silent") {
            room.rows.run(
                "INSERT INTO instances (id, node, process, started_at, heartbeat_at) \
                 SELECT 'silent', 'silent', process, 0, 0 FROM instances LIMIT 1",
            );
            room.rows.run(
                "UPDATE jobs SET status = 'running', node = 'silent', instance = 'silent', claimed_at = available_at, \
                 claim_epoch = claim_epoch + 1, attempts = attempts + 1",
            );
            return Ok(());
        }
        if self.once("moved under its job") {
            room.rows.run("UPDATE tasks SET version = version + 1");
        }
        api.try_ask("POST", "/api/v1/queue/resume", Some(&json!({})))
            .map(drop)
    }

    /// It looked dead and lives; the monitor believes that the job is another's, its shim is killed, and then nobody drives the job.
    pub(super) fn lose_the_agent(&mut self, room: &Room) -> io::Result<()> {
        let rows = room.rows;
        if !self.did("hidden") && room.service.told("busy").is_empty() {
            return Ok(());
        }
        if !self.did("hidden") && self.once("looked dead") {
            rows.run("UPDATE jobs SET dead_looks = 1 WHERE status = 'running'");
            let reaped = room.service.api().try_ask("POST", "/api/v1/reap", None)?;
            assert_eq!(reaped.status, 200, "{}", reaped.text());
        }
        if self.once("no log") {
            // A folder in its place refuses every byte.
            fs::create_dir_all(room.service.data().join("runs/2-2/output.log")).unwrap();
        }
        if self.once("hidden") {
            // Whoever is started anew must not meet the job like this: it is as it was before this returns.
            let begin = if rows.is_shared() {
                "BEGIN"
            } else {
                "BEGIN IMMEDIATE"
            };
            let by = |n: &str| {
                rows.run(&format!(
                    "{begin}; UPDATE runs SET claim_epoch = claim_epoch {n} WHERE step = 'running'; \
                     UPDATE jobs SET claim_epoch = claim_epoch {n} WHERE status = 'running'; COMMIT"
                ));
            };
            by("+ 100");
            let (agent, _) = room.service.wait_here("busy");
            kill(parent(agent));
            let is_over = || room.service.log().contains(r#""how":"Superseded""#);
            wait_until("its monitor is over", || is_over() || !lives(room.service.pid()));
            by("- 100");
        }
        let reaped = room.service.api().try_ask("POST", "/api/v1/reap", None)?;
        assert_eq!(reaped.status, 200, "{}", reaped.text());
        Ok(())
    }

    /// Lets a gate wait for so long that it is told, and is in the way of what is confirmed then.
    pub(super) fn confirm_late(&mut self, room: &Room, task: &str) -> io::Result<()> {
        if self.once("long ago") {
            let ago = "UPDATE tasks SET stage_entered_at = stage_entered_at - 7200000000";
            room.rows.run(ago);
            room.rows
                .run("UPDATE jobs SET finished_at = finished_at - 7200000000 WHERE finished_at IS NOT NULL");
        }
        let told = |asked: &Asked| asked.body.contains(r#""about":"waits""#);
        if !room.webhook.asked().iter().any(told) {
            return Ok(());
        }
        if self.once("in the way") {
            room.repo.write(&[(IN_THE_WAY, "a person's\n")]);
        }
        let body = json!({ "gesture": "confirm-deploy", "person": "tester" });
        let path = format!("/api/v1/tasks/{task}/gestures");
        room.service.api().try_ask("POST", &path, Some(&body)).map(drop)
    }

    /// Makes way once the merge was refused; nobody waits for the next look.
    pub(super) fn make_way(&mut self, room: &Room, job: &JobView) -> io::Result<()> {
        if (job.kind.as_str(), job.status.as_str()) != ("deploy-finalizer", "queued") || job.error.is_none() {
            return Ok(());
        }
        if self.once("out of the way") {
            fs::remove_file(room.repo.path.join(IN_THE_WAY)).unwrap();
            // A person is faster than the files of the merge.
            let hook = room.repo.path.join(".git/hooks/post-receive");
            fs::create_dir_all(hook.parent().unwrap()).unwrap();
            let script = format!(
                "#!/bin/sh\ngrep -q refs/heads/main || exit 0\nmkdir -p ../src; echo late >../{IN_THE_WAY}\n"
            );
            fs::write(&hook, script).unwrap();
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        }
        room.rows
            .run("UPDATE jobs SET available_at = 0 WHERE status = 'queued'");
        let api = room.service.api();
        api.try_ask("POST", "/api/v1/queue/resume", Some(&json!({})))
            .map(drop)
    }

    /// Kept work that cannot be restored under a name that is taken, and is given up when it is old. True when it is.
    pub(super) fn give_up_work(&mut self, room: &Room, detail: &TaskDetail) -> io::Result<bool> {
        let api = room.service.api();
        if !self.did("refused") {
            if self.once("taken") {
                room.repo.git(&["branch", "taken", "main"]);
            }
            let kept = detail.runs.iter().find(|run| run.wip_ref.is_some()).unwrap();
            let path = format!("/api/v1/runs/{}/rescue", kept.id);
            let answer = api.try_ask("POST", &path, Some(&json!({ "branch": "taken" })))?;
            assert_eq!(answer.status, 409, "{}", answer.text());
            self.once("refused");
        }
        if self.once("aged") {
            let month = "UPDATE runs SET finished_at = finished_at - 5184000000000 WHERE wip_ref IS NOT NULL";
            room.rows.run(month);
        }
        // Refused while a service that has just begun prunes by itself.
        let pruned = api.try_ask("POST", "/api/v1/prune", None)?;
        assert!([200, 409].contains(&pruned.status), "{}", pruned.text());
        let left = "SELECT count(*) FROM runs WHERE wip_ref IS NOT NULL";
        Ok(room.rows.number(left) == 0)
    }
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    after_name.split(' ').nth(1).unwrap().parse().unwrap()
}

fn kill(pid: i32) {
    // SAFETY: kill has no memory effects; the shim belongs to this test's service.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}
