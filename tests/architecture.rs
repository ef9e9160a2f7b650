//! Who may import whom, and what may stand where. The map of the floors is `design.md`'s; each rule is a
//! function in `architecture/rules.rs`, and is proven here to see a text that breaks it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "architecture/deeds.rs"]
mod deeds;
#[path = "architecture/floors.rs"]
mod floors;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/writes.rs"]
mod writes;

use std::path::Path;

use self::source::{Finding, Source};

type Rule = (&'static str, fn(&Source) -> Vec<Finding>);

/// Rules that look at one file.
const RULES: [Rule; 17] = [
    (
        "a module imports only from the floors below it",
        floors::no_import_upward,
    ),
    (
        "the schema is imported by the store alone",
        floors::schema_in_store_alone,
    ),
    ("the domain is pure", rules::pure_domain),
    ("Diesel only in the store", rules::diesel),
    ("actix only in actors, http and app", rules::actix),
    ("awc only in integrations and cli", rules::awc),
    ("processes are started only in process and git", rules::command),
    ("a clock is read only in actors, http, cli and app", rules::clock),
    (
        "unsafe only in process and where libpq is waited for",
        rules::no_unsafe,
    ),
    ("a silenced lint has its reason", rules::reasoned_lints),
    ("no unwrap and no expect outside tests", rules::no_unwrap),
    ("no name may hide what a rule looks for", rules::no_alias),
    ("a file begins with its job", rules::begins_with_its_job),
    ("a file stays short", rules::short),
    ("a stage is changed in store/tasks alone", writes::stage),
    (
        "a job's status is changed in store/jobs alone",
        writes::job_status,
    ),
    ("what leaves the process is a deed", deeds::deeds),
];

fn report(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(Finding::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_source_keeps_every_rule() {
    let sources = source::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 10, "the source was not found");
    let mut findings = Vec::new();
    for (name, rule) in RULES {
        for source in &sources {
            findings.extend(rule(source).into_iter().map(|finding| finding.of(name)));
        }
    }
    findings.extend(writes::stage_in_one_place(&sources));
    findings.extend(rules::stale_exceptions(&sources));
    findings.extend(deeds::stale_exceptions(&sources));
    assert!(findings.is_empty(), "\n{}\n", report(&findings));
}

/// How many findings the rules, all of them, have in one file; and what the named one says.
fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text))
        .iter()
        .map(|finding| finding.line)
        .collect()
}

#[test]
fn an_import_upward_is_seen_in_every_way_of_writing_it() {
    let rule = floors::no_import_upward;
    for bad in [
        "use crate::store::jobs;",
        "use crate :: store;",
        "pub(crate) use crate::store;",
        "use crate::{domain::id, store::{jobs, tasks}};",
        "use crate::{\n    domain::{id, run},\n    store,\n};",
        "fn f() { crate::store::claim() }",
        "fn f(x: &orch::store::Conn) {}",
        "use super::super::store;",
        "use super::super::{store};",
        "mod tests { use super::super::super::store; }",
        "use crate::*;",
        "use crate::{self};",
        "use crate::attic::x;",
    ] {
        let path = "src/domain/job.rs";
        assert_eq!(lines(rule, path, bad).len(), 1, "not seen: {bad}");
    }
    let text = "//! Job.\n\nuse crate::domain::id;\nuse crate::engine::advance;\n";
    assert_eq!(lines(rule, "src/store/jobs.rs", text), [4]);
}

#[test]
fn a_floor_knows_those_below_and_not_its_neighbours() {
    let seen = |from: &str, to: &str| {
        let text = format!("use crate::{to}::x;");
        !lines(floors::no_import_upward, from, &text).is_empty()
    };
    for (from, to) in [
        ("src/engine/advance.rs", "gates"),
        ("src/engine/advance.rs", "settings"),
        ("src/gates/ci.rs", "integrations"),
        ("src/git/mod.rs", "settings"),
        ("src/store/jobs/claim.rs", "schema"),
        ("src/http/mod.rs", "actors"),
        ("src/app.rs", "cli"),
        ("src/main.rs", "process"),
        ("src/git/worktree.rs", "git"),
    ] {
        assert!(!seen(from, to), "{from} may know {to}");
    }
    for (from, to) in [
        ("src/gates/ci.rs", "engine"),
        ("src/store/mod.rs", "settings"),
        ("src/process/mod.rs", "settings"),
        ("src/settings.rs", "store"),
        ("src/git/mod.rs", "integrations"),
        ("src/engine/advance.rs", "actors"),
        ("src/cli/mod.rs", "http"),
        ("src/http/mod.rs", "cli"),
        ("src/actors/queue.rs", "app"),
    ] {
        assert!(seen(from, to), "{from} may not know {to}");
    }
}

