//! Claiming: in order, within limits, past what is held or broken, and never twice.

use std::collections::BTreeSet;
use std::time::Duration;

use orch::domain::claim::Held;
use orch::domain::id::{InstanceId, JobId, NodeName};
use orch::domain::job::{Job, JobEnd, JobKind};
use orch::domain::task::Task;
use orch::store::jobs::{self, ClaimRequest, Nodes, Offer};
use orch::store::nodes::{self, NodeOff, Off};
use orch::store::{Store, tasks};

use super::support::*;

fn ids(claimed: &[Job]) -> Vec<JobId> {
    claimed.iter().map(|j| j.id).collect()
}

fn agent_nodes(claimed: &[Job]) -> Vec<Option<&str>> {
    claimed
        .iter()
        .map(|j| j.agent_node.as_ref().map(NodeName::as_str))
        .collect()
}

/// One slot on the claimer's own node, two on another that has a label.
fn nodes_with_far() -> Nodes {
    Nodes {
        own_slots: Some(1),
        ssh: vec![Offer {
            node: NodeName::trusted("far"),
            slots: 2,
            labels: BTreeSet::from(["gpu".to_owned()]),
        }],
        ..Nodes::default()
    }
}

fn modifying(bed: &Bed, name: &str, path: &str) -> Task {
    let path = path.to_owned();
    bed.task_with(name, |t| t.modifies = vec![path])
}

