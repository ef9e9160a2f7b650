//! Merges a candidate at its forge. Locally git itself moves main; at Gitea what stands before the merge is asked, the merge
//! is sent once, and the pull request is asked what became of it. Never sends a merge without a last look at the lease.

use crate::domain::delivery::Channel;
use crate::domain::gate::Verdict;
use crate::domain::id::Sha;
use crate::domain::pipeline::GateSpec;
use crate::domain::walk::{self, Answer};
use crate::git::FastForward;
use crate::integrations::forge::Forge;
use crate::integrations::forge::gitea::{Gitea, GiteaError, Merging, Sent};
use crate::store::pull_requests::{self, PullRequest};
use crate::store::{Conn, outbox};

use super::super::lease::{self, MergeLease};
use super::super::look::{Question, look};
use super::super::transition::Abort;
use super::super::{Engine, EngineError, Hint, blocking};
use super::judge::{Judgement, standing};
use super::perform::perform;
use super::{Attempt, Step};

/// What came of a merge, whoever did it.
pub(super) enum Came {
    /// Main has it.
    Merged {
        /// Why a person's working copy could not follow.
        left_behind: Option<String>,
    },
    /// Not now: nothing was changed, as far as is known.
    Wait {
        /// Why.
        why: String,
    },
    /// Main moved: looked at again at once.
    Again,
    /// A person closed the pull request.
    Closed,
    /// It is merged, and main has something else.
    Mismatch {
        /// What.
        why: String,
    },
}

impl From<FastForward> for Came {
    fn from(outcome: FastForward) -> Self {
        match outcome {
            FastForward::Merged(_) | FastForward::AlreadyMerged(_) => Self::Merged { left_behind: None },
            FastForward::MergedWithoutCopy { reason, .. } => Self::Merged {
                left_behind: Some(reason),
            },
            FastForward::WorkingCopy { reason } | FastForward::Refused { why: reason } => {
                Self::Wait { why: reason }
            }
            FastForward::Stale { .. } | FastForward::NotFastForward => Self::Again,
        }
    }
}

/// Merges `head` if main is still at `main`. Whatever merges takes the lease as a proof.
pub(super) async fn merge(
    engine: &Engine,
    a: &Attempt,
    lease: &MergeLease,
    (head, main): (&Sha, &Sha),
) -> Result<Came, EngineError> {
    match &a.project.forge {
        Forge::Local => {
            lease::last_look(engine, lease).await?;
            let (project, head, main) = (a.project.clone(), head.clone(), main.clone());
            let moved = blocking(move || project.repository()?.fast_forward_main(&head, &main));
            Ok(moved.await?.into())
        }
        Forge::Gitea(gitea) => at_gitea(engine, a, (gitea, lease), (head, main)).await,
    }
}

async fn at_gitea(
    engine: &Engine,
    a: &Attempt,
    (gitea, lease): (&Gitea, &MergeLease),
    (head, main): (&Sha, &Sha),
) -> Result<Came, EngineError> {
    let row = pull_of(engine, a).await?;
    let main_branch = &a.project.config.main;
    let wait = |e: GiteaError| Came::Wait { why: e.to_string() };
    let in_main = async || {
        let now = engine.now();
        match gitea.branch_head(main_branch, now).await? {
            Some(main) => gitea.contains(&main, head, now).await,
            None => Ok(false),
        }
    };
    // The outbox alone opens it: two would race, and open two.
    let Some(number) = row.and_then(|row| row.forge_number) else {
        match in_main().await {
            Ok(true) => return Ok(Came::Merged { left_behind: None }),
            Ok(false) => hurry(engine, a).await?,
            Err(e) => return Ok(wait(e)),
        }
        let why = "its pull request is not open at Gitea yet: `orch outbox` says why, where it takes long"
            .to_owned();
        return Ok(Came::Wait { why });
    };
    match gitea
        .before_merge(number, main_branch, (head, main), engine.now())
        .await
    {
        Ok(Merging::Ready) => {}
        Ok(Merging::Already) => return Ok(Came::Merged { left_behind: None }),
        Ok(Merging::Stale { .. }) => return Ok(Came::Again),
        Ok(Merging::Closed) => return Ok(Came::Closed),
        Err(e) => return Ok(wait(e)),
    }
    lease::last_look(engine, lease).await?;
    match gitea.merge(number, head, engine.now()).await {
        Ok(Sent::Merged) => {}
        Ok(Sent::Stale { why } | Sent::NotNow { why }) => return Ok(Came::Wait { why }),
        Ok(Sent::Closed) => return Ok(Came::Closed),
        Err(e) => return Ok(wait(e)),
    }
    Ok(match in_main().await {
        Ok(true) => Came::Merged { left_behind: None },
        Ok(false) => Came::Mismatch {
            why: format!(
                "pull request {number} is merged, and {} does not contain {}, which was tested: look at it before anything else is merged",
                main_branch,
                head.short()
            ),
        },
        Err(e) => wait(e),
    })
}

