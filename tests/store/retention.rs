//! What was kept for long enough goes, a batch at a time, and nothing that a live task needs.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use orch::domain::id::{NodeName, RunId, TaskId};
use orch::domain::job::Job;
use orch::domain::retention::Run;
use orch::domain::time::Timestamp;
use orch::store::retention::{self, Act, Batch};
use orch::store::{Conn, Guarded, runs};

use super::support::*;

const BEGINNING: Timestamp = Timestamp(i64::MIN);

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

fn count(bed: &Bed, from: &str) -> i64 {
    let sql = format!("SELECT count(*) AS n FROM {from}");
    bed.write(move |c| {
        let row: Count = match c {
            Conn::Sqlite(c) => diesel::sql_query(sql).get_result(c),
            Conn::Pg(c) => diesel::sql_query(sql).get_result(c),
        }?;
        Ok(row.n)
    })
}

/// A task that had one of everything: its job is done and its run is over; it is not over itself.
fn lived(bed: &Bed, name: &str) -> (TaskId, Job) {
    let (task, job) = bed.claimed(name);
    bed.run(&job);
    bed.sql("UPDATE jobs SET status = 'done', finished_at = 1 WHERE status = 'running'");
    bed.sql("UPDATE runs SET step = 'finalised', finished_at = 1700000000000000");
    for sql in [
        "INSERT INTO events (at, task_id, kind, stage, text) SELECT 1, id, 'x', 'x', 'x' FROM tasks",
        "INSERT INTO evidence (task_id, gate, candidate, code_tree, state, reason, visit, recorded_at) \
         SELECT id, 'x', 'x', 'x', 'green', 'x', 1, 1 FROM tasks",
        "INSERT INTO gestures (task_id, gesture, person, stage, visit, effect, at) \
         SELECT id, 'x', 'x', 'x', 1, 'x', 1 FROM tasks",
        "INSERT INTO intents (key, task_id, kind, payload, status, created_at) \
         SELECT work_item_id, id, 'push', '{}', 'done', 1 FROM tasks WHERE true ON CONFLICT DO NOTHING",
    ] {
        bed.sql(sql);
    }
    (task.id, job)
}

/// The oldest tasks are over since `NOW`.
fn over(bed: &Bed) {
    bed.sql("UPDATE tasks SET status = 'done', finished_at = 1700000000000000 WHERE finished_at IS NULL");
}

fn everything(bed: &Bed, act: Act, limit: usize) -> (Batch, usize) {
    let (mut sum, mut batches) = (Batch::default(), 0);
    let mut after = Some((BEGINNING, TaskId(0)));
    while let Some(from) = after {
        let batch = bed.write(move |c| retention::history(c, act, (from, later(1)), limit, later(1)));
        sum += batch;
        after = batch.next;
        batches += 1;
        assert!(batches < 1000, "it never ends: {batch:?}");
    }
    (sum, batches)
}

const HISTORY: [&str; 6] = ["jobs", "runs", "evidence", "gestures", "intents", "events"];

