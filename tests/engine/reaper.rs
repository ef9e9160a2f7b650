//! Jobs whose executor died are settled without a restart: when, how, and what is never done.

use std::path::PathBuf;
use std::time::Duration;

use orch::domain::job::{Claim, JobStatus};
use orch::domain::run::{ProcessIdentity, RunStep};
use orch::engine::reap::{self, Swept};
use orch::engine::run::Driven;
use orch::engine::{EngineError, heal, operate, queue, recover};
use orch::process::{self, Liveness};

use super::house::{Backend, House, PATIENCE, SHORT, on_both, shell};

const GRACE: Duration = Duration::from_secs(300);
const CEILING: Duration = Duration::from_secs(3601);

async fn sweep(house: &House) -> Swept {
    let swept = reap::sweep(&house.engine, &|_| false).await.unwrap();
    assert_eq!(swept.trouble, [""; 0]);
    swept
}

fn outcomes(swept: &Swept) -> Vec<&str> {
    swept.reaped.iter().map(|r| r.outcome.as_str()).collect()
}

fn run_dir(house: &House, claim: Claim) -> PathBuf {
    let name = format!("{}-{}", claim.job, claim.epoch);
    house.data().join("runs").join(name)
}

/// Claims the first job, whose agent waits at `work`, and lets its monitor die.
async fn at_work(house: &House) -> (Claim, ProcessIdentity) {
    house.role("developer", "echo half >half.txt; hold work; echo x >code.txt");
    let claim = house.claim_one().await;
    let mut died = house.driving(claim);
    died.until_step(RunStep::Running).await;
    house.reached("work").await;
    drop(died);
    (claim, house.run_of(claim).await.unwrap().shim.unwrap())
}

/// Its shim is gone, and has said nothing.
async fn vanish(house: &House, claim: Claim, shim: &ProcessIdentity) {
    process::kill_tree(shim, PATIENCE).await.unwrap();
    std::fs::remove_file(run_dir(house, claim).join("exit.json")).unwrap();
}

/// The reviewer has delivered, and its monitor died before the gates were asked. Its exit is of this moment.
async fn delivered(house: &House) -> Claim {
    let claim = house.run_until("agent", "review").await;
    let mut died = house.driving(claim);
    died.until_step(RunStep::PrOpened).await;
    drop(died);
    exited_now(house);
    claim
}

fn exited_now(house: &House) {
    let now = house.engine.now().0;
    house.edit_json("runs", "exit", |exit| exit["finished_at"] = now.into());
}

async fn a_dead_process_is_reaped_only_after_the_set_looks_and_one_live_look_begins_anew(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    assert_eq!(sweep(&house).await, Swept::default());
    let looks = "SELECT CAST(dead_looks AS TEXT) AS line FROM jobs";
    assert_eq!(house.sql_lines(looks), ["0"]);

    // Another pid for a moment: a dead look, and then a live one.
    let start = shim.start_time;
    house.edit_json("runs", "shim", |shim| shim["start_time"] = (start + 1).into());
    assert_eq!(sweep(&house).await, Swept::default());
    assert_eq!(house.sql_lines(looks), ["1"]);
    house.edit_json("runs", "shim", |shim| shim["start_time"] = start.into());
    assert_eq!(sweep(&house).await, Swept::default());
    assert_eq!(house.sql_lines(looks), ["0"]);

    vanish(&house, claim, &shim).await;
    assert_eq!(sweep(&house).await, Swept::default());
    assert_eq!(house.job(claim).await.status, JobStatus::Running);
    assert_eq!(outcomes(&sweep(&house).await), ["queued again"]);
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 1));
    assert_eq!(house.stands(task).await, "development active");
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.leftovers(), [""; 0]);
    let told =
        house.sql_lines("SELECT kind || ': ' || subject || ': ' || action AS line FROM healing_events");
    assert_eq!(
        told,
        [format!(
            "reaper: job {} (developer, development): queued again",
            claim.job
        )]
    );
    let healed = house.events(task).await;
    let line =
        "healed: its process is gone and has recorded no exit; how it ended is not known: queued again";
    assert_eq!(healed.iter().filter(|e| *e == line).count(), 1, "{healed:?}");
    let stats = house.engine.reaper_stats();
    assert_eq!(stats.reaped_total, 1);

    // The queue goes on with it.
    house.go("work");
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

