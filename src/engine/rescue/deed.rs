//! One push of kept work: intended, done, recorded, and brought to its end when that was cut off.
//! Never decides what may be pushed where.

use serde_json::{Value, json};

use crate::domain::id::{BranchName, RunId, Sha};
use crate::domain::time::Timestamp;
use crate::git::{GitError, PushMode, PushOutcome};
use crate::store::intents::{Intent, IntentKind, IntentStatus, NewIntent};
use crate::store::{Conn, StoreError, intents};

use super::super::transition::{Abort, say};
use super::super::views::RescueView;
use super::super::{Engine, EngineError, blocking};
use super::{Kept, find, place};

/// With this the key of every rescue begins.
const KEY: &str = "rescue:";

/// With this the keys of a run's rescues begin.
pub(super) fn keys_of(run: RunId) -> String {
    format!("{KEY}{run}:")
}

/// Brings rescues to their end that were cut off, and says which could not be. May be called at any time.
pub(in crate::engine) async fn go_on(engine: &Engine) -> Result<Vec<String>, EngineError> {
    let open = engine.store().read(|tx| intents::open_keyed(tx, KEY)).await?;
    let mut trouble: Vec<String> = open
        .broken
        .iter()
        .map(|(id, why)| format!("intent {id} cannot be read: {why}"))
        .collect();
    for intent in open.rows {
        if let Err(e) = go_on_with(engine, &intent).await {
            trouble.push(format!("{}: {e}", intent.key));
        }
    }
    Ok(trouble)
}

async fn go_on_with(engine: &Engine, intent: &Intent) -> Result<(), EngineError> {
    let text = |name: &str| {
        intent
            .payload
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let run = intent
        .payload
        .get("run")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let (Ok(branch), Ok(commit)) = (BranchName::parse(text("branch")), Sha::parse(text("commit"))) else {
        return give_up(engine, intent, "it names no branch or no commit").await;
    };
    let deed = match find(engine, run).await {
        // It is in another node's clone, whose own service looks after it.
        Ok(kept) if engine.check_here(&kept.run).is_err() => return Ok(()),
        Ok(kept) => Deed { kept, branch, commit },
        Err(EngineError::NotFound { what } | EngineError::Conflict { what }) => {
            return give_up(engine, intent, &what).await;
        }
        Err(e) => return Err(e),
    };
    match deed.carry_out(engine, intent).await {
        // Answered, and noted as given up.
        Ok(_) | Err(EngineError::Conflict { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// One push of kept work to a branch.
#[derive(Clone)]
pub(super) struct Deed {
    pub(super) kept: Kept,
    pub(super) branch: BranchName,
    pub(super) commit: Sha,
}

impl Deed {
    /// One intent for all who ask for the same, until it was given up.
    pub(super) fn intend(&self, tx: &mut Conn, now: Timestamp) -> Result<Intent, StoreError> {
        let (task, run) = (self.kept.task.id, self.kept.run.id);
        let mut before = intents::keyed(tx, task, &keys_of(run))?;
        let payload = json!({ "run": run.0, "branch": self.branch, "commit": self.commit });
        let same = |i: &&Intent| i.payload == payload && i.status != IntentStatus::Void;
        if let Some(intent) = before.iter().find(same) {
            return Ok(intent.clone());
        }
        before.retain(|i| i.payload == payload);
        let new = NewIntent {
            key: format!("{KEY}{run}:{}:{}", self.branch, before.len() + 1),
            task_id: task,
            claim: None,
            kind: IntentKind::Push,
            payload,
        };
        intents::intend(tx, &new, now)
    }

    pub(super) async fn carry_out(
        &self,
        engine: &Engine,
        intent: &Intent,
    ) -> Result<RescueView, EngineError> {
        let pushed = self.push(engine).await;
        let created = match pushed {
            Ok(PushOutcome::Pushed) => true,
            Ok(PushOutcome::AlreadyThere) => false,
            Ok(PushOutcome::Moved { found }) => {
                let at = found.map_or_else(String::new, |head| format!(", at {}", head.short()));
                let what = format!(
                    "the repository has a branch {} already{at}, and it is left alone: choose another name with --branch",
                    self.branch
                );
                give_up(engine, intent, &what).await?;
                return Err(EngineError::Conflict { what });
            }
            Ok(PushOutcome::Refused { why }) => {
                let what = format!(
                    "the repository does not take branch {}: {why}; choose another name with --branch",
                    self.branch
                );
                give_up(engine, intent, &what).await?;
                return Err(EngineError::Conflict { what });
            }
            Ok(PushOutcome::NotFastForward) => {
                return Err(EngineError::Broken(
                    "a new branch has nothing to fast-forward".into(),
                ));
            }
            Err(EngineError::Git(e)) => {
                let what = engine.project(self.kept.task.project_id)?.explain(&e);
                give_up(engine, intent, &what).await?;
                return Err(EngineError::Conflict { what });
            }
            Err(e) => return Err(e),
        };
        self.record(engine, intent).await?;
        Ok(RescueView {
            run: self.kept.run.id.0,
            task: self.kept.task.work_item_id.to_string(),
            branch: self.branch.to_string(),
            commit: self.commit.to_string(),
            repository: self.repository(engine).await?,
            created,
        })
    }

    async fn push(&self, engine: &Engine) -> Result<PushOutcome, EngineError> {
        let place = place(engine, &self.kept)?;
        let (branch, commit) = (self.branch.clone(), self.commit.clone());
        blocking(move || {
            place
                .project
                .repository()?
                .push(&commit, &branch, None, PushMode::FastForward)
        })
        .await
    }

    async fn repository(&self, engine: &Engine) -> Result<String, EngineError> {
        let project = engine.project(self.kept.task.project_id)?;
        blocking(move || Ok::<_, GitError>(project.repository()?.origin().shown())).await
    }

    async fn record(&self, engine: &Engine, intent: &Intent) -> Result<(), EngineError> {
        let (id, task, now) = (intent.id, self.kept.task.clone(), engine.now());
        let text = format!(
            "kept work of run {} was restored as branch {}",
            self.kept.run.id, self.branch
        );
        let recorded = engine.store().write(move |tx| {
            // Lost: it was recorded before, and told.
            if intents::finish(tx, id, "pushed", now)?.is_won() {
                say(tx, &task, "rescue", &text, now)?;
            }
            Ok::<_, Abort>(())
        });
        recorded.await?;
        engine.committed();
        Ok(())
    }
}

/// Who asked is told; what was intended is not done later behind their back.
async fn give_up(engine: &Engine, intent: &Intent, why: &str) -> Result<(), EngineError> {
    let (id, why, now) = (intent.id, why.to_owned(), engine.now());
    let given_up = engine
        .store()
        .write(move |tx| intents::give_up(tx, id, &why, now));
    // Lost: somebody else came to an end with it.
    let _ = given_up.await?;
    Ok(())
}
