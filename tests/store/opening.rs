//! Opening: each refusal is one line that names the file and says what to do, and leaves the file as it was.

use std::fs;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use orch::store::{Store, StoreError, flags};

use super::support::*;

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn sqlite(file: &str, sql: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(file).unwrap();
    conn.batch_execute(sql).unwrap();
    conn
}

/// One line, with the file's name in it.
fn refused(url: &str) -> StoreError {
    let error = Store::open(url).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n') && text.contains("orch.db"), "{text}");
    error
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| !n.ends_with(".lock"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_missing_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", path(&folder, "a/b/orch.db"));
    let store = Store::open(&url).unwrap();
    store.write_blocking(|c| flags::set(c, "a", "1")).unwrap();
    assert!(folder.path().join("a/b/orch.db").exists());
}

#[test]
fn a_second_service_on_the_same_file_is_refused_until_the_first_has_ended() {
    let bed = Bed::sqlite();
    let error = refused(&bed.url);
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id()))
    );
    assert_eq!(Store::pending(&bed.url), Ok(Vec::new()), "looking is allowed");
    let Bed { store, url, place } = bed;
    drop(store);
    Store::open(&url).unwrap();
    drop(place);
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    Store::open(&url).unwrap().close_blocking();
    drop(sqlite(
        &url,
        "PRAGMA journal_mode = DELETE; \
         INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')",
    ));
    let before = fs::read(&url).unwrap();
    let error = refused(&url);
    assert!(
        matches!(&error, StoreError::Newer { version, .. } if version == "20990101000000"),
        "{error}"
    );
    assert_eq!(Store::pending(&url), Err(error));
    assert_eq!(fs::read(&url).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    let notes = "These are my notes, not a database. ".repeat(40);
    fs::write(&url, &notes).unwrap();
    assert!(matches!(refused(&url), StoreError::NotADatabase { .. }));
    assert!(matches!(
        Store::pending(&url),
        Err(StoreError::NotADatabase { .. })
    ));
    assert_eq!(fs::read_to_string(&url).unwrap(), notes);
    assert_eq!(names_in(folder.path()), ["orch.db"]);
}

#[test]
fn a_damaged_database_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    let mut damaged = b"SQLite format 3\0".to_vec();
    damaged.extend([0xff; 4096]);
    fs::write(&url, &damaged).unwrap();
    assert!(matches!(refused(&url), StoreError::NotADatabase { .. }));
}

#[test]
fn another_program_s_database_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    drop(sqlite(&url, "CREATE TABLE songs (title TEXT)"));
    let before = fs::read(&url).unwrap();
    assert!(matches!(refused(&url), StoreError::Foreign { .. }));
    assert_eq!(fs::read(&url).unwrap(), before);
}

#[test]
fn a_file_that_another_program_keeps_locked_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    let holder = sqlite(&url, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    assert!(matches!(refused(&url), StoreError::Locked { .. }));
    drop(holder);
    Store::open(&url).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_said_to_be() {
    // The kernel lets nobody make files there, root included.
    let error = Store::open("/proc/self/orch.db").unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().starts_with("/proc/self/orch.db"), "{error}");
    let error = Store::open("/proc/self/folder/orch.db").unwrap_err();
    assert!(matches!(error, StoreError::Folder { .. }), "{error}");
}

#[test]
fn a_folder_in_the_file_s_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    fs::create_dir(&url).unwrap();
    let error = refused(&url);
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
}

#[test]
fn a_file_that_may_only_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    Store::open(&url).unwrap().close_blocking();
    let mut rights = fs::metadata(&url).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(&url, rights).unwrap();
    if fs::OpenOptions::new().write(true).open(&url).is_ok() {
        println!("not run: for this user rights do not count");
        return;
    }
    assert!(matches!(refused(&url), StoreError::NotWritable { .. }));
}

#[test]
fn what_is_pending_is_named_and_a_migration_brings_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = path(&folder, "orch.db");
    let pending = Store::pending(&url).unwrap();
    assert!(pending[0].contains("initial"), "{pending:?}");
    assert_eq!(
        names_in(folder.path()),
        Vec::<String>::new(),
        "looking makes nothing"
    );
    assert_eq!(Store::migrate(&url), Ok(pending));
    assert_eq!(Store::pending(&url), Ok(Vec::new()));
    assert_eq!(Store::migrate(&url), Ok(Vec::new()));
}

#[test]
fn a_server_that_does_not_answer_is_named_without_its_password() {
    let error = Store::open("postgres://orch:s3cret@127.0.0.1:1/orch").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{text}");
    assert!(
        text.starts_with("postgres://orch@127.0.0.1:1/orch") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn several_services_may_start_on_one_postgres_at_once() {
    let Some(bed) = Bed::postgres() else { return };
    bed.sql("DROP SCHEMA public CASCADE");
    bed.sql("CREATE SCHEMA public");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Store::open(&bed.url).unwrap());
        }
    });
    assert_eq!(Store::pending(&bed.url), Ok(Vec::new()));
}