async fn a_live_agent_is_never_reaped_and_an_idle_sweep_writes_nothing(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    house.later(Duration::from_secs(3600));
    let before = house.dump();
    for _ in 0..5 {
        assert_eq!(sweep(&house).await, Swept::default());
    }
    assert_eq!(house.dump(), before);
    assert_eq!(process::is_alive(&shim), Liveness::Alive);
    house.go("work");
    assert_eq!(house.drive(claim).await, Driven::Over);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.ran().len(), 2);
}

async fn a_dead_process_and_an_old_exit_are_left_to_a_live_monitor_and_the_ceiling_is_not(on: Backend) {
    let house = on.short().await;
    house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    vanish(&house, claim, &shim).await;
    let before = house.dump();
    for _ in 0..3 {
        let swept = reap::sweep(&house.engine, &|watched| watched == claim)
            .await
            .unwrap();
        assert_eq!(swept, Swept::default());
    }
    assert_eq!(house.dump(), before);
    house.later(CEILING);
    let swept = reap::sweep(&house.engine, &|watched| watched == claim)
        .await
        .unwrap();
    assert_eq!(outcomes(&swept), ["queued again"]);
}

async fn past_the_ceiling_a_live_tree_is_dead_before_its_job_is_queued_again_and_its_monitor_writes_nothing(
    on: Backend,
) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    house.role("developer", "echo half >half.txt; hold work; echo x >code.txt");
    let claim = house.claim_one().await;
    let mut monitor = house.driving(claim);
    monitor.until_step(RunStep::Running).await;
    house.reached("work").await;
    let shim = house.run_of(claim).await.unwrap().shim.unwrap();
    house.later(CEILING);
    let swept = reap::sweep(&house.engine, &|_| true).await.unwrap();
    assert_eq!(outcomes(&swept), ["queued again"]);
    assert_eq!(process::is_alive(&shim), Liveness::Gone);
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 1));
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    assert_eq!(monitor.end().await.unwrap(), Driven::Superseded);
    assert_eq!(house.job(claim).await, job);
    house.go("work");
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

async fn a_job_without_a_process_is_reaped_at_the_ceiling_alone(on: Backend) {
    let plan = on.plan(SHORT).set("queue.max_attempts = 1");
    let house = plan.build().await;
    let first = house.add("Stuck").await;
    let claim = house.claim_one().await;
    house.later(Duration::from_secs(3600));
    assert_eq!(sweep(&house).await, Swept::default());
    house.later(Duration::from_secs(1));
    house.later(Duration::from_micros(1));
    assert_eq!(outcomes(&sweep(&house).await), ["failed, its task is blocked"]);
    assert_eq!(house.job(claim).await.status, JobStatus::Failed);
    assert_eq!(house.stands(first).await, "development blocked");
    assert_eq!(house.deliver().await.len(), 1);
}

async fn a_queue_of_one_slot_goes_on_after_a_reap(on: Backend) {
    let plan = on
        .plan(SHORT)
        .set("queue.project_concurrency = 1")
        .set("queue.max_attempts = 1");
    let house = plan.build().await;
    house.add("Stuck").await;
    let next = house.add("Next").await;
    let (claim, shim) = at_work(&house).await;
    vanish(&house, claim, &shim).await;
    assert_eq!(house.claim().await, []);
    sweep(&house).await;
    assert_eq!(house.claim().await, []);
    assert_eq!(outcomes(&sweep(&house).await), ["failed, its task is blocked"]);
    house.go("work");
    house.run_all().await;
    assert_eq!(house.stands(next).await, "done done");
}

async fn delivered_work_whose_gates_are_green_advances_once_when_its_exit_is_old_enough(on: Backend) {
    let house = on.confirmed().await;
    let task = house.add("Say hello").await;
    let claim = delivered(&house).await;
    house.later(GRACE - Duration::from_secs(1));
    assert_eq!(sweep(&house).await, Swept::default());
    assert_eq!(house.job(claim).await.status, JobStatus::Running);
    house.later(Duration::from_secs(1));
    assert_eq!(outcomes(&sweep(&house).await), ["done: its task goes on"]);
    assert_eq!(house.job(claim).await.status, JobStatus::Done);
    assert_eq!(house.stands(task).await, "staging active");
    assert_eq!(house.run_of(claim).await.unwrap().step, RunStep::Finalised);
    assert_eq!(sweep(&house).await, Swept::default());
    // A monitor that comes too late finds nothing to do.
    assert_eq!(house.drive(claim).await, Driven::Superseded);
    assert_eq!(
        house.job_words(task).await,
        ["developer done", "reviewer done", "gate-check queued"]
    );
}

