//! What checks left behind goes, whoever they were run for: nothing of them works on, and no folder stays.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use orch::domain::job::Claim;
use orch::domain::run::ProcessIdentity;
use orch::engine::recover;
use orch::process::{self, LaunchSpec, Liveness};

use super::house::House;

/// A check of a claim at work: its program and one that it started sleep. Its folders, and its shim.
fn check(house: &House, claim: &str) -> ([PathBuf; 2], ProcessIdentity) {
    let name = format!("{claim}-tests-abcdef");
    let folders = ["checks", "scratch"].map(|f| house.data().join(f).join(&name));
    fs::create_dir_all(folders[1].join("src")).unwrap();
    fs::write(folders[1].join("src/main.txt"), "text").unwrap();
    let script = "sleep 1000 & echo started; wait";
    let spec = LaunchSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: folders[1].clone(),
        stdin: None,
        log_cap_bytes: 1 << 20,
        timeout: Some(Duration::from_secs(900)),
        stall: None,
        startup: None,
        kill_grace: Duration::from_secs(1),
        lease: None,
        once: false,
    };
    let exe = std::path::Path::new(env!("CARGO_BIN_EXE_orch"));
    let launched = process::launch(&folders[0], exe, &spec).unwrap();
    (folders, launched.identity)
}

fn named(claim: Claim) -> String {
    format!("{}-{}", claim.job, claim.epoch)
}

#[tokio::test]
async fn checks_of_an_unknown_job_of_an_absent_project_and_of_a_broken_row_are_ended_and_removed() {
    let house = House::short().await;
    let mut claims = Vec::new();
    for title in ["Absent project", "Broken row", "At work"] {
        house.add(title).await;
    }
    for job in house.claim().await {
        claims.push(orch::engine::run::claim_of(&job));
    }
    house.sql("INSERT INTO projects (id, name, prefix, created_at) VALUES (4711, 'gone', 'GONE', 1)");
    house.sql(&format!(
        "UPDATE jobs SET status = 'failed', project_id = 4711 WHERE id = {}",
        claims[0].job
    ));
    house.sql(&format!(
        "UPDATE jobs SET status = 'failed', role = 'juggler' WHERE id = {}",
        claims[1].job
    ));
    let over = ["4711-1".to_owned(), named(claims[0]), named(claims[1])].map(|c| check(&house, &c));
    let (live, at_work) = check(&house, &named(claims[2]));

    let swept = recover::sweep(&house.engine).await.unwrap();
    let trouble: Vec<_> = swept.trouble.iter().filter(|t| t.contains("checks")).collect();
    assert!(trouble.is_empty(), "{trouble:?}");
    for (folders, shim) in over {
        assert_eq!(process::is_alive(&shim), Liveness::Gone, "{folders:?}");
        assert!(folders.iter().all(|f| !f.exists()), "{folders:?}");
    }
    // What a claim that goes on has at work is nobody else's business.
    assert_eq!(process::is_alive(&at_work), Liveness::Alive);
    assert!(live.iter().all(|f| f.exists()), "{live:?}");
}
