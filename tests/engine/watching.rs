//! Production after a deploy: looked at, judged and told, rolled back once where that may be done, and the task stays done.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::job::Claim;
use orch::engine::production;
use orch::engine::run::{Driven, claim_of};
use tokio::task::LocalSet;

use super::house::{Backend, House, Plan, on_both};
use crate::support::{FakeService, Reply};

const HOOKED: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "deploy"
gates = ["branch_mergeable", "deploy_status"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

const INTERVAL: Duration = Duration::from_secs(30);

/// Production as it answers: a status, and the hook that changes it.
struct Production {
    service: FakeService,
    status: Arc<Mutex<u16>>,
    folder: tempfile::TempDir,
}

impl Production {
    fn new() -> Self {
        let status = Arc::new(Mutex::new(200));
        let now = status.clone();
        let folder = tempfile::tempdir().unwrap();
        let revision = folder.path().join("revision");
        let service = FakeService::new(move |_| {
            let runs = fs::read_to_string(&revision).unwrap_or_default();
            Reply::new(
                *now.lock().unwrap(),
                format!("{{\"revision\":\"{}\"}}", runs.trim()),
            )
        });
        fs::write(folder.path().join("revision"), "0".repeat(40)).unwrap();
        Self {
            service,
            status,
            folder,
        }
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn asked(&self) -> usize {
        self.service.asked().len()
    }

    /// What the hook was called for.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// `$production` is the folder.
    fn stages(&self, on_rollback: &str, watched: &str) -> String {
        let folder = self.folder.path().display();
        let hook = format!(
            "production='{folder}'\necho \"$1\" >>\"$production/calls\"\n\
             if [ \"$1\" = rollback ]; then {on_rollback}\nfi\necho \"$ORCH_REVISION\" >\"$production/revision\"\n"
        );
        fs::write(self.folder.path().join("hook.sh"), hook).unwrap();
        format!(
            "[deploy]\nrequire_manual_approve = false\nhook = ['sh', '{folder}/hook.sh']\nrevision_command = 'cat {folder}/revision'\n\
             [post_deploy]\nurl = '{}/health'\n{watched}\n{HOOKED}",
            self.service.url
        )
    }

    async fn house(&self, backend: Backend, watched: &str) -> House {
        let back = "echo $ORCH_PREVIOUS >\"$production/revision\"; exit 0";
        backend.plan(&self.stages(back, watched)).build().await
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(work).await
}

/// A task that was just deployed.
async fn deployed(house: &House) -> TaskId {
    let task = house.add("Sell more").await;
    within(house.run_all()).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:?}",
        house.events(task).await
    );
    task
}

/// So many looks, each at its time.
async fn looks(house: &House, count: usize) {
    for _ in 0..count {
        house.later(INTERVAL);
        within(house.run_all()).await;
    }
}

/// Health and action of every deploy.
fn verdicts(house: &House) -> Vec<String> {
    house.sql_lines(
        "SELECT coalesce(health, '-') || ' ' || coalesce(action, '-') AS line FROM deploys ORDER BY id",
    )
}

/// The looks after the deploy: `.`, `x`, `-`.
fn seen(house: &House) -> String {
    house
        .sql_lines(
            "SELECT CASE WHEN ok IS NULL THEN '-' WHEN ok THEN '.' ELSE 'x' END AS line \
             FROM probes WHERE slot >= 0 ORDER BY deploy_id, slot",
        )
        .concat()
}

/// Notifications of one kind.
fn told(house: &House, about: &str) -> i64 {
    house.count(&format!("outbox WHERE cause LIKE 'notify:{about}:%'"))
}

/// The service was down for so long. On PostgreSQL another boot would wait for the silence of this one.
async fn down(backend: Backend, house: &mut House, time: Duration) {
    if matches!(backend, Backend::Sqlite) {
        house.restart().await;
    }
    house.later(time);
}

/// The log that waits to be written.
fn log(house: &House) -> String {
    let found = house.sql_lines(
        "SELECT CAST(payload AS TEXT) AS line FROM outbox WHERE cause LIKE 'artifact:16-%' ORDER BY id",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    let payload: serde_json::Value = serde_json::from_str(&found[0]).unwrap();
    assert_eq!(payload["name"], "16-post-deploy-log.md");
    payload["text"].as_str().unwrap().to_owned()
}

async fn a_window_of_good_looks_is_healthy(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "expect_revision = true").await;
    let task = deployed(&house).await;
    let before = production.asked();
    assert_eq!(before, 3, "production is looked at before the deploy");
    looks(&house, 29).await;
    assert_eq!(verdicts(&house), ["- -"]);
    let stands = production::stands(&house.engine).await.unwrap();
    assert!(stands.enabled && stands.last.is_none());
    let [watching] = &stands.watching[..] else {
        panic!("{stands:?}");
    };
    assert_eq!(
        (watching.probes, watching.probes_over, watching.failed),
        (Some(30), 29, 0)
    );
    assert_eq!(watching.revision, house.main().to_string());
    looks(&house, 1).await;
    assert_eq!(verdicts(&house), ["HEALTHY NONE"]);
    assert_eq!((seen(&house), production.asked()), (".".repeat(30), before + 30));
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(
        house.job_words(task).await.last().unwrap(),
        "post-deploy-monitor done"
    );
    let log = log(&house);
    for line in [
        "post_deploy_status: HEALTHY",
        "action_taken: NONE",
        "window_s: 900",
        "checks_total: 30",
        "checks_failed: 0",
    ] {
        assert!(log.lines().any(|l| l == line), "{line}: {log}");
    }
    assert_eq!((told(&house, "degraded"), told(&house, "rolled-back")), (0, 0));
    assert_eq!(production.calls(), ["deploy"]);
    let stands = production::stands(&house.engine).await.unwrap();
    assert_eq!(
        (stands.watching, stands.last.unwrap().status),
        (Vec::new(), "HEALTHY".to_owned())
    );
    // Nothing is left that would be looked at again.
    looks(&house, 3).await;
    assert_eq!((production.asked(), house.count("probes")), (before + 30, 33));
}

async fn three_failures_in_a_row_are_told_once_and_change_nothing_else(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "").await;
    let task = deployed(&house).await;
    looks(&house, 10).await;
    production.answers(503);
    looks(&house, 2).await;
    assert_eq!(verdicts(&house), ["- -"]);
    looks(&house, 1).await;
    assert_eq!(verdicts(&house), ["DEGRADED ALERT_ONLY"]);
    assert_eq!((told(&house, "degraded"), production.calls().len()), (1, 1));
    assert_eq!(house.stands(task).await, "done done");
    let log = log(&house);
    assert!(
        log.contains("action_taken: ALERT_ONLY") && log.contains("checks_failed: 3"),
        "{log}"
    );
    assert!(log.contains("HTTP 503 instead of 200"), "{log}");
    let before = production.asked();
    looks(&house, 20).await;
    assert_eq!(production.asked(), before, "it is over");
    assert_eq!(house.count("quarantine"), 0);
}

