//! What dies too often is given up: a singleton with the process, one of many alone.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orch::actors::supervisor::{
    EXIT_ESCALATED, Escalation, Incarnation, Intensity, Policy, Reason, Supervisor, SupervisorConfig,
};

use super::patient::{Count, Death, Die, Patient, Ward, budget_of, hardy, healthy, wait_until};

fn stillborn(incarnation: Incarnation) -> Patient {
    Patient {
        dies_in_started: true,
        ..healthy(incarnation, &Arc::new(()))
    }
}

#[actix::test]
async fn a_singleton_that_dies_once_too_often_escalates_once() {
    let ward = Ward::open();
    let bystander = ward.admit("bystander", hardy()).await;
    let three_in_a_minute = || Policy::singleton(Intensity::default());
    ward.supervisor
        .supervise("poisoned", three_in_a_minute(), stillborn)
        .unwrap();
    ward.supervisor
        .supervise("poisoned too", three_in_a_minute(), stillborn)
        .unwrap();

    wait_until("the escalation", || !ward.escalated().is_empty()).await;

    let [Reason::ChildExhausted(exhausted)] = &ward.escalated()[..] else {
        panic!("{:?}", ward.escalated());
    };
    assert_eq!((exhausted.restarts, exhausted.incarnation), (3, 4));
    assert_eq!(exhausted.last_cause, "panicked: dies in started");
    bystander.do_send(Die(Death::Stop));
    wait_until("the bystander's end", || {
        ward.stats("bystander").unwrap().up_since.is_none()
    })
    .await;
    ward.admit("newcomer", hardy()).await;
    assert_eq!(ward.escalated().len(), 1, "one escalation is enough");
    assert_eq!(
        ward.stats("bystander").unwrap().restarts,
        0,
        "a service that is given up restarts nothing"
    );
}

#[actix::test]
async fn each_run_has_a_budget_of_its_own_and_the_service_goes_on() {
    let ward = Ward::open();
    let (spendthrift, spent) = budget_of(2);
    let (thrifty, unspent) = budget_of(2);
    let healthy = ward.admit("run-2", thrifty).await;
    ward.supervisor
        .supervise("run-1", spendthrift, stillborn)
        .unwrap();

    wait_until("the budget to be spent", || spent.load(Ordering::SeqCst) == 1).await;

    assert!(ward.stats("run-1").is_none(), "it has left the table");
    for restarts in 1..=2 {
        healthy.do_send(Die(Death::PanicInHandler));
        ward.wait_for_restarts("run-2", restarts).await;
    }
    assert_eq!(
        healthy.send(Count).await,
        Some((3, 1)),
        "its own budget was untouched"
    );
    assert_eq!(
        (spent.load(Ordering::SeqCst), unspent.load(Ordering::SeqCst)),
        (1, 0)
    );
    assert!(ward.escalated().is_empty());
}

#[actix::test]
async fn a_settlement_that_panics_harms_nobody_else() {
    let ward = Ward::open();
    let settle = |_| panic!("cannot settle");
    let policy = Policy::budget(Intensity::lifetime(0), settle);
    ward.supervisor.supervise("run-1", policy, stillborn).unwrap();
    wait_until("the end", || ward.stats("run-1").is_none()).await;
    ward.admit("run-2", hardy()).await;
    assert!(ward.escalated().is_empty());
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("the supervisor's own task is hit");
    }
}

#[actix::test]
async fn a_panic_of_the_supervisor_itself_escalates() {
    let ward = Ward::open();
    let (policy, _) = budget_of(0);
    let poison = PanicsWhenDropped;
    let factory = move |incarnation| {
        let _poison = &poison;
        stillborn(incarnation)
    };
    ward.supervisor.supervise("run-1", policy, factory).unwrap();

    wait_until("the escalation", || !ward.escalated().is_empty()).await;

    let reason = Reason::SupervisorPanicked("the supervisor's own task is hit".into());
    assert_eq!(ward.escalated(), [reason]);
}

/// The service of the next test; it ends this process, so it is not run by itself.
#[actix::test]
#[ignore = "the child process of another test"]
async fn a_service_that_escalates() {
    let escalation = Escalation::exit(|| std::io::stdout().write_all(b"logs flushed").unwrap());
    let supervisor = Supervisor::start(SupervisorConfig::default(), escalation);
    supervisor
        .supervise("poisoned", Policy::singleton(Intensity::lifetime(0)), stillborn)
        .unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn the_process_ends_with_code_70_after_its_logs_were_flushed() {
    let service = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "supervision::escalation::a_service_that_escalates",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    assert_eq!(service.status.code(), Some(EXIT_ESCALATED));
    assert!(String::from_utf8_lossy(&service.stdout).contains("logs flushed"));
}

/// The service of the next test; it ends this process, so it is not run by itself.
#[actix::test]
#[ignore = "the child process of another test"]
async fn a_service_whose_logs_cannot_be_flushed() {
    let escalation = Escalation::exit(|| std::thread::sleep(Duration::MAX));
    let supervisor = Supervisor::start(SupervisorConfig::default(), escalation);
    supervisor
        .supervise("poisoned", Policy::singleton(Intensity::lifetime(0)), stillborn)
        .unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn the_process_ends_with_code_70_even_if_its_logs_cannot_be_flushed() {
    let service = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "supervision::escalation::a_service_whose_logs_cannot_be_flushed",
            "--ignored",
        ])
        .output()
        .unwrap();
    assert_eq!(service.status.code(), Some(EXIT_ESCALATED));
}