#[test]
fn words_and_comments_are_no_imports() {
    let text = r##"//! Not like crate::store.
/* crate::store /* nested crate::store */ crate::store */
const TEXT: &str = "crate::store \" crate::store";
const RAW: &str = r#"crate::store " crate::store"#;
const QUOTE: char = '"'; // crate::store
fn life<'a>(x: &'a str) -> &'a str { super::jobs::f(x); crate::on!(x) }
"##;
    assert_eq!(lines(floors::no_import_upward, "src/domain/job.rs", text), [0; 0]);
    let after = format!("{text}use crate::store;\n");
    assert_eq!(lines(floors::no_import_upward, "src/domain/job.rs", &after), [7]);
}

#[test]
fn the_schema_elsewhere_than_in_the_store_is_seen() {
    let text = "use crate::schema::jobs;";
    assert_eq!(
        lines(floors::schema_in_store_alone, "src/engine/advance.rs", text),
        [1]
    );
    assert_eq!(lines(floors::schema_in_store_alone, "src/app.rs", text), [1]);
    assert_eq!(
        lines(floors::schema_in_store_alone, "src/store/jobs.rs", text),
        [0; 0]
    );
}

#[test]
fn a_library_on_the_wrong_floor_is_seen() {
    let seen = |rule, path, text| !lines(rule, path, text).is_empty();
    for text in [
        "use diesel::prelude::*;",
        "fn f() { diesel::insert_into(x) }",
        "use diesel_migrations::X;",
    ] {
        assert!(seen(rules::diesel, "src/engine/advance.rs", text), "{text}");
        assert!(!seen(rules::diesel, "src/store/jobs/claim.rs", text), "{text}");
    }
    for text in [
        "use actix::Actor;",
        "#[actix_web::get(x)]",
        "fn f() { actix_rt::spawn(x) }",
        "use actix;",
    ] {
        assert!(seen(rules::actix, "src/engine/advance.rs", text), "{text}");
        assert!(seen(rules::actix, "src/cli/serve.rs", text), "{text}");
        assert!(!seen(rules::actix, "src/app.rs", text), "{text}");
    }
    assert!(seen(rules::awc, "src/http/mod.rs", "use awc::Client;"));
    assert!(!seen(
        rules::awc,
        "src/integrations/forge/gitea.rs",
        "use awc::Client;"
    ));
    for text in [
        "use std::fs;",
        "use std::{fmt, fs};",
        "use tokio::sync::watch;",
        "fn f() { slog_scope::info!(x) }",
    ] {
        assert!(seen(rules::pure_domain, "src/domain/claim.rs", text), "{text}");
        assert!(!seen(rules::pure_domain, "src/engine/claim.rs", text), "{text}");
    }
}

#[test]
fn a_process_started_elsewhere_is_seen() {
    for text in [
        "use std::process::Command;",
        "use std::process::{Child, Command};",
        "use std::{io, process::{Command, Stdio}};",
        "use std::process;\nfn f() { process::Command::new(x) }",
        "use std::process::*;",
        "fn f() { tokio::process::Command::new(x) }",
        "use tokio::process::Child;",
    ] {
        assert_eq!(
            lines(rules::command, "src/gates/command.rs", text).len(),
            1,
            "{text}"
        );
        assert_eq!(
            lines(rules::command, "src/git/command.rs", text).len(),
            0,
            "{text}"
        );
    }
    for text in [
        "use clap::Command;",
        "fn f() { std::process::exit(1) }",
        "use crate::process::spawn;",
    ] {
        assert_eq!(lines(rules::command, "src/cli/mod.rs", text).len(), 0, "{text}");
    }
}

#[test]
fn a_clock_read_where_time_should_be_a_value_is_seen() {
    for text in [
        "fn f() { SystemTime::now() }",
        "fn f() { std::time::Instant::now() }",
        "fn f() { jiff::Timestamp::now() }",
        "fn f() { Zoned :: now() }",
        "fn f() { chrono::Utc::now() }",
        "fn f(began: Instant) { began.elapsed() }",
        "fn f() { map(Instant::now) }",
    ] {
        assert_eq!(lines(rules::clock, "src/engine/reap.rs", text), [1], "{text}");
        assert_eq!(lines(rules::clock, "src/http/mod.rs", text), [0; 0], "{text}");
    }
    let wait = "fn f() { Instant::now() }";
    assert_eq!(
        lines(rules::clock, "src/process/watch.rs", wait),
        [0; 0],
        "waiting with a deadline is its job"
    );
    assert_eq!(
        lines(
            rules::clock,
            "src/process/watch.rs",
            "fn f() { SystemTime::now() }"
        ),
        [1]
    );
    let in_test = "#[cfg(test)]\nmod tests {\n    fn f() { Instant::now() }\n}\n";
    assert_eq!(lines(rules::clock, "src/engine/reap.rs", in_test), [0; 0]);
}

