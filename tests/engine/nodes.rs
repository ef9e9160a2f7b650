//! Agents on a node that is reached by a real ssh: with this program there and without. The node is this machine, and
//! has a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use orch::domain::id::{NodeName, TaskId};
use orch::domain::job::JobStatus;
use orch::engine::repair::operate;
use orch::engine::run::{Driven, abandon};
use orch::engine::views::NodeView;
use orch::engine::{EngineError, nodes};

use super::house::{Backend, House, Plan, SHORT, git, on_both};
use crate::support::Sshd;

/// What the developer does on the node; elsewhere it is what stands first.
const THERE: &str = "echo \"$ORCH_PROMPT_FILE\" >>\"$out/prompts\"; mkdir -p src; echo work >src/code.txt";

struct Bed {
    sshd: Sshd,
    house: House,
}

/// How much of the node there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// This program is there.
    Shim,
    /// It is not.
    Bare,
}

impl Bed {
    /// A house with a node called `far`. None where there is no sshd.
    async fn new(mode: Mode, settings: &[&str]) -> Option<Self> {
        Self::on(Backend::Sqlite, mode, settings).await
    }

    async fn on(backend: Backend, mode: Mode, settings: &[&str]) -> Option<Self> {
        let sshd = Sshd::start()?;
        let root = sshd_root();
        let mut plan = sshd
            .node("far", &root)
            .iter()
            .fold(backend.plan(SHORT), |plan, line| plan.set(line));
        if mode == Mode::Shim {
            plan = plan.set(concat!("nodes.far.orch = '", env!("CARGO_BIN_EXE_orch"), "'"));
        }
        let plan = settings.iter().fold(plan, |plan, line| plan.set(line));
        let house = plan.build().await;
        Some(Self { sshd, house })
    }

    /// The node's folder for Orch.
    fn root(&self) -> PathBuf {
        PathBuf::from(&self.house.engine.settings().nodes.ssh[0].root)
    }

    fn prompts(&self) -> String {
        fs::read_to_string(self.house.path("out/prompts")).unwrap_or_default()
    }

    /// Processes that carry the mark of a run on the node.
    fn there(&self) -> Vec<String> {
        let mark = format!("ORCH_RUN_DIR={}/", self.root().display());
        let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let environ = fs::read(entry.path().join("environ")).ok()?;
            let marked = environ.split(|b| *b == 0).any(|v| v.starts_with(mark.as_bytes()));
            let line = || fs::read(entry.path().join("cmdline")).unwrap_or_default();
            marked.then(|| String::from_utf8_lossy(&line()).replace('\0', " "))
        });
        processes.collect()
    }

    /// What is left in the node's folders, and refs of runs.
    fn left_there(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["runs", "worktrees"] {
            for entry in fs::read_dir(self.root().join(folder)).into_iter().flatten() {
                left.push(entry.unwrap().path().display().to_string());
            }
        }
        let bare = self.root().join("repos/shop.git");
        let refs = git(&bare, &["for-each-ref", "--format=%(refname)", "refs/orch"]);
        left.extend(refs.lines().map(str::to_owned));
        left
    }

    async fn node(&self, name: &str) -> NodeView {
        let all = nodes::list(&self.house.engine).await.unwrap();
        all.into_iter().find(|n| n.node == name).unwrap()
    }

    async fn strategies(&self) -> Vec<String> {
        let found = operate::recent(&self.house.engine, 100).await.unwrap();
        found
            .into_iter()
            .map(|i| format!("{} on {}", i.strategy, i.node))
            .collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // What a failed test left there works below the folder.
        for _ in 0..100 {
            let left = crate::support::processes_below(&self.root());
            for pid in &left {
                // SAFETY: kill has no memory effects; the process works in a temporary folder that only we use.
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(fs::remove_dir_all(self.root()));
    }
}

/// A folder with a space in its name.
fn sshd_root() -> PathBuf {
    let room = tempfile::Builder::new().prefix("orch far's ").tempdir().unwrap();
    room.keep().canonicalize().unwrap()
}

const ONLY_THERE: &str = "node_slots = 0";

/// Makes of each function a test with this program on the node, and one without.
macro_rules! in_both_modes {
    ($($name:ident),+ $(,)?) => {
        mod with_the_program_there {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Mode::Shim).await;
            })+
        }

        mod without_it {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Mode::Bare).await;
            })+
        }
    };
}

