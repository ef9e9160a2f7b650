//! Heals running jobs whose executor died: looks, asks `domain::reap`, wins the row, and settles it through the functions
//! of its monitor. Never writes about a job that it did not win, and never judges another node's job by a process.

mod counters;
mod lost;
mod pages;
mod queued;
mod unread;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::id::JobId;
use crate::domain::job::{Claim, Job};
use crate::domain::reap::{Evidence, Facts, Policy, Tier, Verdict, verdict};
use crate::domain::time::Timestamp;
use crate::process::RunState;
use crate::store::jobs::Bare;
use crate::store::{StoreError, jobs};

use super::contain::{Unit, contained, limited};
use super::run::reaped::{self, Case, Cause, Decided, Tree, action};
use super::run::{abandon, claim_of};
use super::views::PlannedReap;
use super::{Engine, EngineError};

pub use counters::{Counters, Reaped, Stats};
pub use lost::{TakenOver, take_over};
use pages::Pages;

/// Says whether a claim has a live monitor.
pub type Watched<'a> = &'a (dyn Fn(Claim) -> bool + Send + Sync);

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The jobs that were settled.
    pub reaped: Vec<Reaped>,
    /// What could not be; tried again the next time.
    pub trouble: Vec<String>,
}

/// A job that is to be reaped. Nothing was written about it yet.
pub struct Candidate {
    case: Case,
    tier: Tier,
    cause: Cause,
    decided: Decided,
}

/// One look at every running job of this instance. Off with `reaper.enabled`: then it looks at nothing.
///
/// # Errors
/// The database's. What one job fails for is in the answer, and stops no other.
pub async fn sweep(engine: &Engine, watched: Watched<'_>) -> Result<Swept, EngineError> {
    let mut swept = Swept::default();
    if !engine.settings().reaper.enabled || !engine.is_in_time() {
        return Ok(swept);
    }
    let _alone = engine.reaped.alone().await;
    let mut running = BTreeSet::new();
    let mut pages = Pages::default();
    while let Some(page) = pages.next(engine).await? {
        for (job, why) in page.broken {
            let unit = Unit::Job(job.claim.job);
            swept.note(
                job.claim.job,
                limited(engine, unit, unread::end(engine, &job, &why)).await,
            );
        }
        for job in page.jobs {
            running.insert(claim_of(&job));
            swept.note(job.id, one(engine, &job, watched).await);
        }
    }
    for (job, since) in engine.reaped.unread_since() {
        let ended = limited(engine, Unit::Job(job), queued::end(engine, job, since));
        swept.note(job, ended.await);
    }
    engine
        .reaped
        .end_sweep(engine.now(), swept.trouble.len(), &running);
    Ok(swept)
}

impl Swept {
    fn note(&mut self, job: JobId, done: Result<Option<Reaped>, EngineError>) {
        match done {
            Ok(reaped) => self.reaped.extend(reaped),
            // Told when it began to.
            Err(EngineError::Hangs) => {}
            Err(e) => self.trouble.push(format!("job {job}: {e}")),
        }
    }
}

/// Heals one job. One at which the reaper itself breaks is left to what can be done about a job unseen.
async fn one(engine: &Engine, job: &Job, watched: Watched<'_>) -> Result<Option<Reaped>, EngineError> {
    limited(engine, Unit::Job(job.id), async {
        match contained(heal(engine, job, watched)).await {
            // The database's trouble says nothing about the job.
            Err(e @ (EngineError::Store(StoreError::Broken { .. }) | EngineError::Broken(_))) => {
                unread::end(engine, &Bare::of(job), &e.to_string()).await
            }
            done => done,
        }
    })
    .await
}

async fn heal(engine: &Engine, job: &Job, watched: Watched<'_>) -> Result<Option<Reaped>, EngineError> {
    let claim = claim_of(job);
    let Some((case, verdict)) = look(engine, claim, watched).await? else {
        return Ok(None);
    };
    match verdict {
        Verdict::Leave => Ok(None),
        Verdict::Forget => forget(engine, claim).await.map(|()| None),
        Verdict::Count => count(engine, claim).await.map(|()| None),
        Verdict::Reap(tier) => {
            let candidate = evaluate(engine, case, tier).await?;
            act(engine, candidate).await
        }
    }
}

