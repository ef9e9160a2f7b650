//! Looks at the sample repository after the demo: was `main` moved once, to tested work? Never changes it.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::domain::id::{BranchName, Sha};
use crate::domain::task::TaskStatus;
use crate::engine::views::{QueueView, TaskDetail};
use crate::git::sample as repository;
use crate::process::service::{ServiceChild, ServiceCommand};

use super::home::Home;
use super::sample;
use super::summary::Check;

/// How long the sample's tests may take; they take a fraction of a second.
const TESTS_LIMIT: Duration = Duration::from_secs(10);

/// The task came to its end.
pub fn task_is_done(task: Option<&TaskDetail>) -> Check {
    let (holds, found) = match task {
        None => (false, "there is no task".to_owned()),
        Some(detail) => {
            let t = &detail.task;
            let back = match t.developer_retries {
                0 => String::new(),
                1 => ", sent back once on the way".to_owned(),
                n => format!(", sent back {n} times on the way"),
            };
            let done = TaskStatus::parse(&t.status) == Some(TaskStatus::Done);
            let place = if done {
                String::new()
            } else {
                format!(" in {}", t.stage)
            };
            (done, format!("{} is {}{place}{back}", t.id, t.status))
        }
    };
    Check {
        name: "the task is done",
        holds,
        found,
    }
}

/// Nothing runs or waits any more.
pub fn no_job_is_left(queue: Option<&QueueView>) -> Check {
    let (holds, found) = match queue.map(|q| q.live.as_slice()) {
        None => (false, "the service did not say".to_owned()),
        Some([]) => (true, "the queue is empty".to_owned()),
        Some(live) => {
            let jobs: Vec<_> = live
                .iter()
                .map(|j| format!("job {} is {} in {}", j.id, j.status, j.stage))
                .collect();
            (false, jobs.join(", "))
        }
    };
    Check {
        name: "no job is left running",
        holds,
        found,
    }
}

/// `main` moved once, straight on from where it was, to the candidate.
pub fn one_merge(home: &Home, candidate: Option<&str>) -> Check {
    let (holds, found) = match merged_once(&home.repository(), &home.base, candidate) {
        Ok(Merges::One(tip, commits)) => (
            true,
            format!("{commits} commits, fast-forward to {}", tip.short()),
        ),
        Ok(Merges::Other(what)) => (false, what),
        Err(error) => (false, format!("{error:#}")),
    };
    Check {
        name: "main holds exactly one merge of it",
        holds,
        found,
    }
}

/// What happened to `main`.
#[derive(Debug, PartialEq, Eq)]
pub enum Merges {
    /// It moved once, to this commit, over so many new ones.
    One(Sha, usize),
    /// Something else happened, in words.
    Other(String),
}

/// Reads from the reflog and the history of `main` what happened to it since `base`.
///
/// # Errors
/// git is missing or cannot read the repository.
pub fn merged_once(repo: &Path, base: &Sha, candidate: Option<&str>) -> anyhow::Result<Merges> {
    let other = |what: String| Ok(Merges::Other(what));
    let main = BranchName::trusted(sample::MAIN);
    let all = repository::moves(repo, &main)?;
    let begin = all.iter().position(|s| s == base).map_or(0, |at| at + 1);
    let tip = match &all[begin..] {
        [] => return other("main was never moved".into()),
        [tip] => tip,
        many => return other(format!("main was moved {} times", many.len())),
    };
    if !repository::between(repo, tip, base)?.is_empty() {
        return other(format!("{} does not follow {}", tip.short(), base.short()));
    }
    let new = repository::between(repo, base, tip)?;
    if let Some(fork) = new.iter().find(|l| l.parents != 1) {
        return other(format!(
            "{} follows {} commits instead of one",
            fork.commit.short(),
            fork.parents
        ));
    }
    let candidate = candidate.context("the service names no candidate")?;
    let candidate = Sha::parse(candidate)?;
    // Artifacts may be committed on top of what was merged; code may not.
    if candidate != *tip && !repository::between(repo, &candidate, tip)?.is_empty() {
        return other(format!(
            "main holds {}, the candidate is {}",
            tip.short(),
            candidate.short()
        ));
    }
    Ok(Merges::One(tip.clone(), new.len()))
}

/// The tests of what `main` holds now, run in a copy of their own.
pub async fn tests_pass(home: &Home) -> Check {
    let (holds, found) = match run_tests(home).await {
        Ok(Tests::Passed(line)) => (true, line),
        Ok(Tests::Failed(text)) => (false, text),
        Err(error) => (false, format!("{error:#}")),
    };
    Check {
        name: "the tests of main pass",
        holds,
        found,
    }
}

enum Tests {
    Passed(String),
    Failed(String),
}

async fn run_tests(home: &Home) -> anyhow::Result<Tests> {
    let main = BranchName::trusted(sample::MAIN);
    let tip = repository::head(&home.repository(), &main)?;
    let copy = home.root().join("main-at-the-end");
    repository::export(&home.repository(), &tip, &copy)?;
    let env: Vec<(OsString, OsString)> = std::env::var_os("PATH")
        .map(|path| ("PATH".into(), path))
        .into_iter()
        .collect();
    let mut tests = ServiceChild::spawn(&ServiceCommand {
        program: Path::new("sh"),
        args: &["-c".into(), sample::TESTS.into()],
        env: &env,
        cwd: &copy,
        log: &home.root().join("main-at-the-end.log"),
    })?;
    let deadline = Instant::now() + TESTS_LIMIT;
    loop {
        match tests.exited()? {
            Some(status) if status.success() => return Ok(Tests::Passed(tests.log_tail(1))),
            Some(status) => return Ok(Tests::Failed(format!("{status}\n{}", tests.log_tail(5)))),
            None if Instant::now() >= deadline => {
                return Ok(Tests::Failed(format!(
                    "not finished after {} s",
                    TESTS_LIMIT.as_secs()
                )));
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
