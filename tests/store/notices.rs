//! The outbox and the intents: once per cause, in order, and recorded once.

use orch::domain::delivery::Channel;
use orch::domain::id::TaskId;
use orch::domain::job::Claim;
use orch::store::Guarded;
use orch::store::intents::{self, Intent, IntentKind, IntentStatus, NewIntent};
use orch::store::outbox::{self, Failed, NewOutbox, Notice, OutboxKind, Pushed};
use serde_json::json;

use super::support::*;

fn push(bed: &Bed, task: Option<TaskId>, cause: &str) -> Pushed {
    push_to(bed, Channel::Tracker, task, cause)
}

fn push_to(bed: &Bed, channel: Channel, task: Option<TaskId>, cause: &str) -> Pushed {
    let new = NewOutbox {
        channel,
        task_id: task,
        cause: cause.to_owned(),
        kind: OutboxKind::Comment,
        payload: json!({"text": "done"}),
        available_at: NOW,
    };
    bed.write(move |c| outbox::push(c, &new, NOW))
}

fn due(bed: &Bed, at: u64) -> Vec<Notice> {
    let listing = bed.write(move |c| outbox::due(c, later(at), 10));
    assert_eq!(listing.broken, []);
    listing.rows
}

fn down(until: u64, unanswered: i32) -> Failed {
    Failed {
        error: "down".to_owned(),
        unanswered,
        available_at: later(until),
    }
}

fn causes(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|n| n.cause.as_str()).collect()
}

fn intend(bed: &Bed, task: TaskId, key: &str) -> Intent {
    let new = NewIntent {
        key: key.to_owned(),
        task_id: task,
        claim: Some(Claim {
            job: orch::domain::id::JobId(3),
            epoch: orch::domain::id::ClaimEpoch(2),
        }),
        kind: IntentKind::Merge,
        payload: json!({"head": key}),
    };
    bed.write(move |c| intents::intend(c, &new, NOW))
}

