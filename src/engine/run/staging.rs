//! Brings a candidate to staging, checks it there, and writes down what came of it: onto the branch for people, as evidence
//! for the gate. Under the merge lease: there is one staging for all tasks of a repository.
//!
//! Begun → deployed → judged, each recorded before the next: whoever goes on for the same claim deploys nothing twice and
//! commits one log. The log is pushed before the evidence is recorded, so nothing is green whose log is not there.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::front_matter::STAGING_LOG;
use crate::domain::gate::Verdict;
use crate::domain::id::Sha;
use crate::domain::pipeline::GateSpec;
use crate::domain::run::StopCause;
use crate::domain::staging::{Ended, Outcome, Policy, Report, judge};
use crate::git::Recorded;
use crate::process;
use crate::settings::project::ProjectStaging;
use crate::store::Guarded;
use crate::store::evidence::{self, NewEvidence};
use crate::store::intents::{self, Intent, IntentKind, NewIntent};

use super::super::check::{self, Check, Checked};
use super::super::lease::{self, Asked as LeaseAsked};
use super::super::look::{Looked, about};
use super::super::records::{self, Onto};
use super::super::revision;
use super::super::transition::Abort;
use super::super::{Engine, EngineError, blocking};
use super::Attempt;
use super::judge::{Made, Ran, keep};

/// What the two commands came to, as it is kept with the intent.
struct Judged {
    success: bool,
    reason: String,
    log: String,
    tail: String,
}

impl Judged {
    fn to_json(&self) -> Value {
        json!({ "success": self.success, "reason": self.reason, "log": self.log, "tail": self.tail })
    }

    fn of(payload: &Value) -> Option<Self> {
        let text = |key: &str| Some(payload.get(key)?.as_str()?.to_owned());
        Some(Self {
            success: payload.get("success")?.as_bool()?,
            reason: text("reason")?,
            log: text("log")?,
            tail: text("tail")?,
        })
    }
}

/// Deploys, checks, and keeps the answer of `staging_status`.
pub(super) async fn run(
    engine: &Engine,
    a: &Attempt,
    looked: &Looked,
    gate: &GateSpec,
) -> Result<Made, EngineError> {
    let lease = match lease::acquire(engine, &a.project, &a.task, a.hold()).await? {
        LeaseAsked::Held(lease) => lease,
        LeaseAsked::Busy(waiting) => return Ok(Made::Busy(waiting)),
    };
    let ran = lease::holding(engine, &lease, at_staging(engine, a, looked, gate)).await?;
    Ok(Made::Done(ran))
}

async fn at_staging(
    engine: &Engine,
    a: &Attempt,
    looked: &Looked,
    gate: &GateSpec,
) -> Result<Ran, EngineError> {
    let Some(staging) = a.project.config.staging.clone() else {
        return Ok(Ran::Unknown("the project has no [staging] any more".to_owned()));
    };
    let intent = begin(engine, a, looked).await?;
    let judged = match Judged::of(&intent.payload) {
        Some(judged) => judged,
        None => match deploy_and_check(engine, a, looked, (&staging, &intent)).await? {
            Ok(judged) => judged,
            Err(why) => return Ok(Ran::Unknown(why)),
        },
    };
    let head = looked.judged.head.clone();
    let file = (STAGING_LOG.file, judged.log.as_str());
    match records::write(&a.project, &a.task, file, Onto::Branch(head)).await? {
        Recorded::Committed(_) | Recorded::Same(_) => {}
        // The branch is looked at anew: if its code is the same, the log goes onto its new head.
        Recorded::Moved { .. } | Recorded::Absent => return Ok(Ran::Answered(String::new())),
        Recorded::Refused { why } => {
            let why = format!("{} is refused by the repository: {why}", STAGING_LOG.file);
            return Ok(Ran::Unknown(why));
        }
    }
    let tail = judged.tail.clone();
    prove(engine, a, (looked, gate), (&staging, intent, judged)).await?;
    Ok(Ran::Answered(tail))
}

