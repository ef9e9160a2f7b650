//! Claiming and the sweeps cost what they find, not what has ever been: shown on the statements as they are
//! sent, by their plans on both databases and by SQLite's own count of steps.

use std::ffi::CString;
use std::sync::{Arc, Mutex};

use diesel::connection::InstrumentationEvent;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};
use libsqlite3_sys as ffi;
use orch::domain::delivery::Channel;
use orch::domain::id::{JobId, NodeName, RunId, TaskId};
use orch::domain::inbox::Source;
use orch::domain::job::JobKind;
use orch::domain::time::Timestamp;
use orch::store::inbox::{self, NewDelivery};
use orch::store::jobs::{self, ClaimRequest};
use orch::store::retention::{self, Act};
use orch::store::runs::KeptFilter;
use orch::store::tasks::Forgotten;
use orch::store::{Conn, StoreError, intents, nodes, outbox, runs, spend, tasks};

use super::support::*;

/// A statement as it was sent.
#[derive(Clone, Debug)]
struct Sent {
    sql: String,
    binds: Vec<serde_json::Value>,
}

/// Runs a command, takes it back, and answers what it sent.
fn sent<T: Send + 'static>(
    bed: &Bed,
    f: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
) -> Vec<Sent> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let record = move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            sink.lock().unwrap().push(query.to_string());
        }
    };
    let taken_back = bed.store.write_blocking(move |c| {
        match c {
            Conn::Sqlite(c) => c.set_instrumentation(record),
            Conn::Pg(c) => c.set_instrumentation(record),
        }
        f(c)?;
        match c {
            Conn::Sqlite(c) => c.set_instrumentation(|_: InstrumentationEvent<'_>| {}),
            Conn::Pg(c) => c.set_instrumentation(|_: InstrumentationEvent<'_>| {}),
        }
        Err::<(), _>(StoreError::Saturated)
    });
    assert_eq!(taken_back, Err(StoreError::Saturated));
    let log = log.lock().unwrap();
    log.iter()
        .filter_map(|text| text.split_once(" -- binds: "))
        .filter(|(sql, _)| !sql.contains("pg_advisory"))
        .map(|(sql, binds)| Sent {
            sql: sql.to_owned(),
            binds: serde_json::from_str(&binds.replace("None", "null")).unwrap(),
        })
        .collect()
}

/// `n` finished jobs and a tenth as many finished tasks (half of them pruned, the others young), and a few live ones of
/// every sort.
fn history(bed: &Bed, n: usize) {
    let old = bed.task("OLD");
    let project = old.project_id;
    let numbers =
        |n: usize| format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    let jobs = format!(
        "INSERT INTO jobs (task_id, project_id, kind, role, stage, visit, task_version, status, available_at, \
         attempts, max_attempts, max_transient_attempts, claim_epoch, claimed_at, finished_at, created_at) {} \
         SELECT {}, {project}, 'agent', 'developer', 'development', 1, 1, 'done', {now}, 1, 2, 5, 1, {now}, i, {now} FROM n",
        numbers(n),
        old.id,
        now = NOW.0,
    );
    let tasks = format!(
        "INSERT INTO tasks (project_id, work_item_id, tracker, external_id, title, description, branch, stage, \
         status, stage_entered_at, modifies, created_at, updated_at, finished_at, pruned_at) {} \
         SELECT {project}, 'H-' || i, 'local', 'h/' || i, 'x', 'x', 'x', 'done', 'done', {now}, '[\"src\"]', {now}, {now}, \
         CASE WHEN i % 2 = 0 THEN i ELSE {now} END, CASE WHEN i % 2 = 0 THEN i END FROM n",
        numbers(n / 10),
        now = NOW.0,
    );
    bed.write(move |c| {
        for sql in [jobs, tasks] {
            match c {
                Conn::Sqlite(c) => diesel::sql_query(sql).execute(c),
                Conn::Pg(c) => diesel::sql_query(sql).execute(c),
            }?;
        }
        Ok(())
    });
    for i in 0..40 {
        let task = bed.task_with(&format!("T-{i}"), |t| t.modifies = vec![format!("src/{i}")]);
        if i < 30 {
            bed.job_with(&task, |j| {
                j.kind = if i % 10 == 0 {
                    JobKind::GateCheck
                } else {
                    JobKind::Agent
                };
            });
        }
    }
    bed.claim(ClaimRequest {
        limit: 5,
        ..request()
    });
    if matches!(bed.place, Place::Server { .. }) {
        bed.sql("ANALYZE");
    }
}

/// Everything that runs again and again.
fn everything(bed: &Bed) -> Vec<(&'static str, Vec<Sent>)> {
    let forgotten = Forgotten {
        entered_before: later(1),
        parked: false,
        after: (Timestamp(0), TaskId(0)),
        limit: 50,
    };
    let kept = KeptFilter {
        task: None,
        before: None,
        limit: 50,
    };
    vec![
        (
            "claim",
            sent(bed, |c| {
                jobs::claim_next(
                    c,
                    &ClaimRequest {
                        limit: 10,
                        ..request()
                    },
                )
            }),
        ),
        ("wake-up", sent(bed, |c| jobs::next_available_at(c, NOW))),
        ("running", sent(bed, |c| jobs::running(c, None, 50))),
        ("queued", sent(bed, |c| jobs::queued(c, 50))),
        ("counts", sent(bed, |c| jobs::counts(c, NOW))),
        ("live job", sent(bed, |c| jobs::live_of_task(c, TaskId(1)))),
        (
            "reconcile",
            sent(bed, move |c| tasks::reconcile_candidates(c, forgotten)),
        ),
        ("silent", sent(bed, |c| jobs::of_silent(c, NOW, JobId(0), 50))),
        ("ends", sent(bed, |c| jobs::last_ends(c, &[TaskId(1), TaskId(2)]))),
        ("open runs", sent(bed, runs::open)),
        ("kept work", sent(bed, move |c| runs::kept(c, kept))),
        ("open rescues", sent(bed, |c| intents::open_keyed(c, "rescue:"))),
        (
            "prune",
            sent(bed, |c| {
                let before = Timestamp(NOW.0 - 1);
                let after = (Timestamp(i64::MIN), TaskId(0));
                retention::history(c, Act::Remove, (after, before), 200, NOW)?;
                retention::notices(c, Act::Remove, before, 200)?;
                retention::healings(c, Act::Remove, before, 200)?;
                retention::instances(c, Act::Remove, before, 200)?;
                let node = NodeName::trusted("local");
                retention::old_work(c, &node, before, (Timestamp(i64::MIN), RunId(0)), 200)
            }),
        ),
        ("outbox", sent(bed, |c| outbox::due(c, NOW, 50))),
        (
            "outbox",
            sent(bed, |c| outbox::hold_back(c, Channel::Webhook, NOW)),
        ),
    ]
}

#[derive(QueryableByName)]
struct PlanLine {
    #[diesel(sql_type = Text)]
    detail: String,
}

fn sqlite_plan(bed: &Bed, sent: &Sent) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {}", sent.sql);
    let lines = bed.store.read_blocking(|c| match c {
        Conn::Sqlite(c) => Ok::<_, StoreError>(diesel::sql_query(sql).load::<PlanLine>(c)?),
        Conn::Pg(_) => panic!("not SQLite"),
    });
    lines.unwrap().into_iter().map(|l| l.detail).collect()
}

