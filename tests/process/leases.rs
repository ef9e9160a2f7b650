//! A run whose service is not heard any more ends by itself, with all that it started.

use std::path::PathBuf;
use std::time::Duration;

use orch::domain::run::StopCause;
use orch::process::{Moment, RunLease};

use super::support::Run;

const TTL: Duration = Duration::from_secs(1);

fn under_lease(script: &str) -> (Run, PathBuf) {
    let run = Run::sh(script);
    let file = run.work().join("lease.json");
    let lease = RunLease {
        file: file.clone(),
        ttl: TTL,
    };
    (run.with(|spec| spec.lease = Some(lease)), file)
}

fn renew(file: &std::path::Path) {
    RunLease::renew(file, &Moment::now().unwrap()).unwrap();
}

#[actix_rt::test]
async fn a_run_ends_when_its_lease_is_not_renewed_and_what_fled_from_it_too() {
    let (run, file) =
        under_lease("setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & echo up; wait");
    renew(&file);
    let exit = run.exit().await;
    assert_eq!(exit.cause, Some(StopCause::LeaseExpired { after_s: 1 }));
    assert!(!exit.succeeded() && exit.ended_by_orch());
    assert_eq!(run.survivors(), Vec::<i32>::new());
}

#[actix_rt::test]
async fn a_run_goes_on_while_its_lease_is_renewed() {
    let (run, file) = under_lease("while [ ! -e go ]; do sleep 0.02; done");
    renew(&file);
    let shim = run.launched();
    let began = Moment::now().unwrap();
    while !began.left_of(3 * TTL).is_zero() {
        renew(&file);
        tokio::time::sleep(TTL / 5).await;
    }
    std::fs::write(run.work().join("go"), "").unwrap();
    assert!(run.end_of(&shim).await.succeeded());
}

#[actix_rt::test]
async fn a_lease_that_nobody_ever_renewed_or_of_another_boot_holds_nothing() {
    let (run, _) = under_lease("sleep 60");
    assert!(run.exit().await.ended_by_orch());
    let (run, file) = under_lease("sleep 60");
    let other = r#"{"boot_id":"another","since_boot":{"secs":99999999999,"nanos":0}}"#;
    std::fs::write(&file, other).unwrap();
    assert!(run.exit().await.ended_by_orch());
}
