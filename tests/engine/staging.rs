//! A candidate is green at staging by what Orch itself saw there, and staging runs what is judged.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::time::Timestamp;
use orch::engine::reconcile;
use orch::engine::run::Driven;
use tempfile::TempDir;

use super::house::{House, Plan, git};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY};
use crate::support::{FakeService, Reply};

const LOG: &str = "docs/work-items/SHOP-001/15-staging-log.md";
const BRANCH: &str = "feature/SHOP-001-say-hello";
const LOGIN: &str = r#"{"name":"login","class":"real","critical":true,"ok":true}"#;
const DNS: &str = r#"{"name":"dns","class":"infra","ok":false,"detail":"slow"}"#;

/// A house with a staging environment: a folder that says what runs there, and two scripts that a test may change.
struct Scene {
    house: House,
    room: TempDir,
}

/// development → review → staging → deploy (a person confirms) → done.
fn stages(gates: &str) -> String {
    format!(
        r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict"]
rollback_to = "development"

[[stage]]
name = "staging"
gates = [{gates}]
rollback_to = "development"

[[stage]]
name = "deploy"
rollback_to = "development"
confirm = true

[[stage]]
name = "done"
"#
    )
}

const GATES: &str = r#""branch_mergeable", "staging_status", "staging_image_fresh""#;

impl Scene {
    async fn new(gates: &str, more: &str, top: &str) -> Self {
        Self::at_forge(None, (gates, more, top)).await
    }

    async fn at_forge(gitea: Option<&FakeGitea>, (gates, more, top): (&str, &str, &str)) -> Self {
        let room = tempfile::tempdir().unwrap();
        let at = room.path().display();
        let more = more.replace("ROOM", &at.to_string());
        let section = format!(
            "[staging]\ndeploy_command = 'sh {at}/deploy.sh'\ncheck_command = 'sh {at}/check.sh'\n{more}\n"
        );
        let plan = Plan::new(&format!("{}\n{section}", stages(gates))).top(top);
        let house = match gitea {
            Some(gitea) => plan.forge(gitea).build().await,
            None => plan.build().await,
        };
        let scene = Self { house, room };
        scene.deploys("echo \"$ORCH_REVISION\" >running");
        scene.checks(&[LOGIN], 0);
        scene
    }