in_both_modes!(
    agents_on_a_node_take_a_task_through_its_pipeline_and_leave_nothing_there,
    what_an_agent_left_uncommitted_when_it_was_killed_is_kept,
    an_agent_that_runs_into_its_limit_is_ended_with_all_it_started,
    a_cancelled_agent_is_ended_and_its_work_is_kept,
    a_service_that_died_meanwhile_goes_on_with_the_run,
    a_node_that_does_not_answer_is_blacklisted_and_the_job_goes_to_the_other_at_once,
);

async fn agents_on_a_node_take_a_task_through_its_pipeline_and_leave_nothing_there(mode: Mode) {
    let Some(bed) = Bed::new(mode, &[ONLY_THERE]).await else {
        return;
    };
    let developer = format!(
        "{THERE}; env >\"$out/env\"; git add src; git -c user.name=a -c user.email=a@b commit -qm 'a part'; echo more >>src/code.txt; rm README.md"
    );
    bed.house.role("developer", &developer);
    let task = bed.house.add("Say hello").await;
    bed.house.run_all().await;
    assert_eq!(
        bed.house.stands(task).await,
        "done done",
        "{:#?}",
        bed.house.events(task).await
    );
    assert_eq!(
        bed.house.file("main", "src/code.txt").as_deref(),
        Some("work\nmore\n")
    );
    assert_eq!(
        bed.house.file("main", "README.md"),
        None,
        "what was removed there is removed"
    );
    let prompts = bed.prompts();
    assert!(
        prompts.starts_with(&bed.root().display().to_string()),
        "{prompts}"
    );
    let env = fs::read_to_string(bed.house.path("out/env")).unwrap();
    assert!(!env.contains("CARGO") && !env.contains("SSH_CONNECTION"), "{env}");
    assert_eq!(bed.left_there(), [""; 0]);
    assert_eq!(bed.there(), [""; 0]);
    assert_eq!(bed.house.leftovers(), [""; 0]);
}