/// True when a person merged the task's pull request with exactly this head, whatever became of it in main. The inner
/// error says why nobody knows.
pub(super) async fn was_merged(
    engine: &Engine,
    a: &Attempt,
    head: &Sha,
) -> Result<Result<bool, String>, EngineError> {
    let Forge::Gitea(gitea) = &a.project.forge else {
        return Ok(Ok(false));
    };
    let row = pull_of(engine, a).await?;
    let Some(number) = row.and_then(|row| row.forge_number) else {
        return Ok(Ok(false));
    };
    let asked = gitea.was_merged(number, head, engine.now()).await;
    Ok(asked.map_err(|e| e.to_string()))
}

async fn pull_of(engine: &Engine, a: &Attempt) -> Result<Option<PullRequest>, EngineError> {
    let (project, branch) = (a.task.project_id, a.task.branch.clone());
    let read = engine
        .store()
        .read(move |tx| pull_requests::by_branch(tx, project, &branch));
    Ok(read.await?)
}

/// A merge waits for the pull request: what it is opened by may have been put off for an hour.
async fn hurry(engine: &Engine, a: &Attempt) -> Result<(), EngineError> {
    let (hold, task, now) = (a.hold(), a.task.id, engine.now());
    let write = engine.store().write(move |tx| {
        hold.check(tx)?;
        Ok::<_, Abort>(outbox::hurry(tx, task, Channel::Forge, now)?)
    });
    write.await?;
    engine.hint(Hint::Outbox);
    Ok(())
}

/// A person closed the pull request instead of merging it: back to development, as for any gate that is red.
pub(super) async fn closed(engine: &Engine, a: &mut Attempt, gate: GateSpec) -> Result<Step, EngineError> {
    let question = Question {
        head: None,
        gates: Some(Vec::new()),
        run: Some(a.run.id),
        anew: None,
    };
    let looked = look(engine, &a.project, &a.task, &a.stage, &question).await?;
    close_row(engine, a).await?;
    let answer = Answer {
        gate,
        verdict: Verdict::red("a person closed the pull request without merging it"),
        void_stage: None,
    };
    let onward = walk::onward(&standing((&a.project, &a.task, &a.stage), false), &[answer]);
    let judgement = Judgement {
        looked,
        tail: String::new(),
        waits: None,
    };
    perform(engine, a, onward, judgement).await?;
    Ok(Step::Over)
}

/// The next run opens another one.
async fn close_row(engine: &Engine, a: &Attempt) -> Result<(), EngineError> {
    let (hold, now) = (a.hold(), engine.now());
    let (project, branch) = (a.task.project_id, a.task.branch.clone());
    let write = engine.store().write(move |tx: &mut Conn| {
        hold.check(tx)?;
        let row = pull_requests::by_branch(tx, project, &branch)?;
        if let Some(row) = row {
            // Lost: it was closed before.
            drop(pull_requests::close(tx, row.id, now)?);
        }
        Ok::<_, Abort>(())
    });
    Ok(write.await?)
}