#[test]
fn an_alias_that_hides_what_is_looked_for_is_seen() {
    for text in [
        "use std::time::Instant as I;",
        "use std::process as p;",
        "use diesel as d;",
        "use crate::store as s;",
    ] {
        assert_eq!(lines(rules::no_alias, "src/domain/job.rs", text), [1], "{text}");
    }
    assert_eq!(
        lines(rules::no_alias, "src/domain/job.rs", "use std::fmt::Write as _;"),
        [0; 0]
    );
}

#[test]
fn unsafe_code_outside_process_is_seen() {
    assert_eq!(
        lines(rules::no_unsafe, "src/git/mod.rs", "fn f() { unsafe { g() } }"),
        [1]
    );
    assert_eq!(
        lines(rules::no_unsafe, "src/store/conn.rs", "fn f() { unsafe { g() } }"),
        [1]
    );
    assert_eq!(
        lines(rules::no_unsafe, "src/git/mod.rs", "//! Nothing unsafe here."),
        [0; 0]
    );
    assert_eq!(
        lines(
            rules::no_unsafe,
            "src/process/sys.rs",
            "fn f() { unsafe { g() } }"
        ),
        [0; 0]
    );
}

#[test]
fn a_lint_silenced_without_a_reason_is_seen() {
    for text in [
        "#[allow(dead_code)]\nfn f() {}",
        "#![allow(missing_docs)]",
        "#[cfg_attr(test, allow(dead_code))]\nfn f() {}",
        "#[expect(clippy::panic)]\nfn f() {}",
        "#[allow(\n    dead_code,\n)]\nfn f() {}",
    ] {
        assert_eq!(
            lines(rules::reasoned_lints, "src/git/mod.rs", text),
            [1],
            "{text}"
        );
    }
    let good = "#[expect(dead_code, reason = \"a reason\")]\nfn f() { allow(x) }\nallow_tables!(a);";
    assert_eq!(lines(rules::reasoned_lints, "src/git/mod.rs", good), [0; 0]);
}

#[test]
fn an_unwrap_outside_tests_is_seen() {
    for text in [
        "fn f() { x.unwrap() }",
        "fn f() { x\n    .expect(\"y\") }",
        "fn f() { x.unwrap_err() }",
    ] {
        assert_eq!(lines(rules::no_unwrap, "src/git/mod.rs", text).len(), 1, "{text}");
    }
    let fine = "fn f() { x.unwrap_or(1) }\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap() }\n}\n";
    assert_eq!(lines(rules::no_unwrap, "src/git/mod.rs", fine), [0; 0]);
    let after = format!("{fine}fn h() {{ x.unwrap() }}");
    assert_eq!(
        lines(rules::no_unwrap, "src/git/mod.rs", &after),
        [6],
        "what follows the tests counts"
    );
}

#[test]
fn a_file_of_tests_counts_into_tests() {
    let parent = Source::new(
        "src/git/wip.rs",
        "//! Wip.\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub mod fake;\n",
    );
    assert_eq!(
        parent.test_files(),
        ["src/git/wip/tests.rs", "src/git/wip/fake.rs"]
    );
    let root = Source::new("src/git/mod.rs", "#[cfg(test)] mod tests;");
    assert_eq!(root.test_files(), ["src/git/tests.rs"]);
    let tests = Source::new("src/git/wip/tests.rs", "fn f() { x.unwrap() }").into_tests();
    assert!(rules::no_unwrap(&tests).is_empty());
}

#[test]
fn a_file_without_a_word_on_its_job_is_seen() {
    assert_eq!(
        lines(rules::begins_with_its_job, "src/git/mod.rs", "use std::fmt;\n"),
        [1]
    );
    assert_eq!(
        lines(rules::begins_with_its_job, "src/git/mod.rs", "//! Git.\n"),
        [0; 0]
    );
}