on_both! {
    fn order_is_kept_per_task_and_channel(bed) {
        let task = bed.task("T-1").id;
        for (channel, cause) in [
            (Channel::Telegram, "t1"),
            (Channel::Telegram, "t2"),
            (Channel::Tracker, "a"),
        ] {
            push_to(bed, channel, Some(task), cause);
        }
        assert_eq!(causes(&due(bed, 0)), ["t1", "a"]);
    }

    fn a_receiver_that_is_left_alone_gets_nothing_and_costs_the_others_nothing(bed) {
        let (one, two) = (bed.task("T-1").id, bed.task("T-2").id);
        push_to(bed, Channel::Telegram, Some(one), "t1");
        push_to(bed, Channel::Telegram, Some(two), "t2");
        push_to(bed, Channel::Webhook, Some(two), "w");
        let id = due(bed, 0)[0].id;
        won(bed.write(move |c| outbox::failed(c, id, &down(60, 1))));
        bed.write(|c| outbox::hold_back(c, Channel::Telegram, later(60)));
        assert_eq!(causes(&due(bed, 0)), ["w"]);
        let back = due(bed, 60);
        assert_eq!(causes(&back), ["w", "t2", "t1"]);
        let counted = |cause: &str| {
            let notice = back.iter().find(|n| n.cause == cause).unwrap();
            (notice.attempts, notice.unanswered)
        };
        assert_eq!([counted("t1"), counted("t2")], [(1, 1), (0, 0)]);
    }

    fn what_was_given_up_is_sent_again_from_its_first_attempt_on_and_nothing_else_is(bed) {
        let task = bed.task("T-1").id;
        push(bed, Some(task), "a");
        let id = due(bed, 0)[0].id;
        assert_eq!(bed.write(move |c| outbox::resend(c, id, NOW)), Guarded::Lost);
        won(bed.write(move |c| outbox::failed(c, id, &down(1, 1))));
        won(bed.write(move |c| outbox::dead(c, id, "gone")));
        assert_eq!(due(bed, 60), []);
        won(bed.write(move |c| outbox::resend(c, id, later(60))));
        let again = &due(bed, 60)[0];
        assert_eq!((again.attempts, again.unanswered), (0, 0));
        assert_eq!(again.created_at, later(60));
    }

    fn a_notice_is_kept_once_per_cause(bed) {
        let task = bed.task("T-1").id;
        assert_eq!(push(bed, Some(task), "a"), Pushed::New);
        assert_eq!(push(bed, Some(task), "a"), Pushed::Known);
        assert_eq!(due(bed, 0).len(), 1);
        assert_eq!(due(bed, 0)[0].payload, json!({"text": "done"}));
    }

    fn a_task_s_later_notice_waits_for_its_earlier_one_and_others_do_not(bed) {
        let (one, two) = (bed.task("T-1").id, bed.task("T-2").id);
        for (task, cause) in [(Some(one), "1a"), (Some(one), "1b"), (Some(two), "2a"), (None, "x"), (None, "y")] {
            push(bed, task, cause);
        }
        let first = due(bed, 0);
        assert_eq!(causes(&first), ["1a", "2a", "x", "y"]);
        let id = first[0].id;
        won(bed.write(move |c| outbox::failed(c, id, &down(60, 0))));
        assert_eq!(causes(&due(bed, 0)), ["2a", "x", "y"], "the failed one holds its follower");
        let retried = due(bed, 60);
        let failed = retried.iter().find(|n| n.cause == "1a").unwrap();
        assert_eq!((failed.attempts, failed.error.as_deref()), (1, Some("down")));
        won(bed.write(move |c| outbox::sent(c, id, later(61))));
        assert_eq!(causes(&due(bed, 60)), ["1b", "2a", "x", "y"]);
    }

    fn a_notice_that_is_sent_or_dead_changes_no_more(bed) {
        push(bed, None, "a");
        push(bed, None, "b");
        let found = due(bed, 0);
        let (a, b) = (found[0].id, found[1].id);
        won(bed.write(move |c| outbox::sent(c, a, NOW)));
        won(bed.write(move |c| outbox::dead(c, b, "gone")));
        assert_eq!(bed.write(move |c| outbox::sent(c, a, NOW)), Guarded::Lost);
        assert_eq!(bed.write(move |c| outbox::failed(c, a, &down(0, 0))), Guarded::Lost);
        assert_eq!(bed.write(move |c| outbox::dead(c, b, "x")), Guarded::Lost);
        let dead = bed.write(|c| outbox::given_up(c, 9));
        assert_eq!(dead.iter().map(|n| n.cause.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(bed.write(outbox::next_due), None);
    }

    fn a_notice_that_cannot_be_read_is_reported_while_others_are_sent(bed) {
        push(bed, None, "a");
        push(bed, None, "b");
        bed.sql("UPDATE outbox SET payload = '{' WHERE cause = 'a'");
        let listing = bed.write(|c| outbox::due(c, NOW, 9));
        assert_eq!(causes(&listing.rows), ["b"]);
        assert!(listing.broken[0].1.contains("payload"));
    }

    fn an_intent_is_known_by_its_key_and_finished_once(bed) {
        let task = bed.task("T-1").id;
        let first = intend(bed, task, "merge:1");
        assert_eq!(intend(bed, task, "merge:1"), first);
        assert_eq!((first.status, first.claim.unwrap().epoch.0), (IntentStatus::Intended, 2));
        let id = first.id;
        let done = won(bed.write(move |c| intents::finish(c, id, "merged", later(2))));
        assert_eq!((done.status, done.outcome.as_deref()), (IntentStatus::Done, Some("merged")));
        assert_eq!(bed.write(move |c| intents::finish(c, id, "again", NOW)), Guarded::Lost);
        assert_eq!(intend(bed, task, "merge:1"), done, "a deed that is done is not intended again");
        assert_eq!(bed.write(|c| intents::by_key(c, "merge:1")), Some(done));
    }

    fn open_intents_of_a_kind_are_given_up_together(bed) {
        let task = bed.task("T-1").id;
        intend(bed, task, "merge:1");
        let last = intend(bed, task, "merge:2");
        let open = move || bed.write(move |c| intents::latest_open(c, task, IntentKind::Merge));
        assert_eq!(open(), Some(last));
        assert_eq!(bed.write(move |c| intents::void_open(c, task, IntentKind::Push, NOW)), 0);
        assert_eq!(bed.write(move |c| intents::void_open(c, task, IntentKind::Merge, NOW)), 2);
        assert_eq!(open(), None);
    }

    fn intents_are_found_by_the_beginning_of_their_key_and_given_up_with_a_reason(bed) {
        let (one, two) = (bed.task("T-1").id, bed.task("T-2").id);
        let first = intend(bed, one, "rescue:1:a:1");
        let second = intend(bed, one, "rescue:1:b:1");
        let other = intend(bed, one, "rescue:17:a:1");
        intend(bed, one, "merge:rescue:1:");
        let elsewhere = intend(bed, two, "rescue:2:a:1");
        assert_eq!(bed.write(move |c| intents::keyed(c, one, "rescue:1:")), [first.clone(), second.clone()]);
        let (a, b) = (first.id, second.id);
        won(bed.write(move |c| intents::give_up(c, a, "no", later(3))));
        won(bed.write(move |c| intents::finish(c, b, "pushed", NOW)));
        assert_eq!(bed.write(move |c| intents::give_up(c, b, "late", NOW)), Guarded::Lost);
        let settled = bed.write(move |c| intents::keyed(c, one, "rescue:1:"));
        assert_eq!((settled[0].status, settled[0].outcome.as_deref()), (IntentStatus::Void, Some("no")));
        assert_eq!((settled[0].finished_at, settled[1].status), (Some(later(3)), IntentStatus::Done));
        assert_eq!(bed.write(|c| intents::open_keyed(c, "rescue:")).rows, [other, elsewhere]);
    }
}
