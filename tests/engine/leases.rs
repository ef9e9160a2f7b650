//! Leases of dead holders are taken back, those of live ones are not, and a person may release one that was seen.

use std::time::Duration;

use orch::domain::id::{BranchName, InstanceId, NodeName, TaskId};
use orch::domain::run::ProcessIdentity;
use orch::engine::EngineError;
use orch::engine::reclaim::{self, Reclaimed};
use orch::store::leases::{self, Acquire, Lease, LeaseRequest};
use orch::store::{StoreError, instances};

use super::house::{Backend, CONFIRMED, House, SHORT, on_both};

/// Without the merge gate, so that a repository may be out of its scope.
const PLAIN: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

const TTL: Duration = Duration::from_secs(300);

/// A lease of the house's repository, as a boot of that name took it.
async fn taken(house: &House, task: TaskId, instance: &str) -> Lease {
    let repo = house.project.config.repo.clone();
    taken_of(house, &repo, task, instance).await
}

async fn taken_of(house: &House, repo: &str, task: TaskId, instance: &str) -> Lease {
    let request = LeaseRequest {
        repo: repo.to_owned(),
        task,
        branch: BranchName::trusted("feature/x"),
        instance: InstanceId::trusted(instance),
        ttl: TTL,
    };
    let now = house.engine.now();
    let got = house
        .engine
        .store()
        .write(move |tx| leases::acquire(tx, &request, now));
    match got.await.unwrap() {
        Acquire::Held(lease) => lease,
        Acquire::Busy(lease) => panic!("{lease:?}"),
    }
}

/// A boot of this node, with a process that lives or one that does not.
async fn boot(house: &House, id: &'static str, lives: bool) {
    let me = orch::process::own_identity().unwrap();
    let start_time = me.start_time - u64::from(!lives);
    let process = ProcessIdentity { start_time, ..me };
    let (node, now) = (house.engine.settings().node.clone(), house.engine.now());
    start(house, id, node, process, now).await;
}

async fn start(
    house: &House,
    id: &'static str,
    node: NodeName,
    process: ProcessIdentity,
    now: orch::domain::time::Timestamp,
) {
    let id = InstanceId::trusted(id);
    let written = house
        .engine
        .store()
        .write(move |tx| instances::start(tx, &id, &node, &process, now));
    written.await.unwrap();
}

async fn held(house: &House) -> Vec<Lease> {
    house.engine.store().read(leases::list).await.unwrap()
}

async fn sweep(house: &House) -> Reclaimed {
    let done = reclaim::sweep(&house.engine).await.unwrap();
    assert_eq!(done.trouble, [""; 0]);
    done
}

async fn a_lease_whose_holder_died_or_stopped_is_released_once_and_told_once(on: Backend) {
    for how in ["died", "stopped"] {
        let house = on.short().await;
        let task = house.add("Say hello").await;
        boot(&house, "former", how != "died").await;
        if how == "stopped" {
            house.sql("UPDATE instances SET stopped_at = 1 WHERE id = 'former'");
        }
        let lease = taken(&house, task, "former").await;
        let done = sweep(&house).await;
        assert_eq!(done.leases.len(), 1, "{how}");
        assert_eq!(held(&house).await, []);
        assert_eq!(house.engine.reaper_stats().lease_reclaimed_total, 1);
        let told: Vec<_> = house
            .deliver()
            .await
            .into_iter()
            .filter(|(about, _)| about == "lease")
            .collect();
        assert_eq!(told.len(), 1, "{how}");
        let cause = "SELECT cause AS line FROM outbox WHERE channel = 'people' AND cause LIKE 'lease:%'";
        assert_eq!(
            house.sql_lines(cause),
            [format!("lease:{}:{}", lease.repo, lease.token.0)]
        );
        assert_eq!(house.count("healing_events WHERE kind = 'lease'"), 1);
        let before = house.dump();
        assert_eq!(sweep(&house).await, Reclaimed::default());
        assert_eq!(house.dump(), before, "{how}");
    }
}

async fn a_live_holder_keeps_its_lease_until_it_expires_and_whoever_waits_is_woken_then(on: Backend) {
    let house = on.short().await;
    boot(&house, "other", true).await;
    let first = house.add("Holds it").await;
    taken(&house, first, "other").await;
    house.sql("UPDATE jobs SET status = 'done'");
    house.add("Waits").await;
    house.sql(&format!(
        "UPDATE jobs SET kind = 'gate-check', error = 'waits for the merge lease, held by task #1', available_at = {} \
         WHERE status = 'queued'",
        (house.engine.now() + Duration::from_secs(1000)).0
    ));
    house.later(TTL - Duration::from_micros(1));
    let before = house.dump();
    assert_eq!(sweep(&house).await, Reclaimed::default());
    assert_eq!(house.dump(), before);
    assert_eq!(house.claim().await, []);
    house.later(Duration::from_micros(1));
    assert_eq!(sweep(&house).await.leases.len(), 1);
    assert_eq!(house.claim().await.len(), 1);
}

