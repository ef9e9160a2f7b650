//! Main that has something else than what was tested stops the repository's merges until a person has looked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use orch::domain::id::{Sha, TaskId};
use orch::domain::job::JobStatus;
use orch::engine::EngineError;
use orch::engine::lease::stop as merge_stop;

use super::house::{Backend, House, Plan, SHORT, git, on_both};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY};

const LATER: Duration = Duration::from_secs(3600);

/// What the repository does after main was moved.
fn after_a_push_to_main(house: &House, script: &str) {
    let hook = house.origin().join("hooks/post-receive");
    let script = format!(
        "#!/bin/sh\nread old new ref\n[ \"$ref\" = refs/heads/main ] || exit 0\n\
         export GIT_AUTHOR_NAME=p GIT_AUTHOR_EMAIL=p@x GIT_COMMITTER_NAME=p GIT_COMMITTER_EMAIL=p@x\n{script}\n"
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Main is at a commit of the repository's own instead of the one that was pushed.
const REWRITES: &str = "tree=$(printf '100644 blob %s\\tother.txt\\n' \"$(echo other | git hash-object -w --stdin)\" | git mktree)\n\
                        git update-ref refs/heads/main \"$(git commit-tree \"$tree\" -p \"$old\" -m other)\"";
/// Main is one commit further than what was pushed.
const ADDS: &str = "git update-ref refs/heads/main \"$(git commit-tree \"$(git rev-parse \"$old^{tree}\")\" -p \"$new\" -m bot)\"";

/// The other task waits, at no cost and under no lease, whoever asks, and main stays where it is.
async fn waits(house: &House, task: TaskId, main: &Sha) {
    house.later(LATER);
    house.run_all().await;
    let job = house.live_job(task).await.unwrap();
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
    let why = job.error.unwrap();
    assert!(
        why.starts_with("merges are stopped for ") && why.contains("orch lease release"),
        "{why}"
    );
    assert_eq!(house.main(), *main);
    assert_eq!(house.count("leases WHERE task_id IS NOT NULL"), 0);
}

async fn lift(house: &House) {
    let repo = house.project.config.repo.clone();
    merge_stop::lift(&house.engine, &repo, house.engine.now())
        .await
        .unwrap();
}

/// The one stop that stands.
async fn stopped(house: &House) -> String {
    let mut stops = merge_stop::list(&house.engine).await.unwrap();
    assert_eq!(stops.len(), 1, "{stops:?}");
    let stop = stops.remove(0);
    assert_eq!(stop.repo, house.project.config.repo);
    assert_eq!(stop.task.as_deref(), Some("SHOP-001"));
    stop.why
}

async fn notices(house: &House) -> i64 {
    house.count("outbox WHERE kind = 'notification'")
}

async fn main_that_was_rewritten_stops_all_merges_until_a_person_lets_them_go_on(backend: Backend) {
    let mut house = backend.short().await;
    let first = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    after_a_push_to_main(&house, REWRITES);
    let before = notices(&house).await;
    house.drive(claim).await;
    assert_eq!(
        house.stands(first).await,
        "review blocked",
        "{:#?}",
        house.events(first).await
    );
    assert_eq!(house.job(claim).await.status, JobStatus::Failed);
    assert_eq!(notices(&house).await, before + 1, "people are told once");
    let why = stopped(&house).await;
    assert!(why.contains("was merged, and main is at"), "{why}");
    assert_eq!(house.file("main", "other.txt").as_deref(), Some("other\n"));

    let second = house.add("Say more").await;
    house.run_all().await;
    let main = house.main();
    waits(&house, second, &main).await;
    house.sql("UPDATE instances SET stopped_at = 1");
    house.restart().await;
    waits(&house, second, &main).await;
    stopped(&house).await;
    let wrong = merge_stop::lift(&house.engine, "/elsewhere", house.engine.now()).await;
    assert!(matches!(&wrong, Err(EngineError::NotFound { what }) if what.contains("orch lease list")));
    waits(&house, second, &main).await;

    fs::remove_file(house.origin().join("hooks/post-receive")).unwrap();
    while house.hints.try_recv().is_ok() {}
    lift(&house).await;
    // Nobody waits for the next look.
    house.run_all().await;
    assert_eq!(
        house.stands(second).await,
        "done done",
        "{:#?}",
        house.events(second).await
    );
    assert!(house.tested().contains(&house.trees_of_main()[0]));
    assert_eq!(merge_stop::list(&house.engine).await.unwrap(), []);
    assert!(
        merge_stop::lift(&house.engine, "shop", house.engine.now())
            .await
            .is_err()
    );
}

async fn merges_that_are_stopped_at_the_last_moment_are_not_sent(backend: Backend) {
    let house = backend.short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let main = house.main();
    // It holds the lease and has looked at everything when another task finds main wrong.
    let repo = &house.project.config.repo;
    let value = r#"{"why":"main is wrong","task":77,"at":1}"#;
    let stop = format!("INSERT INTO settings_state (key, value) VALUES ('merges-stopped:{repo}', '{value}')");
    let (before, after) = match backend {
        Backend::Sqlite => (
            format!("CREATE TRIGGER stop AFTER INSERT ON intents WHEN NEW.kind = 'merge' BEGIN {stop}; END"),
            "DROP TRIGGER stop".to_owned(),
        ),
        Backend::Postgres => (
            format!(
                "CREATE FUNCTION stop() RETURNS trigger AS $$ BEGIN {stop}; RETURN NEW; END $$ LANGUAGE plpgsql; \
                 CREATE TRIGGER stop AFTER INSERT ON intents FOR EACH ROW WHEN (NEW.kind = 'merge') EXECUTE FUNCTION stop()"
            ),
            "DROP TRIGGER stop ON intents".to_owned(),
        ),
    };
    house.sql(&before);
    house.drive(claim).await;
    house.sql(&after);
    assert_eq!(
        house.count("intents WHERE kind = 'merge'"),
        1,
        "it meant to merge"
    );
    assert_eq!(house.main(), main);
    waits(&house, task, &main).await;
    lift(&house).await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
}

async fn what_is_pushed_on_top_of_a_merge_stops_nothing(backend: Backend) {
    let house = backend.short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    after_a_push_to_main(&house, ADDS);
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(merge_stop::list(&house.engine).await.unwrap(), []);
}

async fn a_stop_that_cannot_be_read_stops_as_well(backend: Backend) {
    let house = backend.short().await;
    let task = house.add("Say hello").await;
    let repo = &house.project.config.repo;
    house.sql(&format!(
        "INSERT INTO settings_state (key, value) VALUES ('merges-stopped:{repo}', 'torn')"
    ));
    house.run_all().await;
    let main = house.main();
    waits(&house, task, &main).await;
    lift(&house).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

on_both!(
    main_that_was_rewritten_stops_all_merges_until_a_person_lets_them_go_on,
    merges_that_are_stopped_at_the_last_moment_are_not_sent,
    what_is_pushed_on_top_of_a_merge_stops_nothing,
    a_stop_that_cannot_be_read_stops_as_well,
);

#[actix_rt::test]
async fn a_pull_request_merged_with_something_else_stops_the_merges_whenever_it_is_found() {
    for sent in [false, true] {
        let fake = FakeGitea::new();
        let mut house = Plan::new(SHORT).forge(&fake).build().await;
        let first = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        house.deliver().await;
        let smuggled = [("smuggled.txt", "by a person\n")];
        let number = fake.pulls(REPOSITORY)[0]["number"].as_u64().unwrap();
        match sent {
            false => fake.squash_with(REPOSITORY, number, &smuggled),
            true => fake.squash_first(REPOSITORY, &smuggled),
        }
        let before = notices(&house).await;
        house.drive(claim).await;
        assert_eq!(
            house.stands(first).await,
            "review blocked",
            "{:#?}",
            house.events(first).await
        );
        assert_eq!(notices(&house).await, before + 1);
        let why = stopped(&house).await;
        assert!(why.contains("which was tested"), "{why}");
        let sends = || fake.seen().iter().filter(|s| s.path.ends_with("/merge")).count();
        assert_eq!(sends(), usize::from(sent));

        let second = house.add("Say more").await;
        house.run_all().await;
        house.deliver().await;
        let main = house.main();
        waits(&house, second, &main).await;
        house.restart().await;
        waits(&house, second, &main).await;
        assert_eq!(sends(), usize::from(sent), "nothing is sent meanwhile");
        lift(&house).await;
        house.run_all().await;
        assert_eq!(
            house.stands(second).await,
            "done done",
            "{:#?}",
            house.events(second).await
        );
        assert_eq!(
            git(&house.origin(), &["cat-file", "-t", "main:smuggled.txt"]),
            "blob"
        );
        assert!(house.tested().contains(&house.trees_of_main()[0]));
    }
}
