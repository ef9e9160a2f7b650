//! A PostgreSQL server that is restarted again and again under running tasks.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::support::{Agent, Project, Repo, Server, Setup, Stop, THREE_STAGES, TestService, wait_until};

/// Seconds for which the server is restarted every 5 to 20 s; without it, five times.
const LONG: &str = "ORCH_TEST_RESTARTS_S";
const TASKS: usize = 20;

#[derive(QueryableByName)]
struct Odd {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

fn odd(conn: &mut PgConnection, sql: &str) -> Vec<String> {
    let rows: Vec<Odd> = diesel::sql_query(sql).load(conn).unwrap();
    rows.iter()
        .map(|row| format!("{}: {}", row.what, row.n))
        .collect()
}

fn count(service: &TestService, word: &str) -> usize {
    service
        .told("agents.log")
        .lines()
        .filter(|line| line.starts_with(word))
        .count()
}

#[test]
fn a_server_that_is_restarted_again_and_again_costs_no_attempt_and_doubles_nothing() {
    let Some(server) = Server::start() else { return };
    let long: Option<u64> = std::env::var(LONG).ok().map(|s| s.parse().unwrap());
    // Long enough that agents are at work for most of the time.
    let work = long.map_or(1, |seconds| seconds / 3);
    let repo = Repo::new();
    let base = repo.sha("main");
    let agent = Agent::new()
        .role("developer", &format!(
            "stamp begin; mkdir -p src; sleep {work}; echo \"$nth\" >\"src/$ORCH_WORK_ITEM.txt\"; commit 'write it'; stamp end"
        ))
        .role("reviewer", &format!("stamp begin; sleep {work}; verdict APPROVED; stamp end"));
    let mut service = Setup::new()
        .set("database.url", server.url())
        .set("max_concurrency", i64::try_from(TASKS).unwrap())
        // What is done again after a restart is done because the database is back, not because time has passed.
        .set("queue.tick_s", 3600)
        .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
        .start();
    let ids: Vec<String> = (0..TASKS).map(|n| service.add(&format!("Part {n}"))).collect();

    let mut restarts = 0;
    let restart = |restarts: usize| {
        server.restart(if restarts.is_multiple_of(2) {
            Stop::Fast
        } else {
            Stop::Immediate
        });
    };
    match long {
        Some(seconds) => {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            while Instant::now() < deadline {
                // 5 to 20 s, in an order that looks like none.
                std::thread::sleep(Duration::from_secs(5 + (restarts as u64 * 7) % 16));
                restart(restarts);
                restarts += 1;
            }
        }
        // While agents begin, while they end, and while candidates are made mergeable.
        None => {
            for (word, at_least) in [("begin", 1), ("begin", 12), ("end", 3), ("end", 18), ("end", 24)] {
                wait_until("agents go on", || count(&service, word) >= at_least);
                restart(restarts);
                restarts += 1;
            }
        }
    }
    for id in &ids {
        service.wait_status(id, "done");
    }
    service.wait_idle();
    assert!(restarts >= 5, "{restarts}");

    for id in &ids {
        assert_eq!(
            (service.worked(id, "developer"), service.worked(id, "reviewer")),
            (1, 1),
            "{id}"
        );
        assert_eq!(repo.show(&format!("src/{id}.txt")), "1");
    }
    let conn = &mut PgConnection::establish(&server.url()).unwrap();
    let nothing = [
        (
            "an attempt was spent",
            "SELECT 'job ' || id AS what, attempts::bigint AS n FROM jobs \
          WHERE attempts <> 1 OR transient_attempts <> 0 OR status <> 'done'",
        ),
        (
            "a stage was worked twice",
            "SELECT task_id || ' ' || stage || ' ' || kind AS what, count(*) AS n FROM jobs \
          WHERE kind = 'agent' GROUP BY task_id, stage, kind HAVING count(*) <> 1",
        ),
        (
            "a step of a task was made twice",
            "SELECT task_id || ' ' || stage || ' ' || text AS what, count(*) AS n FROM events \
          WHERE kind = 'stage' GROUP BY task_id, stage, text HAVING count(*) <> 1",
        ),
        (
            "a task was merged twice, or not",
            "SELECT t.work_item_id AS what, count(i.id) AS n FROM tasks t \
          LEFT JOIN intents i ON i.task_id = t.id AND i.kind = 'merge' AND i.status = 'done' \
          GROUP BY t.work_item_id HAVING count(i.id) <> 1",
        ),
    ];
    for (what, sql) in nothing {
        let found = odd(conn, sql);
        assert!(found.is_empty(), "{what}: {found:?}");
    }
    assert_eq!(repo.merge_commits_since(&base), 0);
    let messages = repo.git(&["log", "--format=%s", &format!("{base}..main")]);
    for id in &ids {
        let line = format!("{id}: write it");
        assert_eq!(
            messages.lines().filter(|m| **m == line).count(),
            1,
            "{id}\n{messages}"
        );
    }
    let log = service.log();
    assert!(!log.contains("a successor takes over"), "a monitor died of it");
}
