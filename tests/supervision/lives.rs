//! What holds while an actor lives, when it finishes, and when everything is stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actix::prelude::*;
use orch::actors::supervisor::{Child, SuperviseError};

use super::patient::{Block, Count, Death, Die, Hold, Ward, budget_of, hardy, healthy, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

struct Curious {
    own: Child<Curious>,
    published: mpsc::Sender<bool>,
}

impl Actor for Curious {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.published
            .send(self.own.addr() == Some(ctx.address()))
            .unwrap();
    }
}

#[actix::test]
async fn the_address_is_public_before_started_runs() {
    let ward = Ward::open();
    for (name, policy) in [("shared", hardy()), ("own", hardy().on_own_arbiter())] {
        let (published, seen) = mpsc::channel();
        let child = Child::named(name);
        let own = child.clone();
        let factory = move |_| Curious {
            own: own.clone(),
            published: published.clone(),
        };
        ward.supervisor.supervise_as(&child, policy, factory).unwrap();
        let answer = Mutex::new(None);
        wait_until("started", || {
            *answer.lock().unwrap() = seen.try_recv().ok();
            answer.lock().unwrap().is_some()
        })
        .await;
        assert_eq!(*answer.lock().unwrap(), Some(true), "{name}");
    }
}

#[actix::test]
async fn an_actor_that_has_finished_is_not_restarted_and_leaves_the_table() {
    let ward = Ward::open();
    let (policy, spent) = budget_of(0);
    let child = ward.admit("run-1", policy).await;
    let held = Arc::new(());
    assert!(child.send(Hold(Arc::clone(&held))).await.is_some());

    child.do_send(Die(Death::Finish));
    wait_until("the end", || ward.stats("run-1").is_none()).await;

    assert!(child.addr().is_none());
    assert_eq!(spent.load(Ordering::SeqCst), 0, "finishing costs no budget");
    wait_until("the end of its side future", || Arc::strong_count(&held) == 1).await;
    ward.admit("run-1", budget_of(0).0).await;
}

#[actix::test]
async fn messages_to_an_actor_that_is_down_are_dropped_in_silence() {
    let child: Child<super::patient::Patient> = Child::named("nobody");
    child.do_send(Count);
    assert_eq!(child.send(Count).await, None);
}

#[actix::test]
async fn a_name_that_lives_is_not_taken_on_twice() {
    let ward = Ward::open();
    ward.admit("run-1", hardy()).await;
    let token = Arc::clone(&ward.token);
    let second = ward
        .supervisor
        .supervise("run-1", hardy(), move |i| healthy(i, &token));
    assert_eq!(second.unwrap_err(), SuperviseError::NameTaken("run-1".into()));
}

#[actix::test]
async fn side_futures_end_with_their_owner() {
    let ward = Ward::open();
    let child = ward.admit("patient", hardy()).await;
    let held = Arc::new(());
    assert!(child.send(Hold(Arc::clone(&held))).await.is_some());
    assert_eq!(Arc::strong_count(&held), 2);

    child.do_send(Die(Death::PanicInHandler));

    wait_until("the end of its side future", || Arc::strong_count(&held) == 1).await;
}

struct Orderly {
    name: &'static str,
    stopped: Arc<Mutex<Vec<&'static str>>>,
    starts: Arc<AtomicU64>,
}

impl Actor for Orderly {
    type Context = Context<Self>;

    fn started(&mut self, _ctx: &mut Self::Context) {
        self.starts.fetch_add(1, Ordering::SeqCst);
    }

    fn stopped(&mut self, _ctx: &mut Self::Context) {
        self.stopped.lock().unwrap().push(self.name);
    }
}

#[actix::test]
async fn stop_all_stops_the_latest_first_and_restarts_none() {
    let ward = Ward::open();
    let stopped = Arc::new(Mutex::new(Vec::new()));
    let starts = Arc::new(AtomicU64::new(0));
    for (name, policy) in [
        ("first", hardy()),
        ("second", hardy().on_own_arbiter()),
        ("third", hardy()),
    ] {
        let (stopped, starts) = (Arc::clone(&stopped), Arc::clone(&starts));
        let factory = move |_| Orderly {
            name,
            stopped: Arc::clone(&stopped),
            starts: Arc::clone(&starts),
        };
        ward.supervisor.supervise(name, policy, factory).unwrap();
    }
    wait_until("all starts", || starts.load(Ordering::SeqCst) == 3).await;

    assert_eq!(ward.supervisor.stop_all(PATIENCE).await, Vec::<String>::new());

    assert_eq!(*stopped.lock().unwrap(), ["third", "second", "first"]);
    assert_eq!(starts.load(Ordering::SeqCst), 3);
    assert!(ward.supervisor.stats().is_empty());
    assert!(ward.escalated().is_empty());
    let token = Arc::clone(&ward.token);
    let late = ward
        .supervisor
        .supervise("late", hardy(), move |i| healthy(i, &token));
    assert_eq!(late.unwrap_err(), SuperviseError::Stopping("late".into()));
    assert_eq!(
        ward.supervisor.stop_all(PATIENCE).await,
        Vec::<String>::new(),
        "asking twice does no harm"
    );
}

#[actix::test]
async fn stop_all_names_those_that_would_not_stop() {
    let ward = Ward::open();
    ward.admit("willing", hardy()).await;
    let child = ward.admit("blocked", hardy().on_own_arbiter()).await;
    let (block, begun, release) = Block::new();
    child.do_send(block);
    begun.recv().unwrap();

    let asked = ward.supervisor.stop_all(Duration::from_millis(50));
    let left = actix_rt::time::timeout(PATIENCE, asked).await.unwrap();

    assert_eq!(
        left,
        ["willing", "blocked"],
        "the one that waits for it is named too"
    );
    drop(release);
}

#[actix::test]
async fn a_child_that_is_ended_before_its_first_poll_never_runs() {
    let ward = Ward::open();
    let (stopped, starts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let (seen, count) = (Arc::clone(&stopped), Arc::clone(&starts));
    let factory = move |_| Orderly {
        name: "brief",
        stopped: Arc::clone(&seen),
        starts: Arc::clone(&count),
    };
    // Both are waiting in the supervisor's inbox before it runs again.
    ward.supervisor.supervise("brief", hardy(), factory).unwrap();

    ward.supervisor.stop_all(PATIENCE).await;

    assert_eq!(starts.load(Ordering::SeqCst), 0);
    assert!(stopped.lock().unwrap().is_empty());
}