async fn what_an_agent_left_uncommitted_when_it_was_killed_is_kept(mode: Mode) {
    let Some(bed) = Bed::new(mode, &[ONLY_THERE, "repair.enabled = false"]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; kill -KILL $$"));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    let wip = bed.house.wip();
    assert_eq!(wip.len(), 1, "{:?}", bed.house.job(claim).await);
    assert_eq!(bed.house.kept(&wip[0], "src/code.txt").as_deref(), Some("work\n"));
    let error = bed.house.run_of(claim).await.unwrap().error.unwrap();
    assert!(error.contains("exit code 137 SIGKILL"), "{error}");
    assert_eq!(bed.left_there(), [""; 0]);
}

async fn an_agent_that_runs_into_its_limit_is_ended_with_all_it_started(mode: Mode) {
    let Some(bed) = Bed::new(mode, &[ONLY_THERE, "agent.timeout_s = 8"]).await else {
        return;
    };
    let stubborn = "trap '' TERM; (trap '' TERM; setsid sleep 1000) & sleep 1000; sleep 1000";
    bed.house.role("developer", &format!("{THERE}; {stubborn}"));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    assert_eq!(bed.there(), [""; 0]);
    assert_eq!(bed.strategies().await, ["overran on far"]);
    assert_eq!(bed.house.job(claim).await.timeout_percent, 150);
    assert_eq!(bed.house.wip().len(), 1);
}

async fn a_cancelled_agent_is_ended_and_its_work_is_kept(mode: Mode) {
    let Some(bed) = Bed::new(mode, &[ONLY_THERE]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; hold here"));
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let reached = bed.house.path("out/here.reached");
    driving.until("the agent holds", async || reached.exists()).await;
    assert!(!bed.there().is_empty());
    bed.house.gesture(task, "cancelled").await;
    drop(driving);
    abandon(&bed.house.engine, claim).await.unwrap();
    assert_eq!(bed.there(), [""; 0]);
    let wip = bed.house.wip();
    assert_eq!(bed.house.kept(&wip[0], "src/code.txt").as_deref(), Some("work\n"));
    assert_eq!(bed.left_there(), [""; 0]);
}

async fn a_service_that_died_meanwhile_goes_on_with_the_run(mode: Mode) {
    let Some(mut bed) = Bed::new(mode, &[ONLY_THERE]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; hold here"));
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let reached = bed.house.path("out/here.reached");
    driving.until("the agent holds", async || reached.exists()).await;
    drop(driving);
    bed.house.restart().await;
    bed.house.go("here");
    assert_eq!(bed.house.drive(claim).await, Driven::Over);
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
    assert_eq!(
        bed.house.ran(),
        ["developer", "reviewer"],
        "nothing was begun again"
    );
}

async fn a_node_that_does_not_answer_is_blacklisted_and_the_job_goes_to_the_other_at_once(mode: Mode) {
    let Some(mut bed) = Bed::new(mode, &["node_slots = 1"]).await else {
        return;
    };
    bed.house
        .role("developer", "hold $ORCH_WORK_ITEM; echo x >\"$ORCH_WORK_ITEM\"");
    bed.house.role("reviewer", "verdict APPROVED");
    let first = bed.house.add("First").await;
    let second = bed.house.add("Second").await;
    let claimed = bed.house.claim().await;
    let nodes: Vec<_> = claimed
        .iter()
        .map(|j| j.agent_node.as_ref().map(|n| n.to_string()))
        .collect();
    assert_eq!(nodes, [None, Some("far".to_owned())]);
    bed.sshd.stop();
    let (own, far) = (
        orch::engine::run::claim_of(&claimed[0]),
        orch::engine::run::claim_of(&claimed[1]),
    );
    bed.house.drive(far).await;
    assert_eq!(bed.strategies().await, ["offline on far"]);
    assert_eq!(bed.node("far").await.stands, "blacklisted");
    assert_eq!(bed.house.job(far).await.status, JobStatus::Queued);
    assert!(bed.house.claim().await.is_empty(), "the own slot is taken");
    let names = [task_name(&bed, first).await, task_name(&bed, second).await];
    names.iter().for_each(|name| bed.house.go(name));
    bed.house.drive(own).await;
    let next = bed.house.claim().await;
    assert!(next.iter().all(|job| job.agent_node.is_none()), "{next:?}");
    for job in next {
        bed.house.drive(orch::engine::run::claim_of(&job)).await;
    }
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(second).await, "done done");
}

async fn task_name(bed: &Bed, task: TaskId) -> String {
    bed.house.task(task).await.work_item_id.to_string()
}

#[tokio::test]
async fn a_run_goes_on_when_its_connection_is_cut() {
    let Some(bed) = Bed::new(Mode::Shim, &[ONLY_THERE]).await else {
        return;
    };
    let says = "echo before; hold here; echo after; hold again; echo end";
    bed.house.role("developer", &format!("{THERE}; {says}"));
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let dir = bed
        .house
        .data()
        .join(format!("runs/{}-{}", claim.job, claim.epoch));
    let printed = || orch::process::output_tail(&dir, 4096).unwrap();
    for (point, line) in [("here", "before"), ("again", "after")] {
        // What was printed came over the connection that is cut then.
        driving
            .until("the agent is followed", async || printed().contains(line))
            .await;
        driving
            .until("its connection is cut", async || bed.sshd.cut() > 0)
            .await;
        bed.house.go(point);
    }
    driving.end().await.unwrap();
    assert_eq!(printed(), "before\nafter\nend\n", "each line once");
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
    assert_eq!(bed.house.ran(), ["developer", "reviewer"]);
}

#[tokio::test]
async fn work_on_a_node_that_went_away_is_kept_there_and_fetched_when_it_is_back() {
    let Some(mut bed) = Bed::new(Mode::Bare, &["node_slots = 0", "repair.node_cool_s = 300"]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; hold here"));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let reached = bed.house.path("out/here.reached");
    driving.until("the agent holds", async || reached.exists()).await;
    bed.sshd.stop();
    driving.end().await.unwrap();
    assert_eq!(bed.strategies().await, ["offline on far"]);
    assert_eq!(bed.node("far").await.stands, "cooled", "it is the only one");
    assert_eq!(bed.house.wip(), [""; 0], "out of reach");
    bed.sshd.start_again();
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble), (1, Vec::new()));
    let wip = bed.house.wip();
    assert_eq!(bed.house.kept(&wip[0], "src/code.txt").as_deref(), Some("work\n"));
    assert_eq!(bed.there(), [""; 0], "nothing works on for a run that is over");
    assert_eq!(bed.left_there(), [""; 0]);
}

async fn a_node_that_is_given_up_is_waited_for_no_longer_and_its_late_result_is_not_taken(backend: Backend) {
    let Some(mut bed) = Bed::on(backend, Mode::Shim, &["node_slots = 1"]).await else {
        return;
    };
    let hour = Duration::from_secs(3600);
    nodes::blacklist(&bed.house.engine, "local", hour, "new disk")
        .await
        .unwrap();
    let says = "echo \"$ORCH_PROMPT_FILE\" >where; echo at >\"$out/$(basename \"$PWD\").at\"; hold here";
    bed.house.role("developer", says);
    let task = bed.house.add("Say hello").await;
    let first = bed.house.claim_one().await;
    let mut driving = bed.house.driving(first);
    let at = bed.house.path(&format!("out/{}-{}.at", first.job, first.epoch));
    driving.until("the agent holds", async || at.exists()).await;
    bed.sshd.stop();
    nodes::clear(&bed.house.engine, "local").await.unwrap();
    let given_up = nodes::give_up(&bed.house.engine, "far", hour).await.unwrap();
    assert_eq!(given_up.jobs, [first.job.0]);
    assert_eq!(bed.node("far").await.stands, "blacklisted");
    assert_eq!(driving.end().await.unwrap(), Driven::Over);
    let job = bed.house.job(first).await;
    assert_eq!(
        (job.status, job.attempts),
        (JobStatus::Queued, 0),
        "it costs nothing"
    );
    let again = nodes::give_up(&bed.house.engine, "far", hour).await.unwrap();
    assert_eq!(again.jobs, [0_i64; 0]);

    // Both go on: the one there for nobody.
    let second = bed.house.claim_one().await;
    assert_eq!(bed.house.job(second).await.agent_node, None);
    bed.house.go("here");
    bed.house.drive(second).await;
    bed.house
        .until("the other one has ended, too", || bed.there().is_empty())
        .await;
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
    let silent = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!(silent.trouble, [""; 0], "nobody expects it back");
    bed.sshd.start_again();
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!(swept.trouble, [""; 0]);
    assert_eq!(bed.left_there(), [""; 0]);
    let written = bed.house.file("main", "where").unwrap();
    assert!(
        !written.starts_with(&bed.root().display().to_string()),
        "{written}"
    );
    let kept = bed.house.wip();
    let of_the_agent = kept.iter().filter_map(|wip| bed.house.kept(wip, "where"));
    assert_eq!(of_the_agent.count(), 0, "{kept:?}");
    let unknown = nodes::give_up(&bed.house.engine, "local", hour).await;
    assert!(
        matches!(unknown, Err(EngineError::NotFound { .. })),
        "{unknown:?}"
    );
}

async fn a_run_goes_on_when_its_connection_is_cut_whatever_the_database(backend: Backend) {
    let Some(bed) = Bed::on(backend, Mode::Shim, &[ONLY_THERE]).await else {
        return;
    };
    bed.house
        .role("developer", &format!("{THERE}; echo before; hold here"));
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let dir = orch::engine::run::run_dir(&bed.house.engine, claim);
    let printed = || orch::process::output_tail(&dir, 4096).unwrap();
    driving
        .until("the agent is followed", async || printed().contains("before"))
        .await;
    driving
        .until("its connection is cut", async || bed.sshd.cut() > 0)
        .await;
    bed.house.go("here");
    driving.end().await.unwrap();
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
    assert_eq!(bed.house.ran(), ["developer", "reviewer"]);
}

on_both!(
    a_node_that_is_given_up_is_waited_for_no_longer_and_its_late_result_is_not_taken,
    a_run_goes_on_when_its_connection_is_cut_whatever_the_database,
);

#[tokio::test]
async fn a_node_that_does_not_answer_is_asked_once_by_a_sweep_whatever_it_has() {
    let settings = [ONLY_THERE, "repair.enabled = false", "nodes.far.slots = 2"];
    let Some(mut bed) = Bed::new(Mode::Bare, &settings).await else {
        return;
    };
    bed.house
        .role("developer", &format!("{THERE}; hold $ORCH_WORK_ITEM"));
    let mut drives = Vec::new();
    for title in ["One", "Two"] {
        let task = bed.house.add(title).await;
        let claim = bed.house.claim_one().await;
        let mut driving = bed.house.driving(claim);
        let name = task_name(&bed, task).await;
        let reached = bed.house.path(&format!("out/{name}.reached"));
        driving.until("the agent holds", async || reached.exists()).await;
        drives.push(driving);
    }
    bed.sshd.stop();
    for driving in drives {
        driving.end().await.unwrap();
    }
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble.len()), (0, 1), "{:?}", swept.trouble);
    bed.sshd.start_again();
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble), (2, Vec::new()));
}