    async fn with(more: &str) -> Self {
        Self::new(r#""branch_mergeable", "staging_status""#, more, "").await
    }

    async fn with_provenance() -> Self {
        Self::new(GATES, "revision_command = 'cat ROOM/running'", "").await
    }

    fn at(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// What a deploy does, in the folder of the environment.
    fn deploys(&self, script: &str) {
        let at = self.room.path().display();
        let text =
            format!("set -e\ntest -e README.md\ncd '{at}'\necho \"$ORCH_REVISION\" >>deployed\n{script}\n");
        fs::write(self.at("deploy.sh"), text).unwrap();
    }

    /// What the checks say, and how they exit.
    fn checks(&self, lines: &[&str], code: i32) {
        fs::write(self.at("report"), lines.join("\n") + "\n").unwrap();
        self.check_script(&format!("cat report\nexit {code}"));
    }

    fn check_script(&self, script: &str) {
        let at = self.room.path().display();
        let text = format!("test -e README.md || exit 9\ncd '{at}'\necho x >>checked\n{script}\n");
        fs::write(self.at("check.sh"), text).unwrap();
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Walks a new task until nothing goes on by itself.
    async fn walk(&self) -> TaskId {
        let task = self.house.add("Say hello").await;
        self.house.run_all().await;
        task
    }

    fn log(&self) -> String {
        self.house.file(BRANCH, LOG).unwrap_or_default()
    }

    /// Commits in Orch's name on the branch that are not on main.
    fn logs_committed(&self) -> usize {
        let range = format!("main..{BRANCH}");
        let log = git(&self.house.origin(), &["log", "--format=%an", &range, "--", LOG]);
        log.lines().filter(|who| *who == "orch").count()
    }

    async fn events(&self, task: TaskId) -> String {
        format!("{:#?}", self.house.events(task).await)
    }
}

/// Sent back once, and what the developer is told.
async fn sent_back(scene: &Scene) -> String {
    let task = scene.house.add("Say hello").await;
    let claim = scene.house.run_until("gate-check", "staging").await;
    assert_eq!(scene.house.drive(claim).await, Driven::Over);
    let events = scene.events(task).await;
    assert_eq!(scene.house.stands(task).await, "development active", "{events}");
    let now = scene.house.task(task).await;
    assert_eq!(now.developer_retries, 1);
    assert!(scene.log().contains("staging_status: FAILED"), "{}", scene.log());
    assert_eq!(scene.house.leftovers(), [""; 0]);
    now.evidence.unwrap()
}

#[tokio::test]
async fn a_candidate_that_is_green_at_staging_is_confirmed_and_merged_with_its_log_and_the_tested_code() {
    let scene = Scene::with_provenance().await;
    let house = &scene.house;
    let task = scene.walk().await;
    assert_eq!(
        house.stands(task).await,
        "deploy waiting_human",
        "{}",
        scene.events(task).await
    );
    let log = scene.log();
    assert!(log.starts_with("---\nstaging_status: SUCCESS\n"), "{log}");
    let deployed = scene.lines("deployed");
    assert_eq!(deployed.len(), 1);
    assert!(log.contains(&deployed[0]), "{log}");
    // What is confirmed is the head with the log.
    let head = house.head(BRANCH).unwrap();
    assert_eq!(house.task(task).await.candidate, Some(head.clone()));
    let tested = house.tested();
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{}",
        scene.events(task).await
    );
    assert_eq!(house.main(), head);
    assert_eq!(house.file("main", LOG), Some(log));
    // Nothing was tested or deployed again, and main has the tested code.
    assert_eq!(house.tested(), tested);
    assert_eq!(scene.lines("deployed").len(), 1);
    let last = tested.last().unwrap();
    let differs = git(
        &house.origin(),
        &["diff-tree", "-r", "--name-only", last, "main^{tree}"],
    );
    assert_eq!(differs, LOG);
    assert_eq!(house.ran(), ["developer", "reviewer"]);
    assert_eq!(house.leftovers(), [""; 0]);
}

#[actix_rt::test]
async fn at_gitea_the_head_with_the_log_is_what_is_merged() {
    let fake = FakeGitea::new();
    let more = "revision_command = 'cat ROOM/running'";
    let scene = Scene::at_forge(
        Some(&fake),
        (GATES, more, "records_ref = 'refs/heads/orch-records'"),
    )
    .await;
    let house = &scene.house;
    let task = scene.walk().await;
    house.deliver().await;
    assert_eq!(
        house.stands(task).await,
        "deploy waiting_human",
        "{}",
        scene.events(task).await
    );
    let head = house.head(BRANCH).unwrap();
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{}",
        scene.events(task).await
    );
    assert_eq!(house.main(), head);
    assert!(
        house
            .file("main", LOG)
            .unwrap()
            .contains("staging_status: SUCCESS")
    );
    assert_eq!(scene.lines("deployed").len(), 1);
    artifact(house, task, ("a:1", "14-deploy-log.md", "one"));
    assert_eq!(house.delivered().await.1, [""; 0]);
    assert_eq!(house.file("orch-records", DEPLOY_LOG).as_deref(), Some("one"));
    assert_eq!(fake.pulls(REPOSITORY).len(), 1);
}

#[tokio::test]
async fn a_main_that_moves_while_the_person_thinks_has_the_new_candidate_staged_again() {
    let scene = Scene::with_provenance().await;
    let house = &scene.house;
    let task = scene.walk().await;
    house.commit("main", &[("other.txt", "by somebody else\n")]);
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "deploy waiting_human",
        "{}",
        scene.events(task).await
    );
    assert_eq!(scene.lines("deployed").len(), 2);
    assert_eq!(house.file("main", LOG), None);
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{}",
        scene.events(task).await
    );
    assert_eq!(house.task(task).await.developer_retries, 0);
    let last = house.tested().pop().unwrap();
    let differs = git(
        &house.origin(),
        &["diff-tree", "-r", "--name-only", &last, "main^{tree}"],
    );
    assert_eq!(differs, LOG);
}

