//! Merges a candidate: under the lease, tested as exactly that tree, at most once per visit of the stage.
//!
//! Intent → merge → record. Died in between: the repository is asked whether `main` has the candidate before
//! anything is repeated.

use std::time::Duration;

use serde_json::json;

use crate::domain::gate::GateState;
use crate::domain::id::Sha;
use crate::domain::job::{JobEnd, JobKind};
use crate::domain::pipeline::{GateKind, GateSpec, Role, Stage};
use crate::domain::run::RunStep;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::domain::walk;
use crate::store::intents::{Intent, IntentKind, NewIntent};
use crate::store::{Conn, intents, merge_stops};

use super::super::check;
use super::super::lease::{self, Asked, MergeLease, Waiting};
use super::super::look::{Looked, Question, confirm_key, contains, heads, look, merge_key};
use super::super::transition::{self, Abort, Briefing, Ending, Setting};
use super::super::{Engine, EngineError, Hint, blocking};
use super::deploy;
use super::failed;
use super::forge::{self, Came, Went};
use super::judge;
use super::locally;
use super::perform::LEASE_FALLBACK;
use super::quarantined;
use super::{Attempt, Step};

const GATE: &str = "branch_mergeable";

pub(super) async fn finalize(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    // What follows a merge needs no lease, may take long, and goes on whatever stands in the way of other merges.
    if recorded(engine, a).await?.is_some_and(|i| i.is_done()) {
        return after_merge(engine, a).await;
    }
    if !a.project.config.merge_gate {
        return without_gate(engine, a).await;
    }
    match lease::acquire(engine, &a.project, &a.task, a.hold()).await? {
        Asked::Held(lease) => under_lease(engine, a, &lease).await,
        Asked::Busy(waiting) => snooze(engine, a, waiting.why.clone(), Until::Lease(waiting)).await,
    }
}

/// Orch merges nothing for this project: it waits for a person's merge.
async fn without_gate(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let (head, _, contained) = positions(a).await?;
    if contained {
        return merged(engine, a, &head, None).await;
    }
    match forge::was_merged(engine, a, &head).await? {
        Ok(Went::In) => return merged(engine, a, &head, None).await,
        Ok(Went::Nowhere | Went::Besides { .. }) => {}
        Ok(Went::Differently { why }) | Err(why) => {
            return snooze(engine, a, why, Until::Pause(a.pause(engine))).await;
        }
    }
    let config = &a.project.config;
    let cause = match config.test_command {
        Some(_) => "the merge gate is off".to_owned(),
        None => format!("there is no test_command in {}", config.source.display()),
    };
    let why = format!(
        "{cause}: waits for a person to merge {} into {}",
        a.task.branch, config.main
    );
    snooze(engine, a, why, Until::Pause(a.pause(engine))).await
}

async fn recorded(engine: &Engine, a: &Attempt) -> Result<Option<Intent>, EngineError> {
    let key = merge_key(&a.task);
    Ok(engine.store().read(move |tx| intents::by_key(tx, &key)).await?)
}