on_both! {
    fn on_a_full_disk_only_what_writes_nothing_there_is_claimed_and_the_others_say_why(bed) {
        let kinds = [JobKind::Agent, JobKind::GateCheck, JobKind::DeployFinalizer, JobKind::PostDeployMonitor];
        for kind in kinds {
            let task = bed.task(kind.as_str());
            bed.job_with(&task, |j| j.kind = kind);
        }
        for max_concurrency in [100_000, 100] {
            let full = ClaimRequest { no_room: true, max_concurrency, ..request() };
            let asked = full.clone();
            let held = bed.write(move |c| jobs::held(c, &asked, 50));
            assert_eq!(held.iter().filter(|(_, why)| *why == Held::NoRoom).count(), 3, "{held:?}");
            let claimed: Vec<_> = bed.claim(full).iter().map(|j| j.kind).collect();
            let first = max_concurrency == 100_000;
            assert_eq!(claimed, first.then_some(JobKind::PostDeployMonitor).into_iter().collect::<Vec<_>>());
        }
        assert_eq!(bed.claim(request()).len(), 3, "when there is room again");
    }

    fn the_oldest_of_the_highest_priority_goes_first(bed) {
        let made: Vec<JobId> = [0, 5, 5, -1]
            .into_iter()
            .enumerate()
            .map(|(n, priority)| bed.job_with(&bed.task(&format!("T-{n}")), |j| j.priority = priority).id)
            .collect();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(bed.claim(ClaimRequest { limit: 1, ..request() }).iter().map(|j| j.id));
        }
        assert_eq!(seen, [made[1], made[2], made[0], made[3]]);
    }

    fn a_claim_costs_an_attempt_and_says_who_has_it(bed) {
        let (_, job) = bed.claimed("T-1");
        assert_eq!((job.attempts, job.claim_epoch.0, job.claimed_at), (1, 1, Some(NOW)));
        assert_eq!(job.node.unwrap().as_str(), "local");
        assert_eq!(job.instance.unwrap().as_str(), "boot-1");
    }

    fn no_more_agents_run_than_may_over_all_and_in_each_project(bed) {
        let other = bed.project("other");
        for n in 0..3 {
            bed.job(&bed.task(&format!("T-{n}")));
            bed.job(&bed.task_with(&format!("O-{n}"), |t| t.project_id = other));
        }
        let shop = bed.project("shop");
        let one_in_shop = ClaimRequest { project_concurrency: vec![(shop, 1)], ..request() };
        let claimed = bed.claim(ClaimRequest { max_concurrency: 2, ..one_in_shop.clone() });
        assert_eq!(claimed.iter().filter(|j| j.project_id == shop).count(), 1);
        assert_eq!(claimed.len(), 2);
        assert_eq!(bed.claim(ClaimRequest { max_concurrency: 2, ..one_in_shop.clone() }), []);
        let claimed = bed.claim(ClaimRequest { default_project_concurrency: Some(2), ..one_in_shop });
        assert_eq!(claimed.iter().map(|j| j.project_id).collect::<Vec<_>>(), [other]);
    }

    fn agents_go_to_the_first_node_with_room_and_what_runs_there_is_counted_whoever_claimed_it(bed) {
        for n in 0..6 {
            bed.job(&bed.task(&format!("T-{n}")));
        }
        let two = ClaimRequest { nodes: nodes_with_far(), ..request() };
        let claimed = bed.claim(two.clone());
        assert_eq!(agent_nodes(&claimed), [None, Some("far"), Some("far")]);
        assert!(claimed.iter().all(|j| j.node.as_ref().unwrap().as_str() == "local"), "one service drives them all");
        let asked = two.clone();
        let held = bed.write(move |c| jobs::held(c, &asked, 50));
        assert_eq!(held.len(), 3);
        assert!(held.iter().all(|(_, why)| *why == Held::NodesFull), "{held:?}");
        let other = ClaimRequest { node: NodeName::trusted("other"), ..two.clone() };
        assert_eq!(agent_nodes(&bed.claim(other)), [None], "the far slots are taken for everybody");
        let again = JobEnd::Retry { error: "x".into(), available_at: NOW, notes: None, timeout_percent: None };
        let claim = claim_of(&claimed[1]);
        let ended = won(bed.write(move |c| jobs::end(c, claim, &again, NOW)));
        assert_eq!((ended.node, ended.agent_node), (None, None));
        assert_eq!(agent_nodes(&bed.claim(two)), [Some("far")]);
    }

    fn a_node_that_is_off_or_has_a_slot_fewer_is_passed_over_and_wakes_the_queue_when_it_is_back(bed) {
        for n in 0..6 {
            bed.job(&bed.task(&format!("T-{n}")));
        }
        let two = ClaimRequest { nodes: nodes_with_far(), ..request() };
        let until = NOW + Duration::from_secs(60);
        let off = NodeOff { node: NodeName::trusted("local"), how: Off::Blacklisted, until, reason: "x".into(), since: NOW };
        let cut = nodes::NodeCut { node: NodeName::trusted("far"), until: until + Duration::from_secs(9), reason: "x".into() };
        bed.write(move |c| {
            nodes::turn_off(c, &off)?;
            nodes::cut(c, &cut, NOW)
        });
        assert_eq!(agent_nodes(&bed.claim(two.clone())), [Some("far")]);
        let asked = two.clone();
        assert_eq!(bed.write(move |c| jobs::opens_at(c, &asked)), Some(until));
        let later = ClaimRequest { now: until + Duration::from_secs(1), ..two.clone() };
        assert_eq!(agent_nodes(&bed.claim(later)), [None]);
        let last = ClaimRequest { now: until + Duration::from_secs(10), ..two };
        assert_eq!(agent_nodes(&bed.claim(last)), [Some("far")]);
    }

    fn an_agent_that_needs_a_label_waits_for_a_node_that_has_it(bed) {
        let task = bed.task("T-1");
        let job = bed.job(&task);
        let wanted = |label: &str| Nodes {
            wanted: [((task.project_id, job.role.unwrap()), BTreeSet::from([label.to_owned()]))].into(),
            ..nodes_with_far()
        };
        let arm = ClaimRequest { nodes: wanted("arm"), ..request() };
        let asked = arm.clone();
        let held = bed.write(move |c| jobs::held(c, &asked, 50));
        assert_eq!(held, [(job.id, Held::NoSuchNode(BTreeSet::from(["arm".to_owned()])))]);
        assert_eq!(bed.claim(arm), []);
        let gpu = ClaimRequest { nodes: wanted("gpu"), ..request() };
        assert_eq!(agent_nodes(&bed.claim(gpu)), [Some("far")]);
    }

    fn a_paused_queue_gives_reserved_jobs_only(bed) {
        bed.job(&bed.task("T-1"));
        let reserved = bed.job_with(&bed.task("T-2"), |j| {
            j.kind = JobKind::DeployFinalizer;
            j.role = None;
        });
        let claimed = bed.claim(ClaimRequest { paused: true, max_concurrency: 0, ..request() });
        assert_eq!(ids(&claimed), [reserved.id]);
    }

    fn reserved_jobs_have_their_own_ceiling_and_take_no_agent_slot(bed) {
        for n in 0..3 {
            bed.job_with(&bed.task(&format!("R-{n}")), |j| j.kind = JobKind::PostDeployMonitor);
        }
        let agent = bed.job(&bed.task("T-1"));
        let tight = ClaimRequest { max_concurrency: 1, reserved_ceiling: 2, ..request() };
        let claimed = bed.claim(tight.clone());
        assert_eq!(claimed.iter().filter(|j| j.kind.is_reserved()).count(), 2);
        assert!(ids(&claimed).contains(&agent.id));
        assert_eq!(bed.claim(tight), []);
    }

    fn a_limit_takes_the_best_of_both_kinds(bed) {
        let agent = bed.job_with(&bed.task("T-1"), |j| j.priority = 9);
        bed.job_with(&bed.task("R-1"), |j| j.kind = JobKind::GateCheck);
        assert_eq!(ids(&bed.claim(ClaimRequest { limit: 1, ..request() })), [agent.id]);
    }

    fn a_job_waits_until_the_tasks_it_depends_on_are_done(bed) {
        let (first, second) = (bed.task("T-1"), bed.task("T-2"));
        let (on, of) = (first.id, second.id);
        let _ = bed.write(move |c| tasks::add_dependency(c, of, on));
        let job = bed.job(&second);
        assert_eq!(bed.claim(request()), []);
        bed.sql("UPDATE tasks SET status = 'done' WHERE work_item_id = 'T-1'");
        assert_eq!(ids(&bed.claim(request())), [job.id]);
    }

    fn tasks_that_touch_the_same_paths_do_not_run_at_the_same_time(bed) {
        let first = bed.job(&modifying(bed, "T-1", "src/cart"));
        let second = bed.job(&modifying(bed, "T-2", "src/cart/total.rs"));
        let apart = bed.job(&modifying(bed, "T-3", "src/login"));
        assert_eq!(ids(&bed.claim(request())), [first.id, apart.id]);
        let again = bed.claim(request());
        assert_eq!(again, []);
        let claim = orch::domain::job::Claim { job: first.id, epoch: orch::domain::id::ClaimEpoch(1) };
        won(bed.write(move |c| jobs::end(c, claim, &JobEnd::Done, NOW)));
        assert_eq!(ids(&bed.claim(request())), [second.id]);
    }

    fn the_older_of_two_tasks_that_have_begun_goes_on_first(bed) {
        let older = modifying(bed, "T-1", "src");
        bed.job(&older);
        let claimed = bed.claim(request()).remove(0);
        bed.run(&claimed);
        won(bed.write(move |c| jobs::end(c, claim_of(&claimed), &JobEnd::Done, NOW)));
        let younger = bed.job(&modifying(bed, "T-2", "src"));
        assert_eq!(bed.claim(request()), [], "the older task has begun and waits for its next stage");
        bed.sql("UPDATE tasks SET status = 'blocked' WHERE work_item_id = 'T-1'");
        assert_eq!(ids(&bed.claim(request())), [younger.id]);
    }

    fn held_jobs_do_not_starve_the_ones_behind_them(bed) {
        let blocker = bed.task("T-0");
        for n in 1..=150 {
            let task = bed.task(&format!("T-{n}"));
            let (of, on) = (task.id, blocker.id);
            let _ = bed.write(move |c| tasks::add_dependency(c, of, on));
            bed.job_with(&task, |j| j.priority = 5);
        }
        let last = bed.job(&bed.task("T-151"));
        assert_eq!(ids(&bed.claim(request())), [last.id]);
    }

    fn a_job_that_cannot_be_read_is_reported_and_left_while_others_go_on(bed) {
        let broken = bed.job_with(&bed.task("T-1"), |j| j.priority = 9).id;
        let no_paths = bed.job_with(&bed.task("T-2"), |j| j.priority = 9).id;
        let good = bed.job(&bed.task("T-3")).id;
        bed.sql("UPDATE jobs SET role = 'wizard' WHERE task_id IN (SELECT id FROM tasks WHERE work_item_id = 'T-1')");
        bed.sql("UPDATE tasks SET modifies = '{' WHERE work_item_id = 'T-2'");
        let listing = bed.write(|c| jobs::claim_next(c, &request()));
        assert_eq!(ids(&listing.rows), [good]);
        let reported: BTreeSet<i64> = listing.broken.iter().map(|(id, _)| *id).collect();
        assert!(reported.contains(&broken.0) && reported.contains(&no_paths.0), "{listing:?}");
        assert!(listing.broken.iter().any(|(_, why)| why.contains("wizard")));
        bed.sql("UPDATE jobs SET role = 'tester' WHERE role = 'wizard'");
        assert_eq!(ids(&bed.write(|c| jobs::claim_next(c, &request())).rows), [broken]);
    }

    fn eight_threads_never_claim_one_job_twice_nor_more_than_may_run(bed) {
        for n in 0..120 {
            bed.job(&bed.task(&format!("T-{n}")));
        }
        let claimed: Vec<JobId> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = Vec::new();
                        for _ in 0..10 {
                            let request = ClaimRequest { limit: 3, max_concurrency: 100, ..request() };
                            mine.extend(ids(&bed.claim(request)));
                        }
                        mine
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        let distinct: BTreeSet<JobId> = claimed.iter().copied().collect();
        assert_eq!(claimed.len(), distinct.len(), "a job was claimed twice");
        assert_eq!(claimed.len(), 100, "as many as may run, no more");
        assert_eq!(bed.write(|c| jobs::counts(c, NOW)).running, 100);
    }
}