async fn one_that_flaps_is_healthy_in_the_end(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "").await;
    deployed(&house).await;
    for _ in 0..4 {
        production.answers(500);
        looks(&house, 1).await;
        production.answers(200);
        looks(&house, 5).await;
    }
    looks(&house, 6).await;
    assert_eq!(
        (seen(&house), verdicts(&house)),
        (["x....."; 4].concat() + "......", vec!["HEALTHY NONE".to_owned()])
    );
}

async fn what_degrades_is_rolled_back_once_and_not_deployed_again(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "auto_rollback = true").await;
    let task = deployed(&house).await;
    production.answers(500);
    looks(&house, 3).await;
    assert_eq!(verdicts(&house), ["DEGRADED ROLLED_BACK"]);
    assert_eq!(production.calls(), ["deploy", "rollback"]);
    assert_eq!((told(&house, "degraded"), told(&house, "rolled-back")), (1, 1));
    assert_eq!(
        house.sql_lines("SELECT revision AS line FROM quarantine"),
        [house.main().to_string()]
    );
    assert!(log(&house).contains("action_taken: ROLLED_BACK"));
    assert_eq!(house.stands(task).await, "done done");
    looks(&house, 30).await;
    assert_eq!(production.calls(), ["deploy", "rollback"]);
}