#[test]
fn on_sqlite_every_statement_uses_the_index_made_for_it() {
    let bed = Bed::sqlite();
    history(&bed, 1000);
    let mut shown = String::new();
    for (what, statements) in everything(&bed) {
        for statement in statements {
            for line in sqlite_plan(&bed, &statement) {
                shown.push_str(&format!("{what}: {line}\n"));
            }
        }
    }
    insta::assert_snapshot!(shown, @r"
    claim: SCAN jobs USING INDEX jobs_running
    claim: COMPOUND QUERY
    claim: LEFT-MOST SUBQUERY
    claim: COMPOUND QUERY
    claim: LEFT-MOST SUBQUERY
    claim: SEARCH node_states USING INDEX sqlite_autoindex_node_states_1 (node=?)
    claim: UNION ALL
    claim: SEARCH node_cuts USING COVERING INDEX node_cuts_by_node (node=? AND until>?)
    claim: UNION ALL
    claim: SCAN retry_scopes USING INDEX retry_scopes_open
    claim: SEARCH jobs USING INDEX jobs_claimable (priority<?)
    claim: SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)
    claim: SEARCH task_dependencies USING COVERING INDEX sqlite_autoindex_task_dependencies_1 (task_id=?) LEFT-JOIN
    claim: SCAN tasks USING INDEX tasks_unfinished
    claim: SEARCH runs USING COVERING INDEX runs_by_task (task_id=?)
    claim: SCAN jobs USING INDEX jobs_running
    claim: SEARCH jobs USING INDEX jobs_reserved (priority<?)
    claim: SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)
    claim: SEARCH task_dependencies USING COVERING INDEX sqlite_autoindex_task_dependencies_1 (task_id=?) LEFT-JOIN
    claim: SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
    wake-up: SEARCH jobs USING INDEX jobs_claimable
    running: SEARCH jobs USING INDEX jobs_running (id>?)
    queued: SCAN jobs USING INDEX jobs_claimable
    counts: SCAN jobs USING COVERING INDEX jobs_claimable
    counts: SCAN jobs USING COVERING INDEX jobs_running
    counts: SEARCH jobs USING COVERING INDEX jobs_finished (finished_at>?)
    counts: USE TEMP B-TREE FOR GROUP BY
    live job: SEARCH jobs USING INDEX jobs_one_live_per_task (task_id=?)
    reconcile: SEARCH tasks USING INDEX tasks_open (stage_entered_at>? AND stage_entered_at<?)
    reconcile: CORRELATED SCALAR SUBQUERY 1
    reconcile: SEARCH jobs USING INDEX jobs_one_live_per_task (task_id=?)
    silent: SEARCH jobs USING INDEX jobs_running (id>?)
    silent: SEARCH instances USING INDEX sqlite_autoindex_instances_1 (id=?) LEFT-JOIN
    ends: SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)
    ends: CORRELATED SCALAR SUBQUERY 1
    ends: SEARCH jobs USING INDEX jobs_by_task (task_id=?)
    open runs: SCAN runs USING INDEX runs_open
    kept work: SEARCH runs USING INDEX runs_kept (id<?)
    open rescues: SCAN intents USING INDEX intents_open
    prune: SEARCH tasks USING INDEX tasks_to_prune (finished_at>? AND finished_at<?)
    prune: SEARCH outbox USING INDEX outbox_sent (sent_at<?)
    prune: CORRELATED SCALAR SUBQUERY 1
    prune: SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)
    prune: SEARCH healing_events USING COVERING INDEX healing_events_by_age (at<?)
    prune: SEARCH instances USING COVERING INDEX instances_stopped (stopped_at>? AND stopped_at<?)
    prune: CORRELATED SCALAR SUBQUERY 1
    prune: SCAN jobs USING INDEX jobs_running
    prune: SEARCH runs USING INDEX runs_kept_by_age (finished_at>? AND finished_at<?)
    prune: CORRELATED SCALAR SUBQUERY 1
    prune: SEARCH intents USING INDEX intents_by_task (task_id=?)
    prune: SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)
    outbox: SEARCH outbox USING INDEX outbox_pending (available_at<?)
    outbox: CORRELATED SCALAR SUBQUERY 1
    outbox: SEARCH earlier USING INDEX outbox_pending_by_task (task_id=? AND channel=? AND id<?)
    outbox: USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY
    outbox: SEARCH outbox USING INDEX outbox_pending (available_at<?)
    ");
}

