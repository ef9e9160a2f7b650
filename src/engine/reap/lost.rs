//! Jobs of instances that were silent for too long. Judged from the database alone, never by a process.

use std::time::Duration;

use crate::domain::id::{JobId, NodeName};
use crate::domain::job::{Job, JobEnd};
use crate::domain::reap::Settlement;
use crate::domain::run::RunStep;
use crate::domain::time::Timestamp;
use crate::process::RunState;
use crate::store::healing::NewHealing;
use crate::store::jobs::Bare;
use crate::store::{Conn, StoreError, clock, healing, instances, jobs, readable, tasks};

use super::super::contain::{Unit, limited};
use super::super::run::reaped::{self, Case, Decided, Tree, action};
use super::super::run::{self, claim_of};
use super::super::{Engine, EngineError, transition};
use super::pages::unreadable;

/// What was taken over from silent instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// One line for each job.
    pub jobs: Vec<String>,
    /// What could not be; tried again the next time.
    pub trouble: Vec<String>,
}

const PAGE: usize = 200;

/// Settles the jobs of instances that were silent for longer than the TTL: one whose work was delivered and whose gates
/// are green goes on, every other is queued again with its attempt refunded. To be called by whoever is on duty. Off with
/// `reaper.enabled`.
///
/// # Errors
/// The database's.
pub async fn take_over(engine: &Engine) -> Result<TakenOver, EngineError> {
    let mut taken = TakenOver::default();
    if !engine.store().is_shared() || !engine.settings().reaper.enabled {
        return Ok(taken);
    }
    let ttl = engine.settings().instance.ttl;
    let mut after = JobId(0);
    loop {
        let own = engine.own_clock();
        let read = engine.store().read(move |tx| {
            let before = clock::now(tx, own)? - ttl;
            let page = jobs::of_silent(tx, before, after, PAGE)?;
            Ok::<_, StoreError>((page.rows, unreadable(tx, page.broken)?))
        });
        let (rows, broken) = read.await?;
        let seen = rows.iter().map(|job| job.id);
        let Some(last) = seen.chain(broken.iter().map(|(job, _)| job.claim.job)).max() else {
            break;
        };
        after = last;
        for (job, why) in broken {
            let id = job.claim.job;
            let failed = limited(engine, Unit::Job(id), fail(engine, job, &why));
            taken.note(id, failed.await);
        }
        for job in rows {
            let id = job.id;
            taken.note(id, limited(engine, Unit::Job(id), take(engine, job)).await);
        }
    }
    if !taken.jobs.is_empty() {
        engine.committed();
    }
    Ok(taken)
}

impl TakenOver {
    fn note(&mut self, job: JobId, done: Result<Option<String>, EngineError>) {
        match done {
            Ok(line) => self.jobs.extend(line),
            Err(EngineError::Lost | EngineError::Hangs) => {}
            Err(e) => self.trouble.push(format!("job {job}: {e}")),
        }
    }
}

/// None: it was heard again, or somebody else was first.
async fn take(engine: &Engine, job: Job) -> Result<Option<String>, EngineError> {
    let lost = Lost::of(engine, Bare::of(&job));
    let line = match delivered(engine, &job).await {
        Ok(Some((case, decided))) => go_on(engine, &lost, case, decided).await?,
        // What cannot be read cannot have been delivered.
        Ok(None) | Err(EngineError::Store(StoreError::Broken { .. })) => queue_again(engine, &lost).await?,
        Err(e) => return Err(e),
    };
    if line.is_some() {
        engine.reaped.note(&lost.job, "taken over from a lost node");
    }
    Ok(line)
}

/// A running job whose instance was silent when it was listed.
#[derive(Clone)]
struct Lost {
    job: Bare,
    own_clock: Timestamp,
    ttl: Duration,
}

impl Lost {
    fn of(engine: &Engine, job: Bare) -> Self {
        Self {
            job,
            own_clock: engine.own_clock(),
            ttl: engine.settings().instance.ttl,
        }
    }

    /// For how long the instance was silent, while it still is and still has the claim. If so neither changes until this
    /// transaction ends. One that nobody knows was heard last when it claimed.
    fn silence(&self, tx: &mut Conn) -> Result<Option<Duration>, StoreError> {
        let instance = self.job.instance.as_ref();
        let heard = match instance {
            Some(id) => instances::heard(tx, id)?,
            None => None,
        };
        let silent = clock::now(tx, self.own_clock)?.since(heard.unwrap_or(self.job.since));
        let lost = silent > self.ttl && jobs::is_of(tx, self.job.claim, instance)?;
        Ok(lost.then_some(silent))
    }