async fn a_check_that_nobody_made_yet_is_made_next_and_the_agent_does_not_work_again(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    let claim = delivered(&house).await;
    house.later(GRACE);
    assert_eq!(outcomes(&sweep(&house).await), ["done: its task goes on"]);
    assert_eq!(house.stands(task).await, "review active");
    house.later(Duration::from_secs(60));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.ran(), ["developer", "reviewer"]);
    assert_eq!(house.job(claim).await.status, JobStatus::Done);
}

async fn a_success_whose_gates_are_red_is_queued_again_without_any_effect_on_its_task(on: Backend) {
    let house = on.confirmed().await;
    house.role("reviewer", "verdict REQUEST_CHANGES");
    let task = house.add("Say hello").await;
    let claim = delivered(&house).await;
    house.later(GRACE);
    let (before, waiting, main) = (house.task(task).await, house.waiting().await, house.refs());
    assert_eq!(outcomes(&sweep(&house).await), ["queued again"]);
    assert_eq!(house.task(task).await, before);
    assert_eq!(house.waiting().await, waiting);
    assert_eq!(house.refs(), main);
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 1));
}

async fn a_success_that_did_not_deliver_is_not_judged_by_what_the_branch_had_before(on: Backend) {
    let house = on.confirmed().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("agent", "review").await;
    let mut died = house.driving(claim);
    died.until_step(RunStep::Exited).await;
    drop(died);
    exited_now(&house);
    // As an earlier reviewer would have left it.
    let branch = house.task(task).await.branch;
    let review = format!(
        "docs/work-items/{}/12-review.md",
        house.task(task).await.work_item_id
    );
    house.commit(branch.as_str(), &[(&review, "---\nverdict: APPROVED\n---\n")]);
    house.later(GRACE);
    assert_eq!(outcomes(&sweep(&house).await), ["queued again"]);
    assert_eq!(house.stands(task).await, "review active");
    assert_eq!(house.wip().len(), 1);
}

async fn a_task_that_is_past_its_stage_is_not_advanced_once_more(on: Backend) {
    let house = on.confirmed().await;
    let task = house.add("Say hello").await;
    let claim = delivered(&house).await;
    house.later(GRACE);
    house.sql("UPDATE tasks SET version = version + 1");
    let before = house.task(task).await;
    assert_eq!(
        outcomes(&sweep(&house).await),
        ["done: its task was past its stage already"]
    );
    assert_eq!(house.task(task).await, before);
    assert_eq!(house.job(claim).await.status, JobStatus::Done);
    assert_eq!(house.live_job(task).await, None);
}

async fn a_failed_exit_is_queued_again_while_attempts_are_left_and_then_fails_with_one_notification(
    on: Backend,
) {
    let house = on.short().await;
    house.role("developer", "echo half >half.txt; exit 3");
    let task = house.add("Say hello").await;
    for attempt in 1..=2 {
        let claim = house.claim_one().await;
        let mut died = house.driving(claim);
        died.until_step(RunStep::Running).await;
        drop(died);
        let exit = run_dir(&house, claim).join("exit.json");
        house.until("its exit is recorded", || exit.exists()).await;
        house.later(GRACE * 2);
        let wanted = ["queued again", "failed, its task is blocked"][attempt - 1];
        assert_eq!(outcomes(&sweep(&house).await), [wanted]);
        let run = house.run_of(claim).await.unwrap();
        assert_eq!(run.exit.unwrap().code, Some(3));
        assert!(run.error.unwrap().contains("exit code 3"));
    }
    assert_eq!(house.wip().len(), 2);
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(house.job_words(task).await, ["developer failed"]);
    let told = house.deliver().await;
    assert_eq!(told.len(), 1, "{told:?}");
}

async fn what_orch_itself_stopped_is_refunded(on: Backend) {
    let house = on.short().await;
    house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    process::stop(&shim).unwrap();
    let exit = run_dir(&house, claim).join("exit.json");
    house.until("its exit is recorded", || exit.exists()).await;
    house.later(GRACE * 2);
    assert_eq!(
        outcomes(&sweep(&house).await),
        ["queued again, the attempt refunded"]
    );
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
}

