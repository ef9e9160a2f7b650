//! Merges a candidate at its forge. Locally git itself moves main; at Gitea what stands before the merge is asked, the merge
//! is sent once, and the pull request is asked what became of it. Never sends a merge without a last look at the lease.

use crate::domain::delivery::Channel;
use crate::domain::forge::{self, PullState};
use crate::domain::gate::Verdict;
use crate::domain::id::Sha;
use crate::domain::pipeline::GateSpec;
use crate::domain::walk::{self, Answer};
use crate::git::{FastForward, GitError};
use crate::integrations::forge::Forge;
use crate::integrations::forge::gitea::{Gitea, GiteaError, Merging, Sent};
use crate::store::pull_requests::{self, NewPullRequest, PullRequest, PullRequestState};
use crate::store::{Conn, outbox};

use super::super::lease::{self, MergeLease};
use super::super::look::{Question, contains, look};
use super::super::transition::{self, Abort};
use super::super::{Engine, EngineError, Hint, blocking};
use super::judge::{Judgement, standing};
use super::locally;
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

/// What became of a pull request.
pub(super) enum Went {
    /// Nothing: it was not merged.
    Nowhere,
    /// In: main has what was tested.
    In,
    /// In, but as it was before, or into another branch. What is here needs another pull request.
    Besides {
        /// What happened.
        why: String,
    },
    /// In, and main has something else than what was tested.
    Differently {
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

/// Merges `head`, or the commit that stands for it, if main is still at `main`. Whatever merges takes the lease as a proof.
pub(super) async fn merge(
    engine: &Engine,
    a: &Attempt,
    lease: &MergeLease,
    (head, main): (&Sha, &Sha),
    joined: Option<Sha>,
) -> Result<Came, EngineError> {
    match &a.project.forge {
        Forge::Local => {
            lease::last_look(engine, lease).await?;
            let (project, head, main) = (a.project.clone(), head.clone(), main.clone());
            blocking(move || locally::merge(&project, (&head, &main), joined.as_ref())).await
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
            Ok(false) => hurry(engine, a, head).await?,
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
        Ok(Merging::Already) if !a.project.config.merge_style.makes_commit() => {
            return Ok(Came::Merged { left_behind: None });
        }
        // Main has it, and perhaps more than was tested with it.
        Ok(Merging::Already) => {
            return match gitea.pull(number, engine.now()).await {
                Ok(pull) if pull.state == PullState::Merged => came(engine, a, pull, head).await,
                Ok(_) => Ok(Came::Merged { left_behind: None }),
                Err(e) => Ok(wait(e)),
            };
        }
        Ok(Merging::Merged(pull)) => return came(engine, a, pull, head).await,
        Ok(Merging::Elsewhere { base }) => {
            let why = format!("a person has pull request {number} go into {base}");
            return another(engine, a, why).await;
        }
        Ok(Merging::Stale { .. }) => return Ok(Came::Again),
        Ok(Merging::Closed) => return Ok(Came::Closed),
        Err(e) => return Ok(wait(e)),
    }
    lease::last_look(engine, lease).await?;
    let style = a.project.config.merge_style;
    match gitea.merge(number, (head, style), engine.now()).await {
        Ok(Sent::Merged(pull)) => came(engine, a, pull, head).await,
        Ok(Sent::Stale { why } | Sent::NotNow { why }) => Ok(Came::Wait { why }),
        Ok(Sent::Closed) => Ok(Came::Closed),
        Err(e) => Ok(wait(e)),
    }
}

/// The same of a pull request that is merged, by whomever.
async fn came(
    engine: &Engine,
    a: &Attempt,
    pull: forge::PullRequest,
    head: &Sha,
) -> Result<Came, EngineError> {
    match went(a, pull, head).await? {
        Went::In => Ok(Came::Merged { left_behind: None }),
        Went::Besides { why } => another(engine, a, why).await,
        Went::Differently { why } => Ok(Came::Mismatch { why }),
        Went::Nowhere => Ok(Came::Again),
    }
}

/// What became of the task's pull request at a person's click. The inner error says why nobody knows. Where it was merged
/// besides, another one is opened.
pub(super) async fn was_merged(
    engine: &Engine,
    a: &Attempt,
    head: &Sha,
) -> Result<Result<Went, String>, EngineError> {
    let Forge::Gitea(gitea) = &a.project.forge else {
        return Ok(Ok(Went::Nowhere));
    };
    let row = pull_of(engine, a).await?;
    let Some(number) = row.and_then(|row| row.forge_number) else {
        return Ok(Ok(Went::Nowhere));
    };
    let pull = match gitea.pull(number, engine.now()).await {
        Ok(pull) => pull,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let went = went(a, pull, head).await?;
    if let Went::Besides { why } = &went {
        replace_row(engine, a, why).await?;
    }
    Ok(Ok(went))
}

/// Asks git what a merged pull request brought into main: Gitea tells of its branch alone, which may have gone on since.
async fn went(a: &Attempt, pull: forge::PullRequest, head: &Sha) -> Result<Went, EngineError> {
    if pull.state != PullState::Merged {
        return Ok(Went::Nowhere);
    }
    let (project, head, number) = (a.project.clone(), head.clone(), pull.number);
    blocking(move || {
        let (repo, main) = (project.repository()?, &project.config.main);
        let besides = |what: String| {
            let why = format!("pull request {number} was merged {what}");
            Ok::<_, EngineError>(Went::Besides { why })
        };
        if pull.base != main.as_str() {
            return besides(format!("into {}", pull.base));
        }
        let heads = repo.bring(&[main])?;
        let has = |commit: &Sha| match heads.get(main) {
            Some(main) => match contains(&repo, main, commit) {
                Err(GitError::UnknownCommit { .. }) => Ok(false),
                answer => answer,
            },
            None => Ok(false),
        };
        let in_main = has(&head)?;
        if in_main && !project.config.merge_style.makes_commit() {
            return Ok(Went::In);
        }
        let merged_as = repo.pull_head(number)?;
        if merged_as.as_ref() != Some(&head) {
            if in_main {
                return Ok(Went::In);
            }
            let at = merged_as.map_or("another commit".to_owned(), |at| at.short().to_owned());
            return besides(format!("as it was at {at}, before {}", head.short()));
        }
        let tested = head.short();
        let why = match &pull.merged {
            Some(commit) if has(commit)? => {
                if !project.config.merge_gate || repo.code_tree(commit)? == repo.code_tree(&head)? {
                    return Ok(Went::In);
                }
                format!(
                    "{main} has {} instead of {tested}, which was tested",
                    commit.short()
                )
            }
            Some(_) | None if in_main => return Ok(Went::In),
            Some(_) | None => format!("{main} has nothing of {tested}, which was tested"),
        };
        let why =
            format!("pull request {number} is merged, and {why}: look at it before anything else is merged");
        Ok(Went::Differently { why })
    })
    .await
}

async fn pull_of(engine: &Engine, a: &Attempt) -> Result<Option<PullRequest>, EngineError> {
    let (project, branch) = (a.task.project_id, a.task.branch.clone());
    let read = engine
        .store()
        .read(move |tx| pull_requests::by_branch(tx, project, &branch));
    Ok(read.await?)
}

/// A merge waits for the pull request: what it is opened by may have been put off for an hour, or given up, or found nothing
/// to merge at that time.
async fn hurry(engine: &Engine, a: &Attempt, head: &Sha) -> Result<(), EngineError> {
    let (hold, task, now) = (a.hold(), a.task.id, engine.now());
    let (forge, new) = (a.project.forge.clone(), new_pull(a, head));
    let write = engine.store().write(move |tx| {
        hold.check(tx)?;
        forge.open_pull_request(tx, &new, now)?;
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
    let onward = walk::onward(&standing((&a.project, &a.task, &a.stage), (false, 0)), &[answer]);
    let judgement = Judgement {
        looked,
        tail: String::new(),
        waits: None,
    };
    perform(engine, a, onward, judgement).await?;
    Ok(Step::Over)
}

/// What was merged besides is over; what is here gets a pull request of its own.
async fn another(engine: &Engine, a: &Attempt, why: String) -> Result<Came, EngineError> {
    replace_row(engine, a, &why).await?;
    let why = format!("{why}: another one is opened");
    Ok(Came::Wait { why })
}

/// The pull request of the task's branch, at this head.
pub(super) fn new_pull(a: &Attempt, head: &Sha) -> NewPullRequest {
    NewPullRequest {
        project_id: a.task.project_id,
        task_id: a.task.id,
        head_branch: a.task.branch.clone(),
        base_branch: a.project.config.main.clone(),
        title: format!("{}: {}", a.task.work_item_id, a.task.title),
        head_sha: head.clone(),
    }
}

async fn replace_row(engine: &Engine, a: &Attempt, why: &str) -> Result<(), EngineError> {
    let Some(row) = pull_of(engine, a)
        .await?
        .filter(|row| row.state == PullRequestState::Open)
    else {
        return Ok(());
    };
    let (hold, now, forge) = (a.hold(), engine.now(), a.project.forge.clone());
    let (task, new) = (a.task.clone(), new_pull(a, &row.head_sha));
    let text = format!("{why}: another one is opened");
    let write = engine.store().write(move |tx: &mut Conn| {
        hold.check(tx)?;
        if pull_requests::close(tx, row.id, now)?.is_won() {
            forge.open_pull_request(tx, &new, now)?;
            transition::say(tx, &task, "pull request", &text, now)?;
        }
        Ok::<_, Abort>(())
    });
    write.await?;
    engine.committed();
    engine.hint(Hint::Outbox);
    Ok(())
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