async fn under_lease(engine: &Engine, a: &mut Attempt, lease: &MergeLease) -> Result<Step, EngineError> {
    let recorded = recorded(engine, a).await?;
    let (head, main, contained) = positions(a).await?;
    if let Some(why) = quarantined::tip(engine, a, &main).await? {
        return quarantined::refuse(engine, a, why).await;
    }
    // Main has it already: we died around the merge, or a person was faster. There is no second merge.
    let intended = recorded.filter(|i| word(i, "head") == Some(head.as_str()));
    let candidate = a.task.candidate.clone();
    let meant = candidate.as_ref() == Some(&head) || intended.is_some();
    let ours = match intended
        .as_ref()
        .and_then(|i| Sha::parse(word(i, "joined")?).ok())
    {
        Some(joined) if !contained => locally::is_in(a, &main, joined).await?,
        Some(_) | None => false,
    };
    if (contained || ours) && meant {
        // The repository is asked once more all the same: a working copy may have been left half way from where main was.
        let before = intended.and_then(|i| Sha::parse(word(&i, "main")?).ok());
        return send(engine, a, lease, &head, &before.unwrap_or(main)).await;
    }
    // Or the forge merged it as something else: at a person's click, or as the project wants it.
    if meant {
        match forge::was_merged(engine, a, &head).await? {
            Ok(Went::In) => return merged(engine, a, &head, None).await,
            Ok(Went::Nowhere | Went::Besides { .. }) => {}
            Ok(Went::Differently { why }) => return mismatch(engine, a, &why).await,
            Err(why) => return snooze(engine, a, why, Until::Pause(a.pause(engine))).await,
        }
    }
    let question = Question {
        head: None,
        gates: Some(gates_before_merge(a)?),
        run: Some(a.run.id),
        anew: None,
    };
    let looked = look(engine, &a.project, &a.task, &a.stage, &question).await?;
    let meant = match &candidate {
        Some(candidate) if a.stage.confirm => {
            let key = confirm_key(&a.task, candidate);
            let intent = engine.store().read(move |tx| intents::by_key(tx, &key)).await?;
            intent.filter(|i| !i.is_void()).map(|_| candidate.clone())
        }
        Some(_) | None => None,
    };
    let confirmed = |looked: &Looked| !a.stage.confirm || meant.as_ref() == Some(&looked.judged.head);
    if is_green(&looked) && confirmed(&looked) {
        return send(engine, a, lease, &looked.judged.head, &main).await;
    }
    let back = a.project.config.pipeline.merge_gate_stage().clone();
    if a.stage.confirm && back.name != a.stage.name && !(confirmed(&looked) && is_mergeable(&looked)) {
        return void(engine, a, back).await;
    }
    // What moved is made mergeable here and now, and what was not asked yet is asked.
    let judgement = judge::ask(engine, a, question).await?;
    if judgement.waits.is_none() && is_green(&judgement.looked) && confirmed(&judgement.looked) {
        let (_, main, _) = positions(a).await?;
        return send(engine, a, lease, &judgement.looked.judged.head, &main).await;
    }
    judge::conclude(engine, a, judgement).await
}

fn word<'a>(intent: &'a Intent, key: &str) -> Option<&'a str> {
    intent.payload.get(key)?.as_str()
}

/// All that has to be green before a merge. The candidate was judged when the stage was entered or a person was asked;
/// it is judged again now.
fn gates_before_merge(a: &Attempt) -> Result<Vec<GateSpec>, EngineError> {
    let own: Vec<GateSpec> = walk::gates_to_ask(&a.stage, false).to_vec();
    if own.iter().any(|g| g.kind == GateKind::BranchMergeable) {
        return Ok(own);
    }
    Ok([vec![mergeable_gate()?], own].concat())
}

fn mergeable_gate() -> Result<GateSpec, EngineError> {
    GateSpec::named(GATE).ok_or_else(|| EngineError::Broken("gate branch_mergeable is not registered".into()))
}

fn is_mergeable(looked: &Looked) -> bool {
    looked.asked.iter().any(|x| {
        x.answer.gate.kind == GateKind::BranchMergeable && x.answer.verdict.state == GateState::Green
    })
}

fn is_green(looked: &Looked) -> bool {
    looked
        .asked
        .iter()
        .all(|x| x.answer.verdict.state == GateState::Green)
}

/// Branch head, tip of main, and whether main has the head.
async fn positions(a: &Attempt) -> Result<(Sha, Sha, bool), EngineError> {
    let (project, branch) = (a.project.clone(), a.task.branch.clone());
    blocking(move || {
        let repo = project.repository()?;
        let (head, main) = heads(&repo, &branch, &project.config.main)?;
        let contained = contains(&repo, &main, &head)?;
        Ok::<_, EngineError>((head, main, contained))
    })
    .await
}

