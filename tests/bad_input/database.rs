//! A database that is locked, newer, damaged, or somewhere it cannot be written: one line, and the file is left as it
//! was.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use serde_json::Value;

use super::mounted::{Mount, not_run};
use super::{TWO_STAGES, add, assert_names, cli, refuses};
use crate::support::{Project, Repo, Setup, TestService};

/// Another program at the file.
pub(super) fn open(path: &Path, sql: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
    conn.batch_execute(sql).unwrap();
    conn
}

/// A service that has stopped, with a task in its database.
fn stopped(repo: &Repo) -> (TestService, PathBuf) {
    let project = Project::new("shop", repo).then(TWO_STAGES);
    let mut service = Setup::new().project(project).start();
    add(&service, "KEPT");
    service.wait_status("KEPT", "done");
    service.stop();
    let file = service.data().join("orch.db");
    drop(open(&file, "PRAGMA wal_checkpoint(TRUNCATE)"));
    (service, file)
}

/// What `orch doctor` finds about the database.
fn diagnosis(service: &TestService) -> (String, String) {
    let output = service.cli(&["--json", "doctor"]);
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let check = checks.iter().find(|c| c["check"] == "database").unwrap();
    let of = |key: &str| check[key].as_str().unwrap().to_owned();
    assert_eq!(
        output.status.code(),
        Some(i32::from(of("state") == "fail")),
        "{checks:?}"
    );
    (of("state"), of("found"))
}

/// `serve`, `migrate` and `doctor` say all of this, each in one line.
fn all_refuse(service: &TestService, parts: &[&str]) {
    assert_names(refuses(service).line(1), parts);
    assert_names(cli(service, &["migrate"]).line(1), parts);
    let (state, found) = diagnosis(service);
    assert_eq!(state, "fail", "{found}");
    assert_names(&found, parts);
    assert_eq!(found.lines().count(), 1);
}

/// The service comes up and everything is there.
fn recovers(mut service: TestService) {
    service.start();
    assert_eq!(service.task("KEPT").task.status, "done");
    super::others_go_on(&mut service, "OTHER");
}

#[test]
fn what_a_second_service_or_a_migration_finds_in_use_is_said_with_who_uses_it() {
    let repo = Repo::new();
    let project = Project::new("shop", &repo).then(TWO_STAGES);
    let mut service = Setup::new().project(project).start();
    let holder = format!("process {}", service.pid());
    for command in ["serve", "migrate"] {
        let ended = cli(&service, &[command]);
        assert_names(ended.line(1), &["orch.db is in use by another orch", &holder]);
    }
    assert_eq!(cli(&service, &["migrate", "--dry-run"]).code, 0);
    assert_eq!(diagnosis(&service).0, "ok", "its own service is no trouble");
    super::others_go_on(&mut service, "FIRST");
    // The lock of one that died goes with it, whatever its file says.
    service.kill9();
    service.start();
    super::others_go_on(&mut service, "SECOND");
}

#[test]
fn a_database_that_another_program_keeps_locked_is_told_and_left_as_it_is() {
    let repo = Repo::new();
    let (service, file) = stopped(&repo);
    let before = fs::read(&file).unwrap();
    let lock = open(&file, "BEGIN EXCLUSIVE");
    let parts = ["orch.db is locked by another process", "close the program"];
    assert_names(refuses(&service).line(1), &parts);
    let (state, found) = diagnosis(&service);
    assert_eq!(state, "fail", "{found}");
    assert_names(&found, &parts);
    assert_eq!(fs::read(&file).unwrap(), before);
    drop(lock);
    recovers(service);

    // One that is to be made: there is something to migrate.
    let service = Setup::new().prepare();
    fs::create_dir_all(service.data()).unwrap();
    let lock = open(
        &service.data().join("orch.db"),
        "PRAGMA user_version = 0; BEGIN EXCLUSIVE",
    );
    all_refuse(&service, &parts);
    drop(lock);
    assert_eq!(cli(&service, &["migrate"]).code, 0);
}

