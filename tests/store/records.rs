//! What is kept for people and for later: evidence, gestures, comments, pull requests, events, instances.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use orch::domain::gate::Verdict;
use orch::domain::id::{BranchName, CodeTree, InstanceId, NodeName, ProjectId, Sha, StageName, Visit};
use orch::domain::retry::Scope;
use orch::domain::run::ProcessIdentity;
use orch::domain::task::{Gesture, Task};
use orch::store::comments::{self, NewComment, Written};
use orch::store::events::{self, NewEvent};
use orch::store::evidence::{self, NewEvidence};
use orch::store::gestures::{self, NewGesture};
use orch::store::healing::{self, NewHealing};
use orch::store::jobs::Offer;
use orch::store::nodes::{Leaving, NodeOff, Off, Others};
use orch::store::pull_requests::{self, NewPullRequest, PullRequestState};
use orch::store::retries::{self, AuditEvent, NewAudit};
use orch::store::{Conn, Guarded, duties, flags, instances, nodes};

use super::support::*;

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn proof(task: &Task, gate: &str, verdict: Verdict) -> NewEvidence {
    NewEvidence {
        task_id: task.id,
        gate: gate.to_owned(),
        candidate: Sha::trusted("a".repeat(40)),
        code_tree: CodeTree::trusted("b".repeat(40)),
        patch_id: None,
        base: Some(Sha::trusted("c".repeat(40))),
        command: Some("make test".to_owned()),
        verdict,
        run_id: None,
        visit: Visit(1),
    }
}

fn gesture(bed: &Bed, task: &Task, gesture: Gesture, visit: i64, comment: Option<&str>) {
    let new = NewGesture {
        task_id: task.id,
        gesture,
        person: "ada".to_owned(),
        comment: comment.map(str::to_owned),
        stage: task.stage.clone(),
        visit: Visit(visit),
        candidate: None,
        effect: "applied".to_owned(),
    };
    bed.write(move |c| gestures::record(c, &new, NOW));
}

fn pull_request(task: &Task, branch: &str) -> NewPullRequest {
    NewPullRequest {
        project_id: task.project_id,
        task_id: task.id,
        head_branch: BranchName::trusted(branch),
        base_branch: BranchName::trusted("main"),
        title: "Sell more".to_owned(),
        head_sha: Sha::trusted("a".repeat(40)),
    }
}

