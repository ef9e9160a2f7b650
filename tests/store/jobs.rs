//! Jobs: one live per task, ended by their claim alone, and what operators do to them.

use orch::domain::id::{ClaimEpoch, InstanceId, JobId, NodeName, StageName};
use orch::domain::job::{Claim, JobEnd, JobStatus};
use orch::store::jobs::{self, Enqueued, Retried};
use orch::store::tasks::{self, TaskChange};
use orch::store::{Conn, Guarded, Listing, instances};

use super::support::*;

on_both! {
    fn a_task_has_one_live_job(bed) {
        let task = bed.task("T-1");
        let job = bed.job(&task);
        let new = new_job(&task);
        let again = new.clone();
        assert_eq!(bed.write(move |c| jobs::enqueue(c, &new, NOW)), Enqueued::AlreadyLive(job.clone()));
        let claimed = bed.claim(request()).remove(0);
        let end = claim_of(&claimed);
        won(bed.write(move |c| jobs::end(c, end, &JobEnd::Done, NOW)));
        assert!(matches!(bed.write(move |c| jobs::enqueue(c, &again, NOW)), Enqueued::New(_)));
        let of: Listing<_> = bed.write(move |c| jobs::of_task(c, task.id));
        assert_eq!(of.rows.len(), 2);
    }

    fn of_eight_threads_that_enqueue_for_one_task_one_does(bed) {
        let task = bed.task("T-1");
        let made: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let new = new_job(&task);
                    scope.spawn(move || {
                        let found = bed.write(move |c| jobs::enqueue(c, &new, NOW));
                        usize::from(matches!(found, Enqueued::New(_)))
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(made, 1);
    }

    fn the_jobs_of_a_silent_instance_are_listed_until_another_boot_of_its_node_adopts_them(bed) {
        let process = orch::process::own_identity().unwrap();
        let (node, other) = (NodeName::trusted("local"), NodeName::trusted("other"));
        for (id, node) in [("boot-1", &node), ("boot-2", &node), ("boot-3", &other)] {
            let (id, node, process) = (InstanceId::trusted(id), node.clone(), process.clone());
            bed.write(move |c| instances::start(c, &id, &node, &process, NOW));
        }
        let (_, job) = bed.claimed("T-1");
        assert_eq!(job.instance, Some(InstanceId::trusted("boot-1")));
        let claim = claim_of(&job);
        let silent = |before| {
            let found = bed.write(move |c| jobs::of_silent(c, before, JobId(0), 9)).rows;
            found.iter().map(|j| j.id).collect::<Vec<_>>()
        };
        assert_eq!((silent(NOW), silent(later(1))), (vec![], vec![job.id]));
        let lost = InstanceId::trusted("boot-1");
        let id = lost.clone();
        assert_eq!(bed.write(move |c| instances::heard(c, &id)), Some(NOW));
        let id = lost.clone();
        assert!(bed.write(move |c| jobs::is_of(c, claim, Some(&id))));
        let late = Claim { epoch: ClaimEpoch(claim.epoch.0 - 1), ..claim };
        let id = lost.clone();
        assert!(!bed.write(move |c| jobs::is_of(c, late, Some(&id))));
        assert!(!bed.write(move |c| jobs::is_of(c, claim, None)));

        let (id, elsewhere) = (InstanceId::trusted("boot-3"), other);
        assert_eq!(bed.write(move |c| jobs::adopt(c, &elsewhere, &id)), 0);
        let id = InstanceId::trusted("boot-2");
        let (now, at) = (id.clone(), node.clone());
        assert_eq!(bed.write(move |c| jobs::adopt(c, &at, &now)), 1);
        assert_eq!(bed.write(move |c| jobs::adopt(c, &node, &id)), 0);
        assert!(!bed.write(move |c| jobs::is_of(c, claim, Some(&lost))), "nobody takes it from the boot that is gone");
        let id = InstanceId::trusted("boot-2");
        won(bed.write(move |c| instances::heartbeat(c, &id, later(5))));
        assert_eq!((silent(later(5)), silent(later(6))), (vec![], vec![job.id]));
        let id = InstanceId::trusted("boot-2");
        assert_eq!(bed.write(move |c| instances::heard(c, &id)), Some(later(5)));
    }

    fn a_running_job_of_an_instance_that_nobody_knows_is_silent_since_its_claim(bed) {
        let (_, job) = bed.claimed("T-1");
        let silent = |before| {
            let found = bed.write(move |c| jobs::of_silent(c, before, JobId(0), 9)).rows;
            found.iter().map(|j| j.id).collect::<Vec<_>>()
        };
        for broken in [
            "UPDATE jobs SET instance = 'nobody'",
            "UPDATE jobs SET instance = NULL",
            "UPDATE jobs SET node = NULL",
        ] {
            bed.sql(broken);
            assert_eq!((silent(NOW), silent(later(1))), (vec![], vec![job.id]), "{broken}");
        }
        assert!(bed.write(move |c| jobs::is_of(c, claim_of(&job), None)));
        bed.sql("UPDATE jobs SET claimed_at = NULL");
        assert_eq!(silent(NOW).len(), 1);
        assert_eq!(bed.write(|c| instances::heard(c, &InstanceId::trusted("nobody"))), None);

        let (node, id) = (NodeName::trusted("here"), InstanceId::trusted("boot-9"));
        let adopt = move |c: &mut Conn| jobs::adopt_all(c, &node, &id);
        assert_eq!(bed.write(adopt.clone()), 1);
        assert_eq!(bed.write(adopt), 0);
        let job = bed.write(|c| jobs::running(c, None, 9)).rows.remove(0);
        assert_eq!((job.node.unwrap().as_str(), job.instance.unwrap().as_str()), ("here", "boot-9"));
    }

    fn a_job_that_cannot_be_read_is_known_by_its_claim_and_can_be_ended(bed) {
        let (task, job) = bed.claimed("T-1");
        let read = jobs::Bare::of(&job);
        let id = job.id;
        assert_eq!(bed.write(move |c| jobs::bare(c, id, JobStatus::Running)), Some(read.clone()));
        bed.sql("UPDATE jobs SET role = 'juggler'");
        let broken = bed.write(|c| jobs::running(c, None, 9)).broken;
        assert!(broken[0].1.contains("role: unknown word \"juggler\""), "{broken:?}");
        let bare = bed.write(move |c| jobs::bare(c, id, JobStatus::Running)).unwrap();
        assert_eq!(bare, jobs::Bare { agent: "juggler".to_owned(), ..read });
        let claim = bare.claim;
        let close = move |claim: Claim| {
            bed.write(move |c| jobs::close(c, claim, &JobEnd::Failed("why".to_owned()), later(7)))
        };
        assert_eq!(close(Claim { epoch: ClaimEpoch(claim.epoch.0 - 1), ..claim }), Guarded::Lost);
        won(close(claim));
        assert_eq!(close(claim), Guarded::Lost);
        assert_eq!(bed.write(move |c| jobs::bare(c, id, JobStatus::Running)), None);
        let (one, none) = (task.id, orch::domain::id::TaskId(4711));
        let ends = bed.write(move |c| jobs::last_ends(c, &[one, none]));
        assert_eq!(ends.into_iter().collect::<Vec<_>>(), [(one, later(7))]);
    }

    fn an_end_wins_only_under_the_current_claim_of_a_running_job(bed) {
        let (_, job) = bed.claimed("T-1");
        let claim = claim_of(&job);
        let end = move |claim: Claim| bed.write(move |c| jobs::end(c, claim, &JobEnd::Done, later(7)));
        assert_eq!(end(Claim { epoch: ClaimEpoch(claim.epoch.0 - 1), ..claim }), Guarded::Lost);
        assert_eq!(end(Claim { job: JobId(999), ..claim }), Guarded::Lost);
        let done = won(end(claim));
        assert_eq!((done.status, done.finished_at), (JobStatus::Done, Some(later(7))));
        assert_eq!(done.node, job.node);
        assert_eq!(end(claim), Guarded::Lost);
    }

    fn a_late_claim_cannot_end_a_job_that_was_requeued_and_claimed_again(bed) {
        let (_, job) = bed.claimed("T-1");
        let old = claim_of(&job);
        let retry = JobEnd::Retry { error: "exit code 1".to_owned(), available_at: NOW, notes: None, timeout_percent: None };
        won(bed.write(move |c| jobs::end(c, old, &retry, NOW)));
        assert_eq!(bed.write(move |c| jobs::end(c, old, &JobEnd::Done, NOW)), Guarded::Lost);
        let again = bed.claim(request()).remove(0);
        assert_eq!((again.id, again.claim_epoch.0, again.attempts), (job.id, 2, 2));
        assert_eq!(bed.write(move |c| jobs::end(c, old, &JobEnd::Done, NOW)), Guarded::Lost);
        won(bed.write(move |c| jobs::end(c, claim_of(&again), &JobEnd::Done, NOW)));
    }

    fn each_way_back_into_the_queue_costs_what_it_should(bed) {
        let retry = |notes: Option<&str>| JobEnd::Retry {
            error: "exit code 1".to_owned(),
            available_at: later(30),
            notes: notes.map(str::to_owned),
            timeout_percent: notes.map(|_| 150),
        };
        let transient = JobEnd::RetryTransient { error: "429".to_owned(), available_at: later(30) };
        let snooze = JobEnd::Snooze { reason: "shutdown".to_owned(), available_at: later(30) };
        let table = [
            (retry(Some("try harder")), 1, 0, Some("try harder")),
            (retry(None), 1, 0, Some("first notes")),
            (transient, 0, 1, Some("first notes")),
            (snooze, 0, 0, Some("first notes")),
        ];
        for (n, (end, attempts, transient, notes)) in table.into_iter().enumerate() {
            let task = bed.task(&format!("T-{n}"));
            bed.job_with(&task, |j| j.notes = Some("first notes".to_owned()));
            let claimed = bed.claim(request()).remove(0);
            let job = won(bed.write(move |c| jobs::end(c, claim_of(&claimed), &end, NOW)));
            assert_eq!((job.attempts, job.transient_attempts), (attempts, transient), "{n}");
            assert_eq!(job.timeout_percent, if n == 0 { 150 } else { 100 }, "{n}");
            assert_eq!((job.status, job.available_at), (JobStatus::Queued, later(30)));
            assert_eq!((job.node, job.instance, job.claimed_at), (None, None, None));
            assert_eq!(job.notes.as_deref(), notes);
            assert!(job.error.is_some());
        }
        assert_eq!(bed.claim(request()), []);
        assert_eq!(bed.write(|c| jobs::next_available_at(c, NOW)), Some(later(30)));
    }

    fn a_cancel_answers_the_job_as_it_was_and_beats_a_later_end(bed) {
        let (task, job) = bed.claimed("T-1");
        let before = bed.write(move |c| jobs::cancel_live(c, task.id, "rejected", later(3)));
        assert_eq!(before.as_ref(), Some(&job));
        let claim = claim_of(&job);
        assert_eq!(bed.write(move |c| jobs::end(c, claim, &JobEnd::Done, NOW)), Guarded::Lost);
        assert_eq!(bed.write(move |c| jobs::cancel_live(c, task.id, "again", NOW)), None);
        assert_eq!(bed.write(move |c| jobs::cancel(c, job.id, "again", NOW)), Guarded::Lost);
        let after = bed.write(move |c| jobs::by_id(c, job.id)).unwrap();
        assert_eq!((after.status, after.error.as_deref()), (JobStatus::Cancelled, Some("rejected")));
    }

    fn a_failed_job_is_retried_as_a_fresh_one_while_its_task_is_still_there(bed) {
        let (task, job) = bed.claimed("T-1");
        let id = job.id;
        assert_eq!(bed.write(move |c| jobs::retry(c, id, NOW)), Retried::NotFailed);
        let failed = JobEnd::Failed("exit code 1".to_owned());
        won(bed.write(move |c| jobs::end(c, claim_of(&job), &failed, NOW)));
        let Retried::New(fresh) = bed.write(move |c| jobs::retry(c, id, NOW)) else {
            panic!("no fresh job")
        };
        assert_eq!((fresh.attempts, fresh.claim_epoch.0), (0, 0));
        assert!(matches!(bed.write(move |c| jobs::retry(c, id, NOW)), Retried::AlreadyLive(_)));
        let on = TaskChange { enter: Some(StageName::trusted("review")), ..TaskChange::default() };
        won(bed.write(move |c| tasks::compare_and_set(c, task.id, task.version, &on, NOW)));
        assert_eq!(bed.write(move |c| jobs::retry(c, id, NOW)), Retried::Stale);
    }

    fn priorities_and_waiting_times_change_only_while_a_job_is_queued(bed) {
        let task = bed.task("T-1");
        let job = bed.job_with(&task, |j| j.available_at = later(60));
        let id = job.id;
        assert_eq!(bed.claim(request()), []);
        assert_eq!(won(bed.write(move |c| jobs::reprioritise(c, id, 7))).priority, 7);
        assert_eq!(won(bed.write(move |c| jobs::wake(c, task.id, NOW))).available_at, NOW);
        assert_eq!(bed.write(move |c| jobs::wake(c, task.id, NOW)), Guarded::Lost);
        assert_eq!(bed.claim(request()).len(), 1);
        assert_eq!(bed.write(move |c| jobs::reprioritise(c, id, 8)), Guarded::Lost);
    }

    fn dead_looks_count_in_a_row_and_carry_the_claim(bed) {
        let (_, job) = bed.claimed("T-1");
        let claim = claim_of(&job);
        let stale = Claim { epoch: ClaimEpoch(0), ..claim };
        assert_eq!(bed.write(move |c| jobs::look_dead(c, stale)), Guarded::Lost);
        assert_eq!(bed.write(move |c| jobs::look_dead(c, claim)), Guarded::Won(1));
        assert_eq!(bed.write(move |c| jobs::look_dead(c, claim)), Guarded::Won(2));
        bed.write(move |c| jobs::clear_dead_looks(c, claim));
        assert_eq!(bed.write(move |c| jobs::look_dead(c, claim)), Guarded::Won(1));
    }

    fn counts_and_lists_say_what_there_is(bed) {
        let (_, done) = bed.claimed("T-1");
        won(bed.write(move |c| jobs::end(c, claim_of(&done), &JobEnd::Done, NOW)));
        let (_, running) = bed.claimed("T-2");
        let queued = bed.job(&bed.task("T-3"));
        let counts = bed.write(|c| jobs::counts(c, later(3600)));
        assert_eq!((counts.queued, counts.running, counts.done_24h, counts.failed_24h), (1, 1, 1, 0));
        assert_eq!(bed.write(|c| jobs::counts(c, later(25 * 3600))).done_24h, 0);
        let ids = |l: Listing<orch::domain::job::Job>| l.rows.iter().map(|j| j.id).collect::<Vec<_>>();
        assert_eq!(ids(bed.write(|c| jobs::queued(c, 9))), [queued.id]);
        assert_eq!(ids(bed.write(|c| jobs::running(c, None, 9))), [running.id]);
        let after = running.id;
        assert_eq!(ids(bed.write(move |c| jobs::running(c, Some(after), 9))), []);
        assert_eq!(ids(bed.write(|c| jobs::recent(c, 2))), [queued.id, running.id]);
    }
}