/// The intent of this visit for this code: the one that was begun under this claim or is judged already, else a new one.
async fn begin(engine: &Engine, a: &Attempt, looked: &Looked) -> Result<Intent, EngineError> {
    let (hold, now, task) = (a.hold(), engine.now(), a.task.id);
    let beginning = format!(
        "staging:{task}:{}:{}:",
        a.task.visit,
        looked.judged.code_tree.as_str()
    );
    let payload = json!({ "head": looked.judged.head });
    let begun = engine.store().write(move |tx| {
        hold.check(tx)?;
        let known = intents::keyed(tx, task, &beginning)?;
        let number = known.len();
        for open in known.into_iter().filter(Intent::is_open) {
            if open.claim == Some(hold.claim) || Judged::of(&open.payload).is_some() {
                return Ok(open);
            }
            // Lost: it was closed meanwhile.
            let _: Guarded<()> = intents::give_up(tx, open.id, "another claim deploys anew", now)?;
        }
        let new = NewIntent {
            key: format!("{beginning}{number}"),
            task_id: task,
            claim: Some(hold.claim),
            kind: IntentKind::Push,
            payload,
        };
        Ok::<_, Abort>(intents::intend(tx, &new, now)?)
    });
    Ok(begun.await?)
}

/// Notes how far it has come.
async fn note(engine: &Engine, a: &Attempt, intent: &Intent, payload: Value) -> Result<(), EngineError> {
    let (hold, now) = (a.hold(), engine.now());
    let new = NewIntent {
        key: intent.key.clone(),
        task_id: a.task.id,
        claim: Some(hold.claim),
        kind: IntentKind::Push,
        payload,
    };
    let noted = engine.store().write(move |tx| {
        hold.check(tx)?;
        Ok::<_, Abort>(intents::aim(tx, &new, now).map(drop)?)
    });
    Ok(noted.await?)
}

/// The inner error says why a command could not be run: nothing is known then.
async fn deploy_and_check(
    engine: &Engine,
    a: &Attempt,
    looked: &Looked,
    (staging, intent): (&ProjectStaging, &Intent),
) -> Result<Result<Judged, String>, EngineError> {
    let head = &looked.judged.head;
    let deployed = intent.payload.get("deployed").is_some_and(|d| d == head.as_str());
    if !deployed {
        let ran = command(
            engine,
            a,
            (head, staging),
            (&staging.deploy_command, "staging_deploy"),
        )
        .await?;
        if let Some(why) = not_run(&ran) {
            return Ok(Err(format!("deploy_command could not be run: {why}")));
        }
        if !ran.exit.succeeded() {
            let why = format!("deploy_command failed: {}", process::exit_text(&ran.exit));
            let judged = judged(engine, Outcome::not_deployed(why), head, &ran.tail);
            note(engine, a, intent, judged.to_json()).await?;
            return Ok(Ok(judged));
        }
        note(engine, a, intent, json!({ "head": head, "deployed": head })).await?;
    }
    let ran = command(
        engine,
        a,
        (head, staging),
        (&staging.check_command, "staging_check"),
    )
    .await?;
    if let Some(why) = not_run(&ran) {
        return Ok(Err(format!("check_command could not be run: {why}")));
    }
    let ended = match (ran.exit.code, &ran.exit.cause) {
        (Some(code), None) => Ended::Code(code),
        _ => Ended::Otherwise(process::exit_text(&ran.exit)),
    };
    let policy = Policy {
        infra_allowed: &staging.infra_allowed,
        tolerate_infra: staging.tolerate_infra,
        required: &staging.required,
    };
    let report = Report::read(&engine.settings().without_secrets(&ran.tail), ran.is_whole());
    let judged = judged(engine, judge(report, &ended, &policy), head, &ran.tail);
    note(engine, a, intent, judged.to_json()).await?;
    Ok(Ok(judged))
}

fn judged(engine: &Engine, outcome: Outcome, head: &Sha, tail: &str) -> Judged {
    let settings = engine.settings();
    // A secret that an escape code divides would be whole again once that is gone.
    let tail = settings.without_secrets(&crate::domain::quoted::clean_tail(tail, usize::MAX));
    Judged {
        success: outcome.success,
        log: outcome.log(head, &tail),
        reason: outcome.reason,
        tail: crate::domain::quoted::clean_tail(&tail, 16 * 1024),
    }
}

