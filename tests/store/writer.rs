//! Commands: what is answered is durable, and one that fails, panics or comes too many harms no other.

use std::sync::mpsc;

use diesel::connection::SimpleConnection as _;
use orch::store::{Conn, Retry, Store, StoreError, flags};

use super::support::*;

fn run(conn: &mut Conn, sql: &str) -> Result<(), StoreError> {
    match conn {
        Conn::Sqlite(c) => c.batch_execute(sql)?,
        Conn::Pg(c) => c.batch_execute(sql)?,
    }
    Ok(())
}

fn flag(bed: &Bed, key: &'static str) -> Option<String> {
    bed.store.read_blocking(|c| flags::get(c, key)).unwrap()
}

on_both! {
    fn a_command_that_fails_leaves_nothing_and_harms_no_other(bed) {
        let failed = bed.store.write_blocking(|c| {
            flags::set(c, "a", "half")?;
            Err::<(), _>(StoreError::Saturated)
        });
        assert_eq!(failed, Err(StoreError::Saturated));
        bed.write(|c| flags::set(c, "b", "whole"));
        assert_eq!((flag(bed, "a"), flag(bed, "b").as_deref()), (None, Some("whole")));
    }

    fn a_command_that_panics_is_an_error_and_the_store_lives_on(bed) {
        for _ in 0..20 {
            let panicked: Result<(), StoreError> = bed.store.write_blocking(|c| {
                flags::set(c, "a", "half")?;
                panic!("planned")
            });
            assert_eq!(panicked, Err(StoreError::Panicked { what: "planned".to_owned() }));
        }
        bed.write(|c| flags::set(c, "b", "whole"));
        assert_eq!((flag(bed, "a"), flag(bed, "b").as_deref()), (None, Some("whole")));
        let panicked: Result<(), StoreError> = bed.store.read_blocking(|_| panic!("planned"));
        assert!(matches!(panicked, Err(StoreError::Panicked { .. })));
        assert_eq!(flag(bed, "b").as_deref(), Some("whole"));
    }

    fn a_statement_that_is_refused_is_an_error_of_its_command_alone(bed) {
        let task = bed.task("T-1");
        let mut twin = new_task(task.project_id, "T-1");
        twin.external_id = "else".to_owned();
        let refused = bed.store.write_blocking(move |c| {
            flags::set(c, "a", "half")?;
            orch::store::tasks::insert(c, &twin, NOW)
        });
        assert!(matches!(refused, Err(StoreError::Constraint { .. })), "{refused:?}");
        assert_eq!(flag(bed, "a"), None);
    }

    fn async_callers_get_their_own_answers(bed) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let writes = (0..50).map(|n| {
                let store = bed.store.clone();
                async move {
                    let key = format!("k{n}");
                    let value = n.to_string();
                    store.write(move |c| flags::set(c, &key, &value)).await
                }
            });
            for written in futures_util::future::join_all(writes).await {
                written.unwrap();
            }
            let seen = bed.store.read(|c| flags::get(c, "k49")).await;
            assert_eq!(seen, Ok(Some("49".to_owned())));
        });
    }

    fn everything_that_was_answered_is_there_after_a_restart(bed) {
        bed.write(|c| flags::set(c, "a", "kept"));
        bed.store.close_blocking();
        let again = Store::open(&bed.url).unwrap();
        assert_eq!(again.read_blocking(|c| flags::get(c, "a")), Ok(Some("kept".to_owned())));
        again.write_blocking(|c| flags::set(c, "b", "new")).unwrap();
    }
}

/// Lets the writer wait inside a command until the sender is dropped.
type Holder = std::thread::JoinHandle<Result<(), StoreError>>;

fn hold(store: &Store) -> (mpsc::Sender<()>, Holder) {
    hold_as(store, "holder".to_owned())
}