on_both! {
    fn the_history_of_a_finished_task_goes_whole_and_that_of_a_live_one_stays(bed) {
        let (old, _) = lived(bed, "OLD");
        over(bed);
        let (live, _) = lived(bed, "LIVE");
        let (planned, _) = everything(bed, Act::Count, 200);
        assert_eq!((planned.tasks, planned.jobs, planned.runs, planned.others), (1, 1, 1, 7));
        for table in HISTORY {
            assert!(count(bed, &format!("{table} WHERE task_id = {old}")) > 0, "{table}");
        }
        let (gone, _) = everything(bed, Act::Remove, 200);
        assert_eq!(gone, planned);
        for table in HISTORY {
            assert_eq!(count(bed, &format!("{table} WHERE task_id = {old}")), 0, "{table}");
            assert!(count(bed, &format!("{table} WHERE task_id = {live}")) > 0, "{table}");
        }
        assert_eq!(count(bed, &format!("tasks WHERE pruned_at IS NOT NULL AND id = {old}")), 1);
        assert_eq!(count(bed, "tasks"), 2);
        assert_eq!(everything(bed, Act::Remove, 200).0, Batch::default());
    }

    fn a_task_that_was_over_for_less_than_that_is_not_touched(bed) {
        lived(bed, "YOUNG");
        bed.sql("UPDATE tasks SET status = 'cancelled', finished_at = 1700000001000000");
        assert_eq!(everything(bed, Act::Remove, 200).0, Batch::default());
        assert_eq!(count(bed, "jobs"), 1);
    }

    fn what_is_not_settled_keeps_the_whole_history(bed) {
        let (_, job) = lived(bed, "OLD");
        over(bed);
        let run = format!("job_id = {}", job.id);
        for (unsettled, settled) in [
            ("UPDATE runs SET step = 'evaluated'", "UPDATE runs SET step = 'abandoned'"),
            ("UPDATE runs SET wip_ref = 'refs/orch/wip/T/1'", "UPDATE runs SET wip_ref = NULL"),
            ("UPDATE jobs SET status = 'queued'", "UPDATE jobs SET status = 'failed'"),
            ("UPDATE intents SET status = 'intended'", "UPDATE intents SET status = 'void'"),
        ] {
            bed.sql(unsettled);
            assert_eq!(everything(bed, Act::Remove, 200).0, Batch::default(), "{unsettled}");
            assert_eq!(count(bed, &format!("runs WHERE {run}")), 1, "{unsettled}");
            bed.sql(settled);
        }
        bed.sql("UPDATE intents SET status = 'intended', kind = 'confirm'");
        let (gone, _) = everything(bed, Act::Remove, 200);
        assert_eq!(gone.tasks, 1, "a confirmation is no deed that is open");
    }

    fn a_long_history_goes_in_batches_of_the_size_that_was_asked_for(bed) {
        lived(bed, "A");
        lived(bed, "B");
        over(bed);
        lived(bed, "C");
        bed.sql(
            "INSERT INTO events (at, task_id, kind, stage, text) \
             SELECT 1, t.id, 'x', 'x', 'x' FROM tasks t, tasks u, tasks v, tasks w",
        );
        let rows = |b: Batch| b.jobs + b.runs + b.others;
        let (planned, _) = everything(bed, Act::Count, 7);
        let mut after = Some((BEGINNING, TaskId(0)));
        let mut sum = Batch::default();
        while let Some(from) = after {
            let batch = bed.write(move |c| retention::history(c, Act::Remove, (from, later(1)), 7, later(1)));
            assert!(rows(batch) <= 7, "{batch:?}");
            sum += batch;
            after = batch.next;
        }
        assert_eq!((sum.tasks, rows(sum)), (2, rows(planned)));
        assert_eq!(count(bed, "events e JOIN tasks t ON t.id = e.task_id WHERE t.finished_at IS NOT NULL"), 0);
    }

    fn more_tasks_than_fit_on_a_page_are_all_found(bed) {
        lived(bed, "A");
        bed.sql("UPDATE runs SET wip_ref = 'refs/orch/wip/T/1'");
        for i in 0..120 {
            bed.task(&format!("T-{i}"));
        }
        over(bed);
        assert_eq!(everything(bed, Act::Count, 200).0.tasks, 120);
        assert_eq!(everything(bed, Act::Remove, 200).0.tasks, 120);
    }

    fn sent_notices_go_unless_their_cause_may_come_again(bed) {
        let old = bed.task("OLD").id;
        over(bed);
        let live = bed.task("LIVE").id;
        let notice = |cause: &str, task: Option<TaskId>, status: &str, sent_at: i64| {
            let task = task.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
            let sql = format!(
                "INSERT INTO outbox (task_id, cause, kind, payload, status, available_at, created_at, sent_at) \
                 VALUES ({task}, '{cause}', 'comment', '{{}}', '{status}', 1, 1, {sent_at})"
            );
            bed.sql(sql.leak());
        };
        notice("over", Some(old), "sent", NOW.0);
        notice("host", None, "sent", NOW.0);
        notice("live", Some(live), "sent", NOW.0);
        notice("young", Some(old), "sent", later(5).0);
        notice("waits", Some(old), "pending", NOW.0);
        notice("dead", Some(old), "dead", NOW.0);
        let prune = |act, limit| bed.write(move |c| retention::notices(c, act, later(1), limit));
        assert_eq!(prune(Act::Count, 1), 2);
        assert_eq!((prune(Act::Remove, 1), prune(Act::Remove, 1), prune(Act::Remove, 1)), (1, 1, 0));
        assert_eq!(count(bed, "outbox WHERE cause IN ('live', 'young', 'waits', 'dead')"), 4);
    }

    fn healings_and_stopped_instances_go_by_age(bed) {
        let (_, job) = bed.claimed("LIVE");
        assert_eq!(job.instance.unwrap().as_str(), "boot-1");
        bed.sql(
            "INSERT INTO healing_events (at, kind, subject, why, action, instance) \
             VALUES (1, 'x', 'x', 'x', 'x', 'x'), (1700000005000000, 'x', 'x', 'x', 'x', 'x')",
        );
        bed.sql(
            "INSERT INTO instances (id, node, process, started_at, heartbeat_at, stopped_at) VALUES \
             ('old', 'n', '{}', 1, 1, 1), ('boot-1', 'n', '{}', 1, 1, 1), ('lives', 'n', '{}', 1, 1, NULL), \
             ('young', 'n', '{}', 1, 1, 1700000005000000)",
        );
        bed.sql(
            "INSERT INTO node_cuts (node, until, reason) VALUES ('a', 1, 'x'), ('b', 1, 'x'), ('a', 1700000005000000, 'x')",
        );
        bed.sql(
            "INSERT INTO node_states (node, off_how, off_until, reason, since) VALUES \
             ('was', 'cooled', 1, 'x', 1), ('off', 'cooled', 1700000005000000, 'x', 1)",
        );
        bed.task("OVER");
        bed.sql("UPDATE tasks SET status = 'done', finished_at = 1 WHERE work_item_id = 'OVER'");
        // Of a task that is not over too: those stay.
        bed.sql(
            "INSERT INTO incidents (at, task_id, job_id, run_id, stage, node, strategy, fix, diagnosis, class, fingerprint, \
             head, error, decision) SELECT 1, id, 1, 1, 's', 'n', 'x', 'retry', 'x', 'x', 'x', 'x', 'x', \
             'under_retry_limit' FROM tasks",
        );
        bed.sql("INSERT INTO retry_audit (at, event, scope, task_id) SELECT 1, 'retry', 'x', id FROM tasks");
        for act in [Act::Count, Act::Remove] {
            assert_eq!(bed.write(move |c| retention::incidents(c, act, later(1), 9)), 1);
            assert_eq!(bed.write(move |c| retention::audit(c, act, later(1), 9)), 1);
            assert_eq!(bed.write(move |c| retention::healings(c, act, later(1), 9)), 1);
            assert_eq!(bed.write(move |c| retention::instances(c, act, later(1), 9)), 1);
            assert_eq!(bed.write(move |c| retention::node_marks(c, act, later(1), 9)), 3);
        }
        assert_eq!((count(bed, "node_cuts"), count(bed, "node_states")), (1, 1));
        assert_eq!(count(bed, "node_states WHERE node = 'off'"), 1);
        assert_eq!((count(bed, "healing_events"), count(bed, "instances")), (1, 3));
        assert_eq!((count(bed, "incidents"), count(bed, "retry_audit")), (1, 1));
        assert_eq!(count(bed, "instances WHERE id = 'old'"), 0);
    }

    fn a_batch_goes_with_the_history_of_its_last_member_and_its_name_is_free_again(bed) {
        for name in ["A", "B"] {
            bed.task(name);
        }
        bed.sql(
            "INSERT INTO batches (id, project_id, mode, content, created_at) SELECT 'spring', id, 'parallel', 'x', 1 FROM projects",
        );
        bed.sql("UPDATE tasks SET batch = 'spring'");
        bed.sql("INSERT INTO retry_scopes (scope, failures) VALUES ('batch:spring', 1), ('batch:other', 1)");
        bed.sql(
            "INSERT INTO retry_audit (at, event, scope) VALUES (1, 'retry', 'batch:spring'), (1, 'retry', 'batch:other')",
        );
        let tables = ["batches", "retry_scopes", "retry_audit", "tasks WHERE batch = 'spring'"];
        let stand = || tables.map(|table| count(bed, table));
        bed.sql("UPDATE tasks SET status = 'done', finished_at = 1 WHERE work_item_id = 'A'");
        assert_eq!(everything(bed, Act::Remove, 200).0.tasks, 1);
        assert_eq!(stand(), [1, 2, 2, 2], "a member is not over");
        bed.sql("UPDATE tasks SET status = 'cancelled', finished_at = 1700000005000000 WHERE work_item_id = 'B'");
        everything(bed, Act::Remove, 200);
        assert_eq!(stand(), [1, 2, 2, 2], "it is not over for long enough");
        bed.sql("UPDATE tasks SET finished_at = 2 WHERE work_item_id = 'B'");
        everything(bed, Act::Count, 200);
        assert_eq!(stand(), [1, 2, 2, 2], "only counted");
        assert_eq!(everything(bed, Act::Remove, 200).0.tasks, 1);
        assert_eq!(stand(), [0, 1, 1, 0]);
    }

    fn old_work_is_that_of_finished_tasks_of_this_node(bed) {
        let (_, job) = lived(bed, "OLD");
        bed.sql("UPDATE runs SET wip_ref = 'refs/orch/wip/OLD/1'");
        let found = |node: &'static str, before| {
            let node = NodeName::trusted(node);
            bed.write(move |c| retention::old_work(c, &node, before, (BEGINNING, RunId(0)), 9))
        };
        let claim = claim_of(&job);
        let known = || bed.write(move |c| retention::known(c, &[claim]))[0];
        assert_eq!(found("local", later(1)), [], "its task is not over");
        assert_eq!(known(), Run::Needed);
        over(bed);
        assert_eq!(found("local", NOW), [], "not old");
        assert_eq!(found("mill", later(1)), [], "of another node");
        let old = found("local", later(1)).remove(0);
        assert_eq!(known(), Run::Over { at: NOW, keeps_work: true });
        bed.sql("UPDATE intents SET status = 'intended'");
        assert_eq!(found("local", later(1)), [], "perhaps it is being rescued");
        bed.sql("UPDATE intents SET kind = 'confirm'");
        assert_eq!(found("local", later(1)).len(), 1, "a confirmation rescues nothing");
        let run = old.run;
        let give_up = |wip: &'static str| bed.write(move |c| runs::give_up_work(c, run, wip));
        assert_eq!(give_up("refs/orch/wip/OLD/2"), Guarded::Lost);
        assert_eq!(give_up("refs/orch/wip/OLD/1"), Guarded::Won(()));
        assert_eq!(found("local", later(1)), []);
        assert_eq!(known(), Run::Over { at: NOW, keeps_work: false });
    }
}