async fn what_was_not_healthy_before_is_not_rolled_back_to(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "auto_rollback = true").await;
    production.answers(502);
    deployed(&house).await;
    looks(&house, 3).await;
    assert_eq!(verdicts(&house), ["DEGRADED ALERT_ONLY"]);
    assert_eq!(production.calls(), ["deploy"]);
    assert!(log(&house).contains("was not healthy before the deploy"));
}

async fn a_newer_deploy_ends_the_watch_and_forbids_the_rollback(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "auto_rollback = true").await;
    deployed(&house).await;
    production.answers(500);
    looks(&house, 2).await;
    // The next one is deployed at the very moment at which the third look is due.
    house.later(INTERVAL);
    let second = house.add("Sell even more").await;
    for _ in 0..20 {
        let jobs = house.claim().await;
        // The first one's job waits meanwhile, as on a busy machine.
        for other in jobs.iter().filter(|j| j.task_id != second) {
            put_back(&house, claim_of(other));
        }
        let Some(job) = jobs.iter().find(|j| j.task_id == second) else {
            break;
        };
        within(house.drive(claim_of(job))).await;
    }
    assert_eq!(production.calls(), ["deploy", "deploy"]);
    within(house.run_all()).await;
    assert_eq!(verdicts(&house)[0], "INCONCLUSIVE NONE");
    assert!(!production.calls().contains(&"rollback".to_owned()));
}

/// As if it had not been claimed.
fn put_back(house: &House, claim: Claim) {
    house.sql(&format!(
        "UPDATE jobs SET status = 'queued', available_at = 0, node = NULL, instance = NULL, claimed_at = NULL WHERE id = {}",
        claim.job
    ));
}

async fn what_nobody_saw_while_the_service_was_down_is_missing(backend: Backend) {
    let production = Production::new();
    let mut house = production.house(backend, "").await;
    deployed(&house).await;
    looks(&house, 8).await;
    let before = production.asked();
    down(backend, &mut house, INTERVAL * 8).await;
    within(house.run_all()).await;
    // One is due, and the one before it is late by just an interval.
    assert_eq!(
        production.asked(),
        before + 2,
        "what is over is not looked at any more"
    );
    assert_eq!(seen(&house), format!("{}------..", ".".repeat(8)));
    looks(&house, 14).await;
    assert_eq!(seen(&house), format!("{}------{}", ".".repeat(8), ".".repeat(16)));
    assert_eq!(verdicts(&house), ["HEALTHY NONE"]);
}

async fn too_few_looks_are_inconclusive(backend: Backend) {
    let production = Production::new();
    let mut house = production.house(backend, "").await;
    let task = deployed(&house).await;
    looks(&house, 8).await;
    down(backend, &mut house, INTERVAL * 60).await;
    within(house.run_all()).await;
    assert_eq!(seen(&house), format!("{}{}", ".".repeat(8), "-".repeat(22)));
    assert_eq!(verdicts(&house), ["INCONCLUSIVE NONE"]);
    assert_eq!(house.stands(task).await, "done done");
    assert!(log(&house).contains("checks_total: 8"));
}

async fn a_rollback_whose_service_dies_is_gone_on_with_and_not_begun_again(backend: Backend) {
    let production = Production::new();
    let hold = "echo >\"$production/began\"; while [ ! -e \"$production/go\" ]; do sleep 0.02; done; exit 0";
    let stages = production.stages(hold, "auto_rollback = true");
    let mut house = backend.plan(&stages).build().await;
    let task = deployed(&house).await;
    production.answers(500);
    looks(&house, 2).await;
    house.later(INTERVAL);
    let claim = house.claim_one().await;
    let began = production.folder.path().join("began");
    within(async {
        let mut driving = house.driving(claim);
        driving
            .until("the hook rolls back", async || began.exists())
            .await;
    })
    .await;
    assert_eq!(verdicts(&house), ["DEGRADED ROLLING_BACK"]);
    down(backend, &mut house, Duration::ZERO).await;
    fs::write(production.folder.path().join("go"), "").unwrap();
    assert_eq!(within(house.drive(claim)).await, Driven::Over);
    assert_eq!(verdicts(&house), ["DEGRADED ROLLED_BACK"]);
    assert_eq!(production.calls(), ["deploy", "rollback"]);
    assert_eq!((told(&house, "degraded"), told(&house, "rolled-back")), (1, 1));
    assert_eq!(house.stands(task).await, "done done");
}

