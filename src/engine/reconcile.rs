//! Finds tasks that no job works for any more and lets them go on through the stage engine; tells people who they have
//! kept waiting for long. Decides nothing itself, and asks no git about a task that waits for a person.

mod board;
mod memory;
mod perform;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::gate::GateState;
use crate::domain::id::{FencingToken, Sha, TaskId};
use crate::domain::pipeline::Stage;
use crate::domain::reconcile::{self, Found, Heal, Policy, Sight};
use crate::domain::run::RunStep;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::domain::walk::{self, Onward, Standing};
use crate::store::evidence::NewEvidence;
use crate::store::tasks::{Candidates, Forgotten};
use crate::store::{StoreError, evidence, jobs, outbox, runs, tasks};

use super::contain::{Unit, limited};
use super::instances::Duty;
use super::look::{Question, look};
use super::transition::{self, Abort, Asked, Setting};
use super::{Engine, EngineError, ProjectHandle};

pub use memory::Reconciliation;
pub(super) use memory::Remembered;

/// What one sweep did, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// One line for each task that goes on.
    pub unblocked: Vec<String>,
    /// Tasks that could not be looked at, said once for each cause.
    pub trouble: Vec<String>,
}

const PAGE: usize = 200;

/// Looks once at every task that might have been forgotten. One that cannot be looked at stops no other. Without
/// anything to heal, nothing is written. Does nothing without the duty, or with `reconcile.enabled` off.
///
/// # Errors
/// The database's.
pub async fn sweep(engine: &Engine) -> Result<Swept, EngineError> {
    let settings = &engine.settings().reconcile;
    if !settings.enabled {
        return Ok(Swept::default());
    }
    let (now, duty) = (engine.now(), Duty::of(engine));
    let held = engine.store().read(move |tx| duty.held(tx, now));
    let Some(token) = held.await? else {
        return Ok(Swept::default());
    };
    let sweep = Sweep { engine, token, now };
    let mut swept = Swept::default();
    let mut failed = BTreeMap::new();
    let mut which = Forgotten {
        entered_before: now - shortest(engine),
        parked: !settings.skip_blocked_enabled,
        after: (Timestamp(0), TaskId(0)),
        limit: PAGE,
    };
    loop {
        let Page { page, told, ends } = sweep.page(which).await?;
        let Some(last) = page.last else { break };
        which.after = last;
        let broken = page.tasks.broken.into_iter();
        failed.extend(broken.map(|(id, why)| (TaskId(id), format!("task {id} cannot be read: {why}"))));
        for task in page.tasks.rows {
            let (id, name) = (task.id, task.work_item_id.clone());
            let known = Known {
                told: told.contains(&transition::alert_cause(&task)),
                idle_since: reconcile::idle_since(&task, ends.get(&id).copied()),
            };
            let unit = Unit::Named(format!("task {name}"));
            match limited(engine, unit, sweep.one(task, known)).await {
                Ok(Some(line)) => swept.unblocked.push(line),
                // Lost: somebody else moved it meanwhile.
                Ok(None) | Err(EngineError::Lost | EngineError::Hangs) => {}
                Err(e) => drop(failed.insert(id, format!("{name} cannot be looked at: {e}"))),
            }
        }
    }
    swept.trouble = engine.remember_failed(failed, now);
    if settings.plane_enabled {
        let (lines, trouble) = sweep.boards().await?;
        swept.unblocked.extend(lines);
        swept.trouble.extend(engine.remember_trouble(trouble));
    }
    Ok(swept)
}

/// No task is younger than this when something is to be done about it.
fn shortest(engine: &Engine) -> Duration {
    let settings = &engine.settings().reconcile;
    let graces = settings.grace_overrides.values().copied();
    let all = graces.chain([settings.grace_default, engine.settings().gate_alert]);
    all.min().unwrap_or(settings.grace_default)
}

/// One sweep.
struct Sweep<'a> {
    engine: &'a Engine,
    token: FencingToken,
    now: Timestamp,
}

/// A page of candidates, the alerts that were given about them, and when their last jobs ended.
struct Page {
    page: Candidates,
    told: Vec<String>,
    ends: BTreeMap<TaskId, Timestamp>,
}

/// What the page says of a task.
#[derive(Clone, Copy)]
struct Known {
    /// People were told that it waits.
    told: bool,
    /// Nobody has worked for it since.
    idle_since: Timestamp,
}

/// What heals a task, and what was learned on the way.
struct Cure {
    heal: Heal,
    onward: Option<Onward>,
    asked: Option<Asked>,
    fresh: Vec<NewEvidence>,
}

impl Cure {
    fn queue(heal: Heal) -> Self {
        Self {
            heal,
            onward: None,
            asked: None,
            fresh: Vec::new(),
        }
    }
}