async fn a_lease_that_this_very_service_took_is_left_to_it(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    taken(&house, task, "first").await;
    assert_eq!(sweep(&house).await, Reclaimed::default());
    assert_eq!(held(&house).await.len(), 1);
}

async fn what_is_out_of_scope_or_switched_off_is_left_alone(on: Backend) {
    for line in [
        "merge.gate_repos = [\"another/shop\"]",
        "lease_reclaim.enabled = false",
    ] {
        let house = on.plan(PLAIN).set(line).build().await;
        let task = house.add("Say hello").await;
        taken(&house, task, "nobody").await;
        house.later(TTL * 2);
        let before = house.dump();
        assert_eq!(sweep(&house).await, Reclaimed::default(), "{line}");
        assert_eq!(house.dump(), before, "{line}");
    }
    let house = on.plan(SHORT).set("merge.gate_repos = [\"shop\"]").build().await;
    let task = house.add("Say hello").await;
    taken(&house, task, "nobody").await;
    house.later(TTL);
    assert_eq!(sweep(&house).await.leases.len(), 1);
}

async fn a_lease_whose_holder_nobody_can_tell_waits_for_its_end_and_stops_no_other(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    boot(&house, "mangled", true).await;
    house.sql("UPDATE instances SET process = 'no' WHERE id = 'mangled'");
    taken(&house, task, "mangled").await;
    // Of a task that is not there, and of one whose row cannot be read while its holder lives.
    taken_of(&house, "/a", TaskId(4711), "nobody").await;
    taken_of(&house, "/b", task, "first").await;
    house.sql("UPDATE tasks SET modifies = 'no'");
    boot(&house, "dead", false).await;
    taken_of(&house, "/c", task, "dead").await;
    // Who cannot be told may be merging.
    let taken = sweep(&house).await.leases;
    assert!(taken.len() == 1 && taken[0].contains("/c"), "{taken:?}");
    house.later(TTL - Duration::from_micros(1));
    assert_eq!(sweep(&house).await, Reclaimed::default());
    let listed = reclaim::list(&house.engine).await.unwrap();
    let by: Vec<_> = listed.iter().map(|lease| lease.held_by.as_str()).collect();
    assert_eq!(by.iter().filter(|by| **by == "nobody known").count(), 2, "{by:?}");
    house.later(Duration::from_micros(1));
    let taken = sweep(&house).await.leases;
    let untold = taken
        .iter()
        .filter(|line| line.contains("nobody can tell who held it"));
    assert_eq!((taken.len(), untold.count()), (3, 2), "{taken:?}");
}

async fn a_person_releases_the_lease_that_was_seen_and_no_other(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    let lease = taken(&house, task, "first").await;
    let listed = reclaim::list(&house.engine).await.unwrap();
    assert_eq!(
        (listed[0].token, listed[0].held_by.as_str()),
        (lease.token.0, "a live service")
    );
    let stale = reclaim::release(&house.engine, &lease.repo, lease.token.0 + 1, true).await;
    assert!(matches!(stale, Err(EngineError::Conflict { .. })), "{stale:?}");
    assert_eq!(held(&house).await, std::slice::from_ref(&lease));
    reclaim::release(&house.engine, &lease.repo, lease.token.0, false)
        .await
        .unwrap();
    assert_eq!(held(&house).await, []);
    let again = reclaim::release(&house.engine, &lease.repo, lease.token.0, false).await;
    assert!(matches!(again, Err(EngineError::NotFound { .. })), "{again:?}");
}

async fn a_lease_under_which_a_merge_goes_on_is_released_only_by_force(on: Backend) {
    let house = on.plan(CONFIRMED).build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    house.gesture(task, "confirm-deploy").await;
    let claim = house.run_until("deploy-finalizer", "deploy").await;
    let mut merging = house.driving(claim);
    let engine = house.engine.clone();
    merging
        .until("the merge is intended", async move || {
            let count = engine.store().read(|tx| {
                let open = orch::store::intents::open_keyed(tx, "merge:")?;
                Ok::<_, StoreError>(open.rows.len())
            });
            count.await.unwrap() > 0
        })
        .await;
    let lease = held(&house).await.remove(0);
    let refused = reclaim::release(&house.engine, &lease.repo, lease.token.0, false).await;
    assert!(
        matches!(refused, Err(EngineError::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(held(&house).await.len(), 1);
    reclaim::release(&house.engine, &lease.repo, lease.token.0, true)
        .await
        .unwrap();
    assert_eq!(held(&house).await, []);
    // What it still wants to do is refused, or done under a new token.
    let _ = merging.end().await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

on_both!(
    a_lease_whose_holder_died_or_stopped_is_released_once_and_told_once,
    a_live_holder_keeps_its_lease_until_it_expires_and_whoever_waits_is_woken_then,
    a_lease_that_this_very_service_took_is_left_to_it,
    what_is_out_of_scope_or_switched_off_is_left_alone,
    a_lease_whose_holder_nobody_can_tell_waits_for_its_end_and_stops_no_other,
    a_person_releases_the_lease_that_was_seen_and_no_other,
    a_lease_under_which_a_merge_goes_on_is_released_only_by_force,
);
