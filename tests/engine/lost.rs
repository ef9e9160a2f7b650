//! No running job is invisible: one that no node has, and one of a boot that nobody knows, are settled like those of a node
//! that is silent.

use std::time::Duration;

use orch::domain::job::{Claim, JobStatus};
use orch::engine::reap::{self, Swept, TakenOver};
use orch::engine::{heal, recover};

use super::house::{Backend, House, SHORT};
use crate::support::Postgres;

const CEILING: Duration = Duration::from_secs(3601);
/// Longer than the house's TTL.
const SILENT_S: i64 = 9000;

/// What no node or boot has, as it may be left by a hand or a broken disk.
const NOBODYS: [&str; 4] = [
    "node = NULL",
    "instance = NULL",
    "node = NULL, instance = NULL",
    "node = 'elsewhere', instance = 'nobody'",
];

async fn claimed(house: &House) -> Claim {
    house.add("Say hello").await;
    house.claim_one().await
}

async fn taken(house: &House) -> TakenOver {
    let taken = reap::take_over(&house.engine).await.unwrap();
    assert_eq!(taken.trouble, [""; 0]);
    taken
}

#[tokio::test]
async fn alone_a_service_reaps_what_no_node_has_and_adopts_what_another_had() {
    for broken in NOBODYS {
        let house = House::short().await;
        let claim = claimed(&house).await;
        house.sql(&format!("UPDATE jobs SET {broken}"));
        if broken.contains("elsewhere") {
            assert_eq!(recover::running(&house.engine).await.unwrap().jobs.len(), 1);
            assert_eq!(
                house.job(claim).await.node.as_ref(),
                Some(&house.engine.settings().node)
            );
        }
        house.later(CEILING);
        let swept = reap::sweep(&house.engine, &|_| false).await.unwrap();
        assert_eq!(swept.reaped.len(), 1, "{broken}: {swept:?}");
        assert_eq!(house.job(claim).await.status, JobStatus::Queued, "{broken}");
    }
}

#[tokio::test]
async fn alone_a_service_puts_away_what_a_run_left_under_another_name_of_its_node() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; hold work");
    let claim = claimed(&house).await;
    let mut died = house.driving(claim);
    died.until_step(orch::domain::run::RunStep::Running).await;
    house.reached("work").await;
    drop(died);
    house.sql("UPDATE runs SET node = 'renamed'");
    house.sql("UPDATE jobs SET status = 'failed', node = 'renamed'");
    let swept = recover::sweep(&house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble), (1, vec![]));
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn one_row_that_cannot_be_read_keeps_no_other_run_from_being_put_away() {
    let house = House::short().await;
    house.add("Broken").await;
    house.add("Sound").await;
    let jobs = house.claim().await;
    for job in &jobs {
        let mut died = house.driving(orch::engine::run::claim_of(job));
        died.until_step(orch::domain::run::RunStep::Prepared).await;
    }
    house.sql("UPDATE jobs SET status = 'failed'");
    house.sql(&format!(
        "UPDATE jobs SET role = 'juggler' WHERE id = {}",
        jobs[0].id
    ));
    let swept = recover::sweep(&house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble), (2, vec![]));
}