on_both! {
    fn the_latest_answer_of_each_gate_counts(bed) {
        let task = bed.task("T-1");
        let id = task.id;
        for (gate, verdict) in [
            ("ci_green", Verdict::pending("runs")),
            ("tests_local", Verdict::green("exit 0")),
            ("ci_green", Verdict::red("2 failed")),
        ] {
            let new = proof(&task, gate, verdict);
            bed.write(move |c| evidence::record(c, &new, NOW));
        }
        let latest = bed.write(move |c| evidence::latest(c, id, "ci_green")).unwrap();
        assert_eq!(latest.verdict, Verdict::red("2 failed"));
        assert_eq!(latest.command.as_deref(), Some("make test"));
        let all = bed.write(move |c| evidence::latest_all(c, id));
        let all: Vec<_> = all.iter().map(|e| (e.gate.as_str(), e.verdict.reason.as_str())).collect();
        assert_eq!(all, [("ci_green", "2 failed"), ("tests_local", "exit 0")]);
        assert_eq!(bed.write(move |c| evidence::latest(c, id, "other")), None);
    }

    fn an_approval_counts_for_its_visit_until_it_is_rejected(bed) {
        let task = bed.task("T-1");
        let id = task.id;
        let approved = move |visit| bed.write(move |c| gestures::approved(c, id, Visit(visit))).is_some();
        gesture(bed, &task, Gesture::Approved, 1, Some("good"));
        gesture(bed, &task, Gesture::InProgress, 1, None);
        assert!(approved(1) && !approved(2));
        gesture(bed, &task, Gesture::Rejected, 1, None);
        assert!(!approved(1));
        assert_eq!(bed.write(move |c| gestures::latest_comment(c, id)).unwrap().comment.as_deref(), Some("good"));
        assert_eq!(bed.write(move |c| gestures::of_task(c, id)).len(), 3);
    }

    fn a_comment_is_kept_once_per_delivery(bed) {
        let task = bed.task("T-1");
        let new = NewComment {
            task_id: task.id,
            external_id: "c-1".to_owned(),
            author: "reviewer".to_owned(),
            body: "Fine.".to_owned(),
        };
        let again = new.clone();
        assert_eq!(bed.write(move |c| comments::insert(c, &new, NOW)), Written::New);
        assert_eq!(bed.write(move |c| comments::insert(c, &again, NOW)), Written::Known);
        assert_eq!(bed.write(move |c| comments::of_task(c, task.id)).len(), 1);
    }

    fn a_branch_has_one_open_pull_request_and_numbers_grow(bed) {
        let task = bed.task("T-1");
        let open = |branch: &str| {
            let new = pull_request(&task, branch);
            bed.write(move |c| pull_requests::open(c, &new, NOW))
        };
        let first = open("feature/T-1");
        assert_eq!(open("feature/T-1"), first);
        assert_eq!((first.number, open("feature/T-2").number), (1, 2));
        let (id, sha) = (first.id, Sha::trusted("d".repeat(40)));
        let (head, late) = (sha.clone(), sha.clone());
        assert_eq!(won(bed.write(move |c| pull_requests::set_head(c, id, &head, NOW))).head_sha, sha);
        let merged = won(bed.write(move |c| pull_requests::merged(c, id, &sha, NOW)));
        assert_eq!(merged.state, PullRequestState::Merged);
        assert_eq!(bed.write(move |c| pull_requests::set_head(c, id, &late, NOW)), Guarded::Lost);
        assert_eq!(bed.write(move |c| pull_requests::close(c, id, NOW)), Guarded::Lost);
        let next = open("feature/T-1");
        assert_eq!(next.number, 3, "after a merge a fix needs a new one");
        let (project, branch) = (task.project_id, BranchName::trusted("feature/T-1"));
        assert_eq!(bed.write(move |c| pull_requests::by_branch(c, project, &branch)), Some(next));
        assert_eq!(bed.write(move |c| pull_requests::of_project(c, project)).len(), 3);
    }

    fn events_are_read_on_from_where_one_was(bed) {
        let task = bed.task("T-1");
        let id = task.id;
        bed.write(move |c| {
            for text in ["one", "two"] {
                let stage = StageName::trusted("review");
                events::push(c, NewEvent { task_id: id, stage: &stage, kind: "stage", text }, NOW)?;
            }
            Ok(())
        });
        let first = bed.write(|c| events::after(c, 0, 1)).remove(0);
        assert_eq!(first.text, "one");
        let rest = bed.write(move |c| events::after(c, first.id, 9));
        assert_eq!(rest.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), ["two"]);
        assert_eq!(bed.write(move |c| events::of_task(c, id)).len(), 2);
    }

    fn an_instance_beats_until_it_stops(bed) {
        let process = ProcessIdentity {
            boot_id: "b".to_owned(),
            pid_namespace: 1,
            pid: 2,
            start_time: 3,
        };
        let (boot, node) = (InstanceId::trusted("boot-1"), NodeName::trusted("local"));
        let id = boot.clone();
        let identity = process.clone();
        bed.write(move |c| instances::start(c, &id, &node, &identity, NOW));
        let id = boot.clone();
        won(bed.write(move |c| instances::heartbeat(c, &id, later(10))));
        let id = boot.clone();
        let found = bed.write(move |c| instances::by_id(c, &id)).unwrap();
        assert_eq!((found.heartbeat_at, found.process), (later(10), process));
        let (id, gone) = (boot.clone(), boot.clone());
        won(bed.write(move |c| instances::stop(c, &id, later(11))));
        assert_eq!(bed.write(move |c| instances::heartbeat(c, &boot, later(12))), Guarded::Lost);
        let found = bed.write(move |c| instances::by_id(c, &gone)).unwrap();
        assert_eq!(found.stopped_at, Some(later(11)));
    }

    fn a_job_is_sent_away_only_where_a_node_could_take_it(bed) {
        let offer = |node: &'static str, slots, labels: &[&str]| Offer {
            node: NodeName::trusted(node),
            slots,
            labels: set(labels),
        };
        let heard = |id: &'static str, node: &'static str, offers: Option<Vec<Offer>>| {
            let process = ProcessIdentity { boot_id: "b".to_owned(), pid_namespace: 1, pid: 2, start_time: 3 };
            let (id, node) = (InstanceId::trusted(id), NodeName::trusted(node));
            bed.write(move |c| {
                instances::start(c, &id, &node, &process, NOW)?;
                offers.map_or(Ok(()), |offers| instances::offer(c, &id, &offers))
            });
        };
        let others = |node: &'static str, takers: &[&'static str], wanted: &[&str]| {
            let takers: Vec<_> = takers.iter().copied().map(NodeName::trusted).collect();
            let wanted = set(wanted);
            bed.write(move |c| {
                let (node, own) = (NodeName::trusted(node), NodeName::trusted("a"));
                let job = Leaving { node: &node, own: &own, takers: &takers, labels: &wanted };
                nodes::others(c, job, NOW, NOW)
            })
        };
        heard("1", "a", Some(vec![offer("a", 4, &["gpu"])]));
        assert_eq!(others("a", &["a"], &[]), Others::None, "its own service is no other");
        assert_eq!(others("far", &["a", "far"], &[]), Others::Usable);
        heard("2", "b", Some(vec![offer("b", 0, &["gpu"]), offer("c", 2, &["big", "gpu"])]));
        assert_eq!(others("a", &["a"], &["gpu"]), Others::Usable, "c, which b reaches");
        assert_eq!(others("a", &["a"], &["gpu", "big"]), Others::Usable);
        assert_eq!(others("a", &["a"], &["gpu", "old"]), Others::None, "nobody has that");
        assert_eq!(others("c", &[], &["gpu"]), Others::None, "b has no slot");
        let until = later(100);
        let off = NodeOff { node: NodeName::trusted("c"), how: Off::Blacklisted, until, reason: "x".to_owned(), since: NOW };
        bed.write(move |c| nodes::turn_off(c, &off));
        assert_eq!(others("a", &["a"], &["gpu"]), Others::Off);
        heard("3", "d", None);
        assert_eq!(others("a", &["a"], &["old"]), Others::Usable, "d does not say: it may");
        won(bed.write(|c| instances::stop(c, &InstanceId::trusted("3"), NOW)));
        assert_eq!(others("a", &["a"], &["old"]), Others::None);
    }

    fn a_duty_is_held_by_one_instance_until_it_is_silent_for_too_long(bed) {
        let hold = |name: &'static str, at| {
            let id = InstanceId::trusted(name);
            bed.write(move |c| duties::hold(c, duties::SINGLETONS, &id, Duration::from_secs(10), at)).map(|t| t.0)
        };
        let held = |name: &'static str, at| {
            let id = InstanceId::trusted(name);
            bed.write(move |c| duties::held(c, duties::SINGLETONS, &id, at)).map(|t| t.0)
        };
        assert_eq!((held("a", NOW), hold("a", NOW)), (None, Some(1)));
        assert_eq!((hold("a", later(5)), hold("b", later(14))), (Some(1), None), "kept and renewed");
        assert_eq!((held("a", later(14)), held("b", later(14))), (Some(1), None));
        assert_eq!(held("a", later(15)), None, "silent for too long");
        assert_eq!(hold("b", later(15)), Some(2), "the token grows with each holder");
        assert_eq!(hold("a", later(16)), None);
        bed.write(|c| duties::release(c, &InstanceId::trusted("b"), later(17)));
        assert_eq!((held("b", later(17)), hold("a", later(17))), (None, Some(3)));
        bed.write(|c| duties::release(c, &InstanceId::trusted("b"), later(18)));
        assert_eq!(held("a", later(18)), Some(3), "nobody gives back what another has");
    }

    fn healings_are_listed_newest_first_and_flags_keep_the_last_value(bed) {
        bed.write(|c| {
            for subject in ["job 1", "job 2"] {
                let new = NewHealing {
                    kind: "reaper".to_owned(),
                    subject: subject.to_owned(),
                    why: "its process is gone".to_owned(),
                    action: "queued again".to_owned(),
                    stuck: Some(Duration::from_secs(2)),
                    instance: InstanceId::trusted("boot-1"),
                };
                healing::push(c, &new, NOW)?;
            }
            flags::set(c, "queue.paused", "yes")?;
            flags::set(c, "queue.paused", "no")
        });
        let recent = bed.write(|c| healing::recent(c, 1)).remove(0);
        assert_eq!((recent.subject.as_str(), recent.stuck_us), ("job 2", Some(2_000_000)));
        assert_eq!(bed.write(|c| flags::get(c, "queue.paused")).as_deref(), Some("no"));
        assert_eq!(bed.write(|c| flags::get(c, "other")), None);
    }
}