async fn a_claim_that_is_lost_between_look_and_write_costs_nothing_and_leaves_no_trace(on: Backend) {
    for lost_to in ["a cancel", "a monitor"] {
        let house = on.confirmed().await;
        house.add("Say hello").await;
        let claim = delivered(&house).await;
        house.later(GRACE);
        let job = house.job(claim).await;
        let candidate = reap::candidate(&house.engine, &job, &|_| false)
            .await
            .unwrap()
            .unwrap();
        match lost_to {
            "a cancel" => {
                operate::cancel_job(&house.engine, claim.job.0, "no", house.engine.now())
                    .await
                    .unwrap();
            }
            _ => house.sql("UPDATE runs SET monitor_epoch = monitor_epoch + 1"),
        }
        let (before, refs) = (house.dump(), house.refs());
        assert_eq!(
            reap::act(&house.engine, candidate).await.unwrap(),
            None,
            "{lost_to}"
        );
        assert_eq!(house.dump(), before, "{lost_to}");
        assert_eq!(house.refs(), refs, "{lost_to}");
        assert_eq!(house.engine.reaper_stats().reaped_total, 0);
        assert_eq!(house.leftovers().len(), 2, "its worktree stays: {lost_to}");
    }
}

async fn a_switched_off_reaper_does_nothing_and_still_says_what_it_would_do(on: Backend) {
    let plan = on.plan(SHORT).set("reaper.enabled = false");
    let house = plan.build().await;
    house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    vanish(&house, claim, &shim).await;
    house.later(CEILING);
    let before = house.dump();
    for _ in 0..3 {
        assert_eq!(sweep(&house).await, Swept::default());
    }
    assert_eq!(house.engine.reaper_stats().last_run, None);
    let planned = reap::plan(&house.engine, &|_| false).await.unwrap();
    assert_eq!(planned.len(), 1);
    assert_eq!(
        (
            planned[0].job_id,
            planned[0].tier.as_str(),
            planned[0].action.as_str()
        ),
        (claim.job.0, "backstop", "queued again")
    );
    assert_eq!(house.dump(), before);
}

async fn one_job_at_which_the_reaper_fails_does_not_keep_it_from_the_others(on: Backend) {
    let house = on.short().await;
    for title in ["Broken row", "Unreadable exit", "Third"] {
        house.add(title).await;
    }
    house.role("developer", "hold work");
    let jobs = house.claim().await;
    for job in &jobs {
        let claim = orch::engine::run::claim_of(job);
        let mut died = house.driving(claim);
        died.until_step(RunStep::Running).await;
        drop(died);
    }
    let ids: Vec<i64> = jobs.iter().map(|j| j.id.0).collect();
    house.sql(&format!("UPDATE jobs SET role = 'juggler' WHERE id = {}", ids[0]));
    house.sql(&format!(
        "UPDATE runs SET step = 'running', shim = 'no' WHERE job_id = {}",
        ids[1]
    ));
    house.later(CEILING - Duration::from_secs(2));
    let swept = reap::sweep(&house.engine, &|_| false).await.unwrap();
    let named = |i: usize, what: &str| {
        let name = format!("job {}: ", ids[i]);
        swept
            .trouble
            .iter()
            .any(|t| t.starts_with(&name) && t.contains(what))
    };
    assert!(
        named(0, "role: unknown word \"juggler\"") && named(1, "shim: "),
        "{swept:?}"
    );
    assert_eq!((swept.trouble.len(), swept.reaped.len()), (2, 0), "{swept:?}");
    assert_eq!(house.engine.reaper_stats().trouble_total, 2);

    // Past the ceiling they end, by what can be read of them.
    house.later(Duration::from_secs(2));
    let swept = self::sweep(&house).await;
    let mut reaped: Vec<_> = swept
        .reaped
        .iter()
        .map(|r| (r.job_id, r.outcome.as_str()))
        .collect();
    reaped.sort_unstable();
    let failed = "failed, its task is blocked";
    assert_eq!(
        reaped,
        [(ids[0], failed), (ids[1], failed), (ids[2], "queued again")]
    );
    assert_eq!(house.count("jobs WHERE status = 'failed'"), 2);
    assert_eq!(house.count("tasks WHERE status = 'blocked'"), 2);
    assert_eq!(house.count("healing_events WHERE kind = 'reaper'"), 3);
    let told: Vec<_> = house.deliver().await.into_iter().map(|(_, text)| text).collect();
    let says = |what: &[&str]| told.iter().filter(|t| what.iter().all(|w| t.contains(w))).count();
    let job = format!("job {} cannot be read: role", ids[0]);
    assert_eq!(says(&["SHOP-001 is blocked", &job]), 1, "{told:?}");
    assert_eq!(
        says(&["SHOP-002 is blocked", "run 2 cannot be read: shim"]),
        1,
        "{told:?}"
    );
    house.until("no agent lives on", || house.ran().len() == 3).await;
    for job in &jobs {
        let shim = process::read_shim(&run_dir(&house, orch::engine::run::claim_of(job))).unwrap();
        assert_eq!(process::is_alive(&shim.unwrap().shim), Liveness::Gone);
    }
    assert_eq!(self::sweep(&house).await, Swept::default());
}