#[tokio::test]
async fn among_several_a_job_that_nobody_has_is_taken_over_once_its_claim_is_older_than_the_ttl() {
    if !Postgres::is_there() {
        return;
    }
    let house = Backend::Postgres.short().await;
    let claim = claimed(&house).await;
    let own = house.job(claim).await;
    for (nth, broken) in NOBODYS.into_iter().enumerate() {
        let claim = match nth {
            0 => claim,
            _ => {
                // The house's own clock stands still, the database's does not.
                house.later(Duration::from_secs(60));
                house.claim_one().await
            }
        };
        house.sql(&format!("UPDATE jobs SET {broken}"));
        if broken == "node = NULL" {
            // Its boot lives, and judges it itself.
            house.sql(&format!(
                "UPDATE jobs SET claimed_at = claimed_at - {SILENT_S}000000"
            ));
            assert_eq!(taken(&house).await, TakenOver::default());
            assert_eq!(recover::running(&house.engine).await.unwrap().jobs.len(), 1);
            let swept = reap::sweep(&house.engine, &|_| false).await.unwrap();
            assert_eq!(swept.reaped.len(), 1, "{swept:?}");
            house.sql("UPDATE jobs SET attempts = 0");
            continue;
        }
        assert_eq!(taken(&house).await, TakenOver::default(), "{broken}");
        house.sql(&format!(
            "UPDATE jobs SET claimed_at = claimed_at - {SILENT_S}000000"
        ));
        let before = house.dump();
        assert_eq!(
            reap::sweep(&house.engine, &|_| false).await.unwrap(),
            Swept::default(),
            "{broken}"
        );
        assert_eq!(house.dump(), before, "{broken}");
        assert_eq!(taken(&house).await.jobs.len(), 1, "{broken}");
        let job = house.job(claim).await;
        assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0), "{broken}");
        assert_eq!(taken(&house).await, TakenOver::default(), "{broken}");
    }
    assert_eq!(own.instance.as_ref(), Some(house.engine.instance()));
}

/// The job's boot is another one, which was heard last so long ago.
fn lose(house: &House) {
    house.sql(&format!(
        "INSERT INTO instances (id, node, process, started_at, heartbeat_at) \
         SELECT 'lost', 'b', process, started_at, heartbeat_at - {SILENT_S}000000 FROM instances"
    ));
    house.sql("UPDATE jobs SET node = 'b', instance = 'lost' WHERE status = 'running'");
}

#[tokio::test]
async fn work_that_a_lost_node_delivered_goes_on_and_its_silence_is_told_as_it_was() {
    if !Postgres::is_there() {
        return;
    }
    let house = Backend::Postgres.confirmed().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("agent", "review").await;
    let mut died = house.driving(claim);
    died.until_step(orch::domain::run::RunStep::PrOpened).await;
    drop(died);
    lose(&house);
    assert_eq!(taken(&house).await.jobs.len(), 1);
    assert_eq!(house.stands(task).await, "staging active");
    let healed = heal::recent(&house.engine, 1).await.unwrap();
    let silent = healed[0].stuck_ms.unwrap() / 1000;
    assert!((SILENT_S..SILENT_S + 100).contains(&silent), "{healed:?}");
    assert_eq!(healed[0].why, format!("node b was not heard for {silent} s"));
}

#[tokio::test]
async fn rows_of_a_lost_node_that_cannot_be_read_stop_no_other_and_end() {
    if !Postgres::is_there() {
        return;
    }
    let house = Backend::Postgres.plan(SHORT).build().await;
    for title in ["Broken job", "Broken run", "Broken task", "Sound"] {
        house.add(title).await;
    }
    let jobs = house.claim().await;
    let ids: Vec<i64> = jobs.iter().map(|job| job.id.0).collect();
    let claims: Vec<Claim> = jobs.iter().map(orch::engine::run::claim_of).collect();
    let mut died = house.driving(claims[1]);
    died.until_step(orch::domain::run::RunStep::Prepared).await;
    drop(died);
    lose(&house);
    house.sql(&format!("UPDATE jobs SET role = 'juggler' WHERE id = {}", ids[0]));
    house.sql("UPDATE runs SET exit = 'no'");
    house.sql(&format!(
        "UPDATE tasks SET modifies = 'no' WHERE id = {}",
        jobs[2].task_id
    ));
    assert_eq!(taken(&house).await.jobs.len(), 4);
    let told = house.deliver().await;
    let text = "SHOP-001 is blocked: node b was not heard for";
    let cell = format!("and its job {} cannot be read: role", ids[0]);
    let says = |t: &&(String, String)| t.1.contains(text) && t.1.contains(&cell);
    assert_eq!(told.iter().filter(says).count(), 1, "{told:?}");
    for claim in &claims[1..] {
        assert_eq!(house.job(*claim).await.status, JobStatus::Queued);
    }
    assert_eq!(taken(&house).await, TakenOver::default());
}