/// The deed. The token is looked at last; git itself refuses a main that moved.
async fn send(
    engine: &Engine,
    a: &mut Attempt,
    lease: &MergeLease,
    head: &Sha,
    main: &Sha,
) -> Result<Step, EngineError> {
    let (hold, now) = (a.hold(), engine.now());
    let joined = locally::joined(a, head, main).await?;
    let mut payload = json!({ "head": head, "main": main });
    if let Some(joined) = &joined {
        payload["joined"] = json!(joined);
    }
    let intent = NewIntent {
        key: merge_key(&a.task),
        task_id: a.task.id,
        claim: Some(hold.claim),
        kind: IntentKind::Merge,
        payload,
    };
    let intended = engine.store().write(move |tx| {
        hold.check(tx)?;
        Ok::<_, Abort>(intents::aim(tx, &intent, now).map(drop)?)
    });
    intended.await?;
    match forge::merge(engine, a, lease, (head, main), joined).await? {
        Came::Merged { left_behind } => merged(engine, a, head, left_behind).await,
        Came::Wait { why } => snooze(engine, a, why, Until::Pause(a.pause(engine))).await,
        Came::Again => {
            let why = "main moved at the last moment: looked at again".to_owned();
            snooze(engine, a, why, Until::Pause(Duration::ZERO)).await
        }
        Came::Closed => forge::closed(engine, a, mergeable_gate()?).await,
        Came::Mismatch { why } => mismatch(engine, a, &why).await,
    }
}

/// Main has something else than what was tested: nobody merges into it until a person has looked. People are told once, by
/// the task that is parked.
async fn mismatch(engine: &Engine, a: &mut Attempt, found: &str) -> Result<Step, EngineError> {
    let repo = a.project.config.repo.clone();
    let found = check::one_line(&engine.settings().without_secrets(found), 1000);
    let why = format!("{found}; no task merges into {repo} until `orch lease release {repo} --merges`");
    let ending = Ending::new(a.hold(), JobEnd::Failed(why.clone()));
    in_one_write(engine, a, move |tx, s, task| {
        transition::end_claim(tx, &ending, s.now)?;
        intents::void_open(tx, task.id, IntentKind::Merge, s.now)?;
        merge_stops::place(tx, (&repo, task.id), &found, s.now)?;
        let b = Briefing::line("failed", why.clone());
        transition::block(tx, s.now, task, &why, &b).map(drop)
    })
    .await?;
    Ok(Step::Over)
}

/// The merge stands, but a person's working copy shows the old files: that person has to know.
fn copy_left_behind(tx: &mut Conn, task: &Task, reason: &str, now: Timestamp) -> Result<(), Abort> {
    let text = format!("merged, but the working copy of the repository could not follow: {reason}");
    transition::say(tx, task, "merge", &text, now)?;
    let text = format!("{}: {text}", task.work_item_id);
    transition::notify(tx, task, "working-copy", &text, now)
}

/// Main has the candidate: recorded once, with its pull request, and with why a working copy could not follow.
async fn merged(
    engine: &Engine,
    a: &mut Attempt,
    head: &Sha,
    left_behind: Option<String>,
) -> Result<Step, EngineError> {
    let (hold, task, head, now) = (a.hold(), a.task.clone(), head.clone(), engine.now());
    let (kept, main) = (a.project.forge.clone(), a.project.config.main.clone());
    let recorded = engine.store().write(move |tx| {
        hold.check(tx)?;
        let new = NewIntent {
            key: merge_key(&task),
            task_id: task.id,
            claim: Some(hold.claim),
            kind: IntentKind::Merge,
            payload: json!({ "head": head }),
        };
        let known = intents::by_key(tx, &new.key)?;
        let intent = match known.filter(|i| i.is_open() && word(i, "head") == Some(head.as_str())) {
            Some(intent) => intent,
            None => intents::aim(tx, &new, now)?,
        };
        if intents::finish(tx, intent.id, "merged", now)?.is_won() {
            if let Some(reason) = &left_behind {
                copy_left_behind(tx, &task, reason, now)?;
            }
            kept.record_merged(tx, (task.project_id, &task.branch), &head, now)?;
            let text = format!("{} merged into {main}", head.short());
            transition::say(tx, &task, "merge", &text, now)?;
            transition::comment(tx, &task, "merged", &text, now)?;
        }
        Ok::<_, Abort>(())
    });
    recorded.await?;
    engine.committed();
    engine.hint(Hint::Spare(a.project.id));
    after_merge(engine, a).await
}