async fn a_rollback_that_has_begun_is_finished_though_nobody_watches_any_more(backend: Backend) {
    let production = Production::new();
    let hold = "echo >\"$production/began\"; while [ ! -e \"$production/go\" ]; do sleep 0.02; done; exit 0";
    let stages = production.stages(hold, "auto_rollback = true");
    let mut house = backend.plan(&stages).build().await;
    let task = deployed(&house).await;
    production.answers(500);
    looks(&house, 2).await;
    house.later(INTERVAL);
    let claim = house.claim_one().await;
    let began = production.folder.path().join("began");
    within(async {
        let mut driving = house.driving(claim);
        driving
            .until("the hook rolls back", async || began.exists())
            .await;
    })
    .await;
    put_back(&house, claim);
    let file = house.path("orch.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{settings}\npost_deploy.enabled = false\n")).unwrap();
    house.sql("UPDATE instances SET stopped_at = started_at");
    house.restart().await;
    assert!(!production::stands(&house.engine).await.unwrap().enabled);
    fs::write(production.folder.path().join("go"), "").unwrap();
    within(house.run_all()).await;
    assert_eq!(verdicts(&house), ["DEGRADED ROLLED_BACK"]);
    assert_eq!(production.calls(), ["deploy", "rollback"]);
    assert_eq!(house.live_job(task).await, None);
    // The project's only place for a deploy is free again.
    assert_eq!(
        house.count("deploys WHERE status = 'open' OR action = 'ROLLING_BACK'"),
        0
    );
    assert_eq!(house.stands(task).await, "done done");
}

async fn what_was_brought_along_is_not_watched_and_ends_no_watch(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "").await;
    deployed(&house).await;
    let second = house.add("Sell even more").await;
    let deploys = loop {
        let job = house.claim().await.remove(0);
        if job.stage.as_str() == "deploy" {
            break job;
        }
        within(house.drive(claim_of(&job))).await;
    };
    house.sql(&format!(
        "INSERT INTO deploys (project_id, task_id, visit, revision, node, status, result, created_at, finished_at, brought_by) \
         SELECT project_id, {second}, {}, revision, node, 'succeeded', 'brought along', created_at, finished_at, id FROM deploys",
        deploys.visit
    ));
    within(house.drive(claim_of(&deploys))).await;
    within(house.run_all()).await;
    assert_eq!(house.stands(second).await, "done done");
    assert_eq!(production.calls(), ["deploy"]);
    assert_eq!(house.live_job(second).await, None, "it is not watched");
    looks(&house, 30).await;
    assert_eq!(verdicts(&house), ["HEALTHY NONE", "- -"]);
}

async fn an_unclear_rollback_is_settled_by_what_production_runs(backend: Backend) {
    for (script, expected) in [
        ("exit 1", "DEGRADED ROLLBACK_FAILED"),
        ("exit 2", "DEGRADED ROLLBACK_FAILED"),
        (
            "echo $ORCH_PREVIOUS >\"$production/revision\"; exit 2",
            "DEGRADED ROLLED_BACK",
        ),
        ("rm \"$production/revision\"; exit 2", "DEGRADED ROLLBACK_UNKNOWN"),
    ] {
        let production = Production::new();
        let stages = production.stages(script, "auto_rollback = true");
        let house = backend.plan(&stages).build().await;
        let task = deployed(&house).await;
        production.answers(500);
        looks(&house, 3).await;
        assert_eq!(verdicts(&house), [expected], "{script}");
        assert_eq!(told(&house, "rolled-back"), 1, "{script}");
        assert_eq!(house.stands(task).await, "done done");
    }
}

async fn a_self_hosting_project_is_never_rolled_back_by_itself(backend: Backend) {
    let production = Production::new();
    let stages = production.stages("exit 0", "").replace(
        "rollback_to = \"development\"",
        "rollback_to = \"development\"\nconfirm = true",
    );
    let stages = stages.replace("require_manual_approve = false\n", "");
    let plan: Plan = backend.plan(&stages).top("self_hosting = true");
    let house = plan.set("post_deploy.auto_rollback = true").build().await;
    let task = house.add("Sell more").await;
    within(house.run_all()).await;
    house.gesture(task, "confirm-deploy").await;
    within(house.run_all()).await;
    assert_eq!(house.stands(task).await, "done done");
    production.answers(500);
    looks(&house, 3).await;
    assert_eq!(verdicts(&house), ["DEGRADED ALERT_ONLY"]);
    assert_eq!((production.calls().len(), told(&house, "degraded")), (1, 1));
}

