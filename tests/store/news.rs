//! Word between stores on one PostgreSQL database: heard after the commit, and again after the connection was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection as _;
use orch::store::jobs::ClaimRequest;
use orch::store::{Conn, Listener, Store, StoreError};

use super::support::*;
use crate::support::wait_until;

/// Another service on the same database, that counts what it hears.
struct Other {
    store: Store,
    heard: Arc<AtomicUsize>,
    _listener: Listener,
}

impl Other {
    /// It listens when this returns.
    fn on(bed: &Bed) -> Self {
        let store = Store::open(&bed.url).unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let counts = heard.clone();
        let listener = store
            .listen(move || {
                counts.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        let other = Self {
            store,
            heard,
            _listener: listener.unwrap(),
        };
        other.wait_for(0);
        other
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    fn wait_for(&self, before: usize) {
        wait_until("the other service hears it", || self.heard() > before);
    }

    fn claims(&self) -> usize {
        let claimed = self.store.write_blocking(|c| {
            let request = ClaimRequest {
                limit: 1,
                ..request()
            };
            orch::store::jobs::claim_next(c, &request)
        });
        claimed.unwrap().rows.len()
    }
}

fn cut_listeners(bed: &Bed) {
    bed.write(|c| {
        if let Conn::Pg(c) = c {
            c.batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'orch listens' AND datname = current_database()",
            )?;
        }
        Ok::<_, StoreError>(())
    });
}

#[test]
fn a_job_queued_by_one_service_is_told_to_the_other_after_the_commit_and_never_without_one() {
    let Some(bed) = Bed::postgres() else { return };
    let task = bed.task("T-1");
    let other = Other::on(&bed);
    let before = other.heard();
    let new = new_job(&task);
    let refused: Result<(), StoreError> = bed.store.write_blocking(move |c| {
        orch::store::jobs::enqueue(c, &new, NOW)?;
        Err(StoreError::Saturated)
    });
    assert_eq!(refused, Err(StoreError::Saturated));
    bed.job(&task);
    other.wait_for(before);
    assert_eq!(other.heard(), before + 1, "what was rolled back was told");
    assert_eq!(other.claims(), 1);
}

#[test]
fn a_listener_that_was_cut_off_comes_back_and_looks_for_what_it_missed() {
    let Some(bed) = Bed::postgres() else { return };
    let task = bed.task("T-1");
    let other = Other::on(&bed);
    let before = other.heard();
    cut_listeners(&bed);
    bed.job(&task);
    other.wait_for(before);
    assert_eq!(other.claims(), 1);
    // And it hears again.
    let before = other.heard();
    bed.job(&bed.task("T-2"));
    other.wait_for(before);
}