on_both! {
    fn entries_of_the_audit_are_committed_in_the_order_of_their_rows(bed) {
        let entry = |error: &'static str| {
            move |c: &mut Conn| {
                let scope = Scope::Project(ProjectId(1));
                let new = NewAudit {
                    event: AuditEvent::Reset,
                    scope: &scope,
                    task: None,
                    reason: None,
                    retry_count: 0,
                    total: 0,
                    error: Some(error),
                };
                retries::audit(c, &new, NOW)
            }
        };
        let seen = || {
            let found = bed.store.read_blocking(|c| retries::audited(c, 0, 9)).unwrap();
            found.into_iter().map(|e| e.error.unwrap()).collect::<Vec<_>>()
        };
        let (began, begun) = std::sync::mpsc::channel();
        let (go, may_go) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                bed.write(move |c| {
                    entry("first")(c)?;
                    began.send(()).unwrap();
                    may_go.recv().unwrap();
                    Ok(())
                });
            });
            begun.recv().unwrap();
            let second = scope.spawn(move || bed.write(entry("second")));
            let ends = Instant::now() + Duration::from_millis(200);
            while Instant::now() < ends && !second.is_finished() {
                std::thread::yield_now();
            }
            let stood = (second.is_finished(), seen());
            // Whatever was seen, nobody waits for ever.
            go.send(()).unwrap();
            assert_eq!(stood, (false, vec![]), "it overtook the first");
        });
        assert_eq!(seen(), ["first", "second"]);
    }
}