/// It was not dead after all.
async fn forget(engine: &Engine, claim: Claim) -> Result<(), EngineError> {
    let forgotten = engine.store().write(move |tx| jobs::clear_dead_looks(tx, claim));
    Ok(forgotten.await?)
}

/// It looked dead once more.
async fn count(engine: &Engine, claim: Claim) -> Result<(), EngineError> {
    let counted = engine.store().write(move |tx| jobs::look_dead(tx, claim));
    // Lost: its claim is over.
    let _ = counted.await?;
    Ok(())
}

/// What a sweep would reap now, and why. Writes nothing, and looks also while the reaper is off.
///
/// # Errors
/// The database's.
pub async fn plan(engine: &Engine, watched: Watched<'_>) -> Result<Vec<PlannedReap>, EngineError> {
    let mut planned = Vec::new();
    let mut pages = Pages::default();
    while let Some(page) = pages.next(engine).await? {
        let unread = page.broken.iter();
        planned.extend(unread.map(|(job, why)| PlannedReap::unknown(job.claim.job, why)));
        for job in page.jobs {
            match limited(engine, Unit::Job(job.id), candidate(engine, &job, watched)).await {
                Ok(Some(candidate)) => planned.push(candidate.view()),
                Ok(None) => {}
                Err(e) => planned.push(PlannedReap::unknown(job.id, &e)),
            }
        }
    }
    Ok(planned)
}

/// The job as a candidate, where it is one: its gates are asked, nothing is written.
///
/// # Errors
/// The database's, those of a run directory that cannot be read.
pub async fn candidate(
    engine: &Engine,
    job: &Job,
    watched: Watched<'_>,
) -> Result<Option<Candidate>, EngineError> {
    match look(engine, claim_of(job), watched).await? {
        Some((case, Verdict::Reap(tier))) => evaluate(engine, case, tier).await.map(Some),
        Some((_, Verdict::Leave | Verdict::Forget | Verdict::Count)) | None => Ok(None),
    }
}

async fn look(
    engine: &Engine,
    claim: Claim,
    watched: Watched<'_>,
) -> Result<Option<(Case, Verdict)>, EngineError> {
    let read = engine.store().read(move |tx| {
        let looks = jobs::dead_looks(tx, claim)?;
        Ok::<_, StoreError>(reaped::read(tx, claim)?.zip(looks))
    });
    let Some(((job, task, run), dead_looks)) = read.await? else {
        return Ok(None);
    };
    // After the run was read: a monitor that begins later makes this one lose.
    let monitored = watched(claim);
    let state = reaped::state(engine, claim, run.as_ref()).await?;
    let evidence = match (&state, run.as_ref().and_then(|r| r.exit.as_ref())) {
        (_, Some(exit)) | (RunState::Ended(exit), None) => Evidence::Ended { at: exit.finished_at },
        (RunState::NotLaunched, None) => Evidence::Nothing,
        (RunState::Running(_), None) => Evidence::Alive,
        (RunState::Lost(_) | RunState::Elsewhere(_), None) => Evidence::Gone,
    };
    let facts = Facts {
        since: Bare::of(&job).since,
        dead_looks,
        monitored,
    };
    if evidence == Evidence::Alive {
        engine.reaped.note_alive(claim, engine.now());
    }
    let verdict = verdict(facts, evidence, policy(engine), engine.now());
    let case = Case {
        claim,
        job,
        task,
        run,
        state,
        tree: Tree::Gone,
    };
    Ok(Some((case, verdict)))
}

fn policy(engine: &Engine) -> Policy {
    let reaper = &engine.settings().reaper;
    Policy {
        dead_ticks: reaper.dead_ticks,
        finalize_grace: reaper.finalize_grace,
        max_running: reaper.max_running,
    }
}

