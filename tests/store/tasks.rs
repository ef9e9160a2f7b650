//! Tasks: made once, changed in one place, listed past what is broken.

use orch::domain::id::{StageName, TaskId, TaskVersion, WorkItemId};
use orch::domain::task::{TaskStatus, TrackerKind};
use orch::store::tasks::{self, AddDependency, Forgotten, Inserted, TaskChange, TaskFilter};
use orch::store::{Guarded, StoreError, projects};

use super::support::*;

on_both! {
    fn a_task_is_made_once_per_tracker_and_external_id(bed) {
        let first = bed.task("T-1");
        let again = new_task(first.project_id, "T-1");
        assert_eq!(bed.write(move |c| tasks::insert(c, &again, later(5))), Inserted::Existing(first.clone()));
        let mut other = new_task(first.project_id, "T-1");
        other.tracker = TrackerKind::Plane;
        let error = bed.store.write_blocking(move |c| tasks::insert(c, &other, NOW));
        assert!(matches!(error, Err(StoreError::Constraint { .. })), "{error:?}");
        let name = WorkItemId::trusted("T-1");
        assert_eq!(bed.write(move |c| tasks::by_name(c, &name)), [first]);
    }

    fn eight_threads_that_make_the_same_task_make_one(bed) {
        let project = bed.project("shop");
        let made: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let new = new_task(project, "T-1");
                        let found = bed.write(move |c| tasks::insert(c, &new, NOW));
                        usize::from(matches!(found, Inserted::New(_)))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(made, 1);
    }

    fn a_change_wins_only_against_the_version_it_saw(bed) {
        let task = bed.task("T-1");
        let change = TaskChange {
            enter: Some(StageName::trusted("review")),
            reason: Some(Some("because".to_owned())),
            ..TaskChange::default()
        };
        let (id, seen) = (task.id, task.version);
        let change2 = change.clone();
        let after = won(bed.write(move |c| tasks::compare_and_set(c, id, seen, &change, later(9))));
        assert_eq!(after.stage.as_str(), "review");
        assert_eq!((after.version, after.visit.0), (TaskVersion(seen.0 + 1), 2));
        assert_eq!((after.stage_entered_at, after.updated_at), (later(9), later(9)));
        assert_eq!(after.reason.as_deref(), Some("because"));
        assert_eq!(bed.write(move |c| tasks::compare_and_set(c, id, seen, &change2, later(9))), Guarded::Lost);
        assert_eq!(bed.write(move |c| tasks::by_id(c, id)), Some(after));
    }

    fn a_change_of_status_alone_enters_no_stage(bed) {
        let task = bed.task("T-1");
        let change = TaskChange {
            status: Some(TaskStatus::Blocked),
            ..TaskChange::default()
        };
        let (id, seen) = (task.id, task.version);
        let after = won(bed.write(move |c| tasks::compare_and_set(c, id, seen, &change, later(9))));
        assert_eq!((after.visit, after.stage_entered_at), (task.visit, task.stage_entered_at));
        assert_eq!((after.status, after.finished_at), (TaskStatus::Blocked, None));
    }

    fn a_task_that_is_over_never_changes_again(bed) {
        let task = bed.task("T-1");
        let (id, seen) = (task.id, task.version);
        let done = TaskChange { status: Some(TaskStatus::Done), ..TaskChange::default() };
        let after = won(bed.write(move |c| tasks::compare_and_set(c, id, seen, &done, later(9))));
        assert_eq!(after.finished_at, Some(later(9)));
        let back = TaskChange { status: Some(TaskStatus::Active), ..TaskChange::default() };
        let version = after.version;
        assert_eq!(bed.write(move |c| tasks::compare_and_set(c, id, version, &back, later(9))), Guarded::Lost);
    }

    fn of_eight_threads_that_change_the_same_version_one_wins(bed) {
        let task = bed.task("T-1");
        let wins: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (id, seen) = (task.id, task.version);
                    scope.spawn(move || {
                        let change = TaskChange::default();
                        let won = bed.write(move |c| tasks::compare_and_set(c, id, seen, &change, NOW)).is_won();
                        usize::from(won)
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    }

    fn dependencies_stay_in_a_project_and_make_no_circle(bed) {
        let (a, b, d) = (bed.task("T-1").id, bed.task("T-2").id, bed.task("T-3").id);
        let elsewhere = new_task(bed.project("other"), "O-1");
        let Inserted::New(elsewhere) = bed.write(move |c| tasks::insert(c, &elsewhere, NOW)) else {
            panic!("it was there already")
        };
        let add = |from: TaskId, on: TaskId| bed.write(move |c| tasks::add_dependency(c, from, on));
        assert_eq!(add(b, a), AddDependency::Added);
        assert_eq!(add(b, a), AddDependency::Added);
        assert_eq!(add(d, b), AddDependency::Added);
        assert_eq!(add(a, d), AddDependency::Circle);
        assert_eq!(add(a, a), AddDependency::Circle);
        assert_eq!(add(a, elsewhere.id), AddDependency::OtherProject);
        assert_eq!(add(a, TaskId(999)), AddDependency::OtherProject);
        let of: Vec<TaskId> = bed.write(move |c| tasks::dependencies(c, d)).iter().map(|t| t.id).collect();
        assert_eq!(of, [b]);
    }

    fn a_list_moves_in_pages_past_a_row_that_cannot_be_read(bed) {
        for n in 1..=4 {
            bed.task(&format!("T-{n}"));
        }
        bed.sql("UPDATE tasks SET modifies = 'no json' WHERE work_item_id = 'T-2'");
        bed.sql("UPDATE tasks SET status = 'done' WHERE work_item_id = 'T-3'");
        let filter = TaskFilter { open_only: true, project: None, before: None, limit: 2 };
        let page = bed.write(move |c| tasks::list(c, filter));
        assert_eq!(page.rows.len(), 1);
        let (id, why) = &page.broken[0];
        assert!(why.contains(&format!("task {id}")) && why.contains("modifies"), "{why}");
        let filter = TaskFilter { before: Some(TaskId(*id)), ..filter };
        let page = bed.write(move |c| tasks::list(c, filter));
        assert_eq!(page.rows[0].work_item_id.as_str(), "T-1");
    }

    fn reconcile_candidates_are_open_old_and_without_a_live_job(bed) {
        let names = ["T-1", "T-2", "T-3", "T-4", "T-5"];
        let made: Vec<_> = names.iter().map(|n| bed.task(n)).collect();
        bed.job(&made[1]);
        bed.sql("UPDATE tasks SET status = 'blocked' WHERE work_item_id = 'T-3'");
        bed.sql("UPDATE tasks SET status = 'waiting_human' WHERE work_item_id = 'T-4'");
        let mut seen = Vec::new();
        let mut which = Forgotten {
            entered_before: later(1),
            parked: false,
            after: (orch::domain::time::Timestamp(0), TaskId(0)),
            limit: 1,
        };
        let start = which;
        // A row that cannot be read is passed like any other.
        bed.sql("UPDATE tasks SET modifies = 'no json' WHERE work_item_id = 'T-4'");
        loop {
            let page = bed.write(move |c| tasks::reconcile_candidates(c, which));
            let Some(last) = page.last else { break };
            which.after = last;
            seen.extend(page.tasks.rows.iter().map(|t| t.work_item_id.to_string()));
            seen.extend(page.tasks.broken.iter().map(|_| "broken".to_owned()));
        }
        assert_eq!(seen, ["T-1", "broken", "T-5"]);
        let parked = bed.write(move |c| tasks::reconcile_candidates(c, Forgotten { parked: true, limit: 9, ..start }));
        let parked: Vec<_> = parked.tasks.rows.iter().map(|t| t.work_item_id.as_str()).collect();
        assert_eq!(parked, ["T-1", "T-3", "T-5"]);
        let young = bed.write(move |c| tasks::reconcile_candidates(c, Forgotten { entered_before: NOW, ..start }));
        assert_eq!((young.tasks.rows, young.last), (vec![], None));
    }

    fn each_number_of_a_project_is_given_once(bed) {
        let project = bed.project("shop");
        let mut taken: Vec<i64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| bed.write(move |c| projects::take_number(c, project))))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (1..=8).collect::<Vec<_>>());
        assert_eq!(bed.project("shop"), project);
        assert_eq!(bed.write(projects::all).len(), 1);
    }
}