/// Everybody claims at once, far from the limit and up to it.
#[test]
fn claimers_side_by_side_use_a_limit_up_and_never_exceed_it() {
    let Some(bed) = Bed::postgres() else { return };
    bed.task("T-0");
    bed.sql(
        "INSERT INTO tasks (project_id, work_item_id, tracker, external_id, title, description, branch, stage, status, \
         stage_entered_at, created_at, updated_at) SELECT project_id, 'S-' || i, 'local', 's/' || i, 'x', 'x', 'x', \
         'development', 'active', 1, 1, 1 FROM tasks, generate_series(1, 2700) i",
    );
    bed.sql(
        "INSERT INTO jobs (task_id, project_id, kind, role, stage, visit, task_version, status, available_at, \
         max_attempts, max_transient_attempts, created_at) SELECT id, project_id, 'agent', 'developer', 'development', \
         1, 1, 'queued', 1, 2, 5, 1 FROM tasks WHERE work_item_id LIKE 'S-%'",
    );
    // Room for some hundred side by side, then alone to the last one.
    let wide = ClaimRequest {
        limit: 64,
        max_concurrency: 2600,
        ..request()
    };
    let claimed: Vec<JobId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let got = ids(&bed.claim(wide.clone()));
                        if got.is_empty() {
                            return mine;
                        }
                        mine.extend(got);
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let distinct: BTreeSet<JobId> = claimed.iter().copied().collect();
    assert_eq!(claimed.len(), distinct.len(), "a job was claimed twice");
    assert_eq!(claimed.len(), 2600, "as many as may run, no more and no fewer");
}