fn hold_as(store: &Store, key: String) -> (mpsc::Sender<()>, Holder) {
    let (let_go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let store = store.clone();
    let thread = std::thread::spawn(move || {
        store.write_blocking(move |c| {
            flags::set(c, &key, "here")?;
            begun.send(()).unwrap();
            let _ = wait.recv();
            Ok(())
        })
    });
    has_begun.recv().unwrap();
    (let_go, thread)
}

/// The writer is held, so all that is sent meanwhile shares its transaction.
fn in_one_transaction(
    bed: &Bed,
    commands: Vec<&'static str>,
) -> (Result<(), StoreError>, Vec<Result<(), StoreError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (let_go, holder) = hold(&bed.store);
    let answers = runtime.block_on(async {
        let waiting: Vec<_> = commands
            .into_iter()
            .map(|sql| {
                let store = bed.store.clone();
                tokio::spawn(async move { store.try_write(move |c| run(c, sql)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(let_go);
        let mut answers = Vec::new();
        for waiting in waiting {
            answers.push(waiting.await.unwrap());
        }
        answers
    });
    (holder.join().unwrap(), answers)
}

#[test]
fn in_a_shared_transaction_only_the_failing_command_is_rolled_back() {
    let bed = Bed::sqlite();
    let (holder, answers) = in_one_transaction(
        &bed,
        vec![
            "INSERT INTO settings_state VALUES ('a', '1')",
            "INSERT INTO settings_state VALUES ('b', '1'); INSERT INTO nowhere VALUES (1)",
            "INSERT INTO settings_state VALUES ('c', '1')",
        ],
    );
    assert_eq!(holder, Ok(()));
    assert!(
        answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(),
        "{answers:?}"
    );
    assert_eq!(flag(&bed, "b"), None);
    assert!(flag(&bed, "a").is_some() && flag(&bed, "c").is_some());
}

#[test]
fn a_commit_that_fails_is_an_error_for_all_and_the_writer_lives_on() {
    let bed = Bed::sqlite();
    let (holder, answers) = in_one_transaction(
        &bed,
        vec![
            "INSERT INTO settings_state VALUES ('a', '1')",
            "PRAGMA defer_foreign_keys = ON; INSERT INTO task_dependencies VALUES (998, 999)",
        ],
    );
    for answer in answers.iter().chain([&holder]) {
        assert!(
            matches!(answer, Err(StoreError::NotCommitted { .. })),
            "{answer:?}"
        );
        assert_ne!(answer.as_ref().unwrap_err().retry(), Retry::Never);
    }
    assert_eq!((flag(&bed, "a"), flag(&bed, "holder")), (None, None));
    bed.write(|c| flags::set(c, "b", "whole"));
    assert_eq!(flag(&bed, "b").as_deref(), Some("whole"));
}

#[test]
fn a_command_that_ends_the_shared_transaction_takes_nobody_s_answer_with_it() {
    let bed = Bed::sqlite();
    let (holder, answers) = in_one_transaction(
        &bed,
        vec!["ROLLBACK", "INSERT INTO settings_state VALUES ('a', '1')"],
    );
    assert!(
        matches!(holder, Err(StoreError::NotCommitted { .. })),
        "{holder:?}"
    );
    assert!(answers[0].is_err());
    assert_eq!(answers[1], Ok(()));
    assert_eq!(
        (flag(&bed, "a").as_deref(), flag(&bed, "holder")),
        (Some("1"), None)
    );
}

#[test]
fn a_full_disk_is_said_and_passes_when_there_is_room_again() {
    let bed = Bed::sqlite();
    bed.write(|c| run(c, "PRAGMA max_page_count = 1"));
    let big = "x".repeat(1 << 20);
    let value = big.clone();
    let full = bed.store.write_blocking(move |c| flags::set(c, "big", &value));
    assert!(matches!(full, Err(StoreError::DiskFull { .. })), "{full:?}");
    assert!(full.unwrap_err().to_string().contains("the disk is full"));
    bed.write(|c| run(c, "PRAGMA max_page_count = 1000000"));
    bed.write(move |c| flags::set(c, "big", &big));
    assert!(flag(&bed, "big").is_some());
}

#[test]
fn too_many_waiting_writes_are_refused_and_none_of_the_accepted_is_lost_on_sqlite() {
    let bed = Bed::sqlite();
    let held = vec![hold(&bed.store)];
    too_many_waiting(&bed, held, (1024, 76));
}

#[test]
fn too_many_waiting_writes_are_refused_and_none_of_the_accepted_is_lost_on_postgresql() {
    let Some(bed) = Bed::postgres() else { return };
    // Every connection is at work.
    let held = (0..8)
        .map(|n| hold_as(&bed.store, format!("holder {n}")))
        .collect();
    too_many_waiting(&bed, held, (64, 36));
}

fn too_many_waiting(bed: &Bed, held: Vec<(mpsc::Sender<()>, Holder)>, expected: (usize, usize)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let mut writes: Vec<_> = (0..expected.0 + expected.1)
        .map(|n| {
            let key = format!("k{n}");
            let store = bed.store.clone();
            Box::pin(async move { store.try_write(move |c| flags::set(c, &key, "1")).await })
        })
        .collect();
    let mut ask = std::task::Context::from_waker(std::task::Waker::noop());
    let total = writes.len();
    let mut refused = 0;
    writes.retain_mut(|write| match write.as_mut().poll(&mut ask) {
        std::task::Poll::Pending => true,
        std::task::Poll::Ready(answer) => {
            assert_eq!(answer, Err(StoreError::Saturated));
            refused += 1;
            false
        }
    });
    let kept = total - refused;
    let (let_go, holders): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    drop(let_go);
    for answer in runtime.block_on(futures_util::future::join_all(writes)) {
        answer.unwrap();
    }
    assert_eq!((kept, refused), expected);
    for holder in holders {
        holder.join().unwrap().unwrap();
    }
    assert_ne!(StoreError::Saturated.retry(), Retry::Never);
}

#[test]
fn a_closed_store_finishes_what_waits_and_takes_no_more() {
    let bed = Bed::sqlite();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (let_go, holder) = hold(&bed.store);
    runtime.block_on(async {
        let store = bed.store.clone();
        let waiting = tokio::spawn(async move { store.write(|c| flags::set(c, "a", "1")).await });
        tokio::task::yield_now().await;
        let store = bed.store.clone();
        let closing = tokio::spawn(async move { store.close().await });
        tokio::task::yield_now().await;
        drop(let_go);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        closing.await.unwrap();
        let late = bed.store.write(|c| flags::set(c, "b", "1")).await;
        assert_eq!(late, Err(StoreError::Closed));
    });
    holder.join().unwrap().unwrap();
    let log = format!("{}-wal", bed.url);
    let left = std::fs::metadata(log).map_or(0, |m| m.len());
    assert_eq!(left, 0, "the log was not checkpointed");
}

#[test]
fn a_reader_cannot_write() {
    let bed = Bed::sqlite();
    let refused = bed.store.read_blocking(|c| flags::set(c, "a", "1"));
    assert!(
        matches!(refused, Err(StoreError::NotWritable { .. })),
        "{refused:?}"
    );
}