#[test]
fn a_long_file_is_seen_and_its_tests_are_not_counted() {
    let long = "fn f() {}\n".repeat(401);
    assert_eq!(lines(rules::short, "src/git/mod.rs", &long), [401]);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(lines(rules::short, "src/git/mod.rs", &tested), [0; 0]);
}

#[test]
fn a_stage_changed_elsewhere_is_seen() {
    for text in [
        "fn f() { diesel::update(tasks::table).set(tasks::stage.eq(x)) }",
        "fn f() { diesel::update(tasks).filter(id.eq(1)).set((version.eq(2), stage.eq(x))) }",
        "#[derive(Debug, AsChangeset)]\n#[diesel(table_name = tasks)]\nstruct Move { stage: String }",
        "const SQL: &str = \"UPDATE tasks SET version = 2, stage = ?1\";",
    ] {
        assert_eq!(
            lines(writes::stage, "src/store/outbox.rs", text).len(),
            1,
            "{text}"
        );
        assert_eq!(
            lines(writes::stage, "src/store/tasks/change.rs", text).len(),
            0,
            "{text}"
        );
    }
    for text in [
        "fn f() { tasks::table.filter(tasks::stage.eq(x)) }",
        "fn f() { insert_into(jobs::table).values(jobs::stage.eq(x)) }",
        "const SQL: &str = \"UPDATE tasks SET version = 2 WHERE stage = ?1\";",
    ] {
        assert_eq!(
            lines(writes::stage, "src/store/outbox.rs", text).len(),
            0,
            "{text}"
        );
    }
}

#[test]
fn a_second_place_that_changes_a_stage_is_seen() {
    let text = "fn f() { update(tasks::table).set(tasks::stage.eq(x)) }";
    let one = Source::new("src/store/tasks/change.rs", text);
    let two = Source::new("src/store/tasks/other.rs", text);
    assert!(writes::stage_in_one_place(std::slice::from_ref(&one)).is_empty());
    assert_eq!(writes::stage_in_one_place(&[one, two]).len(), 1);
}

#[test]
fn a_jobs_status_changed_elsewhere_is_seen() {
    for text in [
        "fn f() { diesel::update(jobs::table).filter(x).set((a.eq(1), jobs::status.eq(x))) }",
        "fn f() { update(jobs::table.find(1)).set(status.eq(x)) }",
        "#[derive(AsChangeset)]\n#[diesel(table_name = crate::schema::jobs)]\nstruct End { status: String }",
        "const SQL: &str = r#\"update jobs\n set status = 'done'\"#;",
    ] {
        assert_eq!(
            lines(writes::job_status, "src/store/tasks.rs", text).len(),
            1,
            "{text}"
        );
        assert_eq!(
            lines(writes::job_status, "src/store/jobs.rs", text).len(),
            0,
            "{text}"
        );
        assert_eq!(
            lines(writes::job_status, "src/store/jobs/end.rs", text).len(),
            0,
            "{text}"
        );
    }
    for text in [
        "fn f() { update(outbox::table).set(outbox::status.eq(x)) }",
        "fn f() { update(jobs::table).filter(jobs::status.eq(x)).set(jobs::priority.eq(1)) }",
    ] {
        assert_eq!(
            lines(writes::job_status, "src/store/outbox.rs", text).len(),
            0,
            "{text}"
        );
    }
}

#[test]
fn what_leaves_the_process_outside_of_a_deed_is_seen() {
    let path = "src/engine/check.rs";
    for text in [
        "fn f() { command.spawn()? }",
        "fn f() { command\n    .status() }",
        "fn f() { Command::new(x).output() }",
        "async fn f() { client.get(url).send().await }",
        "async fn f() { request.send_body(body).await }",
        "fn f() { std::fs::rename(from, to) }",
        "fn f() { blocking(move || fs::remove_dir_all(dir)) }",
        "fn f() { child.kill() }",
        "fn f() { sys::signal_held(fd, SIGKILL) }",
        "fn f() { deed!(\"a\", g()); fs::rename(from, to) }",
    ] {
        assert_eq!(lines(deeds::deeds, path, text), [text.lines().count()], "{text}");
    }
    for text in [
        "fn f() { deed!(\"move it\", fs::rename(from, to)) }",
        "fn f() { match deed!(\"move it\", std::fs::rename(&(from), to)) { Ok(()) => {} } }",
        "fn f() { thread::spawn(g); sender.send(x) }",
        "#[cfg(test)]\nmod tests { fn f() { fs::rename(a, b) } }",
    ] {
        assert_eq!(lines(deeds::deeds, path, text), [0; 0], "{text}");
    }
}