#[tokio::test]
async fn a_failed_check_goes_back_with_its_findings_and_the_fix_is_staged_anew() {
    let scene = Scene::with("").await;
    scene.checks(
        &[
            LOGIN,
            r#"{"name":"cart","class":"real","ok":false,"detail":"500"}"#,
        ],
        1,
    );
    let evidence = sent_back(&scene).await;
    assert!(
        evidence.contains("cart") && evidence.contains("failed: 500"),
        "{evidence}"
    );
    scene.checks(&[LOGIN], 0);
    scene.house.run_all().await;
    assert!(scene.log().contains("staging_status: SUCCESS"), "{}", scene.log());
    assert_eq!(scene.lines("deployed").len(), 2);
}

#[tokio::test]
async fn an_infrastructure_failure_is_waived_where_it_is_allowed_and_borne() {
    for (more, at) in [
        ("infra_allowed = ['dns']\ntolerate_infra = true", "deploy"),
        ("infra_allowed = ['dns']\ntolerate_infra = false", "development"),
        ("infra_allowed = ['dns']", "development"),
    ] {
        let scene = Scene::with(more).await;
        scene.checks(&[LOGIN, DNS], 1);
        let task = scene.house.add("Say hello").await;
        let claim = scene.house.run_until("gate-check", "staging").await;
        scene.house.drive(claim).await;
        let stage = scene.house.task(task).await.stage;
        assert_eq!(stage.as_str(), at, "{more}: {}", scene.events(task).await);
        assert_eq!(
            scene.log().contains("waived: [\"dns\"]"),
            at == "deploy",
            "{}",
            scene.log()
        );
    }
}

#[tokio::test]
async fn nothing_checked_and_nothing_deployed_is_never_green() {
    let scene = Scene::with("required = ['pay']").await;
    scene.checks(&["all is well"], 0);
    sent_back(&scene).await;
    assert!(scene.log().contains("no checks were executed"), "{}", scene.log());

    let scene = Scene::with("required = ['pay']").await;
    let evidence = sent_back(&scene).await;
    assert!(evidence.contains("did not run"), "{evidence}");

    let scene = Scene::with("").await;
    scene.deploys("echo no room; exit 3");
    let evidence = sent_back(&scene).await;
    assert!(
        evidence.contains("deploy_command failed: exit code 3"),
        "{evidence}"
    );
    assert!(scene.log().contains("no room"), "{}", scene.log());
    assert_eq!(scene.lines("checked"), [""; 0]);
}