async fn evaluate(engine: &Engine, mut case: Case, tier: Tier) -> Result<Candidate, EngineError> {
    let (settings, now) = (&engine.settings().reaper, engine.now());
    let cause = match tier {
        Tier::DeadProcess => Cause {
            why: "its process is gone and has recorded no exit".to_owned(),
            stuck: Some(now.since(last_alive(engine, &case))),
        },
        Tier::ExitRecorded => {
            let waited = match (&case.state, case.run.as_ref().and_then(|r| r.exit.as_ref())) {
                (_, Some(exit)) | (RunState::Ended(exit), None) => now.since(exit.finished_at),
                (_, None) => Duration::ZERO,
            };
            Cause {
                why: format!(
                    "its exit was recorded {} s ago, and nobody went on",
                    waited.as_secs()
                ),
                stuck: Some(waited),
            }
        }
        Tier::Backstop => {
            let running = now.since(Bare::of(&case.job).since);
            case.tree = Tree::EndFirst;
            Cause {
                why: format!(
                    "it ran for {} s, longer than reaper.max_running_s ({})",
                    running.as_secs(),
                    settings.max_running.as_secs()
                ),
                stuck: Some(running.saturating_sub(settings.max_running)),
            }
        }
    };
    let decided = reaped::decide(engine, &case).await?;
    Ok(Candidate {
        case,
        tier,
        cause,
        decided,
    })
}

/// When a process that is gone was seen alive last; where nobody looked while it lived, when its run began.
fn last_alive(engine: &Engine, case: &Case) -> Timestamp {
    let seen = engine.reaped.alive_at(case.claim);
    let began = || case.run.as_ref().map(|run| run.started_at);
    seen.or_else(began).unwrap_or_else(|| Bare::of(&case.job).since)
}

/// Wins the row of a candidate, and only then acts. None: somebody else was first, and nothing was done.
///
/// # Errors
/// The database's, git's, a process that does not die. The job runs on then, and the next sweep looks again.
pub async fn act(engine: &Engine, candidate: Candidate) -> Result<Option<Reaped>, EngineError> {
    let Candidate {
        mut case,
        cause,
        mut decided,
        ..
    } = candidate;
    if let Err(e) = reaped::placed(engine, &case.job) {
        return unread::fail(engine, &Bare::of(&case.job), &e.to_string(), cause.stuck).await;
    }
    let Some(a) = reaped::take(engine, &case, |_| Ok(true)).await? else {
        return Ok(None);
    };
    if case.tree == Tree::EndFirst {
        reaped::end_tree(engine, &a, &mut case).await?;
        // How it ended is known only now.
        decided = reaped::decide(engine, &case).await?;
    }
    let did = action(decided.settlement);
    match reaped::settle(engine, a, decided, &cause, &case.state).await {
        Ok(()) => Ok(Some(engine.reaped.note(&Bare::of(&case.job), did))),
        Err(EngineError::Lost) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Settles a job whose monitor died once too often by the rules for a reaped one: its tree is ended first. The service
/// goes on.
///
/// # Errors
/// `Lost` when others keep taking it; the database's, git's, a process that does not die; `Broken` where this panics too.
pub async fn give_up(engine: &Engine, claim: Claim, why: &str) -> Result<(), EngineError> {
    contained(settle_spent(engine, claim, why)).await
}

async fn settle_spent(engine: &Engine, claim: Claim, why: &str) -> Result<(), EngineError> {
    // What the monitor wrote when it died may be committed only now: then its row is not as it was read.
    for _ in 0..TAKES {
        let read = engine.store().read(move |tx| reaped::read(tx, claim)).await?;
        let Some((job, task, run)) = read else {
            return abandon(engine, claim).await;
        };
        let state = reaped::state(engine, claim, run.as_ref()).await?;
        let case = Case {
            claim,
            job,
            task,
            run,
            state,
            tree: Tree::EndFirst,
        };
        let candidate = Candidate {
            decided: reaped::decide(engine, &case).await?,
            case,
            tier: Tier::Backstop,
            cause: Cause {
                why: why.to_owned(),
                stuck: None,
            },
        };
        if act(engine, candidate).await?.is_some() {
            return Ok(());
        }
    }
    Err(EngineError::Lost)
}

/// How often a job is taken that somebody else still writes about.
const TAKES: usize = 5;

impl Candidate {
    fn view(&self) -> PlannedReap {
        let lives = matches!(self.case.state, RunState::Running(_)) && self.case.tree == Tree::EndFirst;
        let first = if lives { "its agent is ended, then " } else { "" };
        PlannedReap {
            job_id: self.case.job.id.0,
            task: self.case.task.work_item_id.to_string(),
            agent: reaped::who(&self.case.job),
            tier: self.tier.as_str().to_owned(),
            why: format!("{}; {}", self.cause.why, self.decided.detail),
            action: format!("{first}{}", action(self.decided.settlement)),
        }
    }
}