#[tokio::test]
async fn the_doctor_says_in_one_line_what_a_node_lacks() {
    let Some(mut bed) = Bed::new(Mode::Shim, &[]).await else {
        return;
    };
    let doctor = |bed: &Bed| {
        let config = bed.house.path("orch.toml");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_orch"))
            .args(["--json", "--config"])
            .arg(&config)
            .arg("doctor")
            .current_dir(bed.house.path("."))
            .output()
            .unwrap();
        let checks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let node = checks
            .into_iter()
            .find(|check| check["check"] == "node far")
            .unwrap();
        format!(
            "{}: {}",
            node["state"].as_str().unwrap(),
            node["found"].as_str().unwrap()
        )
    };
    let well = doctor(&bed);
    assert!(
        well.starts_with("ok: git version") && well.contains(", orch "),
        "{well}"
    );
    assert!(!well.contains("belongs to"), "nobody has used it: {well}");
    fs::write(bed.root().join("owner"), "4711\n").unwrap();
    let owned = doctor(&bed);
    assert!(
        owned.ends_with(&format!("; {} belongs to 4711", bed.root().display())),
        "{owned}"
    );
    let config = fs::read_to_string(bed.house.path("orch.toml")).unwrap();
    let wrong = config.replace(env!("CARGO_BIN_EXE_orch"), "/nowhere/orch");
    fs::write(bed.house.path("orch.toml"), wrong).unwrap();
    let missing = doctor(&bed);
    assert_eq!(
        missing,
        "fail: /nowhere/orch does not run there: install it, or correct orch"
    );
    let root = bed.root().display().to_string();
    fs::write(
        bed.house.path("orch.toml"),
        config.replace(&root, "/etc/passwd/x"),
    )
    .unwrap();
    let closed = doctor(&bed);
    assert_eq!(
        closed,
        "fail: /etc/passwd cannot be written: change its owner, or set root"
    );
    bed.sshd.stop();
    let silent = doctor(&bed);
    assert!(
        silent.contains("Connection refused") && silent.contains("try `ssh"),
        "{silent}"
    );
}

