//! Runs: written by the current claim and the current monitor only, and never backwards.

use orch::domain::id::{ClaimEpoch, MonitorEpoch, Sha, Visit};
use orch::domain::job::{Claim, JobEnd};
use orch::domain::pipeline::Role;
use orch::domain::run::{ExitRecord, ProcessIdentity, Provenance, Run, RunStep, Usage};
use orch::store::runs::{self, Closing, KeptFilter, RunPatch};
use orch::store::{Guarded, StoreError, jobs};

use super::support::*;

fn exit(code: i32) -> ExitRecord {
    ExitRecord {
        code: Some(code),
        signal: None,
        cause: None,
        finished_at: later(60),
        peak_memory_bytes: 1,
        cpu_us: 2,
        output_bytes: 3,
        dropped_bytes: 0,
        log_error: None,
        leftover_processes: 0,
    }
}

fn step(step: RunStep) -> RunPatch {
    RunPatch {
        step: Some(step),
        ..RunPatch::default()
    }
}

fn record(bed: &Bed, run: &Run, by: (Claim, MonitorEpoch), patch: RunPatch) -> Guarded<Run> {
    let id = run.id;
    bed.write(move |c| runs::record(c, id, by, &patch, later(70)))
}

on_both! {
    fn a_claim_has_one_run_and_a_lost_claim_gets_none(bed) {
        let (_, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        assert_eq!(bed.run(&job).id, run.id);
        assert_eq!((run.step, run.monitor_epoch), (RunStep::Claimed, MonitorEpoch(1)));
        let mut stale = new_run(&job);
        stale.claim.epoch = ClaimEpoch(0);
        assert_eq!(bed.write(move |c| runs::create(c, &stale, NOW)), Guarded::Lost);
        let claim = claim_of(&job);
        assert_eq!(bed.write(move |c| runs::of_claim(c, claim)).unwrap().id, run.id);
        won(bed.write(move |c| jobs::end(c, claim, &JobEnd::Done, NOW)));
        let late = new_run(&job);
        assert_eq!(bed.write(move |c| runs::create(c, &late, NOW)), Guarded::Lost);
    }

    fn what_is_recorded_is_what_is_read(bed) {
        let (_, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        let patch = RunPatch {
            step: Some(RunStep::Exited),
            start_sha: Some(Sha::trusted("a".repeat(40))),
            shim: Some(ProcessIdentity {
                boot_id: "boot".to_owned(),
                pid_namespace: 4_026_531_836,
                pid: 42,
                start_time: 7,
            }),
            exit: Some(exit(0)),
            usage: Some(Usage {
                tokens_in: 10,
                tokens_out: 5,
                tokens_cached: 4,
                cost_micro_usd: None,
                provenance: Provenance::Unpriced,
            }),
            ..RunPatch::default()
        };
        let by = (claim_of(&job), run.monitor_epoch);
        let after = won(record(bed, &run, by, patch.clone()));
        assert_eq!((&after.start_sha, &after.shim, &after.exit), (&patch.start_sha, &patch.shim, &patch.exit));
        assert_eq!((after.step, after.usage), (RunStep::Exited, patch.usage));
        let same = won(record(bed, &run, by, RunPatch::default()));
        assert_eq!(same, after, "an empty patch changes nothing");
    }

    fn a_step_never_goes_back(bed) {
        let (_, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        let by = (claim_of(&job), run.monitor_epoch);
        won(record(bed, &run, by, step(RunStep::Pushed)));
        assert_eq!(record(bed, &run, by, step(RunStep::Committed)), Guarded::Lost);
        won(record(bed, &run, by, step(RunStep::Pushed)));
        won(record(bed, &run, by, step(RunStep::Finalised)));
        assert_eq!(record(bed, &run, by, step(RunStep::Finalised)), Guarded::Lost);
        assert_eq!(record(bed, &run, by, RunPatch::default()), Guarded::Lost);
    }

    fn a_thawed_monitor_can_write_nothing_after_it_was_taken_over(bed) {
        let (_, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        let (id, old) = (run.id, run.monitor_epoch);
        let new = won(bed.write(move |c| runs::take_over(c, id, old)));
        assert_eq!(new, MonitorEpoch(2));
        assert_eq!(bed.write(move |c| runs::take_over(c, id, old)), Guarded::Lost);
        assert_eq!(record(bed, &run, (claim_of(&job), old), step(RunStep::Exited)), Guarded::Lost);
        won(record(bed, &run, (claim_of(&job), new), step(RunStep::Exited)));
    }

    fn a_superseded_run_can_write_nothing(bed) {
        let (_, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        let snooze = JobEnd::Snooze { reason: "node lost".to_owned(), available_at: NOW };
        won(bed.write(move |c| jobs::end(c, claim_of(&job), &snooze, NOW)));
        let again = bed.claim(request()).remove(0);
        let old = (Claim { job: again.id, epoch: ClaimEpoch(1) }, run.monitor_epoch);
        assert_eq!(record(bed, &run, old, step(RunStep::Exited)), Guarded::Lost);
        let borrowed = (claim_of(&again), run.monitor_epoch);
        assert_eq!(record(bed, &run, borrowed, step(RunStep::Exited)), Guarded::Lost);
    }

    fn a_run_is_closed_once_and_leaves_the_open_ones(bed) {
        let (_, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        let id = run.id;
        assert_eq!(bed.write(runs::open).rows, [run]);
        let closed = won(bed.write(move |c| runs::close(c, id, Closing::Abandoned, Some("killed"), later(5))));
        assert_eq!((closed.step, closed.error.as_deref()), (RunStep::Abandoned, Some("killed")));
        assert_eq!(closed.finished_at, Some(later(5)));
        assert_eq!(bed.write(move |c| runs::close(c, id, Closing::Finalised, None, NOW)), Guarded::Lost);
        assert_eq!(bed.write(runs::open).rows, []);
    }

    fn the_latest_success_of_a_visit_passes_over_failures(bed) {
        let (task, job) = bed.claimed("T-1");
        let run = bed.run(&job);
        let by = (claim_of(&job), run.monitor_epoch);
        let find = move |role| bed.write(move |c| runs::latest_success_of_visit(c, task.id, Visit(1), role));
        let exited = |code| RunPatch { exit: Some(exit(code)), ..step(RunStep::Exited) };
        won(record(bed, &run, by, exited(1)));
        assert_eq!(find(Role::Developer), None);
        won(record(bed, &run, by, exited(0)));
        assert_eq!(find(Role::Developer).unwrap().id, run.id);
        assert_eq!(find(Role::Tester), None);
    }

    fn runs_whose_work_is_kept_are_listed_newest_first_and_page_by_page(bed) {
        let mut ids = Vec::new();
        for name in ["T-1", "T-2", "T-3"] {
            let (task, job) = bed.claimed(name);
            let run = bed.run(&job);
            ids.push((task.id, run.id));
        }
        let kept = |task, before, limit| {
            let filter = KeptFilter { task, before, limit };
            let listed = bed.write(move |c| runs::kept(c, filter));
            listed.rows.iter().map(|run| run.id).collect::<Vec<_>>()
        };
        assert_eq!(kept(None, None, 9), []);
        for (_, id) in [ids[0], ids[2]] {
            won(bed.write(move |c| runs::keep(c, id, "refs/orch/wip/T/1")));
        }
        assert_eq!(kept(None, None, 9), [ids[2].1, ids[0].1]);
        assert_eq!(kept(None, None, 1), [ids[2].1]);
        assert_eq!(kept(None, Some(ids[2].1), 9), [ids[0].1]);
        assert_eq!(kept(Some(ids[0].0), None, 9), [ids[0].1]);
        assert_eq!(kept(Some(ids[1].0), None, 9), []);
    }

    fn a_run_that_cannot_be_read_names_itself(bed) {
        let (_, job) = bed.claimed("T-1");
        let id = bed.run(&job).id;
        bed.sql("UPDATE runs SET shim = '{}'");
        let error = bed.store.write_blocking(move |c| runs::by_id(c, id)).unwrap_err();
        assert!(matches!(error, StoreError::Broken { table: "run", .. }), "{error}");
        assert_eq!(bed.write(runs::open).broken.len(), 1);
    }
}