async fn command(
    engine: &Engine,
    a: &Attempt,
    (head, staging): (&Sha, &ProjectStaging),
    (line, label): (&str, &str),
) -> Result<Checked, EngineError> {
    let mut about = about(&a.project, &a.task);
    about.insert("ORCH_REVISION".to_owned(), head.to_string());
    let check = Check {
        argv: vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()],
        at: head.clone(),
        timeout: staging.timeout,
        claim: a.claim,
        label: label.to_owned(),
        about,
    };
    check::run(engine, &a.project, check).await
}

fn not_run(ran: &Checked) -> Option<String> {
    match ran.exit.cause {
        Some(StopCause::NotStarted { .. } | StopCause::Stopped | StopCause::LeaseExpired { .. }) => {
            Some(process::exit_text(&ran.exit))
        }
        Some(StopCause::Timeout { .. } | StopCause::Stall { .. } | StopCause::Startup { .. }) | None => None,
    }
}

/// The evidence, with the end of the intent.
async fn prove(
    engine: &Engine,
    a: &Attempt,
    (looked, gate): (&Looked, &GateSpec),
    (staging, intent, judged): (&ProjectStaging, Intent, Judged),
) -> Result<(), EngineError> {
    let verdict = match judged.success {
        true => Verdict::green(judged.reason),
        false => Verdict::red(judged.reason),
    };
    let row = new_evidence(a, (looked, gate), (staging.line(), verdict));
    let (hold, now) = (a.hold(), engine.now());
    let proved = engine.store().write(move |tx| {
        hold.check(tx)?;
        evidence::record(tx, &row, now)?;
        // Lost: an earlier monitor recorded it before it died.
        drop(intents::finish(tx, intent.id, "written", now)?);
        Ok::<_, Abort>(())
    });
    Ok(proved.await?)
}

fn new_evidence(
    a: &Attempt,
    (looked, gate): (&Looked, &GateSpec),
    (command, verdict): (String, Verdict),
) -> NewEvidence {
    NewEvidence {
        task_id: a.task.id,
        gate: gate.name.clone(),
        candidate: looked.judged.head.clone(),
        code_tree: looked.judged.code_tree.clone(),
        patch_id: looked.judged.patch_id.clone(),
        base: None,
        command: Some(command),
        verdict,
        run_id: Some(a.run.id),
        visit: a.task.visit,
    }
}

/// Asks staging what it runs, and keeps the answer of `staging_image_fresh`: no answer is a red one.
pub(super) async fn fresh(
    engine: &Engine,
    a: &Attempt,
    looked: &Looked,
    gate: &GateSpec,
) -> Result<Ran, EngineError> {
    let staging = a.project.config.staging.as_ref();
    let (Some(source), Some(line)) = (
        staging.and_then(|s| s.revision.clone()),
        revision::source_of(&a.project),
    ) else {
        return Ok(Ran::Unknown("nothing says any more what staging runs".to_owned()));
    };
    let head = looked.judged.head.clone();
    let place = (a.claim, "staging_revision");
    let answer = revision::answer(engine, &a.project, &source, Some(&head), place).await?;
    let verdict = match answer {
        Err(why) => {
            let why = engine.settings().without_secrets(&why);
            Verdict::red(format!("staging reports no revision ({why}), expected {head}"))
        }
        Ok(said) => {
            let (project, tree) = (Arc::clone(&a.project), looked.judged.code_tree.clone());
            blocking(move || {
                let repo = project.repository()?;
                if said.names(&head) {
                    return Ok(Verdict::green(format!("staging runs {}", head.short())));
                }
                let shown = said.as_str();
                let same = match repo.commit_named(shown)? {
                    Some(commit) => repo.code_tree(&commit)? == tree,
                    None => false,
                };
                Ok::<_, EngineError>(match same {
                    true => {
                        Verdict::green(format!("staging runs {shown}, the same code as {}", head.short()))
                    }
                    false => Verdict::red(format!("staging runs {shown}, expected {head}")),
                })
            })
            .await?
        }
    };
    keep(engine, a, vec![new_evidence(a, (looked, gate), (line, verdict))]).await?;
    Ok(Ran::Answered(String::new()))
}