#[tokio::test]
async fn what_a_node_could_not_forget_at_once_is_swept_when_it_answers_again() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE]).await else {
        return;
    };
    bed.house.role("developer", THERE);
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    let dir = bed
        .house
        .data()
        .join(format!("runs/{}-{}", claim.job, claim.epoch));
    assert!(dir.join("far.gone").exists());
    fs::remove_file(dir.join("far.gone")).unwrap();
    let left = bed.root().join(format!("runs/{}-{}", claim.job, claim.epoch));
    fs::create_dir_all(&left).unwrap();
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert!(swept.trouble.is_empty(), "{:?}", swept.trouble);
    assert!(!left.exists() && dir.join("far.gone").exists());
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
}

#[tokio::test]
async fn an_agent_that_nobody_looks_after_any_more_is_ended_on_its_node_by_itself() {
    let Some(mut bed) = Bed::new(Mode::Shim, &[ONLY_THERE, "nodes.far.offline_s = 10"]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; hold here"));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let reached = bed.house.path("out/here.reached");
    driving.until("the agent holds", async || reached.exists()).await;
    bed.sshd.stop();
    bed.house
        .until("nothing lives there", || bed.there().is_empty())
        .await;
    driving.end().await.unwrap();
    assert_eq!(bed.strategies().await, ["offline on far"]);
    bed.sshd.start_again();
    orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    let wip = bed.house.wip();
    assert_eq!(bed.house.kept(&wip[0], "src/code.txt").as_deref(), Some("work\n"));
}

/// On the service's own node the agent's program is missing.
const MISSING_HERE: &str = "case $ORCH_PROMPT_FILE in */data/runs/*) exit 127;; esac";

#[tokio::test]
async fn exit_127_on_one_of_two_nodes_blacklists_it_for_half_an_hour_and_a_restart_keeps_that() {
    let Some(mut bed) = Bed::new(Mode::Bare, &[]).await else {
        return;
    };
    bed.house.role("developer", &format!("{MISSING_HERE}; {THERE}"));
    let task = bed.house.add("Say hello").await;
    let first = bed.house.claim_one().await;
    assert_eq!(
        bed.house.job(first).await.agent_node,
        None,
        "the own node comes first"
    );
    bed.house.drive(first).await;
    assert_eq!(bed.strategies().await, ["no_cli on local"]);
    let own = bed.node("local").await;
    assert_eq!((own.stands.as_str(), own.taken), ("blacklisted", 0));
    bed.house.restart().await;
    let second = bed.house.claim_one().await;
    let node = bed.house.job(second).await.agent_node.unwrap();
    assert_eq!(node.as_str(), "far", "at once");
    assert_eq!(bed.node("far").await.taken, 1);
    bed.house.drive(second).await;
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");

    bed.house.later(Duration::from_secs(1700));
    assert_eq!(bed.node("local").await.stands, "blacklisted");
    bed.house.later(Duration::from_secs(101));
    assert_eq!(bed.node("local").await.stands, "usable", "by itself");
    bed.house.role("developer", THERE);
    bed.house.add("Say more").await;
    let third = bed.house.claim_one().await;
    assert_eq!(bed.house.job(third).await.agent_node, None);
    bed.house.drive(third).await;
}

#[tokio::test]
async fn when_both_nodes_lack_it_the_last_one_cools_down_and_by_hand_all_is_given_back() {
    let Some(bed) = Bed::new(Mode::Bare, &["repair.node_cool_s = 300"]).await else {
        return;
    };
    bed.house.role(
        "developer",
        &format!("[ -e \"$out/installed\" ] || exit 127; {THERE}"),
    );
    let task = bed.house.add("Say hello").await;
    for _ in 0..2 {
        let claim = bed.house.claim_one().await;
        bed.house.drive(claim).await;
    }
    let stands = [bed.node("local").await.stands, bed.node("far").await.stands];
    assert_eq!(stands, ["blacklisted", "cooled"]);
    bed.house.later(Duration::from_secs(10));
    assert!(bed.house.claim().await.is_empty());
    fs::write(bed.house.path("out/installed"), "").unwrap();
    nodes::clear(&bed.house.engine, "far").await.unwrap();
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
    assert!(bed.prompts().contains(&bed.root().display().to_string()));
}

#[tokio::test]
async fn a_node_is_blacklisted_by_hand_with_a_reason_and_what_needs_a_label_goes_where_it_is() {
    let labels = "nodes.far.labels = ['gpu']";
    let Some(bed) = Bed::new(Mode::Bare, &[labels]).await else {
        return;
    };
    let engine = &bed.house.engine;
    let hour = Duration::from_secs(3600);
    let unknown = nodes::blacklist(engine, "nowhere", hour, "x").await;
    assert!(
        matches!(unknown, Err(EngineError::NotFound { .. })),
        "{unknown:?}"
    );
    let silent = nodes::blacklist(engine, "far", hour, " ").await;
    assert!(matches!(silent, Err(EngineError::Invalid { .. })), "{silent:?}");
    let until = nodes::blacklist(engine, "local", hour, "new disk").await.unwrap();
    assert_eq!(until, engine.now() + hour);
    let shorter = nodes::blacklist(engine, "local", Duration::from_secs(1), "again")
        .await
        .unwrap();
    assert_eq!(shorter, until, "what lasts longer stays");
    let own = bed.node("local").await;
    assert_eq!(
        (own.kind.as_str(), own.stands.as_str(), own.reason.as_deref()),
        ("own", "blacklisted", Some("new disk"))
    );
    let far = bed.node("far").await;
    assert_eq!(
        (far.kind.as_str(), far.slots, far.labels),
        ("ssh", Some(1), vec!["gpu".to_owned()])
    );
    bed.house.role("developer", THERE);
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    assert_eq!(bed.house.job(claim).await.agent_node.unwrap().as_str(), "far");
    bed.house.drive(claim).await;
    assert!(bed.prompts().starts_with(&bed.root().display().to_string()));
}

#[tokio::test]
async fn what_needs_a_label_is_claimed_for_the_node_that_has_it() {
    let plan = Plan::new(SHORT)
        .set("nodes.far.host = 'nowhere.invalid'")
        .set("nodes.far.labels = ['gpu', 'big']");
    let house = plan.agent_with("labels = ['gpu']").build().await;
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    let node = house.job(claim).await.agent_node;
    assert_eq!(node.as_ref().map(NodeName::as_str), Some("far"));
}

#[tokio::test]
async fn what_git_knew_of_the_worktree_there_may_be_lost_and_the_work_is_not() {
    let lost = [
        "rm -rf \"$ADMIN\"",
        "echo nonsense >\"$ADMIN/gitdir\"",
        "echo ../../../../worktrees/\"${PWD##*/}\"/.git >\"$ADMIN/gitdir\"",
        "rm \"$ADMIN/HEAD\" \"$ADMIN/commondir\" \"$ADMIN/index\"",
    ];
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE]).await else {
        return;
    };
    for (n, lost) in lost.into_iter().enumerate() {
        let admin = "ADMIN=$(git rev-parse --absolute-git-dir)";
        let work = format!("{THERE}; echo work >src/{n}.txt; {admin}; {lost}");
        bed.house.role("developer", &work);
        let task = bed.house.add("Say hello").await;
        bed.house.run_all().await;
        let events = bed.house.events(task).await;
        assert_eq!(bed.house.stands(task).await, "done done", "{lost}: {events:#?}");
        let merged = bed.house.file("main", &format!("src/{n}.txt"));
        assert_eq!(merged.as_deref(), Some("work\n"), "{lost}");
        assert_eq!(bed.left_there(), [""; 0], "{lost}");
    }
}