#[tokio::test]
async fn a_log_that_an_agent_writes_proves_nothing() {
    let scene = Scene::with("").await;
    let script = "mkdir -p src; echo \"work $nth\" >src/a; front 15-staging-log.md staging_status SUCCESS";
    scene.house.role("developer", script);
    scene.checks(&[LOGIN, r#"{"name":"cart","class":"real","ok":false}"#], 1);
    sent_back(&scene).await;
    assert_eq!(scene.lines("deployed").len(), 1);
}

#[tokio::test]
async fn a_stale_image_is_staged_three_times_more_and_then_blocked_once_without_a_developers_retry() {
    let scene = Scene::with_provenance().await;
    let house = &scene.house;
    scene.deploys("echo 0123456789abcdef >running");
    let task = scene.walk().await;
    assert_eq!(
        house.stands(task).await,
        "staging blocked",
        "{}",
        scene.events(task).await
    );
    assert_eq!(scene.lines("deployed").len(), 4);
    let now = house.task(task).await;
    assert_eq!(now.developer_retries, 0);
    let reason = now.reason.unwrap();
    assert!(
        reason.contains("staging runs 0123456789abcdef, expected "),
        "{reason}"
    );
    assert_eq!(house.count("outbox WHERE cause LIKE 'notify:blocked:%'"), 1);
    assert_eq!(house.ran(), ["developer", "reviewer"]);
    // Nobody asks for it again by himself.
    house.later(Duration::from_secs(3 * 3600));
    let before = house.dump();
    reconcile::sweep(&house.engine).await.unwrap();
    assert_eq!(house.dump(), before);
    // A person who mended it lets it go on: asked in the same visit, and deployed again where it is still stale.
    scene.deploys("echo \"$ORCH_REVISION\" >running");
    house.gesture(task, "in-progress").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "deploy waiting_human",
        "{}",
        scene.events(task).await
    );
    assert_eq!(scene.lines("deployed").len(), 5);
}

#[actix_rt::test]
async fn what_staging_runs_is_asked_at_its_address_and_no_answer_is_not_fresh() {
    let dir = tempfile::tempdir().unwrap();
    let running = dir.path().join("running");
    let file = running.clone();
    let service = FakeService::new(move |_| match fs::read_to_string(&file) {
        Ok(text) => Reply::new(200, format!("{{\"commit\": \"{}\"}}", text.trim())),
        Err(_) => Reply::new(503, "later"),
    });
    let more = format!("revision_url = '{}/version'", service.url);
    let scene = Scene::new(GATES, &more, "").await;
    let house = &scene.house;
    let task = house.add("Say hello").await;
    let claim = house.run_until("gate-check", "staging").await;
    house.drive(claim).await;
    assert_eq!(house.stands(task).await, "staging active");
    let events = scene.events(task).await;
    assert!(events.contains("HTTP 503"), "{events}");
    scene.deploys(&format!("echo \"$ORCH_REVISION\" >'{}'", running.display()));
    house.run_all().await;
    let stands = house.stands(task).await;
    assert_eq!(stands, "deploy waiting_human", "{}", scene.events(task).await);
    assert_eq!(scene.lines("deployed").len(), 2);
}

#[tokio::test]
async fn a_monitor_that_dies_while_the_checks_run_goes_on_with_them_and_commits_one_log() {
    let mut scene = Scene::with_provenance().await;
    scene.check_script(": >checking\nwhile [ ! -e go ]; do sleep 0.02; done\ncat report");
    let task = scene.house.add("Say hello").await;
    let claim = scene.house.run_until("gate-check", "staging").await;
    let checking = scene.at("checking");
    // Never polled again, as if it was killed: a monitor that is told to stop ends its checks.
    let mut first = scene.house.driving(claim);
    first.until("the checks run", async || checking.exists()).await;
    scene.house.restart().await;
    // The second one dies when the log is at the forge, and nothing says yet that it is.
    fs::write(scene.at("go"), "").unwrap();
    let mut second = scene.house.driving(claim);
    let house = &scene.house;
    let written = async || house.file(BRANCH, LOG).is_some();
    second.until("the log is there", written).await;
    assert_eq!(
        house.count("evidence WHERE gate = 'staging_status'"),
        0,
        "the log is pushed before the evidence"
    );
    scene.house.restart().await;
    assert_eq!(scene.house.drive(claim).await, Driven::Over);
    assert_eq!(
        scene.house.stands(task).await,
        "deploy waiting_human",
        "{}",
        scene.events(task).await
    );
    assert_eq!(
        (scene.lines("deployed").len(), scene.lines("checked").len()),
        (1, 1)
    );
    assert_eq!(scene.logs_committed(), 1);
    assert_eq!(scene.house.leftovers(), [""; 0]);
    drop((first, second));
}

#[tokio::test]
async fn a_branch_that_moves_while_the_checks_run_gets_no_log_of_other_code() {
    let scene = Scene::with_provenance().await;
    scene.check_script(": >checking\nwhile [ ! -e go ]; do sleep 0.02; done\ncat report");
    let task = scene.house.add("Say hello").await;
    let claim = scene.house.run_until("gate-check", "staging").await;
    let checking = scene.at("checking");
    let mut drive = scene.house.driving(claim);
    drive.until("the checks run", async || checking.exists()).await;
    git(&scene.house.path("desk"), &["fetch", "-q", "origin"]);
    git(
        &scene.house.path("desk"),
        &["switch", "-q", "-c", BRANCH, &format!("origin/{BRANCH}")],
    );
    let theirs = scene.house.commit(BRANCH, &[("src/more.txt", "more\n")]);
    fs::write(scene.at("go"), "").unwrap();
    assert_eq!(drive.end().await.unwrap(), Driven::Over);
    scene.house.run_all().await;
    // The old answer was never written onto the new code: what stands there is about it.
    assert_eq!(
        scene.house.stands(task).await,
        "deploy waiting_human",
        "{}",
        scene.events(task).await
    );
    let (log, deployed) = (scene.log(), scene.lines("deployed"));
    assert_eq!(deployed.len(), 2);
    assert!(log.contains(&deployed[1]) && !log.contains(&deployed[0]), "{log}");
    assert!(scene.house.file(&deployed[1], "src/more.txt").is_some());
    assert_ne!(deployed[0], theirs.as_str());
    assert_eq!(scene.logs_committed(), 1);
}

// --- what is written after the merge

/// A notice of an artifact, caused now.
fn artifact(house: &House, task: TaskId, (cause, name, text): (&str, &str, &str)) {
    let Timestamp(now) = house.engine.now();
    house.sql(&format!(
        "INSERT INTO outbox (task_id, cause, kind, channel, payload, status, available_at, created_at) VALUES \
         ({task}, '{cause}', 'artifact', 'records', '{{\"name\":\"{name}\",\"text\":\"{text}\"}}', 'pending', {now}, {now})"
    ));
}

const DEPLOY_LOG: &str = "docs/work-items/SHOP-001/14-deploy-log.md";

#[tokio::test]
async fn an_artifact_after_the_merge_goes_onto_the_records_ref_once_and_outlives_a_repository_that_is_away() {
    let top = "records_ref = 'refs/heads/orch-records'";
    let scene = Scene::new(r#""branch_mergeable", "staging_status""#, "", top).await;
    let house = &scene.house;
    let task = house.add("Say hello").await;
    house.deliver().await;
    let main = house.main();
    let (origin, away) = (house.origin(), house.path("away"));
    fs::rename(&origin, &away).unwrap();
    artifact(house, task, ("a:1", "14-deploy-log.md", "one"));
    house.sql(
        "INSERT INTO outbox (task_id, cause, kind, channel, payload, status, available_at, created_at) \
         SELECT task_id, 'note', 'notification', 'people', '{\"about\":\"done\",\"text\":\"said\"}', 'pending', \
         available_at, created_at FROM outbox WHERE cause = 'a:1'",
    );
    let (told, trouble) = house.delivered().await;
    assert!(told.iter().any(|(_, text)| text == "said"), "{told:?}");
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert!(trouble[0].contains("(records, a:1), again at"), "{trouble:?}");
    fs::rename(&away, &origin).unwrap();
    house.later(Duration::from_secs(60));
    assert_eq!(house.delivered().await.1, [""; 0]);
    assert_eq!(house.file("orch-records", DEPLOY_LOG).as_deref(), Some("one"));
    let first = house.head("orch-records").unwrap();
    // Who dies between the push and the mark delivers once more, and commits nothing.
    artifact(house, task, ("a:2", "14-deploy-log.md", "one"));
    assert_eq!(house.delivered().await.1, [""; 0]);
    assert_eq!(house.head("orch-records"), Some(first));
    artifact(house, task, ("a:3", "14-deploy-log.md", "two"));
    assert_eq!(house.delivered().await.1, [""; 0]);
    assert_eq!(house.file("orch-records", DEPLOY_LOG).as_deref(), Some("two"));
    assert_eq!(house.main(), main);
}

#[tokio::test]
async fn without_a_records_ref_the_tasks_branch_has_it_and_one_that_is_gone_is_not_made_anew() {
    let scene = Scene::with("").await;
    let house = &scene.house;
    let task = scene.walk().await;
    house.deliver().await;
    artifact(house, task, ("a:1", "14-deploy-log.md", "one"));
    assert_eq!(house.delivered().await.1, [""; 0]);
    assert_eq!(house.file(BRANCH, DEPLOY_LOG).as_deref(), Some("one"));
    git(
        &house.origin(),
        &["update-ref", "-d", &format!("refs/heads/{BRANCH}")],
    );
    artifact(house, task, ("a:2", "14-deploy-log.md", "two"));
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert!(
        trouble[0].contains("is gone and is not made anew: set records_ref in"),
        "{trouble:?}"
    );
    assert_eq!(house.head(BRANCH), None);
}