/// The hook runs now, or a deployer works, where there is one; else the stage is left.
async fn after_merge(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    if let Some(hook) = a.project.config.deploy.hook.clone() {
        return deploy::deploy(engine, a, &hook).await;
    }
    if let Some(why) = deploy::left_open(engine, a).await? {
        return failed::over(engine, a, &why, failed::Again::Never).await;
    }
    if a.stage.role == Some(Role::Deployer) {
        let ending = Ending::new(a.hold(), JobEnd::Done);
        let text = "merged: the deployer works".to_owned();
        in_one_write(engine, a, move |tx, s, task| {
            transition::end_claim(tx, &ending, s.now)?;
            let b = Briefing {
                text,
                kind: "stage",
                ..Briefing::default()
            };
            let task = transition::stand(tx, s.now, task, TaskStatus::Active, None, &b)?;
            transition::queue(tx, s, &task, JobKind::Agent, Some(Role::Deployer), None, s.now)
        })
        .await?;
        return Ok(Step::Over);
    }
    let question = Question {
        head: None,
        gates: None,
        run: Some(a.run.id),
        anew: None,
    };
    let judgement = judge::ask(engine, a, question).await?;
    judge::conclude(engine, a, judgement).await
}

/// The confirmed candidate is no longer what would be merged: back to where it is made mergeable, no retry
/// counted, and a new request that names the new commit.
async fn void(engine: &Engine, a: &mut Attempt, back: Stage) -> Result<Step, EngineError> {
    let text = format!(
        "the candidate is void: main or the branch moved; back to {}",
        back.name
    );
    let ending = Ending::new(a.hold(), JobEnd::Done);
    in_one_write(engine, a, move |tx, s, task| {
        transition::end_claim(tx, &ending, s.now)?;
        let b = Briefing {
            text,
            kind: "stage",
            ..Briefing::default()
        };
        transition::enter(tx, s, task, &back, &b).map(drop)
    })
    .await?;
    Ok(Step::Over)
}

/// When a job that waits looks again.
pub(super) enum Until {
    /// After this.
    Pause(Duration),
    /// When the lease is given back.
    Lease(Waiting),
}

/// Puts the job back at no cost.
pub(super) async fn snooze(
    engine: &Engine,
    a: &mut Attempt,
    reason: String,
    until: Until,
) -> Result<Step, EngineError> {
    let hold = a.hold();
    in_one_write(engine, a, move |tx, s, task| {
        transition::alert_if_overdue(tx, s, task, &reason)?;
        // Whoever sleeps merges nothing meanwhile.
        intents::void_open(tx, task.id, IntentKind::Merge, s.now)?;
        let available_at = match until {
            Until::Pause(pause) => s.now + pause,
            Until::Lease(waiting) => waiting.until(tx, s.now, LEASE_FALLBACK)?,
        };
        let end = JobEnd::Snooze { reason, available_at };
        transition::end_claim(tx, &Ending::new(hold, end), s.now).map(drop)
    })
    .await?;
    Ok(Step::Over)
}

/// One transaction, which ends the claim.
pub(super) async fn in_one_write(
    engine: &Engine,
    a: &mut Attempt,
    write: impl FnOnce(&mut Conn, &Setting, &Task) -> Result<(), Abort> + Send + 'static,
) -> Result<(), EngineError> {
    let (task, s) = (a.task.clone(), a.setting(engine));
    engine.store().write(move |tx| write(tx, &s, &task)).await?;
    a.run.step = RunStep::Evaluated;
    engine.committed();
    Ok(())
}