#[tokio::test]
async fn work_that_does_not_fit_on_the_disk_of_its_node_stays_there_until_it_does() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE, "repair.enabled = false"]).await else {
        return;
    };
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    // As without an inode left.
    let full = "for f in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do for g in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do \
                [ -e \"$bare/objects/$f$g\" ] || : >\"$bare/objects/$f$g\"; done; done";
    let bare =
        format!("bare='{}'", bed.root().join("repos/shop.git").display()).replace("far's", "far'\\''s");
    bed.house.role(
        "developer",
        &format!("{THERE}; echo two >two; {bare}; {full}; exit 3"),
    );
    let driven = orch::engine::run::drive(&bed.house.engine, claim).await;
    assert!(driven.is_err(), "its monitor tries again: {driven:?}");
    assert_eq!(bed.house.wip(), [""; 0], "half of it would be worse than to wait");
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert!(
        swept.trouble[0].contains("the look for work on node far"),
        "{:?}",
        swept.trouble
    );
    assert!(
        bed.root()
            .join(format!("worktrees/{}-{}/two", claim.job, claim.epoch))
            .exists()
    );
    for entry in fs::read_dir(bed.root().join("repos/shop.git/objects")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble), (1, Vec::new()));
    let wip = bed.house.wip();
    assert_eq!(bed.house.kept(&wip[0], "src/code.txt").as_deref(), Some("work\n"));
    assert_eq!(bed.house.kept(&wip[0], "two").as_deref(), Some("two\n"));
}