#[test]
fn claimers_side_by_side_keep_tasks_apart_that_touch_the_same_paths() {
    let Some(bed) = Bed::postgres() else { return };
    for n in 0..24 {
        bed.job(&modifying(&bed, &format!("T-{n}"), "src/cart"));
    }
    let wide = ClaimRequest {
        limit: 1,
        max_concurrency: 10_000,
        ..request()
    };
    let claimed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| bed.claim(wide.clone()).len()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(claimed, 1);
}

/// Both look at the same moment, far from every limit, where claimers go side by side.
#[test]
fn of_a_scope_whose_breaker_is_half_open_two_instances_claim_one_trial_between_them() {
    let Some(bed) = Bed::postgres() else { return };
    let other = Store::open(&bed.url).unwrap();
    bed.task("T-0");
    bed.sql(
        "INSERT INTO retry_scopes (scope, failures, opened_at) SELECT 'project:' || id, 5, 0 FROM projects",
    );
    for round in 0..20 {
        for n in 0..4 {
            bed.job(&bed.task(&format!("R-{round}-{n}")));
        }
        let start = std::sync::Barrier::new(2);
        let claims = |store: &Store, instance: &'static str| {
            let request = ClaimRequest {
                limit: 2,
                max_concurrency: 10_000,
                instance: InstanceId::trusted(instance),
                ..request()
            };
            start.wait();
            let claimed = store.write_blocking(move |c| jobs::claim_next(c, &request));
            ids(&claimed.unwrap().rows)
        };
        let claimed = std::thread::scope(|scope| {
            let one = scope.spawn(|| claims(&bed.store, "boot-1"));
            let two = scope.spawn(|| claims(&other, "boot-2"));
            [one.join().unwrap(), two.join().unwrap()].concat()
        });
        assert_eq!(claimed.len(), 1, "round {round}: {claimed:?}");
        // The trial is over, however it ended: the scope is half open again.
        bed.sql(
            "UPDATE jobs SET status = 'cancelled', finished_at = 1 WHERE status IN ('queued', 'running')",
        );
    }
}

#[test]
fn a_claimer_far_from_the_limit_does_not_wait_for_another_one() {
    let Some(bed) = Bed::postgres() else { return };
    for n in 0..2 {
        bed.job(&bed.task(&format!("T-{n}")));
    }
    let wide = ClaimRequest {
        limit: 1,
        max_concurrency: 10_000,
        ..request()
    };
    let (one, other) = (wide.clone(), bed.store.clone());
    // The second claims and commits while the first has claimed and not committed.
    let (first, second) = bed.write(move |c| {
        let first = jobs::claim_next(c, &one)?.rows;
        let second = std::thread::spawn(move || other.write_blocking(move |c| jobs::claim_next(c, &wide)));
        Ok((ids(&first), ids(&second.join().unwrap()?.rows)))
    });
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}
