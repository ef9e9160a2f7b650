//! Leases: one holder, and a token that grows at every takeover.

use std::time::Duration;

use orch::domain::id::{BranchName, FencingToken, InstanceId, TaskId};
use orch::store::Guarded;
use orch::store::leases::{self, Acquire, Lease, LeaseRequest};

use super::support::*;

const TTL: Duration = Duration::from_secs(300);

fn wish(task: i64) -> LeaseRequest {
    LeaseRequest {
        repo: "shop".to_owned(),
        task: TaskId(task),
        branch: BranchName::trusted("feature/T-1"),
        instance: InstanceId::trusted("boot-1"),
        ttl: TTL,
    }
}

fn acquire(bed: &Bed, task: i64, at: u64) -> Acquire {
    bed.write(move |c| leases::acquire(c, &wish(task), later(at)))
}

fn held(acquire: Acquire) -> Lease {
    match acquire {
        Acquire::Held(lease) => lease,
        Acquire::Busy(lease) => panic!("held by {lease:?}"),
    }
}

on_both! {
    fn a_lease_has_one_holder_who_may_take_it_again(bed) {
        let lease = held(acquire(bed, 1, 0));
        assert_eq!((lease.token, lease.expires_at), (FencingToken(1), later(300)));
        let again = held(acquire(bed, 1, 100));
        assert_eq!((again.token, again.acquired_at, again.expires_at), (FencingToken(1), NOW, later(400)));
        assert_eq!(acquire(bed, 2, 399), Acquire::Busy(again));
    }

    fn an_expired_lease_is_taken_with_a_greater_token_and_the_old_one_is_worth_nothing(bed) {
        let old = held(acquire(bed, 1, 0));
        let new = held(acquire(bed, 2, 300));
        assert_eq!((new.task, new.token), (TaskId(2), FencingToken(2)));
        let check = |lease: Lease, at| bed.write(move |c| leases::check(c, &lease, later(at)));
        assert!(!check(old.clone(), 301) && check(new.clone(), 301) && !check(new.clone(), 600));
        let stale = old.clone();
        assert_eq!(bed.write(move |c| leases::renew(c, &stale, TTL, later(301))), Guarded::Lost);
        assert_eq!(bed.write(move |c| leases::release(c, &old)), Guarded::Lost);
        assert_eq!(bed.write(leases::list), [new]);
    }

    fn the_same_task_gets_a_greater_token_when_its_lease_had_expired(bed) {
        held(acquire(bed, 1, 0));
        assert_eq!(held(acquire(bed, 1, 300)).token, FencingToken(2));
    }

    fn a_lease_is_renewed_while_it_has_not_expired(bed) {
        let lease = held(acquire(bed, 1, 0));
        let (a, b) = (lease.clone(), lease.clone());
        assert_eq!(won(bed.write(move |c| leases::renew(c, &a, TTL, later(299)))).expires_at, later(599));
        assert_eq!(bed.write(move |c| leases::renew(c, &b, TTL, later(599))), Guarded::Lost);
    }

    fn a_token_outlives_its_holder(bed) {
        let lease = held(acquire(bed, 1, 0));
        won(bed.write(move |c| leases::release(c, &lease)));
        assert_eq!(bed.write(leases::list), []);
        assert_eq!(held(acquire(bed, 1, 1)).token, FencingToken(2));
        assert_eq!(bed.write(|c| leases::release_of_task(c, TaskId(1))), 1);
        assert_eq!(bed.write(|c| leases::release_of_task(c, TaskId(1))), 0);
    }

    fn a_lease_that_was_renewed_since_it_was_looked_at_is_not_reclaimed(bed) {
        let seen = held(acquire(bed, 1, 0));
        let renewed = held(acquire(bed, 1, 10));
        assert_eq!(bed.write(move |c| leases::reclaim(c, &seen)), Guarded::Lost);
        won(bed.write(move |c| leases::reclaim(c, &renewed)));
    }

    fn of_eight_tasks_that_want_a_lease_at_once_one_gets_it(bed) {
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=8)
                .map(|task| scope.spawn(move || usize::from(matches!(acquire(bed, task, 0), Acquire::Held(_)))))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(got, 1);
    }
}