#[tokio::test]
async fn work_on_a_node_that_was_taken_out_of_the_settings_is_still_fetched() {
    let Some(mut bed) = Bed::new(Mode::Bare, &["node_slots = 0"]).await else {
        return;
    };
    let root = bed.root();
    bed.house.role("developer", &format!("{THERE}; hold here"));
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let reached = bed.house.path("out/here.reached");
    driving.until("the agent holds", async || reached.exists()).await;
    drop(driving);
    let file = bed.house.path("orch.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let without: Vec<_> = settings
        .lines()
        .filter(|line| !line.starts_with("nodes.far") && !line.starts_with("node_slots"))
        .collect();
    fs::write(&file, without.join("\n")).unwrap();
    bed.house.restart().await;
    bed.house.go("here");
    bed.house.drive(claim).await;
    assert!(
        !root
            .join(format!("worktrees/{}-{}", claim.job, claim.epoch))
            .exists()
    );
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
    assert_eq!(
        bed.house.ran(),
        ["developer", "reviewer"],
        "nothing was begun again"
    );
    fs::write(&file, settings).unwrap();
    bed.house.restart().await;
}

#[tokio::test]
async fn an_agent_that_ends_with_255_by_itself_says_nothing_about_its_node() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; exit 255"));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    assert_eq!(bed.node("far").await.stands, "usable");
    let error = bed.house.run_of(claim).await.unwrap().error.unwrap();
    assert!(error.contains("exit code 254"), "{error}");
}

#[tokio::test]
async fn that_a_worktree_was_gone_on_its_node_is_known_after_a_death() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE, "repair.enabled = false"]).await else {
        return;
    };
    bed.house.role("developer", &format!("{THERE}; rm -rf \"$PWD\""));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    let dir = bed
        .house
        .data()
        .join(format!("runs/{}-{}", claim.job, claim.epoch));
    assert_eq!(fs::read_to_string(dir.join("far.back")).unwrap(), "gone");
    let error = bed.house.run_of(claim).await.unwrap().error.unwrap();
    assert!(error.contains("removed its own worktree"), "{error}");
}

#[tokio::test]
async fn one_record_that_cannot_be_read_does_not_keep_the_others_from_being_swept() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE]).await else {
        return;
    };
    bed.house.role("developer", THERE);
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    let runs = bed.house.data().join("runs");
    let dir = runs.join(format!("{}-{}", claim.job, claim.epoch));
    fs::remove_file(dir.join("far.gone")).unwrap();
    for name in ["0-0", "999-9"] {
        fs::create_dir_all(runs.join(name)).unwrap();
        fs::write(runs.join(name).join("far.back"), "brought").unwrap();
        fs::write(runs.join(name).join("far.json"), "nonsense").unwrap();
    }
    let swept = orch::engine::recover::sweep(&bed.house.engine).await.unwrap();
    assert_eq!(swept.trouble.len(), 2, "{:?}", swept.trouble);
    assert!(dir.join("far.gone").exists());
}