#[test]
fn a_newer_or_foreign_or_damaged_database_is_refused_and_not_one_byte_of_it_changes() {
    let repo = Repo::new();
    let (service, file) = stopped(&repo);
    let good = fs::read(&file).unwrap();
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')";
    let write_at = |at: u64, bytes: &[u8]| {
        let mut db = fs::OpenOptions::new().write(true).open(&file).unwrap();
        db.seek(SeekFrom::Start(at)).unwrap();
        db.write_all(bytes).unwrap();
    };
    let quietly = |sql: &str| {
        drop(open(&file, &format!("{sql}; PRAGMA wal_checkpoint(TRUNCATE)")));
    };
    type Case<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        (
            "newer",
            &|| quietly(newer),
            &["20990101000000", "use the newer orch"],
        ),
        (
            "foreign",
            &|| {
                fs::remove_file(&file).unwrap();
                quietly("CREATE TABLE songs (title TEXT)");
            },
            &["belongs to another program"],
        ),
        (
            "notes",
            &|| write_at(0, b"These are my notes"),
            &["is not a SQLite database"],
        ),
        (
            "header",
            &|| write_at(16, &[0xff; 64]),
            &["is not a SQLite database"],
        ),
        (
            "pages",
            &|| write_at(4096, &[0xff; 40_000]),
            &["is damaged", "restore a backup"],
        ),
        (
            "cut off",
            &|| {
                fs::OpenOptions::new()
                    .write(true)
                    .open(&file)
                    .unwrap()
                    .set_len(5000)
                    .unwrap()
            },
            &["is damaged", "restore a backup"],
        ),
        (
            "folder",
            &|| {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
            },
            &["is not a SQLite database", "move it away"],
        ),
    ];
    for (name, spoil, parts) in cases {
        spoil();
        let spoilt = fs::read(&file).ok();
        let mut parts = parts.to_vec();
        parts.push("data/orch.db ");
        all_refuse(&service, &parts);
        assert_eq!(fs::read(&file).ok(), spoilt, "{name}");
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        fs::write(&file, &good).unwrap();
    }
    recovers(service);
}

/// With its database in a folder of its own.
pub(super) fn elsewhere(folder: &Path) -> Setup {
    Setup::new().set("database.url", format!("sqlite:{}/orch.db", folder.display()))
}

#[test]
fn a_database_that_cannot_be_written_is_told_by_serve_and_doctor_alike() {
    let Some(mount) = Mount::tmpfs("8m") else {
        return not_run("a database on a read-only disk", "nothing may be mounted here");
    };
    let repo = Repo::new();
    let project = Project::new("shop", &repo).then(TWO_STAGES);
    let mut service = elsewhere(mount.path()).project(project).start();
    add(&service, "KEPT");
    service.wait_status("KEPT", "done");
    service.stop();
    let before = fs::read(mount.path().join("orch.db")).unwrap();
    mount.read_only(true);
    all_refuse(
        &service,
        &["cannot be written", "Read-only file system", "orch.db"],
    );
    mount.read_only(false);
    assert_eq!(fs::read(mount.path().join("orch.db")).unwrap(), before);
    recovers(service);
}

#[test]
fn a_place_where_nobody_may_make_files_is_told_with_its_path() {
    // The kernel lets nobody make files there, root included.
    let service = elsewhere(Path::new("/proc/self")).prepare();
    assert_names(
        refuses(&service).line(1),
        &["/proc/self/orch.db", "cannot be written"],
    );
    assert_names(
        cli(&service, &["migrate"]).line(1),
        &["/proc/self/orch.db", "cannot be written"],
    );
    let service = elsewhere(Path::new("/proc/none/there")).prepare();
    assert_names(
        refuses(&service).line(1),
        &["/proc/none/there", "cannot be created"],
    );
    let service = Setup::new()
        .set("database.url", "mysql://root:secret@db/x")
        .prepare();
    let ended = refuses(&service);
    assert_names(ended.line(2), &["database.url", "sqlite:<file>"]);
    assert!(!ended.said.contains("secret"), "{}", ended.said);
    let service = Setup::new()
        .set("database.url", "postgres://orch:secret@127.0.0.1:1/orch")
        .prepare();
    let ended = refuses(&service);
    assert_names(
        ended.line(1),
        &["postgres://orch@127.0.0.1:1/orch", "cannot be reached"],
    );
    assert!(!ended.said.contains("secret"), "{}", ended.said);
}