    fn healed(&self, engine: &Engine, silent: Duration, action: &str) -> NewHealing {
        let node = self.job.node.as_ref().map_or("?", NodeName::as_str);
        NewHealing {
            kind: "node lost".into(),
            subject: format!("job {}", self.job.claim.job),
            why: format!("node {node} was not heard for {} s", silent.as_secs()),
            action: action.to_owned(),
            stuck: Some(silent),
            instance: engine.instance().clone(),
        }
    }
}

/// The job as a case, where its task can go on from what its run has delivered.
async fn delivered(engine: &Engine, job: &Job) -> Result<Option<(Case, Decided)>, EngineError> {
    let claim = claim_of(job);
    let read = engine.store().read(move |tx| reaped::read(tx, claim)).await?;
    let Some((job, task, Some(run))) = read.filter(|(_, _, run)| {
        run.as_ref()
            .is_some_and(|run| run.exit.is_some() && run.step >= RunStep::Pushed)
    }) else {
        return Ok(None);
    };
    let case = Case {
        claim,
        job,
        task,
        run: Some(run),
        // Its folder is on a machine that nobody hears.
        state: RunState::NotLaunched,
        tree: Tree::Gone,
    };
    let decided = reaped::decide(engine, &case).await?;
    Ok((decided.settlement == Settlement::GoOn).then_some((case, decided)))
}

async fn go_on(
    engine: &Engine,
    lost: &Lost,
    case: Case,
    decided: Decided,
) -> Result<Option<String>, EngineError> {
    let asked = lost.clone();
    let silence = engine.store().read(move |tx| asked.silence(tx)).await?;
    let still = lost.clone();
    let guard = move |tx: &mut Conn| Ok(still.silence(tx)?.is_some());
    let (Some(silent), Some(a)) = (silence, reaped::take(engine, &case, guard).await?) else {
        return Ok(None);
    };
    let healed = lost.healed(engine, silent, action(decided.settlement));
    let line = line(&healed);
    reaped::settle_elsewhere(engine, a, decided, healed).await?;
    Ok(Some(line))
}

async fn queue_again(engine: &Engine, lost: &Lost) -> Result<Option<String>, EngineError> {
    let (healer, lost) = (engine.clone(), lost.clone());
    let taken = engine.store().write(move |tx| {
        let Some(silent) = lost.silence(tx)? else {
            return Ok(None);
        };
        let (now, job) = (clock::now(tx, lost.own_clock)?, &lost.job);
        let healed = lost.healed(&healer, silent, action(Settlement::Refund));
        let end = JobEnd::Snooze {
            reason: healed.why.clone(),
            available_at: now,
        };
        if !jobs::end(tx, job.claim, &end, now)?.is_won() {
            return Ok(None);
        }
        transition::give_back(tx, job.task_id, job.project_id, now)?;
        if let Some(task) = readable(tasks::by_id(tx, job.task_id))? {
            let text = format!("{}: {}", healed.why, healed.action);
            transition::say(tx, &task, "healed", &text, now)?;
        }
        healing::push(tx, &healed, now)?;
        Ok::<_, StoreError>(Some(line(&healed)))
    });
    Ok(taken.await?)
}

/// A job whose row nobody can read would be claimed by nobody: it fails.
async fn fail(engine: &Engine, job: Bare, why: &str) -> Result<Option<String>, EngineError> {
    let lost = Lost::of(engine, job);
    let asked = lost.clone();
    let Some(silent) = engine.store().read(move |tx| asked.silence(tx)).await? else {
        return Ok(None);
    };
    let healed = lost.healed(engine, silent, action(Settlement::Fail));
    let (line, still) = (line(&healed), lost.clone());
    let why = format!("{}, and its {why}", healed.why);
    let guard = move |tx: &mut Conn| Ok(still.silence(tx)?.is_some());
    let failed = run::fail(engine, &lost.job, &why, Some(healed), guard).await?;
    if !failed.is_won() {
        return Ok(None);
    }
    engine.reaped.note(&lost.job, action(Settlement::Fail));
    Ok(Some(line))
}

fn line(healed: &NewHealing) -> String {
    format!("{}: {}: {}", healed.subject, healed.why, healed.action)
}