async fn a_queued_job_that_cannot_be_read_fails_past_the_grace_and_stands_in_nobodys_way(on: Backend) {
    let house = on.short().await;
    for title in ["Broken row", "Broken task", "Mended", "Sound"] {
        house.add(title).await;
    }
    house.deliver().await;
    house.sql("UPDATE jobs SET role = 'juggler' WHERE task_id IN (1, 3)");
    house.sql("UPDATE tasks SET modifies = 'no' WHERE id = 2");
    let claimed = queue::claim(&house.engine).await.unwrap();
    assert_eq!((claimed.jobs.len(), claimed.broken.len()), (1, 3));
    let sound = orch::engine::run::claim_of(&claimed.jobs[0]);
    house.drive(sound).await;
    house.later(CEILING - Duration::from_secs(2));
    assert_eq!(sweep(&house).await.reaped, []);
    house.sql("UPDATE jobs SET role = 'developer' WHERE task_id = 3");

    house.later(Duration::from_secs(2));
    let swept = sweep(&house).await;
    assert_eq!(outcomes(&swept), ["failed, its task is blocked"; 2], "{swept:?}");
    assert_eq!(house.count("jobs WHERE status = 'failed'"), 2);
    assert_eq!(house.count("tasks WHERE status = 'blocked'"), 1);
    assert_eq!(house.count("healing_events WHERE kind = 'reaper'"), 2);
    let told: Vec<_> = house.deliver().await.into_iter().map(|(_, text)| text).collect();
    let says = |what: &[&str]| told.iter().filter(|t| what.iter().all(|w| t.contains(w))).count();
    let cell = "job 1 cannot be read: role: unknown word \"juggler\"";
    assert_eq!(says(&["SHOP-001 is blocked", cell]), 1, "{told:?}");
    let cell = "task 2 cannot be read: modifies";
    assert_eq!(says(&["job 2 (developer) failed: ", cell]), 1, "{told:?}");

    // Once is enough, and what was mended is claimed.
    assert_eq!(sweep(&house).await, Swept::default());
    assert_eq!(house.count("jobs WHERE status = 'queued' AND task_id = 3"), 1);
    assert!(house.claim().await.iter().any(|job| job.task_id.0 == 3));
}

/// A file that hangs whoever reads it, until it is dropped.
struct Hanging(PathBuf);

impl Hanging {
    fn put(path: PathBuf) -> Self {
        shell(&format!("rm -f '{0}'; mkfifo '{0}'", path.display()));
        Self(path)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Opened for both, it lets a reader in and keeps nobody waiting; closed, it has ended.
        let both = std::fs::File::options().read(true).write(true).open(&self.0);
        let _ = std::fs::remove_file(&self.0);
        drop(both);
    }
}