async fn without_a_hook_the_merge_is_watched(backend: Backend) {
    let production = Production::new();
    let stages = format!(
        "[post_deploy]\nurl = '{}/health'\nprobes = 5\nwindow_s = 150\nwarm_up_s = 0\n{}",
        production.service.url,
        HOOKED.replace(", \"deploy_status\"", "")
    );
    let house = backend.plan(&stages).build().await;
    deployed(&house).await;
    looks(&house, 5).await;
    assert_eq!(verdicts(&house), ["HEALTHY NONE"]);
    let revision = house.sql_lines("SELECT revision AS line FROM deploys");
    assert_eq!(revision, [house.main().to_string()]);
}

async fn switched_off_nobody_looks_and_the_job_waits(backend: Backend) {
    let production = Production::new();
    let stages = production.stages("exit 0", "auto_rollback = true");
    let house = backend
        .plan(&stages)
        .set("post_deploy.enabled = false")
        .build()
        .await;
    let task = deployed(&house).await;
    house.later(INTERVAL * 5);
    let before = house.dump();
    assert_eq!(house.claim().await, []);
    assert_eq!(house.dump(), before, "nothing is written");
    assert_eq!((production.asked(), house.count("probes")), (0, 0));
    let live = house.live_job(task).await.unwrap();
    assert_eq!(live.kind.as_str(), "post-deploy-monitor");
    assert!(!production::stands(&house.engine).await.unwrap().enabled);
}

async fn whatever_ends_the_job_the_task_stays_done(backend: Backend) {
    let production = Production::new();
    let house = production.house(backend, "").await;
    let task = deployed(&house).await;
    looks(&house, 2).await;
    // A person's gestures on a task that is done change nothing.
    for gesture in [
        "approved",
        "rejected",
        "blocked",
        "cancelled",
        "in-progress",
        "confirm-deploy",
    ] {
        house.gesture(task, gesture).await;
        assert_eq!(house.stands(task).await, "done done", "{gesture}");
    }
    let job = house.live_job(task).await.unwrap();
    let now = house.engine.now();
    orch::engine::operate::cancel_job(&house.engine, job.id.0, "enough", now)
        .await
        .unwrap();
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(verdicts(&house), ["INCONCLUSIVE NONE"]);
    // A job that fails says so, and blocks nothing.
    let second = house.add("Sell even more").await;
    within(house.run_all()).await;
    house.later(INTERVAL);
    let claim = house.claim_one().await;
    house.sql(&format!(
        "UPDATE jobs SET stage = 'gone' WHERE id = {}",
        claim.job
    ));
    assert_eq!(within(house.drive(claim)).await, Driven::Over);
    assert_eq!(house.stands(second).await, "done done");
    assert_eq!(verdicts(&house)[1], "INCONCLUSIVE NONE");
}

on_both!(
    a_window_of_good_looks_is_healthy,
    three_failures_in_a_row_are_told_once_and_change_nothing_else,
    one_that_flaps_is_healthy_in_the_end,
    what_degrades_is_rolled_back_once_and_not_deployed_again,
    what_was_not_healthy_before_is_not_rolled_back_to,
    a_newer_deploy_ends_the_watch_and_forbids_the_rollback,
    what_nobody_saw_while_the_service_was_down_is_missing,
    too_few_looks_are_inconclusive,
    a_rollback_whose_service_dies_is_gone_on_with_and_not_begun_again,
    a_rollback_that_has_begun_is_finished_though_nobody_watches_any_more,
    what_was_brought_along_is_not_watched_and_ends_no_watch,
    an_unclear_rollback_is_settled_by_what_production_runs,
    a_self_hosting_project_is_never_rolled_back_by_itself,
    without_a_hook_the_merge_is_watched,
    switched_off_nobody_looks_and_the_job_waits,
    whatever_ends_the_job_the_task_stays_done,
);