impl Sweep<'_> {
    async fn page(&self, which: Forgotten) -> Result<Page, EngineError> {
        let read = self.engine.store().read(move |tx| {
            let page = tasks::reconcile_candidates(tx, which)?;
            let waiting = page.tasks.rows.iter();
            let waiting = waiting.filter(|task| task.status == TaskStatus::WaitingHuman);
            let causes: Vec<_> = waiting.map(transition::alert_cause).collect();
            let told = match causes.is_empty() {
                true => Vec::new(),
                false => outbox::known(tx, &causes)?,
            };
            let ids: Vec<_> = page.tasks.rows.iter().map(|task| task.id).collect();
            let ends = match ids.is_empty() {
                true => BTreeMap::new(),
                false => jobs::last_ends(tx, &ids)?,
            };
            Ok::<_, StoreError>(Page { page, told, ends })
        });
        Ok(read.await?)
    }

    /// Heals one task if it needs it; answers the line for the log.
    async fn one(&self, task: Task, known: Known) -> Result<Option<String>, EngineError> {
        let project = self.engine.project(task.project_id)?;
        let Some(stage) = project.config.pipeline.stage(&task.stage) else {
            let what = format!(
                "stage {:?} is no longer in the project's pipeline: put it back, or cancel the task",
                task.stage.as_str()
            );
            return Err(EngineError::NotFound { what });
        };
        let settings = &self.engine.settings().reconcile;
        let policy = Policy {
            grace: settings.grace_of(task.stage.as_str()),
            skip_parked: settings.skip_blocked_enabled,
            now: self.now,
        };
        match reconcile::sight(&task, stage, known.idle_since, &policy) {
            Sight::Fine => Ok(None),
            Sight::WaitsForPerson if known.told => Ok(None),
            Sight::WaitsForPerson => self.alert(&project, task, known.idle_since).await.map(|()| None),
            Sight::Forgotten => {
                let cure = self.cure(&project, &task, stage).await?;
                match cure.heal {
                    Heal::Leave => Ok(None),
                    Heal::GoOn | Heal::Queue(..) => self.perform(&project, task, cure).await.map(Some),
                }
            }
        }
    }

    /// Says once for a visit that a person has kept the task waiting.
    async fn alert(
        &self,
        project: &Arc<ProjectHandle>,
        task: Task,
        idle_since: Timestamp,
    ) -> Result<(), EngineError> {
        let s = Setting::new(self.engine, project, self.now);
        if s.now.since(idle_since) < s.gate_alert {
            return Ok(());
        }
        let (duty, token) = (Duty::of(self.engine), self.token);
        let write = self.engine.store().write(move |tx| {
            let current = tasks::by_id(tx, task.id)?.is_some_and(|t| t.version == task.version);
            if !current || duty.held(tx, s.now)? != Some(token) {
                return Err(Abort::Lost);
            }
            let why = task.reason.as_deref().unwrap_or("a person has to decide");
            transition::alert_if_overdue(tx, &s, &task, why)
        });
        write.await?;
        self.engine.committed();
        Ok(())
    }

    async fn cure(
        &self,
        project: &Arc<ProjectHandle>,
        task: &Task,
        stage: &Stage,
    ) -> Result<Cure, EngineError> {
        let worked = self.worked(task, stage).await?;
        if task.candidate.is_none() && !worked && task.status == TaskStatus::Active {
            // Nobody has made the branch yet, so there is nothing to ask gates about.
            return Ok(Cure::queue(reconcile::missing(stage, worked)));
        }
        let question = Question {
            head: None,
            gates: None,
            run: None,
            anew: None,
        };
        let looked = look(self.engine, project, task, stage, &question).await?;
        let standing = Standing {
            pipeline: &project.config.pipeline,
            stage,
            merged: looked.merged,
            developer_retries: task.developer_retries,
            max_developer_retries: project.config.max_developer_retries,
            stale: looked.stale,
        };
        let onward = walk::onward(&standing, &looked.answers());
        let head = &looked.judged.head;
        let found = Found {
            status: task.status,
            stage,
            worked,
            judged_before: task.candidate.as_ref() == Some(head),
            red_applied: self.red_applied(task, &onward, head).await?,
            onward: &onward,
        };
        let heal = reconcile::heal(&found);
        let asked = match heal {
            Heal::GoOn => Some(perform::asked(project, task, stage, &looked, &onward).await?),
            Heal::Leave | Heal::Queue(..) => None,
        };
        Ok(Cure {
            heal,
            onward: Some(onward),
            asked,
            fresh: looked.fresh,
        })
    }

    /// Whether an agent of the stage has ended well in this visit and its work is at the forge.
    async fn worked(&self, task: &Task, stage: &Stage) -> Result<bool, EngineError> {
        let Some(role) = stage.role else { return Ok(false) };
        let (id, visit) = (task.id, task.visit);
        let read = self
            .engine
            .store()
            .read(move |tx| runs::latest_success_of_visit(tx, id, visit, role));
        let run = read.await?;
        Ok(run.is_some_and(|run| match run.step {
            RunStep::Pushed | RunStep::PrOpened | RunStep::Evaluated | RunStep::Finalised => true,
            RunStep::Claimed
            | RunStep::Prepared
            | RunStep::Running
            | RunStep::Exited
            | RunStep::Committed
            | RunStep::Abandoned => false,
        }))
    }

    /// A red answer is kept in the transaction that acts on it.
    async fn red_applied(&self, task: &Task, onward: &Onward, head: &Sha) -> Result<bool, EngineError> {
        let answer = match onward {
            Onward::Retry(answer) | Onward::RollBack(_, answer) | Onward::Escalate(answer) => answer,
            Onward::Advance(_)
            | Onward::Merge
            | Onward::AskConfirm
            | Onward::Restage(_)
            | Onward::WaitHuman(_)
            | Onward::AskAgain(_) => return Ok(false),
        };
        let (id, gate, head) = (task.id, answer.gate.name.clone(), head.clone());
        let read = self
            .engine
            .store()
            .read(move |tx| evidence::was(tx, id, &gate, GateState::Red, &head));
        Ok(read.await?)
    }
}