#[tokio::test]
async fn an_agent_that_prints_more_than_its_log_holds_is_heard_of_all_the_same() {
    let small = [
        "node_slots = 0",
        "agent.log_cap_mib = 1",
        "nodes.far.offline_s = 20",
    ];
    let Some(bed) = Bed::new(Mode::Shim, &small).await else {
        return;
    };
    let prints = "yes | head -c 3000000; while [ ! -e \"$out/enough\" ]; do echo on; sleep 0.2; done";
    bed.house.role("developer", &format!("{THERE}; {prints}"));
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    let mut driving = bed.house.driving(claim);
    let dir = bed
        .house
        .data()
        .join(format!("runs/{}-{}", claim.job, claim.epoch));
    let heard = || {
        let tails =
            ["output.tail.0", "output.tail.1"].map(|name| fs::read(dir.join(name)).unwrap_or_default());
        tails
            .iter()
            .any(|text| String::from_utf8_lossy(text).contains("prints on"))
    };
    driving.until("it is heard of", async || heard()).await;
    fs::write(bed.house.path("out/enough"), "").unwrap();
    driving.end().await.unwrap();
}

#[tokio::test]
async fn a_node_that_answers_and_cannot_take_a_run_is_blacklisted_and_the_job_goes_to_the_other() {
    let Some(bed) = Bed::new(Mode::Bare, &["node_slots = 1"]).await else {
        return;
    };
    bed.house
        .role("developer", "hold $ORCH_WORK_ITEM; echo x >\"$ORCH_WORK_ITEM\"");
    let first = bed.house.add("First").await;
    let second = bed.house.add("Second").await;
    let claimed = bed.house.claim().await;
    let (own, far) = (
        orch::engine::run::claim_of(&claimed[0]),
        orch::engine::run::claim_of(&claimed[1]),
    );
    fs::write(bed.root().join("owner"), "somebody\n").unwrap();
    bed.house.drive(far).await;
    assert_eq!(bed.strategies().await, ["offline on far"]);
    let node = bed.node("far").await;
    assert_eq!(node.stands, "blacklisted");
    let job = bed.house.job(far).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
    let error = bed.house.run_of(far).await.unwrap().error.unwrap();
    assert!(
        error.contains("worker offline: node far") && error.contains("set another root"),
        "{error}"
    );
    for task in [first, second] {
        bed.house.go(&task_name(&bed, task).await);
    }
    bed.house.drive(own).await;
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(second).await, "done done");
}

#[tokio::test]
async fn a_node_on_which_this_program_does_not_run_cools_down() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE, "nodes.far.orch = '/nowhere/orch'"]).await else {
        return;
    };
    bed.house.role("developer", THERE);
    bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    bed.house.drive(claim).await;
    assert_eq!(bed.strategies().await, ["offline on far"]);
    assert_eq!(bed.node("far").await.stands, "cooled");
    assert_eq!(bed.house.job(claim).await.attempts, 0);
}

#[tokio::test]
async fn a_folder_of_another_installation_is_refused_with_what_to_do() {
    let Some(bed) = Bed::new(Mode::Bare, &[ONLY_THERE, "repair.enabled = false"]).await else {
        return;
    };
    fs::write(bed.root().join("owner"), "somebody\n").unwrap();
    bed.house.role("developer", THERE);
    let task = bed.house.add("Say hello").await;
    let claim = bed.house.claim_one().await;
    // Another service's run of the same name.
    let theirs = bed
        .root()
        .join(format!("worktrees/{}-{}", claim.job, claim.epoch));
    fs::create_dir_all(&theirs).unwrap();
    bed.house.drive(claim).await;
    let error = bed.house.run_of(claim).await.unwrap().error.unwrap();
    assert!(
        error.contains("another installation of Orch (somebody)") && error.contains("set another root"),
        "{error}"
    );
    assert!(!bed.root().join("runs").exists(), "nothing was done there");
    assert!(theirs.exists());
    fs::remove_file(bed.root().join("owner")).unwrap();
    bed.house.later(Duration::from_secs(3600));
    bed.house.run_all().await;
    assert_eq!(bed.house.stands(task).await, "done done");
}