async fn a_job_at_which_the_reaper_hangs_is_told_once_and_passed_over_until_that_ends(on: Backend) {
    let house = on.plan(SHORT).set("reaper.step_limit_s = 1").build().await;
    house.add("Hangs").await;
    let (first, shim) = at_work(&house).await;
    house.add("Dead").await;
    let second = house.claim_one().await;
    vanish(&house, first, &shim).await;
    let hanging = Hanging::put(run_dir(&house, first).join("exit.json"));
    house.later(CEILING);

    let swept = reap::sweep(&house.engine, &|_| false).await.unwrap();
    assert_eq!(outcomes(&swept), ["queued again"], "{swept:?}");
    let told = format!("job {}: it took longer than reaper.step_limit_s (1)", first.job);
    assert!(
        matches!(&swept.trouble[..], [one] if one.starts_with(&told)),
        "{swept:?}"
    );
    assert_eq!(house.job(second).await.status, JobStatus::Queued);
    house.later(Duration::from_secs(60));
    assert_eq!(sweep(&house).await, Swept::default());
    let hangs = house.engine.hanging();
    assert_eq!(hangs, [(format!("job {}", first.job), Duration::from_secs(60))]);
    assert_eq!(house.job(first).await.status, JobStatus::Running);

    drop(hanging);
    house
        .until("what hung has ended", || house.engine.hanging().is_empty())
        .await;
    assert_eq!(outcomes(&sweep(&house).await), ["queued again"]);
}

async fn a_job_whose_task_cannot_be_read_fails_at_the_ceiling_and_people_are_told(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    house.deliver().await;
    house.sql("UPDATE tasks SET modifies = 'no'");
    house.later(CEILING);
    assert_eq!(outcomes(&sweep(&house).await), ["failed, its task is blocked"]);
    assert_eq!(process::is_alive(&shim), Liveness::Gone);
    assert_eq!(house.job(claim).await.status, JobStatus::Failed);
    let told = house.deliver().await;
    assert_eq!(told.len(), 1, "{told:?}");
    let named = format!("job {} (developer) failed: ", claim.job);
    let cell = format!("task {task} cannot be read: modifies");
    assert!(
        told[0].1.contains(&named) && told[0].1.contains(&cell),
        "{told:?}"
    );
}

async fn a_job_at_which_the_reaper_panics_stops_no_other_and_ends_at_the_ceiling(on: Backend) {
    let house = on.short().await;
    house.add("Panics").await;
    let (first, _) = at_work(&house).await;
    house.add("Dead").await;
    let second = house.claim_one().await;
    let panics = |claim: Claim| {
        assert_ne!(claim, first, "it breaks here");
        false
    };
    house.later(CEILING - Duration::from_secs(2));
    let swept = reap::sweep(&house.engine, &panics).await.unwrap();
    assert_eq!(swept.trouble.len(), 1, "{swept:?}");
    assert!(swept.trouble[0].contains("it breaks here"), "{swept:?}");
    let planned = reap::plan(&house.engine, &panics).await.unwrap();
    assert!(planned[0].why.contains("it breaks here"), "{planned:?}");
    house.later(Duration::from_secs(2));
    let swept = reap::sweep(&house.engine, &panics).await.unwrap();
    assert_eq!(outcomes(&swept), ["failed, its task is blocked", "queued again"]);
    assert_eq!(house.job(first).await.status, JobStatus::Failed);
    assert_eq!(house.job(second).await.status, JobStatus::Queued);
}

async fn a_panic_while_a_spent_job_is_settled_is_an_error_and_the_next_try_settles_it(on: Backend) {
    let house = on.short().await;
    house.add("Say hello").await;
    let (claim, _) = at_work(&house).await;
    house.break_clock();
    let broken = reap::give_up(&house.engine, claim, "its monitor died 6 times").await;
    assert!(
        matches!(&broken, Err(EngineError::Broken(what)) if what.contains("the clock is broken")),
        "{broken:?}"
    );
    assert_eq!(house.job(claim).await.status, JobStatus::Running);
    // The next tick finds it without a monitor.
    let found = recover::running(&house.engine).await.unwrap();
    assert_eq!(found.jobs.len(), 1);
    reap::give_up(&house.engine, claim, "its monitor died 6 times")
        .await
        .unwrap();
    assert_eq!(house.job(claim).await.status, JobStatus::Queued);
}

async fn how_long_a_dead_process_was_stuck_is_the_time_since_it_was_seen_alive(on: Backend) {
    for (looked, stuck) in [(true, 120), (false, 1120)] {
        let house = on.short().await;
        house.add("Say hello").await;
        let (claim, shim) = at_work(&house).await;
        house.later(Duration::from_secs(1000));
        if looked {
            assert_eq!(sweep(&house).await, Swept::default());
        }
        vanish(&house, claim, &shim).await;
        house.later(Duration::from_secs(60));
        assert_eq!(sweep(&house).await, Swept::default());
        house.later(Duration::from_secs(60));
        assert_eq!(outcomes(&sweep(&house).await), ["queued again"]);
        let healed = heal::recent(&house.engine, 1).await.unwrap();
        assert_eq!(healed[0].stuck_ms.map(|ms| ms / 1000), Some(stuck), "{healed:?}");
    }
}