#[derive(QueryableByName)]
struct PgPlanLine {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

fn postgres_plan(bed: &Bed, sent: &Sent) -> String {
    let mut sql = sent.sql.clone();
    for (n, bind) in sent.binds.iter().enumerate().rev() {
        let value = match bind {
            serde_json::Value::Array(many) => {
                let of = if many.iter().all(serde_json::Value::is_string) {
                    "text"
                } else {
                    "bigint"
                };
                let many: Vec<String> = many.iter().map(ToString::to_string).collect();
                format!("'{{{}}}'::{of}[]", many.join(","))
            }
            other => other.to_string().replace('"', "'"),
        };
        sql = sql.replace(&format!("${}", n + 1), &value);
    }
    let sql = format!("EXPLAIN (COSTS OFF) {sql}");
    let lines = bed.store.write_blocking(move |c| match c {
        Conn::Pg(c) => Ok::<_, StoreError>(diesel::sql_query(sql).load::<PgPlanLine>(c)?),
        Conn::Sqlite(_) => panic!("not PostgreSQL"),
    });
    let lines: Vec<String> = lines.unwrap().into_iter().map(|l| l.line).collect();
    lines.join("\n")
}

#[test]
fn on_postgres_no_statement_reads_the_whole_history() {
    let Some(bed) = Bed::postgres() else { return };
    history(&bed, 200_000);
    // With a handful of live rows any index of live rows will do: give the planner something to choose from.
    bed.sql(
        "WITH made AS (INSERT INTO tasks (project_id, work_item_id, tracker, external_id, title, description, \
         branch, stage, status, stage_entered_at, created_at, updated_at) \
         SELECT 1, 'Q-' || i, 'local', 'q/' || i, 'x', 'x', 'x', 'review', 'active', i, i, i \
         FROM generate_series(1, 5000) AS i RETURNING id, project_id) \
         INSERT INTO jobs (task_id, project_id, kind, stage, visit, task_version, status, available_at, \
         max_attempts, max_transient_attempts, created_at) \
         SELECT id, project_id, 'agent', 'review', 1, 1, 'queued', 1, 2, 5, 1 FROM made",
    );
    bed.sql("ANALYZE");
    let mut shown = String::new();
    for (what, statements) in everything(&bed) {
        for statement in statements {
            let plan = postgres_plan(&bed, &statement);
            for table in ["jobs", "tasks"] {
                assert!(
                    !plan.contains(&format!("Seq Scan on {table}")),
                    "{what}: {}\n{plan}",
                    statement.sql
                );
            }
            shown.push_str(&plan);
        }
    }
    for index in [
        "jobs_claimable",
        "jobs_reserved",
        "jobs_running",
        "jobs_one_live_per_task",
        "jobs_finished",
        "tasks_open",
        "tasks_unfinished",
    ] {
        assert!(shown.contains(index), "{index} is not used:\n{shown}");
    }
}

/// What SQLite's virtual machine did for these statements, in steps: the same on any machine.
fn steps(bed: &Bed, statements: &[Sent]) -> i64 {
    let file = CString::new(bed.url.clone()).unwrap();
    let mut db = std::ptr::null_mut();
    let mut total = 0;
    // SAFETY: the connection and each statement are made, used and finalised here, on this thread; texts that
    // are bound live until the statement is finalised.
    unsafe {
        assert_eq!(ffi::sqlite3_open(file.as_ptr(), &mut db), ffi::SQLITE_OK);
        let none = std::ptr::null_mut();
        assert_eq!(
            ffi::sqlite3_exec(db, c"BEGIN".as_ptr(), None, none, std::ptr::null_mut()),
            ffi::SQLITE_OK
        );
        for sent in statements {
            let sql = CString::new(sent.sql.clone()).unwrap();
            let mut statement = std::ptr::null_mut();
            let made = ffi::sqlite3_prepare_v2(db, sql.as_ptr(), -1, &mut statement, std::ptr::null_mut());
            assert_eq!(made, ffi::SQLITE_OK, "{}", sent.sql);
            let mut texts = Vec::new();
            for (at, bind) in (1..).zip(&sent.binds) {
                if let Some(number) = bind.as_i64() {
                    ffi::sqlite3_bind_int64(statement, at, number);
                } else if !bind.is_null() {
                    let text = CString::new(bind.as_str().unwrap()).unwrap();
                    ffi::sqlite3_bind_text(statement, at, text.as_ptr(), -1, None);
                    texts.push(text);
                }
            }
            while ffi::sqlite3_step(statement) == ffi::SQLITE_ROW {}
            total += i64::from(ffi::sqlite3_stmt_status(
                statement,
                ffi::SQLITE_STMTSTATUS_VM_STEP,
                0,
            ));
            assert_eq!(ffi::sqlite3_finalize(statement), ffi::SQLITE_OK);
        }
        assert_eq!(
            ffi::sqlite3_exec(db, c"ROLLBACK".as_ptr(), None, none, std::ptr::null_mut()),
            ffi::SQLITE_OK
        );
        ffi::sqlite3_close(db);
    }
    total
}

#[test]
fn with_a_million_finished_jobs_every_statement_takes_as_many_steps_as_with_a_thousand() {
    let taken = |n| {
        let bed = Bed::sqlite();
        history(&bed, n);
        everything(&bed)
            .into_iter()
            .map(|(what, statements)| (what, steps(&bed, &statements)))
            .collect::<Vec<_>>()
    };
    let few = taken(1000);
    assert!(few.iter().all(|(_, steps)| *steps > 0), "{few:?}");
    assert_eq!(few, taken(1_000_000));
}

#[derive(QueryableByName)]
struct Synchronous {
    #[diesel(sql_type = Integer)]
    synchronous: i32,
}

#[test]
fn the_writer_waits_for_the_disk() {
    let bed = Bed::sqlite();
    let full = bed.write(|c| match c {
        Conn::Sqlite(c) => Ok(diesel::sql_query("PRAGMA synchronous")
            .get_result::<Synchronous>(c)?
            .synchronous),
        Conn::Pg(_) => panic!("not SQLite"),
    });
    assert_eq!(full, 2);
}

#[test]
fn on_sqlite_what_is_spent_is_found_by_its_keys_however_long_the_history_is() {
    let bed = Bed::sqlite();
    history(&bed, 1000);
    bed.write(|c| {
        let Conn::Sqlite(c) = c else { panic!("not SQLite") };
        diesel::sql_query("INSERT INTO task_spend (task_id, micro_usd) SELECT id, 1 FROM tasks")
            .execute(c)?;
        Ok(())
    });
    let run = bed.run(&bed.claim(request())[0]);
    let (project, task) = (bed.task("MORE").project_id, run.task_id);
    let statements = sent(&bed, move |c| {
        spend::charge(c, run.id, 5, NOW)?.won().unwrap();
        spend::spent(c, task, project, NOW)?;
        spend::waiting(c, 1, NOW)?;
        spend::with_work(c, &[project], NOW)?;
        spend::of_unfinished(c)?;
        spend::reservations(c, 5)
    });
    assert!(statements.len() > 7, "{}", statements.len());
    for statement in statements {
        for line in sqlite_plan(&bed, &statement) {
            let by_index = !line.starts_with("SCAN")
                || line.contains("USING INDEX jobs_")
                || line.contains("USING INDEX tasks_");
            assert!(by_index, "{line}\n{}", statement.sql);
        }
    }
}

/// So many deliveries that were settled, batches that are forgotten and retries of their scopes, all of them kept for a
/// while yet; and a few of each that are due, or are to be applied.
fn aside(bed: &Bed, n: usize) {
    history(bed, 10 * n);
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    let now = NOW.0;
    let delivery = "INSERT INTO inbox (source, delivery, digest, event, event_type, body, status, attempts, available_at, \
                    received_at, settled_at)";
    let audit = "INSERT INTO retry_audit (at, event, scope, task_id, visit, retry_count, total)";
    let statements = [
        format!("{delivery} {numbers} SELECT 'plane', 'd' || i, 'h' || i, 'issue', 'issue', '{{}}', 'applied', 1, i, i, {now} + i FROM n"),
        format!("{delivery} {numbers} SELECT 'plane', 'p' || i, 'q' || i, 'issue', 'issue', '{{}}', 'pending', 0, i, i, NULL FROM n WHERE i < 9"),
        format!("{delivery} {numbers} SELECT 'forge', 'o' || i, 'o' || i, 'push', 'push', '{{}}', 'ignored', 1, i, i, i FROM n WHERE i < 9"),
        format!("{audit} {numbers} SELECT {now}, 'retry', 'batch:b' || i, i, 1, 1, 1 FROM n"),
        format!("{audit} VALUES ({now}, 'retry', 'batch:due', 1, 1, 1, 1)"),
        format!("INSERT INTO batches (id, project_id, mode, content, created_at) {numbers} SELECT 'b' || i, 1, 'parallel', 'x', 1 FROM n"),
        "INSERT INTO batches (id, project_id, mode, content, created_at) VALUES ('due', 1, 'parallel', 'x', 1)".to_owned(),
        format!("INSERT INTO retry_scopes (scope, failures) {numbers} SELECT 'batch:b' || i, 1 FROM n"),
        "INSERT INTO retry_scopes (scope, failures) VALUES ('batch:due', 1)".to_owned(),
        "UPDATE tasks SET batch = 'b' || id WHERE pruned_at IS NOT NULL".to_owned(),
        "UPDATE tasks SET batch = 'due', status = 'done', finished_at = 1 WHERE work_item_id = 'T-39'".to_owned(),
        "INSERT INTO node_cuts (node, until, reason) VALUES ('local', 1, 'oom')".to_owned(),
        format!("INSERT INTO node_cuts (node, until, reason) {numbers} SELECT 'n' || (i % 9), {now}, 'oom' FROM n"),
        "INSERT INTO node_states (node, off_how, off_until, reason, since) VALUES ('far', 'cooled', 1, 'x', 1)".to_owned(),
    ];
    bed.write(move |c| {
        for sql in statements {
            match c {
                Conn::Sqlite(c) => diesel::sql_query(sql).execute(c),
                Conn::Pg(c) => diesel::sql_query(sql).execute(c),
            }?;
        }
        Ok(())
    });
    if matches!(bed.place, Place::Server { .. }) {
        bed.sql("ANALYZE");
    }
}

/// What happens to deliveries, batches and marks of nodes, again and again.
fn beside(bed: &Bed) -> Vec<(&'static str, Vec<Sent>)> {
    // The name of one that is known, and the body of another.
    let again = |delivery: &str, digest: &str| NewDelivery {
        source: Source::Plane,
        delivery: delivery.to_owned(),
        digest: digest.to_owned(),
        event: "issue".to_owned(),
        event_type: "issue".to_owned(),
        body: "{}".to_owned(),
    };
    let (named, repeated) = (again("d7", "new"), again("new", "h7"));
    let before = Timestamp(NOW.0 - 1);
    vec![
        ("pending", sent(bed, |c| inbox::pending(c, Source::Plane, 0, 100))),
        ("named", sent(bed, move |c| inbox::receive(c, &named, NOW))),
        ("repeated", sent(bed, move |c| inbox::receive(c, &repeated, NOW))),
        (
            "deliveries",
            sent(bed, move |c| retention::deliveries(c, Act::Remove, before, 200)),
        ),
        (
            "node marks",
            sent(bed, move |c| retention::node_marks(c, Act::Remove, before, 200)),
        ),
        ("cuts", sent(bed, |c| nodes::cuts(c, NOW))),
        (
            "batch",
            sent(bed, move |c| {
                let after = (Timestamp(i64::MIN), TaskId(0));
                retention::history(c, Act::Remove, (after, before), 200, NOW)
            }),
        ),
    ]
}

#[test]
fn on_sqlite_deliveries_and_batches_take_as_many_steps_however_many_there_were() {
    let taken = |n| {
        let bed = Bed::sqlite();
        aside(&bed, n);
        let beside = beside(&bed);
        for (what, statements) in &beside {
            for statement in statements {
                let plan = sqlite_plan(&bed, statement).join("\n");
                let grows = [
                    "inbox",
                    "tasks",
                    "batches",
                    "retry_audit",
                    "retry_scopes",
                    "jobs",
                    "node_cuts",
                ];
                assert!(
                    !grows
                        .iter()
                        .any(|table| plan.lines().any(|line| line == format!("SCAN {table}"))),
                    "{what}: {}\n{plan}",
                    statement.sql
                );
            }
        }
        let steps = beside.into_iter().map(|(what, sent)| (what, steps(&bed, &sent)));
        steps.collect::<Vec<_>>()
    };
    let few = taken(100);
    assert!(few.iter().all(|(_, steps)| *steps > 0), "{few:?}");
    assert_eq!(few, taken(20_000));
}

#[test]
fn on_postgres_deliveries_and_batches_are_found_by_their_indexes() {
    let Some(bed) = Bed::postgres() else { return };
    aside(&bed, 20_000);
    let mut shown = String::new();
    for (what, statements) in beside(&bed) {
        for statement in statements {
            let plan = postgres_plan(&bed, &statement);
            let whole = [
                "inbox",
                "tasks",
                "batches",
                "retry_audit",
                "retry_scopes",
                "jobs",
                "node_cuts",
            ];
            let whole = whole
                .iter()
                .any(|table| plan.contains(&format!("Seq Scan on {table}")));
            // In the order of its key a table is read to the first that fits: whole, where none does.
            let by_key = plan.contains("using inbox_pkey") && plan.contains("Filter:");
            assert!(!whole && !by_key, "{what}: {}\n{plan}", statement.sql);
            shown.push_str(&plan);
        }
    }
    for index in [
        "inbox_pending",
        "inbox_settled",
        "tasks_of_batch",
        "retry_audit_of_scope",
        "node_cuts_by_end",
    ] {
        assert!(shown.contains(index), "{index} is not used:\n{shown}");
    }
}