async fn a_job_of_another_node_is_not_judged_by_a_process_or_by_time(on: Backend) {
    let house = on.short().await;
    house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    vanish(&house, claim, &shim).await;
    house.sql("UPDATE jobs SET node = 'elsewhere', instance = 'another'");
    house.later(CEILING);
    let before = house.dump();
    for _ in 0..3 {
        assert_eq!(sweep(&house).await, Swept::default());
    }
    assert_eq!(house.dump(), before);
}

async fn a_job_whose_monitor_is_spent_is_settled_by_the_same_rules(on: Backend) {
    let house = on.confirmed().await;
    let task = house.add("Say hello").await;
    let claim = delivered(&house).await;
    reap::give_up(&house.engine, claim, "its monitor died 6 times")
        .await
        .unwrap();
    assert_eq!(house.stands(task).await, "staging active");
    assert_eq!(house.job(claim).await.status, JobStatus::Done);

    let house = on.short().await;
    house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    reap::give_up(&house.engine, claim, "its monitor died 6 times")
        .await
        .unwrap();
    assert_eq!(process::is_alive(&shim), Liveness::Gone);
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 1));
    assert!(job.error.unwrap().starts_with("its monitor died 6 times; "));
}

async fn a_job_of_a_project_that_is_gone_fails_and_blocks_its_task(on: Backend) {
    let house = on.short().await;
    let task = house.add("Say hello").await;
    let (claim, shim) = at_work(&house).await;
    vanish(&house, claim, &shim).await;
    house.sql("UPDATE jobs SET stage = 'nowhere'");
    house.later(CEILING);
    assert_eq!(outcomes(&sweep(&house).await), ["failed, its task is blocked"]);
    assert_eq!(house.job(claim).await.status, JobStatus::Failed);
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(recover::sweep(&house.engine).await.unwrap().trouble, [""; 0]);
}

on_both!(
    a_dead_process_is_reaped_only_after_the_set_looks_and_one_live_look_begins_anew,
    a_live_agent_is_never_reaped_and_an_idle_sweep_writes_nothing,
    a_dead_process_and_an_old_exit_are_left_to_a_live_monitor_and_the_ceiling_is_not,
    past_the_ceiling_a_live_tree_is_dead_before_its_job_is_queued_again_and_its_monitor_writes_nothing,
    a_job_without_a_process_is_reaped_at_the_ceiling_alone,
    a_queue_of_one_slot_goes_on_after_a_reap,
    delivered_work_whose_gates_are_green_advances_once_when_its_exit_is_old_enough,
    a_check_that_nobody_made_yet_is_made_next_and_the_agent_does_not_work_again,
    a_success_whose_gates_are_red_is_queued_again_without_any_effect_on_its_task,
    a_success_that_did_not_deliver_is_not_judged_by_what_the_branch_had_before,
    a_task_that_is_past_its_stage_is_not_advanced_once_more,
    a_failed_exit_is_queued_again_while_attempts_are_left_and_then_fails_with_one_notification,
    what_orch_itself_stopped_is_refunded,
    a_claim_that_is_lost_between_look_and_write_costs_nothing_and_leaves_no_trace,
    a_switched_off_reaper_does_nothing_and_still_says_what_it_would_do,
    one_job_at_which_the_reaper_fails_does_not_keep_it_from_the_others,
    a_job_of_another_node_is_not_judged_by_a_process_or_by_time,
    a_job_whose_monitor_is_spent_is_settled_by_the_same_rules,
    a_job_of_a_project_that_is_gone_fails_and_blocks_its_task,
    a_queued_job_that_cannot_be_read_fails_past_the_grace_and_stands_in_nobodys_way,
    a_job_at_which_the_reaper_hangs_is_told_once_and_passed_over_until_that_ends,
    a_job_whose_task_cannot_be_read_fails_at_the_ceiling_and_people_are_told,
    a_job_at_which_the_reaper_panics_stops_no_other_and_ends_at_the_ceiling,
    a_panic_while_a_spent_job_is_settled_is_an_error_and_the_next_try_settles_it,
    how_long_a_dead_process_was_stuck_is_the_time_since_it_was_seen_alive,
);
